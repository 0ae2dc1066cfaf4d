//! Estimates and budgets.

use expressions::{Bindings, Budget, Environment, EvalError, Type, compile, limits, structural};
use serde_json::{Value, json};

fn max_cost(schema: &Value, rule: &str) -> u64 {
    let environment = Environment::new().variable("self", structural(schema, false).expect("exposed"));
    compile(rule, &environment, &Type::Bool).expect("compiles").cost_estimate().max
}

fn list_of_strings(max_items: Option<u64>, max_length: Option<u64>) -> Value {
    let mut schema = json!({"type": "array", "items": {"type": "string"}});
    if let Some(max) = max_items {
        schema["maxItems"] = json!(max);
    }
    if let Some(max) = max_length {
        schema["items"]["maxLength"] = json!(max);
    }
    schema
}

#[test]
fn small_expressions_have_upstreams_estimates() {
    let schema =
        json!({"type": "object", "properties": {"a": {"type": "integer"}, "s": {"type": "string", "maxLength": 10}}});
    assert_eq!(max_cost(&schema, "true"), 0);
    // A number's declaration has no size, so comparing it is free.
    assert_eq!(max_cost(&schema, "self.a == 1"), 2);
    assert_eq!(max_cost(&schema, "has(self.a)"), 1);
    assert_eq!(max_cost(&schema, "self.s == 'abc'"), 3);
    assert_eq!(max_cost(&schema, "self.s.contains('abc')"), 2 + 4);
}

#[test]
fn a_loop_costs_as_often_as_its_list_may_have_items() {
    let schema = list_of_strings(Some(10), Some(10));
    // Range 1, result 1; per item: the condition 2, the accumulator 1, the variable 1, the comparison 1.
    assert_eq!(max_cost(&schema, "self.all(x, x == 'y')"), 2 + 10 * 5);
}

#[test]
fn unbounded_nested_loops_exceed_the_limit_and_bounds_help() {
    let rule = "self.all(x, self.all(y, x != y))";
    assert!(max_cost(&list_of_strings(None, None), rule) > limits::ESTIMATED_RULE_LIMIT);
    assert!(max_cost(&list_of_strings(Some(10), Some(10)), rule) < limits::ESTIMATED_RULE_LIMIT);
}

fn run(rule: &str, object: &Value, budget: &mut Budget) -> Result<Option<bool>, EvalError> {
    let environment = Environment::new().dynamic("object");
    let program = compile(rule, &environment, &Type::Dyn).expect("compiles");
    let bindings = Bindings::new().json("object", object);
    program.evaluate(&bindings, budget).map(|value| value.as_bool())
}

#[test]
fn evaluation_takes_its_cost_from_the_budget() {
    let object = json!({"a": "b"});
    let mut budget = Budget::new(100);
    assert_eq!(run("object.a == 'b'", &object, &mut budget), Ok(Some(true)));
    assert_eq!(budget.remaining(), 97);
}

#[test]
fn a_budget_that_is_used_up_ends_the_evaluation() {
    let object = json!((0..1000).collect::<Vec<_>>());
    let mut budget = Budget::new(100);
    assert_eq!(run("object.all(x, x >= 0) || true", &object, &mut budget), Err(EvalError::OutOfBudget));
    assert_eq!(budget.remaining(), 0);
}

#[test]
fn one_call_has_a_limit_of_its_own() {
    let object = json!((0..1000).collect::<Vec<_>>());
    let mut budget = Budget::default();
    assert_eq!(run("object.all(x, object.all(y, x != y || true))", &object, &mut budget), Err(EvalError::CallCost));
}

fn array(items: Value, max: Option<u64>) -> Value {
    let mut schema = json!({"type": "array", "items": items});
    if let Some(max) = max {
        schema["maxItems"] = json!(max);
    }
    schema
}

fn map(values: Value, max: Option<u64>) -> Value {
    let mut schema = json!({"type": "object", "additionalProperties": values});
    if let Some(max) = max {
        schema["maxProperties"] = json!(max);
    }
    schema
}

fn text(max: Option<u64>) -> Value {
    max.map_or_else(|| json!({"type": "string"}), |max| json!({"type": "string", "maxLength": max}))
}

