//! Follows the monitors: each end of a container becomes an event, and so does the end of a monitor.

use std::sync::Arc;

use super::Inner;
use super::connection::Connection;
use crate::monitor::protocol::{Reply, Request};
use crate::records;
use crate::runtime::{ContainerState, RuntimeError, RuntimeEvent};

pub async fn follow(inner: Arc<Inner>, uid: String) {
    if let Err(error) = read_events(&inner, &uid).await
        && inner.watched.lock().remove(&uid)
    {
        tracing::warn!(pod = uid, %error, "monitor ended");
        inner.journal_lost(&uid);
    }
}

async fn read_events(inner: &Inner, uid: &str) -> Result<(), RuntimeError> {
    let mut connection = Connection::open(&inner.run.sandbox(uid), uid).await?;
    connection.send(&Request::Subscribe, &[]).await?;
    // What ended before we listened is in the journal: let the readers look.
    inner.announce(uid, "", None);
    loop {
        if let Reply::Ended { id, code } = connection.next().await?.0 {
            inner.announce(uid, &id, Some(code));
        }
    }
}

impl Inner {
    fn announce(&self, uid: &str, container: &str, exit_code: Option<i32>) {
        let event = RuntimeEvent { sandbox: uid.to_owned(), container: container.to_owned(), exit_code };
        // No reader is no fault.
        let _ = self.events.send(event);
    }

    /// Nobody holds this sandbox's processes any more: end them, and write down that their ends were not seen.
    pub(super) fn journal_lost(&self, uid: &str) {
        let dir = self.run.sandbox(uid);
        let Ok(Some(status)) = records::read_sandbox(&dir) else {
            return;
        };
        self.hierarchy.kill_all(&status.config.cgroup);
        for container in status.containers.iter().filter(|container| container.state.exit().is_none()) {
            if container.state == ContainerState::Created {
                continue;
            }
            let message = "The container's monitor was lost, so its end was not seen";
            if let Err(error) = records::write_unknown_exit(&dir.container(&container.config.id), message) {
                tracing::error!(pod = uid, container = container.config.id, %error, "journal a lost container");
            }
            self.announce(uid, &container.config.id, Some(137));
        }
    }
}
