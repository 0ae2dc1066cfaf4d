//! `kube-system/extension-apiserver-authentication`: what extension servers must know to believe this server's callers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use apimachinery::Status;
use auth::pki::bundle;
use http::Method;
use rt::{Backoff, TaskSet};
use serde_json::{Value, json};
use store::{Key, Prefix};

use crate::internal;
use crate::server::Inner;

const NAMESPACE: &str = "kube-system";
const NAME: &str = "extension-apiserver-authentication";
const RETRY_FIRST: Duration = Duration::from_millis(200);
const RETRY_MAX: Duration = Duration::from_mins(5);
const CERTIFICATES: [&str; 2] = ["client-ca-file", "requestheader-client-ca-file"];

/// Writes the config map, then puts back what somebody takes out of it. Admission may refuse it for a while.
pub async fn keep(server: &Arc<Inner>, tasks: &TaskSet) {
    note(&sync(server).await);
    let server = server.clone();
    tasks.spawn_until_cancelled("cluster-authentication-info", async move {
        let mut backoff = Backoff::new(RETRY_FIRST, RETRY_MAX, 2.0);
        loop {
            let revision = server.store.revision();
            let written = sync(&server).await;
            note(&written);
            if written.is_err() {
                tokio::time::sleep(backoff.next()).await;
                continue;
            }
            backoff.reset();
            let prefix = Prefix::of_key(&Key::new("", "configmaps", NAMESPACE, NAME));
            let Ok(mut changes) = server.store.watch(prefix, revision) else { continue };
            // A watch that lags begins anew; what it missed is looked at first.
            let _ = changes.next().await;
        }
    });
}

fn note(written: &Result<(), Status>) {
    if let Err(status) = written {
        tracing::warn!(%status, "the authentication info of extension servers was not written");
    }
}

async fn sync(server: &Arc<Inner>) -> Result<(), Status> {
    let collection = format!("/api/v1/namespaces/{NAMESPACE}/configmaps");
    let path = format!("{collection}/{NAME}");
    let known = match internal::send(server, Method::GET, &path, None).await {
        Ok(map) => Some(map),
        Err(status) if status.code == 404 => None,
        Err(status) => return Err(status),
    };
    let data = combined(known.as_ref().map(|map| &map["data"]), &own(server), jiff::Timestamp::now().as_second());
    match known {
        Some(map) if map["data"] == data => return Ok(()),
        Some(mut map) => {
            map["data"] = data;
            internal::send(server, Method::PUT, &path, Some(&map)).await?;
        }
        None => {
            let metadata = json!({"name": NAME, "namespace": NAMESPACE});
            let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data});
            internal::send(server, Method::POST, &collection, Some(&map)).await?;
        }
    }
    Ok(())
}

/// What this server says: certificates as they are, names as lists.
struct Own {
    certificates: [String; 2],
    lists: BTreeMap<&'static str, Vec<String>>,
}

fn own(server: &Inner) -> Own {
    let headers = &server.config.request_header;
    let proxies = [server.pki.front_proxy.pem(), headers.ca_pem.as_deref().unwrap_or_default()].concat();
    let lists = [
        ("requestheader-allowed-names", &headers.allowed_names),
        ("requestheader-username-headers", &headers.username_headers),
        ("requestheader-uid-headers", &headers.uid_headers),
        ("requestheader-group-headers", &headers.group_headers),
        ("requestheader-extra-headers-prefix", &headers.extra_prefixes),
    ];
    Own {
        certificates: [server.pki.ca_pem().to_owned(), proxies],
        lists: lists.map(|(key, names)| (key, names.clone())).into(),
    }
}

/// What is there with what is ours: another server's word stays, certificates until they expire.
fn combined(known: Option<&Value>, own: &Own, now: i64) -> Value {
    let text = |key: &str| known.and_then(|data| data[key].as_str()).unwrap_or_default();
    let certificates = CERTIFICATES.iter().zip(&own.certificates);
    let certificates =
        certificates.map(|(key, pem)| ((*key).to_owned(), bundle::combined(&[text(key), pem], now).into()));
    let lists = own.lists.iter().map(|(key, names)| {
        let mut all: Vec<String> = serde_json::from_str(text(key)).unwrap_or_default();
        for name in names {
            if !all.contains(name) {
                all.push(name.clone());
            }
        }
        ((*key).to_owned(), Value::from(json!(all).to_string()))
    });
    Value::Object(certificates.chain(lists).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_servers_names_stay_and_ours_come_back() {
        let pki = auth::pki::Pki::ephemeral().unwrap();
        let names = BTreeMap::from([("requestheader-allowed-names", vec!["front-proxy-client".to_owned()])]);
        let own = Own { certificates: [pki.ca_pem().to_owned(), pki.front_proxy.pem().to_owned()], lists: names };
        let first = combined(None, &own, 0);
        assert_eq!(first["client-ca-file"], pki.ca_pem());
        assert_eq!(first["requestheader-allowed-names"], "[\"front-proxy-client\"]");
        let other = auth::pki::Pki::ephemeral().unwrap();
        let known = json!({"client-ca-file": other.ca_pem(), "requestheader-allowed-names": "[\"other\"]"});
        let both = combined(Some(&known), &own, 0);
        assert_eq!(both["client-ca-file"], [other.ca_pem(), pki.ca_pem()].concat());
        assert_eq!(both["requestheader-allowed-names"], "[\"other\",\"front-proxy-client\"]");
        assert_eq!(combined(Some(&both), &own, 0), both);
    }
}
