//! TLS configurations of the API server: as a server, and as a client of kubelets.

use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{
    ClientConfig, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, ServerConfig, SignatureScheme,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};

use super::{Authority, Credentials, PkiError};

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

fn roots(ca: &Authority) -> Result<Arc<RootCertStore>, PkiError> {
    let mut roots = RootCertStore::empty();
    roots.add(ca.der().clone()).map_err(PkiError::Tls)?;
    Ok(Arc::new(roots))
}

/// Judges client certificates. The handshake lets any certificate pass, so that a stranger gets an answer (401)
/// instead of a broken connection; [`ClientTrust::verify`] is asked at authentication.
#[derive(Debug, Clone)]
pub struct ClientTrust(Arc<dyn ClientCertVerifier>);

impl ClientTrust {
    pub fn new(ca: &Authority) -> Result<ClientTrust, PkiError> {
        ClientTrust::of_roots(roots(ca)?)
    }

    /// Also those of a bundle that an administrator brings.
    pub fn with_bundle(ca: &Authority, bundle: &str) -> Result<ClientTrust, PkiError> {
        let mut roots = RootCertStore::empty();
        roots.add(ca.der().clone()).map_err(PkiError::Tls)?;
        ClientTrust::and_bundle(roots, "requestheader-client-ca-file", bundle)
    }

    /// Those of a bundle alone.
    pub fn of_bundle(bundle: &str) -> Result<ClientTrust, PkiError> {
        ClientTrust::and_bundle(RootCertStore::empty(), "client-ca-file", bundle)
    }

    fn and_bundle(mut roots: RootCertStore, name: &str, bundle: &str) -> Result<ClientTrust, PkiError> {
        for cert in CertificateDer::pem_slice_iter(bundle.as_bytes()) {
            let cert = cert.map_err(|_| PkiError::Malformed { name: name.into() })?;
            roots.add(cert).map_err(PkiError::Tls)?;
        }
        ClientTrust::of_roots(Arc::new(roots))
    }

    fn of_roots(roots: Arc<RootCertStore>) -> Result<ClientTrust, PkiError> {
        let builder = WebPkiClientVerifier::builder_with_provider(roots, provider());
        let no_roots = |error: rustls::server::VerifierBuilderError| PkiError::Tls(Error::General(error.to_string()));
        Ok(ClientTrust(builder.allow_unauthenticated().build().map_err(no_roots)?))
    }

