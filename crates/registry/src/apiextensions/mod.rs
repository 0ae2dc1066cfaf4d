//! The group `apiextensions.k8s.io`: definitions, and the kinds that they define.
//!
//! What is judged and how stands in the crate `apiextensions`; this is where the pipeline asks for it.

mod custom_resource;
mod definition;
mod schema_props;

pub use custom_resource::{CustomResource, NotServable};
pub use definition::CustomResourceDefinition;
