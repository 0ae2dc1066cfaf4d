//! A target for each parser that reads what strangers write, and a mutation loop that runs them.
//!
//! A [`Target`] takes any bytes, and panics where an invariant does not hold. [`mutate`] makes new inputs of old ones. Knows
//! of the rooms only what it feeds. Start at [`targets::all`].

mod files;
mod mutate;
mod pipeline;
pub mod targets;
mod wire;

pub use mutate::Mutator;
pub use targets::{Target, all};
