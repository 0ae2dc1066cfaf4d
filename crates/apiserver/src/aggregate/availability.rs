//! Looks after remote group versions: each is looked at when something about it changes, and now and then.

use std::sync::Arc;
use std::time::Duration;

use futures::stream::{FuturesUnordered, StreamExt};
use rt::TaskSet;
use store::{Event, Key, Watcher};
use tokio::time::{Instant, interval_at};

use super::schedule::Schedule;
use super::{GROUP, NAME, check};
use crate::server::{Inner, StartError};

/// What no event tells is found out by looking again.
const PERIOD: Duration = Duration::from_secs(30);
/// How often the certificate that servers know this one by is looked at.
const CERTIFICATE_CHECK_PERIOD: Duration = Duration::from_secs(6 * 3600);
/// What decides whether a server can be reached: group and resource.
const FOLLOWED: [(&str, &str); 3] = [(GROUP, NAME), ("", "services"), ("discovery.k8s.io", "endpointslices")];

/// Takes in what is stored, then follows in a task of the set.
pub fn follow(server: &Arc<Inner>, tasks: &TaskSet) -> Result<(), StartError> {
    let watchers = watch(server)?;
    server.remotes.read(&server.store);
    let server = server.clone();
    tasks.spawn_until_cancelled("apiservice-availability", async move { run(&server, watchers).await });
    Ok(())
}

fn watch(server: &Inner) -> Result<[Watcher; 3], StartError> {
    let revision = server.store.revision();
    let of = |place: usize| {
        let (group, resource) = FOLLOWED[place];
        server.store.watch(Key::prefix(group, resource, None), revision).map_err(StartError::History)
    };
    Ok([of(0)?, of(1)?, of(2)?])
}

/// Everything that wakes the loop.
enum Wake {
    Changed(Arc<Event>),
    Lost,
    Due,
    Period,
    Certificate,
    /// Which one, and whether it passed.
    Done(String, bool),
}

async fn run(server: &Arc<Inner>, mut watchers: [Watcher; 3]) {
    let mut schedule = Schedule::default();
    let mut running = FuturesUnordered::new();
    let mut period = interval_at(Instant::now() + PERIOD, PERIOD);
    let mut certificate = interval_at(Instant::now() + CERTIFICATE_CHECK_PERIOD, CERTIFICATE_CHECK_PERIOD);
    add_all(server, &mut schedule);
    loop {
        while let Some(name) = schedule.start(Instant::now()) {
            running.push(look(server.clone(), name));
        }
        let due = schedule.next_due();
        let [services, backends, slices] = &mut watchers;
        let wake = tokio::select! {
            event = services.next() => event.map_or(Wake::Lost, Wake::Changed),
            event = backends.next() => event.map_or(Wake::Lost, Wake::Changed),
            event = slices.next() => event.map_or(Wake::Lost, Wake::Changed),
            Some((name, passed)) = running.next() => Wake::Done(name, passed),
            () = tokio::time::sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => Wake::Due,
            _ = period.tick() => Wake::Period,
            _ = certificate.tick() => Wake::Certificate,
        };
        match wake {
            Wake::Due => {}
            Wake::Done(name, passed) => schedule.done(&name, passed, Instant::now()),
            Wake::Period => add_all(server, &mut schedule),
            Wake::Certificate => renew(server),
            Wake::Changed(event) => add_concerned(server, &event, &mut schedule),
            Wake::Lost => {
                let Ok(fresh) = watch(server) else { return };
                watchers = fresh;
                server.remotes.read(&server.store);
                add_all(server, &mut schedule);
            }
        }
    }
}

fn renew(server: &Inner) {
    if let Err(error) = server.remotes.renew(&server.pki) {
        tracing::error!(error = &error as &dyn std::error::Error, "cannot renew the front-proxy certificate");
    }
}

fn add_all(server: &Inner, schedule: &mut Schedule) {
    server.remotes.all().iter().for_each(|remote| schedule.add(&remote.name, Instant::now()));
}

fn add_concerned(server: &Inner, event: &Event, schedule: &mut Schedule) {
    let (namespace, header) = (event.key.namespace(), &event.object().header);
    let service = match event.key.resource() {
        NAME => {
            server.remotes.read(&server.store);
            return schedule.add(event.key.name(), Instant::now());
        }
        "services" => event.key.name(),
        _ => header.label("kubernetes.io/service-name").unwrap_or_default(),
    };
    let all = server.remotes.all();
    let concerned = all.iter().filter(|own| own.service.namespace == namespace && own.service.name == service);
    concerned.for_each(|remote| schedule.add(&remote.name, Instant::now()));
}

/// One that is gone, or served here, has passed.
async fn look(server: Arc<Inner>, name: String) -> (String, bool) {
    let remote = server.remotes.all().iter().find(|remote| remote.name == name).cloned();
    let passed = match remote {
        Some(remote) => check::run(&server, &remote).await,
        None => true,
    };
    (name, passed)
}
