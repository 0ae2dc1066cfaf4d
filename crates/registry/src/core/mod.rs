//! The core group.

mod config_map;
mod endpoints;
mod limit_range;
mod namespace;
mod node;
mod persistent_volume;
mod persistent_volume_claim;
mod pod;
mod pod_parts;
mod pod_row;
mod pod_template;
mod pod_update;
mod replication_controller;
mod resource_quota;
mod secret;
mod service;
mod service_account;
mod service_change;
mod service_rules;
mod volume_warnings;

pub use config_map::ConfigMap;
pub use endpoints::{Endpoints, special_ip};
pub use limit_range::LimitRange;
pub use namespace::Namespace;
pub use node::Node;
pub use persistent_volume::{PersistentVolume, Place as VolumePlace, validate_volume_spec};
pub use persistent_volume_claim::{PersistentVolumeClaim, default_claim, validate_claim_spec};
pub use pod::Pod;
pub use pod_template::PodTemplate;
pub use replication_controller::ReplicationController;
pub use resource_quota::ResourceQuota;
pub use secret::Secret;
pub use service::Service;
pub use service_account::ServiceAccount;
pub use service_change::load_balancer_address;
pub use service_rules::addresses as check_service_addresses;
