//! Validation of resource requirements, and the quality of service that follows from them.

use apimachinery::field::ErrorList;
use apimachinery::quantity::Quantity;
use apimachinery::validation::is_qualified_name;
use serde_json::Value;

use crate::at::At;

const CONTAINER_RESOURCES: [&str; 3] = ["cpu", "memory", "ephemeral-storage"];

/// The name of a resource that a container may ask for.
pub fn container_resource_name(name: &str, at: &At<'_>, errors: &mut ErrorList) {
    errors.invalid_all(&at.path, name, is_qualified_name(name));
    let standard = CONTAINER_RESOURCES.contains(&name) || name.starts_with("hugepages-");
    if !name.contains('/') && !standard {
        errors.invalid(&at.path, name, "must be a standard resource type or fully qualified");
        errors.invalid(&at.path, name, "must be a standard resource for containers");
    }
}

/// Extended resources, and huge pages, come in whole numbers and cannot be overcommitted.
fn is_whole(name: &str) -> bool {
    name.contains('/') && !name.contains("kubernetes.io/")
}

pub fn validate(resources: &At<'_>, errors: &mut ErrorList) {
    let (limits, requests) = (resources.at("limits"), resources.at("requests"));
    for (name, at) in limits.entries().into_iter().chain(requests.entries()) {
        container_resource_name(name, &at, errors);
        amount(name, &at, errors);
    }
    for (name, at) in requests.entries() {
        compare(name, &at, &limits, &requests, errors);
    }
}

fn amount(name: &str, at: &At<'_>, errors: &mut ErrorList) {
    let quantity = Quantity::of(at.value);
    if quantity.is_negative() {
        at.invalid(errors, "must be greater than or equal to 0");
    }
    if is_whole(name) && !quantity.is_integer() {
        at.invalid(errors, "must be an integer");
    }
}

fn compare(name: &str, request: &At<'_>, limits: &At<'_>, requests: &At<'_>, errors: &mut ErrorList) {
    let limit = limits.at(name);
    let (wanted, allowed) = (Quantity::of(request.value), Quantity::of(limit.value));
    if limit.present() {
        if is_whole(name) && wanted != allowed {
            errors.invalid(
                &requests.path,
                request.value.clone(),
                format!("must be equal to {name} limit of {allowed}"),
            );
        } else if wanted > allowed {
            let detail = format!("must be less than or equal to {name} limit of {allowed}");
            errors.invalid(&requests.path, request.value.clone(), detail);
        }
    } else if is_whole(name) {
        errors.required(&limits.path, "Limit must be set for non overcommitable resources");
    }
}

/// A reference to a resource of a container; a volume must name the container.
pub fn field_reference(reference: &At<'_>, in_volume: bool, errors: &mut ErrorList) {
    if in_volume && reference.at("containerName").empty() {
        errors.required(&reference.path.child("containerName"), "");
    }
    let resource = reference.at("resource");
    let names = [
        "limits.cpu",
        "limits.ephemeral-storage",
        "limits.memory",
        "requests.cpu",
        "requests.ephemeral-storage",
        "requests.memory",
    ];
    let huge = ["limits.hugepages-", "requests.hugepages-"].iter().any(|prefix| resource.text().starts_with(prefix));
    if resource.required(errors, "") && !huge {
        resource.one_of(errors, &names);
    }
}

/// `Guaranteed`, `Burstable` or `BestEffort`.
pub fn qos_class(spec: &Value) -> &'static str {
    let lists = ["containers", "initContainers"];
    let containers = lists.iter().flat_map(|list| spec[*list].as_array().into_iter().flatten());
    let (mut any, mut guaranteed) = (false, true);
    for container in containers {
        for name in ["cpu", "memory"] {
            let (request, limit) = (
                Quantity::of(&container["resources"]["requests"][name]),
                Quantity::of(&container["resources"]["limits"][name]),
            );
            any |= !request.is_zero() || !limit.is_zero();
            guaranteed &= !limit.is_zero() && request == limit;
        }
    }
    match (any, guaranteed) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}
