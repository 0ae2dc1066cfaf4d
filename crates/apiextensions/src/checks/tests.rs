//! What values come to, in upstream's words.

use apimachinery::field::Path;
use expect_test::{Expect, expect};
use serde_json::{Value, json};

use super::{validate, validate_update};
use crate::structural::Structural;

fn schema() -> Structural {
    Structural::compile(&json!({"type": "object", "properties": {"spec": {"type": "object", "required": ["r"],
        "maxProperties": 20, "properties": {
            "r": {"type": "string"},
            "s": {"type": "string", "minLength": 2, "maxLength": 4, "pattern": "^x+$"},
            "n": {"type": "integer", "minimum": 1, "maximum": 5, "multipleOf": 2},
            "f": {"type": "number", "exclusiveMinimum": true, "minimum": 0.5},
            "small": {"type": "integer", "format": "int32"},
            "e": {"type": "string", "enum": ["B", "A"]},
            "d": {"type": "string", "format": "date-time"},
            "l": {"type": "array", "maxItems": 1, "items": {"type": "string"}},
            "one": {"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "string"}},
                "oneOf": [{"required": ["a"]}, {"required": ["b"]}]},
            "p": {"x-kubernetes-int-or-string": true},
            "m": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"],
                "items": {"type": "object", "properties": {"k": {"type": "string"}, "v": {"type": "string"}}}}}}}}))
    .unwrap()
}

fn check(spec: Value, expected: Expect) {
    let errors = validate(&json!({"spec": spec}), &schema(), &Path::root());
    expected.assert_eq(&errors.iter().map(|error| format!("{error}\n")).collect::<String>());
}

#[test]
fn types_are_told() {
    check(
        json!({"r": 5, "n": "x", "p": true, "s": null}),
        expect![[r#"
        spec.n: Invalid value: "string": spec.n in body must be of type integer: "string"
        spec.p: Invalid value: "boolean": spec.p in body must be of type integer,string: "boolean"
        spec.r: Invalid value: "integer": spec.r in body must be of type string: "integer"
        spec.s: Invalid value: "null": spec.s in body must be of type string: "null"
    "#]],
    );
}

#[test]
fn limits_are_told() {
    check(
        json!({"r": "", "s": "y", "n": 9, "f": 0.5, "small": 3_000_000_000_u32, "l": ["a", "b"]}),
        expect![[r#"
        spec.f: Invalid value: 0.5: spec.f in body should be greater than 0.5
        spec.l: Too many: 2: must have at most 1 item
        spec.n: Invalid value: 9: spec.n in body should be a multiple of 2
        spec.n: Invalid value: 9: spec.n in body should be less than or equal to 5
        spec.s: Invalid value: "y": spec.s in body should be at least 2 chars long
        <nil>: Invalid value: "": Checked value must be of type integer with format int32 in spec.small
    "#]],
    );
    check(
        json!({"r": "", "s": "xxxxx"}),
        expect![[r#"
        spec.s: Too long: may not be more than 4 bytes
    "#]],
    );
}

#[test]
fn what_is_missing_unknown_or_misformed_is_told() {
    check(
        json!({"e": "C", "d": "nope", "one": {}}),
        expect![[r#"
        spec.d: Invalid value: "nope": spec.d in body must be of type date-time: "nope"
        spec.e: Unsupported value: "C": supported values: "A", "B"
        <nil>: Invalid value: "": "spec.one" must validate one and only one schema (oneOf). Found none valid
        spec.one.a: Required value
        spec.r: Required value
    "#]],
    );
}

#[test]
fn what_did_not_change_may_stay_wrong() {
    let old = json!({"spec": {"r": "", "e": "C", "m": [{"k": "a", "v": 1}, {"k": "b", "v": 2}]}});
    let new = json!({"spec": {"r": "x", "e": "C", "m": [{"k": "b", "v": 2}, {"k": "a", "v": 3}]}});
    let errors = validate_update(&new, Some(&old), &schema(), &Path::root());
    let expected = r#"spec.m[1].v: Invalid value: "integer": spec.m[1].v in body must be of type string: "integer""#;
    assert_eq!(errors.to_string(), expected);
}
