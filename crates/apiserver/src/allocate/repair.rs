//! Now and then compares the pools with the stored Services, and gives back what nobody holds.
//!
//! A number is only given back when two looks in a row found it unused: a Service may be on its way into the store.

use std::sync::Arc;
use std::time::Duration;

use rt::TaskSet;
use store::Key;

use super::{Allocators, Held, service};
use crate::server::Inner;

const PERIOD: Duration = Duration::from_secs(180);

pub fn spawn(server: &Arc<Inner>, tasks: &TaskSet) {
    let server = server.clone();
    tasks.spawn_until_cancelled("service-allocation-repair", async move {
        let mut suspected = Held::default();
        let mut interval = tokio::time::interval_at(tokio::time::Instant::now() + PERIOD, PERIOD);
        loop {
            interval.tick().await;
            suspected = sweep(&server, &suspected);
        }
    });
}

/// Returns what is unused now; gives back what was unused already.
fn sweep(server: &Inner, suspected: &Held) -> Held {
    let unused = unused(server);
    let allocators: &Allocators = &server.allocators;
    let mut pools = allocators.pools.lock();
    for address in unused.addresses.iter().filter(|address| suspected.addresses.contains(address)) {
        tracing::warn!(%address, "a cluster IP was taken by no service and is free again");
        pools.addresses.release(*address);
    }
    for port in unused.ports.iter().filter(|port| suspected.ports.contains(port)) {
        tracing::warn!(port, "a node port was taken by no service and is free again");
        pools.ports.release(*port);
    }
    unused
}

fn unused(server: &Inner) -> Held {
    let mut taken = server.allocators.taken();
    let prefix = Key::prefix("", "services", None);
    for (_, object) in server.store.snapshot().range(&prefix, None) {
        let held = service::held(&object.value());
        taken.addresses.retain(|address| !held.addresses.contains(address));
        taken.ports.retain(|port| !held.ports.contains(port));
    }
    taken
}
