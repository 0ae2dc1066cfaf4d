//! The image of `examples/python-web`, built from Debian's packages without Docker.
//!
//! apt resolves and fetches the packages as for an empty system, dpkg unpacks them into a directory, busybox adds the
//! commands that the walk-through types, and the directory becomes the one layer of an archive as `docker save` writes.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::root;
use crate::tasks::{run, target};

const PACKAGES: [&str; 3] = ["python3-flask", "busybox-static", "base-passwd"];
const TAG: &str = "yanbin/python-web:latest";
/// What an image has no use for.
const UNUSED: [&str; 6] =
    ["usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/info", "usr/share/lintian", "usr/share/perl5"];

/// Builds the archive unless it is newer than what it is made from.
pub fn build() -> anyhow::Result<PathBuf> {
    let directory = target().join("images");
    let archive = directory.join("python-web.tar");
    let app = root().join("examples/python-web/app.py");
    if is_newer(&archive, &app) {
        return Ok(archive);
    }
    let work = directory.join("python-web");
    let rootfs = work.join("rootfs");
    if rootfs.exists() {
        fs::remove_dir_all(&rootfs)?;
    }
    fs::create_dir_all(&rootfs)?;
    fetch(&work)?;
    unpack(&work, &rootfs)?;
    finish(&rootfs, &app)?;
    write_archive(&work, &rootfs, &archive)?;
    Ok(archive)
}

fn is_newer(archive: &Path, source: &Path) -> bool {
    let modified = |path: &Path| fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
    modified(archive).zip(modified(source)).is_some_and(|(archive, source)| archive > source)
}

/// Fetches the packages and all that they depend on, as if nothing was installed.
fn fetch(work: &Path) -> anyhow::Result<()> {
    let cache = work.join("packages");
    fs::create_dir_all(cache.join("partial"))?;
    let status = work.join("status");
    fs::write(&status, "")?;
    run_apt(
        Command::new("apt-get")
            .args(["install", "--download-only", "-y", "-q", "--no-install-recommends"])
            .args(["-o", &format!("Dir::Cache::archives={}", cache.display())])
            .args(["-o", &format!("Dir::State::status={}", status.display())])
            .args(PACKAGES),
    )
}

fn run_apt(command: &mut Command) -> anyhow::Result<()> {
    command.env("DEBIAN_FRONTEND", "noninteractive").stdout(Stdio::null());
    run(command)
}

fn unpack(work: &Path, rootfs: &Path) -> anyhow::Result<()> {
    for directory in ["bin", "sbin", "lib", "lib64"] {
        fs::create_dir_all(rootfs.join("usr").join(directory))?;
        std::os::unix::fs::symlink(format!("usr/{directory}"), rootfs.join(directory))?;
    }
    let mut packages: Vec<PathBuf> = fs::read_dir(work.join("packages"))?.flatten().map(|entry| entry.path()).collect();
    packages.retain(|path| path.extension().is_some_and(|extension| extension == "deb"));
    packages.sort();
    ensure!(!packages.is_empty(), "apt fetched no packages");
    for package in packages {
        let mut dpkg = Command::new("dpkg-deb").arg("--fsys-tarfile").arg(&package).stdout(Stdio::piped()).spawn()?;
        let stream = dpkg.stdout.take().context("dpkg-deb has an output")?;
        run(Command::new("tar").args(["-x", "--keep-directory-symlink", "-C"]).arg(rootfs).stdin(stream))?;
        ensure!(dpkg.wait()?.success(), "dpkg-deb failed on {}", package.display());
    }
    Ok(())
}

/// Adds the application and the commands, takes away what nobody reads.
fn finish(rootfs: &Path, app: &Path) -> anyhow::Result<()> {
    for path in UNUSED {
        if rootfs.join(path).exists() {
            fs::remove_dir_all(rootfs.join(path))?;
        }
    }
    fs::create_dir_all(rootfs.join("app"))?;
    fs::copy(app, rootfs.join("app/app.py"))?;
    fs::create_dir_all(rootfs.join("etc"))?;
    fs::write(rootfs.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\nwww-data:x:33:33:www-data:/:/bin/false\n")?;
    fs::write(rootfs.join("etc/group"), "root:x:0:\nwww-data:x:33:\n")?;
    let applets =
        Command::new(rootfs.join("bin/busybox")).arg("--list").output().context("ask busybox for its applets")?;
    for applet in String::from_utf8(applets.stdout)?.lines() {
        let link = rootfs.join("usr/bin").join(applet);
        if !link.exists() && fs::symlink_metadata(&link).is_err() {
            std::os::unix::fs::symlink("busybox", link)?;
        }
    }
    // Compiled once here rather than at every start of a container.
    run(Command::new("chroot").arg(rootfs).args([
        "/usr/bin/python3",
        "-m",
        "compileall",
        "-q",
        "/usr/lib/python3",
        "/usr/lib/python3.11",
    ]))
    .or_else(|error| {
        eprintln!("not compiled ahead: {error}");
        Ok(())
    })
}

fn write_archive(work: &Path, rootfs: &Path, archive: &Path) -> anyhow::Result<()> {
    let layer = work.join("layer.tar");
    run(Command::new("tar")
        .args(["-c", "--sort=name", "--numeric-owner", "--owner=0", "--group=0", "-f"])
        .arg(&layer)
        .arg("-C")
        .arg(rootfs)
        .arg("."))?;
    let digest = sha256(&fs::read(&layer)?);
    let config = json!({
        "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" },
        "os": "linux",
        "config": {
            "Cmd": ["/usr/bin/python3", "/app/app.py"],
            "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "PYTHONUNBUFFERED=1"],
            "ExposedPorts": {"80/tcp": {}},
            "WorkingDir": "/app",
        },
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{digest}")]},
    })
    .to_string();
    let manifest = json!([{"Config": "config.json", "RepoTags": [TAG], "Layers": ["layer.tar"]}]).to_string();
    let temporary = archive.with_extension("new");
    let mut builder = tar::Builder::new(std::io::BufWriter::new(fs::File::create(&temporary)?));
    append(&mut builder, "manifest.json", manifest.as_bytes())?;
    append(&mut builder, "config.json", config.as_bytes())?;
    builder.append_path_with_name(&layer, "layer.tar")?;
    builder.into_inner()?.flush()?;
    fs::remove_file(layer)?;
    fs::rename(temporary, archive)?;
    Ok(())
}

fn append(builder: &mut tar::Builder<impl Write>, name: &str, bytes: &[u8]) -> anyhow::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_size(bytes.len() as u64);
    header.set_mode(0o644);
    Ok(builder.append_data(&mut header, name, bytes)?)
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
