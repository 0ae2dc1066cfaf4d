//! The check of a policy's expressions against the types that it is about.

use std::collections::BTreeSet;
use std::sync::Arc;

use api::admissionregistrationv1::{NamedRuleWithOperations, ValidatingAdmissionPolicy, Variable};
use apimachinery::Gvk;
use expressions::types::opaque;
use expressions::{DeclType, Environment, Program, Type, admission_request, compile, namespace_object};

use super::kinds::Kinds;

/// So many kinds of one rule are looked at, and no rules after it.
const KINDS_MAX: usize = 10;

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Warning {
    /// Where the expression stands.
    pub field: String,
    pub text: String,
}

/// What is wrong, in the order of the policy's expressions.
pub(super) fn plan(policy: &ValidatingAdmissionPolicy, kinds: &Kinds<'_>) -> Vec<Warning> {
    let environments = environments(policy, kinds);
    let validations = policy.spec.iter().flat_map(|spec| spec.validations.iter().flatten());
    let mut warnings = Vec::new();
    for (index, validation) in validations.enumerate() {
        let mut check = |name: &str, expression: &str| {
            let field = format!("spec.validations[{index}].{name}");
            warnings.extend(judge(expression, &environments).map(|text| Warning { field, text }));
        };
        check("expression", &validation.expression);
        if let Some(message) = validation.message_expression.as_deref().filter(|text| !text.is_empty()) {
            check("messageExpression", message);
        }
    }
    warnings
}

/// What the compiler says of an expression, kind by kind.
fn judge(expression: &str, environments: &[(Gvk, Environment)]) -> Option<String> {
    let said = environments.iter().filter_map(|(kind, environment)| {
        let error = compile(expression, environment, &Type::Dyn).err()?;
        Some(format!("{}/{}, Kind={}: {error}\n", kind.group, kind.version, kind.kind))
    });
    let said: Vec<String> = said.collect();
    (!said.is_empty()).then(|| said.join("\n"))
}

/// What expressions may name, for every kind that the policy is about.
fn environments(policy: &ValidatingAdmissionPolicy, kinds: &Kinds<'_>) -> Vec<(Gvk, Environment)> {
    let Some(spec) = &policy.spec else { return Vec::new() };
    let rules = spec.match_constraints.as_ref().and_then(|constraints| constraints.resource_rules.as_deref());
    let params = spec.param_kind.as_ref().and_then(|kind| {
        let (group, version) = split(kind.api_version.as_deref().unwrap_or_default())?;
        Some(Gvk::new(group, version, kind.kind.as_deref().unwrap_or_default()))
    });
    let params = params.map(|kind| kinds.declared(&kind).unwrap_or_else(|| Arc::new(DeclType::dynamic())));
    let variables = spec.variables.as_deref().unwrap_or_default();
    let known = matched(rules.unwrap_or_default(), kinds).into_iter();
    let known = known.filter_map(|kind| Some((kinds.declared(&kind)?, kind)));
    known.map(|(object, kind)| (kind, environment(object, params.clone(), variables))).collect()
}

fn split(api_version: &str) -> Option<(&str, &str)> {
    match api_version.split_once('/') {
        None => Some(("", api_version)),
        Some((_, version)) if version.contains('/') => None,
        Some(parts) => Some(parts),
    }
}

fn environment(object: Arc<DeclType>, params: Option<Arc<DeclType>>, variables: &[Variable]) -> Environment {
    let mut names = Environment::new()
        .variable("object", object.clone())
        .variable("oldObject", object)
        .variable("request", admission_request())
        .variable("namespaceObject", namespace_object())
        .variable("authorizer", DeclType::simple(Type::Opaque(opaque::AUTHORIZER)));
    if let Some(params) = params {
        names = names.variable("params", params);
    }
    for variable in variables {
        let compiled = compile(&variable.expression, &names, &Type::Dyn);
        names = names.composed(&variable.name, compiled.as_ref().map_or(&Type::Dyn, Program::result_type));
    }
    names
}

/// The kinds of the rules, sorted. Rules with a wildcard are about too many.
fn matched(rules: &[NamedRuleWithOperations], kinds: &Kinds<'_>) -> Vec<Gvk> {
    let mut found = BTreeSet::new();
    for rule in rules {
        let of_rule = of_rule(rule, kinds);
        let full = of_rule.len() == KINDS_MAX;
        found.extend(of_rule.into_iter().map(|kind| (kind.group, kind.version, kind.kind)));
        if full {
            break;
        }
    }
    found.into_iter().map(|(group, version, kind)| Gvk::new(&group, &version, &kind)).collect()
}

