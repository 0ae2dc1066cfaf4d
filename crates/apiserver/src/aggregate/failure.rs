//! Why a server could not be spoken to, in the words of upstream's client.

use std::error::Error;
use std::io;

use admission::webhook::caller::dial_error;
use jiff::Timestamp;
use rustls::{AlertDescription, CertificateError};

/// A connection that did not come about.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error("dial tcp {address}: {}", dial_error(.source))]
    Dial { address: String, source: io::Error },
    #[error("{}", handshake(.0))]
    Handshake(io::Error),
}

/// A handshake fails for many reasons: only some are about the certificate.
fn handshake(error: &io::Error) -> String {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match inner {
        Some(rustls::Error::InvalidCertificate(why)) => {
            format!("tls: failed to verify certificate: x509: {}", certificate(why))
        }
        Some(rustls::Error::AlertReceived(alert)) => format!("remote error: tls: {}", alert_text(*alert)),
        Some(rustls::Error::InvalidMessage(_)) => "tls: first record does not look like a TLS handshake".into(),
        Some(rustls::Error::PeerIncompatible(_)) => "remote error: tls: handshake failure".into(),
        Some(other) => format!("tls: {other}"),
        None if error.kind() == io::ErrorKind::UnexpectedEof => "EOF".into(),
        None => format!("read tcp: {}", dial_error(error)),
    }
}

fn certificate(why: &CertificateError) -> String {
    let seconds = |time: &rustls_pki_types::UnixTime| {
        let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
        Timestamp::from_second(seconds).map(|time| time.to_string()).unwrap_or_default()
    };
    let expired = "certificate has expired or is not yet valid:";
    match why {
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "certificate signed by unknown authority".into()
        }
        CertificateError::ExpiredContext { time, not_after } => {
            format!("{expired} current time {} is after {}", seconds(time), seconds(not_after))
        }
        CertificateError::NotValidYetContext { time, not_before } => {
            format!("{expired} current time {} is before {}", seconds(time), seconds(not_before))
        }
        CertificateError::NotValidForNameContext { expected, presented } => valid_for(presented, &expected.to_str()),
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "certificate specifies an incompatible key usage".into()
        }
        other => other.to_string(),
    }
}

/// The presented names come as `DnsName("a")`.
fn valid_for(presented: &[String], expected: &str) -> String {
    let names: Vec<&str> = presented.iter().map(|name| name.split('"').nth(1).unwrap_or(name)).collect();
    match names.as_slice() {
        [] => format!("certificate is not valid for any names, but wanted to match {expected}"),
        names => format!("certificate is valid for {}, not {expected}", names.join(", ")),
    }
}

fn alert_text(alert: AlertDescription) -> String {
    match alert {
        AlertDescription::BadCertificate => "bad certificate".into(),
        AlertDescription::CertificateRequired => "certificate required".into(),
        AlertDescription::UnknownCA => "unknown certificate authority".into(),
        AlertDescription::CertificateExpired => "expired certificate".into(),
        AlertDescription::HandshakeFailure => "handshake failure".into(),
        AlertDescription::ProtocolVersion => "protocol version not supported".into(),
        AlertDescription::UnrecognisedName => "unrecognized name".into(),
        AlertDescription::InternalError => "internal error".into(),
        AlertDescription::NoApplicationProtocol => "no application protocol".into(),
        other => format!("{other:?}"),
    }
}

/// What lies at the root of a failed exchange.
pub fn worded(error: &(dyn Error + 'static)) -> String {
    let mut link = error;
    loop {
        if let Some(failure) = link.downcast_ref::<Failure>() {
            return failure.to_string();
        }
        if link.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_incomplete_message) {
            return "EOF".into();
        }
        match link.source() {
            Some(source) => link = source,
            None => break,
        }
    }
    match link.downcast_ref::<io::Error>() {
        Some(error) if error.kind() == io::ErrorKind::ConnectionReset => {
            "read tcp: read: connection reset by peer".into()
        }
        _ => link.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_sound_as_upstreams() {
        let tls = |error: rustls::Error| handshake(&io::Error::new(io::ErrorKind::InvalidData, error));
        let unknown = tls(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer));
        assert_eq!(unknown, "tls: failed to verify certificate: x509: certificate signed by unknown authority");
        assert_eq!(
            tls(rustls::Error::AlertReceived(AlertDescription::BadCertificate)),
            "remote error: tls: bad certificate"
        );
        assert_eq!(handshake(&io::ErrorKind::UnexpectedEof.into()), "EOF");
        assert_eq!(
            valid_for(&["DnsName(\"a\")".into(), "DnsName(\"b\")".into()], "c"),
            "certificate is valid for a, b, not c"
        );
        let refused = Failure::Dial { address: "10.0.0.1:443".into(), source: io::ErrorKind::ConnectionRefused.into() };
        assert_eq!(worded(&refused), "dial tcp 10.0.0.1:443: connect: connection refused");
    }
}
