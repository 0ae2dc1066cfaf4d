use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::IpAddr;

use apimachinery::ObjectKey;

use crate::entry::{Entry, EntryKind};

/// What the cluster's objects say about names, in memory.
#[derive(Debug, Default)]
pub struct Index {
    services: HashMap<ObjectKey, Entry>,
    /// Names below the cluster zone, as in `web.default.svc`, for an address.
    names: HashMap<IpAddr, BTreeSet<String>>,
    namespaces: HashSet<String>,
}

impl Index {
    /// Puts the entry in the place of the service's former one; says whether anything changed.
    pub fn set(&mut self, service: &ObjectKey, entry: Option<Entry>) -> bool {
        if self.services.get(service) == entry.as_ref() {
            return false;
        }
        if let Some(former) = self.services.remove(service) {
            for (address, name) in reverse_names(service, &former) {
                self.remove_name(address, &name);
            }
        }
        if let Some(entry) = entry {
            for (address, name) in reverse_names(service, &entry) {
                self.names.entry(address).or_default().insert(name);
            }
            self.services.insert(service.clone(), entry);
        }
        true
    }

    fn remove_name(&mut self, address: IpAddr, name: &str) {
        if let Some(names) = self.names.get_mut(&address) {
            names.remove(name);
            if names.is_empty() {
                self.names.remove(&address);
            }
        }
    }

    pub fn add_namespace(&mut self, name: &str) {
        self.namespaces.insert(name.to_owned());
    }

    pub fn remove_namespace(&mut self, name: &str) {
        self.namespaces.remove(name);
    }

    pub fn has_namespace(&self, name: &str) -> bool {
        self.namespaces.contains(name)
    }

    pub fn service(&self, namespace: &str, name: &str) -> Option<&Entry> {
        self.services.get(&ObjectKey::new(namespace, name))
    }

    /// Names below the cluster zone that stand for the address.
    pub fn names_of(&self, address: IpAddr) -> impl Iterator<Item = &str> {
        self.names.get(&address).into_iter().flatten().map(String::as_str)
    }

    pub fn len(&self) -> usize {
        self.services.len()
    }

    pub fn is_empty(&self) -> bool {
        self.services.is_empty()
    }
}

fn reverse_names(service: &ObjectKey, entry: &Entry) -> Vec<(IpAddr, String)> {
    let name = format!("{}.{}.svc", service.name, service.namespace);
    match &entry.kind {
        EntryKind::Addressed { addresses, .. } => addresses.iter().map(|address| (*address, name.clone())).collect(),
        EntryKind::Headless => {
            entry.endpoints.iter().map(|endpoint| (endpoint.address, format!("{}.{name}", endpoint.hostname))).collect()
        }
        EntryKind::External(_) => Vec::new(),
    }
}
