//! Rules at work.

use std::collections::BTreeMap;

use apimachinery::field::{ErrorList, FieldError, Path};
use expressions::{Bindings, Budget, DeclType, EvalError, Program};
use serde_json::Value;

use super::{compile_rule, has_rules};
use crate::checks::NO_PATH;
use crate::json::{entries, field, list};
use crate::structural::{Correlated, MapList, Rule, Structural, Type};
use crate::{definition, field_path};

/// The compiled rules of a schema. Empty where there are none.
pub struct Rules(Option<Node>);

/// The rules of one place and of those below. There is no node where there are no rules.
struct Node {
    rules: Vec<Ready>,
    properties: BTreeMap<String, Node>,
    items: Option<Box<Node>>,
    additional: Option<Box<Node>>,
}

/// A rule of a place, in the order of the schema.
struct Ready {
    program: Result<Program, String>,
    message: Option<Program>,
    /// Where the complaint goes, below the place.
    field_path: String,
}

impl Rules {
    pub fn compile(schema: &Value, structural: &Structural) -> Self {
        let any = definition::visit_any(schema, &mut has_rules);
        let decl = if any { expressions::structural(schema, true) } else { None };
        Self(decl.and_then(|decl| Node::compile(schema, structural, Some(&decl))))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Judges an object, new or changed.
    pub fn check(&self, schema: &Structural, new: &Value, old: Option<&Value>) -> ErrorList {
        self.run(schema, new, old).errors
    }

    /// What is wrong with an object, but was so before.
    pub fn forgiven(&self, schema: &Structural, new: &Value, old: &Value) -> ErrorList {
        self.run(schema, new, Some(old)).forgiven
    }

    fn run(&self, schema: &Structural, new: &Value, old: Option<&Value>) -> Run {
        let mut run = Run::default();
        if let Some(node) = &self.0 {
            let current = old.map(|old| Correlated::new(new, old, schema));
            let correlation = Correlation { current, parent: None, root: true };
            run.node(node, schema, &Place { new, old, path: Path::root(), correlation });
        }
        run
    }
}

/// Judges a default: as one that was there before, and as one that is new.
pub fn check_default(
    schema: &Value,
    structural: &Structural,
    default: &Value,
    path: &Path,
    embedded: bool,
) -> ErrorList {
    if !definition::visit_any(schema, &mut has_rules) {
        return ErrorList::new();
    }
    let decl = expressions::structural(schema, embedded);
    let Some(node) = decl.and_then(|decl| Node::compile(schema, structural, Some(&decl))) else {
        return ErrorList::new();
    };
    for old in [Some(default), None] {
        let mut run = Run::default();
        let correlation = Correlation { current: None, parent: None, root: true };
        run.node(&node, structural, &Place { new: default, old, path: path.clone(), correlation });
        if !run.errors.is_empty() {
            return run.errors;
        }
    }
    ErrorList::new()
}

impl Node {
    fn compile(schema: &Value, structural: &Structural, decl: Option<&DeclType>) -> Option<Self> {
        let decl = decl?;
        let element = decl.element.as_deref();
        let property = |(name, child): (&str, &Value)| {
            let structural = structural.property(name)?;
            let own = expressions::escape(name).and_then(|name| decl.field(&name).map(|decl| (**decl).clone()));
            let own = own.or_else(|| expressions::structural(child, structural.embedded));
            Some((name.to_owned(), Node::compile(child, structural, own.as_ref())?))
        };
        let node = Self {
            rules: list(schema, "x-kubernetes-validations").iter().map(|rule| ready(rule, structural, decl)).collect(),
            properties: entries(schema, "properties").filter_map(property).collect(),
            items: below(field(schema, "items"), structural.items.as_deref(), element),
            additional: below(field(schema, "additionalProperties"), structural.additional_schema(), element),
        };
        let empty = node.rules.is_empty() && node.properties.is_empty();
        (!empty || node.items.is_some() || node.additional.is_some()).then_some(node)
    }
}

fn below(schema: Option<&Value>, structural: Option<&Structural>, decl: Option<&DeclType>) -> Option<Box<Node>> {
    Node::compile(schema?, structural?, decl).map(Box::new)
}

fn ready(rule: &Value, structural: &Structural, decl: &DeclType) -> Ready {
    let path = crate::json::text(rule, "fieldPath");
    let field_path = if path.is_empty() { None } else { field_path::resolve(path, structural, true).ok() };
    let field_path = field_path.map(|found| found.path).unwrap_or_default();
    match compile_rule(rule, decl) {
        Ok(compiled) => Ready { program: Ok(compiled.rule), message: compiled.message, field_path },
        Err(why) => Ready { program: Err(why), message: None, field_path },
    }
}

/// A value, and what it was.
struct Place<'a> {
    new: &'a Value,
    old: Option<&'a Value>,
    path: Path,
    correlation: Correlation<'a>,
}

