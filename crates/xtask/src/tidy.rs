//! The floors of the house: a crate depends on lower floors, or to the left on its own.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use anyhow::{Context, bail, ensure};
use serde::Deserialize;

use crate::root;

#[derive(Deserialize)]
struct House {
    floor: Vec<Floor>,
    outside: Outside,
}

#[derive(Deserialize)]
struct Floor {
    number: usize,
    crates: Vec<String>,
    /// Nobody above names these crates.
    #[serde(default)]
    closed: bool,
    /// Crates of such floors do not know each other across floors.
    #[serde(default)]
    strangers: bool,
    /// Plugs everything together.
    #[serde(default)]
    roof: bool,
}

#[derive(Deserialize)]
struct Outside {
    crates: Vec<String>,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    workspace_members: BTreeSet<String>,
}

#[derive(Deserialize)]
struct Package {
    id: String,
    name: String,
    license: Option<String>,
    license_file: Option<String>,
    source: Option<String>,
    dependencies: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    kind: Option<String>,
}

/// Licences that may be linked into an Apache-2.0 program.
const PERMISSIVE: [&str; 15] = [
    "Apache-2.0",
    "MIT",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "Zlib",
    "Unicode-3.0",
    "0BSD",
    "CC0-1.0",
    "BSL-1.0",
    "OpenSSL",
    "MPL-2.0",
    "MPL-2.0+",
    "CDLA-Permissive-2.0",
    "Unlicense",
];

pub fn run() -> anyhow::Result<()> {
    let house: House =
        toml::from_str(&std::fs::read_to_string(root().join("house.toml"))?).context("read house.toml")?;
    let output = Command::new("cargo").args(["metadata", "--format-version=1"]).current_dir(root()).output()?;
    ensure!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    let metadata: Metadata = serde_json::from_slice(&output.stdout).context("read cargo's metadata")?;
    let mut problems = floors(&house, &metadata);
    problems.extend(licences(&metadata));
    for problem in &problems {
        eprintln!("{problem}");
    }
    if problems.is_empty() {
        println!(
            "The house stands: {} crates, {} dependencies.",
            metadata.workspace_members.len(),
            metadata.packages.len()
        );
        return Ok(());
    }
    bail!("{} problems", problems.len())
}

fn floors(house: &House, metadata: &Metadata) -> Vec<String> {
    let mut place: BTreeMap<&str, (&Floor, usize)> = BTreeMap::new();
    for floor in &house.floor {
        place.extend(floor.crates.iter().enumerate().map(|(at, name)| (name.as_str(), (floor, at))));
    }
    let members = metadata.packages.iter().filter(|package| metadata.workspace_members.contains(&package.id));
    let mut problems = Vec::new();
    for package in members {
        let Some(own) = place.get(package.name.as_str()) else {
            if !house.outside.crates.contains(&package.name) {
                problems.push(format!("{} has no room in house.toml", package.name));
            }
            continue;
        };
        for dependency in package.dependencies.iter().filter(|dependency| dependency.kind.is_none()) {
            let Some(other) = place.get(dependency.name.as_str()) else { continue };
            problems.extend(judge(&package.name, *own, &dependency.name, *other));
        }
    }
    problems
}

fn judge(name: &str, own: (&Floor, usize), dependency: &str, other: (&Floor, usize)) -> Option<String> {
    let (floor, at) = own;
    let (below, left) = other;
    if below.number > floor.number || (below.number == floor.number && left >= at) {
        return Some(format!(
            "{name} (floor {}) depends on {dependency} (floor {}): that climbs",
            floor.number, below.number
        ));
    }
    if below.closed && !floor.closed && !floor.roof {
        return Some(format!("{name} names {dependency}, which is in the closed wing; `client` is the staircase"));
    }
    if below.strangers && floor.strangers && below.number != floor.number {
        return Some(format!(
            "{name} (floor {}) knows {dependency} (floor {}): declare a trait instead",
            floor.number, below.number
        ));
    }
    None
}

/// Crates that carry a licence text instead of a name; each was read: MIT.
const READ: [&str; 1] = ["rust-criu"];

fn licences(metadata: &Metadata) -> Vec<String> {
    let foreign = metadata.packages.iter().filter(|package| package.source.is_some());
    let read = |package: &Package| package.license_file.is_some() && READ.contains(&package.name.as_str());
    let bad = foreign.filter(|package| !package.license.as_deref().is_some_and(permissive) && !read(package));
    bad.map(|package| format!("{} has the licence {:?}", package.name, package.license)).collect()
}

/// Whether one of the choices consists of permissive licences alone.
fn permissive(expression: &str) -> bool {
    let expression = expression.replace('/', " OR ").replace(['(', ')'], " ");
    expression.split(" OR ").any(|choice| {
        choice.split(" AND ").all(|licence| {
            let licence = licence.trim().split(" WITH ").next().unwrap_or_default().trim();
            PERMISSIVE.contains(&licence)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_permissive_choice_is_enough() {
        assert!(permissive("MIT OR Apache-2.0"));
        assert!(permissive("Apache-2.0 WITH LLVM-exception"));
        assert!(permissive("MIT/Apache-2.0"));
        assert!(permissive("(MIT OR Apache-2.0) AND Unicode-3.0"));
        assert!(!permissive("GPL-3.0"));
        assert!(!permissive("MIT AND GPL-3.0"));
    }

    #[test]
    fn an_edge_that_climbs_is_seen() {
        let floor = |number, closed| Floor { number, crates: Vec::new(), closed, strangers: number > 4, roof: false };
        let (low, wing, high, higher) = (floor(1, false), floor(3, true), floor(5, false), floor(6, false));
        assert!(judge("a", (&low, 0), "b", (&high, 0)).is_some());
        assert!(judge("a", (&high, 0), "b", (&wing, 0)).is_some());
        assert!(judge("a", (&higher, 0), "b", (&high, 0)).is_some());
        assert!(judge("a", (&high, 1), "b", (&high, 0)).is_none());
        assert!(judge("a", (&high, 0), "b", (&low, 0)).is_none());
    }
}
