//! Laws that hold for any objects, tried on many.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

use super::*;
use crate::managed_fields::{Endpoint, FieldSet, OneVersion, decode};

fn place() -> Place<'static> {
    Some(api::schema::kind("", "v1", "Pod").unwrap().node())
}

/// A pod that says something about a few of the fields that merge in different ways.
fn config(random: &mut StdRng) -> Value {
    let mut pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "spec": {}});
    for label in ["a", "b", "c"] {
        if random.random_bool(0.4) {
            pod["metadata"]["labels"][label] = json!(random.random_range(0..2).to_string());
        }
    }
    if random.random_bool(0.3) {
        pod["metadata"]["finalizers"] = some(random, &["x/1", "x/2", "x/3"]).into();
    }
    if random.random_bool(0.3) {
        pod["spec"]["nodeSelector"] = json!({"n": random.random_range(0..2).to_string()});
    }
    let containers: Vec<Value> =
        some(random, &["p", "q", "r"]).into_iter().map(|name| container(random, &name)).collect();
    if !containers.is_empty() {
        pod["spec"]["containers"] = containers.into();
    }
    pod
}

fn container(random: &mut StdRng, name: &str) -> Value {
    let mut container = json!({"name": name});
    if random.random_bool(0.5) {
        container["image"] = json!(random.random_range(0..2).to_string());
    }
    if random.random_bool(0.3) {
        container["args"] = json!([random.random_range(0..2).to_string()]);
    }
    if random.random_bool(0.3) {
        container["ports"] = json!([{"containerPort": random.random_range(80..82)}]);
    }
    container
}

/// Some of the words, in any order.
fn some(random: &mut StdRng, words: &[&str]) -> Vec<String> {
    let mut chosen: Vec<String> =
        words.iter().filter(|_| random.random_bool(0.5)).map(|word| (*word).to_owned()).collect();
    if random.random_bool(0.5) {
        chosen.reverse();
    }
    chosen
}

fn for_each_seed(check: impl Fn(&mut StdRng)) {
    for seed in 0..400 {
        check(&mut StdRng::seed_from_u64(seed));
    }
}

fn apply(live: Option<&Value>, config: &Value, manager: &str) -> Value {
    let (api_version, place) = ("v1", place());
    let versions = OneVersion { api_version, place };
    let now = "2026-01-01T00:00:00Z";
    let endpoint = Endpoint { place, api_version, kind: "Pod", subresource: "", reset: &[], versions: &versions, now };
    endpoint.apply(live, config, manager, true).unwrap()
}

fn empty() -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}})
}

fn without_owners(mut object: Value) -> Value {
    object["metadata"].as_object_mut().unwrap().remove("managedFields");
    object
}

#[test]
fn merging_the_same_again_changes_nothing() {
    for_each_seed(|random| {
        let (lower, upper) = (config(random), config(random));
        let once = merge(&lower, &upper, place());
        assert_eq!(merge(&once, &upper, place()), once, "{lower} + {upper}");
    });
}

#[test]
fn a_merge_has_the_fields_of_both() {
    for_each_seed(|random| {
        let (lower, upper) = (config(random), config(random));
        let mut both = to_field_set(&lower, place());
        both.extend(&to_field_set(&upper, place()));
        assert_eq!(to_field_set(&merge(&lower, &upper, place()), place()), both, "{lower} + {upper}");
    });
}

#[test]
fn nothing_differs_from_itself_and_all_that_differs_is_named() {
    for_each_seed(|random| {
        let (old, new) = (config(random), config(random));
        assert_eq!(compare(&old, &old, place()), Comparison::default());
        let there = compare(&old, &new, place());
        let back = compare(&new, &old, place());
        assert_eq!((there.added, there.removed, there.modified), (back.removed, back.added, back.modified));
    });
}

#[test]
fn applying_twice_changes_nothing() {
    for_each_seed(|random| {
        let first = apply(None, &config(random), "a");
        let second = config(random);
        let once = apply(Some(&first), &second, "b");
        assert_eq!(apply(Some(&once), &second, "b"), once);
    });
}

#[test]
fn what_was_applied_beside_others_can_be_taken_back() {
    for_each_seed(|random| {
        let base = apply(None, &config(random), "a");
        // Nothing of the base's values is touched: `b` owns fields of its own.
        let own = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x", "annotations": {"z": "1"}},
            "spec": {"hostname": "h", "containers": [{"name": "z", "image": "i"}]}});
        let with = apply(Some(&base), &own, "b");
        let back = apply(Some(&with), &empty(), "b");
        assert_eq!(back, base);
    });
}

#[test]
fn who_applies_nothing_more_leaves_what_others_own() {
    for_each_seed(|random| {
        let (first, second) = (config(random), config(random));
        let live = apply(Some(&apply(None, &first, "a")), &second, "b");
        let left = apply(Some(&live), &empty(), "a");
        let alone = merge(&empty(), &second, place());
        let owned = |object: &Value| -> FieldSet {
            decode(object)
                .unwrap()
                .into_iter()
                .find(|entry| entry.manager == "b")
                .map(|entry| entry.fields)
                .unwrap_or_default()
        };
        assert_eq!(owned(&left), owned(&live), "{first} / {second}");
        assert_eq!(to_field_set(&without_owners(left), place()), to_field_set(&alone, place()), "{first} / {second}");
    });
}

#[test]
fn ten_thousand_items_are_merged_and_compared_without_searching_lists() {
    let pod = |image: &str| {
        let containers: Vec<Value> = (0..10_000).map(|n| json!({"name": format!("c{n}"), "image": image})).collect();
        json!({"spec": {"containers": containers}})
    };
    let (old, new) = (pod("1"), pod("2"));
    assert_eq!(compare(&old, &new, place()).modified.paths().len(), 10_000);
    assert_eq!(merge(&old, &new, place()), new);
}
