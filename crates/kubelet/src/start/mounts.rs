//! The mounts of a container: its volumes and the files that the kubelet makes for it.

use std::fs;
use std::path::{Path, PathBuf};

use api::corev1::{Container, Pod, VolumeMount};
use container::{Mount, Propagation};

use super::files;
use super::{Place, env};
use crate::context::Context;
use crate::pods::model::{spec, uid};
use crate::volumes::{self, subpath};

pub async fn mounts(
    context: &Context,
    place: &Place,
    container: &Container,
    attempt: u32,
) -> Result<Vec<Mount>, String> {
    let mut list = Vec::new();
    for (index, mount) in container.volume_mounts.iter().flatten().enumerate() {
        list.push(volume_mount(context, place, container, index, mount).await?);
    }
    let failed = |error: std::io::Error| format!("make the pod's files: {error}");
    let dir = context.pod_dir(uid(&place.pod));
    for (source, destination) in pod_files(context, place, &dir).map_err(failed)? {
        add(&mut list, source, destination);
    }
    let path = container.termination_message_path.as_deref().unwrap_or("/dev/termination-log");
    let log = termination_log(&dir, &container.name, attempt);
    make_file(&log, "", 0o666).map_err(failed)?;
    add(&mut list, log, path);
    Ok(list)
}

/// Where a container leaves its last words.
pub fn termination_log(pod_dir: &Path, container: &str, attempt: u32) -> PathBuf {
    pod_dir.join("containers").join(container).join(format!("termination-log-{attempt}"))
}

/// The pod's own mount at the same place wins.
fn add(list: &mut Vec<Mount>, source: PathBuf, destination: &str) {
    let destination = PathBuf::from(destination);
    if !list.iter().any(|mount| mount.destination == destination) {
        list.push(Mount { source, destination, read_only: false, propagation: Propagation::Private });
    }
}

async fn volume_mount(
    context: &Context,
    place: &Place,
    container: &Container,
    index: usize,
    mount: &VolumeMount,
) -> Result<Mount, String> {
    let pod = &place.pod;
    let volume = spec(pod).volumes.iter().flatten().find(|volume| volume.name == mount.name);
    let volume = volume.ok_or_else(|| format!("volume {:?} not found", mount.name))?;
    let root = volumes::host_path(&context.pod_dir(uid(pod)), volume);
    let sub = match (&mount.sub_path, &mount.sub_path_expr) {
        (_, Some(expression)) if !expression.is_empty() => {
            let variables = env::environment(context, place, container, &[]).await?;
            Some(env::expand(expression, &variables))
        }
        (Some(path), _) if !path.is_empty() => Some(path.clone()),
        _ => None,
    };
    let source = match sub {
        None => root,
        Some(path) => {
            let target = subpath::target(&context.pod_dir(uid(pod)), &volume.name, &container.name, index);
            subpath::bind(&root, &path, &target).map_err(|error| {
                format!(
                    "failed to prepare subPath for volumeMount {:?} of container {:?}: {error}",
                    mount.name, container.name
                )
            })?;
            target
        }
    };
    Ok(Mount {
        source,
        destination: absolute(&mount.mount_path),
        read_only: mount.read_only.unwrap_or(false) || volumes::is_read_only(volume),
        propagation: match mount.mount_propagation.as_deref() {
            Some("HostToContainer") => Propagation::HostToContainer,
            Some("Bidirectional") => Propagation::Bidirectional,
            _ => Propagation::Private,
        },
    })
}

fn absolute(path: &str) -> PathBuf {
    Path::new("/").join(path)
}

fn pod_files(context: &Context, place: &Place, dir: &Path) -> std::io::Result<Vec<(PathBuf, &'static str)>> {
    let pod: &Pod = &place.pod;
    let config = &context.config;
    let host_hosts = fs::read_to_string("/etc/hosts").unwrap_or_default();
    let texts = [
        ("etc-hosts", "/etc/hosts", files::hosts(pod, &place.ips, config, &host_hosts)),
        ("hostname", "/etc/hostname", format!("{}\n", files::hostname(pod, &config.node_name))),
        ("resolv.conf", "/etc/resolv.conf", files::resolv_conf(pod, config, &host_resolver(&config.resolv_conf))),
    ];
    let mut made = Vec::new();
    for (name, destination, text) in texts {
        make_file(&dir.join(name), &text, 0o644)?;
        made.push((dir.join(name), destination));
    }
    Ok(made)
}

/// The node's resolver; behind a stub on loopback, the one that the stub asks.
fn host_resolver(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    if !files::is_local_stub(&text) {
        return text;
    }
    fs::read_to_string("/run/systemd/resolve/resolv.conf").unwrap_or(text)
}

/// Written in place, since running containers have it mounted.
fn make_file(path: &Path, text: &str, mode: u32) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    if fs::read_to_string(path).is_ok_and(|known| known == text) {
        return Ok(());
    }
    fs::write(path, text)?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}
