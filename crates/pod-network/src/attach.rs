use std::fs::File;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use netlink::{Handle, Ipv4Cidr, Route, RouteTarget, VethPeer, sysctl};
use nft::{Kernel, Nft};
use parking_lot::Mutex;

use crate::host_ports::plan_host_ports;
use crate::ipam::Ipam;
use crate::{Error, HostPort};

/// The pod's end of the veth.
const POD_LINK: &str = "eth0";
const INTERFACE_NAME_LEN_MAX: usize = 15;

/// How pods are attached on this node.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the addresses given out are kept.
    pub state_dir: PathBuf,
    /// Of the pods' links: the node's own less what the overlay adds (50).
    pub mtu: u32,
}

impl Config {
    pub fn new(state_dir: impl Into<PathBuf>) -> Self {
        Self { state_dir: state_dir.into(), mtu: 1450 }
    }
}

/// Attaches pods to the node's network. Calls block for some milliseconds; every call may be repeated.
pub struct PodNetwork {
    mtu: u32,
    host: Handle,
    nft: Kernel,
    ipam: Mutex<Ipam>,
}

impl PodNetwork {
    /// Opens the network of the calling thread's namespace, with the addresses given out before.
    pub fn open(config: &Config) -> Result<Self, Error> {
        let failed = |source| Error::State { path: config.state_dir.clone(), source };
        std::fs::create_dir_all(&config.state_dir).map_err(failed)?;
        let network = Self {
            mtu: config.mtu,
            host: Handle::open()?,
            nft: Kernel::open()?,
            ipam: Mutex::new(Ipam::open(&config.state_dir.join("addresses.json"))?),
        };
        sysctl::set("ipv4/ip_forward", "1")?;
        network.apply_host_ports(&network.ipam.lock())?;
        Ok(network)
    }

    /// Tells which range the node's pods get their addresses from, as the Node object has it.
    pub fn set_pod_cidr(&self, range: Ipv4Cidr) {
        self.ipam.lock().set_range(range);
    }

    /// Gives the pod its address and connects the namespace; returns its addresses.
    pub fn attach(&self, uid: &str, netns: &Path, host_ports: &[HostPort]) -> Result<Vec<IpAddr>, Error> {
        let (address, range) = self.reserve(uid, host_ports)?;
        let gateway = range.nth(1).ok_or(Error::Exhausted(range))?;
        if !self.is_attached(uid, netns, address)? {
            self.connect(uid, netns, address, gateway)?;
        }
        let ipam = self.ipam.lock();
        if !host_ports.is_empty() {
            self.apply_host_ports(&ipam)?;
        }
        Ok(vec![IpAddr::V4(address)])
    }

    /// Takes the pod off the network and frees its address. A pod that is not attached counts as detached.
    pub fn detach(&self, uid: &str) -> Result<(), Error> {
        self.host.delete_link(&host_link(uid))?;
        let mut ipam = self.ipam.lock();
        let had_ports = ipam.lease(uid).is_some_and(|lease| !lease.host_ports.is_empty());
        ipam.release(uid)?;
        match had_ports {
            true => self.apply_host_ports(&ipam),
            false => Ok(()),
        }
    }

    /// The addresses of an attached pod, without touching anything.
    pub fn addresses(&self, uid: &str) -> Vec<IpAddr> {
        self.ipam.lock().lease(uid).map(|lease| IpAddr::V4(lease.address)).into_iter().collect()
    }

    /// Detaches every pod that is not among the living: what an earlier process left behind.
    pub fn retain(&self, living: impl Fn(&str) -> bool) -> Result<(), Error> {
        let known: Vec<String> = self.ipam.lock().leases().map(|(uid, _)| uid.clone()).collect();
        known.iter().filter(|uid| !living(uid)).try_for_each(|uid| self.detach(uid))
    }

