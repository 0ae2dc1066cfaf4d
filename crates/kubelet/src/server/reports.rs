//! What the node says of its pods and their use of it.

use api::corev1::Pod;
use hyper::{Response, StatusCode};
use serde_json::{Value, json};

use super::{Body, Server, body, text};

fn answer(value: &Value) -> Response<Body> {
    let mut response = Response::new(body(value.to_string()));
    let kind = hyper::header::HeaderValue::from_static("application/json");
    response.headers_mut().insert(hyper::header::CONTENT_TYPE, kind);
    response
}

pub fn pods(server: &Server) -> Response<Body> {
    let items: Vec<Value> =
        server.manager.pods().list().iter().filter_map(|pod| serde_json::to_value(Pod::clone(pod)).ok()).collect();
    answer(&json!({ "kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items }))
}

/// Use of one container.
struct Use {
    namespace: String,
    pod: String,
    uid: String,
    container: String,
    stats: container::ContainerStats,
}

async fn measure(server: &Server) -> Result<Vec<Use>, String> {
    let runtime = &server.context.runtime;
    let mut list = Vec::new();
    for sandbox in runtime.list().await.map_err(|error| error.full_text())? {
        for container in sandbox.containers.iter().filter(|container| container.state.is_running()) {
            let Ok(stats) = runtime.stats(&sandbox.config.uid, &container.config.id).await else { continue };
            list.push(Use {
                namespace: sandbox.config.namespace.clone(),
                pod: sandbox.config.name.clone(),
                uid: sandbox.config.uid.clone(),
                container: container.config.name.clone(),
                stats,
            });
        }
    }
    Ok(list)
}

pub async fn summary(server: &Server) -> Response<Body> {
    let used = match measure(server).await {
        Ok(used) => used,
        Err(message) => return text(StatusCode::INTERNAL_SERVER_ERROR, message),
    };
    let now = server.context.clock.now().to_string();
    let machine = crate::node::machine::observe(&server.context.config.data_dir);
    let mut pods: Vec<Value> = Vec::new();
    for one in &used {
        let container = json!({
            "name": one.container,
            "cpu": { "time": now, "usageCoreNanoSeconds": one.stats.cpu_usage_nanos },
            "memory": {
                "time": now,
                "usageBytes": one.stats.memory_usage_bytes,
                "workingSetBytes": one.stats.memory_working_set_bytes,
                "rssBytes": one.stats.memory_rss_bytes,
            },
        });
        let known = pods.iter_mut().find(|pod| pod["podRef"]["uid"] == one.uid);
        match known.and_then(|pod| pod["containers"].as_array_mut()) {
            Some(containers) => containers.push(container),
            None => pods.push(json!({
                "podRef": { "name": one.pod, "namespace": one.namespace, "uid": one.uid },
                "containers": [container],
            })),
        }
    }
    answer(&json!({
        "node": {
            "nodeName": server.context.config.node_name,
            "memory": {
                "time": now,
                "availableBytes": machine.memory_available,
                "usageBytes": machine.memory_bytes - machine.memory_available.min(machine.memory_bytes),
            },
            "fs": { "time": now, "availableBytes": machine.disk_available, "capacityBytes": machine.disk_bytes },
        },
        "pods": pods,
    }))
}

#[expect(clippy::cast_precision_loss, reason = "metrics are floating point numbers")]
fn seconds(nanos: u64) -> f64 {
    nanos as f64 / 1e9
}

pub async fn resource_metrics(server: &Server) -> Response<Body> {
    let used = match measure(server).await {
        Ok(used) => used,
        Err(message) => return text(StatusCode::INTERNAL_SERVER_ERROR, message),
    };
    let mut page = String::new();
    let labels =
        |one: &Use| format!("{{container={:?},namespace={:?},pod={:?}}}", one.container, one.namespace, one.pod);
    page.push_str("# TYPE container_cpu_usage_seconds_total counter\n");
    for one in &used {
        page.push_str(&format!(
            "container_cpu_usage_seconds_total{} {}\n",
            labels(one),
            seconds(one.stats.cpu_usage_nanos)
        ));
    }
    page.push_str("# TYPE container_memory_working_set_bytes gauge\n");
    for one in &used {
        page.push_str(&format!(
            "container_memory_working_set_bytes{} {}\n",
            labels(one),
            one.stats.memory_working_set_bytes
        ));
    }
    text(StatusCode::OK, page)
}
