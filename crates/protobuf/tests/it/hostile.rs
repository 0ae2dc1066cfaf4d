//! Bytes of nobody's making: an error, never a panic, and no memory beyond the body's own measure.

use proptest::prelude::*;
use protobuf::{DecodeError, decode, envelope};
use serde_json::json;

fn pod() -> Vec<u8> {
    protobuf::encode(&json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p", "labels": {"a": "b"}, "creationTimestamp": "2026-01-02T03:04:05Z"},
        "spec": {
            "containers": [{"name": "c", "ports": [{"containerPort": 80}], "resources": {"limits": {"cpu": "100m"}}}],
            "volumes": [{"name": "v", "emptyDir": {}}],
        },
    }))
    .unwrap()
}

/// A length-delimited field.
fn field(number: u8, content: &[u8]) -> Vec<u8> {
    let mut out = protobuf::Writer::default();
    out.bytes(number.into(), content);
    out.finish()
}

#[test]
fn every_prefix_of_an_object_is_refused_or_read() {
    let whole = pod();
    for end in 0..whole.len() {
        let _ = decode(&whole[..end], ("v1", "Pod"));
    }
}

#[test]
fn a_length_beyond_the_body_is_an_end_too_early() {
    let huge = [0x12, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f];
    assert_eq!(decode(&envelope("v1", "Pod", &huge), ("v1", "Pod")), Err(DecodeError::Eof));
}

#[test]
fn nesting_has_an_end() {
    let mut schema = Vec::new();
    for _ in 0..10_000 {
        // JSONSchemaProps.not
        let mut out = protobuf::Writer::default();
        out.bytes(28, &schema);
        schema = out.finish();
    }
    let validation = field(1, &schema);
    let version = field(4, &validation);
    let crd = field(2, &field(7, &version));
    let body = envelope("apiextensions.k8s.io/v1", "CustomResourceDefinition", &crd);
    assert_eq!(decode(&body, ("", "")), Err(DecodeError::TooDeep));
}

#[test]
fn small_bytes_do_not_become_a_large_object() {
    // A pod with a million containers, two bytes each.
    let containers = [0x12, 0x00].repeat(1_000_000);
    assert_eq!(decode(&envelope("v1", "Pod", &field(2, &containers)), ("", "")), Err(DecodeError::TooMany));
}

#[test]
fn unknown_fields_and_groups_are_skipped() {
    let group = [0xfb, 0x01, 0x08, 0x01, 0xfb, 0x01, 0xfc, 0x01, 0xfc, 0x01];
    let raw = [field(1, &field(1, b"n")), group.to_vec(), field(15, b"new")].concat();
    let read = decode(&envelope("v1", "ConfigMap", &raw), ("", "")).unwrap();
    assert_eq!(read, json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "n"}}));
}

#[test]
fn a_field_of_another_wire_type_is_refused() {
    let found = decode(&envelope("v1", "ConfigMap", &[0x08, 0x01]), ("", ""));
    assert_eq!(found, Err(DecodeError::WrongWireType { field: "metadata".into(), found: 0 }));
}

#[test]
fn text_that_is_not_text_is_refused() {
    let raw = field(1, &field(1, &[0xff, 0xfe]));
    assert_eq!(decode(&envelope("v1", "ConfigMap", &raw), ("", "")), Err(DecodeError::Utf8));
}

#[test]
fn what_the_envelope_leaves_open_is_as_expected() {
    let body = envelope("", "", &field(1, &field(1, b"n")));
    assert_eq!(decode(&body, ("v1", "Secret")).unwrap()["kind"], "Secret");
    assert!(matches!(decode(&body, ("", "")), Err(DecodeError::UnknownKind { .. })));
    assert_eq!(decode(b"", ("", "")), Err(DecodeError::EmptyData));
    assert_eq!(decode(b"k8s\0", ("", "")), Err(DecodeError::EmptyBody));
    assert_eq!(decode(b"{}", ("", "")), Err(DecodeError::Magic));
}

#[test]
fn a_message_in_parts_is_one_message() {
    let raw = [field(1, &field(1, b"n")), field(1, &field(3, b"ns"))].concat();
    let read = decode(&envelope("v1", "ConfigMap", &raw), ("", "")).unwrap();
    assert_eq!(read["metadata"], json!({"name": "n", "namespace": "ns"}));
}

proptest! {
    #[test]
    fn noise_never_panics(noise in prop::collection::vec(any::<u8>(), 0..512), kind in 0..4_usize) {
        let kinds = [
            ("v1", "Pod"), ("apps/v1", "Deployment"), ("v1", "Status"),
            ("apiextensions.k8s.io/v1", "CustomResourceDefinition"),
        ];
        let (api_version, kind) = kinds[kind];
        if let Ok(read) = decode(&envelope(api_version, kind, &noise), ("", "")) {
            protobuf::encode(&read).unwrap();
        }
        let _ = decode(&noise, ("v1", "Pod"));
    }

    #[test]
    fn flipped_bytes_never_panic(at in 0..400_usize, byte in any::<u8>()) {
        let mut body = pod();
        let at = at % body.len();
        body[at] = byte;
        if let Ok(read) = decode(&body, ("v1", "Pod")) {
            prop_assert!(protobuf::encode(&read).is_ok());
        }
    }
}
