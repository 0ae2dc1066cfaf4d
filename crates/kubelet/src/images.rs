//! Images for containers: pull policy, credentials, back-off, events.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use api::corev1::{Container, Pod, Secret};
use base64::Engine;
use client::events::{EventRecorder, EventType};
use client::{Api, Client};
use image::{ImageError, ImageInfo, ImageService, RegistryAuth};
use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use serde::Deserialize;
use tokio::sync::Semaphore;

use crate::context::pod_reference;
use crate::pods::model::{Waiting, spec, uid};

const BACKOFF_INITIAL: SignedDuration = SignedDuration::from_secs(10);
const BACKOFF_MAX: SignedDuration = SignedDuration::from_mins(5);
/// How long a failed pull shows its error before it shows that it waits.
const SHOW_ERROR: SignedDuration = SignedDuration::from_secs(2);
/// Pulls at once: a disk and a link are shared by all.
const PULLS_MAX: usize = 5;

pub struct Puller {
    images: Arc<dyn ImageService>,
    client: Client,
    recorder: EventRecorder,
    slots: Semaphore,
    backoff: Mutex<HashMap<(String, String), Pause>>,
}

#[derive(Debug, Clone)]
struct Pause {
    length: SignedDuration,
    until: Timestamp,
    why: String,
}

/// Why there is no image, and until when not to try again.
#[derive(Debug)]
pub struct NoImage {
    pub waiting: Waiting,
    pub retry_at: Option<Timestamp>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Policy {
    Always,
    IfNotPresent,
    Never,
}

fn policy(container: &Container, image: &str) -> Policy {
    match container.image_pull_policy.as_deref() {
        Some("Always") => Policy::Always,
        Some("Never") => Policy::Never,
        Some(_) => Policy::IfNotPresent,
        // The API server defaults it; this is for pods of another making.
        None if image.contains('@') => Policy::IfNotPresent,
        None => match image.rsplit_once(':') {
            Some((_, tag)) if !tag.contains('/') && tag != "latest" => Policy::IfNotPresent,
            _ => Policy::Always,
        },
    }
}

impl Puller {
    pub fn new(images: Arc<dyn ImageService>, client: Client, recorder: EventRecorder) -> Self {
        Puller { images, client, recorder, slots: Semaphore::new(PULLS_MAX), backoff: Mutex::default() }
    }

    pub async fn ensure(&self, pod: &Pod, container: &Container, now: Timestamp) -> Result<ImageInfo, NoImage> {
        let name = container.image.clone().unwrap_or_default();
        let about = pod_reference(pod, Some(&container.name));
        let present =
            self.images.status(&name).await.map_err(|error| self.inspect_failed(&about, &name, &error, now))?;
        let policy = policy(container, &name);
        match (present, policy) {
            (Some(info), Policy::IfNotPresent | Policy::Never) => {
                let text =
                    format!("Container image {name:?} already present on machine and can be accessed by the pod");
                self.recorder.normal(&about, "Pulled", text);
                Ok(info)
            }
            (None, Policy::Never) => {
                let text = format!("Container image {name:?} is not present with pull policy of Never");
                self.recorder.warning(&about, "ErrImageNeverPull", text.clone());
                Err(no_image("ErrImageNeverPull", text, Some(now + BACKOFF_INITIAL)))
            }
            _ => self.pull(pod, container, &name, now).await,
        }
    }

    fn inspect_failed(
        &self,
        about: &api::corev1::ObjectReference,
        name: &str,
        error: &ImageError,
        now: Timestamp,
    ) -> NoImage {
        let reason = match error {
            ImageError::InvalidName { .. } => "InvalidImageName",
            _ => "ImageInspectError",
        };
        let text = match error {
            ImageError::InvalidName { why, .. } => {
                format!("Failed to apply default image tag {name:?}: couldn't parse image name {name:?}: {why}")
            }
            error => format!("Failed to inspect image {name:?}: {}", full_text(error)),
        };
        let event = if reason == "InvalidImageName" { "InspectFailed" } else { "Failed" };
        self.recorder.warning(about, event, text.clone());
        no_image(reason, text, Some(now + BACKOFF_INITIAL))
    }

    async fn pull(&self, pod: &Pod, container: &Container, name: &str, now: Timestamp) -> Result<ImageInfo, NoImage> {
        let about = pod_reference(pod, Some(&container.name));
        let key = (uid(pod).to_owned(), name.to_owned());
        if let Some(pause) = self.backoff.lock().get(&key).filter(|pause| now < pause.until) {
            let text = format!("Back-off pulling image {name:?}");
            self.recorder.normal(&about, "BackOff", text.clone());
            return Err(no_image("ImagePullBackOff", format!("{text}: {}", pause.why), Some(pause.until)));
        }
        self.recorder.normal(&about, "Pulling", format!("Pulling image {name:?}"));
        let auth = self.credentials(pod).await;
        let begin = tokio::time::Instant::now();
        let slot = self.slots.acquire().await.expect("the slots are never closed");
        let pulling = tokio::time::Instant::now();
        let pulled = self.images.pull(name, &auth).await;
        drop(slot);
        match pulled {
            Ok(info) => {
                self.backoff.lock().remove(&key);
                let text = format!(
                    "Successfully pulled image {name:?} in {} ({} including waiting). Image size: {} bytes.",
                    go_time(pulling.elapsed()),
                    go_time(begin.elapsed()),
                    info.size
                );
                self.recorder.normal(&about, "Pulled", text);
                Ok(info)
            }
            Err(error) => Err(self.pull_failed(&about, key, &error)),
        }
    }

