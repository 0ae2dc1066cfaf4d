//! The Kubernetes objects: schema tables generated from the published schema, and typed views.
//!
//! [`schema`] answers what a field is (type, list kind, merge key) and drives everything dynamic: strict decoding,
//! patches, managed fields. [`proto`] says what the wire looks like in protobuf, also of versions that are no longer
//! served. [`discovery`] holds the published discovery facts, [`docs`] what fields mean. The typed structs are
//! `k8s-openapi`'s; they drop unknown fields, so they are views for logic, never what the API server stores.
//!
//! Must not know: requests, validation, storage. Start at [`schema::SchemaNode`].

pub mod discovery;
pub mod docs;
pub mod proto;
mod rows;
pub mod schema;

pub use k8s_openapi as k8s;
pub use k8s_openapi::api::admissionregistration::v1 as admissionregistrationv1;
pub use k8s_openapi::api::apps::v1 as appsv1;
pub use k8s_openapi::api::authentication::v1 as authenticationv1;
pub use k8s_openapi::api::authorization::v1 as authorizationv1;
pub use k8s_openapi::api::autoscaling::v1 as autoscalingv1;
pub use k8s_openapi::api::autoscaling::v2 as autoscalingv2;
pub use k8s_openapi::api::batch::v1 as batchv1;
pub use k8s_openapi::api::certificates::v1 as certificatesv1;
pub use k8s_openapi::api::coordination::v1 as coordinationv1;
pub use k8s_openapi::api::core::v1 as corev1;
pub use k8s_openapi::api::discovery::v1 as discoveryv1;
pub use k8s_openapi::api::events::v1 as eventsv1;
pub use k8s_openapi::api::networking::v1 as networkingv1;
pub use k8s_openapi::api::node::v1 as nodev1;
pub use k8s_openapi::api::policy::v1 as policyv1;
pub use k8s_openapi::api::rbac::v1 as rbacv1;
pub use k8s_openapi::api::resource::v1 as resourcev1;
pub use k8s_openapi::api::scheduling::v1 as schedulingv1;
pub use k8s_openapi::api::storage::v1 as storagev1;
pub use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1 as apiextensionsv1;
pub use k8s_openapi::apimachinery::pkg::apis::meta::v1 as metav1;
pub use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1 as apiregistrationv1;
