//! Addresses and ports of Services: given once, taken back, and repaired from the store.
//!
//! A write reserves first; the reservation is committed when the store has the object, and undone when it is dropped. Which
//! addresses are taken, the IPAddresses in the store say: one is written in the commit of the Service that gets its address.

mod addresses;
mod ip_address;
pub mod pool;
pub mod repair;
mod service;

use std::collections::HashSet;
use std::net::Ipv4Addr;
use std::sync::Arc;

use apimachinery::field::ErrorList;
use apimachinery::{GroupKind, Status, object};
use parking_lot::Mutex;
use registry::strategy::Resource;
use serde_json::Value;
use store::{Companion, Key, Store};

use crate::config::Config;
use addresses::Addresses;
use pool::PortPool;

/// What is taken beyond what the store says: both behind one lock, as a Service takes from both.
pub struct Pools {
    /// Addresses of Services that are on their way into the store.
    on_the_way: HashSet<Ipv4Addr>,
    /// Those of them whose Services were stored without IPAddresses: until the repair made these.
    unlisted: Vec<Ipv4Addr>,
    ports: PortPool,
}

#[derive(Clone)]
pub struct Allocators {
    store: Arc<Store>,
    pools: Arc<Mutex<Pools>>,
}

/// What a write took and what it will give back.
#[derive(Default)]
pub struct Reservation {
    pools: Option<Arc<Mutex<Pools>>>,
    taken: Held,
    freed: Held,
    companions: Vec<Companion>,
    committed: bool,
}

/// Addresses and ports of one Service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Held {
    pub addresses: Vec<Ipv4Addr>,
    pub ports: Vec<u16>,
}

/// Why a Service does not get what it wants.
pub(crate) enum Refused {
    Invalid(ErrorList),
    /// No ready range has a free address.
    Full,
}

impl From<ErrorList> for Refused {
    fn from(errors: ErrorList) -> Refused {
        Refused::Invalid(errors)
    }
}

impl Refused {
    fn into_status(self, name: &str) -> Status {
        match self {
            Refused::Invalid(errors) => Status::invalid(&GroupKind::new("", "Service"), name, &errors),
            Refused::Full => {
                Status::internal(format!("failed to allocate a serviceIP for Service {name:?}: range is full"))
            }
        }
    }
}

impl Reservation {
    pub fn none() -> Reservation {
        Reservation::default()
    }

    /// What belongs into the commit of the object.
    pub fn companions(&self) -> Vec<Companion> {
        self.companions.clone()
    }

    /// The object is stored: what it took stays taken, what it no longer has becomes free.
    pub fn commit(mut self) {
        self.committed = true;
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let Some(pools) = &self.pools else { return };
        let mut pools = pools.lock();
        // Once its IPAddress is stored, that says that the address is taken.
        for address in &self.taken.addresses {
            pools.on_the_way.remove(address);
        }
        let back = if self.committed { &self.freed } else { &self.taken };
        back.ports.iter().for_each(|port| pools.ports.release(*port));
    }
}

impl Allocators {
    /// Ports as the stored Services say, and the addresses that only these say.
    pub fn load(config: &Config, store: &Arc<Store>) -> Allocators {
        let mut ports = PortPool::new(config.node_ports.clone());
        let (prefix, snapshot) = (Key::prefix("", "services", None), store.snapshot());
        let mut unlisted = Vec::new();
        for (key, object) in snapshot.range(&prefix, None) {
            let held = service::held(&object.value());
            unlisted.extend(held.addresses.into_iter().filter(|address| !ip_address::exists(&snapshot, *address)));
            for port in held.ports {
                if ports.take(port).is_err() {
                    tracing::warn!(service = %key, port, "a stored node port is taken twice or out of range");
                }
            }
        }
        let pools = Pools { on_the_way: unlisted.iter().copied().collect(), unlisted, ports };
        Allocators { store: store.clone(), pools: Arc::new(Mutex::new(pools)) }
    }

    pub fn reserve_for_create(
        &self,
        resource: &Resource,
        object: &mut Value,
        dry_run: bool,
    ) -> Result<Reservation, Status> {
        self.reserve(resource, None, object, dry_run)
    }

    pub fn reserve_for_update(
        &self,
        resource: &Resource,
        old: &Value,
        new: &mut Value,
        dry_run: bool,
    ) -> Result<Reservation, Status> {
        self.reserve(resource, Some(old), new, dry_run)
    }

    /// A dry run drops the reservation without committing it: nothing stays taken.
    fn reserve(
        &self,
        resource: &Resource,
        old: Option<&Value>,
        new: &mut Value,
        dry_run: bool,
    ) -> Result<Reservation, Status> {
        if !is_service(resource) {
            return Ok(Reservation::none());
        }
        let mut reservation = Reservation::none();
        reservation.pools = Some(self.pools.clone());
        let outcome = self.allocate(old, new, &mut reservation.taken, dry_run);
        outcome.map_err(|refused| refused.into_status(object::name(new)))?;
        reservation.freed = service::no_longer(old, new);
        // An address belongs to a service by its name.
        if let Some(address) = reservation.taken.addresses.first().filter(|_| !dry_run && object::name(new).is_empty())
        {
            let refused = service::nameless(*address);
            return Err(Status::invalid(&GroupKind::new("", "Service"), "", &refused));
        }
        let made = reservation.taken.addresses.iter().filter_map(|address| ip_address::create(*address, new));
        reservation.companions = made.chain(self.removals(&reservation.freed)).collect();
        Ok(reservation)
    }

    fn allocate(&self, old: Option<&Value>, new: &mut Value, taken: &mut Held, dry_run: bool) -> Result<(), Refused> {
        let mut pools = self.pools.lock();
        // Not before the lock is held: who let go of it has stored what it took.
        let snapshot = self.store.snapshot();
        let Pools { on_the_way, ports, .. } = &mut *pools;
        let is_stored = |address| ip_address::exists(&snapshot, address);
        let ranges = addresses::ranges(&snapshot);
        let mut addresses = Addresses { ranges, is_stored: &is_stored, on_the_way, dry_run };
        service::allocate(&mut addresses, ports, old, new, taken)
    }

    fn removals(&self, freed: &Held) -> Vec<Companion> {
        let snapshot = self.store.snapshot();
        freed.addresses.iter().filter_map(|address| ip_address::remove(&snapshot, *address)).collect()
    }

    /// What goes with an object that is deleted, in its commit.
    pub fn leaving(&self, resource: &Resource, object: impl FnOnce() -> Value) -> Vec<Companion> {
        if !is_service(resource) {
            return Vec::new();
        }
        self.removals(&service::held(&object()))
    }

    /// The stored Services have their IPAddresses: those say from now on what is taken.
    fn listed(&self) {
        let mut pools = self.pools.lock();
        for address in std::mem::take(&mut pools.unlisted) {
            pools.on_the_way.remove(&address);
        }
    }

    /// Gives back the ports that a deleted object held.
    pub fn release(&self, resource: &Resource, object: &Value) {
        if !is_service(resource) {
            return;
        }
        let held = service::held(object);
        let mut pools = self.pools.lock();
        held.ports.into_iter().for_each(|port| pools.ports.release(port));
    }
}

fn is_service(resource: &Resource) -> bool {
    resource.group.is_empty() && resource.name == "services"
}
