//! The flow-control stage: a limit of requests in flight. Priority and fairness takes this place later.

use std::sync::Arc;

use apimachinery::Status;
use auth::names;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::call::Call;
use crate::server::Inner;

/// Free places for mutating and for reading requests.
pub struct Limits {
    mutating: Arc<Semaphore>,
    readonly: Arc<Semaphore>,
}

impl Limits {
    pub fn new(mutating: usize, readonly: usize) -> Limits {
        Limits { mutating: Arc::new(Semaphore::new(mutating)), readonly: Arc::new(Semaphore::new(readonly)) }
    }
}

/// A place until the answer is made; none for what stays open and for administrators.
pub fn run(server: &Inner, call: &Call) -> Result<Option<OwnedSemaphorePermit>, Status> {
    if call.info.long_running() || call.user.in_group(names::MASTERS) {
        return Ok(None);
    }
    let limits = &server.limits;
    let places = if call.info.is_mutating() { &limits.mutating } else { &limits.readonly };
    let full = |_| Status::too_many_requests("Too many requests, please try again later.", 1);
    places.clone().try_acquire_owned().map(Some).map_err(full)
}
