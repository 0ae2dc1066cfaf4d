//! Python's client and an operator on kopf: the scripts beside this file, run by the machine's Python.

use std::path::Path;

use e2e::cluster::succeeded;

use crate::bare::{Bare, tool};

#[test]
fn the_python_client_creates_patches_watches_and_deletes() {
    run("python_client.py");
}

#[test]
fn an_operator_on_kopf_sees_its_objects_made_changed_and_deleted_also_after_a_restart() {
    run("kopf_operator.py");
}

fn run(script: &str) {
    let Some(packages) = tool("python") else { return };
    let bare = Bare::start(script);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/python").join(script);
    let mut command = bare.command(Path::new("timeout"));
    command.args(["120", "python3"]).arg(path).env("PYTHONPATH", packages);
    print!("{}", succeeded(script, &command.output().unwrap()).unwrap());
}
