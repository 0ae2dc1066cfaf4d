//! Every pod pulls its images anew: who may not pull an image does not run it because somebody else has.

use apimachinery::field::{FieldError, Path};
use apimachinery::{Status, object};
use async_trait::async_trait;
use serde_json::Value;

use crate::{Operation, Plugin, Request};

pub struct AlwaysPullImages;

const CONTAINERS: &[&str] = &["initContainers", "containers", "ephemeralContainers"];

#[async_trait]
impl Plugin for AlwaysPullImages {
    fn name(&self) -> &'static str {
        "AlwaysPullImages"
    }

    async fn admit(&self, request: &mut Request<'_>) -> Result<(), Status> {
        if !concerns(request) {
            return Ok(());
        }
        if let Some(pod) = request.object.as_deref_mut() {
            pull_always(pod);
        }
        Ok(())
    }

    async fn validate(&self, request: &Request<'_>) -> Result<(), Status> {
        let Some(pod) = request.object.as_deref().filter(|_| concerns(request)) else { return Ok(()) };
        refuse(&not_always(pod).into_iter().map(|error| request.forbidden(error).message).collect::<Vec<_>>())
    }
}

/// New pods, and updates that bring an image which the pod did not have.
fn concerns(request: &Request<'_>) -> bool {
    if !request.is_resource("", "pods") || !request.subresource.is_empty() {
        return false;
    }
    match (request.operation, request.object.as_deref(), request.old) {
        (Operation::Create, ..) => true,
        (Operation::Update, Some(new), Some(old)) => has_new_image(new, old),
        _ => false,
    }
}

fn has_new_image(new: &Value, old: &Value) -> bool {
    let known: Vec<&str> = images(old).collect();
    images(new).any(|image| !known.contains(&image))
}

fn images(pod: &Value) -> impl Iterator<Item = &str> {
    let containers = CONTAINERS.iter().flat_map(|list| items(pod, list)).map(|container| &container["image"]);
    let volumes = items(pod, "volumes").filter_map(|volume| volume.pointer("/image/reference"));
    containers.chain(volumes).map(|image| image.as_str().unwrap_or_default())
}

fn items<'a>(pod: &'a Value, list: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    pod["spec"][list].as_array().into_iter().flatten()
}

fn pull_always(pod: &mut Value) {
    let spec = object::child_mut(pod, "spec");
    for list in CONTAINERS {
        for container in spec.get_mut(*list).and_then(Value::as_array_mut).into_iter().flatten() {
            container["imagePullPolicy"] = "Always".into();
        }
    }
    for volume in spec.get_mut("volumes").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(image) = volume.get_mut("image").filter(|image| image.is_object()) {
            image["pullPolicy"] = "Always".into();
        }
    }
}

/// What a later plugin set otherwise.
fn not_always(pod: &Value) -> Vec<FieldError> {
    let spec = Path::new("spec");
    let mut errors = Vec::new();
    for list in CONTAINERS {
        for (index, container) in items(pod, list).enumerate() {
            let path = spec.child(list).index(index).child("imagePullPolicy");
            errors.extend(other_policy(&path, &container["imagePullPolicy"]));
        }
    }
    for (index, volume) in items(pod, "volumes").enumerate().filter(|(_, volume)| volume["image"].is_object()) {
        let path = spec.child("volumes").index(index).child("image").child("pullPolicy");
        errors.extend(other_policy(&path, &volume["image"]["pullPolicy"]));
    }
    errors
}

fn other_policy(path: &Path, policy: &Value) -> Option<FieldError> {
    let policy = policy.as_str().unwrap_or_default();
    (policy != "Always").then(|| FieldError::not_supported(path, policy, &["Always"]))
}

/// Upstream gathers the refusals into an error without a status of its own.
fn refuse(messages: &[String]) -> Result<(), Status> {
    match messages {
        [] => Ok(()),
        [one] => Err(Status::failure(500, "", one.as_str())),
        all => Err(Status::failure(500, "", format!("[{}]", all.join(", ")))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_container_and_image_volume_pulls_always() {
        let mut pod = json!({"spec": {
            "initContainers": [{"image": "a"}, {"image": "b", "imagePullPolicy": "Never"}],
            "containers": [{"image": "c", "imagePullPolicy": "IfNotPresent"}],
            "volumes": [{"name": "v", "image": {"reference": "d", "pullPolicy": "Never"}}, {"name": "e", "emptyDir": {}}],
        }});
        assert_eq!(not_always(&pod).len(), 4);
        pull_always(&mut pod);
        assert!(not_always(&pod).is_empty());
        assert_eq!(pod["spec"]["volumes"][1], json!({"name": "e", "emptyDir": {}}));
    }

    #[test]
    fn other_policies_are_told_by_their_paths_in_order() {
        let pod = json!({"spec": {
            "initContainers": [{"imagePullPolicy": "Never"}],
            "containers": [{"imagePullPolicy": "Always"}, {"imagePullPolicy": "IfNotPresent"}],
        }});
        let told: Vec<String> = not_always(&pod).iter().map(ToString::to_string).collect();
        let expected = [
            r#"spec.initContainers[0].imagePullPolicy: Unsupported value: "Never": supported values: "Always""#,
            r#"spec.containers[1].imagePullPolicy: Unsupported value: "IfNotPresent": supported values: "Always""#,
        ];
        assert_eq!(told, expected);
        assert_eq!(refuse(&told).unwrap_err().message, format!("[{}, {}]", expected[0], expected[1]));
        assert_eq!(refuse(&told[..1]).unwrap_err().code, 500);
    }

    #[test]
    fn an_update_concerns_only_if_an_image_is_new() {
        let old = json!({"spec": {"initContainers": [{"image": "i"}], "containers": [{"image": "c"}]}});
        let swapped = json!({"spec": {"initContainers": [{"image": "c"}], "containers": [{"image": "i"}]}});
        let fresh = json!({"spec": {"initContainers": [{"image": "i"}], "containers": [{"image": "new"}]}});
        assert!(!has_new_image(&swapped, &old));
        assert!(has_new_image(&fresh, &old));
    }
}