/// Which old value forgives what is wrong: that of the place, or of the nearest place around that has one.
#[derive(Clone, Copy)]
struct Correlation<'a> {
    current: Option<Correlated<'a>>,
    parent: Option<Correlated<'a>>,
    root: bool,
}

impl<'a> Correlation<'a> {
    fn forgives(&self) -> bool {
        self.current.or(self.parent).is_some_and(|before| before.is_unchanged())
    }

    fn step(self, below: impl FnOnce(Correlated<'a>) -> Option<Correlated<'a>>) -> Self {
        match self.current {
            None => Self { root: false, ..self },
            Some(here) => Self { current: below(here), parent: Some(here), root: false },
        }
    }

    fn key(self, name: &str) -> Self {
        if self.root && matches!(name, "apiVersion" | "kind") {
            return Self { current: None, parent: None, root: false };
        }
        self.step(|here| here.field(name))
    }
}

#[derive(Default)]
struct Run {
    budget: Budget,
    errors: ErrorList,
    /// What would be an error, were it not as wrong as it was.
    forgiven: ErrorList,
    /// The budget is spent.
    ended: bool,
}

const OUT_OF_BUDGET: &str =
    "validation failed due to running out of cost budget, no further validation rules will be run";

impl Run {
    fn node(&mut self, node: &Node, schema: &Structural, place: &Place<'_>) {
        if self.ended || place.new.is_null() {
            return;
        }
        for (ready, rule) in node.rules.iter().zip(schema.rules()) {
            self.rule(ready, rule, schema, place);
            if self.ended {
                return;
            }
        }
        match place.new {
            Value::Object(map) => {
                for (name, new) in map {
                    self.field(node, schema, place, name, new);
                }
            }
            Value::Array(items) => self.items(node, schema, place, items),
            _ => {}
        }
    }

    fn field(&mut self, node: &Node, schema: &Structural, place: &Place<'_>, name: &str, new: &Value) {
        let old = place.old.and_then(|old| old.get(name));
        let correlation = place.correlation.key(name);
        if let (Some(node), Some(schema)) = (&node.additional, schema.additional_schema()) {
            self.node(node, schema, &Place { new, old, path: place.path.key(name), correlation });
        }
        if let (Some(node), Some(schema)) = (node.properties.get(name), schema.property(name)) {
            self.node(node, schema, &Place { new, old, path: place.path.child(name), correlation });
        }
    }

    fn items(&mut self, node: &Node, schema: &Structural, place: &Place<'_>, items: &[Value]) {
        let (Some(node), Some(item_schema)) = (&node.items, &schema.items) else { return };
        let before = MapList::new(schema, place.old);
        for (index, new) in items.iter().enumerate() {
            let old = before.get(new);
            let correlation = place.correlation.step(|here| here.item(index));
            self.node(node, item_schema, &Place { new, old, path: place.path.index(index), correlation });
        }
    }

    fn rule(&mut self, ready: &Ready, rule: &Rule, schema: &Structural, place: &Place<'_>) {
        let at = shown(&place.path);
        let program = match &ready.program {
            Ok(program) => program,
            Err(why) => return self.errors.invalid(&at, schema.ty.name(), format!("rule compile error: {why}")),
        };
        let transition = program.uses("oldSelf");
        if transition && place.old.is_none() && !rule.optional_old_self {
            return;
        }
        let bindings = bindings(rule, place);
        match program.evaluate(&bindings, &mut self.budget) {
            Ok(expressions::Value::Bool(true)) => {}
            Ok(_) => {
                let error = self.complaint(ready, rule, schema, place, &bindings);
                match transition || !place.correlation.forgives() {
                    true => self.errors.extend(error),
                    false => self.forgiven.extend(error),
                }
            }
            Err(why) => self.failure(&why, rule, schema, &at),
        }
    }

    fn failure(&mut self, why: &EvalError, rule: &Rule, schema: &Structural, at: &Path) {
        let told = if rule.message.is_empty() { rule.rule.trim() } else { rule.message.trim() };
        self.ended = why.is_limit();
        let detail = match why {
            EvalError::OutOfBudget => OUT_OF_BUDGET.into(),
            EvalError::CallCost => {
                format!(
                    "'{why}': no further validation rules will be run due to call cost exceeds limit for rule: {told}"
                )
            }
            EvalError::NoSuchOverload => format!(
                "'{why}': call arguments did not match a supported operator, function or macro signature for rule: {told}"
            ),
            _ => format!("{why} evaluating rule: {told}"),
        };
        self.errors.invalid(at, schema.ty.name(), detail);
    }

