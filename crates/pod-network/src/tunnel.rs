use std::net::Ipv4Addr;

use netlink::{Handle, Ipv4Cidr, Link, RouteTarget, VxlanSpec, sysctl};
use nft::{ChainKind, Hook, HookPoint, Kernel, Nft, Operand, Rule, Statement, Table, Transaction, Value};

use crate::{Action, Error, Member, Observed, OverlayConfig, plan};

/// What VXLAN over IPv4 adds to a packet.
const OVERHEAD: u32 = 50;
/// Making the device and filling it takes two passes; more mean that somebody works against us.
const PASSES_MAX: usize = 4;

/// The tunnel device of one node with its entries, in the kernel.
pub struct Tunnel {
    config: OverlayConfig,
    handle: Handle,
    nft: Kernel,
}

impl Tunnel {
    /// Works in the network namespace of the calling thread.
    pub fn open(config: OverlayConfig) -> Result<Self, Error> {
        Ok(Self { config, handle: Handle::open()?, nft: Kernel::open()? })
    }

    /// Changes of rules that this tunnel made carry this number.
    pub(crate) fn rules_port(&self) -> u32 {
        self.nft.port()
    }

    /// Packets are forwarded, and pods that speak to the world outside take the node's address.
    pub fn prepare(&self) -> Result<(), Error> {
        sysctl::set("ipv4/ip_forward", "1")?;
        self.restore_rules()
    }

    /// Sets the rules as a whole.
    pub fn restore_rules(&self) -> Result<(), Error> {
        Ok(self.nft.apply(&masquerade_rules(self.config.cluster_cidr))?)
    }

    /// Plans and acts until nothing is left to do.
    pub fn converge(&self, me: &Member, others: &[Member]) -> Result<(), Error> {
        for _ in 0..PASSES_MAX {
            let underlay = self.underlay(me.public_ip)?;
            let spec = self.spec(me, &underlay);
            let actions = plan(me, others, &spec, &self.observe()?);
            if actions.is_empty() {
                return Ok(());
            }
            for action in &actions {
                self.apply(me, &spec, &underlay, action)?;
                tracing::info!(change = %action, "pod network changed");
            }
        }
        Ok(())
    }

    fn spec(&self, me: &Member, underlay: &Link) -> VxlanSpec {
        VxlanSpec { vni: self.config.vni, port: self.config.port, local: me.public_ip, underlay: underlay.index }
    }

    /// The link that has the node's address.
    fn underlay(&self, address: Ipv4Addr) -> Result<Link, Error> {
        let index = self.handle.addresses()?.iter().find(|found| found.cidr.address() == address).map(|a| a.link);
        let link = self.handle.links()?.into_iter().find(|link| Some(link.index) == index);
        link.ok_or(Error::NoUnderlay(address))
    }

    fn observe(&self) -> Result<Observed, Error> {
        let Some(device) = self.handle.find_link(&self.config.device)? else {
            return Ok(Observed::default());
        };
        let addresses = self.handle.addresses()?.into_iter().filter(|address| address.link == device.index);
        let ours =
            |target: &RouteTarget| matches!(target, RouteTarget::Unreachable) || target.link() == Some(device.index);
        Ok(Observed {
            addresses: addresses.map(|address| address.cidr).collect(),
            routes: self.own_routes(ours)?,
            neighbours: self.handle.neighbours(&device)?,
            forwarding: self.handle.forwarding(&device)?,
            device: Some(device),
        })
    }

    /// Routes of the overlay; an unreachable one is ours only inside the pods' range.
    fn own_routes(&self, ours: impl Fn(&RouteTarget) -> bool) -> Result<Vec<netlink::Route>, Error> {
        let inside = |route: &netlink::Route| self.config.cluster_cidr.contains(route.destination.network());
        let routes = self.handle.routes()?.into_iter();
        Ok(routes.filter(|route| ours(&route.target) && inside(route)).collect())
    }

    fn apply(&self, me: &Member, spec: &VxlanSpec, underlay: &Link, action: &Action) -> Result<(), Error> {
        let handle = &self.handle;
        let device = || handle.link(&self.config.device);
        match action {
            Action::MakeDevice { remove_first } => return self.make_device(me, spec, underlay, *remove_first),
            Action::SetMac => handle.set_mac(&device()?, me.tunnel_mac()),
            Action::SetUp => handle.set_up(&device()?),
            Action::AddAddress(cidr) => handle.add_address(&device()?, *cidr),
            Action::DeleteAddress(cidr) => handle.delete_address(&device()?, *cidr),
            Action::SetNeighbour(entry) => handle.replace_neighbour(&device()?, *entry),
            Action::DeleteNeighbour(entry) => handle.delete_neighbour(&device()?, *entry),
            Action::SetForwarding(entry) => handle.replace_forwarding(&device()?, *entry),
            Action::DeleteForwarding(entry) => handle.delete_forwarding(&device()?, *entry),
            Action::SetRoute(route) => handle.replace_route(route),
            Action::DeleteRoute(route) => handle.delete_route(route),
        }?;
        Ok(())
    }

    fn make_device(&self, me: &Member, spec: &VxlanSpec, underlay: &Link, remove_first: bool) -> Result<(), Error> {
        let name = &self.config.device;
        if remove_first {
            self.handle.delete_link(name)?;
        }
        self.handle.add_vxlan(name, underlay.mtu.saturating_sub(OVERHEAD), me.tunnel_mac(), spec)?;
        if let Err(error) = Handle::disable_transmit_checksum_offload(name) {
            tracing::warn!(%error, "checksum offload stays on for the pod network");
        }
        self.handle.set_up(&self.handle.link(name)?)?;
        Ok(())
    }
}

pub(crate) fn masquerade_table() -> Table {
    Table::ip("coracle-pod-network")
}

/// Pods that speak to the world outside take the node's address: nobody there knows theirs.
fn masquerade_rules(pods: Ipv4Cidr) -> Transaction {
    let multicast = Ipv4Cidr::new(Ipv4Addr::new(224, 0, 0, 0), 4).expect("4 is a prefix length");
    let mut t = Transaction::replacing(masquerade_table());
    t.add_hook_chain("postrouting", Hook { kind: ChainKind::Nat, point: HookPoint::Postrouting, priority: 100 });
    let rule = Rule::new([
        Statement::equal(Value::SourceAddress, Operand::Prefix(pods)),
        Statement::not_equal(Value::DestinationAddress, Operand::Prefix(pods)),
        Statement::not_equal(Value::DestinationAddress, Operand::Prefix(multicast)),
        Statement::Masquerade,
    ]);
    t.add_rule("postrouting", rule.comment("pods to the world outside"));
    t
}
