//! The IPAddress of a cluster IP: it is made and taken away in the commit of its Service.

use std::net::Ipv4Addr;

use apimachinery::managed_fields::{self, Manager};
use apimachinery::object;
use registry::strategy::Resource;
use serde_json::{Value, json};
use store::{Companion, Key, Snapshot};

use crate::catalog;

const GROUP: &str = "networking.k8s.io";
pub const MANAGED_BY: &str = "ipaddress.kubernetes.io/managed-by";
pub const FAMILY: &str = "ipaddress.kubernetes.io/ip-family";
pub const ALLOCATOR: &str = "ipallocator.k8s.io";
/// Who writes them.
const MANAGER: &str = "kube-apiserver";

pub fn key(address: Ipv4Addr) -> Key {
    Key::new(GROUP, "ipaddresses", "", &address.to_string())
}

pub fn exists(snapshot: &Snapshot, address: Ipv4Addr) -> bool {
    snapshot.get(&key(address)).is_some()
}

/// Makes the IPAddress of an address that `service` gets.
pub fn create(address: Ipv4Addr, service: &Value) -> Option<Companion> {
    let resource = catalog::of_storage(GROUP, "ipaddresses")?;
    let now = apimachinery::time::format(jiff::Timestamp::now());
    let object = new_object(resource, address, service, &now);
    Some(Companion::Create(key(address), crate::change::draft(resource, &object)))
}

fn new_object(resource: &Resource, address: Ipv4Addr, service: &Value, now: &str) -> Value {
    let mut new = wanted(address, service);
    let manager = Manager { name: MANAGER, api_version: "networking.k8s.io/v1", subresource: "" };
    managed_fields::update(None, &mut new, resource.schema.node(), &manager, &[], now);
    object::set_uid(&mut new, &uuid::Uuid::new_v4().to_string());
    object::set_creation_timestamp(&mut new, now);
    new
}

/// As its creator writes it.
pub fn wanted(address: Ipv4Addr, service: &Value) -> Value {
    let parent = json!({
        "resource": "services",
        "namespace": object::namespace(service),
        "name": object::name(service),
    });
    json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "IPAddress",
        "metadata": {
            "name": address.to_string(),
            "labels": {FAMILY: "IPv4", MANAGED_BY: ALLOCATOR},
        },
        "spec": {"parentRef": parent},
    })
}

/// Takes away the IPAddress of an address that is free again. One with finalizers is left to the repair, whose deletion
/// waits for them.
pub fn remove(snapshot: &Snapshot, address: Ipv4Addr) -> Option<Companion> {
    let key = key(address);
    let stored = snapshot.get(&key)?;
    object::finalizers(&stored.value()).next().is_none().then_some(Companion::Remove(key))
}
