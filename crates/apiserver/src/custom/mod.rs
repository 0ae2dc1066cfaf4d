//! Custom resources: from the definitions in the store to what is served.

pub use cleanup::FINALIZER;

mod cleanup;
pub mod convert;
pub mod definitions;
mod resources;
