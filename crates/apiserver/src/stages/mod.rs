//! The stages before a verb, one file each, in the order in which `pipeline` runs them.

pub mod audit;
pub mod authenticate;
pub mod authorize;
pub mod deadline;
pub mod flow;
pub mod impersonate;