/// The figures that upstream promises for these schemas, without and with a limit.
#[test]
fn estimates_agree_with_upstreams_figures() {
    let typed = |ty: &str| json!({"type": ty});
    let formatted = |format: &str| json!({"type": "string", "format": format});
    let number = || typed("number");
    let mut wrong = Vec::new();
    let mut case = |schema: Value, rule: &str, expected: u64| {
        let found = max_cost(&schema, rule);
        if found != expected {
            wrong.push(format!("{rule} on {schema}: expected {expected}, found {found}"));
        }
    };
    let all = "self.all(x, true)";
    case(array(number(), None), all, 4_718_591);
    case(array(number(), Some(10)), all, 32);
    case(array(typed("string"), None), all, 3_145_727);
    case(array(typed("boolean"), None), all, 1_887_437);
    case(array(array(number(), None), None), all, 3_145_727);
    case(map(number(), None), all, 1_348_169);
    case(map(typed("string"), None), all, 1_179_647);
    case(map(typed("boolean"), None), all, 943_718);
    case(array(formatted("duration"), None), all, 2_359_295);
    case(array(formatted("date"), None), all, 725_936);
    case(array(formatted("date-time"), None), all, 428_963);
    case(array(json!({"x-kubernetes-int-or-string": true}), None), all, 4_718_591);
    case(text(None), "self.contains('test')", 314_574);
    case(text(Some(10)), "self.contains('test')", 5);
    case(text(None), "self.startsWith('test')", 2);
    case(text(None), "size(self + \"hello\") > size(\"hello\")", 314_578);
    case(text(Some(4)), "size(self + \"hello\") > size(\"hello\")", 7);
    case(array(number(), None), "self[1] == 0.0", 2);
    case(array(typed("string"), None), "self[1] == self[1]", 314_577);
    case(array(number(), Some(10)), "self.all(x, self.all(y, true))", 352);
    case(array(number(), Some(10)), "self.all(x, self.all(y, self.all(z, true)))", 3552);
    case(text(None), "self.matches(\"x\")", 314_574);
    case(text(Some(50)), "self.matches(\"x\")", 22);
    case(text(None), "\"\".matches(\"(((((((((())))))))))[0-9]\")", 7);
    case(text(None), "self.matches(\"\")", 1);
    case(map(number(), None), "self[\"x\"] == 0.0", 2);
    case(text(None), "self == \"x\"", 2);
    case(text(Some(0)), "self == \"x\"", 1);
    case(array(number(), None), "self.all(x, x == 0.0)", 6_291_454);
    case(array(json!({"x-kubernetes-int-or-string": true}), None), "self[0] == 5", 3);
    case(array(array(number(), None), None), "self[0][0] == -1.0", 3);
    case(array(map(number(), None), None), "self.all(x, x.y == 25.2)", 6_291_452);
    case(array(map(number(), None), Some(12)), "self.all(x, x.y == 25.2)", 74);
    case(array(map(number(), None), None), "self[0].x > 2.0", 4);
    case(array(formatted("duration"), None), "self[0].getHours() == 2", 4);
    case(array(formatted("date"), None), "self[2].getDayOfMonth() == 13", 4);
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// Upstream drops the first element of a path, as it should be the variable: what is taken from the result of a call has the
/// size of the schema's root, of which objects have none.
#[test]
fn what_is_taken_from_a_call_is_as_large_as_the_root() {
    let names = list_of_strings(Some(256), Some(64));
    let schema = json!({"type": "object", "properties": {"names": names}});
    let choice = "(has(self.names) ? self.names : []).exists(name, name.contains('/'))";
    assert_eq!(max_cost(&schema, choice), 1292);
    assert_eq!(max_cost(&schema, "self.names.exists(name, name.contains('/'))"), 7939);
    // Of a list, it has the list's limit.
    let same = max_cost(&names, "self.map(name, name).all(name, name.contains('/'))");
    assert_eq!(
        same,
        max_cost(&list_of_strings(Some(256), Some(1)), "self.map(name, name).all(name, name.contains('/'))")
    );
    // An optional has no path.
    assert!(max_cost(&schema, "self.?names.orValue([]).exists(name, true)") > 1 << 40);
}
