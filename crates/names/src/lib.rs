//! Names of hosts to addresses: `/etc/hosts`, then the name servers of `/etc/resolv.conf`.
//!
//! Not by the C library: one that is linked in statically loads the machine's modules for this, and those fit only a
//! machine with the same C library. Both files are read for each name: they change, and connections to names are rare.
//!
//! Must not know: who connects, and why. Start at [`Names::addresses`].

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{LookupIpStrategy, ResolveHosts};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::system_conf::parse_resolv_conf;
use tokio::net::TcpStream;

/// Where this machine says who is who.
#[derive(Clone, Debug)]
pub struct Names {
    hosts: PathBuf,
    resolv_conf: PathBuf,
}

/// Why a name has no address, as Go's resolver says it.
#[derive(Debug, thiserror::Error)]
pub enum LookupError {
    #[error("lookup {name}: no such host")]
    Unknown { name: String },
    #[error("lookup {name}: it is not in {hosts}, and {resolv_conf} names no usable name server: {why}")]
    NoServer { name: String, hosts: String, resolv_conf: String, why: String },
    #[error("lookup {name}: the name servers of {resolv_conf} do not answer: {why}")]
    Server { name: String, resolv_conf: String, why: String },
}

impl Default for Names {
    fn default() -> Self {
        Self { hosts: "/etc/hosts".into(), resolv_conf: "/etc/resolv.conf".into() }
    }
}

