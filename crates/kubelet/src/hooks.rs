//! Lifecycle hooks: what a container wants done after its start and before its end.

use std::net::IpAddr;
use std::time::Duration;

use api::corev1::{Container, LifecycleHandler};

use crate::context::Context;
use crate::pods::model::{host_network, uid};
use crate::probes::{self, http};
use crate::start::Place;

/// An HTTP hook that does not answer is over after this; an exec is bounded by whoever waits for it.
const HTTP_TIMEOUT: Duration = Duration::from_secs(30);

pub async fn post_start(context: &Context, place: &Place, container: &Container, id: &str) -> Result<(), String> {
    let hook = container.lifecycle.as_ref().and_then(|lifecycle| lifecycle.post_start.as_ref());
    match hook {
        Some(hook) => {
            run(context, place, container, id, hook).await.map_err(|error| format!("PostStartHook failed: {error}"))
        }
        None => Ok(()),
    }
}

pub async fn pre_stop(context: &Context, place: &Place, container: &Container, id: &str) -> Result<(), String> {
    let hook = container.lifecycle.as_ref().and_then(|lifecycle| lifecycle.pre_stop.as_ref());
    match hook {
        Some(hook) => {
            run(context, place, container, id, hook).await.map_err(|error| format!("PreStopHook failed: {error}"))
        }
        None => Ok(()),
    }
}

async fn run(
    context: &Context,
    place: &Place,
    container: &Container,
    id: &str,
    hook: &LifecycleHandler,
) -> Result<(), String> {
    if let Some(exec) = &hook.exec {
        let command = exec.command.clone().unwrap_or_default();
        let (code, output) = probes::exec::run(context.runtime.as_ref(), uid(&place.pod), id, command).await?;
        return if code == 0 { Ok(()) } else { Err(format!("command exited with {code}: {output}")) };
    }
    if let Some(get) = &hook.http_get {
        let port = probes::port(container, &get.port)?;
        let target = http::Target::new(get, address(place)?, port);
        let answer =
            tokio::time::timeout(HTTP_TIMEOUT, http::get(&target)).await.map_err(|_| "timeout".to_owned())??;
        return if answer.status < 400 { Ok(()) } else { Err(format!("HTTP status {}", answer.status)) };
    }
    if let Some(sleep) = &hook.sleep {
        tokio::time::sleep(Duration::from_secs(sleep.seconds.try_into().unwrap_or(0))).await;
    }
    Ok(())
}

/// Where a pod is reached from its node.
pub fn address(place: &Place) -> Result<IpAddr, String> {
    let ips = if host_network(&place.pod) { &place.host_ips } else { &place.ips };
    ips.first().copied().ok_or_else(|| "the pod has no address".to_owned())
}