    fn pull_failed(&self, about: &api::corev1::ObjectReference, key: (String, String), error: &ImageError) -> NoImage {
        let name = key.1.clone();
        let why = full_text(error);
        let reason = match error {
            ImageError::RegistryUnavailable { .. } => "RegistryUnavailable",
            ImageError::InvalidName { .. } => "InvalidImageName",
            _ => "ErrImagePull",
        };
        let text = format!("Failed to pull image {name:?}: {why}");
        self.recorder.record(about, EventType::Warning, "Failed", text.clone());
        self.recorder.record(about, EventType::Warning, "Failed", format!("Error: {reason}"));
        self.pause(key, &format!("{reason}: {why}"));
        no_image(reason, why, Some(Timestamp::now() + SHOW_ERROR))
    }

    fn pause(&self, key: (String, String), why: &str) {
        let now = Timestamp::now();
        let mut backoff = self.backoff.lock();
        backoff.retain(|_, pause| now.duration_since(pause.until) < BACKOFF_MAX);
        let length = backoff.get(&key).map_or(BACKOFF_INITIAL, |pause| (pause.length * 2).min(BACKOFF_MAX));
        backoff.insert(key, Pause { length, until: now + length, why: why.to_owned() });
    }

    /// From the pod's `imagePullSecrets`; one that cannot be read is said, and the pull is tried without it.
    async fn credentials(&self, pod: &Pod) -> Vec<RegistryAuth> {
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        let secrets = Api::<Secret>::namespaced(&self.client, namespace);
        let mut auth = Vec::new();
        for secret in spec(pod).image_pull_secrets.iter().flatten() {
            match secrets.get(&secret.name).await {
                Ok(secret) => auth.extend(docker_config(&secret)),
                Err(error) => {
                    let text = format!(
                        "Unable to retrieve some image pull secrets ({}); attempting to pull the image may not succeed.",
                        secret.name
                    );
                    tracing::debug!(%error, secret = secret.name, "image pull secret is not readable");
                    self.recorder.warning(&pod_reference(pod, None), "FailedToRetrieveImagePullSecret", text);
                }
            }
        }
        auth
    }
}

fn no_image(reason: &str, message: String, retry_at: Option<Timestamp>) -> NoImage {
    NoImage { waiting: Waiting { reason: reason.to_owned(), message }, retry_at }
}

fn full_text(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.contains(&next) {
            text.push_str(&format!(": {next}"));
        }
        cause = error.source();
    }
    text
}

/// As Go prints a duration cut to milliseconds.
fn go_time(duration: Duration) -> String {
    match duration.as_millis() {
        0 => "0s".to_owned(),
        millis @ 1..1000 => format!("{millis}ms"),
        millis => {
            let text = format!("{}.{:03}", millis / 1000 % 60, millis % 1000);
            let seconds = text.trim_end_matches('0').trim_end_matches('.').to_owned();
            if millis >= 60_000 { format!("{}m{seconds}s", millis / 60_000) } else { format!("{seconds}s") }
        }
    }
}

#[derive(Deserialize)]
struct DockerConfig {
    auths: BTreeMap<String, DockerAuth>,
}

#[derive(Deserialize)]
struct DockerAuth {
    #[serde(default)]
    username: String,
    #[serde(default)]
    password: String,
    #[serde(default)]
    auth: String,
}

fn docker_config(secret: &Secret) -> Vec<RegistryAuth> {
    let data = secret.data.clone().unwrap_or_default();
    let auths = match (data.get(".dockerconfigjson"), data.get(".dockercfg")) {
        (Some(json), _) => serde_json::from_slice::<DockerConfig>(&json.0).map(|config| config.auths),
        (None, Some(json)) => serde_json::from_slice(&json.0),
        (None, None) => return Vec::new(),
    };
    auths.unwrap_or_default().into_iter().map(|(server, auth)| registry_auth(&server, auth)).collect()
}

fn registry_auth(server: &str, auth: DockerAuth) -> RegistryAuth {
    let host = server.trim_start_matches("https://").trim_start_matches("http://");
    let host = host.split('/').next().unwrap_or_default();
    let registry = match host {
        "index.docker.io" | "registry-1.docker.io" => "docker.io",
        host => host,
    };
    let decoded = base64::engine::general_purpose::STANDARD.decode(&auth.auth).unwrap_or_default();
    let pair = String::from_utf8_lossy(&decoded).into_owned();
    let (username, password) = match pair.split_once(':') {
        Some((username, password)) if auth.username.is_empty() => (username.to_owned(), password.to_owned()),
        _ => (auth.username, auth.password),
    };
    RegistryAuth { registry: registry.to_owned(), username, password }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tag_latest_is_pulled_always() {
        let check = |image| policy(&Container::default(), image);
        assert_eq!(check("a"), Policy::Always);
        assert_eq!(check("host:5000/a"), Policy::Always);
        assert_eq!(check("a:latest"), Policy::Always);
        assert_eq!(check("a:1"), Policy::IfNotPresent);
        assert_eq!(check("a@sha256:00"), Policy::IfNotPresent);
    }

    #[test]
    fn durations_read_as_in_go() {
        let check = |millis| go_time(Duration::from_millis(millis));
        assert_eq!([check(0), check(250), check(1200), check(61_005)], ["0s", "250ms", "1.2s", "1m1.005s"]);
    }

    #[test]
    fn credentials_are_read_from_either_form() {
        let secret: Secret = serde_json::from_value(serde_json::json!({
            "data": { ".dockerconfigjson": base64::engine::general_purpose::STANDARD
                .encode(r#"{"auths":{"https://index.docker.io/v1/":{"auth":"dTpw"}}}"#) },
        }))
        .expect("a secret");
        let auth = docker_config(&secret);
        assert_eq!(
            (auth[0].registry.as_str(), auth[0].username.as_str(), auth[0].password.as_str()),
            ("docker.io", "u", "p")
        );
    }
}
