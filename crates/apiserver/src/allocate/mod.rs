//! Addresses and ports of Services: given once, taken back, and repaired from the store at start.
//!
//! A write reserves first; the reservation is committed when the store has the object, and undone when it is dropped.

pub mod pool;
pub mod repair;
mod service;

use std::net::Ipv4Addr;
use std::sync::Arc;

use apimachinery::Status;
use parking_lot::Mutex;
use registry::strategy::Resource;
use serde_json::Value;
use store::{Key, Store};

use crate::config::{Config, Ipv4Cidr};
use pool::{AddressPool, PortPool};

/// The two pools behind one lock: a Service takes from both.
pub struct Pools {
    pub addresses: AddressPool,
    pub ports: PortPool,
}

#[derive(Clone)]
pub struct Allocators {
    pools: Arc<Mutex<Pools>>,
}

/// What a write took and what it will give back.
#[derive(Default)]
pub struct Reservation {
    pools: Option<Arc<Mutex<Pools>>>,
    taken: Held,
    freed: Held,
    committed: bool,
}

/// Addresses and ports of one Service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Held {
    pub addresses: Vec<Ipv4Addr>,
    pub ports: Vec<u16>,
}

impl Reservation {
    pub fn none() -> Reservation {
        Reservation::default()
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
        let back = if self.committed { &self.freed } else { &self.taken };
        back.addresses.iter().for_each(|address| pools.addresses.release(*address));
        back.ports.iter().for_each(|port| pools.ports.release(*port));
    }
}

impl Allocators {
    /// Pools as the stored Services say.
    pub fn load(config: &Config, store: &Store) -> Allocators {
        let cidr: Ipv4Cidr = config.service_cidr;
        let mut pools = Pools { addresses: AddressPool::new(cidr), ports: PortPool::new(config.node_ports.clone()) };
        let prefix = Key::prefix("", "services", None);
        for (key, object) in store.snapshot().range(&prefix, None) {
            let held = service::held(&object.value());
            for address in held.addresses {
                if pools.addresses.take(address).is_err() {
                    tracing::warn!(service = %key, %address, "a stored cluster IP is taken twice or out of range");
                }
            }
            for port in held.ports {
                if pools.ports.take(port).is_err() {
                    tracing::warn!(service = %key, port, "a stored node port is taken twice or out of range");
                }
            }
        }
        Allocators { pools: Arc::new(Mutex::new(pools)) }
    }

    pub fn reserve_for_create(&self, resource: &Resource, object: &mut Value) -> Result<Reservation, Status> {
        self.reserve(resource, None, object)
    }

    pub fn reserve_for_update(&self, resource: &Resource, old: &Value, new: &mut Value) -> Result<Reservation, Status> {
        self.reserve(resource, Some(old), new)
    }

    /// A dry run drops the reservation without committing it: nothing stays taken.
    fn reserve(&self, resource: &Resource, old: Option<&Value>, new: &mut Value) -> Result<Reservation, Status> {
        if !is_service(resource) {
            return Ok(Reservation::none());
        }
        let mut reservation = Reservation::none();
        reservation.pools = Some(self.pools.clone());
        let outcome = service::allocate(&mut self.pools.lock(), old, new, &mut reservation.taken);
        outcome.map_err(|errors| {
            let kind = apimachinery::GroupKind::new("", "Service");
            Status::invalid(&kind, apimachinery::object::name(new), &errors)
        })?;
        reservation.freed = service::no_longer(old, new);
        Ok(reservation)
    }

    /// Gives back what a deleted object held.
    pub fn release(&self, resource: &Resource, object: &Value) {
        if !is_service(resource) {
            return;
        }
        let held = service::held(object);
        let mut pools = self.pools.lock();
        held.addresses.into_iter().for_each(|address| pools.addresses.release(address));
        held.ports.into_iter().for_each(|port| pools.ports.release(port));
    }

    /// The addresses and ports that are taken, for the repair.
    fn taken(&self) -> Held {
        let pools = self.pools.lock();
        Held { addresses: pools.addresses.taken(), ports: pools.ports.taken() }
    }
}

fn is_service(resource: &Resource) -> bool {
    resource.group.is_empty() && resource.name == "services"
}
