//! FlowSchemas and PriorityLevelConfigurations.

use apimachinery::field::ErrorList;
use apimachinery::table;
use serde_json::Value;

use crate::at::At;
use crate::cells::{int, name, or, text};
use crate::defaults::{object, present, set, set_nonzero};
use crate::strategy::{Column, Strategy};

pub struct FlowSchema;
pub struct PriorityLevelConfiguration;

impl Strategy for FlowSchema {
    fn reset_fields(&self, subresource: &str) -> &'static [&'static str] {
        match subresource {
            "" => &["status"],
            "status" => &["metadata", "spec"],
            _ => &[],
        }
    }

    fn default(&self, schema: &mut Value) {
        if let Some(spec) = object(schema, "spec") {
            set_nonzero(spec, "matchingPrecedence", 1000);
        }
    }

    fn validate(&self, schema: &Value) -> ErrorList {
        let mut errors = ErrorList::new();
        let spec = At::root(schema).at("spec");
        spec.at("matchingPrecedence").in_range(&mut errors, 1, 10_000);
        spec.to("priorityLevelConfiguration.name").required(&mut errors, "must reference a priority level");
        let method = spec.to("distinguisherMethod.type");
        if spec.at("distinguisherMethod").present() {
            method.one_of(&mut errors, &["ByNamespace", "ByUser"]);
        }
        for rule in spec.at("rules").items() {
            rule.at("subjects").required(&mut errors, "subjects must contain at least one value");
            rule.at("subjects").items().iter().for_each(|found| subject(found, &mut errors));
            rule.at("resourceRules").items().iter().for_each(|found| resource_rule(found, &mut errors));
            if rule.at("resourceRules").empty() && rule.at("nonResourceRules").empty() {
                errors.required(&rule.path, "at least one of resourceRules and nonResourceRules has to be non-empty");
            }
        }
        errors
    }

    fn has_generation(&self) -> bool {
        true
    }

    fn columns(&self) -> &[Column] {
        const {
            &[
                Column::NAME,
                Column::text("PriorityLevel"),
                Column::text("MatchingPrecedence"),
                Column::text("DistinguisherMethod"),
                Column::AGE,
                Column::text("MissingPL"),
            ]
        }
    }

    fn row(&self, schema: &Value, now: i64) -> Vec<Value> {
        let conditions = crate::cells::list(schema, "/status/conditions");
        let dangling = conditions.iter().find(|condition| condition["type"] == "Dangling");
        vec![
            name(schema),
            text(schema, "/spec/priorityLevelConfiguration/name").into(),
            int(schema, "/spec/matchingPrecedence").into(),
            or(text(schema, "/spec/distinguisherMethod/type"), "<none>").into(),
            table::age(schema, now),
            dangling.map_or("?", |condition| text(condition, "/status")).into(),
        ]
    }
}

fn subject(subject: &At<'_>, errors: &mut ErrorList) {
    let kind = subject.at("kind");
    let field = match kind.text() {
        "User" => "user",
        "Group" => "group",
        "ServiceAccount" => "serviceAccount",
        other => return errors.not_supported(&kind.path, other, &["Group", "ServiceAccount", "User"]),
    };
    if !subject.at(field).present() {
        errors.required(
            &subject.path.child(field),
            &format!("{field} is required when subject kind is '{}'", kind.text()),
        );
    }
}

fn resource_rule(rule: &At<'_>, errors: &mut ErrorList) {
    for field in ["verbs", "apiGroups", "resources"] {
        rule.at(field).required(errors, "");
    }
    if rule.at("namespaces").empty() && !rule.at("clusterScope").is_true() {
        let detail = "resource rules that are not cluster scoped must supply at least one namespace";
        errors.required(&rule.path.child("namespaces"), detail);
    }
}

impl Strategy for PriorityLevelConfiguration {
    fn reset_fields(&self, subresource: &str) -> &'static [&'static str] {
        match subresource {
            "" => &["status"],
            "status" => &["metadata", "spec"],
            _ => &[],
        }
    }

    fn default(&self, level: &mut Value) {
        let Some(spec) = object(level, "spec") else { return };
        if let Some(exempt) = present(spec, "exempt") {
            set(exempt, "nominalConcurrencyShares", 0);
            set(exempt, "lendablePercent", 0);
        }
        let Some(limited) = present(spec, "limited") else { return };
        set(limited, "nominalConcurrencyShares", 30);
        set(limited, "lendablePercent", 0);
        if let Some(queuing) = present(limited, "limitResponse").and_then(|response| present(response, "queuing")) {
            set_nonzero(queuing, "queues", 64);
            set_nonzero(queuing, "handSize", 8);
            set_nonzero(queuing, "queueLengthLimit", 50);
        }
    }

    fn validate(&self, level: &Value) -> ErrorList {
        let mut errors = ErrorList::new();
        let spec = At::root(level).at("spec");
        let kind = spec.at("type");
        kind.one_of(&mut errors, &["Exempt", "Limited"]);
        if kind.text() == "Limited" && !spec.at("limited").present() {
            errors.required(&spec.path.child("limited"), "must not be empty when type is Limited");
        }
        let queuing = spec.to("limited.limitResponse.queuing");
        let (hand, queues) = (queuing.at("handSize"), queuing.at("queues"));
        if hand.int().zip(queues.int()).is_some_and(|(hand, queues)| hand > queues) {
            hand.invalid(&mut errors, "should not be greater than queues");
        }
        errors
    }

    fn has_generation(&self) -> bool {
        true
    }

    fn columns(&self) -> &[Column] {
        const {
            &[
                Column::NAME,
                Column::text("Type"),
                Column::text("NominalConcurrencyShares"),
                Column::text("Queues"),
                Column::text("HandSize"),
                Column::text("QueueLengthLimit"),
                Column::AGE,
            ]
        }
    }

    fn row(&self, level: &Value, now: i64) -> Vec<Value> {
        let cell = |pointer: &str| level.pointer(pointer).filter(|v| !v.is_null()).cloned().unwrap_or("<none>".into());
        let queuing = |field: &str| cell(&format!("/spec/limited/limitResponse/queuing/{field}"));
        vec![
            name(level),
            text(level, "/spec/type").into(),
            cell("/spec/limited/nominalConcurrencyShares"),
            queuing("queues"),
            queuing("handSize"),
            queuing("queueLengthLimit"),
            table::age(level, now),
        ]
    }
}
