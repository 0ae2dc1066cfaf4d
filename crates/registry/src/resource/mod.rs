//! The group `resource.k8s.io`: dynamic allocation of devices.

mod claim;
mod device;
mod device_class;
mod slice;
mod status;

pub use claim::{ResourceClaim, ResourceClaimTemplate};
pub use device_class::DeviceClass;
pub use slice::ResourceSlice;
