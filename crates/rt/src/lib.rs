//! How Coracle runs tasks: [`TaskSet`], [`Backoff`] and [`Clock`].
//!
//! Every task is spawned into a [`TaskSet`], has a name, and is joined. Must not know: Kubernetes, files, sockets.
//! Start at [`TaskSet`].

mod backoff;
mod clock;
mod task_set;

pub use backoff::Backoff;
pub use clock::{Clock, FakeClock, SystemClock};
pub use task_set::TaskSet;
pub use tokio_util::sync::CancellationToken;
