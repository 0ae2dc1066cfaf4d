//! Answers for the addresses whose leases this node holds.
//!
//! Reads: Services, EndpointSlices, Nodes, Leases.  Writes: Leases (one an address).
//! Does not know: how addresses are given out, what the packets are for.  Start at [`crate::election::decide`].

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use api::coordinationv1::{Lease, LeaseSpec};
use api::corev1::{Node, Service};
use api::discoveryv1::EndpointSlice;
use api::metav1::{MicroTime, ObjectMeta};
use apimachinery::ObjectKey;
use client::{Api, Client, Object};
use controller_runtime::{Informers, Lister, Selection};
use netlink::{Handle, Link, PacketSocket};
use rt::{CancellationToken, TaskSet};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout};

use crate::election::{LEASE_DURATION, RENEW_PERIOD, SeenLease, Situation, Step, announces, decide, ranking};
use crate::{Pool, arp, is_ours, recorded};

const LEASE_NAMESPACE: &str = "kube-system";
const LEASE_PREFIX: &str = "load-balancer-";
const SERVICE_NAME_LABEL: &str = "kubernetes.io/service-name";
/// A write that takes longer is given up; there is another one each second.
const WRITE_TIMEOUT: Duration = Duration::from_secs(1);
/// Announcements get lost like anything else.
const ANNOUNCEMENTS: u32 = 3;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("find the link that addresses are announced on")]
    Link(#[source] netlink::Error),
    #[error("no link of this node has the address {0}")]
    NoLink(Ipv4Addr),
}

#[derive(Clone, Debug)]
pub struct AnnouncerConfig {
    pub node_name: String,
    /// The node's address on the LAN; its link is where addresses are announced.
    pub node_ip: Ipv4Addr,
    pub pool: Pool,
}

/// Elects and announces on one node.
pub struct Announcer {
    config: AnnouncerConfig,
    client: Client,
    services: Lister<Service>,
    slices: Lister<EndpointSlice>,
    nodes: Lister<Node>,
    leases: Lister<Lease>,
    link: Link,
    seen: BTreeMap<Ipv4Addr, Seen>,
}

/// What this node remembers of one address between two looks.
#[derive(Default)]
struct Seen {
    /// The lease's version, and when it was first seen.
    version: Option<(String, Instant)>,
    free_since: Option<Instant>,
    /// A write went wrong: not again before then.
    retry_at: Option<Instant>,
}

impl Announcer {
    /// Works in the network namespace of the calling thread.
    pub fn new(config: AnnouncerConfig, client: &Client, informers: &Informers) -> Result<Self, Error> {
        let link = find_link(config.node_ip)?;
        let leases = Selection { namespace: LEASE_NAMESPACE.to_owned(), ..Selection::default() };
        Ok(Self {
            client: client.clone(),
            services: informers.lister(),
            slices: informers.lister(),
            nodes: informers.lister(),
            leases: informers.lister_for(leases),
            link,
            seen: BTreeMap::new(),
            config,
        })
    }

    /// Runs until `shutdown`, then gives its leases up so that others need not wait.
    pub async fn run(mut self, shutdown: CancellationToken) -> Result<(), Error> {
        let changed = self.subscribe();
        if shutdown.run_until_cancelled(self.synced()).await.is_none() {
            return Ok(());
        }
        let tasks = TaskSet::new();
        let (announced, answering) = watch::channel(BTreeSet::new());
        let responder = Responder::open(&self.link, answering).map_err(Error::Link)?;
        tasks.spawn_until_cancelled("arp responder", responder.run());
        tracing::info!(link = %self.link.name, "watching services of type LoadBalancer");
        loop {
            let next = self.pass(&announced).await;
            tokio::select! {
                () = shutdown.cancelled() => break,
                () = changed.notified() => {}
                () = tokio::time::sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {}
            }
        }
        let held: Vec<_> = announced.borrow().iter().copied().collect();
        tasks.shutdown().await;
        for address in held {
            self.write(address, Step::Release).await;
        }
        Ok(())
    }

    fn subscribe(&self) -> Arc<Notify> {
        let changed = Arc::new(Notify::new());
        let wake = || {
            let changed = changed.clone();
            move || changed.notify_one()
        };
        let (services, slices, nodes, leases) = (wake(), wake(), wake(), wake());
        self.services.subscribe(move |_| services());
        self.slices.subscribe(move |_| slices());
        self.nodes.subscribe(move |_| nodes());
        self.leases.subscribe(move |_| leases());
        changed
    }

