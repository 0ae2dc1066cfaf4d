//! FlowSchemas and PriorityLevelConfigurations.

use apimachinery::field::{ErrorList, Path};
use apimachinery::table;
use serde_json::Value;

use crate::at::At;
use crate::cells::{int, name, or, text};
use crate::defaults::{object, present, set, set_nonzero};
use crate::flow_bootstrap::{self, EXEMPT};
use crate::strategy::{Column, Strategy, keep_all_but_status_and_metadata};

pub struct FlowSchema;
pub struct PriorityLevelConfiguration;

impl Strategy for FlowSchema {
    fn default(&self, schema: &mut Value) {
        if let Some(spec) = object(schema, "spec") {
            set_nonzero(spec, "matchingPrecedence", 1000);
        }
    }

    fn validate(&self, schema: &Value) -> ErrorList {
        let mut errors = ErrorList::new();
        let root = At::root(schema);
        let spec = root.at("spec");
        precedence(name_of(schema), &spec.at("matchingPrecedence"), &mut errors);
        let method = spec.to("distinguisherMethod.type");
        if spec.at("distinguisherMethod").present() && !DISTINGUISHERS.contains(&method.text()) {
            errors.not_supported(&method.path, method.text(), DISTINGUISHERS);
        }
        let level = spec.to("priorityLevelConfiguration.name");
        if level.required(&mut errors, "must reference a priority level") {
            level.follows(&mut errors, apimachinery::validation::is_dns1123_subdomain);
        }
        spec.at("rules").items().iter().for_each(|found| rule(found, &mut errors));
        fixed_spec("flowschemas", schema, &mut errors);
        conditions(&root.to("status.conditions"), &mut errors);
        errors
    }

    fn validate_status_update(&self, new: &Value, _old: &Value) -> ErrorList {
        validate_status(new)
    }

    fn prepare_for_status_update(&self, new: &mut Value, old: &Value) {
        keep_all_but_status(new, old);
    }

    fn reset_fields(&self, subresource: &str) -> &'static [&'static str] {
        reset_fields(subresource)
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

    /// As requests meet them.
    fn order_rows(&self, schemas: &mut [&Value]) {
        schemas.sort_by_key(|schema| (int(schema, "/spec/matchingPrecedence"), text(schema, "/metadata/name")));
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

const DISTINGUISHERS: &[&str] = &["ByNamespace", "ByUser"];
const VERBS: &[&str] = &["create", "delete", "deletecollection", "get", "list", "patch", "proxy", "update", "watch"];

/// Of an old version, whose zero meant something else.
const KEPT_ZERO_SHARES: &str = "flowcontrol.k8s.io/preserve-zero-concurrency-shares";

fn validate_status(object: &Value) -> ErrorList {
    let mut errors = ErrorList::new();
    conditions(&At::root(object).to("status.conditions"), &mut errors);
    errors
}

/// The status endpoint changes nothing of metadata either, but who manages what.
/// Of metadata nothing is written but its owners.
fn keep_all_but_status(new: &mut Value, old: &Value) {
    let owners = new.pointer_mut("/metadata/managedFields").map(Value::take);
    keep_all_but_status_and_metadata(new, old);
    new["metadata"] = old["metadata"].clone();
    if let (Some(owners), Some(metadata)) = (owners, new["metadata"].as_object_mut()) {
        metadata.insert("managedFields".into(), owners);
    }
}

fn reset_fields(subresource: &str) -> &'static [&'static str] {
    match subresource {
        "" => &["status"],
        "status" => &["metadata", "spec"],
        _ => &[],
    }
}

fn name_of(object: &Value) -> &str {
    apimachinery::object::name(object)
}

fn precedence(name: &str, precedence: &At<'_>, errors: &mut ErrorList) {
    match precedence.int().unwrap_or(0) {
        ..1 => precedence.invalid(errors, "must be a positive value"),
        1 if name != EXEMPT => {
            precedence.invalid(errors, "only the schema named 'exempt' may have matchingPrecedence 1");
        }
        10_001.. => precedence.invalid(errors, "must not be greater than 10000"),
        _ => {}
    }
}

/// A mandatory object has the values that the server brings, and no others.
fn fixed_spec(resource: &str, object: &Value, errors: &mut ErrorList) {
    let name = name_of(object);
    let Some(fixed) = flow_bootstrap::mandatory_spec(resource, name) else { return };
    let mut own = object.get("spec").cloned().unwrap_or_default();
    let mut detail = format!("spec of '{name}' must equal the fixed value");
    if fixed.get("exempt").is_some() {
        detail = format!("spec of '{name}' except the 'spec.exempt' field must equal the fixed value");
        own["exempt"] = fixed["exempt"].clone();
    }
    if compact(&own) != compact(&fixed) {
        errors.invalid(&Path::new("spec"), own, detail);
    }
}

/// Without what means nothing: nulls, empty lists, false.
fn compact(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let kept = map.iter().map(|(key, value)| (key.clone(), compact(value)));
            Value::Object(kept.filter(|(_, value)| !means_nothing(value)).collect())
        }
        Value::Array(list) => list.iter().map(compact).collect(),
        other => other.clone(),
    }
}

