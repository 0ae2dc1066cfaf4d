//! `cp`: files, directories, links and what is not there.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use e2e::server::Scratch;

use crate::Step;
use crate::user::User;

pub const STEPS: &[Step] = &[("cp both ways: bytes, a tree, links, what is not there", copy)];

fn bytes() -> Vec<u8> {
    (0..1_000_000_u32).map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()[3]).collect()
}

fn copy(user: &User<'_>) -> Result<()> {
    user.sleeper("files")?;
    let here = Scratch::new(&format!("cp-{}", user.namespace))?;
    make_tree(here.path())?;
    let local = |name: &str| here.path().join(name).display().to_string();
    let cp = |from: &str, to: &str| user.says(&["cp", from, to]);
    cp(&local("one"), "files:/root.bin")?.is(0, "")?;
    cp("files:/root.bin", &local("back"))?.tells(&[])?;
    ensure!(fs::read(here.path().join("back"))? == bytes(), "other bytes came back");
    cp(&local("tree"), &format!("{}/files:/tree", user.namespace))?.is(0, "")?;
    let there = user.shell("files", "cd /tree; find . | sort; readlink link; cmp sub/bytes /root.bin && echo same")?;
    ensure!(there == ".\n./link\n./sub\n./sub/bytes\n./sub/empty\nsub/bytes\nsame\n", "{there:?}");
    // Out of a container no link is made, lest it lead out of the directory.
    cp("files:/tree", &local("copied"))?.tells(&[])?;
    ensure!(fs::read(here.path().join("copied/sub/bytes"))? == bytes(), "other bytes came back");
    ensure!(here.path().join("copied/sub/empty").is_dir(), "an empty directory is missing");
    ensure!(!here.path().join("copied/link").exists(), "a link was made");
    refusals(user, here.path())?;
    user.remove("pod files")
}

fn make_tree(root: &Path) -> Result<()> {
    fs::create_dir_all(root.join("tree/sub/empty"))?;
    fs::write(root.join("one"), bytes())?;
    fs::write(root.join("tree/sub/bytes"), bytes())?;
    std::os::unix::fs::symlink("sub/bytes", root.join("tree/link")).context("make a link")
}

fn refusals(user: &User<'_>, root: &Path) -> Result<()> {
    let (one, none) = (root.join("one").display().to_string(), root.join("none").display().to_string());
    user.says(&["cp", &none, "files:/x"])?.refuses(&format!("{none} doesn't exist in local filesystem"))?;
    user.says(&["cp", &one, "files:/no/such/x"])?.refuses("/no/such")?;
    user.says(&["cp", &one, "nobody:/x"])?.refuses("pods \"nobody\" not found")?;
    // The real one has often left before the container can say so.
    user.says(&["cp", "files:/none", &none])?;
    ensure!(!root.join("none").exists(), "something came of nothing");
    Ok(())
}