    /// Whether the chain leads to the authority, for client use, now.
    pub fn verify(&self, chain: &[CertificateDer<'_>]) -> Result<(), Error> {
        let Some((leaf, intermediates)) = chain.split_first() else { return Err(Error::NoCertificatesPresented) };
        self.0.verify_client_cert(leaf, intermediates, UnixTime::now()).map(drop)
    }
}

#[derive(Debug)]
struct AcceptAnyone(Arc<dyn ClientCertVerifier>);

impl ClientCertVerifier for AcceptAnyone {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.0.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        _leaf: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls12_signature(message, cert, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls13_signature(message, cert, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

/// The server's certificate, replaceable while it serves.
#[derive(Debug)]
pub struct ServerIdentity(ArcSwap<CertifiedKey>);

impl ServerIdentity {
    pub fn new(credentials: &Credentials) -> Result<Arc<ServerIdentity>, PkiError> {
        Ok(Arc::new(ServerIdentity(ArcSwap::from_pointee(certified(credentials)?))))
    }

    pub fn replace(&self, credentials: &Credentials) -> Result<(), PkiError> {
        self.0.store(Arc::new(certified(credentials)?));
        Ok(())
    }
}

impl ResolvesServerCert for ServerIdentity {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

fn certified(credentials: &Credentials) -> Result<CertifiedKey, PkiError> {
    let (chain, key) = parse(credentials)?;
    CertifiedKey::from_der(chain, key, &provider()).map_err(PkiError::Tls)
}

fn parse(credentials: &Credentials) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), PkiError> {
    let malformed = |_| PkiError::Malformed { name: "credentials".into() };
    let chain = CertificateDer::pem_slice_iter(credentials.cert_pem.as_bytes());
    let chain = chain.collect::<Result<Vec<_>, _>>().map_err(malformed)?;
    let key = PrivateKeyDer::from_pem_slice(credentials.key_pem.as_bytes()).map_err(malformed)?;
    Ok((chain, key))
}

/// HTTP/2 and HTTP/1.1, TLS 1.2 and 1.3, a client certificate asked for but not required.
pub fn server_config(identity: Arc<ServerIdentity>, trust: &ClientTrust) -> Result<Arc<ServerConfig>, PkiError> {
    let builder = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
    let builder = builder.map_err(PkiError::Tls)?;
    let verifier = Arc::new(AcceptAnyone(trust.0.clone()));
    let mut config = builder.with_client_cert_verifier(verifier).with_cert_resolver(identity);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// Whose certificates a client believes.
#[derive(Clone, Copy, Debug)]
pub enum ServerTrust<'a> {
    /// Authorities as PEM.
    Bundle(&'a [u8]),
    /// Somebody said that it does not matter.
    Anyone,
}

/// For servers that are proxied to, which are shown a certificate if there is one. HTTP/1.1 only.
pub fn proxy_config(trust: ServerTrust<'_>, credentials: Option<&Credentials>) -> Result<Arc<ClientConfig>, PkiError> {
    let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
    let builder = builder.map_err(PkiError::Tls)?;
    let builder = match trust {
        ServerTrust::Anyone => builder.dangerous().with_custom_certificate_verifier(Arc::new(BelieveAnyone)),
        ServerTrust::Bundle(pem) => {
            let malformed = |_| PkiError::Malformed { name: "caBundle".into() };
            let mut roots = RootCertStore::empty();
            for certificate in CertificateDer::pem_slice_iter(pem) {
                roots.add(certificate.map_err(malformed)?).map_err(PkiError::Tls)?;
            }
            builder.with_root_certificates(roots)
        }
    };
    let mut config = match credentials {
        None => builder.with_no_client_auth(),
        Some(credentials) => {
            let (chain, key) = parse(credentials)?;
            builder.with_client_auth_cert(chain, key).map_err(PkiError::Tls)?
        }
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

#[derive(Debug)]
struct BelieveAnyone;

impl ServerCertVerifier for BelieveAnyone {
    fn verify_server_cert(
        &self,
        _leaf: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, signed, &provider().signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, signed, &provider().signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}

/// Trusts one authority and shows one certificate. HTTP/1.1 only: upgrades need it.
pub fn client_config(ca: &Authority, credentials: &Credentials) -> Result<Arc<ClientConfig>, PkiError> {
    let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
    let builder = builder.map_err(PkiError::Tls)?.with_root_certificates(roots(ca)?);
    let (chain, key) = parse(credentials)?;
    let mut config = builder.with_client_auth_cert(chain, key).map_err(PkiError::Tls)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// Trusts the authorities of a PEM text, or those of the system; shows a certificate if there is one. For servers that know nothing of us.
pub fn trusting(ca_pem: Option<&str>, identity: Option<&Credentials>) -> Result<Arc<ClientConfig>, PkiError> {
    let mut roots = RootCertStore::empty();
    match ca_pem {
        Some(pem) => {
            for cert in CertificateDer::pem_slice_iter(pem.as_bytes()) {
                let cert = cert.map_err(|_| PkiError::Malformed { name: "certificate authority".into() })?;
                roots.add(cert).map_err(PkiError::Tls)?;
            }
        }
        None => drop(roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs)),
    }
    let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
    let config = builder.map_err(PkiError::Tls)?.with_root_certificates(roots);
    let mut config = match identity {
        None => config.with_no_client_auth(),
        Some(credentials) => {
            let (chain, key) = parse(credentials)?;
            config.with_client_auth_cert(chain, key).map_err(PkiError::Tls)?
        }
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
