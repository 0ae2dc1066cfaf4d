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
    let schema = json!({"type": "object", "properties": {"a": {"type": "integer"}, "s": {"type": "string", "maxLength": 10}}});
    assert_eq!(max_cost(&schema, "true"), 0);
    assert_eq!(max_cost(&schema, "self.a == 1"), 3);
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
