//! What an expression may name: variables with their types, types that it may construct, and which macros it may use.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::decl::DeclType;
use crate::types::{ObjectType, Type};

/// The declarations that an expression is compiled against. Cloning is cheap, adding copies.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    inner: Arc<Inner>,
}

#[derive(Clone, Debug, Default)]
struct Inner {
    variables: BTreeMap<String, Arc<DeclType>>,
    constructible: BTreeMap<String, Arc<ObjectType>>,
    bind: bool,
}

impl Environment {
    /// Kubernetes' libraries and no variables.
    pub fn new() -> Self {
        Self::default()
    }

    /// Declares a variable.
    pub fn variable(mut self, name: &str, decl: impl Into<Arc<DeclType>>) -> Self {
        Arc::make_mut(&mut self.inner).variables.insert(name.into(), decl.into());
        self
    }

    /// Declares a variable of any type, as policies declare `object`.
    pub fn dynamic(self, name: &str) -> Self {
        self.variable(name, DeclType::dynamic())
    }

    /// Declares `variables.name` of a type; later expressions of the same policy see it.
    pub fn composed(mut self, name: &str, ty: &Type) -> Self {
        let inner = Arc::make_mut(&mut self.inner);
        let known =
            inner.variables.get(VARIABLES).and_then(|decl| decl.object_type()).map(|object| object.fields.clone());
        let mut fields = known.unwrap_or_default();
        fields.insert(
            name.into(),
            crate::types::Field { json_name: name.into(), decl: Arc::new(DeclType::simple(ty.clone())) },
        );
        let object = ObjectType { name: "kubernetes.variables".into(), fields, constructible: false };
        inner.variables.insert(VARIABLES.into(), Arc::new(DeclType::simple(Type::Object(Arc::new(object)))));
        self
    }

    /// Lets expressions construct objects of the type by its name, e.g. `Object{spec: Object.spec{...}}`.
    pub fn constructible(mut self, ty: Arc<ObjectType>) -> Self {
        Arc::make_mut(&mut self.inner).constructible.insert(ty.name.clone(), ty);
        self
    }

    /// Lets expressions construct `Object{...}` with any fields, and `JSONPatch{...}`: MutatingAdmissionPolicy.
    pub fn with_mutation_types(self) -> Self {
        self.constructible(crate::decl::json_patch_type())
    }

    /// Adds `cel.bind(x, value, body)`, which device selectors have and rules and policies do not.
    pub fn with_bind(mut self) -> Self {
        Arc::make_mut(&mut self.inner).bind = true;
        self
    }

    pub(crate) fn has_bind(&self) -> bool {
        self.inner.bind
    }

    pub fn variable_type(&self, name: &str) -> Option<&Arc<DeclType>> {
        self.inner.variables.get(name)
    }

    /// The type behind a constructor's name. Below `Object`, every path is a type with any fields.
    pub(crate) fn constructible_type(&self, name: &str) -> Option<Arc<ObjectType>> {
        if let Some(known) = self.inner.constructible.get(name) {
            return Some(known.clone());
        }
        let mutates = self.inner.constructible.contains_key(JSON_PATCH);
        let open = mutates && (name == OBJECT || name.starts_with("Object."));
        open.then(|| Arc::new(ObjectType { name: name.into(), fields: BTreeMap::new(), constructible: true }))
    }
}

pub(crate) const VARIABLES: &str = "variables";
pub(crate) const JSON_PATCH: &str = "JSONPatch";
pub(crate) const OBJECT: &str = "Object";
