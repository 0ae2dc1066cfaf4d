//! The ServiceCIDR `kubernetes`: the range of the server's configuration.
//!
//! It is created where it is missing, and becomes ready when it has no condition and says what the configuration says. It is
//! never changed otherwise: a range that differs is the administrator's to settle.

use std::convert::Infallible;
use std::sync::Arc;

use apimachinery::managed_fields::{self, Endpoint, Manager, OneVersion, Reset};
use apimachinery::{Status, object, strict};
use rt::TaskSet;
use serde_json::{Value, json};
use store::{Key, Prefix, Step};

use crate::catalog;
use crate::ownership::place;
use crate::server::Inner;

const GROUP: &str = "networking.k8s.io";
const API_VERSION: &str = "networking.k8s.io/v1";
const KIND: &str = "ServiceCIDR";
const NAME: &str = "kubernetes";
const MANAGER: &str = "kube-apiserver";
const CONTROLLER: &str = "kubernetes-service-cidr-controller";

fn key() -> Key {
    Key::new(GROUP, "servicecidrs", "", NAME)
}

pub async fn run(server: &Inner) -> Result<(), Status> {
    let cidr = server.config.service_cidr.to_string();
    match server.store.get(&key()) {
        None => {
            super::ensure(server, GROUP, "servicecidrs", "", NAME, wanted(&cidr)).await?;
            set_ready(server, &cidr).await
        }
        Some(stored) => match plan(&stored.value(), &cidr) {
            Plan::Keep => Ok(()),
            Plan::Mismatch => {
                tracing::warn!(cidr, "the default ServiceCIDR does not match the configuration");
                Ok(())
            }
            Plan::SetReady => set_ready(server, &cidr).await,
        },
    }
}

/// Looks again whenever somebody changes or deletes it.
pub fn keep(server: &Arc<Inner>, tasks: &TaskSet) {
    let server = server.clone();
    tasks.spawn_until_cancelled("kubernetes-service-cidr", async move {
        loop {
            let revision = server.store.revision();
            if let Err(status) = run(&server).await {
                tracing::warn!(%status, "the default ServiceCIDR was not restored");
            }
            let Ok(mut changes) = server.store.watch(Prefix::of_key(&key()), revision) else { continue };
            // A watch that lags begins anew; what it missed is looked at first.
            let _ = changes.next().await;
        }
    });
}

#[derive(Debug, PartialEq, Eq)]
enum Plan {
    Keep,
    Mismatch,
    SetReady,
}

fn plan(stored: &Value, cidr: &str) -> Plan {
    if object::deletion_timestamp(stored).is_some() {
        return Plan::Keep;
    }
    if stored.pointer("/spec/cidrs") != Some(&json!([cidr])) {
        return Plan::Mismatch;
    }
    let conditions = stored.pointer("/status/conditions").and_then(Value::as_array);
    match conditions.into_iter().flatten().find(|condition| condition["type"] == "Ready") {
        Some(condition) if condition["status"] != "Unknown" => Plan::Keep,
        _ => Plan::SetReady,
    }
}

/// What it is at first, with its owner.
fn wanted(cidr: &str) -> Value {
    let Some(resource) = catalog::of_storage(GROUP, "servicecidrs") else { return Value::Null };
    let mut new = json!({
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {"name": NAME},
        "spec": {"cidrs": [cidr]},
    });
    let now = apimachinery::time::format(jiff::Timestamp::now());
    let manager = Manager { name: MANAGER, api_version: API_VERSION, subresource: "" };
    managed_fields::update(None, &mut new, resource.schema.node(), &manager, &["status"], &now);
    new
}

/// The object with the condition, applied as its controller applies it.
fn ready(live: &Value, now: &str) -> Result<Value, Status> {
    let Some(resource) = catalog::of_storage(GROUP, "servicecidrs") else { return Ok(live.clone()) };
    let place = place(resource);
    let versions = OneVersion { api_version: API_VERSION, place };
    let reset = Reset { fields: &["spec"], ..Reset::default() };
    let (kind, subresource) = (KIND, "status");
    let endpoint = Endpoint { place, api_version: API_VERSION, kind, subresource, reset, versions: &versions, now };
    let condition = json!({
        "type": "Ready",
        "status": "True",
        "lastTransitionTime": now,
        "message": "Kubernetes default Service CIDR is ready",
    });
    let configuration = json!({
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {"name": NAME},
        "status": {"conditions": [condition]},
    });
    let mut new = endpoint.apply(Some(live), &configuration, CONTROLLER, true).map_err(|error| error.to_status())?;
    strict::normalize(&mut new, resource.schema.node()).map_err(Status::internal)?;
    Ok(new)
}

async fn set_ready(server: &Inner, cidr: &str) -> Result<(), Status> {
    let Some(resource) = catalog::of_storage(GROUP, "servicecidrs") else { return Ok(()) };
    let now = apimachinery::time::format(jiff::Timestamp::now());
    let step = |current: Option<&Arc<store::Object>>| {
        let live = current.map(|current| crate::encode::served(resource, current));
        let ready = live.filter(|live| plan(live, cidr) == Plan::SetReady).map(|live| ready(&live, &now));
        Ok::<_, Infallible>(match ready {
            Some(Ok(new)) => Step::Put(crate::change::draft(resource, &new)),
            _ => Step::Keep,
        })
    };
    server.store.guaranteed_update(&key(), step).await.map(drop).map_err(Status::internal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_made_ready_once_and_with_its_owners() {
        let first = wanted("10.96.0.0/16");
        assert_eq!(plan(&first, "10.96.0.0/16"), Plan::SetReady);
        let new = ready(&first, "2026-01-01T00:00:00Z").unwrap();
        assert_eq!(plan(&new, "10.96.0.0/16"), Plan::Keep);
        assert_eq!(plan(&new, "10.97.0.0/16"), Plan::Mismatch);
        assert_eq!(new["status"]["conditions"][0]["reason"], "");
        let owners: Vec<(&str, &str)> = new["metadata"]["managedFields"]
            .as_array()
            .unwrap()
            .iter()
            .map(|entry| (entry["manager"].as_str().unwrap(), entry["operation"].as_str().unwrap()))
            .collect();
        assert_eq!(owners, [(CONTROLLER, "Apply"), (MANAGER, "Update")]);
    }

    #[test]
    fn what_somebody_else_decided_stays() {
        let stored = |status: Value| json!({"spec": {"cidrs": ["10.0.0.0/16"]}, "status": status});
        let with = |status: &str| stored(json!({"conditions": [{"type": "Ready", "status": status}]}));
        assert_eq!(plan(&stored(json!({})), "10.0.0.0/16"), Plan::SetReady);
        assert_eq!(plan(&with("Unknown"), "10.0.0.0/16"), Plan::SetReady);
        assert_eq!(plan(&with("False"), "10.0.0.0/16"), Plan::Keep);
    }
}
