//! The loop that every controller shares.

use std::fmt::{Debug, Display};
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use rt::{CancellationToken, TaskSet};

use crate::WorkQueue;

/// What follows a pass that went well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Requeue {
    /// Nothing, until something changes.
    AwaitChange,
    /// Another pass after this time.
    After(Duration),
}

/// Why a pass did not go well, and what follows.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    /// Another pass, after a pause that grows.
    #[error("try again")]
    Retry(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Nothing, until something changes: trying again cannot help.
    #[error("give up until something changes")]
    GiveUp(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl ReconcileError {
    /// Try again, for a reason in words.
    pub fn retry(reason: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Retry(reason.into())
    }
}

impl From<client::Error> for ReconcileError {
    fn from(error: client::Error) -> Self {
        Self::Retry(Box::new(error))
    }
}

/// Brings what one key names into its wanted state. Gets the key and nothing else.
#[async_trait]
pub trait Reconciler: Send + Sync + 'static {
    type Key: Clone + Eq + Hash + Debug + Display + Send + Sync + 'static;

    async fn reconcile(&self, key: &Self::Key) -> Result<Requeue, ReconcileError>;
}

/// Reconciles keys from the queue with so many workers, until cancelled; a pass that runs is finished.
pub async fn run_reconciler<R: Reconciler>(
    name: &'static str,
    reconciler: Arc<R>,
    queue: WorkQueue<R::Key>,
    workers: usize,
    shutdown: CancellationToken,
) {
    queue.measure(name);
    let tasks = TaskSet::under(shutdown.child_token());
    for _ in 0..workers {
        let (reconciler, queue, token) = (reconciler.clone(), queue.clone(), tasks.token());
        tasks.spawn(name, async move {
            while let Some(key) = token.run_until_cancelled(queue.get()).await {
                pass(name, reconciler.as_ref(), &queue, &key).await;
            }
        });
    }
    tasks.join().await;
}

async fn pass<R: Reconciler>(name: &'static str, reconciler: &R, queue: &WorkQueue<R::Key>, key: &R::Key) {
    match reconciler.reconcile(key).await {
        Ok(requeue) => {
            queue.forget(key);
            if let Requeue::After(delay) = requeue {
                queue.add_after(key.clone(), delay);
            }
        }
        Err(ReconcileError::Retry(source)) => {
            log_retry(name, key, source.as_ref());
            queue.add_rate_limited(key.clone());
        }
        Err(ReconcileError::GiveUp(source)) => {
            queue.forget(key);
            tracing::warn!(controller = name, key = %key, error = &*source, "gave up until something changes");
        }
    }
    queue.done(key);
}

fn log_retry(name: &'static str, key: &impl Display, source: &(dyn std::error::Error + Send + Sync + 'static)) {
    let stale = source.downcast_ref::<client::Error>().is_some_and(client::Error::is_conflict);
    if stale {
        tracing::debug!(controller = name, key = %key, "acted on a stale state; trying again");
    } else {
        tracing::info!(controller = name, key = %key, error = source as &dyn std::error::Error, "trying again");
    }
}
