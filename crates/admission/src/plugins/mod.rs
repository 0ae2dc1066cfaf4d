//! One file for each plugin.

mod default_class;
mod default_toleration_seconds;
mod empty;
mod limit_ranger;
mod namespace_lifecycle;
mod node_restriction;
mod priority;
mod runtime_class;
mod service_account;
mod taint_nodes_by_condition;

pub use default_class::{DefaultIngressClass, DefaultStorageClass};
pub use default_toleration_seconds::DefaultTolerationSeconds;
pub use empty::{
    MutatingAdmissionPolicy, MutatingAdmissionWebhook, PodSecurity, ResourceQuota, ValidatingAdmissionPolicy,
    ValidatingAdmissionWebhook,
};
pub use limit_ranger::LimitRanger;
pub use namespace_lifecycle::NamespaceLifecycle;
pub use node_restriction::NodeRestriction;
pub use priority::Priority;
pub use runtime_class::RuntimeClass;
pub use service_account::ServiceAccount;
pub use taint_nodes_by_condition::TaintNodesByCondition;
