//! A pod's sandbox with its network, made and taken down.

use std::net::IpAddr;

use api::corev1::Pod;
use client::Object;
use container::{ContainerConfig, SandboxConfig};

use super::model::{Role, containers, host_network, spec, uid};
use super::qos;
use crate::context::Context;
use crate::network::{HostPort, PodRef};
use crate::start::files;
use crate::volumes;
/// `anew`: an earlier sandbox of this pod was lost, and its network has to be let go of first.
pub async fn make(context: &Context, pod: &Pod, anew: bool) -> Result<Vec<IpAddr>, String> {
    if anew && !host_network(pod) {
        context.network.detach(&pod_ref(pod), None).await.map_err(|error| error.to_string())?;
    }
    let spec = spec(pod);
    let sysctls = spec.security_context.as_ref().and_then(|context| context.sysctls.clone()).unwrap_or_default();
    let config = SandboxConfig {
        uid: uid(pod).to_owned(),
        namespace: pod.namespace().to_owned(),
        name: pod.name().to_owned(),
        hostname: files::hostname(pod, &context.config.node_name),
        host_network: host_network(pod),
        host_ipc: spec.host_ipc.unwrap_or(false),
        host_pid: spec.host_pid.unwrap_or(false),
        share_process_namespace: spec.share_process_namespace.unwrap_or(false),
        sysctls: sysctls.into_iter().map(|sysctl| (sysctl.name, sysctl.value)).collect(),
        cgroup: qos::cgroup(&context.config.cgroup_root, pod),
        resources: qos::pod_resources(pod),
        ..SandboxConfig::default()
    };
    let sandbox = context.runtime.create_sandbox(&config).await.map_err(|error| error.full_text())?;
    let Some(netns) = &sandbox.netns else { return Ok(vec![context.config.node_ip]) };
    let attached = context.network.attach(&pod_ref(pod), netns, &host_ports(pod)).await;
    let addresses = attached.map_err(|error| format!("failed to set up the network of the pod: {error}"))?;
    Ok(addresses.ips)
}

fn host_ports(pod: &Pod) -> Vec<HostPort> {
    let all = containers(pod).into_iter().filter(|(role, _)| *role != Role::Init);
    let ports = all.flat_map(|(_, container)| container.ports.iter().flatten());
    let port = |number: i32| u16::try_from(number).ok().filter(|number| *number > 0);
    ports
        .filter_map(|mapping| {
            Some(HostPort {
                protocol: mapping.protocol.clone().unwrap_or_else(|| "TCP".to_owned()),
                host_ip: mapping.host_ip.as_deref().and_then(|ip| ip.parse().ok()),
                host_port: port(mapping.host_port?)?,
                container_port: port(mapping.container_port)?,
            })
        })
        .collect()
}

/// Network, sandbox, snapshots, volumes. Each step is idempotent, so that a failed one is tried again with all others.
pub async fn tear_down(context: &Context, pod: &Pod) -> Result<(), String> {
    let pod_uid = uid(pod);
    let status = context.runtime.status(pod_uid).await.map_err(|error| error.full_text())?;
    let netns = status.as_ref().and_then(|status| status.netns.clone());
    if status.as_ref().is_some_and(|status| !status.config.host_network) {
        context.network.detach(&pod_ref(pod), netns.as_deref()).await.map_err(|error| error.to_string())?;
    }
    let ids: Vec<String> =
        status.into_iter().flat_map(|status| status.containers).map(|container| container.config.id).collect();
    context.runtime.remove_sandbox(pod_uid).await.map_err(|error| error.full_text())?;
    for id in ids {
        context.images.remove_snapshot(&id).await.map_err(|error| error.to_string())?;
    }
    remove_volumes(context, pod_uid).await
}

pub async fn remove_volumes(context: &Context, pod_uid: &str) -> Result<(), String> {
    let dir = context.pod_dir(pod_uid);
    let unmounted = tokio::task::spawn_blocking(move || volumes::unmount_all(&dir)).await;
    unmounted.expect("unmounting does not panic").map_err(|error| format!("remove the pod's volumes: {error}"))
}

pub async fn remove_instance(context: &Context, uid: &str, id: &str) {
    if let Err(error) = context.runtime.remove_container(uid, id).await {
        tracing::warn!(pod = uid, container = id, %error, "container was not removed");
        return;
    }
    if let Err(error) = context.images.remove_snapshot(id).await {
        tracing::warn!(pod = uid, container = id, %error, "snapshot was not removed");
    }
}

pub async fn container_config(context: &Context, uid: &str, id: &str) -> Option<ContainerConfig> {
    let status = context.runtime.status(uid).await.ok()??;
    status.containers.into_iter().map(|container| container.config).find(|config| config.id == id)
}

fn pod_ref(pod: &Pod) -> PodRef {
    PodRef { namespace: pod.namespace().to_owned(), name: pod.name().to_owned(), uid: uid(pod).to_owned() }
}
