//! What a server is started with.

use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;

use auth::oidc::IssuerConfig;
use auth::pki::Pki;
use auth::request_header::RequestHeaderConfig;
use store::Store;

use crate::audit::{AuditConfig, AuditDelivery};

/// Where objects are kept.
#[derive(Clone, Default)]
pub enum Storage {
    /// For tests: gone with the process.
    #[default]
    Memory,
    File(PathBuf),
    Opened(Arc<Store>),
}

/// The configuration of an API server. The default serves no port and keeps nothing.
#[derive(Clone)]
pub struct Config {
    pub storage: Storage,
    /// Made anew when absent.
    pub pki: Option<Arc<Pki>>,
    /// Sockets that listen already: whoever comes early waits until the server answers. The first one's address is the
    /// server's; without any only [`crate::Server::handle`] serves.
    pub listeners: Vec<Arc<TcpListener>>,
    /// The address of the endpoints of `default/kubernetes`.
    pub advertise_address: IpAddr,
    pub service_cidr: Ipv4Cidr,
    pub node_ports: RangeInclusive<u16>,
    /// More names and addresses for the serving certificate.
    pub tls_sans: Vec<String>,
    /// The password of the join token; without it no node can join by token.
    pub join_password: Option<String>,
    pub audit: AuditConfig,
    pub audit_delivery: AuditDelivery,
    /// Which plugins run, and their settings.
    pub admission: admission::Configuration,
    /// Issuers of OpenID Connect whose tokens are taken.
    pub oidc_issuers: Vec<IssuerConfig>,
    /// An AuthenticationConfiguration, instead of those issuers. It is followed.
    pub authentication_config: Option<PathBuf>,
    pub request_header: RequestHeaderConfig,
    /// Write what other parts of the process count, for `/metrics`.
    pub more_metrics: Vec<fn(&mut String)>,
    pub mutating_in_flight_max: usize,
    pub readonly_in_flight_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            storage: Storage::Memory,
            pki: None,
            listeners: Vec::new(),
            advertise_address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            service_cidr: Ipv4Cidr::new(Ipv4Addr::new(10, 96, 0, 0), 12),
            node_ports: 30000..=32767,
            tls_sans: Vec::new(),
            join_password: None,
            audit: AuditConfig::default(),
            audit_delivery: AuditDelivery::default(),
            admission: admission::Configuration::default(),
            oidc_issuers: Vec::new(),
            authentication_config: None,
            request_header: RequestHeaderConfig::default(),
            more_metrics: Vec::new(),
            mutating_in_flight_max: 200,
            readonly_in_flight_max: 400,
        }
    }
}

/// A range of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ipv4Cidr {
    base: u32,
    prefix: u8,
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0:?} is not an IPv4 range such as 10.96.0.0/12")]
pub struct CidrError(String);

impl Ipv4Cidr {
    /// Host bits of the address are cut off.
    pub fn new(address: Ipv4Addr, prefix: u8) -> Self {
        let prefix = prefix.min(32);
        let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
        Ipv4Cidr { base: address.to_bits() & mask, prefix }
    }

    pub fn contains(&self, address: Ipv4Addr) -> bool {
        u64::from(address.to_bits()).wrapping_sub(u64::from(self.base)) < self.size()
    }

    /// How many addresses the range has.
    pub fn size(&self) -> u64 {
        1 << (32 - self.prefix)
    }

    /// The address at an offset from the base.
    pub fn at(&self, offset: u32) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.base.wrapping_add(offset))
    }
}

impl std::fmt::Display for Ipv4Cidr {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", Ipv4Addr::from_bits(self.base), self.prefix)
    }
}

impl std::str::FromStr for Ipv4Cidr {
    type Err = CidrError;

    fn from_str(text: &str) -> Result<Self, CidrError> {
        let wrong = || CidrError(text.to_string());
        let (address, prefix) = text.split_once('/').ok_or_else(wrong)?;
        let prefix: u8 = prefix.parse().map_err(|_| wrong())?;
        if prefix > 32 {
            return Err(wrong());
        }
        Ok(Ipv4Cidr::new(address.parse().map_err(|_| wrong())?, prefix))
    }
}
