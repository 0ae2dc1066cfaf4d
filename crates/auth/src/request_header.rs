//! A front proxy that authenticated its caller itself, and says in headers who it is.

use crate::UserInfo;
use crate::pki::ClientTrust;
use rustls_pki_types::CertificateDer;

/// Which proxies are believed, and where they say what. Names of headers are in lower case.
pub struct RequestHeader {
    pub trust: ClientTrust,
    /// Common names; any when empty.
    pub allowed_names: Vec<String>,
    pub username_headers: Vec<String>,
    pub uid_headers: Vec<String>,
    pub group_headers: Vec<String>,
    pub extra_prefixes: Vec<String>,
}

/// The flags of upstream's `--requestheader-*`, as extension servers are told them.
#[derive(Clone, Debug)]
pub struct RequestHeaderConfig {
    /// Authorities of front proxies besides the cluster's own.
    pub ca_pem: Option<String>,
    pub allowed_names: Vec<String>,
    pub username_headers: Vec<String>,
    pub uid_headers: Vec<String>,
    pub group_headers: Vec<String>,
    pub extra_prefixes: Vec<String>,
}

impl Default for RequestHeaderConfig {
    fn default() -> Self {
        let own = |name: &str| vec![name.to_string()];
        RequestHeaderConfig {
            ca_pem: None,
            allowed_names: own("front-proxy-client"),
            username_headers: own("X-Remote-User"),
            uid_headers: own("X-Remote-Uid"),
            group_headers: own("X-Remote-Group"),
            extra_prefixes: own("X-Remote-Extra-"),
        }
    }
}

impl RequestHeader {
    pub fn new(trust: ClientTrust, config: &RequestHeaderConfig) -> RequestHeader {
        let lower = |names: &[String]| names.iter().map(|name| name.to_ascii_lowercase()).collect();
        RequestHeader {
            trust,
            allowed_names: config.allowed_names.clone(),
            username_headers: lower(&config.username_headers),
            uid_headers: lower(&config.uid_headers),
            group_headers: lower(&config.group_headers),
            extra_prefixes: lower(&config.extra_prefixes),
        }
    }

    /// The user of the headers, if a proxy that is believed sent them.
    pub fn user(&self, chain: &[CertificateDer<'_>], headers: &[(&str, &str)]) -> Option<UserInfo> {
        let name = first(headers, &self.username_headers)?;
        self.trust.verify(chain).ok()?;
        let proxy = crate::authn::user_of_certificate(chain.first()?)?.name;
        if !self.allowed_names.is_empty() && !self.allowed_names.contains(&proxy) {
            return None;
        }
        let mut user = UserInfo { name: name.to_string(), ..UserInfo::default() };
        user.uid = first(headers, &self.uid_headers).unwrap_or_default().to_string();
        let groups =
            headers.iter().filter(|(key, value)| self.group_headers.iter().any(|own| own == key) && !value.is_empty());
        user.groups = groups.map(|(_, value)| (*value).to_string()).collect();
        for (key, value) in headers {
            if let Some(key) = self.extra_prefixes.iter().find_map(|prefix| key.strip_prefix(prefix.as_str())) {
                user.extra.entry(unescape(key)).or_default().push((*value).to_string());
            }
        }
        Some(user)
    }

    /// Whether a header is the proxy's word: nobody behind authentication is to see it.
    pub fn owns(&self, header: &str) -> bool {
        let named = [&self.username_headers, &self.uid_headers, &self.group_headers];
        named.iter().any(|names| names.iter().any(|own| own == header))
            || self.extra_prefixes.iter().any(|prefix| header.starts_with(prefix.as_str()))
    }
}

fn first<'a>(headers: &[(&str, &'a str)], names: &[String]) -> Option<&'a str> {
    names
        .iter()
        .find_map(|name| headers.iter().find(|(key, value)| key == name && !value.is_empty()).map(|(_, value)| *value))
}

/// `%2f` and the like; what is malformed stays.
fn unescape(key: &str) -> String {
    let mut bytes = Vec::with_capacity(key.len());
    let mut rest = key.as_bytes();
    while let Some((byte, behind)) = rest.split_first() {
        let code = behind.get(..2).and_then(|two| std::str::from_utf8(two).ok());
        match code.and_then(|code| u8::from_str_radix(code, 16).ok()).filter(|_| *byte == b'%') {
            Some(code) => {
                bytes.push(code);
                rest = &behind[2..];
            }
            None => {
                bytes.push(*byte);
                rest = behind;
            }
        }
    }
    String::from_utf8(bytes).unwrap_or_else(|_| key.to_string())
}

#[cfg(test)]
mod tests {
    use rustls_pki_types::pem::PemObject;

    use super::*;
    use crate::pki::{Pki, Profile};

    fn chain(pki: &Pki, name: &str) -> Vec<CertificateDer<'static>> {
        let profile = Profile::Client { common_name: name.into(), organization: None };
        let pem = pki.front_proxy.issue(&profile).unwrap().cert_pem;
        vec![CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()]
    }

    #[test]
    fn a_proxys_word_is_taken_and_nobody_elses() {
        let pki = Pki::ephemeral().unwrap();
        let proxy = RequestHeader::new(ClientTrust::new(&pki.front_proxy).unwrap(), &RequestHeaderConfig::default());
        let headers = [
            ("x-remote-user", "jane"),
            ("x-remote-group", "a"),
            ("x-remote-group", "b"),
            ("x-remote-extra-k%2fl", "v"),
        ];
        let user = proxy.user(&chain(&pki, "front-proxy-client"), &headers).unwrap();
        assert_eq!((user.name.as_str(), user.groups.len(), &user.extra["k/l"]), ("jane", 2, &vec!["v".to_string()]));
        assert_eq!(proxy.user(&chain(&pki, "another"), &headers), None);
        assert_eq!(proxy.user(&chain(&pki, "front-proxy-client"), &[]), None);
        let cluster = pki.admin().unwrap().cert_pem;
        let cluster = CertificateDer::from_pem_slice(cluster.as_bytes()).unwrap();
        assert_eq!(proxy.user(&[cluster], &headers), None);
        assert!(proxy.owns("x-remote-extra-x") && !proxy.owns("x-forwarded-for"));
    }

    #[test]
    fn an_administrators_proxy_and_headers_are_believed_too() {
        let (pki, other) = (Pki::ephemeral().unwrap(), Pki::ephemeral().unwrap());
        let config = RequestHeaderConfig {
            allowed_names: Vec::new(),
            username_headers: vec!["X-My-User".into()],
            ..RequestHeaderConfig::default()
        };
        let trust = ClientTrust::with_bundle(&pki.front_proxy, other.front_proxy.pem()).unwrap();
        let proxy = RequestHeader::new(trust, &config);
        let headers = [("x-my-user", "jane")];
        for pki in [&pki, &other] {
            assert_eq!(proxy.user(&chain(pki, "anybody"), &headers).unwrap().name, "jane");
        }
        assert_eq!(proxy.user(&chain(&pki, "anybody"), &[("x-remote-user", "jane")]), None);
    }
}
