//! From a container of a pod to a running process: image, environment, user, mounts. Start at [`start_container`].

pub mod env;
pub mod files;
pub mod mounts;
mod security;
mod users;

use std::net::IpAddr;
use std::sync::Arc;

use api::corev1::{Container, Pod};
use container::{ContainerConfig, LogConfig, RuntimeError};
use image::ImageInfo;
use jiff::{SignedDuration, Timestamp};

use crate::context::{Context, pod_reference};
use crate::hooks;
use crate::pods::ephemeral::{find_container, target};
use crate::pods::model::{Waiting, uid};
use crate::pods::qos;

/// Of a container: the image as the pod named it when it was made.
pub const WANTED_IMAGE: &str = "coracle.dev/wanted-image";

/// What a started container needs to know of its pod.
#[derive(Debug, Clone)]
pub struct Place {
    pub pod: Arc<Pod>,
    pub ips: Vec<IpAddr>,
    pub host_ips: Vec<IpAddr>,
}

#[derive(Debug)]
pub struct StartFailure {
    pub waiting: Waiting,
    /// Not before this; None leaves it to the crash back-off.
    pub retry_at: Option<Timestamp>,
    /// There is nobody to start it: the sandbox has to be made anew.
    pub sandbox_lost: bool,
}

/// How long to wait after a wrong configuration, which only an edit can mend.
const CONFIG_RETRY: SignedDuration = SignedDuration::from_secs(10);

fn config_error(reason: &str, message: String, now: Timestamp) -> StartFailure {
    let waiting = Waiting { reason: reason.to_owned(), message };
    StartFailure { waiting, retry_at: Some(now + CONFIG_RETRY), sandbox_lost: false }
}

fn run_error(message: String) -> StartFailure {
    StartFailure {
        waiting: Waiting { reason: "RunContainerError".to_owned(), message },
        retry_at: None,
        sandbox_lost: false,
    }
}

/// An identity as container runtimes have them: 64 hexadecimal digits.
pub fn new_id() -> String {
    format!("{}{}", uuid::Uuid::new_v4().simple(), uuid::Uuid::new_v4().simple())
}

pub async fn start_container(context: &Context, place: &Place, name: &str, attempt: u32) -> Result<(), StartFailure> {
    let now = context.clock.now();
    let (_, container) =
        find_container(&place.pod, name).ok_or_else(|| run_error(format!("no container {name:?} in the pod")))?;
    let image = context.puller.ensure(&place.pod, &container, now).await.map_err(|missing| StartFailure {
        waiting: missing.waiting,
        retry_at: missing.retry_at,
        sandbox_lost: false,
    })?;
    let id = new_id();
    let config = configure(context, place, &container, &image, &id, attempt).await.inspect_err(|failure| {
        let text = format!("Error: {}", failure.waiting.message);
        context.recorder.warning(&pod_reference(&place.pod, Some(name)), "Failed", text);
    })?;
    let started = create_and_start(context, place, &container, config).await;
    if started.is_err() {
        let _ = context.images.remove_snapshot(&id).await;
    }
    started
}

async fn create_and_start(
    context: &Context,
    place: &Place,
    container: &Container,
    config: ContainerConfig,
) -> Result<(), StartFailure> {
    let about = pod_reference(&place.pod, Some(&container.name));
    let (uid, id) = (config.sandbox.clone(), config.id.clone());
    let fail = |error: &RuntimeError, what: &str| {
        let message = format!("{what}{}", error.full_text());
        context.recorder.warning(&about, "Failed", format!("Error: {message}"));
        let sandbox_lost = matches!(error, RuntimeError::MonitorLost { .. } | RuntimeError::NoSandbox { .. });
        StartFailure { sandbox_lost, ..run_error(message) }
    };
    let created = context.runtime.create_container(&config).await;
    created.map_err(|error| fail(&error, "failed to create container: unable to start container process: "))?;
    context.recorder.normal(&about, "Created", "Container created");
    if let Err(error) = context.runtime.start_container(&uid, &id).await {
        let _ = context.runtime.remove_container(&uid, &id).await;
        return Err(fail(&error, ""));
    }
    context.recorder.normal(&about, "Started", "Container started");
    hooks::post_start(context, place, container, &id).await.map_err(|message| {
        context.recorder.warning(&about, "FailedPostStartHook", message.clone());
        let waiting = Waiting { reason: "PostStartHookError".to_owned(), message };
        StartFailure { waiting, retry_at: None, sandbox_lost: false }
    })
}

