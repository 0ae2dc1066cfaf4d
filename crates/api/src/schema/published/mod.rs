//! What only OpenAPI says: defaults and permitted values for readers, unions, and the names of definitions that the
//! tables fold into the type of a field.

mod tables;

use super::Type;

/// What is said of a field beside its type.
#[derive(Debug)]
pub struct Said {
    definition: &'static str,
    field: &'static str,
    /// The definition of a value that is [`Type::Any`].
    pub refers: &'static str,
    /// JSON; empty when there is none but Go's zero value.
    pub default: &'static str,
    /// Of a list, those of its items.
    pub values: &'static [&'static str],
}

pub fn field(definition: &str, field: &str) -> Option<&'static Said> {
    let order = |row: &Said| (row.definition, row.field).cmp(&(definition, field));
    tables::FIELDS.binary_search_by(order).ok().map(|found| &tables::FIELDS[found])
}

/// The unions that a definition holds, in JSON.
pub fn unions(definition: &str) -> Option<&'static str> {
    let found = tables::UNIONS.binary_search_by_key(&definition, |row| row.0).ok()?;
    Some(tables::UNIONS[found].1)
}

/// A definition that stands for one value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Folded {
    Quantity,
    IntOrString,
    Time,
    /// An object whose fields nobody names.
    Object,
    /// Any JSON.
    Anything,
}

const FOLDED: [(&str, Folded); 11] = [
    ("io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSON", Folded::Anything),
    ("io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrArray", Folded::Anything),
    ("io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrBool", Folded::Anything),
    ("io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrStringArray", Folded::Anything),
    (QUANTITY, Folded::Quantity),
    ("io.k8s.apimachinery.pkg.apis.meta.v1.FieldsV1", Folded::Object),
    (MICRO_TIME, Folded::Time),
    ("io.k8s.apimachinery.pkg.apis.meta.v1.Patch", Folded::Object),
    (TIME, Folded::Time),
    ("io.k8s.apimachinery.pkg.runtime.RawExtension", Folded::Object),
    (INT_OR_STRING, Folded::IntOrString),
];
const QUANTITY: &str = "io.k8s.apimachinery.pkg.api.resource.Quantity";
const MICRO_TIME: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime";
const TIME: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Time";
const INT_OR_STRING: &str = "io.k8s.apimachinery.pkg.util.intstr.IntOrString";

/// What a definition that is not in the tables stands for.
pub fn folded(definition: &str) -> Option<Folded> {
    FOLDED.iter().find(|(name, _)| *name == definition).map(|(_, folded)| *folded)
}

/// The definition that a type was folded from. Any JSON has several: see [`Said::refers`].
pub fn definition_of(ty: Type) -> Option<&'static str> {
    match ty {
        Type::Quantity => Some(QUANTITY),
        Type::IntOrString => Some(INT_OR_STRING),
        Type::Time => Some(TIME),
        Type::MicroTime => Some(MICRO_TIME),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema;

    #[test]
    fn a_port_is_of_tcp_unless_it_says_so() {
        let said = field("io.k8s.api.core.v1.ContainerPort", "protocol").unwrap();
        assert_eq!((said.default, said.values), ("\"TCP\"", &["SCTP", "TCP", "UDP"][..]));
        assert!(unions("io.k8s.api.core.v1.SeccompProfile").unwrap().contains("localhostProfile"));
    }

    #[test]
    fn every_row_is_of_a_field_and_any_json_has_a_name() {
        assert!(tables::FIELDS.is_sorted_by_key(|row| (row.definition, row.field)));
        assert!(tables::UNIONS.is_sorted_by_key(|row| row.0));
        for row in &tables::FIELDS {
            let definition = schema::definition(row.definition).unwrap();
            assert!(definition.field(row.field).is_some(), "{}.{}", row.definition, row.field);
            assert!(row.refers.is_empty() || folded(row.refers).is_some(), "{}", row.refers);
        }
        for definition in schema::definitions() {
            for any in definition.fields().iter().filter(|field| field.ty == Type::Any) {
                let said = field(definition.name, any.name).unwrap();
                assert!(!said.refers.is_empty(), "{}.{}", definition.name, any.name);
            }
        }
    }
}
