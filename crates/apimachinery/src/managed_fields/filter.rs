//! Which fields can be owned through an endpoint at all.

use super::field_set::{FieldSet, PathElement};

/// Fields that an endpoint resets, and those to which it is limited, as dotted paths. Writers through it own neither the
/// former nor what is outside the latter.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reset<'a> {
    pub fields: &'a [&'a str],
    /// All but these and what lies below them; `*` is any item. Empty: the endpoint is not limited.
    pub all_but: &'a [&'a str],
}

impl Reset<'_> {
    pub fn filter(&self) -> Filter {
        let path = |dotted: &&str| dotted.split('.').map(str::to_owned).collect();
        Filter { reset: dotted(self.fields), limits: self.all_but.iter().map(path).collect() }
    }
}

/// A [`Reset`], ready to be applied to sets.
pub struct Filter {
    reset: FieldSet,
    limits: Vec<Vec<String>>,
}

impl Filter {
    pub fn apply(&self, set: &mut FieldSet) {
        set.subtract_recursively(&self.reset);
        if !self.limits.is_empty() {
            let limits: Vec<&[String]> = self.limits.iter().map(Vec::as_slice).collect();
            set.retain(&mut |path| within(path, &limits));
        }
    }
}

/// Whether a path is on the way to a limit, or below it.
fn within(path: &[PathElement], limits: &[&[String]]) -> bool {
    let fits = |(element, step): (&PathElement, &String)| match element {
        _ if step == "*" => true,
        PathElement::Field(name) => name == step,
        _ => false,
    };
    limits.iter().any(|limit| path.iter().zip(limit.iter()).all(fits))
}

/// Dotted paths as a set.
pub fn dotted(paths: &[&str]) -> FieldSet {
    let path = |text: &&str| text.split('.').map(|name| PathElement::Field(name.to_owned())).collect::<Vec<_>>();
    paths.iter().map(path).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_limited_endpoint_gives_only_what_is_within_its_limits() {
        let reset = Reset { fields: &["metadata"], all_but: &["spec.containers.*.resources"] };
        let written = json!({
            "f:metadata": {"f:labels": {"f:a": {}}},
            "f:spec": {"f:nodeName": {}, "f:containers": {
                "k:{\"name\":\"c\"}": {".": {}, "f:name": {}, "f:resources": {"f:limits": {"f:cpu": {}}}}}},
        });
        let mut set = FieldSet::from_fields_v1(&written).unwrap();
        reset.filter().apply(&mut set);
        expect_test::expect![[r#"
            .spec.containers[name="c"]
            .spec.containers[name="c"].resources.limits.cpu"#]]
        .assert_eq(&set.to_string());
    }
}
