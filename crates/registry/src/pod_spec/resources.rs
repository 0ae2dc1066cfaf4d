//! Validation of resource requirements, and the quality of service that follows from them.

use apimachinery::field::{ErrorList, FieldError};
use apimachinery::quantity::Quantity;
use apimachinery::validation::{is_dns1123_label, is_qualified_name};

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

pub const HUGE_PAGES: &str = "hugepages-";

/// Huge pages, as such or in a quota.
fn is_huge(name: &str) -> bool {
    name.strip_prefix("requests.").unwrap_or(name).starts_with(HUGE_PAGES)
}

/// The name of any resource. Whether nothing is wrong with it.
pub fn resource_name(name: &str, at: &At<'_>, errors: &mut ErrorList) -> bool {
    let wrong = is_qualified_name(name);
    let unknown = !name.contains('/') && !is_huge(name) && !STANDARD_RESOURCES.contains(&name);
    if wrong.is_empty() && unknown {
        errors.invalid(&at.path, name, "must be a standard resource type or fully qualified");
    }
    let fits = wrong.is_empty() && !unknown;
    errors.invalid_all(&at.path, name, wrong);
    fits
}

/// The name of a resource that a container may ask for.
pub fn container_resource_name(name: &str, at: &At<'_>, errors: &mut ErrorList) {
    resource_name(name, at, errors);
    if !name.contains('/') {
        if !name.starts_with(HUGE_PAGES) && !CONTAINER_RESOURCES.contains(&name) {
            errors.invalid(&at.path, name, "must be a standard resource for containers");
        }
    } else if !is_native(name) && !is_extended(name) {
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
pub fn is_exact(name: &str) -> bool {
    !is_native(name) || name.starts_with(HUGE_PAGES)
}

pub fn validate(resources: &At<'_>, errors: &mut ErrorList) {
    requirements(resources, container_resource_name, errors);
}

/// Limits and requests, whose names are judged by `name_rule`.
pub fn requirements(resources: &At<'_>, name_rule: impl Fn(&str, &At<'_>, &mut ErrorList), errors: &mut ErrorList) {
    let (limits, requests) = (resources.at("limits"), resources.at("requests"));
    for (name, at) in limits.entries() {
        name_rule(name, &at, errors);
        amount(name, &at, errors);
        huge_pages(name, &at, errors);
    }
    for (name, at) in requests.entries() {
        name_rule(name, &at, errors);
        amount(name, &at, errors);
        compare(name, &at, &limits, &requests, errors);
        huge_pages(name, &at, errors);
    }
    let names: Vec<&str> = limits.entries().iter().chain(&requests.entries()).map(|(name, _)| *name).collect();
    let computes = names.iter().any(|name| ["cpu", "memory"].contains(name));
    if !computes && names.iter().any(|name| name.starts_with(HUGE_PAGES)) {
        errors.forbidden(&resources.path, "HugePages require cpu or memory");
    }
}

/// What a pod needs beside its containers.
/// Judged as limits, and named so.
pub fn overhead(overhead: &At<'_>, errors: &mut ErrorList) {
    let limits = At { value: overhead.value, path: overhead.path.child("limits") };
    for (name, at) in limits.entries() {
        container_resource_name(name, &at, errors);
        amount(name, &at, errors);
        huge_pages(name, &at, errors);
    }
}

/// Claims of the pod that a container uses.
pub fn claims(claims: &At<'_>, known: &[&str], errors: &mut ErrorList) {
    let mut seen: Vec<(&str, &str)> = Vec::new();
    for claim in claims.items() {
        let (name, request) = (claim.at("name").text(), claim.at("request"));
        if name.is_empty() {
            errors.required(&claim.path, "");
            continue;
        }
        let whole = seen.contains(&(name, ""));
        if !whole && !request.empty() {
            request.follows(errors, is_dns1123_label);
        }
        if !whole && !request.empty() && seen.contains(&(name, request.text())) {
            errors.duplicate(&claim.path, format!("{name}/{}", request.text()));
        } else if whole || request.empty() {
            let again = seen.iter().filter(|(other, _)| *other == name).count();
            (0..if whole { 1 } else { again }).for_each(|_| errors.duplicate(&claim.path, name));
        }
        seen.push((name, request.text()));
        if !known.contains(&name) {
            errors.push(unknown_claim(&claim, name, known));
        }
    }
}

fn unknown_claim(claim: &At<'_>, name: &str, known: &[&str]) -> FieldError {
    let mut error = FieldError::not_found(&claim.path, name);
    let mut known = known.to_vec();
    known.sort_unstable();
    let listed = if known.is_empty() { " which is empty".to_owned() } else { format!(": {}", known.join(", ")) };
    error.detail = format!("must be one of the names in pod.spec.resourceClaims{listed}");
    error
}

fn amount(name: &str, at: &At<'_>, errors: &mut ErrorList) {
    let quantity = Quantity::of(at.value);
    if quantity.is_negative() {
        at.invalid(errors, "must be greater than or equal to 0");
    }
    if is_extended(name) && !quantity.is_integer() {
        at.invalid(errors, "must be an integer");
    }
}

fn huge_pages(name: &str, at: &At<'_>, errors: &mut ErrorList) {
    let quantity = Quantity::of(at.value);
    let page = name.strip_prefix(HUGE_PAGES).and_then(|size| size.parse::<Quantity>().ok());
    if page.is_some_and(|page| quantity.value().checked_rem(page.value()) != Some(0)) {
        at.invalid(errors, &format!("{quantity} is not positive integer multiple of {name}"));
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
