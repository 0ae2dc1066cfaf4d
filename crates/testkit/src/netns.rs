//! Network namespaces, for tests on the real kernel.

use std::path::Path;
use std::thread::JoinHandle;

use netlink::netns::{OwnedNetns, in_netns};
use rt::{CancellationToken, TaskSet};

/// False, and said loudly, where a test may not make namespaces.
pub fn root() -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        eprintln!("SKIPPED: kernel tests need root to make network namespaces");
    }
    root
}

/// A namespace of the test's own, to be named after it. It goes with the value.
pub fn scratch(name: &str) -> OwnedNetns {
    OwnedNetns::create(format!("/run/netns/{name}-{}", std::process::id())).expect("a network namespace")
}

/// A component that runs inside a namespace on a runtime of its own thread, as a process would.
pub struct Agent {
    shutdown: CancellationToken,
    thread: JoinHandle<()>,
}

impl Agent {
    /// `component` is to end when its tasks are cancelled.
    pub fn start<F: Future<Output = ()>>(netns: &Path, component: impl FnOnce(TaskSet) -> F + Send + 'static) -> Agent {
        let (shutdown, netns) = (CancellationToken::new(), netns.to_owned());
        let tasks = TaskSet::under(shutdown.clone());
        let agent = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async move {
                component(tasks.clone()).await;
                tasks.join().await;
            });
        };
        let thread = std::thread::spawn(move || in_netns(&netns, agent).expect("the namespace can be entered"));
        Agent { shutdown, thread }
    }

    pub fn stop(self) {
        self.shutdown.cancel();
        self.thread.join().expect("the component ends in order");
    }
}