fn means_nothing(value: &Value) -> bool {
    value.is_null() || *value == false || value.as_array().is_some_and(Vec::is_empty)
}

fn conditions(conditions: &At<'_>, errors: &mut ErrorList) {
    let mut seen: Vec<&str> = Vec::new();
    for condition in conditions.items() {
        let kind = condition.at("type");
        if seen.contains(&kind.text()) {
            errors.duplicate(&kind.path, kind.text());
        }
        seen.push(kind.text());
        kind.required(errors, "");
    }
}

fn rule(rule: &At<'_>, errors: &mut ErrorList) {
    rule.at("subjects").required(errors, "subjects must contain at least one value");
    rule.at("subjects").items().iter().for_each(|found| subject(found, errors));
    if rule.at("resourceRules").empty() && rule.at("nonResourceRules").empty() {
        errors.required(&rule.path, "at least one of resourceRules and nonResourceRules has to be non-empty");
    }
    rule.at("resourceRules").items().iter().for_each(|found| resource_rule(found, errors));
    rule.at("nonResourceRules").items().iter().for_each(|found| path_rule(found, errors));
}

const SUBJECTS: &[(&str, &str)] = &[("ServiceAccount", "serviceAccount"), ("User", "user"), ("Group", "group")];

fn subject(subject: &At<'_>, errors: &mut ErrorList) {
    let kind = subject.at("kind");
    let Some((kind, field)) = SUBJECTS.iter().find(|(own, _)| *own == kind.text()) else {
        return errors.not_supported(&kind.path, kind.text(), &["Group", "ServiceAccount", "User"]);
    };
    let named = subject.at(field);
    if !named.present() {
        errors.required(&named.path, &format!("{field} is required when subject kind is '{kind}'"));
    } else if named.at("name").required(errors, "") && *kind == "ServiceAccount" && named.at("name").text() != "*" {
        named.at("name").follows(errors, apimachinery::validation::is_dns1123_subdomain);
    }
    if *kind == "ServiceAccount" && named.present() {
        let namespace = named.at("namespace");
        if namespace.required(errors, "must specify namespace for service account") {
            namespace.follows(errors, apimachinery::validation::is_dns1123_label);
        }
    }
    for (other, field) in SUBJECTS.iter().filter(|(other, _)| other != kind) {
        if subject.at(field).present() {
            let detail = format!("{field} is forbidden when subject kind is not '{other}'");
            errors.forbidden(&subject.path.child(field), detail);
        }
    }
}

fn has_star(list: &At<'_>) -> bool {
    list.items().iter().any(|item| item.text() == "*")
}

/// Neither empty, nor a star beside others; true when its members are to be judged one by one.
fn starred_or_listed(list: &At<'_>, missing: &str, others: &str, errors: &mut ErrorList) -> bool {
    if !list.required(errors, missing) {
        return false;
    }
    if has_star(list) && list.items().len() > 1 {
        list.invalid(errors, &format!("if '*' is present, must not specify other {others}"));
    }
    !has_star(list)
}

fn verbs(verbs: &At<'_>, errors: &mut ErrorList) {
    let listed = starred_or_listed(verbs, "verbs must contain at least one value", "verbs", errors);
    if listed && verbs.items().iter().any(|verb| !VERBS.contains(&verb.text())) {
        errors.not_supported(&verbs.path, verbs.value.clone(), VERBS);
    }
}

fn resource_rule(rule: &At<'_>, errors: &mut ErrorList) {
    verbs(&rule.at("verbs"), errors);
    let groups = "resource rules must supply at least one api group";
    starred_or_listed(&rule.at("apiGroups"), groups, "api groups", errors);
    let resources = "resource rules must supply at least one resource";
    starred_or_listed(&rule.at("resources"), resources, "resources", errors);
    let namespaces = rule.at("namespaces");
    if namespaces.empty() && rule.at("clusterScope").is_true() {
        return;
    }
    let missing = "resource rules that are not cluster scoped must supply at least one namespace";
    if starred_or_listed(&namespaces, missing, "namespaces", errors) {
        for namespace in namespaces.items() {
            namespace.follows(errors, |text| {
                let found = apimachinery::validation::is_dns1123_label(text);
                found
                    .into_iter()
                    .map(|why| format!("each member of this list must be '*' or a DNS-1123 label; {why}"))
                    .collect()
            });
        }
    }
}

