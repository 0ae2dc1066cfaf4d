//! Volumes: put in place before the pod starts, kept up to date while it runs. Start at [`mount_all`].

mod atomic;
mod payload;
pub mod subpath;
pub mod token;
pub mod update;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use api::corev1::{HostPathVolumeSource, Pod, Volume};
use nix::mount::{MntFlags, MsFlags, mount, umount2};

use crate::context::Context;
use crate::pods::model::{spec, uid};
use crate::start::Place;

/// Where a volume lies on the node.
pub fn host_path(pod_dir: &Path, volume: &Volume) -> PathBuf {
    match &volume.host_path {
        Some(host) => PathBuf::from(&host.path),
        None => pod_dir.join("volumes").join(plugin(volume)).join(&volume.name),
    }
}

fn plugin(volume: &Volume) -> &'static str {
    match () {
        () if volume.config_map.is_some() => "kubernetes.io~configmap",
        () if volume.secret.is_some() => "kubernetes.io~secret",
        () if volume.projected.is_some() => "kubernetes.io~projected",
        () if volume.downward_api.is_some() => "kubernetes.io~downward-api",
        () => "kubernetes.io~empty-dir",
    }
}

/// What the kubelet writes, containers only read.
pub fn is_read_only(volume: &Volume) -> bool {
    payload::is_written_by_us(volume)
}

/// Puts all volumes of a pod in place. Idempotent.
pub async fn mount_all(context: &Context, place: &Place) -> Result<(), String> {
    for volume in spec(&place.pod).volumes.iter().flatten() {
        mount_one(context, place, volume)
            .await
            .map_err(|error| format!("MountVolume.SetUp failed for volume {:?} : {error}", volume.name))?;
    }
    Ok(())
}

async fn mount_one(context: &Context, place: &Place, volume: &Volume) -> Result<(), String> {
    let path = host_path(&context.pod_dir(uid(&place.pod)), volume);
    if payload::is_written_by_us(volume) {
        return payload::write(context, place, volume, &path).await;
    }
    let io = |error: io::Error| error.to_string();
    if let Some(host) = &volume.host_path {
        return check_host_path(host).map_err(io);
    }
    if let Some(claim) = &volume.persistent_volume_claim {
        return Err(format!(
            "persistent volume claim {:?} cannot be mounted: persistent volumes are not supported by this node yet",
            claim.claim_name
        ));
    }
    let Some(empty) = &volume.empty_dir else {
        return Err("no volume plugin matched".to_owned());
    };
    let size = empty.size_limit.as_ref().and_then(|size| size.0.parse::<apimachinery::Quantity>().ok());
    let memory = empty.medium.as_deref() == Some("Memory");
    make_empty_dir(&path, memory, size.map(apimachinery::Quantity::value), fs_group(&place.pod)).map_err(io)
}

fn fs_group(pod: &Pod) -> Option<u32> {
    let group = spec(pod).security_context.as_ref()?.fs_group?;
    u32::try_from(group).ok()
}

fn make_empty_dir(path: &Path, memory: bool, size: Option<i64>, group: Option<u32>) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    if path.exists() && (!memory || is_tmpfs(path)) {
        return Ok(());
    }
    fs::create_dir_all(path)?;
    if memory {
        let size = size.filter(|size| *size > 0).map(|size| format!("size={size}"));
        mount_tmpfs(path, size.as_deref())?;
    }
    let mode = if group.is_some() { 0o2777 } else { 0o777 };
    if let Some(group) = group {
        std::os::unix::fs::chown(path, None, Some(group))?;
    }
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

fn is_tmpfs(path: &Path) -> bool {
    rustix::fs::statfs(path).is_ok_and(|stat| stat.f_type == nix::sys::statfs::TMPFS_MAGIC.0)
}

fn mount_tmpfs(path: &Path, options: Option<&str>) -> io::Result<()> {
    Ok(mount(Some("tmpfs"), path, Some("tmpfs"), MsFlags::empty(), options)?)
}

fn check_host_path(host: &HostPathVolumeSource) -> io::Result<()> {
    let path = Path::new(&host.path);
    let found = fs::metadata(path).ok();
    let wrong = |what: &str| io::Error::other(format!("hostPath type check failed: {} is not a {what}", host.path));
    let is = |test: fn(&fs::FileType) -> bool| found.as_ref().is_some_and(|found| test(&found.file_type()));
    use std::os::unix::fs::FileTypeExt;
    match host.type_.as_deref().unwrap_or_default() {
        "" => Ok(()),
        "DirectoryOrCreate" if found.is_none() => fs::create_dir_all(path),
        "FileOrCreate" if found.is_none() => fs::File::create(path).map(drop),
        "Directory" | "DirectoryOrCreate" if is(fs::FileType::is_dir) => Ok(()),
        "File" | "FileOrCreate" if is(fs::FileType::is_file) => Ok(()),
        "Socket" if is(fs::FileType::is_socket) => Ok(()),
        "CharDevice" if is(fs::FileType::is_char_device) => Ok(()),
        "BlockDevice" if is(fs::FileType::is_block_device) => Ok(()),
        "Directory" | "DirectoryOrCreate" => Err(wrong("directory")),
        "File" | "FileOrCreate" => Err(wrong("file")),
        "Socket" => Err(wrong("socket file")),
        "CharDevice" => Err(wrong("character device")),
        "BlockDevice" => Err(wrong("block device")),
        other => Err(io::Error::other(format!("{other} is an invalid volume type"))),
    }
}

/// Unmounts and deletes what a pod keeps. Nothing is deleted while a mount is left below: it might be a host's directory.
pub fn unmount_all(pod_dir: &Path) -> io::Result<()> {
    if !pod_dir.exists() {
        return Ok(());
    }
    for mount_point in mounts_below(pod_dir)?.into_iter().rev() {
        umount2(&mount_point, MntFlags::MNT_DETACH)?;
    }
    let left = mounts_below(pod_dir)?;
    if let Some(mount_point) = left.first() {
        return Err(io::Error::other(format!("{} is still mounted", mount_point.display())));
    }
    fs::remove_dir_all(pod_dir)
}

fn mounts_below(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let directory = directory.canonicalize()?;
    let text = fs::read_to_string("/proc/self/mountinfo")?;
    let points = text.lines().filter_map(|line| line.split(' ').nth(4)).map(|point| PathBuf::from(unescape(point)));
    Ok(points.filter(|point| point.starts_with(&directory)).collect())
}

/// The kernel writes blanks and backslashes as octal numbers.
fn unescape(text: &str) -> String {
    text.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")
}
