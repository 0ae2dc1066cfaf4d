//! The node's certificates: the one that it shows to the API server, and the one that its own server shows.
//!
//! Reads and writes: CertificateSigningRequests of its own making; one file for each certificate.
//! Does not know: who approves and signs. Start at [`Wanted`]; [`renew`] is the loop that all certificates have.

mod file;
mod plan;
mod renew;
mod request;
#[cfg(test)]
mod tests;

use std::net::IpAddr;

pub use file::{Kept, KeyPair};
pub use plan::{Validity, validity};
pub use renew::renew;
pub use request::{CertificateError, request};

/// What a certificate is to say, and who is to sign it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    pub signer: &'static str,
    pub usages: [&'static str; 2],
    pub node_name: String,
    /// Names and addresses that it is to be good for; a client's has none.
    pub names: Vec<String>,
    pub addresses: Vec<IpAddr>,
}

impl Wanted {
    /// What the node shows to the API server.
    pub fn client(node_name: &str) -> Self {
        Self {
            signer: "kubernetes.io/kube-apiserver-client-kubelet",
            usages: ["digital signature", "client auth"],
            node_name: node_name.to_owned(),
            names: Vec::new(),
            addresses: Vec::new(),
        }
    }

    /// What the node's server shows.
    pub fn serving(node_name: &str, address: IpAddr) -> Self {
        Self {
            signer: "kubernetes.io/kubelet-serving",
            usages: ["digital signature", "server auth"],
            node_name: node_name.to_owned(),
            names: vec![node_name.to_owned()],
            addresses: vec![address],
        }
    }
}
