//! Validation of resource requirements, and the quality of service that follows from them.

use apimachinery::field::{ErrorList, FieldError};
use apimachinery::quantity::Quantity;
use apimachinery::validation::is_qualified_name;
use serde_json::Value;

use crate::at::At;

const CONTAINER_RESOURCES: [&str; 3] = ["cpu", "memory", "ephemeral-storage"];

/// Names that have a meaning without a domain, if only for quota.
const STANDARD_RESOURCES: [&str; 20] = [
    "cpu",
    "memory",
    "ephemeral-storage",
    "requests.cpu",
    "requests.memory",
    "requests.ephemeral-storage",
    "limits.cpu",
    "limits.memory",
    "limits.ephemeral-storage",
    "pods",
    "resourcequotas",
    "services",
    "replicationcontrollers",
    "secrets",
    "configmaps",
    "persistentvolumeclaims",
    "storage",
    "requests.storage",
    "services.nodeports",
    "services.loadbalancers",
];

const HUGE_PAGES: &str = "hugepages-";

/// The name of a resource that a container may ask for.
pub fn container_resource_name(name: &str, at: &At<'_>, errors: &mut ErrorList) {
    let wrong = is_qualified_name(name);
    let huge = name.starts_with(HUGE_PAGES);
    if wrong.is_empty() && !name.contains('/') && !huge && !STANDARD_RESOURCES.contains(&name) {
        errors.invalid(&at.path, name, "must be a standard resource type or fully qualified");
    }
    errors.invalid_all(&at.path, name, wrong);
    if !name.contains('/') && !huge && !CONTAINER_RESOURCES.contains(&name) {
        errors.invalid(&at.path, name, "must be a standard resource for containers");
    } else if name.contains('/') && !is_native(name) && !is_extended(name) {
        errors.invalid(&at.path, name, "doesn't follow extended resource name standard");
    }
}

fn is_native(name: &str) -> bool {
    !name.contains('/') || name.contains("kubernetes.io/")
}

/// A resource of somebody else, whose name fits a quota too.
pub fn is_extended(name: &str) -> bool {
    !is_native(name) && !name.starts_with("requests.") && is_qualified_name(&format!("requests.{name}")).is_empty()
}

/// Extended resources and huge pages cannot be overcommitted.
fn is_exact(name: &str) -> bool {
    !is_native(name) || name.starts_with(HUGE_PAGES)
}

pub fn validate(resources: &At<'_>, errors: &mut ErrorList) {
    let (limits, requests) = (resources.at("limits"), resources.at("requests"));
    let all: Vec<(&str, At<'_>)> = limits.entries().into_iter().chain(requests.entries()).collect();
    for (name, at) in &all {
        container_resource_name(name, at, errors);
        amount(name, at, errors);
    }
    for (name, at) in requests.entries() {
        compare(name, &at, &limits, &requests, errors);
    }
    let computes = all.iter().any(|(name, _)| ["cpu", "memory"].contains(name));
    if !computes && all.iter().any(|(name, _)| name.starts_with(HUGE_PAGES)) {
        errors.forbidden(&resources.path, "HugePages require cpu or memory");
    }
}

/// What a pod needs beside its containers.
pub fn overhead(overhead: &At<'_>, errors: &mut ErrorList) {
    for (name, at) in overhead.entries() {
        container_resource_name(name, &at, errors);
        amount(name, &at, errors);
    }
}

/// Claims of the pod that a container uses.
pub fn claims(claims: &At<'_>, known: &[&str], errors: &mut ErrorList) {
    let mut seen = Vec::new();
    for claim in claims.items() {
        let (name, request) = (claim.at("name").text(), claim.at("request").text());
        if name.is_empty() {
            errors.required(&claim.path, "");
            continue;
        }
        let again = |(other, part): &(&str, &str)| *other == name && (*part == request || part.is_empty());
        if seen.iter().any(again) {
            errors.duplicate(&claim.path, name);
        }
        seen.push((name, request));
        if !known.contains(&name) {
            errors.push(FieldError::not_found(&claim.path, name));
        }
    }
}

fn amount(name: &str, at: &At<'_>, errors: &mut ErrorList) {
    let quantity = Quantity::of(at.value);
    if quantity.is_negative() {
        at.invalid(errors, "must be greater than or equal to 0");
    }
    if is_extended(name) && !quantity.is_integer() {
        at.invalid(errors, "must be an integer");
    }
    let page = name.strip_prefix(HUGE_PAGES).and_then(|size| size.parse::<Quantity>().ok());
    if let Some(page) = page.filter(|page| quantity.value().checked_rem(page.value()) != Some(0)) {
        at.invalid(errors, &format!("{quantity} is not positive integer multiple of {page}"));
    }
}

fn compare(name: &str, request: &At<'_>, limits: &At<'_>, requests: &At<'_>, errors: &mut ErrorList) {
    let limit = limits.at(name);
    let (wanted, allowed) = (Quantity::of(request.value), Quantity::of(limit.value));
    if !limit.present() {
        if is_exact(name) {
            errors.required(&limits.path, "Limit must be set for non overcommitable resources");
        }
    } else if is_exact(name) && wanted != allowed {
        let detail = format!("must be equal to {name} limit of {allowed}");
        errors.invalid(&requests.path, request.value.clone(), detail);
    } else if wanted > allowed {
        let detail = format!("must be less than or equal to {name} limit of {allowed}");
        errors.invalid(&requests.path, request.value.clone(), detail);
    }
}

const REFERABLE: [&str; 6] = [
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
];

/// A reference to a resource of a container; a volume must name the container.
pub fn field_reference(reference: &At<'_>, in_volume: bool, errors: &mut ErrorList) {
    let (container, resource) = (reference.at("containerName"), reference.at("resource"));
    let huge = ["limits.hugepages-", "requests.hugepages-"].iter().any(|prefix| resource.text().starts_with(prefix));
    if in_volume && container.empty() {
        errors.required(&container.path, "");
    } else if resource.required(errors, "") && !huge {
        resource.one_of(errors, &REFERABLE);
    }
    divisor(&reference.at("divisor"), resource.text(), huge, errors);
}

/// In which unit the resource is told.
fn divisor(divisor: &At<'_>, resource: &str, huge: bool, errors: &mut ErrorList) {
    const BYTES: [&str; 13] = ["1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei"];
    let Some(quantity) = divisor.quantity().filter(|quantity| !quantity.is_zero()) else { return };
    let (units, shown): (&[&str], &str) = match resource.split_once('.').map(|(_, name)| name) {
        Some("cpu") => (&["1m", "1"], "cpu"),
        Some("memory") => (&BYTES, "memory"),
        Some("ephemeral-storage") => (&BYTES, "local ephemeral storage"),
        _ if huge => (&BYTES, "hugepages"),
        _ => return,
    };
    if !units.contains(&quantity.to_string().as_str()) {
        let listed = if shown == "cpu" { "1m and 1".to_owned() } else { units.join(", ") };
        let detail = format!("only divisor's values {listed} are supported with the {shown} resource");
        errors.invalid(&divisor.path, resource, detail);
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
