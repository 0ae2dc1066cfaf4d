//! Archives and layers, honest and hostile. Unpacking sets owners and makes devices, so it needs root.

mod origin;
mod registry;
mod tarball;

use std::path::Path;

use image::{Config, ImageError, ImageService, Images, Registries};
use tarball::{Layer, docker_archive};

fn open(directory: &Path) -> Images {
    Images::open(Config {
        content: directory.join("content"),
        snapshots: directory.join("snapshots"),
        registries: Registries::default(),
    })
    .expect("the store opens")
}

/// Whether this process may make devices and mounts; says so when it may not.
pub fn privileged(test: &str) -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("SKIPPED: {test} needs root");
    }
    root
}

/// Imports one image of these layers and mounts it.
async fn mounted(directory: &Path, layers: &[Layer]) -> Result<std::path::PathBuf, ImageError> {
    let images = open(directory);
    let archive = directory.join("image.tar");
    std::fs::write(&archive, docker_archive("shop/web:1", layers)).expect("written");
    let names = images.import(&archive).await?;
    assert_eq!(names, ["docker.io/shop/web:1"]);
    let image = images.status("shop/web:1").await?.expect("present");
    images.prepare(&image.id, "one").await
}

#[tokio::test]
async fn an_archive_becomes_a_root_file_system() {
    if !privileged("an_archive_becomes_a_root_file_system") {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let below = Layer::new()
        .directory("etc", 0o755)
        .file("etc/motd", "old")
        .file("etc/gone", "x")
        .directory("tmp", 0o1777)
        .directory("data", 0o750)
        .file("data/hidden", "x");
    let above = Layer::new()
        .file("etc/motd", "new")
        .file("etc/.wh.gone", "")
        .file("data/.wh..wh..opq", "")
        .file("tmp/inner", "i")
        .hard_link("etc/link", "etc/motd");
    let rootfs = mounted(directory.path(), &[below, above]).await.expect("mounted");
    let read = |name: &str| std::fs::read_to_string(rootfs.join(name));
    assert_eq!((read("etc/motd").expect("read"), read("etc/link").expect("read")), ("new".into(), "new".into()));
    assert!(read("etc/gone").is_err() && read("data/hidden").is_err());
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::metadata(rootfs.join("tmp")).expect("there").permissions().mode();
    assert_eq!(mode & 0o7777, 0o1777, "an implied directory looks as it does below");
    let images = open(directory.path());
    std::fs::write(rootfs.join("etc/written"), "w").expect("writable");
    let image = images.status("docker.io/shop/web:1").await.expect("known").expect("present");
    let again = images.prepare(&image.id, "one").await.expect("mounted");
    assert!(again.join("etc/written").exists(), "the same snapshot again keeps its content");
    images.remove_snapshot("one").await.expect("removed");
    assert!(!rootfs.exists());
    images.remove_snapshot("one").await.expect("removing twice is fine");
    images.remove("shop/web:1").await.expect("removed");
    assert!(images.list().await.expect("listed").is_empty());
    assert_eq!(std::fs::read_dir(directory.path().join("content/layers")).expect("there").count(), 0);
}

#[tokio::test]
async fn a_hostile_layer_cannot_touch_the_host() {
    if !privileged("a_hostile_layer_cannot_touch_the_host") {
        return;
    }
    let outside = tempfile::tempdir().expect("a directory");
    let target = outside.path().join("victim");
    std::fs::write(&target, "untouched").expect("written");
    let text = target.to_str().expect("text");
    let escape = outside.path().to_str().expect("text");
    let up = format!("../../../../../../../../../..{text}");
    let hostile = [
        Layer::new().file(&up, "owned"),
        Layer::new().file(text, "owned"),
        Layer::new().symlink("a", escape).file("a/victim", "owned"),
        Layer::new().symlink("a", &format!("../../../../../../../..{escape}")).file("a/victim", "owned"),
        Layer::new().symlink("a", escape).directory("a", 0o777).file("a/victim", "owned"),
        Layer::new().symlink("victim", text).file("victim", "owned"),
        Layer::new().hard_link("victim", &up),
        Layer::new().hard_link("a", text).file("a", "owned"),
        Layer::new().symlink("a", "/").hard_link("b", &format!("a{text}")).file("b", "owned"),
        Layer::new().symlink("a", escape).file("a/.wh.victim", ""),
        Layer::new().symlink("a", escape).file("a/.wh..wh..opq", ""),
        Layer::new().file(".wh...", ""),
        Layer::new().file("a/.wh.", ""),
        Layer::new().symlink("a", "b").symlink("b", "a").file("a/x", "owned"),
        Layer::new().symlink("proc", "/proc/self/root").file(&format!("proc{text}"), "owned"),
        Layer::new().device("null", 0, 0),
    ];
    for (number, layer) in hostile.into_iter().enumerate() {
        let directory = tempfile::tempdir().expect("a directory");
        let result = mounted(directory.path(), &[layer]).await;
        if result.is_ok() {
            open(directory.path()).remove_snapshot("one").await.expect("removed");
        }
        let found = std::fs::read_to_string(&target).expect("still there");
        assert_eq!(found, "untouched", "layer {number} reached the host");
        assert_eq!(std::fs::read_dir(outside.path()).expect("there").count(), 1, "layer {number} made a file");
    }
}

#[tokio::test]
async fn a_layer_with_other_content_than_its_digest_is_refused() {
    if !privileged("a_layer_with_other_content_than_its_digest_is_refused") {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let images = open(directory.path());
    let mut archive = docker_archive("shop/web:1", &[Layer::new().file("motd", "honest")]);
    let at = archive.windows(6).position(|window| window == b"honest").expect("there");
    archive[at..at + 6].copy_from_slice(b"forged");
    let path = directory.path().join("image.tar");
    std::fs::write(&path, archive).expect("written");
    let error = images.import(&path).await.expect_err("refused");
    assert!(std::error::Error::source(&error).expect("a cause").to_string().contains("has digest"), "{error}");
    assert!(images.list().await.expect("listed").is_empty());
    assert_eq!(std::fs::read_dir(directory.path().join("content/tmp")).expect("there").count(), 0);
}

#[tokio::test]
async fn a_file_that_is_no_archive_is_named() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("image.tar");
    std::fs::write(&path, Layer::new().file("readme", "hello").bytes()).expect("written");
    let error = open(directory.path()).import(&path).await.expect_err("refused");
    let cause = std::error::Error::source(&error).expect("a cause").to_string();
    assert!(cause.contains("neither manifest.json nor index.json"), "{cause}");
}

#[tokio::test]
async fn the_built_in_image_holds_the_binary() {
    if !privileged("the_built_in_image_holds_the_binary") {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let images = open(directory.path());
    let binary = directory.path().join("binary");
    std::fs::write(&binary, "ELF").expect("written");
    let id = images.ensure_builtin("coracle.local/system:1", &binary).await.expect("entered");
    assert_eq!(images.ensure_builtin("coracle.local/system:1", &binary).await.expect("again"), id);
    let rootfs = images.prepare(&id, "system").await.expect("mounted");
    assert_eq!(std::fs::read_to_string(rootfs.join("coracle")).expect("there"), "ELF");
    images.remove_snapshot("system").await.expect("removed");
}
