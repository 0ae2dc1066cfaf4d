//! FlowSchemas and PriorityLevelConfigurations.

use apimachinery::field::ErrorList;
use apimachinery::table;
use apimachinery::validation::{is_dns1123_label, is_dns1123_subdomain};
use serde_json::Value;

use crate::at::{At, duplicates};
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
        precedence(&spec.at("matchingPrecedence"), text(schema, "/metadata/name"), &mut errors);
        let method = spec.to("distinguisherMethod.type");
        if spec.at("distinguisherMethod").present() && !["ByNamespace", "ByUser"].contains(&method.text()) {
            errors.not_supported(&method.path, method.text(), &["ByNamespace", "ByUser"]);
        }
        let level = spec.to("priorityLevelConfiguration.name");
        if level.required(&mut errors, "must reference a priority level") {
            level.follows(&mut errors, is_dns1123_subdomain);
        }
        spec.at("rules").items().iter().for_each(|found| rule(found, &mut errors));
        errors
    }

    fn validate_status_update(&self, new: &Value, _old: &Value) -> ErrorList {
        condition_types(new)
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

const PRECEDENCE_MAX: i64 = 10_000;

fn precedence(at: &At<'_>, name: &str, errors: &mut ErrorList) {
    let value = at.int().unwrap_or_default();
    if value <= 0 {
        errors.invalid(&at.path, value, "must be a positive value");
    }
    if value > PRECEDENCE_MAX {
        errors.invalid(&at.path, value, format!("must not be greater than {PRECEDENCE_MAX}"));
    }
    if value == 1 && name != "exempt" {
        errors.invalid(&at.path, value, "only the schema named 'exempt' may have matchingPrecedence 1");
    }
}

fn rule(rule: &At<'_>, errors: &mut ErrorList) {
    rule.at("subjects").required(errors, "subjects must contain at least one value");
    rule.at("subjects").items().iter().for_each(|found| subject(found, errors));
    if rule.at("resourceRules").empty() && rule.at("nonResourceRules").empty() {
        errors.required(&rule.path, "at least one of resourceRules and nonResourceRules has to be non-empty");
    }
    rule.at("resourceRules").items().iter().for_each(|found| resource_rule(found, errors));
    rule.at("nonResourceRules").items().iter().for_each(|found| non_resource_rule(found, errors));
}

/// Who is meant: only the field of the kind may be set.
fn subject(subject: &At<'_>, errors: &mut ErrorList) {
    const KINDS: [(&str, &str); 3] = [("ServiceAccount", "serviceAccount"), ("User", "user"), ("Group", "group")];
    let kind = subject.at("kind");
    let Some((_, field)) = KINDS.iter().find(|(name, _)| *name == kind.text()) else {
        return errors.not_supported(&kind.path, kind.text(), &["Group", "ServiceAccount", "User"]);
    };
    for (other, name) in KINDS.iter().filter(|(other, name)| *other != kind.text() && subject.at(name).present()) {
        let detail = format!("{name} is forbidden when subject kind is not '{other}'");
        errors.forbidden(&subject.path.child(name), detail);
    }
    let given = subject.at(field);
    if !given.present() {
        return errors.required(&given.path, &format!("{field} is required when subject kind is '{}'", kind.text()));
    }
    let name = given.at("name");
    if name.required(errors, "") && *field == "serviceAccount" && name.text() != "*" {
        name.follows(errors, is_dns1123_subdomain);
    }
    if *field == "serviceAccount"
        && given.at("namespace").required(errors, "must specify namespace for service account")
    {
        given.at("namespace").follows(errors, is_dns1123_label);
    }
}

const VERBS: [&str; 9] = ["create", "delete", "deletecollection", "get", "list", "patch", "proxy", "update", "watch"];

/// `*` says all, and stands alone. Says whether there is one.
fn wildcard(list: &At<'_>, others: &str, errors: &mut ErrorList) -> bool {
    let all = list.items();
    let found = all.iter().any(|item| item.text() == "*");
    if found && all.len() > 1 {
        list.invalid(errors, &format!("if '*' is present, must not specify other {others}"));
    }
    found
}

fn verbs(verbs: &At<'_>, errors: &mut ErrorList) {
    let given = verbs.required(errors, "verbs must contain at least one value");
    let known = verbs.items().iter().all(|verb| VERBS.contains(&verb.text()));
    if given && !wildcard(verbs, "verbs", errors) && !known {
        errors.not_supported(&verbs.path, verbs.value.clone(), &VERBS);
    }
}

fn resource_rule(rule: &At<'_>, errors: &mut ErrorList) {
    verbs(&rule.at("verbs"), errors);
    rule.at("apiGroups").required(errors, "resource rules must supply at least one api group");
    wildcard(&rule.at("apiGroups"), "api groups", errors);
    rule.at("resources").required(errors, "resource rules must supply at least one resource");
    wildcard(&rule.at("resources"), "resources", errors);
    let namespaces = rule.at("namespaces");
    if namespaces.empty() && !rule.at("clusterScope").is_true() {
        let detail = "resource rules that are not cluster scoped must supply at least one namespace";
        errors.required(&namespaces.path, detail);
    } else if !wildcard(&namespaces, "namespaces", errors) {
        for namespace in namespaces.items() {
            for why in is_dns1123_label(namespace.text()) {
                let detail = format!("each member of this list must be '*' or a DNS-1123 label; {why}");
                namespace.invalid(errors, &detail);
            }
        }
    }
}

fn non_resource_rule(rule: &At<'_>, errors: &mut ErrorList) {
    verbs(&rule.at("verbs"), errors);
    let urls = rule.at("nonResourceURLs");
    let given = urls.required(errors, "nonResourceURLs must contain at least one value");
    if given && !wildcard(&urls, "non-resource URLs", errors) {
        for url in urls.items() {
            if let Some(why) = url_problem(url.text()) {
                url.invalid(errors, why);
            }
        }
    }
}

fn url_problem(url: &str) -> Option<&'static str> {
    match url {
        "" => Some("must not be empty"),
        "/" => None,
        _ if !url.starts_with('/') => Some("must start with slash"),
        _ if url.contains(' ') => Some("must not contain white-space"),
        _ if url.contains("//") => Some("must not contain double slash"),
        _ if url.trim_end_matches("/*").contains('*') || url.matches('*').count() > 1 => {
            Some("wildcard can only do suffix matching")
        }
        _ => None,
    }
}

