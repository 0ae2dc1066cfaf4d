use std::fmt;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, AsRawFd};

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{
    InfoData, InfoKind, InfoVeth, InfoVxlan, LinkAttribute, LinkFlags, LinkInfo, LinkMessage,
};

use crate::error::absent_is_done;
use crate::{Error, Handle, Result, ethtool};

/// A hardware address, written `02:42:ac:1c:80:0a`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MacAddress(pub [u8; 6]);

impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// A network device as the kernel has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    pub index: u32,
    pub name: String,
    pub mtu: u32,
    pub mac: Option<MacAddress>,
    pub up: bool,
    pub loopback: bool,
    /// `veth`, `bridge`, `vxlan` …; none for hardware.
    pub kind: Option<String>,
    /// The bridge that the link belongs to.
    pub controller: Option<u32>,
    pub vxlan: Option<VxlanSpec>,
}

/// The part of a VXLAN device that cannot be changed later: a device that differs must be made anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VxlanSpec {
    pub vni: u32,
    pub port: u16,
    pub local: Ipv4Addr,
    /// The device that carries the encapsulated packets.
    pub underlay: u32,
}

/// The other end of a veth, made directly in the namespace where it is to live.
pub struct VethPeer<'a, F: AsFd> {
    pub name: &'a str,
    pub netns: Option<&'a F>,
}

impl Handle {
    pub fn links(&self) -> Result<Vec<Link>> {
        let dump = self.dump(&RouteNetlinkMessage::GetLink(LinkMessage::default()), || "list links".to_owned())?;
        Ok(dump.into_iter().filter_map(read_link).collect())
    }

    pub fn find_link(&self, name: &str) -> Result<Option<Link>> {
        Ok(self.links()?.into_iter().find(|link| link.name == name))
    }

    pub fn link(&self, name: &str) -> Result<Link> {
        self.find_link(name)?.ok_or_else(|| Error::NoLink(name.to_owned()))
    }

    pub fn add_veth<F: AsFd>(&self, name: &str, mtu: u32, peer: &VethPeer<'_, F>) -> Result<()> {
        let mut other = LinkMessage::default();
        other.attributes.extend([LinkAttribute::IfName(peer.name.to_owned()), LinkAttribute::Mtu(mtu)]);
        other.attributes.extend(peer.netns.map(|fd| LinkAttribute::NetNsFd(fd.as_fd().as_raw_fd())));
        self.add_link(name, mtu, InfoKind::Veth, Some(InfoData::Veth(InfoVeth::Peer(other))), None)
    }

    pub fn add_bridge(&self, name: &str, mtu: u32) -> Result<()> {
        self.add_link(name, mtu, InfoKind::Bridge, None, None)
    }

    pub fn add_vxlan(&self, name: &str, mtu: u32, mac: MacAddress, spec: &VxlanSpec) -> Result<()> {
        let data = InfoData::Vxlan(vec![
            InfoVxlan::Id(spec.vni),
            InfoVxlan::Link(spec.underlay),
            InfoVxlan::Local(spec.local),
            InfoVxlan::Port(spec.port),
            InfoVxlan::Learning(false),
        ]);
        self.add_link(name, mtu, InfoKind::Vxlan, Some(data), Some(mac))
    }

    fn add_link(
        &self,
        name: &str,
        mtu: u32,
        kind: InfoKind,
        data: Option<InfoData>,
        mac: Option<MacAddress>,
    ) -> Result<()> {
        let operation = || format!("add {kind:?} link {name}");
        let mut info = vec![LinkInfo::Kind(kind.clone())];
        info.extend(data.map(LinkInfo::Data));
        let mut message = LinkMessage::default();
        message.attributes = vec![LinkAttribute::IfName(name.to_owned()), LinkAttribute::Mtu(mtu)];
        message.attributes.extend(mac.map(|mac| LinkAttribute::Address(mac.0.to_vec())));
        message.attributes.push(LinkAttribute::LinkInfo(info));
        self.request(RouteNetlinkMessage::NewLink(message), NLM_F_CREATE | NLM_F_EXCL, operation)
    }