impl Names {
    /// The addresses of a host, the preferred first. An address is its own name.
    pub async fn addresses(&self, name: &str) -> Result<Vec<IpAddr>, LookupError> {
        if let Ok(address) = name.parse() {
            return Ok(vec![address]);
        }
        let known = in_hosts(&std::fs::read_to_string(&self.hosts).unwrap_or_default(), name);
        if !known.is_empty() {
            return Ok(known);
        }
        if is_localhost(name) {
            return Ok(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
        }
        let resolver = self.resolver().map_err(|error| self.no_server(name, &error))?;
        let found = resolver.lookup_ip(name).await.map_err(|error| self.failed(name, &error))?;
        let found: Vec<IpAddr> = found.iter().collect();
        if found.is_empty() { Err(LookupError::Unknown { name: name.to_owned() }) } else { Ok(found) }
    }

    fn resolver(&self) -> Result<TokioResolver, NetError> {
        let (config, mut options) = parse_resolv_conf(std::fs::read(&self.resolv_conf)?)?;
        options.use_hosts_file = ResolveHosts::Never;
        options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
        options.cache_size = 0;
        let builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        builder.with_options(options).build()
    }

    fn no_server(&self, name: &str, error: &NetError) -> LookupError {
        let (hosts, resolv_conf) = (text(&self.hosts), text(&self.resolv_conf));
        LookupError::NoServer { name: name.to_owned(), hosts, resolv_conf, why: error.to_string() }
    }

    fn failed(&self, name: &str, error: &NetError) -> LookupError {
        let name = name.to_owned();
        if error.is_no_records_found() {
            return LookupError::Unknown { name };
        }
        LookupError::Server { name, resolv_conf: text(&self.resolv_conf), why: error.to_string() }
    }
}

/// Connects to the first of the host's addresses that answers.
pub async fn connect(host: &str, port: u16) -> io::Result<TcpStream> {
    let addresses = Names::default().addresses(host).await.map_err(io::Error::other)?;
    let mut first = None;
    for address in addresses {
        match TcpStream::connect((address, port)).await {
            Ok(stream) => return Ok(stream),
            Err(error) => first = first.or(Some(error)),
        }
    }
    Err(first.unwrap_or_else(|| io::ErrorKind::AddrNotAvailable.into()))
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

fn is_localhost(name: &str) -> bool {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    name == "localhost" || name.ends_with(".localhost")
}

/// The addresses that the lines `address name name…` give to the name.
fn in_hosts(hosts: &str, name: &str) -> Vec<IpAddr> {
    let name = name.trim_end_matches('.');
    let address_of = |line: &str| {
        let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
        let address = words.next()?.parse().ok()?;
        words.any(|word| word.eq_ignore_ascii_case(name)).then_some(address)
    };
    hosts.lines().filter_map(address_of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::UdpSocket;

    /// Files of a machine.
    struct Machine {
        _directory: tempfile::TempDir,
        names: Names,
    }

    fn machine(hosts: &str, resolv_conf: &str) -> Machine {
        let directory = tempfile::tempdir().unwrap();
        let names = Names { hosts: directory.path().join("hosts"), resolv_conf: directory.path().join("resolv.conf") };
        std::fs::write(&names.hosts, hosts).unwrap();
        std::fs::write(&names.resolv_conf, resolv_conf).unwrap();
        Machine { _directory: directory, names }
    }

    impl Machine {
        async fn check(&self, name: &str, want: &str) {
            let got = match self.names.addresses(name).await {
                Ok(addresses) => addresses.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(" "),
                Err(error) => error.to_string(),
            };
            let directory = self.names.hosts.parent().unwrap().to_str().unwrap();
            assert_eq!(got.replace(directory, "/etc"), want, "{name}");
        }
    }

    #[tokio::test]
    async fn the_hosts_file_comes_first_and_needs_no_server() {
        let machine = machine("# ours\n10.1.2.3\tregistry.lan nas # old\nfd00::1 nas\nnonsense\n10.9.9.9 nas2\n", "");
        machine.check("registry.lan", "10.1.2.3").await;
        machine.check("Registry.LAN.", "10.1.2.3").await;
        machine.check("nas", "10.1.2.3 fd00::1").await;
        machine.check("localhost", "127.0.0.1 ::1").await;
        machine.check("a.localhost", "127.0.0.1 ::1").await;
        machine.check("192.0.2.1", "192.0.2.1").await;
        machine.check("::1", "::1").await;
        machine
            .check(
                "old",
                "lookup old: it is not in /etc/hosts, and /etc/resolv.conf names no usable name server: \
                 io error: no nameservers found in config",
            )
            .await;
    }

    /// A name server that knows `registry.example` and `mirror.lan`, at an address of the loopback of its own.
    async fn name_server() -> Option<(Ipv4Addr, tokio::task::JoinHandle<()>)> {
        let pid = std::process::id().to_be_bytes();
        let address = Ipv4Addr::new(127, 53, pid[2], pid[3].max(1));
        let socket = match UdpSocket::bind((address, 53)).await {
            Ok(socket) => socket,
            Err(error) => {
                eprintln!("SKIPPED: a name server needs port 53 of {address}: {error}");
                return None;
            }
        };
        #[expect(clippy::disallowed_methods, reason = "it is ended with the test's runtime")]
        let task = tokio::spawn(async move {
            let mut query = [0; 512];
            while let Ok((length, from)) = socket.recv_from(&mut query).await {
                socket.send_to(&reply(&query[..length]), from).await.unwrap();
            }
        });
        Some((address, task))
    }

    /// The answer to a query with one question, by hand.
    fn reply(query: &[u8]) -> Vec<u8> {
        let end = 12 + query[12..].iter().position(|byte| *byte == 0).unwrap() + 1;
        let (name, kind) = (query[12..end].to_ascii_lowercase(), query[end + 1]);
        let known = name == b"\x08registry\x07example\0" || name == b"\x06mirror\x03lan\0";
        let found = known && kind == 1;
        let mut reply = query[..2].to_vec();
        reply.extend([0x81, if known { 0x80 } else { 0x83 }, 0, 1, 0, u8::from(found), 0, 0, 0, 0]);
        reply.extend(&query[12..end + 4]);
        if found {
            reply.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 7]);
        }
        reply
    }

    #[tokio::test]
    async fn the_name_servers_of_resolv_conf_are_asked() {
        let Some((address, server)) = name_server().await else { return };
        let known = machine("", &format!("search lan\nnameserver {address}\n"));
        known.check("registry.example", "192.0.2.7").await;
        known.check("mirror", "192.0.2.7").await;
        known.check("nowhere.example", "lookup nowhere.example: no such host").await;
        server.abort();
        let _ = server.await;
        let dead = machine("", &format!("nameserver {address}\noptions timeout:1 attempts:1\n"));
        let error = dead.names.addresses("registry.example").await.expect_err("nobody answers").to_string();
        assert!(error.starts_with("lookup registry.example: the name servers of "), "{error}");
    }
}
