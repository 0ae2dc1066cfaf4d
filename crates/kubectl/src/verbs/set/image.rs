//! `set image`.

use serde_json::Value;

use super::pod_spec::{each_container, name_of, pod_spec};
use super::{LOCAL_FLAGS, LOCAL_ON_SERVER, SELECTOR_FLAG, Setter, resources_and_pairs};
use crate::command::{Command, runs};
use crate::failure::Failure;
use crate::flags::Parsed;
use crate::objects::{FILENAME_FLAGS, Info};
use crate::print::OUTPUT_FLAGS;
use crate::session::Session;
use crate::verbs::writing::{self, DryRun};

pub const COMMAND: Command = Command {
    name: "image",
    about: "Update the image of a pod template",
    usage: "(-f FILENAME | TYPE NAME) CONTAINER_NAME_1=CONTAINER_IMAGE_1 ... CONTAINER_NAME_N=CONTAINER_IMAGE_N [options]",
    flags: &[OUTPUT_FLAGS, FILENAME_FLAGS, writing::FLAGS, LOCAL_FLAGS, SELECTOR_FLAG],
    run: runs!(run),
    ..Command::EMPTY
};

async fn run(session: &Session, parsed: Parsed) -> Result<(), Failure> {
    let mut setter = Setter::new(session, &parsed)?;
    let (resources, pairs) = resources_and_pairs(&parsed.arguments, "image")?;
    let images = images(&pairs)?;
    let infos = setter.objects(resources.clone()).await?;
    check(&setter, &resources, &images)?;
    let mut failures = Vec::new();
    for info in &infos {
        match with_images(info, &images) {
            Ok((after, missing)) => {
                failures.extend(missing.into_iter().map(Failure::Plain));
                let failed = "failed to patch image update to pod template: ";
                failures.extend(setter.put_changed(info, after, "image updated", failed).await.err());
            }
            Err(why) => failures.push(setter.refused(info, &why)),
        }
    }
    Failure::all(failures)
}

/// The last image of each container.
fn images(pairs: &[String]) -> Result<Vec<(String, String)>, Failure> {
    let wrong: Vec<&str> = pairs.iter().map(String::as_str).filter(|pair| !pair.contains('=')).collect();
    if !wrong.is_empty() {
        return Err(Failure::Plain(format!("invalid image format: {}", wrong.join(", "))));
    }
    let mut images: Vec<(String, String)> = Vec::new();
    for (name, image) in pairs.iter().filter_map(|pair| pair.split_once('=')) {
        images.retain(|(known, _)| known != name);
        images.push((name.to_owned(), image.to_owned()));
    }
    Ok(images)
}

fn check(setter: &Setter<'_>, resources: &[String], images: &[(String, String)]) -> Result<(), Failure> {
    let mut failures: Vec<Failure> = setter.check_selection().err().into_iter().collect();
    if resources.is_empty() && !setter.parsed.given("filename") {
        failures.push("one or more resources must be specified as <resource> <name> or <resource>/<name>".into());
    }
    if images.is_empty() {
        failures.push("at least one image update is required".into());
    } else if images.len() > 1 && images.iter().any(|(name, _)| name == "*") {
        failures.push(
            "all containers are already specified by *, but saw more than one container_name=container_image pairs"
                .into(),
        );
    }
    if setter.local && setter.writing.dry_run == DryRun::Server {
        failures.push(LOCAL_ON_SERVER.into());
    }
    Failure::all(failures)
}

/// The object with these images, and complaints about containers that it does not have.
fn with_images(info: &Info, images: &[(String, String)]) -> Result<(Value, Vec<String>), String> {
    let (mut after, mut missing) = (info.object.clone(), Vec::new());
    let spec = pod_spec(info, &mut after)?;
    for (name, image) in images {
        let mut found = false;
        each_container(spec, "*", |container| {
            if name == "*" || name_of(container) == name {
                container["image"] = image.as_str().into();
                found = true;
            }
        });
        if !found {
            missing.push(format!("error: unable to find container named {name:?}"));
        }
    }
    Ok((after, missing))
}