    async fn synced(&self) {
        self.services.synced().await;
        self.slices.synced().await;
        self.nodes.synced().await;
        self.leases.synced().await;
    }

    /// Looks at every address, does what is due, and says when to look again.
    async fn pass(&mut self, announced: &watch::Sender<BTreeSet<Ipv4Addr>>) -> Option<Instant> {
        let wanted = self.wanted();
        let left: Vec<_> = self.seen.keys().filter(|address| !wanted.contains_key(address)).copied().collect();
        for address in left {
            self.leave(address, announced).await;
        }
        let mut next: Option<Instant> = None;
        for (address, services) in wanted {
            let at = self.tend(address, &services, announced).await;
            next = [next, at].into_iter().flatten().min();
        }
        next
    }

    /// The addresses to be announced by somebody, and for which services.
    fn wanted(&self) -> BTreeMap<Ipv4Addr, Vec<Arc<Service>>> {
        let mut wanted: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for service in self.services.list().into_iter().filter(|service| is_ours(service)) {
            for address in recorded(&service).into_iter().filter(|address| self.config.pool.contains(*address)) {
                wanted.entry(address).or_default().push(service.clone());
            }
        }
        wanted
    }

    async fn tend(
        &mut self,
        address: Ipv4Addr,
        services: &[Arc<Service>],
        announced: &watch::Sender<BTreeSet<Ipv4Addr>>,
    ) -> Option<Instant> {
        let now = Instant::now();
        let situation = self.situation(address, services, now);
        set_announced(announced, address, announces(&situation));
        match decide(&situation, now) {
            Step::Wait => None,
            Step::WaitUntil(at) => Some(at),
            step => {
                let retry_at = self.seen.get(&address).and_then(|seen| seen.retry_at).filter(|at| *at > now);
                if retry_at.is_none() {
                    self.write(address, step).await;
                }
                // The watch brings what was written; if it does not, this is when to look.
                Some(retry_at.unwrap_or(now + RENEW_PERIOD))
            }
        }
    }

    fn situation(&mut self, address: Ipv4Addr, services: &[Arc<Service>], now: Instant) -> Situation {
        let candidates = self.candidates(services);
        let ranked = ranking(address, &candidates);
        let place = ranked.iter().position(|node| **node == self.config.node_name);
        let lease = self.leases.get(&ObjectKey::new(LEASE_NAMESPACE, lease_name(address)));
        let seen = self.seen.entry(address).or_default();
        let lease = lease.map(|lease| seen_lease(seen, &lease, now));
        let holder_alive = lease.as_ref().is_some_and(|lease| {
            self.nodes.get(&ObjectKey::cluster(&lease.holder)).is_some_and(|node| is_ready(&node))
        });
        let held = lease.as_ref().is_some_and(|lease| !lease.holder.is_empty()) && holder_alive;
        let seen = self.seen.entry(address).or_default();
        seen.free_since = if held { None } else { seen.free_since.or(Some(now)) };
        Situation {
            node: self.config.node_name.clone(),
            candidate: place.is_some(),
            rank: place.and_then(|place| u32::try_from(place).ok()).unwrap_or_default(),
            lease,
            holder_alive,
            free_since: seen.free_since,
        }
    }

    /// The nodes that may hold the address of these services: ready ones (all, if none is), and with the policy Local only those
    /// with endpoints.
    fn candidates(&self, services: &[Arc<Service>]) -> Vec<String> {
        let nodes = self.nodes.list();
        let named = |node: &Arc<Node>| node.name().to_owned();
        let mut names: Vec<_> = nodes.iter().filter(|node| is_ready(node)).map(named).collect();
        if names.is_empty() {
            names = nodes.iter().map(named).collect();
        }
        for service in services.iter().filter(|service| is_local(service)) {
            let with_endpoints = self.nodes_with_endpoints(service);
            names.retain(|node| with_endpoints.contains(node));
        }
        names
    }

