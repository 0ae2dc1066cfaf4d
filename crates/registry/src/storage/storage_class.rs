//! StorageClasses.

use std::collections::{BTreeMap, BTreeSet};

use apimachinery::field::ErrorList;
use apimachinery::table;
use apimachinery::validation::is_qualified_name;
use serde_json::Value;

use super::parameters;
use crate::at::At;
use crate::cells::{or, text};
use crate::defaults::set_pointer;
use crate::pod_spec::old_node_label;
use crate::strategy::{Column, Strategy};

pub struct StorageClass;

const DEFAULT_CLASS: [&str; 2] = [
    "/metadata/annotations/storageclass.kubernetes.io~1is-default-class",
    "/metadata/annotations/storageclass.beta.kubernetes.io~1is-default-class",
];

impl Strategy for StorageClass {
    fn default(&self, class: &mut Value) {
        set_pointer(class, "reclaimPolicy", "Delete");
        set_pointer(class, "volumeBindingMode", "Immediate");
    }

    fn warnings(&self, new: &Value, _old: Option<&Value>) -> Vec<String> {
        let topologies = At::root(new).at("allowedTopologies").items();
        let keys = topologies.iter().flat_map(|topology| topology.at("matchLabelExpressions").items());
        let keys = keys.map(|expression| expression.at("key"));
        keys.filter_map(|key| Some(format!("{}: {}", key.path, old_node_label(key.text())?))).collect()
    }

    fn validate(&self, class: &Value) -> ErrorList {
        let mut errors = ErrorList::new();
        let root = At::root(class);
        parameters::provisioner(&root.at("provisioner"), &mut errors);
        parameters::validate(&root.at("parameters"), &mut errors);
        if !root.at("reclaimPolicy").empty() {
            root.at("reclaimPolicy").one_of(&mut errors, &["Delete", "Retain"]);
        }
        root.at("volumeBindingMode").present_one_of(&mut errors, &["Immediate", "WaitForFirstConsumer"]);
        topologies(&root.at("allowedTopologies"), &mut errors);
        errors
    }

    fn validate_update(&self, new: &Value, old: &Value) -> ErrorList {
        let mut errors = self.validate(new);
        for field in ["parameters", "provisioner", "reclaimPolicy", "volumeBindingMode"] {
            At::root(new).at(field).immutable(&mut errors, &old[field]);
        }
        errors
    }

    fn columns(&self) -> &[Column] {
        const {
            &[
                Column::NAME,
                Column::text("Provisioner"),
                Column::text("ReclaimPolicy"),
                Column::text("VolumeBindingMode"),
                Column::text("AllowVolumeExpansion"),
                Column::AGE,
            ]
        }
    }

    fn row(&self, class: &Value, now: i64) -> Vec<Value> {
        let default = DEFAULT_CLASS.iter().any(|pointer| text(class, pointer) == "true");
        let shown = format!("{}{}", text(class, "/metadata/name"), if default { " (default)" } else { "" });
        vec![
            shown.into(),
            text(class, "/provisioner").into(),
            or(text(class, "/reclaimPolicy"), "Delete").into(),
            or(text(class, "/volumeBindingMode"), "Immediate").into(),
            (class["allowVolumeExpansion"] == true).into(),
            table::age(class, now),
        ]
    }
}

/// Where volumes may be: no two terms may say the same.
fn topologies(terms: &At<'_>, errors: &mut ErrorList) {
    let all = terms.items();
    // Upstream compares with as many empty terms as there are terms, and says so once for each.
    let mut seen: Vec<BTreeMap<&str, BTreeSet<&str>>> = vec![BTreeMap::new(); all.len()];
    for term in &all {
        let found = topology_term(term, errors);
        let same = seen.iter().filter(|before| **before == found).count();
        (0..same).for_each(|_| errors.duplicate(&term.path.child("matchLabelExpressions"), ""));
        seen.push(found);
    }
}

fn topology_term<'a>(term: &At<'a>, errors: &mut ErrorList) -> BTreeMap<&'a str, BTreeSet<&'a str>> {
    let mut by_key = BTreeMap::new();
    for requirement in term.at("matchLabelExpressions").items() {
        let (key, values) = (requirement.at("key"), requirement.at("values"));
        values.required(errors, "");
        let mut distinct = BTreeSet::new();
        for value in values.items() {
            if !distinct.insert(value.text()) {
                errors.duplicate(&value.path, value.text());
            }
        }
        key.follows(errors, is_qualified_name);
        if by_key.insert(key.text(), distinct).is_some() {
            errors.duplicate(&key.path, key.text());
        }
    }
    by_key
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn causes(errors: &ErrorList) -> Vec<String> {
        errors.iter().map(|error| format!("{} {}", error.kind.reason(), error.field)).collect()
    }

    #[test]
    fn what_a_class_says_is_judged() {
        let class = json!({"provisioner": "a b", "parameters": {"": "x"}, "reclaimPolicy": "Recycle",
            "volumeBindingMode": "Soon", "allowedTopologies": [
                {"matchLabelExpressions": [{"key": "zone", "values": ["a", "a"]}, {"key": "zone", "values": []}]},
                {"matchLabelExpressions": [{"key": "zone", "values": []}]}]});
        let expected = [
            "FieldValueInvalid provisioner",
            "FieldValueInvalid parameters",
            "FieldValueNotSupported reclaimPolicy",
            "FieldValueNotSupported volumeBindingMode",
            "FieldValueDuplicate allowedTopologies[0].matchLabelExpressions[0].values[1]",
            "FieldValueRequired allowedTopologies[0].matchLabelExpressions[1].values",
            "FieldValueDuplicate allowedTopologies[0].matchLabelExpressions[1].key",
            "FieldValueRequired allowedTopologies[1].matchLabelExpressions[0].values",
            "FieldValueDuplicate allowedTopologies[1].matchLabelExpressions",
        ];
        assert_eq!(causes(&StorageClass.validate(&class)), expected);
    }

    #[test]
    fn a_class_keeps_how_volumes_are_made() {
        let old = json!({"provisioner": "a", "volumeBindingMode": "Immediate", "reclaimPolicy": "Delete"});
        let new = json!({"provisioner": "b", "volumeBindingMode": "Immediate", "reclaimPolicy": "Retain",
            "parameters": {"a": "b"}});
        let expected =
            ["FieldValueInvalid parameters", "FieldValueInvalid provisioner", "FieldValueInvalid reclaimPolicy"];
        assert_eq!(causes(&StorageClass.validate_update(&new, &old)), expected);
    }
}
