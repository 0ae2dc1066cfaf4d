//! Text that wants to hurt: it gets an error, and soon.

use std::time::{Duration, SystemTime};

use expressions::{Bindings, Budget, Environment, Type, compile, structural};
use proptest::prelude::*;

fn try_it(text: &str) {
    let schema =
        serde_json::json!({"type": "object", "properties": {"x": {"type": "array", "items": {"type": "string"}}}});
    let environment = Environment::new()
        .variable("self", structural(&schema, false).expect("exposed"))
        .dynamic("object")
        .with_mutation_types();
    if let Ok(program) = compile(text, &environment, &Type::Dyn) {
        let object = serde_json::json!({"x": ["a", "b"], "n": null});
        let bindings = Bindings::new().json("self", &object).json("object", &object);
        if let Ok(value) = program.evaluate(&bindings, &mut Budget::default()) {
            let _ = value.to_json();
        }
    }
}

fn soon(text: &str) {
    let start = SystemTime::now();
    try_it(text);
    let took = start.elapsed().unwrap_or_default();
    assert!(took < Duration::from_secs(20), "{took:?} for {}", text.chars().take(60).collect::<String>());
}

#[test]
fn deep_nesting_is_an_error() {
    for (open, close) in
        [("(", ")"), ("[", "]"), ("{1:", "}"), ("!(", ")"), ("size([", "])"), ("true ? true : ", ""), ("-", "")]
    {
        let text = format!("{}1{}", open.repeat(10_000), close.repeat(10_000));
        soon(&text);
        soon(&open.repeat(9_000));
    }
}

#[test]
fn long_chains_are_an_error_or_short_trees() {
    soon(&vec!["1"; 20_000].join(" + "));
    soon(&vec!["true"; 20_000].join(" && "));
    soon(&format!("object{}", ".a".repeat(20_000)));
    soon(&format!("object{}", "[0]".repeat(20_000)));
    soon(&format!("object{}", ".optMap(x, x)".repeat(200)));
    soon(&format!("[1]{}", ".map(x, x)".repeat(200)));
    assert!(compile(&"1".repeat(200_000), &Environment::new(), &Type::Dyn).is_err());
}

#[test]
fn the_deepest_tree_that_is_allowed_fits_the_stack() {
    soon(&format!("{}1{}", "[".repeat(240), "]".repeat(240)));
    soon(&format!("1{}", " + 1".repeat(249)));
    soon(&format!("{}true{}", "[1].all(x, ".repeat(80), ")".repeat(80)));
    soon(&format!("{}[]{} == {}[]{}", "[".repeat(200), "]".repeat(200), "[".repeat(200), "]".repeat(200)));
}

#[test]
fn large_values_and_loops_end() {
    soon("lists.range(9223372036854775807)");
    soon("lists.range(100000).map(x, lists.range(100000))");
    soon("lists.range(1000).all(x, lists.range(1000).all(y, lists.range(1000).all(z, true)))");
    soon("lists.range(100).map(x, 'abcdefghij').join('').replace('', 'abcdefghijklmnopqrstuvwxyz')");
    soon(&format!("'a'{}", ".replace('a', 'aaaaaaaaaaaaaaaa')".repeat(200)));
    soon("lists.range(100000).distinct().sort()");
}

#[test]
fn hostile_regular_expressions_end() {
    soon("'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!'.matches('^(a+)+$')");
    soon("'a'.matches('((((a{1000}){1000}){1000}){1000})')");
    soon("lists.range(10000).map(x, 'a'.matches('(a{100}){' + string(x % 900) + '}'))");
    soon(&format!("'a'.matches('{}a{}')", "(".repeat(5000), ")".repeat(5000)));
}

const WORDS: [&str; 62] = [
    "self",
    "object",
    "x",
    ".x",
    ".n",
    "1",
    "2u",
    "1.5",
    "'a'",
    "b'a'",
    "true",
    "null",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    ",",
    ":",
    "?",
    ".",
    "+",
    "-",
    "*",
    "/",
    "%",
    "==",
    "!=",
    "<",
    "<=",
    "&&",
    "||",
    "!",
    "in",
    "has",
    "size",
    ".map(v,",
    ".all(i,v,",
    ".filter(v,",
    ".exists(v,",
    "v",
    "[?",
    ".?",
    "optional.of(",
    ".orValue(",
    "type(",
    "string(",
    "int(",
    "timestamp(",
    "duration('1h')",
    "quantity('1')",
    ".add(",
    "'[0-9]'",
    ".matches(",
    ".split(",
    ".join()",
    "Object{",
    "lists.range(",
    ".sortBy(v,",
    "dyn(",
    ".transformMap(k,v,",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn token_soups_never_panic(words in prop::collection::vec(prop::sample::select(&WORDS[..]), 0..25)) {
        try_it(&words.concat());
        try_it(&words.join(" "));
    }

    #[test]
    fn arbitrary_text_never_panics(text in ".{0,60}") {
        try_it(&text);
    }
}