    fn nodes_with_endpoints(&self, service: &Service) -> BTreeSet<String> {
        let mut nodes = BTreeSet::new();
        let of_service = |slice: &&Arc<EndpointSlice>| {
            let labels = slice.metadata.labels.as_ref();
            labels.and_then(|labels| labels.get(SERVICE_NAME_LABEL)).is_some_and(|name| name == service.name())
        };
        for slice in self.slices.namespace(service.namespace()).iter().filter(of_service) {
            let ready = slice.endpoints.iter().flatten().filter(|endpoint| {
                endpoint.conditions.as_ref().and_then(|conditions| conditions.ready).unwrap_or(true)
            });
            nodes.extend(ready.filter_map(|endpoint| endpoint.node_name.clone()));
        }
        nodes
    }

    /// The address is nobody's any more.
    async fn leave(&mut self, address: Ipv4Addr, announced: &watch::Sender<BTreeSet<Ipv4Addr>>) {
        set_announced(announced, address, false);
        self.seen.remove(&address);
        let name = lease_name(address);
        let held = self
            .leases
            .get(&ObjectKey::new(LEASE_NAMESPACE, &name))
            .is_some_and(|lease| holder(&lease) == self.config.node_name);
        if held {
            let api: Api<Lease> = Api::namespaced(&self.client, LEASE_NAMESPACE);
            match timeout(WRITE_TIMEOUT, api.delete(&name, &client::DeleteParams::default())).await {
                Ok(Ok(())) => tracing::info!(%address, "address is not announced any more"),
                Ok(Err(error)) if error.is_not_found() => {}
                Ok(Err(error)) => tracing::warn!(%address, %error, "lease not deleted"),
                Err(_) => tracing::warn!(%address, "lease not deleted in time"),
            }
        }
    }

    async fn write(&mut self, address: Ipv4Addr, step: Step) {
        let now = Instant::now();
        let written = timeout(WRITE_TIMEOUT, self.write_lease(address, step)).await;
        let retry_at = match written {
            Ok(Ok(())) => {
                if step == Step::Acquire {
                    tracing::info!(%address, link = %self.link.name, "this node announces the address now");
                }
                None
            }
            // Somebody was faster; the watch will tell who.
            Ok(Err(error)) if error.is_conflict() || error.is_already_exists() => Some(now + RENEW_PERIOD),
            Ok(Err(error)) => {
                tracing::warn!(%address, %error, "lease not written");
                Some(now + RENEW_PERIOD)
            }
            Err(_) => {
                tracing::warn!(%address, "lease not written in time");
                Some(now + RENEW_PERIOD)
            }
        };
        self.seen.entry(address).or_default().retry_at = retry_at;
    }

    async fn write_lease(&self, address: Ipv4Addr, step: Step) -> Result<(), client::Error> {
        let api: Api<Lease> = Api::namespaced(&self.client, LEASE_NAMESPACE);
        let name = lease_name(address);
        let current = self.leases.get(&ObjectKey::new(LEASE_NAMESPACE, &name));
        let spec = next_spec(current.as_deref(), &self.config.node_name, step, jiff::Timestamp::now());
        match current {
            // Carries the version that was decided upon: a lease that changed meanwhile is left alone.
            Some(current) => {
                let lease = Lease { spec: Some(spec), ..(*current).clone() };
                api.update(&lease).await.map(drop)
            }
            None if step == Step::Release => Ok(()),
            None => {
                let namespace = Some(LEASE_NAMESPACE.to_owned());
                let metadata = ObjectMeta { name: Some(name), namespace, ..ObjectMeta::default() };
                api.create(&Lease { metadata, spec: Some(spec) }).await.map(drop)
            }
        }
    }
}

fn find_link(address: Ipv4Addr) -> Result<Link, Error> {
    let handle = Handle::open().map_err(Error::Link)?;
    let addresses = handle.addresses().map_err(Error::Link)?;
    let index = addresses.iter().find(|found| found.cidr.address() == address).map(|found| found.link);
    let links = handle.links().map_err(Error::Link)?;
    links.into_iter().find(|link| Some(link.index) == index).ok_or(Error::NoLink(address))
}

fn set_announced(announced: &watch::Sender<BTreeSet<Ipv4Addr>>, address: Ipv4Addr, wanted: bool) {
    announced.send_if_modified(|addresses| match wanted {
        true => addresses.insert(address),
        false => addresses.remove(&address),
    });
}

fn lease_name(address: Ipv4Addr) -> String {
    format!("{LEASE_PREFIX}{}", address.to_string().replace('.', "-"))
}

