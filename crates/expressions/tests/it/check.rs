//! Messages of compilation.

use expect_test::{Expect, expect};
use expressions::{Environment, Type, compile};

fn check(text: &str, expected: Expect) {
    let environment = Environment::new().dynamic("object");
    let result = compile(text, &environment, &Type::Bool);
    expected
        .assert_eq(&result.map_or_else(|error| error.to_string(), |program| format!("ok, {}", program.result_type())));
}

#[test]
fn an_unknown_name_is_shown_in_its_place() {
    check(
        "1 == foo",
        expect![[r#"
        ERROR: <input>:1:6: undeclared reference to 'foo' (in container '')
         | 1 == foo
         | .....^"#]],
    );
}

#[test]
fn wrong_arguments_show_their_types() {
    check(
        "'a' + 1 == 'b'",
        expect![[r#"
        ERROR: <input>:1:5: found no matching overload for '_+_' applied to '(string, int)'
         | 'a' + 1 == 'b'
         | ....^"#]],
    );
    check(
        "'a'.startsWith(1)",
        expect![[r#"
        ERROR: <input>:1:15: found no matching overload for 'startsWith' applied to 'string.(int)'
         | 'a'.startsWith(1)
         | ..............^"#]],
    );
}

#[test]
fn a_result_of_another_type_is_refused() {
    check("1 + 1", expect!["must evaluate to bool"]);
    check("object.a", expect!["must evaluate to bool"]);
    check("object.a == 1", expect!["ok, bool"]);
}

#[test]
fn what_kubernetes_does_not_have_is_unknown() {
    check(
        "math.greatest(1, 2) == 2",
        expect![[r#"
        ERROR: <input>:1:1: undeclared reference to 'math' (in container '')
         | math.greatest(1, 2) == 2
         | ^
        ERROR: <input>:1:14: undeclared reference to 'greatest' (in container '')
         | math.greatest(1, 2) == 2
         | .............^"#]],
    );
}

#[test]
fn syntax_errors_name_what_was_expected() {
    check(
        "object.a ==",
        expect![[r#"
        ERROR: <input>:1:12: Syntax error: mismatched input '<EOF>' expecting {'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}
         | object.a ==
         | ...........^"#]],
    );
    check(
        "has(1)",
        expect![[r#"
        ERROR: <input>:1:5: invalid argument to has() macro
         | has(1)
         | ....^"#]],
    );
}

#[test]
fn literals_have_items_of_one_type() {
    check(
        "[1, 'a'].size() == 2",
        expect![[r#"
        ERROR: <input>:1:5: expected type 'int' but found 'string'
         | [1, 'a'].size() == 2
         | ....^"#]],
    );
}
