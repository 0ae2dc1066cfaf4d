//! Validation that claims, classes and slices share.

use apimachinery::field::{ErrorList, FieldError};
use apimachinery::validation::{
    is_dns1123_label, is_dns1123_subdomain, is_label_value, is_qualified_name, regex_error,
};
use serde_json::Value;

use crate::at::{At, duplicates};
use crate::cel::{self, Environment, Expected, Scope};
pub use crate::pod_spec::driver_name;

pub const CONFIGS_MAX: usize = 32;
pub const SELECTORS_MAX: usize = 32;
const EXPRESSION_MAX: usize = 10 * 1024;
const PARAMETERS_MAX: usize = 10 * 1024;
const POOL_NAME_MAX: usize = 253;
const ID_MAX: usize = 32;
const UID_LENGTH: usize = 36;
const BINDING_CONDITIONS_MAX: usize = 4;

/// The items, unless there are too many: then nothing else is said of them.
pub fn at_most<'a>(list: &At<'a>, max: usize, errors: &mut ErrorList) -> Vec<At<'a>> {
    let items = list.items();
    if items.len() > max {
        errors.push(FieldError::too_many(&list.path, items.len(), max));
        return Vec::new();
    }
    items
}

/// A duplicate, at the item, for each key that came before.
pub fn unique<'a, K: PartialEq + Into<Value> + Clone>(
    items: &[At<'a>],
    key: impl Fn(&At<'a>) -> K,
    errors: &mut ErrorList,
) {
    let keys: Vec<K> = items.iter().map(key).collect();
    for (index, item) in items.iter().enumerate().filter(|(index, _)| keys[..*index].contains(&keys[*index])) {
        errors.duplicate(&item.path, keys[index].clone());
    }
}

pub fn pool_name(name: &At<'_>, errors: &mut ErrorList) {
    if !name.required(errors, "") {
        return;
    }
    if name.text().len() > POOL_NAME_MAX {
        errors.push(FieldError::too_long(&name.path, POOL_NAME_MAX));
    }
    for part in name.text().split('/') {
        errors.invalid_all(&name.path, part, is_dns1123_subdomain(part));
    }
}

pub fn label(name: &At<'_>, errors: &mut ErrorList) {
    name.follows(errors, is_dns1123_label);
}

/// Selectors of classes and requests; `stored` ones were judged before.
pub fn selectors(selectors: &At<'_>, stored: bool, errors: &mut ErrorList) {
    for selector in at_most(selectors, SELECTORS_MAX, errors) {
        let cel = selector.at("cel");
        if !cel.present() {
            errors.required(&cel.path, "");
            continue;
        }
        let expression = cel.at("expression");
        if stored {
            continue;
        }
        if expression.text().len() > EXPRESSION_MAX {
            errors.push(FieldError::too_long(&expression.path, EXPRESSION_MAX));
        } else {
            let environment = Environment { expected: Expected::Bool, scope: Scope::Device, stored: false };
            cel::check(&expression, &environment, errors);
        }
    }
}

/// What is handed to a driver.
pub fn configuration(config: &At<'_>, stored: bool, errors: &mut ErrorList) {
    let opaque = config.at("opaque");
    if !opaque.present() {
        return errors.required(&opaque.path, "");
    }
    driver_name(&opaque.at("driver"), errors);
    raw(&opaque.at("parameters"), stored, PARAMETERS_MAX, errors);
}

/// Any JSON object of limited size.
pub fn raw(raw: &At<'_>, stored: bool, max: usize, errors: &mut ErrorList) {
    if !raw.present() {
        errors.required(&raw.path, "");
    } else if !stored && raw.value.to_string().len() > max {
        errors.push(FieldError::too_long(&raw.path, max));
    } else if !raw.value.is_object() {
        errors.invalid(&raw.path, "<value omitted>", "must be a valid JSON object");
    }
}

pub fn toleration(toleration: &At<'_>, errors: &mut ErrorList) {
    let (key, operator, value) = (toleration.at("key"), toleration.at("operator"), toleration.at("value"));
    if !key.empty() {
        key.follows(errors, is_qualified_name);
    }
    match operator.text() {
        "Exists" if !value.empty() => value.invalid(errors, "must be empty for operator `Exists`"),
        "Exists" => {}
        "Equal" => value.follows(errors, is_label_value),
        "" => errors.required(&operator.path, ""),
        other => errors.not_supported(&operator.path, other, &["Equal", "Exists"]),
    }
    let effect = toleration.at("effect");
    if !effect.empty() {
        effect.one_of(errors, &["NoExecute", "NoSchedule", "None"]);
    }
}

pub fn taint(taint: &At<'_>, errors: &mut ErrorList) {
    taint.at("key").follows(errors, is_qualified_name);
    taint.at("value").follows(errors, is_label_value);
    taint.at("effect").required_one_of(errors, &["NoExecute", "NoSchedule", "None"]);
}

/// Conditions that a driver sets before a pod is bound: both lists or none, and nothing in both.
pub fn binding_conditions(parent: &At<'_>, errors: &mut ErrorList) {
    let (wanted, failures) = (parent.at("bindingConditions"), parent.at("bindingFailureConditions"));
    for list in [&wanted, &failures] {
        at_most(list, BINDING_CONDITIONS_MAX, errors).iter().for_each(|name| name.follows(errors, is_qualified_name));
        duplicates(errors, list.items());
    }
    for failure in failures.items() {
        if wanted.items().iter().any(|one| one.value == failure.value) {
            failure.invalid(errors, "bindingFailureConditions must not overlap with bindingConditions");
        }
    }
    match (wanted.empty(), failures.empty()) {
        (true, false) => wanted.invalid(errors, "bindingConditions are required to use bindingFailureConditions"),
        (false, true) => failures.invalid(errors, "bindingFailureConditions are required to use bindingConditions"),
        _ => {}
    }
}

/// `name` or `domain/name`.
pub fn qualified_name(at: &At<'_>, name: &str, errors: &mut ErrorList) {
    match name.split('/').collect::<Vec<_>>().as_slice() {
        [id] => identifier(at, id, errors),
        [domain, id] => {
            match *domain {
                "" => errors.invalid(&at.path, "", "the domain must not be empty"),
                _ => driver_name(&At { value: &Value::from(*domain), path: at.path.clone() }, errors),
            }
            match *id {
                "" => errors.invalid(&at.path, "", "the name must not be empty"),
                _ => identifier(at, id, errors),
            }
        }
        // Upstream lets more than one slash pass.
        _ => {}
    }
}

/// `domain/name`.
pub fn fully_qualified_name(at: &At<'_>, errors: &mut ErrorList) {
    qualified_name(at, at.text(), errors);
    if !at.text().contains('/') {
        at.invalid(errors, "a fully qualified name must be a domain and a name separated by a slash");
    }
}

fn identifier(at: &At<'_>, id: &str, errors: &mut ErrorList) {
    if id.len() > ID_MAX {
        errors.push(FieldError::too_long(&at.path, ID_MAX));
    }
    let start = id.bytes().next().is_some_and(|byte| byte == b'_' || byte.is_ascii_alphabetic());
    if !start || !id.bytes().all(|byte| byte == b'_' || byte.is_ascii_alphanumeric()) {
        let message = "a valid C identifier must start with alphabetic character or '_', followed by a string of \
                       alphanumeric characters or '_'";
        errors.invalid(&at.path, id, regex_error(message, "[A-Za-z_][A-Za-z0-9_]*", &["my_name", "MY_NAME", "MyName"]));
    }
}

/// The identifier of a share, as it is usually written.
pub fn uid(uid: &At<'_>, errors: &mut ErrorList) {
    let text = uid.text();
    let dashes = [8, 13, 18, 23];
    let fits = |(at, byte): (usize, u8)| match dashes.contains(&at) {
        true => byte == b'-',
        false => byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte),
    };
    if text.len() != UID_LENGTH || !text.bytes().enumerate().all(fits) {
        let detail = "uid must be in RFC 4122 normalized form, `xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx` with lowercase \
                      hexadecimal characters";
        uid.invalid(errors, detail);
    }
}
