use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};

use hickory_proto::op::ResponseCode;

/// Counters by the names that CoreDNS gives them.
#[derive(Default)]
pub struct Metrics {
    requests_udp: AtomicU64,
    requests_tcp: AtomicU64,
    answers_no_error: AtomicU64,
    answers_no_name: AtomicU64,
    answers_failed: AtomicU64,
    answers_other: AtomicU64,
    forwarded: AtomicU64,
    cache_hits: AtomicU64,
    cache_misses: AtomicU64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wire {
    Udp,
    Tcp,
}

impl Metrics {
    pub(crate) fn request(&self, wire: Wire) {
        match wire {
            Wire::Udp => &self.requests_udp,
            Wire::Tcp => &self.requests_tcp,
        }
        .fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn answered(&self, code: ResponseCode) {
        match code {
            ResponseCode::NoError => &self.answers_no_error,
            ResponseCode::NXDomain => &self.answers_no_name,
            ResponseCode::ServFail => &self.answers_failed,
            _ => &self.answers_other,
        }
        .fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn forwarded(&self, cached: bool) {
        match cached {
            true => &self.cache_hits,
            false => {
                self.forwarded.fetch_add(1, Ordering::Relaxed);
                &self.cache_misses
            }
        }
        .fetch_add(1, Ordering::Relaxed);
    }

    /// All counters in Prometheus' text format.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let families: [(&str, &str, &[Counter<'_>]); 5] = [
            (
                "coredns_dns_requests_total",
                "Requests by protocol.",
                &[("proto=\"udp\"", &self.requests_udp), ("proto=\"tcp\"", &self.requests_tcp)],
            ),
            (
                "coredns_dns_responses_total",
                "Answers by code.",
                &[
                    ("rcode=\"NOERROR\"", &self.answers_no_error),
                    ("rcode=\"NXDOMAIN\"", &self.answers_no_name),
                    ("rcode=\"SERVFAIL\"", &self.answers_failed),
                    ("rcode=\"other\"", &self.answers_other),
                ],
            ),
            (
                "coredns_forward_requests_total",
                "Questions passed on to the node's resolvers.",
                &[("", &self.forwarded)],
            ),
            ("coredns_cache_hits_total", "Questions answered from memory.", &[("", &self.cache_hits)]),
            ("coredns_cache_misses_total", "Questions that were not in memory.", &[("", &self.cache_misses)]),
        ];
        for (name, help, counters) in families {
            write_family(&mut text, name, help, counters);
        }
        text
    }
}

/// A counter with its labels.
type Counter<'a> = (&'a str, &'a AtomicU64);

fn write_family(text: &mut String, name: &str, help: &str, counters: &[Counter<'_>]) {
    let mut write = || {
        writeln!(text, "# HELP {name} {help}\n# TYPE {name} counter")?;
        counters.iter().try_for_each(|(labels, counter)| {
            let labels = if labels.is_empty() { String::new() } else { format!("{{{labels}}}") };
            writeln!(text, "{name}{labels} {}", counter.load(Ordering::Relaxed))
        })
    };
    write().expect("writing to a string cannot fail");
}
