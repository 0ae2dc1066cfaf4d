//! CEL, the expressions of validation rules, admission policies and match conditions, as Kubernetes 1.36 uses it.
//!
//! [`compile`] parses and type-checks against an [`Environment`] and estimates the cost; a [`Program`] is evaluated over
//! borrowed JSON with a [`Budget`] that every step takes from. Hostile expressions get an error: length, depth, cost and regular
//! expressions are limited (see [`limits`]).
//!
//! Must not know: requests, stores, where expressions come from. Start at [`program`], then [`eval`](mod@eval).
//!
//! A rule of a CustomResourceDefinition:
//!
//! ```
//! use expressions::{Bindings, Budget, DeclType, Environment, Type, Value, compile, structural};
//! use serde_json::json;
//!
//! let schema = json!({"type": "object", "properties": {"replicas": {"type": "integer"}}});
//! let decl = structural(&schema, false).expect("the schema exposes an object");
//! let environment = Environment::new().variable("self", decl.clone()).variable("oldSelf", decl);
//! let rule = compile("self.replicas >= oldSelf.replicas", &environment, &Type::Bool)?;
//! assert!(rule.uses("oldSelf"), "a transition rule");
//! assert!(rule.cost_estimate().max < expressions::limits::ESTIMATED_RULE_LIMIT);
//!
//! let (new, old) = (json!({"replicas": 3}), json!({"replicas": 2}));
//! let bindings = Bindings::new().json("self", &new).json("oldSelf", &old);
//! let mut budget = Budget::default();
//! assert!(matches!(rule.evaluate(&bindings, &mut budget), Ok(Value::Bool(true))));
//! # Ok::<(), expressions::CompileError>(())
//! ```
//!
//! A ValidatingAdmissionPolicy: `object`, `oldObject`, `request`, `params`, `namespaceObject`, `variables`, `authorizer`. A
//! MutatingAdmissionPolicy adds [`Environment::with_mutation_types`] and reads the result with [`Value::to_json`].
//!
//! ```
//! use expressions::{Bindings, Budget, DeclType, Environment, Type, Value, admission_request, compile};
//! use serde_json::json;
//!
//! let environment = Environment::new()
//!     .dynamic("object")
//!     .dynamic("oldObject")
//!     .dynamic("params")
//!     .variable("request", admission_request());
//! let replicas = compile("object.spec.replicas", &environment, &Type::Dyn)?;
//! let environment = environment.composed("replicas", replicas.result_type());
//! let rule = compile("variables.replicas <= params.max", &environment, &Type::Bool)?;
//!
//! let (object, params) = (json!({"spec": {"replicas": 3}}), json!({"max": 5}));
//! let bindings = Bindings::new().json("object", &object).json("params", &params).variable("replicas", &replicas);
//! assert!(matches!(rule.evaluate(&bindings, &mut Budget::default()), Ok(Value::Bool(true))));
//! # Ok::<(), expressions::CompileError>(())
//! ```
//!
//! A webhook's match condition has the same variables but `params` and `variables`, and `null` where there is no object:
//!
//! ```
//! use expressions::{Bindings, Budget, Environment, Type, Value, admission_request, compile, limits};
//! use serde_json::json;
//!
//! let environment = Environment::new().dynamic("object").dynamic("oldObject").variable("request", admission_request());
//! let condition = compile("request.userInfo.username != 'system:node'", &environment, &Type::Bool)?;
//! let request = json!({"userInfo": {"username": "alice"}});
//! let null = json!(null);
//! let bindings = Bindings::new().json("object", &null).json("oldObject", &null).json("request", &request);
//! let mut budget = Budget::new(limits::MATCH_CONDITIONS_BUDGET);
//! assert!(matches!(condition.evaluate(&bindings, &mut budget), Ok(Value::Bool(true))));
//! # Ok::<(), expressions::CompileError>(())
//! ```

mod ast;
mod authorizer;
mod bindings;
mod check;
mod cost;
pub mod decl;
mod environment;
mod errors;
mod estimate;
mod eval;
mod functions;
mod lex;
mod library;
pub mod limits;
mod parse;
pub mod program;
pub mod types;
mod value;
mod words;

pub use authorizer::{Authorizer, Decision, Question, ResourceTarget, Target};
pub use bindings::{Bindings, Resolver};
pub use decl::{DeclType, ListSemantics, admission_request, built_in, escape, namespace_object, structural, unescape};
pub use environment::Environment;
pub use errors::{CompileError, EvalError, Issue};
pub use estimate::CostEstimate;
pub use program::{Budget, Program, compile};
pub use types::Type;
pub use value::{List, Map, Text, Value};
pub use words::is_identifier;