async fn configure(
    context: &Context,
    place: &Place,
    container: &Container,
    image: &ImageInfo,
    id: &str,
    attempt: u32,
) -> Result<ContainerConfig, StartFailure> {
    let now = context.clock.now();
    let wrong = |message: String| config_error("CreateContainerConfigError", message, now);
    let failed = |message: String| config_error("CreateContainerError", message, now);
    let pod = &place.pod;
    let env = env::environment(context, place, container, &image.config.env).await.map_err(wrong)?;
    let (args, cwd) = command(container, image, &env).ok_or_else(|| failed("no command specified".to_owned()))?;
    let rootfs = context.images.prepare(&image.id, id).await.map_err(|error| failed(error.to_string()))?;
    let user = users::user(pod, container, &image.config.user, &rootfs).map_err(wrong)?;
    let mounts = mounts::mounts(context, place, container, attempt).await.map_err(wrong)?;
    let process_namespace_of = target_id(context, pod, &container.name).await.map_err(wrong)?;
    let cgroup = format!("{}/{id}", qos::cgroup(&context.config.cgroup_root, pod));
    Ok(ContainerConfig {
        id: id.to_owned(),
        sandbox: uid(pod).to_owned(),
        name: container.name.clone(),
        attempt,
        image: image.repo_tags.first().cloned().or(container.image.clone()).unwrap_or_default(),
        image_id: image.id.clone(),
        image_ref: image.repo_digests.first().unwrap_or(&image.id).clone(),
        rootfs,
        args,
        env: env.into_iter().map(|(name, value)| format!("{name}={value}")).collect(),
        cwd,
        user,
        tty: container.tty.unwrap_or(false),
        stdin: container.stdin.unwrap_or(false),
        stdin_once: container.stdin_once.unwrap_or(false),
        mounts,
        devices: Vec::new(),
        security: security::security(context, pod, container).map_err(wrong)?,
        resources: qos::container_resources(container),
        cgroup,
        oom_score_adj: qos::oom_score_adj(pod, container, context.memory_capacity),
        log: LogConfig {
            path: context.log_dir(pod).join(&container.name).join(format!("{attempt}.log")),
            size_max: context.config.log_size_max,
            files_max: context.config.log_files_max,
        },
        stop_signal: stop_signal(container, image),
        process_namespace_of,
        annotations: [(WANTED_IMAGE.to_owned(), container.image.clone().unwrap_or_default())].into(),
        ..ContainerConfig::default()
    })
}

/// Of an ephemeral container: the newest instance of the container that it looks into.
async fn target_id(context: &Context, pod: &Pod, name: &str) -> Result<Option<String>, String> {
    let Some(target) = target(pod, name) else { return Ok(None) };
    let status = context.runtime.status(uid(pod)).await.map_err(|error| error.full_text())?;
    let instances = status.into_iter().flat_map(|status| status.containers).map(|container| container.config);
    let newest = instances.filter(|config| config.name == target).max_by_key(|config| config.attempt);
    newest.map(|config| Some(config.id)).ok_or_else(|| format!("unable to find target container {target}"))
}

/// The lifecycle's signal, else the image's, else TERM.
fn stop_signal(container: &Container, image: &ImageInfo) -> String {
    let own = container.lifecycle.as_ref().and_then(|lifecycle| lifecycle.stop_signal.clone());
    let of_image = Some(image.config.stop_signal.clone()).filter(|signal| !signal.is_empty());
    own.or(of_image).unwrap_or_else(|| "SIGTERM".to_owned())
}

/// The pod's command and arguments over the image's: a command replaces both of the image's.
fn command(container: &Container, image: &ImageInfo, env: &[(String, String)]) -> Option<(Vec<String>, String)> {
    let expand = |list: &Option<Vec<String>>| -> Vec<String> {
        list.iter().flatten().map(|text| env::expand(text, env)).collect()
    };
    let own_command = expand(&container.command);
    let own_args = expand(&container.args);
    let mut args = if own_command.is_empty() { image.config.entrypoint.clone() } else { own_command.clone() };
    match (own_args.is_empty(), own_command.is_empty()) {
        (false, _) => args.extend(own_args),
        (true, true) => args.extend(image.config.cmd.iter().cloned()),
        (true, false) => {}
    }
    let cwd =
        container.working_dir.clone().filter(|cwd| !cwd.is_empty()).unwrap_or_else(|| image.config.working_dir.clone());
    let cwd = if cwd.is_empty() { "/".to_owned() } else { cwd };
    (!args.is_empty()).then_some((args, cwd))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(command_words: &[&str], args: &[&str]) -> String {
        let own = |list: &[&str]| (!list.is_empty()).then(|| list.iter().map(|word| (*word).to_owned()).collect());
        let container = Container { command: own(command_words), args: own(args), ..Container::default() };
        let (entrypoint, cmd) = (vec!["entry".into()], vec!["cmd".into()]);
        let config = image::ImageConfig { entrypoint, cmd, ..image::ImageConfig::default() };
        let image = ImageInfo { id: String::new(), repo_tags: Vec::new(), repo_digests: Vec::new(), size: 0, config };
        command(&container, &image, &[("X".into(), "1".into())]).expect("a command").0.join(" ")
    }

    #[test]
    fn the_pods_command_and_arguments_stand_before_the_images() {
        assert_eq!(check(&[], &[]), "entry cmd");
        assert_eq!(check(&["a"], &[]), "a");
        assert_eq!(check(&[], &["b"]), "entry b");
        assert_eq!(check(&["a"], &["$(X)", "$$(X)", "$(Y)"]), "a 1 $(X) $(Y)");
    }
}