/// A condition has a type, and each type is there once.
fn condition_types(object: &Value) -> ErrorList {
    let mut errors = ErrorList::new();
    let conditions = At::root(object).to("status.conditions").items();
    duplicates(&mut errors, conditions.iter().map(|condition| condition.at("type")));
    for condition in conditions {
        condition.at("type").required(&mut errors, "must not be empty");
    }
    errors
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
        let (kind, limited) = (spec.at("type"), spec.at("limited"));
        if (text(level, "/metadata/name") == "exempt") != (kind.text() == "Exempt") {
            let detail = "type must be 'Exempt' if and only if name is 'exempt'";
            errors.invalid(&kind.path, kind.text(), detail);
        }
        match kind.text() {
            "Exempt" if limited.present() => {
                errors.forbidden(&limited.path, "must be nil if the type is not Limited");
            }
            "Exempt" => shares(&spec.at("exempt"), &mut errors),
            "Limited" if !limited.present() => {
                errors.required(&limited.path, "must not be empty when type is Limited");
            }
            "Limited" => validate_limited(&spec, &limited, &mut errors),
            other => errors.not_supported(&kind.path, other, &["Exempt", "Limited"]),
        }
        errors
    }

    fn validate_status_update(&self, new: &Value, _old: &Value) -> ErrorList {
        condition_types(new)
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

fn validate_limited(spec: &At<'_>, limited: &At<'_>, errors: &mut ErrorList) {
    if spec.at("exempt").present() {
        errors.forbidden(&spec.path.child("exempt"), "must be nil if the type is Limited");
    }
    shares(limited, errors);
    let borrowing = limited.at("borrowingLimitPercent");
    if borrowing.int().is_some_and(|percent| percent < 0) {
        borrowing.invalid(errors, "if specified, must be a non-negative integer");
    }
    let response = limited.at("limitResponse");
    let queuing = response.at("queuing");
    match response.at("type").text() {
        "Reject" if queuing.present() => {
            errors.forbidden(&queuing.path, "must be nil if limited.limitResponse.type is not Limited");
        }
        "Reject" => {}
        "Queue" if !queuing.present() => {
            errors.required(&queuing.path, "must not be empty if limited.limitResponse.type is Limited");
        }
        "Queue" => queues(&queuing, errors),
        other => errors.not_supported(&response.path.child("type"), other, &["Queue", "Reject"]),
    }
}

fn shares(level: &At<'_>, errors: &mut ErrorList) {
    let (shares, lendable) = (level.at("nominalConcurrencyShares"), level.at("lendablePercent"));
    if shares.int().is_some_and(|count| count < 0) {
        shares.invalid(errors, "must be a non-negative integer");
    }
    if lendable.int().is_some_and(|percent| !(0..=100).contains(&percent)) {
        lendable.invalid(errors, "must be between 0 and 100, inclusive");
    }
}

const QUEUES_MAX: i64 = 10_000_000;
const HASH_BITS_MAX: u32 = 60;

fn queues(queuing: &At<'_>, errors: &mut ErrorList) {
    let number = |field: &str| queuing.at(field).int().unwrap_or_default();
    let (queues, hand) = (number("queues"), number("handSize"));
    let mut refuse = |field: &str, why: String| errors.invalid(&queuing.path.child(field), number(field), why);
    if number("queueLengthLimit") <= 0 {
        refuse("queueLengthLimit", "must be positive".into());
    }
    if queues <= 0 {
        refuse("queues", "must be positive".into());
    } else if queues > QUEUES_MAX {
        refuse("queues", format!("must not be greater than {QUEUES_MAX}"));
    }
    if hand <= 0 {
        refuse("handSize", "must be positive".into());
    } else if hand > queues {
        refuse("handSize", format!("should not be greater than queues ({queues})"));
    } else if entropy_bits(queues, hand) > HASH_BITS_MAX {
        let detail = format!(
            "required entropy bits of deckSize {queues} and handSize {hand} should not be greater than {HASH_BITS_MAX}"
        );
        refuse("handSize", detail);
    }
}

/// How many bits a hash needs to deal any hand.
fn entropy_bits(deck: i64, hand: i64) -> u32 {
    let mut bits = 0.0_f64;
    let mut left = deck;
    for _ in 0..hand.min(deck).min(i64::from(HASH_BITS_MAX) + 1) {
        // A deck has at most 10^7 cards, which a float holds exactly.
        bits += f64::from(i32::try_from(left).unwrap_or(i32::MAX)).log2();
        left -= 1;
    }
    let whole = (1..=HASH_BITS_MAX).find(|limit| bits <= f64::from(*limit));
    whole.unwrap_or(HASH_BITS_MAX + 1)
}
