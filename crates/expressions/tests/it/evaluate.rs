//! Values and errors of expressions.

use expressions::{Bindings, Budget, DeclType, Environment, Type, compile, structural};
use serde_json::json;

use super::value_of;

fn table(cases: &[(&str, &str)]) {
    let wrong: Vec<String> = cases
        .iter()
        .filter_map(|(text, expected)| {
            let found = value_of(text);
            (found != *expected).then(|| format!("{text}\n  expected {expected}\n  found    {found}"))
        })
        .collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn arithmetic_overflows_and_divides_by_zero_as_errors() {
    table(&[
        ("1 + 2 * 3", "int(7)"),
        ("7 / 2", "int(3)"),
        ("-7 % 3", "int(-1)"),
        ("7.0 / 2.0", "double(3.5)"),
        ("2u * 3u", "uint(6)"),
        ("9223372036854775807 + 1", "error: integer overflow"),
        ("-9223372036854775808 - 1", "error: integer overflow"),
        ("-(-9223372036854775808)", "error: integer overflow"),
        ("0u - 1u", "error: unsigned integer overflow"),
        ("1 / 0", "error: division by zero"),
        ("1 % 0", "error: modulus by zero"),
        ("1.0 / 0.0", "double(+Inf)"),
        ("0x1F", "int(31)"),
        ("1e3", "double(1000)"),
        ("--1 == 1", "bool(true)"),
        ("!!true", "bool(true)"),
    ]);
}

#[test]
fn logic_absorbs_errors_of_either_side() {
    table(&[
        ("true || 1 / 0 == 1", "bool(true)"),
        ("1 / 0 == 1 || true", "bool(true)"),
        ("false && 1 / 0 == 1", "bool(false)"),
        ("1 / 0 == 1 && false", "bool(false)"),
        ("1 / 0 == 1 && true", "error: division by zero"),
        ("false || 1 / 0 == 1", "error: division by zero"),
        ("true ? 1 : 1 / 0", "int(1)"),
        ("[0, 1].exists(x, 1 / x == 1)", "bool(true)"),
        ("[0, 2].all(x, 1 / x == 1)", "bool(false)"),
        ("[0, 1].all(x, 1 / x == 1)", "error: division by zero"),
    ]);
}

#[test]
fn numbers_are_compared_across_types() {
    table(&[
        ("1 < 1.5", "bool(true)"),
        ("1u < 2", "bool(true)"),
        ("dyn(1) == dyn(1.0)", "bool(true)"),
        ("dyn(1) == dyn(1u)", "bool(true)"),
        ("dyn(9007199254740993) == dyn(9007199254740992.0)", "bool(false)"),
        ("dyn('1') == dyn(1)", "bool(false)"),
        ("{1: 'a'}[1]", "string(a)"),
        ("dyn({1: 'a'})[1.0]", "string(a)"),
        ("0.0 / 0.0 == 0.0 / 0.0", "bool(false)"),
        ("1 in [1, 2]", "bool(true)"),
        ("'a' in {'a': 1}", "bool(true)"),
    ]);
}

#[test]
fn macros_with_one_and_with_two_variables() {
    table(&[
        ("[1, 2, 3].all(x, x > 0)", "bool(true)"),
        ("[1, 2, 3].exists_one(x, x > 2)", "bool(true)"),
        ("[1, 2, 3].map(x, x * 2)", "list(dyn)([2,4,6])"),
        ("[1, 2, 3].map(x, x > 1, x * 2)", "list(dyn)([4,6])"),
        ("[1, 2, 3].filter(x, x > 1)", "list(dyn)([2,3])"),
        ("{'a': 1}.map(k, k)", "list(dyn)([\"a\"])"),
        ("[[1], [2, 3]].map(l, l.map(x, x + l.size()))", "list(dyn)([[2],[4,5]])"),
        ("[1, 2].all(i, v, i < v)", "bool(true)"),
        ("{'a': 1, 'b': 2}.exists(k, v, v == 2)", "bool(true)"),
        ("[5, 6].transformList(i, v, i + v)", "list(dyn)([5,7])"),
        ("[5, 6].transformList(i, v, i > 0, v)", "list(dyn)([6])"),
        ("{'a': 1}.transformMap(k, v, v + 1)", "map(dyn, dyn)({\"a\":2})"),
        ("{'a': 'x'}.transformMapEntry(k, v, {v: k})", "map(dyn, dyn)({\"x\":\"a\"})"),
        ("{'a': 'x', 'b': 'x'}.transformMapEntry(k, v, {v: k})", "error: insert failed: key x already exists"),
        ("[1, 2].existsOne(i, v, v == 2)", "bool(true)"),
    ]);
}

#[test]
fn optional_values() {
    table(&[
        ("{'a': {'b': 1}}[?'a'].b.orValue(0)", "int(1)"),
        ("{'a': 1}[?'x'].orValue(5)", "int(5)"),
        ("{'a': 1}.?a.hasValue()", "bool(true)"),
        ("[1][?3].hasValue()", "bool(false)"),
        ("optional.of(1).optMap(x, x + 1).value()", "int(2)"),
        ("optional.none().orValue(3)", "int(3)"),
        ("optional.of(1).optFlatMap(x, optional.of(x + 5)).value()", "int(6)"),
        ("optional.ofNonZeroValue(0).hasValue()", "bool(false)"),
        ("optional.none().value()", "error: optional.none() dereference"),
        ("[?optional.of(1), ?optional.none()]", "list(dyn)([1])"),
        ("{?'a': optional.of(1), ?'b': optional.none()}", "map(dyn, dyn)({\"a\":1})"),
        ("optional.none().or(optional.of(2)).value()", "int(2)"),
    ]);
}

#[test]
fn strings_and_regular_expressions() {
    table(&[
        ("'hello'.charAt(4)", "string(o)"),
        ("'hello hello'.indexOf('he', 1)", "int(6)"),
        ("'hello mellow'.lastIndexOf('ello')", "int(7)"),
        ("'TacoCat'.lowerAscii()", "string(tacocat)"),
        ("'hello'.replace('l', 'L', 1)", "string(heLlo)"),
        ("'a,b,c'.split(',', 2)", "list(dyn)([\"a\",\"b,c\"])"),
        ("'tacocat'.substring(0, 4)", "string(taco)"),
        ("' a '.trim()", "string(a)"),
        ("['a', 'b'].join('-')", "string(a-b)"),
        ("'%d of %s, %.2f %x'.format([1, [1, 'x'], 1.5, 255])", "string(1 of [1, x], 1.50 ff)"),
        ("strings.quote('a\"b')", "string(\"a\\\"b\")"),
        ("'abc 123'.find('[0-9]+')", "string(123)"),
        ("'123 abc 456'.findAll('[0-9]*', 1)", "list(dyn)([\"123\"])"),
        ("'v1'.matches('^v\\\\d$')", "bool(true)"),
        ("'abc'.matches('[')", "compile: ERROR: <input>:1:15: invalid matches argument"),
        ("'[a'.matches('^[[a]+$')", "bool(true)"),
        ("'\\u00e9\\x41\\101'.size()", "int(3)"),
        ("b'\\xff'.size()", "int(1)"),
        ("r'\\d'", "string(\\d)"),
        ("'''a\nb'''.size()", "int(3)"),
        ("string(b'abc') + string(1) + string(1.5) + string(true)", "string(abc11.5true)"),
        ("'a' + 'é' < 'b'", "bool(true)"),
        ("jsonpatch.escapeKey('a/b~c')", "string(a~1b~0c)"),
    ]);
}

#[test]
fn conversions() {
    table(&[
        ("int('12')", "int(12)"),
        ("int('x')", "error: type conversion error from 'string' to 'int'"),
        ("int(3.99)", "int(3)"),
        ("uint(-1)", "error: unsigned integer overflow"),
        ("double('1.5')", "double(1.5)"),
        ("bool('true')", "bool(true)"),
        ("type(1) == int", "bool(true)"),
        ("type([]) == list", "bool(true)"),
        ("type(type(1)) == type", "bool(true)"),
        ("string(duration('1h30m'))", "string(5400s)"),
        ("int(timestamp('1970-01-01T00:00:01Z'))", "int(1)"),
    ]);
}

#[test]
fn timestamps_and_durations() {
    table(&[
        ("timestamp('2023-06-14T02:00:00Z') - timestamp('2023-06-14T01:00:00Z') == duration('1h')", "bool(true)"),
        ("timestamp('2023-06-14T02:00:00Z').getDayOfWeek()", "int(3)"),
        ("timestamp('2023-06-14T02:00:00Z').getHours('-02:00')", "int(0)"),
        ("timestamp('2023-06-14T02:00:00Z').getMonth()", "int(5)"),
        ("duration('90m').getHours()", "int(1)"),
        ("string(timestamp('2023-06-14T02:00:00Z') + duration('1.5s'))", "string(2023-06-14T02:00:01.5Z)"),
        ("timestamp('x')", "compile: ERROR: <input>:1:11: invalid timestamp argument"),
        ("duration('x')", "compile: ERROR: <input>:1:10: invalid duration argument"),
    ]);
}

#[test]
fn kubernetes_lists_and_sets() {
    table(&[
        ("[1, 3, 2].isSorted()", "bool(false)"),
        ("[1, 3].sum()", "int(4)"),
        ("[1.0].max()", "double(1)"),
        ("[].min()", "error: min called on empty list"),
        ("['a', 'b', 'b'].lastIndexOf('b')", "int(2)"),
        ("[3, 1, 2].sort()", "list(dyn)([1,2,3])"),
        ("['aa', 'b'].sortBy(x, x.size())", "list(dyn)([\"b\",\"aa\"])"),
        ("[1, 1, 2].distinct()", "list(dyn)([1,2])"),
        ("[[1], [2]].flatten()", "list(dyn)([1,2])"),
        ("lists.range(3)", "list(dyn)([0,1,2])"),
        ("[1, 2, 3].slice(1, 3)", "list(dyn)([2,3])"),
        ("[1, 2].reverse()", "list(dyn)([2,1])"),
        ("sets.contains([1, 2], [2])", "bool(true)"),
        ("sets.equivalent([1, 2], [2, 1])", "bool(true)"),
        ("sets.intersects([1], [2])", "bool(false)"),
        ("[1][5]", "error: index out of bounds: 5"),
        ("{'a': 1}['b']", "error: no such key: b"),
    ]);
}

#[test]
fn kubernetes_libraries() {
    table(&[
        ("quantity('1Ki').isGreaterThan(quantity('1k'))", "bool(true)"),
        ("quantity('1').add(2).asInteger()", "int(3)"),
        ("quantity('50k').sub(20000) == quantity('30k')", "bool(true)"),
        ("isQuantity('1.3Gi')", "bool(true)"),
        ("sign(quantity('-1'))", "int(-1)"),
        ("url('https://u@example.com:80/a%20b?x=1&x=2').getHost()", "string(example.com:80)"),
        ("url('https://example.com:80/').getPort()", "string(80)"),
        ("url('https://[::1]:80/').getHostname()", "string(::1)"),
        ("url('/a?x=1&x=2').getQuery()['x']", "list(dyn)([\"1\",\"2\"])"),
        ("isURL('../up')", "bool(false)"),
        ("ip('192.168.0.1').family()", "int(4)"),
        ("ip('::1').isLoopback()", "bool(true)"),
        ("isIP('1.2.3')", "bool(false)"),
        ("ip.isCanonical('2001:db8::abcd')", "bool(true)"),
        ("cidr('10.0.0.0/8').containsIP('10.1.2.3')", "bool(true)"),
        ("cidr('10.0.0.0/8').containsCIDR(cidr('10.1.0.0/16'))", "bool(true)"),
        ("string(cidr('10.1.2.3/8').masked())", "string(10.0.0.0/8)"),
        ("cidr('::1/24').prefixLength()", "int(24)"),
        ("semver('1.2.3').isLessThan(semver('1.10.0'))", "bool(true)"),
        ("semver('v01.01', true).minor()", "int(1)"),
        ("isSemver('v1.0')", "bool(false)"),
        ("semver('1.0.0-alpha.1').compareTo(semver('1.0.0-alpha.beta'))", "int(-1)"),
        ("format.dns1123Label().validate('ok').hasValue()", "bool(false)"),
        ("format.named('uuid').value().validate('x').value()", "list(dyn)([\"does not match the UUID format\"])"),
        ("!format.dns1123Subdomain().validate('NO').hasValue()", "bool(false)"),
    ]);
}

fn evaluate(schema: &serde_json::Value, object: &serde_json::Value, rule: &str) -> String {
    let environment = Environment::new().variable("self", structural(schema, false).expect("the schema exposes data"));
    let bindings = Bindings::new().json("self", object);
    super::with(rule, &environment, &bindings)
}

#[test]
fn data_has_the_types_of_its_schema() {
    let schema = json!({"type": "object", "properties": {
        "when": {"type": "string", "format": "date-time"}, "for": {"type": "string", "format": "duration"},
        "data": {"type": "string", "format": "byte"}, "ratio": {"type": "number"}, "a-b": {"type": "integer"},
        "port": {"x-kubernetes-int-or-string": true}, "namespace": {"type": "string"},
        "tags": {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"},
        "ports": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
            "items": {"type": "object", "properties": {"name": {"type": "string"}, "port": {"type": "integer"}}}},
        "opt": {"type": "string"}}});
    let object = json!({"when": "2023-01-01T00:00:00Z", "for": "1h", "data": "aGk=", "ratio": 1, "a-b": 5, "port": "80%",
        "namespace": "x", "tags": ["a", "b"], "ports": [{"name": "x", "port": 1}, {"name": "y", "port": 2}]});
    for (rule, expected) in [
        ("self.when.getFullYear()", "int(2023)"),
        ("self.__for__.getMinutes()", "int(60)"),
        ("string(self.data)", "string(hi)"),
        ("self.ratio", "double(1)"),
        ("self.a__dash__b", "int(5)"),
        ("self.__namespace__", "string(x)"),
        ("type(self.port) == string && self.port.endsWith('%')", "bool(true)"),
        ("self.tags == ['b', 'a']", "bool(true)"),
        ("(self.tags + ['b', 'c']).size()", "int(3)"),
        (
            "(self.ports + [{'name': 'x', 'port': 9}])[0].port",
            "compile: ERROR: <input>:1:13: found no matching overload for '_+_' applied to '(list(selfType.ports.@idx), list(map(string, dyn)))'",
        ),
        ("has(self.opt)", "bool(false)"),
        ("self.opt", "error: no such key: opt"),
        ("self.?opt.orValue('none')", "string(none)"),
        ("self.unknown", "compile: ERROR: <input>:1:5: undefined field 'unknown'"),
        ("self == self", "bool(true)"),
    ] {
        assert_eq!(evaluate(&schema, &object, rule), expected, "{rule}");
    }
}

#[test]
fn variables_of_a_policy_are_evaluated_once_and_only_when_used() {
    let environment = Environment::new().dynamic("object");
    let heavy = compile("lists.range(object.n).map(x, x + 1).sum()", &environment, &Type::Dyn).expect("compiles");
    let broken = compile("1 / 0", &environment, &Type::Dyn).expect("compiles");
    let environment = environment.composed("heavy", heavy.result_type()).composed("broken", broken.result_type());
    let object = json!({"n": 100});
    let cost = |rule: &str| {
        let program = compile(rule, &environment, &Type::Dyn).expect("compiles");
        let bindings = Bindings::new().json("object", &object).variable("heavy", &heavy).variable("broken", &broken);
        let mut budget = Budget::default();
        let value = program
            .evaluate(&bindings, &mut budget)
            .map_or_else(|error| error.to_string(), |value| format!("{value:?}"));
        (value, expressions::limits::RUNTIME_BUDGET - budget.remaining())
    };
    assert_eq!(cost("1 == 1").1, 1);
    let (value, once) = cost("variables.heavy");
    assert_eq!(value, "int(5050)");
    assert!(cost("variables.heavy + variables.heavy").1 < once + 10);
    assert_eq!(cost("variables.broken == 1").0, "composited variable \"broken\" fails to evaluate: division by zero");
}

#[test]
fn a_mutation_constructs_objects_and_patches() {
    let environment = Environment::new().dynamic("object").with_mutation_types();
    let json_of = |text: &str| {
        let program = compile(text, &environment, &Type::Dyn).expect("compiles");
        let object = json!({"metadata": {"labels": {"a": "b"}}});
        let bindings = Bindings::new().json("object", &object);
        program
            .evaluate(&bindings, &mut Budget::default())
            .and_then(|value| value.to_json())
            .map_err(|error| error.to_string())
    };
    assert_eq!(json_of("Object{spec: Object.spec{replicas: 3}}"), Ok(json!({"spec": {"replicas": 3}})));
    assert_eq!(
        json_of("[JSONPatch{op: 'add', path: '/metadata/labels/' + jsonpatch.escapeKey('a/b'), value: 'x'}]"),
        Ok(json!([{"op": "add", "path": "/metadata/labels/a~1b", "value": "x"}]))
    );
    assert!(json_of("Object{spec: Object.other{replicas: 3}}").is_err());
    assert!(compile("JSONPatch{oops: 1}", &environment, &Type::Dyn).is_err());
}

#[test]
fn an_absent_old_value_is_an_optional_that_has_none() {
    let decl = structural(&json!({"type": "string"}), false).expect("exposed");
    let environment = Environment::new().variable("self", decl.clone()).variable("oldSelf", decl.into_optional());
    let rule = compile("!oldSelf.hasValue() || oldSelf.value() == self", &environment, &Type::Bool).expect("compiles");
    let (new, old) = (json!("a"), json!("b"));
    for (before, expected) in [(None, true), (Some(&old), false), (Some(&new), true)] {
        let bindings = Bindings::new().json("self", &new).optional_json("oldSelf", before);
        let found = rule.evaluate(&bindings, &mut Budget::default()).map(|value| value.as_bool());
        assert_eq!(found, Ok(Some(expected)));
    }
}

#[test]
fn a_request_has_only_its_declared_fields() {
    let environment = Environment::new().variable("request", expressions::admission_request());
    assert!(compile("request.userInfo.groups.exists(g, g == 'x')", &environment, &Type::Bool).is_ok());
    assert!(compile("request.oops", &environment, &Type::Dyn).is_err());
    let _ = DeclType::dynamic();
}
