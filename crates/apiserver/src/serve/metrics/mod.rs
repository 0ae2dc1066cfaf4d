//! `/metrics`: what is counted of requests, of the store and of the process, in the text format 0.0.4 under upstream's names.

mod requests;
mod storage;
mod watches;

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use http::{Response, StatusCode};
use rt::exposition::{Histogram, head};

use super::health::Results;
use super::{process, version};
use crate::audit::Counts;
use crate::body::Body;
use crate::encode;
use crate::server::Inner;
use requests::Requests;
use watches::Watches;

pub use requests::Open;
pub use watches::Sent;

#[derive(Default)]
pub struct Metrics {
    pub requests: Requests,
    pub watches: Watches,
    pub handshakes_failed: AtomicU64,
    pub health: Results,
    certificates: Lifetimes,
}

/// For how long the certificates of clients are still good, as requests show them.
struct Lifetimes(Histogram);

/// Half an hour to a year.
const LIFETIMES: &[f64] = &[
    0.0,
    1800.0,
    3600.0,
    7200.0,
    21_600.0,
    43_200.0,
    86_400.0,
    172_800.0,
    345_600.0,
    604_800.0,
    2_592_000.0,
    7_776_000.0,
    15_552_000.0,
    31_104_000.0,
];

impl Default for Lifetimes {
    fn default() -> Self {
        Lifetimes(Histogram::new(LIFETIMES))
    }
}

impl Metrics {
    /// A request came with a certificate that ends then, in seconds since 1970.
    pub fn certificate_used(&self, end: i64) {
        #[expect(clippy::cast_precision_loss, reason = "centuries of seconds fit")]
        self.certificates.0.observe((end - jiff::Timestamp::now().as_second()) as f64);
    }

    pub fn response(&self, server: &Inner) -> Response<Body> {
        let mut text = String::new();
        self.requests.write(&mut text);
        in_flight(server, &mut text);
        self.watches.write(&mut text);
        let name = "apiserver_tls_handshake_errors_total";
        head(&mut text, name, "counter", "Number of connections that ended in their TLS handshake.");
        let _ = writeln!(text, "{name} {}", self.handshakes_failed.load(Relaxed));
        let name = "apiserver_client_certificate_expiration_seconds";
        head(&mut text, name, "histogram", "Remaining lifetime of the certificates that requests come with.");
        self.certificates.0.write(name, "", &mut text);
        storage::write(server, &mut text);
        audit(server, &mut text);
        server.admission.write_metrics(&mut text);
        server.flow.write_metrics(&mut text);
        server.remotes.write_metrics(&server.store, &mut text);
        server.config.more_metrics.iter().for_each(|write| write(&mut text));
        version::write_metrics(&mut text);
        process::write(&mut text);
        encode::plain(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", text.into())
    }
}

/// Zeros where nothing is recorded.
fn audit(server: &Inner, out: &mut String) {
    match &server.auditor {
        Some(auditor) => auditor.counts().write(out),
        None => Counts::default().write(out),
    }
}

fn in_flight(server: &Inner, out: &mut String) {
    let maxima = server.flow.maxima();
    let name = "apiserver_current_inflight_requests";
    head(out, name, "gauge", "The most requests that executed at once within the last second, by kind.");
    for (kind, executing, _) in maxima {
        let _ = writeln!(out, "{name}{{request_kind=\"{kind}\"}} {executing}");
    }
    let name = "apiserver_current_inqueue_requests";
    head(out, name, "gauge", "The most requests that waited at once within the last second, by kind.");
    for (kind, _, waiting) in maxima {
        let _ = writeln!(out, "{name}{{request_kind=\"{kind}\"}} {waiting}");
    }
}
