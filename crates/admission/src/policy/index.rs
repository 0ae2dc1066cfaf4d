//! The compiled policies of one kind, each with its bindings.

use std::collections::BTreeMap;
use std::sync::Arc;

use expressions::{Bindings, Environment, EvalError, Resolver, Type};
use parking_lot::RwLock;
use registry::cel::{self, Expected};
use serde_json::Value;

use super::Expression;
use crate::match_conditions::Conditions;
use crate::matching::Constraints;

/// What distinguishes the two kinds of policy.
pub trait Body: Send + Sync + Sized {
    /// Whether expressions make patches.
    const PATCHES: bool;

    /// Compiles the spec. `names` has the policy's variables; `bare` lacks the authorizer.
    fn compile(spec: &Value, names: &Environment, bare: &Environment) -> Self;
}

/// A compiled policy.
pub struct Policy<B> {
    pub name: String,
    pub ignores_failure: bool,
    pub constraints: Constraints,
    /// The apiVersion and kind of its parameters.
    pub param_kind: Option<(String, String)>,
    pub conditions: Conditions,
    variables: Vec<Variable>,
    pub body: B,
}

struct Variable {
    name: String,
    expression: Expression,
    /// Says why there is no value where the expression does not compile.
    broken: Broken,
}

struct Broken(String);

impl<'a> Resolver<'a> for Broken {
    fn resolve(&self, _name: &str, _budget: &mut expressions::Budget) -> Result<expressions::Value<'a>, EvalError> {
        Err(EvalError::Message(self.0.clone()))
    }
}

impl<B: Body> Policy<B> {
    fn compile(policy: &Value) -> Policy<B> {
        let spec = &policy["spec"];
        let kind = &spec["paramKind"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let param_kind = kind.is_object().then(|| (text(&kind["apiVersion"]), text(&kind["kind"])));
        let params = param_kind.is_some();
        let mut names = cel::admission(params, true, B::PATCHES);
        let mut bare = cel::admission(params, false, B::PATCHES);
        let mut variables = Vec::new();
        for variable in spec["variables"].as_array().into_iter().flatten() {
            let variable = Variable::compile(variable, &names);
            names = names.composed(&variable.name, variable.result());
            bare = bare.composed(&variable.name, variable.result());
            variables.push(variable);
        }
        Policy {
            name: apimachinery::object::name(policy).to_owned(),
            ignores_failure: spec["failurePolicy"] == "Ignore",
            constraints: Constraints::of(&spec["matchConstraints"]),
            conditions: Conditions::compile(&spec["matchConditions"], params),
            body: B::compile(spec, &names, &bare),
            param_kind,
            variables,
        }
    }

    /// Adds the variables, each evaluated when it is first used.
    pub fn bind<'a>(&'a self, bindings: Bindings<'a>) -> Bindings<'a> {
        self.variables.iter().fold(bindings, |bindings, variable| match &variable.expression.program {
            Ok(program) => bindings.variable(&variable.name, program),
            Err(_) => bindings.resolver(&variable.name, &variable.broken),
        })
    }
}

impl Variable {
    fn compile(variable: &Value, names: &Environment) -> Variable {
        let text = |field: &str| variable[field].as_str().unwrap_or_default();
        let expression = Expression::compile(text("expression"), names, Expected::Anything);
        let why = expression.program.as_ref().err().map(ToString::to_string).unwrap_or_default();
        let broken = Broken(format!("composited variable {:?} fails to compile: {why}", text("name")));
        Variable { name: text("name").to_owned(), expression, broken }
    }

    fn result(&self) -> &Type {
        self.expression.program.as_ref().map_or(&Type::Dyn, |program| program.result_type())
    }
}

/// A compiled binding.
pub struct Binding {
    pub name: String,
    policy: String,
    /// Unset: whatever the policy is about.
    pub resources: Option<Constraints>,
    pub param_ref: Option<Value>,
    /// What becomes of a failed validation, as the binding spells it.
    pub actions: Vec<String>,
}

impl Binding {
    fn compile(binding: &Value) -> Binding {
        let spec = &binding["spec"];
        let actions = spec["validationActions"].as_array().into_iter().flatten().filter_map(Value::as_str);
        Binding {
            name: apimachinery::object::name(binding).to_owned(),
            policy: spec["policyName"].as_str().unwrap_or_default().to_owned(),
            resources: Some(&spec["matchResources"]).filter(|one| one.is_object()).map(Constraints::of),
            param_ref: Some(&spec["paramRef"]).filter(|one| one.is_object()).cloned(),
            actions: actions.map(str::to_owned).collect(),
        }
    }
}

/// A policy that is bound.
pub struct Bound<B> {
    pub policy: Arc<Policy<B>>,
    pub bindings: Vec<Arc<Binding>>,
}

type List<B> = Arc<[Bound<B>]>;

/// Compiles what changes; a request only takes the finished list. Both are in the order of their names.
pub struct Index<B>(RwLock<State<B>>);

struct State<B> {
    policies: BTreeMap<String, Arc<Policy<B>>>,
    bindings: BTreeMap<String, Arc<Binding>>,
    bound: List<B>,
}

impl<B> Default for State<B> {
    fn default() -> Self {
        State { policies: BTreeMap::new(), bindings: BTreeMap::new(), bound: Arc::new([]) }
    }
}

impl<B> Default for Index<B> {
    fn default() -> Self {
        Index(RwLock::default())
    }
}

impl<B: Body> Index<B> {
    pub fn apply_policy(&self, name: &str, policy: Option<&Value>) {
        let compiled = policy.map(|policy| Arc::new(Policy::compile(policy)));
        self.change(|state| replace(&mut state.policies, name, compiled));
    }

    pub fn apply_binding(&self, name: &str, binding: Option<&Value>) {
        let compiled = binding.map(|binding| Arc::new(Binding::compile(binding)));
        self.change(|state| replace(&mut state.bindings, name, compiled));
    }

    pub fn forget_policies(&self) {
        self.change(|state| state.policies.clear());
    }

    pub fn forget_bindings(&self) {
        self.change(|state| state.bindings.clear());
    }

    pub fn list(&self) -> List<B> {
        self.0.read().bound.clone()
    }

    fn change(&self, change: impl FnOnce(&mut State<B>)) {
        let mut state = self.0.write();
        change(&mut state);
        let bound = state.policies.values().map(|policy| Bound {
            policy: policy.clone(),
            bindings: state.bindings.values().filter(|binding| binding.policy == policy.name).cloned().collect(),
        });
        let bound: List<B> = bound.filter(|bound| !bound.bindings.is_empty()).collect();
        state.bound = bound;
    }
}

fn replace<T>(map: &mut BTreeMap<String, T>, name: &str, value: Option<T>) {
    match value {
        Some(value) => map.insert(name.to_owned(), value),
        None => map.remove(name),
    };
}
