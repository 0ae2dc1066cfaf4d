//! How a controller runs: [`Informers`] keep caches by list and watch, a [`Lister`] reads them, a [`WorkQueue`] holds keys,
//! a [`Reconciler`] gets one key at a time and nothing else.
//!
//! Must not know: any particular kind, the API server's insides. Start at [`Informers`] and [`run_reconciler`].

mod cache;
mod informers;
mod kept;
mod leader_election;
mod lister;
mod metrics;
mod reconciler;
mod reflector;
mod work_queue;

pub use informers::{Informers, Selection};
pub use leader_election::{LeaderElection, Lost};
pub use lister::{Change, Index, Lister};
pub use metrics::write as write_metrics;
pub use reconciler::{ReconcileError, Reconciler, Requeue, run_reconciler};
pub use work_queue::WorkQueue;
