//! Declared types: a type, and what its schema says about sizes and lists.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::types::{Field, ObjectType, Type};

mod built_in;
mod escape;
mod structural;

pub use built_in::built_in;
pub use escape::{escape, unescape};
pub use structural::structural;

/// A type with the sizes that a schema allows.
#[derive(Clone, Debug)]
pub struct DeclType {
    pub ty: Type,
    /// Bytes of a string, items of a list, entries of a map.
    pub max_elements: u64,
    /// The fewest bytes that a value takes in JSON.
    pub min_serialized_size: u64,
    /// What a list or a map holds.
    pub element: Option<Arc<DeclType>>,
    pub list: ListSemantics,
}

/// When two lists are equal, and what their concatenation is: `x-kubernetes-list-type`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ListSemantics {
    #[default]
    Atomic,
    Set,
    Map(Vec<String>),
}

impl DeclType {
    /// Any value.
    pub fn dynamic() -> Self {
        Self::simple(Type::Dyn)
    }

    /// A type without a schema.
    pub fn simple(ty: Type) -> Self {
        Self { ty, max_elements: 0, min_serialized_size: 1, element: None, list: ListSemantics::Atomic }
    }

    /// A field that may be absent: `oldSelf` of a rule with `optionalOldSelf`.
    pub fn into_optional(self) -> Self {
        let ty = Type::optional(self.ty.clone());
        Self { ty, element: Some(Arc::new(self.clone())), ..self }
    }

    /// An object with these fields, e.g. `request`.
    pub fn object(name: &str, fields: impl IntoIterator<Item = (&'static str, DeclType)>) -> Self {
        let fields = fields
            .into_iter()
            .map(|(name, decl)| (name.to_owned(), Field { json_name: name.into(), decl: Arc::new(decl) }));
        let object = ObjectType { name: name.into(), fields: fields.collect(), constructible: false };
        Self { min_serialized_size: 2, ..Self::simple(Type::Object(Arc::new(object))) }
    }

    pub fn list_of(element: Self) -> Self {
        let ty = Type::list(element.ty.clone());
        Self { element: Some(Arc::new(element)), min_serialized_size: 2, ..Self::simple(ty) }
    }

    pub fn map_of(value: Self) -> Self {
        let ty = Type::map(Type::String, value.ty.clone());
        Self { element: Some(Arc::new(value)), min_serialized_size: 2, ..Self::simple(ty) }
    }

    pub(crate) fn object_type(&self) -> Option<&Arc<ObjectType>> {
        match &self.ty {
            Type::Object(object) => Some(object),
            _ => None,
        }
    }

    /// The field by its name in expressions.
    pub fn field(&self, name: &str) -> Option<&Arc<DeclType>> {
        self.object_type()?.fields.get(name).map(|field| &field.decl)
    }

    /// How often data of this type can occur in one request at most.
    pub fn max_cardinality(&self) -> u64 {
        crate::limits::MAX_REQUEST_BYTES / (self.min_serialized_size + 1)
    }
}

pub(crate) fn json_patch_type() -> Arc<ObjectType> {
    let field = |name: &str, ty: Type| {
        (name.to_owned(), Field { json_name: name.into(), decl: Arc::new(DeclType::simple(ty)) })
    };
    let fields = [
        field("op", Type::String),
        field("path", Type::String),
        field("from", Type::String),
        field("value", Type::Dyn),
    ];
    let name = crate::environment::JSON_PATCH.into();
    Arc::new(ObjectType { name, fields: BTreeMap::from(fields), constructible: true })
}

/// What policies, webhooks' match conditions and authorizers' match conditions see as `request` of an admission review.
pub fn admission_request() -> DeclType {
    let string = || DeclType::simple(Type::String);
    let strings = |name, fields: [&'static str; 3]| DeclType::object(name, fields.map(|field| (field, string())));
    let kind = || strings("kubernetes.GroupVersionKind", ["group", "version", "kind"]);
    let resource = || strings("kubernetes.GroupVersionResource", ["group", "version", "resource"]);
    let extra = DeclType::map_of(DeclType::list_of(string()));
    let groups = DeclType::list_of(string());
    let user = [("username", string()), ("uid", string()), ("groups", groups), ("extra", extra)];
    DeclType::object(
        "kubernetes.AdmissionRequest",
        [
            ("kind", kind()),
            ("resource", resource()),
            ("subResource", string()),
            ("requestKind", kind()),
            ("requestResource", resource()),
            ("requestSubResource", string()),
            ("name", string()),
            ("namespace", string()),
            ("operation", string()),
            ("userInfo", DeclType::object("kubernetes.UserInfo", user)),
            ("dryRun", DeclType::simple(Type::Bool)),
            ("options", DeclType::dynamic()),
        ],
    )
}
