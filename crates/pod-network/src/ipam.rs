use std::collections::BTreeMap;
use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use netlink::Ipv4Cidr;
use serde::{Deserialize, Serialize};

use crate::{Error, HostPort};

/// The network itself and the gateway are not given out; neither is the broadcast address.
const FIRST_OFFSET: u32 = 2;
const RESERVED_AT_END: u32 = 1;

/// What a pod holds of the node's network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Lease {
    pub address: Ipv4Addr,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub host_ports: Vec<HostPort>,
}

/// The addresses of the node's range and the pods that hold them, kept in a file.
///
/// The search for a free address goes on behind the one given last, so an address rests as long as possible before it is
/// given to another pod. The file is replaced by renaming: it survives the end of this process at any moment. It is
/// not synced to disk, since no pod outlives the machine.
pub(crate) struct Ipam {
    file: PathBuf,
    range: Option<Ipv4Cidr>,
    state: State,
}

#[derive(Default, Serialize, Deserialize)]
struct State {
    leases: BTreeMap<String, Lease>,
    last: Option<Ipv4Addr>,
}

impl Ipam {
    pub fn open(file: &Path) -> Result<Self, Error> {
        let failed = |source| Error::State { path: file.to_owned(), source };
        let state = match std::fs::read(file) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| failed(error.into()))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => State::default(),
            Err(error) => return Err(failed(error)),
        };
        Ok(Self { file: file.to_owned(), range: None, state })
    }

    pub fn set_range(&mut self, range: Ipv4Cidr) {
        self.range = Some(range);
    }

    pub fn range(&self) -> Result<Ipv4Cidr, Error> {
        self.range.ok_or(Error::NoRange)
    }

    pub fn lease(&self, uid: &str) -> Option<&Lease> {
        self.state.leases.get(uid)
    }

    pub fn leases(&self) -> impl Iterator<Item = (&String, &Lease)> {
        self.state.leases.iter()
    }

    /// The pod's address: the one it holds already, or a free one.
    pub fn allocate(&mut self, uid: &str, host_ports: &[HostPort]) -> Result<Ipv4Addr, Error> {
        if let Some(lease) = self.lease(uid) {
            return Ok(lease.address);
        }
        let address = self.find_free()?;
        let lease = Lease { address, host_ports: host_ports.to_vec() };
        self.state.leases.insert(uid.to_owned(), lease);
        self.state.last = Some(address);
        self.save()?;
        Ok(address)
    }

    pub fn release(&mut self, uid: &str) -> Result<(), Error> {
        match self.state.leases.remove(uid) {
            Some(_) => self.save(),
            None => Ok(()),
        }
    }

    fn find_free(&self) -> Result<Ipv4Addr, Error> {
        let range = self.range()?;
        let size = u32::from(range.broadcast()) - u32::from(range.network());
        let count = size.saturating_sub(FIRST_OFFSET + RESERVED_AT_END - 1);
        let after_last = self.state.last.filter(|last| range.contains(*last));
        let start = after_last.map_or(0, |last| u32::from(last) - u32::from(range.network()) + 1 - FIRST_OFFSET);
        let taken: std::collections::BTreeSet<_> = self.state.leases.values().map(|lease| lease.address).collect();
        (0..count)
            .filter_map(|step| range.nth(FIRST_OFFSET + (start + step) % count))
            .find(|address| !taken.contains(address))
            .ok_or(Error::Exhausted(range))
    }

    fn save(&self) -> Result<(), Error> {
        let write = || {
            let temporary = self.file.with_extension("new");
            std::fs::write(&temporary, serde_json::to_vec(&self.state)?)?;
            std::fs::rename(&temporary, &self.file)
        };
        write().map_err(|source| Error::State { path: self.file.clone(), source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ipam(directory: &Path, range: &str) -> Ipam {
        let mut ipam = Ipam::open(&directory.join("addresses.json")).unwrap();
        ipam.set_range(range.parse().unwrap());
        ipam
    }

    fn give(ipam: &mut Ipam, uid: &str) -> String {
        ipam.allocate(uid, &[]).unwrap().to_string()
    }

    #[test]
    fn a_pod_keeps_its_address_and_a_freed_one_rests_longest() {
        let directory = tempfile::tempdir().unwrap();
        let mut ipam = ipam(directory.path(), "10.244.1.0/29");
        assert_eq!(give(&mut ipam, "a"), "10.244.1.2");
        assert_eq!(give(&mut ipam, "b"), "10.244.1.3");
        assert_eq!(give(&mut ipam, "a"), "10.244.1.2");
        ipam.release("a").unwrap();
        let later: Vec<_> = ["c", "d", "e", "f"].iter().map(|uid| give(&mut ipam, uid)).collect();
        assert_eq!(later, ["10.244.1.4", "10.244.1.5", "10.244.1.6", "10.244.1.2"]);
        assert!(matches!(ipam.allocate("g", &[]), Err(Error::Exhausted(_))));
        ipam.release("d").unwrap();
        assert_eq!(give(&mut ipam, "g"), "10.244.1.5");
    }

    #[test]
    fn what_was_given_survives_a_restart() {
        let directory = tempfile::tempdir().unwrap();
        give(&mut ipam(directory.path(), "10.244.1.0/24"), "a");
        let mut again = ipam(directory.path(), "10.244.1.0/24");
        assert_eq!(give(&mut again, "b"), "10.244.1.3");
        assert_eq!(give(&mut again, "a"), "10.244.1.2");
    }

    #[test]
    fn without_a_range_nothing_is_given() {
        let directory = tempfile::tempdir().unwrap();
        let mut ipam = Ipam::open(&directory.path().join("addresses.json")).unwrap();
        assert!(matches!(ipam.allocate("a", &[]), Err(Error::NoRange)));
    }

    #[test]
    fn a_damaged_file_is_an_error_and_not_an_empty_node() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("addresses.json");
        std::fs::write(&file, "{").unwrap();
        assert!(matches!(Ipam::open(&file), Err(Error::State { .. })));
    }
}