    pub fn set_up(&self, link: &Link) -> Result<()> {
        let mut message = change(link);
        message.header.flags = LinkFlags::Up;
        message.header.change_mask = LinkFlags::Up;
        self.request(RouteNetlinkMessage::SetLink(message), 0, || format!("set link {} up", link.name))
    }

    pub fn set_down(&self, link: &Link) -> Result<()> {
        let mut message = change(link);
        message.header.change_mask = LinkFlags::Up;
        self.request(RouteNetlinkMessage::SetLink(message), 0, || format!("set link {} down", link.name))
    }

    pub fn set_up_by_name(&self, name: &str) -> Result<()> {
        self.set_up(&self.link(name)?)
    }

    pub fn set_mtu(&self, link: &Link, mtu: u32) -> Result<()> {
        self.set_attribute(link, LinkAttribute::Mtu(mtu), "mtu")
    }

    pub fn set_mac(&self, link: &Link, mac: MacAddress) -> Result<()> {
        self.set_attribute(link, LinkAttribute::Address(mac.0.to_vec()), "hardware address")
    }

    /// Makes the link a port of the bridge.
    pub fn set_controller(&self, link: &Link, bridge: &Link) -> Result<()> {
        self.set_attribute(link, LinkAttribute::Controller(bridge.index), "bridge")
    }

    fn set_attribute(&self, link: &Link, attribute: LinkAttribute, what: &str) -> Result<()> {
        let mut message = change(link);
        message.attributes.push(attribute);
        self.request(RouteNetlinkMessage::SetLink(message), 0, || format!("set {what} of link {}", link.name))
    }

    /// Removes the link; one that is gone already counts as removed.
    pub fn delete_link(&self, name: &str) -> Result<()> {
        let mut message = LinkMessage::default();
        message.attributes.push(LinkAttribute::IfName(name.to_owned()));
        absent_is_done(self.request(RouteNetlinkMessage::DelLink(message), 0, || format!("delete link {name}")))
    }

    /// Leaves transmit checksums of a device in the calling thread's namespace to software.
    pub fn disable_transmit_checksum_offload(name: &str) -> Result<()> {
        ethtool::disable_transmit_checksum(name)
    }
}

fn change(link: &Link) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = link.index;
    message
}

pub(crate) fn read_link(message: RouteNetlinkMessage) -> Option<Link> {
    let (RouteNetlinkMessage::NewLink(message) | RouteNetlinkMessage::DelLink(message)) = message else {
        return None;
    };
    let mut link = Link {
        index: message.header.index,
        name: String::new(),
        mtu: 0,
        mac: None,
        up: message.header.flags.contains(LinkFlags::Up),
        loopback: message.header.flags.contains(LinkFlags::Loopback),
        kind: None,
        controller: None,
        vxlan: None,
    };
    message.attributes.into_iter().for_each(|attribute| read_attribute(&mut link, attribute));
    Some(link)
}

fn read_attribute(link: &mut Link, attribute: LinkAttribute) {
    match attribute {
        LinkAttribute::IfName(name) => link.name = name,
        LinkAttribute::Mtu(mtu) => link.mtu = mtu,
        LinkAttribute::Address(bytes) => link.mac = bytes.try_into().ok().map(MacAddress),
        LinkAttribute::Controller(index) => link.controller = Some(index),
        LinkAttribute::LinkInfo(infos) => infos.into_iter().for_each(|info| read_info(link, info)),
        _ => {}
    }
}

fn read_info(link: &mut Link, info: LinkInfo) {
    match info {
        LinkInfo::Kind(kind) => link.kind = Some(kind.to_string()),
        LinkInfo::Data(InfoData::Vxlan(fields)) => link.vxlan = Some(read_vxlan(fields)),
        _ => {}
    }
}

fn read_vxlan(fields: Vec<InfoVxlan>) -> VxlanSpec {
    let mut spec = VxlanSpec { vni: 0, port: 0, local: Ipv4Addr::UNSPECIFIED, underlay: 0 };
    for field in fields {
        match field {
            InfoVxlan::Id(vni) => spec.vni = vni,
            InfoVxlan::Port(port) => spec.port = port,
            InfoVxlan::Local(local) => spec.local = local,
            InfoVxlan::Link(index) => spec.underlay = index,
            _ => {}
        }
    }
    spec
}
