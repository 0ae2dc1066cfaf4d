//! A certificate and its key, kept in one file.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rcgen::string::Ia5String;
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair as Key, PublicKeyData, SanType};
use sha2::{Digest, Sha256};

use super::Wanted;
use super::plan::{covers, validity};
use super::request::CertificateError;

/// Both as PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyPair {
    pub cert_pem: String,
    pub key_pem: String,
}

/// The files of one certificate: `<name>-current.pem`, and the key of a request that is not decided yet.
#[derive(Clone, Debug)]
pub struct Kept {
    directory: PathBuf,
    name: &'static str,
}

impl Kept {
    pub fn new(directory: &Path, name: &'static str) -> Self {
        Self { directory: directory.to_owned(), name }
    }

    /// Where certificate and key are.
    pub fn path(&self) -> PathBuf {
        self.directory.join(format!("{}-current.pem", self.name))
    }

    fn pending(&self) -> PathBuf {
        self.directory.join(format!("{}.key.tmp", self.name))
    }

    /// What is kept, unless it is over or for other names.
    pub fn valid(&self, wanted: &Wanted, now: Timestamp) -> Option<KeyPair> {
        let text = fs::read_to_string(self.path()).ok()?;
        let at = text.find("-----BEGIN PRIVATE KEY-----")?;
        let pair = KeyPair { cert_pem: text[..at].to_owned(), key_pem: text[at..].to_owned() };
        let good = validity(&pair.cert_pem).is_some_and(|validity| now < validity.end);
        (good && covers(&pair.cert_pem, wanted)).then_some(pair)
    }

    /// Takes over a new pair; the key that waited for it is no longer pending.
    pub(super) fn put(&self, pair: &KeyPair) -> Result<(), CertificateError> {
        let end = if pair.cert_pem.ends_with('\n') { "" } else { "\n" };
        self.write(&self.path(), &format!("{}{end}{}", pair.cert_pem, pair.key_pem))?;
        self.forget_pending();
        Ok(())
    }

    /// The key of the request under way, or a new one: an agent that starts again asks for nothing twice.
    pub(super) fn pending_key(&self) -> Result<Key, CertificateError> {
        let known = fs::read_to_string(self.pending()).ok().and_then(|pem| Key::from_pem(&pem).ok());
        if let Some(key) = known {
            return Ok(key);
        }
        let key = Key::generate().map_err(CertificateError::Make)?;
        self.write(&self.pending(), &key.serialize_pem())?;
        Ok(key)
    }

    /// The request was refused: another needs another key.
    pub(super) fn forget_pending(&self) {
        let path = self.pending();
        match fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                tracing::warn!(path = %path.display(), %error, "a key without a certificate was not removed");
            }
            _ => {}
        }
    }

    /// Whole or not at all, for root's eyes alone.
    fn write(&self, path: &Path, text: &str) -> Result<(), CertificateError> {
        let failed = |source| CertificateError::File { path: path.to_owned(), source };
        fs::create_dir_all(&self.directory).map_err(failed)?;
        let temporary = path.with_extension("new");
        let mut options = fs::OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&temporary).map_err(failed)?;
        file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)?;
        fs::rename(&temporary, path).map_err(failed)
    }
}

/// The request's name says its key: the same request has the same name.
pub(super) fn request_name(key: &Key) -> String {
    let digest = Sha256::digest(key.subject_public_key_info());
    digest.iter().fold("node-csr-".to_owned(), |name, byte| format!("{name}{byte:02x}"))
}

/// The PKCS#10 request, as PEM.
pub(super) fn signing_request(wanted: &Wanted, key: &Key) -> Result<String, rcgen::Error> {
    let mut params = CertificateParams::default();
    let mut subject = DistinguishedName::new();
    subject.push(DnType::OrganizationName, "system:nodes");
    subject.push(DnType::CommonName, format!("system:node:{}", wanted.node_name));
    params.distinguished_name = subject;
    for name in &wanted.names {
        params.subject_alt_names.push(SanType::DnsName(Ia5String::try_from(name.as_str())?));
    }
    params.subject_alt_names.extend(wanted.addresses.iter().copied().map(SanType::IpAddress));
    params.serialize_request(key)?.pem()
}