    /// `None` when the message could not be paid for; that is told instead.
    fn complaint<'b>(
        &mut self,
        ready: &Ready,
        rule: &Rule,
        schema: &Structural,
        place: &Place<'_>,
        bindings: &'b Bindings<'b>,
    ) -> Option<FieldError> {
        let at = if ready.field_path.is_empty() { place.path.clone() } else { place.path.child(&ready.field_path) };
        let at = shown(&at);
        let expression = ready.message.as_ref().map(|message| message.evaluate(bindings, &mut self.budget));
        let detail = match expression {
            Some(Ok(value)) => usable(&value).unwrap_or_else(|| message_of(rule)),
            Some(Err(why)) if why.is_limit() => {
                self.ended = true;
                let detail = "messageExpression evaluation failed due to running out of cost budget, no further \
                              validation rules will be run";
                return Some(FieldError::invalid(&at, schema.ty.name(), detail));
            }
            Some(Err(_)) | None => message_of(rule),
        };
        let value = place.new.clone();
        let error = match &*rule.reason {
            "FieldValueForbidden" => FieldError::forbidden(&at, detail),
            "FieldValueRequired" => FieldError::required(&at, &detail),
            "FieldValueDuplicate" => FieldError::duplicate(&at, value),
            _ => FieldError::invalid(&at, value, detail),
        };
        Some(if matches!(schema.ty, Type::Object | Type::Array) { error.hiding_value() } else { error })
    }
}

fn bindings<'a>(rule: &Rule, place: &Place<'a>) -> Bindings<'a> {
    let bindings = Bindings::new().json("self", place.new);
    match place.old {
        old if rule.optional_old_self => bindings.optional_json("oldSelf", old),
        Some(old) => bindings.json("oldSelf", old),
        None => bindings,
    }
}

fn shown(path: &Path) -> Path {
    if path.as_str().is_empty() { Path::new(NO_PATH) } else { path.clone() }
}

/// A message of an expression: one line, not too long.
fn usable(value: &expressions::Value<'_>) -> Option<String> {
    let serde_json::Value::String(text) = value.to_json().ok()? else { return None };
    let text = text.trim().to_owned();
    (!text.is_empty() && !text.contains(['\n', '\r']) && text.len() <= 5 * 1024).then_some(text)
}

fn message_of(rule: &Rule) -> String {
    match rule.message.trim() {
        "" => format!("failed rule: {}", rule.rule.trim()),
        message => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(spec: &Value, new: &Value, old: Option<&Value>) -> Vec<String> {
        let schema = json!({"type": "object", "properties": {"spec": spec}});
        let structural = Structural::compile(&schema).unwrap();
        let (new, old) = (json!({"spec": new}), old.map(|old| json!({"spec": old})));
        let errors = Rules::compile(&schema, &structural).check(&structural, &new, old.as_ref());
        errors.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_rule_that_fails_is_told_in_its_own_words() {
        let spec = json!({"type": "object", "properties": {"a": {"type": "integer"}, "s": {"type": "string",
                "x-kubernetes-validations": [{"rule": "self.startsWith('a')", "messageExpression": "'not ' + self"}]}},
            "x-kubernetes-validations": [
                {"rule": "self.a > 1", "message": "too small", "fieldPath": ".a", "reason": "FieldValueForbidden"},
                {"rule": "self.a > 2"}]});
        let told = check(&spec, &json!({"a": 1, "s": "b"}), None);
        let expected = [
            "spec.a: Forbidden: too small",
            "spec: Invalid value: failed rule: self.a > 2",
            "spec.s: Invalid value: \"b\": not b",
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn transition_rules_see_the_item_with_the_same_key() {
        let spec = json!({"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"],
            "items": {"type": "object", "required": ["k"], "properties": {"k": {"type": "string"}, "v": {"type": "integer"}},
                "x-kubernetes-validations": [{"rule": "self.v >= oldSelf.v", "message": "shrinks"}]}});
        let old = json!([{"k": "a", "v": 1}, {"k": "b", "v": 5}]);
        assert_eq!(
            check(&spec, &json!([{"k": "b", "v": 4}, {"k": "c", "v": 0}]), Some(&old)),
            ["spec[0]: Invalid value: shrinks"]
        );
        assert!(check(&spec, &old, None).is_empty());
    }

    #[test]
    fn what_did_not_change_is_forgiven_unless_the_rule_is_about_change() {
        let spec = json!({"type": "object", "properties": {"a": {"type": "integer",
            "x-kubernetes-validations": [{"rule": "self > 5"}]}, "b": {"type": "integer"}}});
        let old = json!({"a": 1, "b": 1});
        assert!(check(&spec, &json!({"a": 1, "b": 2}), Some(&old)).is_empty());
        assert_eq!(check(&spec, &json!({"a": 2, "b": 2}), Some(&old)).len(), 1);
    }

    #[test]
    fn what_is_forgiven_can_be_told() {
        let schema = json!({"type": "object", "properties": {"a": {"type": "integer",
            "x-kubernetes-validations": [{"rule": "self > 5"}]}, "b": {"type": "integer"}}});
        let structural = Structural::compile(&schema).unwrap();
        let (new, old) = (json!({"a": 1, "b": 2}), json!({"a": 1, "b": 1}));
        let told = Rules::compile(&schema, &structural).forgiven(&structural, &new, &old);
        let told: Vec<String> = told.iter().map(ToString::to_string).collect();
        assert_eq!(told, ["a: Invalid value: 1: failed rule: self > 5"]);
    }
}