    fn reserve(&self, uid: &str, host_ports: &[HostPort]) -> Result<(Ipv4Addr, Ipv4Cidr), Error> {
        let mut ipam = self.ipam.lock();
        let others = ipam.leases().filter(|(other, _)| *other != uid).flat_map(|(_, lease)| &lease.host_ports);
        for taken in others {
            if let Some(port) = host_ports.iter().find(|port| port.collides(taken)) {
                return Err(Error::HostPortTaken { port: port.host_port, protocol: port.protocol });
            }
        }
        Ok((ipam.allocate(uid, host_ports)?, ipam.range()?))
    }

    fn is_attached(&self, uid: &str, netns: &Path, address: Ipv4Addr) -> Result<bool, Error> {
        if self.host.find_link(&host_link(uid))?.is_none() {
            return Ok(false);
        }
        let pod = Handle::open_in(netns)?;
        let Some(link) = pod.find_link(POD_LINK)? else {
            return Ok(false);
        };
        let has_address =
            pod.addresses()?.iter().any(|found| found.link == link.index && found.cidr.address() == address);
        let routed = self.host.routes()?.iter().any(|route| route.destination == Ipv4Cidr::host(address));
        Ok(link.up && has_address && routed)
    }

    fn connect(&self, uid: &str, netns: &Path, address: Ipv4Addr, gateway: Ipv4Addr) -> Result<(), Error> {
        let name = host_link(uid);
        self.host.delete_link(&name)?;
        let namespace = File::open(netns).map_err(|source| Error::Namespace { path: netns.to_owned(), source })?;
        self.host.add_veth(&name, self.mtu, &VethPeer { name: POD_LINK, netns: Some(&namespace) })?;
        connect_pod(&Handle::open_in(netns)?, address, gateway)?;
        self.connect_host(&name, address, gateway)
    }

    /// The node's end answers for the gateway and knows the way to this one pod.
    fn connect_host(&self, name: &str, address: Ipv4Addr, gateway: Ipv4Addr) -> Result<(), Error> {
        let link = self.host.link(name)?;
        self.host.set_up(&link)?;
        self.host.add_address(&link, Ipv4Cidr::host(gateway))?;
        let destination = Ipv4Cidr::host(address);
        let route = Route { destination, target: RouteTarget::Link(link.index), source: Some(gateway) };
        Ok(self.host.replace_route(&route)?)
    }

    fn apply_host_ports(&self, ipam: &Ipam) -> Result<(), Error> {
        let of_pod =
            |lease: &crate::ipam::Lease| lease.host_ports.iter().map(|port| (lease.address, *port)).collect::<Vec<_>>();
        let ports: Vec<_> = ipam.leases().flat_map(|(_, lease)| of_pod(lease)).collect();
        Ok(self.nft.apply(&plan_host_ports(&ports))?)
    }
}

/// The pod sees one address, and everything else behind the gateway.
fn connect_pod(pod: &Handle, address: Ipv4Addr, gateway: Ipv4Addr) -> Result<(), Error> {
    pod.set_up_by_name("lo")?;
    let link = pod.link(POD_LINK)?;
    pod.add_address(&link, Ipv4Cidr::host(address))?;
    pod.set_up(&link)?;
    let to_gateway = RouteTarget::Link(link.index);
    pod.replace_route(&Route { destination: Ipv4Cidr::host(gateway), target: to_gateway, source: None })?;
    let everything = Ipv4Cidr::new(Ipv4Addr::UNSPECIFIED, 0).expect("0 is a prefix length");
    let target = RouteTarget::Gateway { link: link.index, gateway };
    Ok(pod.replace_route(&Route { destination: everything, target, source: None })?)
}

/// The node's end of a pod's veth, found again by the pod's UID alone.
fn host_link(uid: &str) -> String {
    let letters = uid.chars().filter(char::is_ascii_alphanumeric);
    "veth".chars().chain(letters).take(INTERFACE_NAME_LEN_MAX).collect()
}
