//! `describe`'s pages: what an object is, and what happened to it.

mod config;
mod containers;
mod events;
mod generic;
mod node;
mod page;
mod pod;
mod service;
mod volumes;
mod workload;

use serde_json::Value;

use crate::failure::Failure;
use crate::objects::{Call, Info};
use crate::session::Session;
use page::Page;

/// A pod template alone, its columns not aligned.
pub fn describe_template(template: &Value) -> String {
    let mut page = Page::new(0);
    pod::template(template, &mut page);
    page.unaligned()
}

/// What describing needs beside the object.
pub struct Describer<'a> {
    pub session: &'a Session,
    pub show_events: bool,
    /// Seconds since the epoch; ages are counted from here.
    pub now: i64,
}

impl Describer<'_> {
    /// The page of an object that has just been fetched.
    pub async fn describe(&self, info: &Info) -> Result<String, Failure> {
        let mut page = Page::new(self.now);
        let object = &info.object;
        match (info.mapping.group.as_str(), info.mapping.kind.as_str()) {
            ("", "Pod") => pod::describe(object, &mut page),
            ("", "Service") => service::describe(object, &self.endpoint_slices(info).await, &mut page),
            ("", "Node") => return self.node(info, page).await,
            ("", "Namespace") => return self.namespace(info, page).await,
            ("", "ConfigMap") => config::config_map(object, &mut page),
            ("", "Secret") => {
                config::secret(object, &mut page);
                return Ok(page.finish());
            }
            ("", "ServiceAccount") => config::service_account(object, &mut page),
            ("apps", "Deployment") => workload::deployment(object, &self.replica_sets(info).await, &mut page),
            ("apps", "ReplicaSet") => workload::replica_set(object, &self.pods_of(info).await, &mut page),
            ("apps", "DaemonSet") => workload::daemon_set(object, &self.pods_of(info).await, &mut page),
            ("apps", "StatefulSet") => workload::stateful_set(object, &self.pods_of(info).await, &mut page),
            _ => generic::describe(object, &mut page),
        }
        if let Some(events) = self.events(info, info.mapping.kind.as_str()).await {
            events::describe(events, &mut page);
        }
        Ok(page.finish())
    }

    async fn node(&self, info: &Info, mut page: Page) -> Result<String, Failure> {
        let fields = format!("spec.nodeName={},status.phase!=Succeeded,status.phase!=Failed", info.name);
        let pods = match self.list("pods", "", Some(&fields), None).await {
            Err(failure) if failure.has_reason("Forbidden") => None,
            listed => Some(listed?),
        };
        let lease = match self.session.catalog().await?.resource("leases.coordination.k8s.io") {
            Ok(mapping) => Info::new(&mapping, "kube-node-lease", &info.name).get(self.session.client()?).await,
            Err(failure) => Err(failure),
        };
        node::describe(&info.object, pods.as_deref(), lease.as_ref(), &mut page);
        if let Some(mut events) = self.events(info, "Node").await {
            // The kubelet names the node where others give its UID.
            events.extend(self.events_of(info, "Node", &info.name).await.unwrap_or_default());
            events::describe(events, &mut page);
        }
        Ok(page.finish())
    }

    async fn namespace(&self, info: &Info, mut page: Page) -> Result<String, Failure> {
        let quotas = self.list("resourcequotas", &info.name, None, None).await?;
        let ranges = self.list("limitranges", &info.name, None, None).await?;
        config::namespace(&info.object, &quotas, &ranges, &mut page);
        Ok(page.finish())
    }

    async fn list(
        &self,
        resource: &str,
        namespace: &str,
        fields: Option<&str>,
        labels: Option<&str>,
    ) -> Result<Vec<Value>, Failure> {
        let mapping = self.session.catalog().await?.resource(resource)?;
        let (mut items, mut token) = (Vec::new(), String::new());
        loop {
            let call = Call::get(mapping.collection(namespace))
                .maybe("fieldSelector", fields)
                .maybe("labelSelector", labels)
                .query("limit", "500")
                .maybe("continue", Some(&token));
            let mut page = call.value(self.session.client()?).await?;
            if let Value::Array(found) = page["items"].take() {
                items.extend(found);
            }
            token = page["metadata"]["continue"].as_str().unwrap_or_default().to_owned();
            if token.is_empty() {
                return Ok(items);
            }
        }
    }

    /// `None` if they are not to be shown, or may not be seen.
    async fn events(&self, info: &Info, kind: &str) -> Option<Vec<Value>> {
        let uid = apimachinery::object::uid(&info.object);
        // A pod that a kubelet runs from a file is known to it by the file's hash.
        let mirror = apimachinery::object::annotation(&info.object, "kubernetes.io/config.mirror");
        match kind {
            "Pod" => self.events_of(info, "", mirror.unwrap_or(uid)).await,
            kind => self.events_of(info, kind, uid).await,
        }
    }

    async fn events_of(&self, info: &Info, kind: &str, uid: &str) -> Option<Vec<Value>> {
        if !self.show_events {
            return None;
        }
        let mut fields = vec![format!("involvedObject.name={}", info.name)];
        for (field, value) in [("namespace", info.namespace.as_str()), ("kind", kind), ("uid", uid)] {
            if !value.is_empty() {
                fields.push(format!("involvedObject.{field}={value}"));
            }
        }
        self.list("events", &info.namespace, Some(&fields.join(",")), None).await.ok()
    }

    async fn endpoint_slices(&self, info: &Info) -> Vec<Value> {
        let labels = format!("kubernetes.io/service-name={}", info.name);
        self.list("endpointslices.discovery.k8s.io", &info.namespace, None, Some(&labels)).await.unwrap_or_default()
    }

    /// Those that the object controls, of what it selects.
    async fn controlled(&self, resource: &str, info: &Info) -> Result<Vec<Value>, Failure> {
        let labels = crate::remote::selector_text(&info.object["spec"]["selector"]);
        let uid = apimachinery::object::uid(&info.object);
        let mut found = self.list(resource, &info.namespace, None, Some(&labels)).await?;
        found.retain(|object| apimachinery::object::controller_of(object).is_some_and(|owner| owner.uid == uid));
        Ok(found)
    }

    async fn replica_sets(&self, info: &Info) -> Vec<Value> {
        self.controlled("replicasets.apps", info).await.unwrap_or_default()
    }

    async fn pods_of(&self, info: &Info) -> Result<Vec<Value>, Failure> {
        self.controlled("pods", info).await
    }
}
