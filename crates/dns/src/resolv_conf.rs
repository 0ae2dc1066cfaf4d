use std::net::{IpAddr, SocketAddr};

const PORT: u16 = 53;

/// The resolvers that a resolv.conf names, without those that would lead back here: addresses of this machine's loopback
/// (a stub on the node is out of a pod's reach, and inside the pod the loopback is this server) and `own`.
pub fn upstreams(resolv_conf: &str, own: &[IpAddr]) -> Vec<SocketAddr> {
    let named = resolv_conf.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        (words.next() == Some("nameserver")).then(|| words.next()).flatten()
    });
    let mut found = Vec::new();
    for address in named.filter_map(|text| text.split('%').next().unwrap_or(text).parse::<IpAddr>().ok()) {
        let socket = SocketAddr::new(address, PORT);
        if !address.is_loopback() && !address.is_unspecified() && !own.contains(&address) && !found.contains(&socket) {
            found.push(socket);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolvers_that_lead_back_are_left_out() {
        let text = "# made by hand\nsearch lan\nnameserver 127.0.0.53\nnameserver 192.168.1.1\n\
            nameserver 10.96.0.10\nnameserver\nnameserver 192.168.1.1\nnameserver fd00::1\n";
        let found = upstreams(text, &["10.96.0.10".parse().unwrap()]);
        assert_eq!(found, ["192.168.1.1:53".parse().unwrap(), "[fd00::1]:53".parse().unwrap()]);
    }
}
