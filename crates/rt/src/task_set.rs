//! A set of named tasks that end together.

use std::borrow::Cow;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

type BoxFuture = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A set of named tasks. Cloning shares the set. A task that panics is logged, and the set is cancelled: a
/// component that lost a task is not whole any more, and its owner is to restart it.
#[derive(Clone, Debug, Default)]
pub struct TaskSet {
    tracker: TaskTracker,
    token: CancellationToken,
}

impl TaskSet {
    pub fn new() -> Self {
        Self::default()
    }

    /// A set that is cancelled with this one but can be cancelled alone. The two are joined together: whoever joins one waits for
    /// the tasks of both.
    pub fn child(&self) -> Self {
        Self { tracker: self.tracker.clone(), token: self.token.child_token() }
    }

    /// A set on a token that somebody else holds.
    pub fn under(token: CancellationToken) -> Self {
        Self { tracker: TaskTracker::new(), token }
    }

    /// Cancelled when the set is asked to stop.
    pub fn token(&self) -> CancellationToken {
        self.token.clone()
    }

    /// Runs `future` until it ends. It is to watch [`TaskSet::token`].
    pub fn spawn<F>(&self, name: impl Into<Cow<'static, str>>, future: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.spawn_boxed(name.into(), Box::pin(future));
    }

    /// Runs `future` until it ends or the set is cancelled, whichever is first: for tasks that hold nothing that
    /// must be put in order.
    pub fn spawn_until_cancelled<F>(&self, name: impl Into<Cow<'static, str>>, future: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (token, future) = (self.token(), Box::pin(future) as BoxFuture);
        self.spawn(name, async move {
            let _ = token.run_until_cancelled(future).await;
        });
    }

    /// What a task needs stands once in the program, not once for each future.
    fn spawn_boxed(&self, name: Cow<'static, str>, future: BoxFuture) {
        let span = tracing::info_span!("task", task = %name);
        let guard = PanicGuard { token: self.token.clone(), name: Arc::from(name.as_ref()) };
        let task = async move {
            let _guard = guard;
            future.await;
        };
        self.tracker.spawn(task.instrument(span));
    }

    /// Asks all tasks to end.
    pub fn cancel(&self) {
        self.token.cancel();
    }

    /// Waits until all tasks have ended.
    pub async fn join(&self) {
        self.tracker.close();
        self.tracker.wait().await;
    }

    /// Asks all tasks to end, and waits for them.
    pub async fn shutdown(&self) {
        self.cancel();
        self.join().await;
    }
}

/// Cancels the set when a task ends by a panic. A task that is dropped with the runtime does nothing.
struct PanicGuard {
    token: CancellationToken,
    name: Arc<str>,
}

impl Drop for PanicGuard {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tracing::error!(task = %self.name, "task panicked; its component stops");
            self.token.cancel();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn shutdown_waits_for_every_task() {
        let tasks = TaskSet::new();
        let token = tasks.token();
        let (sender, receiver) = tokio::sync::oneshot::channel();
        tasks.spawn("waits", async move {
            token.cancelled().await;
            sender.send(()).expect("the test listens");
        });
        tasks.shutdown().await;
        receiver.await.expect("the task ended in order");
    }

    #[tokio::test]
    async fn a_panic_cancels_the_set() {
        let tasks = TaskSet::new();
        tasks.spawn("panics", async { panic!("on purpose") });
        tasks.token().cancelled().await;
        tasks.join().await;
    }

    #[tokio::test]
    async fn a_child_stops_alone() {
        let tasks = TaskSet::new();
        let child = tasks.child();
        child.cancel();
        assert!(!tasks.token().is_cancelled());
        tasks.cancel();
        assert!(child.token().is_cancelled());
    }
}
