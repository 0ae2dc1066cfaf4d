//! What an absent key field of a list item means: the identity of a port without a protocol is that of a TCP port.

use serde_json::Value;

use super::{Definition, Type};

/// Defaults that the Go types declare on fields that are keys of lists.
const DECLARED: &[(&str, &str, &str)] = &[
    ("io.k8s.api.core.v1.ContainerPort", "protocol", "TCP"),
    ("io.k8s.api.core.v1.LocalObjectReference", "name", ""),
    ("io.k8s.api.core.v1.ServicePort", "protocol", "TCP"),
];

/// A required field is no pointer in Go, so its absence is its zero value.
pub(super) fn of(definition: &'static Definition, key: &str) -> Option<Value> {
    if let Some((.., value)) = DECLARED.iter().find(|(owner, field, _)| *owner == definition.name && *field == key) {
        return Some((*value).into());
    }
    definition.required.contains(&key).then(|| zero(definition.field(key)?.ty)).flatten()
}

fn zero(ty: Type) -> Option<Value> {
    match ty {
        Type::String => Some("".into()),
        Type::Int32 | Type::Int64 => Some(0.into()),
        Type::Bool => Some(false.into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use crate::schema::kind;

    #[test]
    fn an_absent_protocol_is_tcp_and_an_absent_name_is_empty() {
        let spec = kind("", "v1", "Pod").unwrap().node().child("spec").unwrap();
        let container = spec.child("containers").unwrap().items().unwrap();
        let port = container.child("ports").unwrap().items().unwrap();
        assert_eq!(port.key_default("protocol"), Some("TCP".into()));
        assert_eq!(port.key_default("containerPort"), Some(0.into()));
        assert_eq!(container.key_default("name"), Some("".into()));
        assert_eq!(port.key_default("hostPort"), None);
    }
}
