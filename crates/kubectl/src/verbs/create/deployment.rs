//! `create deployment NAME --image=image -- [COMMAND] [args...]`.

use serde_json::{Value, json};

use super::{SAVE_CONFIG, create_made, name_of};
use crate::command::{Command, runs};
use crate::failure::{Failure, fail};
use crate::flags::{Flag, Parsed};
use crate::print::OUTPUT_FLAGS;
use crate::session::Session;
use crate::verbs::writing;

pub const COMMAND: Command = Command {
    name: "deployment",
    aliases: &["deploy"],
    about: "Create a deployment with the specified name",
    usage: "NAME --image=image -- [COMMAND] [args...] [options]",
    flags: &[OUTPUT_FLAGS, writing::FLAGS, writing::VALIDATE, SAVE_CONFIG, FLAGS],
    run: runs!(run),
    ..Command::EMPTY
};

const FLAGS: &[Flag] = &[
    Flag::list("image", "Image names to run. A deployment can have multiple images set for multi-container pod."),
    Flag::number("port", "-1", "The containerPort that this deployment exposes."),
    Flag::number("replicas", "1", "Number of replicas to create. Default is 1.").short('r'),
];

async fn run(session: &Session, parsed: Parsed) -> Result<(), Failure> {
    let images = parsed.list("image");
    if images.is_empty() {
        return fail!("required flag(s) \"image\" not set");
    }
    let name = name_of(session, &parsed)?;
    let command = &parsed.arguments[1..];
    if images.len() > 1 && !command.is_empty() {
        return fail!("cannot specify multiple --image options and command");
    }
    let mut containers: Vec<Value> = images.iter().map(|image| container(image, command)).collect();
    if let (port @ 0.., Some(first)) = (parsed.number("port"), containers.first_mut()) {
        first["ports"] = json!([{"containerPort": port}]);
    }
    let object = json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {
            "replicas": parsed.number("replicas"),
            "selector": {"matchLabels": {"app": name}},
            "strategy": {},
            "template": {"metadata": {"labels": {"app": name}}, "spec": {"containers": containers}},
        },
        "status": {},
    });
    create_made(session, &parsed, object, Some("deployment: ")).await
}

fn container(image: &str, command: &[String]) -> Value {
    let mut container = json!({"image": image, "name": container_name(image), "resources": {}});
    if !command.is_empty() {
        container["command"] = json!(command);
    }
    container
}

/// The last part of an image's name, as a DNS label.
fn container_name(image: &str) -> String {
    let name = image.rsplit('/').next().unwrap_or(image);
    let name = name.split([':', '@']).next().unwrap_or(name);
    if name.contains(['_', '.']) {
        format!("{}-{}", name.replace(['_', '.'], "-"), apimachinery::names::suffix(5))
    } else {
        name.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn containers_are_named_after_their_image() {
        assert_eq!(container_name("yanbin/python-web:latest"), "python-web");
        assert_eq!(container_name("registry:5000/a/nginx@sha256:00"), "nginx");
        assert!(container_name("a/b_c.d:1").starts_with("b-c-d-"));
    }
}