fn of_rule(rule: &NamedRuleWithOperations, kinds: &Kinds<'_>) -> Vec<Gvk> {
    let (groups, versions) = (sorted(rule.api_groups.as_ref()), sorted(rule.api_versions.as_ref()));
    if groups.iter().chain(&versions).any(|name| name.contains('*')) {
        return Vec::new();
    }
    let resources = sorted(rule.resources.as_ref());
    let resources: Vec<&str> = resources.into_iter().filter(|name| !name.contains(['*', '/'])).collect();
    let places = groups.iter().flat_map(|group| versions.iter().map(move |version| (*group, *version)));
    let all = places.flat_map(|(group, version)| resources.iter().flat_map(move |name| kinds.of(group, version, name)));
    all.take(KINDS_MAX).collect()
}

fn sorted(names: Option<&Vec<String>>) -> Vec<&str> {
    let mut names: Vec<&str> = names.into_iter().flatten().map(String::as_str).collect();
    names.sort_unstable();
    names
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use serde_json::{Value, json};

    use super::*;

    fn check(spec: &Value, want: Expect) {
        let definition = json!({"metadata": {"name": "widgets.example.com"}, "spec": {
            "group": "example.com", "scope": "Namespaced", "names": {"plural": "widgets", "kind": "Widget"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {
                "type": "object", "properties": {"size": {"type": "integer"}}}}}]},
            "status": {"conditions": [{"type": "Established", "status": "True"}]}});
        let definitions = [Arc::new(serde_json::from_value(definition).unwrap())];
        let policy = serde_json::from_value(json!({"metadata": {"name": "p"}, "spec": spec})).unwrap();
        let warnings = plan(&policy, &Kinds::new(&definitions));
        let told = warnings.iter().map(|warning| format!("{}: {}", warning.field, warning.text));
        want.assert_eq(&told.collect::<Vec<_>>().join(""));
    }

    fn rules(groups: &[&str], version: &str, resources: &[&str]) -> Value {
        json!({"resourceRules": [{"apiGroups": groups, "apiVersions": [version], "operations": ["*"],
            "resources": resources}]})
    }

    #[test]
    fn an_unknown_field_is_told_with_its_kind() {
        let spec = json!({"matchConstraints": rules(&["apps"], "v1", &["replicasets", "deployments"]),
            "validations": [{"expression": "object.spec.replicas > 1"},
                {"expression": "object.spec.foo == 1", "messageExpression": "object.bar"}]});
        check(
            &spec,
            expect![[r#"
            spec.validations[1].expression: apps/v1, Kind=Deployment: ERROR: <input>:1:12: undefined field 'foo'
             | object.spec.foo == 1
             | ...........^

            apps/v1, Kind=ReplicaSet: ERROR: <input>:1:12: undefined field 'foo'
             | object.spec.foo == 1
             | ...........^
            spec.validations[1].messageExpression: apps/v1, Kind=Deployment: ERROR: <input>:1:7: undefined field 'bar'
             | object.bar
             | ......^

            apps/v1, Kind=ReplicaSet: ERROR: <input>:1:7: undefined field 'bar'
             | object.bar
             | ......^
        "#]],
        );
    }

    #[test]
    fn custom_kinds_parameters_and_variables_have_types() {
        let spec = json!({"matchConstraints": rules(&["example.com"], "v1", &["widgets"]),
            "paramKind": {"apiVersion": "v1", "kind": "ConfigMap"},
            "variables": [{"name": "size", "expression": "object.size"}],
            "validations": [{"expression": "variables.size == params.data['size']"},
                {"expression": "params.spec == 1 && authorizer.allowed()"}]});
        check(
            &spec,
            expect![[r#"
            spec.validations[0].expression: example.com/v1, Kind=Widget: ERROR: <input>:1:16: found no matching overload for '_==_' applied to '(int, string)'
             | variables.size == params.data['size']
             | ...............^
            spec.validations[1].expression: example.com/v1, Kind=Widget: ERROR: <input>:1:7: undefined field 'spec'
             | params.spec == 1 && authorizer.allowed()
             | ......^
            ERROR: <input>:1:39: found no matching overload for 'allowed' applied to 'kubernetes.authorization.Authorizer.()'
             | params.spec == 1 && authorizer.allowed()
             | ......................................^
        "#]],
        );
    }

    #[test]
    fn wildcards_and_unknown_kinds_are_not_checked() {
        let wrong = json!([{"expression": "object.foo"}]);
        for rules in [rules(&["*"], "v1", &["pods"]), rules(&[""], "v1", &["*"]), rules(&["x.example"], "v1", &["y"])] {
            check(&json!({"matchConstraints": rules, "validations": wrong}), expect![""]);
        }
    }

    #[test]
    fn without_a_group_every_group_with_the_version_counts() {
        assert_eq!(Kinds::new(&[]).of("", "v1", "events").len(), 2);
        assert_eq!(Kinds::new(&[]).of("", "v1", "pod").len(), 1);
    }
}
