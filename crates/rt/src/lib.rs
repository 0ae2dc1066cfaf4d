//! How Coracle runs tasks: [`TaskSet`], [`Backoff`] and [`Clock`]; [`map_parallel`] for work that waits for nothing;
//! [`exposition`] for what is counted of it all.
//!
//! Every task is spawned into a [`TaskSet`], has a name, and is joined. Must not know: Kubernetes, files, sockets.
//! Start at [`TaskSet`].

mod backoff;
mod clock;
pub mod exposition;
mod parallel;
mod task_set;

pub use backoff::Backoff;
pub use clock::{Clock, FakeClock, SystemClock};
pub use parallel::map_parallel;
pub use task_set::TaskSet;
pub use tokio_util::sync::CancellationToken;
