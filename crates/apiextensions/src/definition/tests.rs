//! Complaints about definitions, in upstream's words.

use apimachinery::field::ErrorList;
use expect_test::{Expect, expect};
use serde_json::{Value, json};

use super::{default, prepare_for_create, prepare_for_update, validate, validate_update, warnings};

fn definition(schema: Value) -> Value {
    let mut definition = json!({"metadata": {"name": "widgets.example.com"}, "spec": {"group": "example.com",
        "names": {"plural": "widgets", "kind": "Widget"}, "scope": "Namespaced", "versions": [
            {"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}}]}});
    default(&mut definition);
    prepare_for_create(&mut definition);
    definition
}

fn of_spec(spec: Value) -> Value {
    definition(json!({"type": "object", "properties": {"spec": spec}}))
}

fn check(errors: &ErrorList, expected: Expect) {
    let short = |error: &apimachinery::field::FieldError| error.to_string().replace("validation.openAPIV3Schema", "…");
    expected.assert_eq(&errors.iter().map(|error| format!("{}\n", short(error))).collect::<String>());
}

#[test]
fn a_definition_with_its_defaults_is_let_in() {
    let definition = of_spec(json!({"type": "object", "properties": {"a": {"type": "string", "default": "x"}}}));
    check(&validate(&definition), expect![""]);
    assert_eq!(definition["spec"]["names"]["listKind"], "WidgetList");
    assert_eq!(definition["status"]["storedVersions"], json!(["v1"]));
}

#[test]
fn defaults_must_fit_their_schema() {
    let spec = json!({"type": "object", "properties": {
        "a": {"type": "string", "default": 5},
        "o": {"type": "object", "default": {"b": 1}, "properties": {"c": {"type": "string"}}},
        "e": {"type": "object", "x-kubernetes-embedded-resource": true, "x-kubernetes-preserve-unknown-fields": true,
            "default": {"kind": "Pod"}}}});
    check(
        &validate(&of_spec(spec)),
        expect![[r#"
        spec.….properties[spec].properties[a].default: Invalid value: "integer":  in body must be of type string: "integer"
        spec.….properties[spec].properties[e].default.apiVersion: Required value
        spec.….properties[spec].properties[o].default: Invalid value: {"b":1}: must not have unknown fields
    "#]],
    );
}

#[test]
fn rules_must_compile_and_lead_somewhere() {
    let spec = json!({"type": "object", "properties": {"a": {"type": "string"}}, "x-kubernetes-validations": [
        {"rule": ""}, {"rule": "self.a"}, {"rule": "self.a == 'x'", "fieldPath": ".b"},
        {"rule": "self.a == 'x'", "optionalOldSelf": true}, {"rule": "true", "reason": "Odd"}]});
    check(
        &validate(&of_spec(spec)),
        expect![[r#"
        spec.….properties[spec].x-kubernetes-validations[0].rule: Required value: rule is not specified
        spec.….properties[spec].x-kubernetes-validations[2].fieldPath: Invalid value: ".b": must be a valid path
        spec.….properties[spec].x-kubernetes-validations[4].reason: Unsupported value: "Odd": supported values: "FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired"
    "#]],
    );
    let items = json!({"type": "array", "items": {"type": "string", "x-kubernetes-validations": [{"rule": "self == oldSelf"}]}});
    check(
        &validate(&of_spec(items)),
        expect![[r#"
        spec.….properties[spec].items.x-kubernetes-validations[0].rule: Forbidden: estimated rule cost exceeds budget by factor of more than 100x (try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared)
        spec.….properties[spec].items.x-kubernetes-validations[0].rule: Invalid value: "self == oldSelf": oldSelf cannot be used on the uncorrelatable portion of the schema within spec.….properties[spec]
        spec.….properties[spec].items.x-kubernetes-validations[0].rule: Forbidden: contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema
        spec.…: Forbidden: x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema exceeds budget by factor of more than 100x (try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared)
    "#]],
    );
}

#[test]
fn what_identifies_the_kind_does_not_change() {
    let mut old = of_spec(json!({"type": "object"}));
    old["status"]["conditions"] = json!([{"type": "Established", "status": "True"}]);
    let mut new = old.clone();
    new["spec"]["scope"] = "Cluster".into();
    new["spec"]["names"]["kind"] = "Gadget".into();
    new["spec"]["versions"][0]["name"] = "v2".into();
    prepare_for_update(&mut new, &old);
    check(
        &validate_update(&new, &old),
        expect![[r#"
        spec.scope: Invalid value: "Cluster": field is immutable
        spec.names.kind: Invalid value: "Gadget": field is immutable
        status.storedVersions[0]: Invalid value: "v1": missing from spec.versions; v1 was previously a storage version, and must remain in spec.versions until a storage migration ensures no data remains persisted in v1 and removes v1 from status.storedVersions
    "#]],
    );
}

#[test]
fn what_was_wrong_before_may_stay_wrong() {
    let old = of_spec(json!({"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "object"}}));
    check(
        &validate(&old),
        expect![[r#"
        spec.….properties[spec].items.x-kubernetes-map-type: Invalid value: null: must be atomic as item of a list with x-kubernetes-list-type=set
    "#]],
    );
    check(&validate_update(&old, &old), expect![""]);
}

#[test]
fn odd_formats_are_warned_of_once() {
    let old = of_spec(json!({"type": "string", "format": "odd"}));
    assert_eq!(warnings(&old, None), ["unrecognized format \"odd\""]);
    assert!(warnings(&old, Some(&old)).is_empty());
}
