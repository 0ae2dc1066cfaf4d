//! The selectors of an access review: their rules, and what of them authorizers are asked about.

use apimachinery::field::{ErrorList, Path};
use apimachinery::validation::label_selector_requirements;
use apimachinery::{fields, labels};
use serde_json::{Value, json};

const OPERATORS: &[&str] = &["In", "NotIn", "Exists", "DoesNotExist"];

/// What could be read. The rest is left out, which asks for more than was meant, never for less.
#[derive(Debug, Default, PartialEq)]
pub struct Selected {
    pub fields: Vec<fields::Requirement>,
    pub labels: Vec<labels::Requirement>,
    /// Says what was left out.
    pub unread: String,
}

/// Operators that are not known yet are no error.
pub fn validate(attributes: &Value, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    if let Some(selector) = attributes.get("fieldSelector").filter(|selector| !selector.is_null()) {
        let path = path.child("fieldSelector");
        errors.append(one_form(selector, &path));
        for (index, requirement) in requirements(selector).iter().enumerate() {
            errors.append(field_requirement(requirement, &path.child("requirements").index(index)));
        }
    }
    if let Some(selector) = attributes.get("labelSelector").filter(|selector| !selector.is_null()) {
        let path = path.child("labelSelector");
        errors.append(one_form(selector, &path));
        let known: Value = requirements(selector).iter().map(with_known_operator).collect();
        errors.append(label_selector_requirements(&known, &path.child("requirements")));
    }
    errors
}

fn requirements(selector: &Value) -> &[Value] {
    selector["requirements"].as_array().map(Vec::as_slice).unwrap_or_default()
}

fn raw(selector: &Value) -> &str {
    selector["rawSelector"].as_str().unwrap_or_default()
}

fn one_form(selector: &Value, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    match (raw(selector), requirements(selector)) {
        ("", []) => {
            let why = format!("when {} is specified, requirements or rawSelector is required", path.as_str());
            errors.required(&path.child("requirements"), &why);
        }
        ("", _) | (_, []) => {}
        (text, _) => {
            errors.invalid(&path.child("rawSelector"), text, "may not specified at the same time as requirements");
        }
    }
    errors
}

fn operator(requirement: &Value) -> &str {
    requirement["operator"].as_str().unwrap_or_default()
}

fn values(requirement: &Value) -> Vec<&str> {
    requirement["values"].as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

fn field_requirement(requirement: &Value, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    if requirement["key"].as_str().unwrap_or_default().is_empty() {
        errors.required(&path.child("key"), "must be specified");
    }
    match (operator(requirement), values(requirement).is_empty()) {
        ("In" | "NotIn", true) => {
            errors.required(&path.child("values"), "must be specified when `operator` is 'In' or 'NotIn'");
        }
        ("Exists" | "DoesNotExist", false) => {
            let why = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
            errors.forbidden(&path.child("values"), why);
        }
        _ => {}
    }
    errors
}

/// The same with an operator under which only key and values can be wrong.
fn with_known_operator(requirement: &Value) -> Value {
    let mut known = requirement.clone();
    if !OPERATORS.contains(&operator(requirement)) {
        known["operator"] = if values(requirement).is_empty() { "Exists" } else { "In" }.into();
    }
    known
}

pub fn read(attributes: &Value) -> Selected {
    let (fields, fields_lost) = read_fields(&attributes["fieldSelector"]);
    let (labels, labels_lost) = read_labels(&attributes["labelSelector"]);
    let lost = [("fieldSelector", fields_lost, fields.is_empty()), ("labelSelector", labels_lost, labels.is_empty())];
    let unread = lost.iter().filter(|(_, lost, _)| *lost).map(|(name, _, all)| {
        let part = if *all { "" } else { "partially " };
        format!("spec.resourceAttributes.{name} {part}ignored due to parse error")
    });
    let unread = unread.collect::<Vec<_>>().join("; ");
    Selected { fields, labels, unread }
}

fn read_fields(selector: &Value) -> (Vec<fields::Requirement>, bool) {
    if requirements(selector).is_empty() {
        let parsed = fields::Selector::parse(raw(selector));
        return (parsed.as_ref().map(|all| all.requirements().to_vec()).unwrap_or_default(), parsed.is_err());
    }
    let read: Vec<_> = requirements(selector).iter().filter_map(read_field).collect();
    let lost = read.len() < requirements(selector).len();
    (read, lost)
}

fn read_field(requirement: &Value) -> Option<fields::Requirement> {
    let [value] = values(requirement)[..] else { return None };
    let equal = match operator(requirement) {
        "In" => true,
        "NotIn" => false,
        _ => return None,
    };
    let field = requirement["key"].as_str().unwrap_or_default().to_string();
    Some(fields::Requirement { field, equal, value: value.to_string() })
}

fn read_labels(selector: &Value) -> (Vec<labels::Requirement>, bool) {
    if requirements(selector).is_empty() {
        let parsed = labels::Selector::parse(raw(selector));
        return (parsed.as_ref().map(|all| all.requirements().to_vec()).unwrap_or_default(), parsed.is_err());
    }
    let one = |requirement: &Value| {
        labels::Selector::from_label_selector(Some(&json!({"matchExpressions": [requirement]}))).ok()
    };
    let parsed: Vec<_> = requirements(selector).iter().filter_map(one).collect();
    let lost = parsed.len() < requirements(selector).len();
    (parsed.iter().flat_map(labels::Selector::requirements).cloned().collect(), lost)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn errors(attributes: &Value) -> Vec<String> {
        let errors = validate(attributes, &Path::new("spec").child("resourceAttributes"));
        errors.iter().map(|error| format!("{}: {}", error.field, error.body())).collect()
    }

    #[test]
    fn a_selector_has_one_form_and_complete_requirements() {
        let both = json!({"fieldSelector": {"rawSelector": "foo", "requirements": [{"key": "a", "operator": "New"}]}});
        assert_eq!(
            errors(&both),
            [
                "spec.resourceAttributes.fieldSelector.rawSelector: Invalid value: \"foo\": may not specified at the same \
              time as requirements"
            ]
        );
        assert_eq!(
            errors(&json!({"labelSelector": {}})),
            ["spec.resourceAttributes.labelSelector.requirements: Required value: when \
              spec.resourceAttributes.labelSelector is specified, requirements or rawSelector is required"]
        );
        let wrong = json!({"fieldSelector": {"requirements": [{"operator": "In"}]}});
        assert_eq!(
            errors(&wrong),
            [
                "spec.resourceAttributes.fieldSelector.requirements[0].key: Required value: must be specified",
                "spec.resourceAttributes.fieldSelector.requirements[0].values: Required value: must be specified when \
                 `operator` is 'In' or 'NotIn'",
            ]
        );
        assert!(errors(&json!({"labelSelector": {"requirements": [{"key": "a", "operator": "New"}]}})).is_empty());
    }

    #[test]
    fn what_cannot_be_read_limits_nothing_and_is_told() {
        let given = json!({
            "fieldSelector": {"requirements": [
                {"key": "spec.nodeName", "operator": "In", "values": ["n"]},
                {"key": "spec.nodeName", "operator": "Exists"},
            ]},
            "labelSelector": {"rawSelector": "a in ("},
        });
        let read = read(&given);
        let node = fields::Requirement { field: "spec.nodeName".into(), equal: true, value: "n".into() };
        assert_eq!((read.fields, read.labels), (vec![node], Vec::new()));
        assert_eq!(
            read.unread,
            "spec.resourceAttributes.fieldSelector partially ignored due to parse error; \
             spec.resourceAttributes.labelSelector ignored due to parse error"
        );
    }
}