fn path_rule(rule: &At<'_>, errors: &mut ErrorList) {
    verbs(&rule.at("verbs"), errors);
    let urls = rule.at("nonResourceURLs");
    let missing = "nonResourceURLs must contain at least one value";
    if starred_or_listed(&urls, missing, "non-resource URLs", errors) {
        for url in urls.items() {
            if let Some(why) = wrong_path(url.text()) {
                url.invalid(errors, why);
            }
        }
    }
}

fn wrong_path(path: &str) -> Option<&'static str> {
    let stars = path.matches('*').count();
    match path {
        "" => Some("must not be empty"),
        "/" => None,
        _ if !path.starts_with('/') => Some("must start with slash"),
        _ if path.contains(' ') => Some("must not contain white-space"),
        _ if path.contains("//") => Some("must not contain double slash"),
        _ if stars > 1 || (stars == 1 && !path.ends_with("/*")) => Some("wildcard can only do suffix matching"),
        _ => None,
    }
}

impl Strategy for PriorityLevelConfiguration {
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
        let root = At::root(level);
        if level.pointer("/metadata/annotations").is_some_and(|all| all.get(KEPT_ZERO_SHARES).is_some()) {
            let detail = format!("annotation '{KEPT_ZERO_SHARES}' is forbidden");
            errors.forbidden(&Path::new("metadata.annotations"), detail);
        }
        let spec = root.at("spec");
        let kind = spec.at("type");
        if (name_of(level) == EXEMPT) != (kind.text() == "Exempt") {
            kind.invalid(&mut errors, "must be 'Exempt' if and only if `name` is 'exempt'");
        }
        union(&spec, &mut errors);
        fixed_spec("prioritylevelconfigurations", level, &mut errors);
        conditions(&root.to("status.conditions"), &mut errors);
        errors
    }

    fn validate_status_update(&self, new: &Value, _old: &Value) -> ErrorList {
        validate_status(new)
    }

    fn prepare_for_status_update(&self, new: &mut Value, old: &Value) {
        keep_all_but_status(new, old);
    }

    fn reset_fields(&self, subresource: &str) -> &'static [&'static str] {
        reset_fields(subresource)
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

fn union(spec: &At<'_>, errors: &mut ErrorList) {
    let (kind, exempt, limited) = (spec.at("type"), spec.at("exempt"), spec.at("limited"));
    match kind.text() {
        "Exempt" => {
            if limited.present() {
                errors.forbidden(&limited.path, "must be nil if the type is not Limited");
            }
            shares(&exempt, errors);
            lendable(&exempt, errors);
        }
        "Limited" => {
            if exempt.present() {
                errors.forbidden(&exempt.path, "must be nil if the type is Limited");
            }
            limited_level(&limited, errors);
        }
        other => errors.not_supported(&kind.path, other, &["Exempt", "Limited"]),
    }
}

fn limited_level(level: &At<'_>, errors: &mut ErrorList) {
    if !level.present() {
        return errors.required(&level.path, "must not be empty when type is Limited");
    }
    shares(level, errors);
    limit_response(&level.at("limitResponse"), errors);
    lendable(level, errors);
    let borrowing = level.at("borrowingLimitPercent");
    if borrowing.int().is_some_and(|percent| percent < 0) {
        borrowing.invalid(errors, "if specified, must be a non-negative integer");
    }
}

fn shares(level: &At<'_>, errors: &mut ErrorList) {
    let shares = level.at("nominalConcurrencyShares");
    if shares.int().is_some_and(|shares| shares < 0) {
        shares.invalid(errors, "must be a non-negative integer");
    }
}

fn lendable(level: &At<'_>, errors: &mut ErrorList) {
    let lendable = level.at("lendablePercent");
    if lendable.int().is_some_and(|percent| !(0..=100).contains(&percent)) {
        lendable.invalid(errors, "must be between 0 and 100, inclusive");
    }
}

fn limit_response(response: &At<'_>, errors: &mut ErrorList) {
    let (kind, queuing) = (response.at("type"), response.at("queuing"));
    match kind.text() {
        "Reject" if queuing.present() => {
            errors.forbidden(&queuing.path, "must be nil if limited.limitResponse.type is not Limited");
        }
        "Reject" => {}
        "Queue" if queuing.present() => queues(&queuing, errors),
        "Queue" => errors.required(&queuing.path, "must not be empty if limited.limitResponse.type is Limited"),
        other => errors.not_supported(&kind.path, other, &["Queue", "Reject"]),
    }
}

const QUEUES_MAX: i64 = 10_000_000;
/// Hands are dealt from a hash of this many bits.
const HASH_BITS: u32 = 60;

fn queues(queuing: &At<'_>, errors: &mut ErrorList) {
    let (length, queues, hand) = (queuing.at("queueLengthLimit"), queuing.at("queues"), queuing.at("handSize"));
    let count = |field: &At<'_>| field.int().unwrap_or(0);
    if count(&length) <= 0 {
        length.invalid(errors, "must be positive");
    }
    if count(&queues) <= 0 {
        queues.invalid(errors, "must be positive");
    } else if count(&queues) > QUEUES_MAX {
        queues.invalid(errors, &format!("must not be greater than {QUEUES_MAX}"));
    }
    let (size, deck) = (count(&hand), count(&queues));
    if size <= 0 {
        hand.invalid(errors, "must be positive");
    } else if size > deck {
        hand.invalid(errors, &format!("should not be greater than queues ({deck})"));
    } else if !fits_hash(deck, size) {
        let what = format!("required entropy bits of deckSize {deck} and handSize {size}");
        hand.invalid(errors, &format!("{what} should not be greater than {HASH_BITS}"));
    }
}

/// Whether a hash can tell all hands apart.
fn fits_hash(deck: i64, hand: i64) -> bool {
    let mut hands: u128 = 1;
    for dealt in 0..hand {
        hands = hands.saturating_mul(u128::try_from(deck - dealt).unwrap_or(0));
        if hands > 1 << HASH_BITS {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn causes(errors: &ErrorList) -> Vec<String> {
        errors.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_mandatory_object_keeps_its_values_but_exempt_may_take_seats() {
        let mut exempt = json!({"metadata": {"name": "exempt"}, "spec": {"type": "Exempt",
            "exempt": {"nominalConcurrencyShares": 7, "lendablePercent": 10}}});
        assert!(PriorityLevelConfiguration.validate(&exempt).is_empty());
        exempt["spec"]["limited"] = json!({"limitResponse": {"type": "Reject"}});
        assert_eq!(PriorityLevelConfiguration.validate(&exempt).len(), 2);
    }

    #[test]
    fn hands_must_be_told_apart_by_the_hash() {
        assert!(fits_hash(128, 8) && fits_hash(1024, 6) && !fits_hash(512, 8));
    }

    #[test]
    fn paths_and_stars_are_judged() {
        let schema = json!({"metadata": {"name": "x"}, "spec": {"matchingPrecedence": 1,
            "priorityLevelConfiguration": {"name": "catch-all"},
            "rules": [{"subjects": [{"kind": "User", "user": {"name": "*"}, "group": {"name": "g"}}],
                "nonResourceRules": [{"verbs": ["get", "*"], "nonResourceURLs": ["x", "/a*"]}]}]}});
        let found = causes(&FlowSchema.validate(&schema)).join("\n");
        for wanted in [
            "only the schema named 'exempt' may have matchingPrecedence 1",
            "group is forbidden when subject kind is not 'Group'",
            "if '*' is present, must not specify other verbs",
            "spec.rules[0].nonResourceRules[0].nonResourceURLs[0]: Invalid value: \"x\": must start with slash",
            "wildcard can only do suffix matching",
        ] {
            assert!(found.contains(wanted), "{wanted} in {found}");
        }
    }

    #[test]
    fn levels_are_judged_by_their_type() {
        let level = |spec: Value| json!({"metadata": {"name": "x"}, "spec": spec});
        for (spec, expected) in [
            (json!({}), vec!["FieldValueNotSupported spec.type"]),
            (json!({"type": "Limited"}), vec!["FieldValueRequired spec.limited"]),
            (json!({"type": "Limited", "limited": {}}), vec!["FieldValueNotSupported spec.limited.limitResponse.type"]),
            (
                json!({"type": "Limited", "exempt": {}, "limited": {"nominalConcurrencyShares": -1,
                    "lendablePercent": 101, "borrowingLimitPercent": -1, "limitResponse": {"type": "Queue"}}}),
                vec![
                    "FieldValueForbidden spec.exempt",
                    "FieldValueInvalid spec.limited.nominalConcurrencyShares",
                    "FieldValueRequired spec.limited.limitResponse.queuing",
                    "FieldValueInvalid spec.limited.lendablePercent",
                    "FieldValueInvalid spec.limited.borrowingLimitPercent",
                ],
            ),
        ] {
            let errors = PriorityLevelConfiguration.validate(&level(spec));
            let found: Vec<_> = errors.iter().map(|e| format!("{} {}", e.kind.reason(), e.field)).collect();
            assert_eq!(found, expected);
        }
        let exempt = json!({"metadata": {"name": "exempt"}, "spec": {"type": "Exempt"}});
        assert!(PriorityLevelConfiguration.validate(&exempt).is_empty());
    }

    #[test]
    fn conditions_are_judged_on_the_status_endpoint() {
        let schema = json!({"status": {"conditions": [{"type": "A"}, {"type": "A"}, {"type": ""}]}});
        let found = causes(&FlowSchema.validate_status_update(&schema, &schema));
        assert_eq!(found.len(), 2);
        assert!(found[0].starts_with("status.conditions[1].type: Duplicate value"));
    }
}
