use serde_json::json;

use super::*;

/// A length-delimited field.
fn field(number: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2, u8::try_from(content.len()).unwrap()];
    out.extend_from_slice(content);
    out
}

fn envelope(api_version: &str, kind: &str, raw: &[u8]) -> Vec<u8> {
    let meta = [field(1, api_version.as_bytes()), field(2, kind.as_bytes())].concat();
    [MAGIC.to_vec(), field(1, &meta), field(2, raw)].concat()
}

#[test]
fn maps_bytes_and_embedded_messages_are_read() {
    let metadata = field(1, &field(1, b"s"));
    let entry = [field(1, b"k"), field(2, b"v")].concat();
    let secret = decode(&envelope("v1", "Secret", &[metadata, field(2, &entry)].concat())).unwrap();
    assert_eq!(secret, json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "data": {"k": "dg=="}}));
}

#[test]
fn a_volume_source_is_flattened_as_in_json() {
    let empty_dir = field(2, &[]);
    let volume = [field(1, b"v"), field(2, &empty_dir)].concat();
    let pod = decode(&envelope("v1", "Pod", &field(2, &field(1, &volume)))).unwrap();
    assert_eq!(pod["spec"]["volumes"], json!([{"name": "v", "emptyDir": {}}]));
}

#[test]
fn what_is_cut_off_or_foreign_is_refused() {
    assert!(matches!(decode(b"{}"), Err(ProtobufError::Magic)));
    let whole = envelope("v1", "ConfigMap", &field(1, &field(1, b"name")));
    assert!(matches!(decode(&whole[..whole.len() - 2]), Err(ProtobufError::Malformed)));
    assert!(matches!(decode(&envelope("v9", "Nothing", &[])), Err(ProtobufError::UnknownKind { .. })));
}
