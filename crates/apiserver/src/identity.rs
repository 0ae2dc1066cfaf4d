//! Says which API servers there are: a Lease for each, kept up while it runs, and collected when its time is over.

use std::sync::Arc;
use std::time::Duration;

use apimachinery::{Status, object, time};
use http::Method;
use jiff::Timestamp;
use rt::TaskSet;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use store::{Key, Object};

use crate::internal;
use crate::server::Inner;

const NAMESPACE: &str = "kube-system";
const LABEL: &str = "apiserver.kubernetes.io/identity";
const COMPONENT: &str = "kube-apiserver";
const HOST_LABEL: &str = "kubernetes.io/hostname";
const DURATION_SECONDS: i64 = 3600;
const RENEW: Duration = Duration::from_secs(10);
const COLLECT: Duration = Duration::from_secs(3600);

/// Who this server is.
struct Identity {
    /// The Lease's name, from the host's.
    name: String,
    host: String,
    /// The name, and something that no other start has.
    holder: String,
}

impl Identity {
    fn of(host: &str) -> Identity {
        let digest = Sha256::digest(host.as_bytes());
        let name = format!("apiserver-{}", base32(&digest[..16]));
        let holder = format!("{name}_{}", uuid::Uuid::new_v4());
        Identity { name, host: host.to_owned(), holder }
    }

    /// The Lease as it is to be written over what is there.
    fn lease(&self, known: Option<Value>, now: Timestamp) -> Value {
        let mut lease = known.unwrap_or_else(|| {
            json!({
                "apiVersion": "coordination.k8s.io/v1",
                "kind": "Lease",
                "metadata": {"name": self.name, "namespace": NAMESPACE},
                "spec": {"holderIdentity": self.holder, "leaseDurationSeconds": DURATION_SECONDS},
            })
        });
        lease["metadata"]["labels"][LABEL] = COMPONENT.into();
        lease["metadata"]["labels"][HOST_LABEL] = self.host.as_str().into();
        lease["spec"]["renewTime"] = now.strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string().into();
        lease
    }
}

/// Writes the Lease, then keeps it up.
pub async fn keep(server: &Arc<Inner>, tasks: &TaskSet) {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let identity = Identity::of(host.trim());
    note(renew(server, &identity).await);
    let renewing = server.clone();
    tasks.spawn_until_cancelled("api-server-identity", async move {
        let mut interval = interval(RENEW);
        loop {
            interval.tick().await;
            note(renew(&renewing, &identity).await);
        }
    });
    let collecting = server.clone();
    tasks.spawn_until_cancelled("api-server-identity-collector", async move {
        let mut interval = interval(COLLECT);
        loop {
            collect(&collecting, Timestamp::now().as_second()).await;
            interval.tick().await;
        }
    });
}

/// The first tick comes after a period.
fn interval(period: Duration) -> tokio::time::Interval {
    let mut interval = tokio::time::interval_at(tokio::time::Instant::now() + period, period);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    interval
}

fn note(renewed: Result<(), Status>) {
    if let Err(status) = renewed {
        tracing::warn!(%status, "the lease of this API server was not renewed");
    }
}

async fn renew(server: &Arc<Inner>, identity: &Identity) -> Result<(), Status> {
    let collection = format!("/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases");
    let path = format!("{collection}/{}", identity.name);
    let known = match internal::send(server, Method::GET, &path, None).await {
        Ok(lease) => Some(lease),
        Err(status) if status.code == 404 => None,
        Err(status) => return Err(status),
    };
    let (method, path) = if known.is_some() { (Method::PUT, path) } else { (Method::POST, collection) };
    let lease = identity.lease(known, Timestamp::now());
    internal::send(server, method, &path, Some(&lease)).await.map(drop)
}

/// Deletes the Leases of servers that have been silent for too long.
async fn collect(server: &Inner, now: i64) {
    let prefix = Key::prefix("coordination.k8s.io", "leases", Some(NAMESPACE));
    let snapshot = server.store.snapshot();
    let expired = |lease: &Object| {
        let lease = lease.value();
        object::labels(&lease).and_then(|labels| labels.get(LABEL)).is_some_and(|of| of == COMPONENT)
            && is_expired(&lease, now)
    };
    let over: Vec<(Key, Arc<Object>)> = snapshot
        .range(&prefix, None)
        .filter(|(_, lease)| expired(lease))
        .map(|(key, lease)| (key.clone(), lease.clone()))
        .collect();
    for (key, lease) in over {
        // A conflict means that its server speaks again.
        if let Err(error) = server.store.delete(key, lease.revision, None).await {
            tracing::debug!(error = &error as &dyn std::error::Error, "an expired lease stays");
        }
    }
}

/// One that says no time is nobody's.
fn is_expired(lease: &Value, now: i64) -> bool {
    let renewed = lease.pointer("/spec/renewTime").and_then(time::seconds);
    let duration = lease.pointer("/spec/leaseDurationSeconds").and_then(Value::as_i64);
    renewed.zip(duration).is_none_or(|(renewed, duration)| renewed + duration < now)
}

/// In lower case, without padding.
fn base32(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let bit = |index: usize| bytes.get(index / 8).is_some_and(|byte| byte >> (7 - index % 8) & 1 == 1);
    let digits = (0..bytes.len() * 8).step_by(5).map(|start| {
        let digit = (start..start + 5).fold(0, |digit, index| digit << 1 | usize::from(bit(index)));
        char::from(ALPHABET[digit])
    });
    digits.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_is_that_of_the_host() {
        assert_eq!(base32(b"foobar"), "mzxw6ytboi");
        assert_eq!(Identity::of("a").name, Identity::of("a").name);
        assert_eq!(Identity::of("kind-control-plane").name.len(), "apiserver-".len() + 26);
    }

    #[test]
    fn a_lease_keeps_its_holder_and_gets_the_time() {
        let identity = Identity::of("host");
        let at = Timestamp::from_second(1_700_000_000).unwrap();
        let first = identity.lease(None, at);
        assert_eq!(first["metadata"]["labels"][LABEL], COMPONENT);
        assert_eq!(first["spec"]["renewTime"], "2023-11-14T22:13:20.000000Z");
        let again = Identity::of("host").lease(Some(first.clone()), at);
        assert_eq!(again["spec"]["holderIdentity"], first["spec"]["holderIdentity"]);
    }

    #[test]
    fn a_lease_is_over_after_its_duration() {
        let lease = json!({"spec": {"renewTime": "2023-11-14T22:13:20.000000Z", "leaseDurationSeconds": 3600}});
        assert!(!is_expired(&lease, 1_700_003_600));
        assert!(is_expired(&lease, 1_700_003_601));
        assert!(is_expired(&json!({"spec": {}}), 0));
    }
}
