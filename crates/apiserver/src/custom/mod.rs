//! Custom resources: from the definitions in the store to what is served.

pub mod convert;