fn holder(lease: &Lease) -> &str {
    lease.spec.as_ref().and_then(|spec| spec.holder_identity.as_deref()).unwrap_or_default()
}

/// The lease with the moment at which this node first saw this version of it: clocks of nodes are not compared.
fn seen_lease(seen: &mut Seen, lease: &Lease, now: Instant) -> SeenLease {
    let version = lease.resource_version();
    let seen_at = match &seen.version {
        Some((known, at)) if known == version => *at,
        _ => now,
    };
    seen.version = Some((version.to_owned(), seen_at));
    let seconds = lease.spec.as_ref().and_then(|spec| spec.lease_duration_seconds).and_then(|s| u64::try_from(s).ok());
    SeenLease {
        holder: holder(lease).to_owned(),
        seen_at,
        duration: seconds.map_or(LEASE_DURATION, Duration::from_secs),
    }
}

fn next_spec(current: Option<&Lease>, node: &str, step: Step, now: jiff::Timestamp) -> LeaseSpec {
    let mut spec = current.and_then(|lease| lease.spec.clone()).unwrap_or_default();
    spec.lease_duration_seconds = i32::try_from(LEASE_DURATION.as_secs()).ok();
    spec.renew_time = Some(MicroTime(now));
    match step {
        Step::Release => spec.holder_identity = Some(String::new()),
        Step::Acquire => {
            spec.holder_identity = Some(node.to_owned());
            spec.acquire_time = Some(MicroTime(now));
            spec.lease_transitions = Some(spec.lease_transitions.map_or(0, |count| count.saturating_add(1)));
        }
        Step::Renew | Step::Wait | Step::WaitUntil(_) => {}
    }
    spec
}

fn is_local(service: &Service) -> bool {
    service.spec.as_ref().and_then(|spec| spec.external_traffic_policy.as_deref()) == Some("Local")
}

fn is_ready(node: &Node) -> bool {
    let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// Answers ARP for the announced addresses, and tells the LAN about new ones.
struct Responder {
    socket: PacketSocket,
    own: netlink::MacAddress,
    answering: watch::Receiver<BTreeSet<Ipv4Addr>>,
    /// Addresses that are to be told again, and how often.
    fresh: BTreeMap<Ipv4Addr, u32>,
    known: BTreeSet<Ipv4Addr>,
}

impl Responder {
    fn open(link: &Link, answering: watch::Receiver<BTreeSet<Ipv4Addr>>) -> Result<Self, netlink::Error> {
        let own = link.mac.ok_or_else(|| netlink::Error::NoLink(link.name.clone()))?;
        let socket = PacketSocket::open(link, arp::ETHERTYPE)?;
        Ok(Self { socket, own, answering, fresh: BTreeMap::new(), known: BTreeSet::new() })
    }

    async fn run(mut self) {
        let mut again = tokio::time::interval(Duration::from_millis(500));
        again.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                changed = self.answering.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    self.take_up();
                    self.announce().await;
                }
                _ = again.tick(), if !self.fresh.is_empty() => self.announce().await,
                frame = self.socket.receive() => self.answer(frame).await,
            }
        }
    }

    fn take_up(&mut self) {
        let now = self.answering.borrow_and_update().clone();
        self.fresh.retain(|address, _| now.contains(address));
        self.fresh.extend(now.difference(&self.known).map(|address| (*address, ANNOUNCEMENTS)));
        self.known = now;
    }

    async fn announce(&mut self) {
        for (address, left) in &mut self.fresh {
            for frame in arp::announcements(*address, self.own) {
                if let Err(error) = self.socket.send(&frame).await {
                    tracing::warn!(%address, %error, "address not announced");
                }
            }
            *left -= 1;
        }
        self.fresh.retain(|_, left| *left > 0);
    }

    async fn answer(&self, frame: std::io::Result<Vec<u8>>) {
        let question = match frame {
            Ok(frame) => arp::question(&frame),
            Err(error) => return tracing::debug!(%error, "frame not received"),
        };
        if let Some(question) =
            question.filter(|question| self.known.contains(&question.wanted) && question.asker != question.wanted)
            && let Err(error) = self.socket.send(&arp::reply(&question, self.own)).await
        {
            tracing::warn!(address = %question.wanted, %error, "question for the address not answered");
        }
    }
}
