//! Tasks that run other programs.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};

use crate::{image, root, tidy, tools};

/// What the build and the tests need of Debian.
const PACKAGES: [&str; 12] = [
    "build-essential",
    "cmake",
    "pkg-config",
    "libseccomp-dev",
    "protobuf-compiler",
    "nftables",
    "conntrack",
    "iproute2",
    "curl",
    "busybox-static",
    "docker-registry",
    "python3-pip",
];

pub fn demo() -> anyhow::Result<()> {
    set_up()?;
    let binary = build()?;
    let archive = image::build()?;
    let name = "demo";
    if let Err(error) = run(Command::new(&binary).args(["dev", "up", "--name", name, "--import"]).arg(&archive)) {
        eprintln!("If a cluster of an earlier run is there: {} dev down --name {name}", binary.display());
        return Err(error);
    }
    let mut walk = cargo(&["run", "--package", "e2e", "--bin", "walkthrough", "--"]);
    walk.args(["--name", name]).env("CORACLE_BIN", &binary);
    if let Some(kubectl) = tools::kubectl() {
        walk.arg("--kubectl").arg(kubectl);
    }
    run(&mut walk)?;
    println!("\nThe cluster is left running. Use it:");
    println!("  {} kubectl get pods -A -o wide", binary.display());
    println!("  {} dev client --name {name} -- curl -s <any address above>", binary.display());
    println!("  {} dev down --name {name}        # ends it and leaves no trace", binary.display());
    Ok(())
}

pub fn test() -> anyhow::Result<()> {
    set_up()?;
    tools::all();
    let kubectl = tools::kubectl();
    let mut tests = cargo(&["test", "--workspace", "--exclude", "e2e"]);
    if let Some(kubectl) = &kubectl {
        tests.env("KUBECTL", kubectl);
    }
    run(&mut tests)?;
    let binary = build()?;
    let archive = image::build()?;
    let mut tests = cargo(&["test", "--package", "e2e", "--", "--test-threads=1", "--nocapture"]);
    tests.env("CORACLE_BIN", binary).env("CORACLE_IMAGE", archive);
    if let Some(kubectl) = kubectl {
        tests.env("KUBECTL_1_36", kubectl);
    }
    run(&mut tests)
}

pub fn ci() -> anyhow::Result<()> {
    run(&mut cargo(&["fmt", "--all", "--check"]))?;
    tidy::run()?;
    set_up()?;
    lint()?;
    test()
}

/// Clippy over everything; without it, a toolchain can still build and test.
fn lint() -> anyhow::Result<()> {
    let version = cargo(&["clippy", "--version"]).output().context("run cargo clippy")?;
    if !version.status.success() {
        eprintln!("SKIPPED: this toolchain has no clippy");
        return Ok(());
    }
    run(&mut cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))
}

pub fn bench(only: &str) -> anyhow::Result<()> {
    install(&[&PACKAGES[..], &["wrk"]].concat())?;
    let directory =
        build_static(&["--package", "coracle", "--package", "service-proxy", "--bin", "coracle", "--example", "load"])?;
    let archive = image::build()?;
    run(cargo(&["run", "--release", "--package", "e2e", "--bin", "bench", "--", "--only", only])
        .env("CORACLE_BIN", directory.join("coracle"))
        .env("CORACLE_SERVICE_LOAD", directory.join("examples/load"))
        .env("CORACLE_IMAGE", archive))
}

fn set_up() -> anyhow::Result<()> {
    install(&PACKAGES)
}

/// Installs what is missing of Debian's packages.
fn install(packages: &[&str]) -> anyhow::Result<()> {
    let installed = |package: &&str| {
        let query = Command::new("dpkg-query").args(["-W", "-f", "${Status}", package]).output();
        query.is_ok_and(|output| output.stdout.ends_with(b"install ok installed"))
    };
    let missing: Vec<_> = packages.iter().filter(|package| !installed(package)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    println!("Installing {missing:?}");
    run(Command::new("apt-get").args(["update", "-q"]))?;
    // A registry that starts as a service is in nobody's way, but nobody needs it either.
    run(Command::new("apt-get")
        .env("DEBIAN_FRONTEND", "noninteractive")
        .env("RUNLEVEL", "1")
        .args(["install", "-y", "-q", "--no-install-recommends"])
        .args(missing))
}

/// Static; equal functions folded into one, and relocations packed, which saves a tenth of the file.
const RUSTFLAGS: &str =
    "-C target-feature=+crt-static -C link-arg=-Wl,--icf=all -C link-arg=-Wl,-z,pack-relative-relocs";

fn build() -> anyhow::Result<PathBuf> {
    Ok(build_static(&["--package", "coracle"])?.join("coracle"))
}

/// Optimised, each in one static file: pods of the system run it where there are no libraries. The directory of the files.
fn build_static(what: &[&str]) -> anyhow::Result<PathBuf> {
    let triple = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let flags = format!("CARGO_TARGET_{}_RUSTFLAGS", triple.to_uppercase().replace('-', "_"));
    run(cargo(&["build", "--release", "--target", &triple])
        .args(what)
        .env(flags, RUSTFLAGS)
        .env("LIBSECCOMP_LINK_TYPE", "static")
        .env("LIBSECCOMP_LIB_PATH", format!("/usr/lib/{}-linux-gnu", std::env::consts::ARCH)))?;
    Ok(target().join(triple).join("release"))
}

pub fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root()).args(arguments);
    command
}

pub fn run(command: &mut Command) -> anyhow::Result<()> {
    let program = Path::new(command.get_program()).display().to_string();
    let status = command.status().with_context(|| format!("run {program}"))?;
    ensure!(status.success(), "{program} {:?} ended with {status}", command.get_args().collect::<Vec<_>>());
    Ok(())
}
