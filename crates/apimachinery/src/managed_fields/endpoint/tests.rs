use serde_json::json;

use super::*;

/// An object of a kind, written by turns.
struct Bench {
    kind: &'static str,
    place: Place<'static>,
    now: u32,
    live: Option<Value>,
}

impl Bench {
    fn of(kind: &'static str) -> Bench {
        let place = Some(api::schema::kind("", "v1", kind).unwrap().node());
        Bench { kind, place, now: 0, live: None }
    }

    fn at<T>(&mut self, subresource: &str, act: impl FnOnce(&Endpoint<'_>, Option<&Value>) -> T) -> T {
        self.now += 1;
        let now = format!("2026-01-01T00:00:{:02}Z", self.now);
        let (api_version, place) = ("v1", self.place);
        let versions = OneVersion { api_version, place };
        let reset: &[&str] = if subresource == "status" { &["spec"] } else { &["status"] };
        let kind = self.kind;
        let endpoint = Endpoint { place, api_version, kind, subresource, reset, versions: &versions, now: &now };
        act(&endpoint, self.live.as_ref())
    }

    fn filled(&self, mut object: Value) -> Value {
        object["apiVersion"] = json!("v1");
        object["kind"] = json!(self.kind);
        object["metadata"]["name"] = json!("x");
        object
    }

    fn keep(&mut self, mut object: Value) {
        object["metadata"]["uid"] = json!("1");
        crate::strict::normalize(&mut object, self.place.unwrap()).unwrap();
        self.live = Some(object);
    }

    fn apply(&mut self, manager: &str, config: Value, force: bool) -> Result<(), ApplyError> {
        let config = self.filled(config);
        let applied = self.at("", |endpoint, live| endpoint.apply(live, &config, manager, force))?;
        self.keep(applied);
        Ok(())
    }

    fn update(&mut self, manager: &str, object: Value) {
        let mut object = self.filled(object);
        crate::strict::normalize(&mut object, self.place.unwrap()).unwrap();
        self.at("", |endpoint, live| endpoint.update(live, &mut object, manager));
        self.keep(object);
    }

    fn live(&self) -> &Value {
        self.live.as_ref().unwrap()
    }

    /// `manager: path path` for each entry.
    fn owners(&self) -> String {
        let mut lines: Vec<String> = decode(self.live())
            .unwrap()
            .iter()
            .map(|entry| {
                let fields = entry.fields.to_string().replace('\n', " ");
                format!("{} {}: {fields}", entry.operation(), entry.manager)
            })
            .collect();
        lines.sort();
        lines.join("\n")
    }
}

fn data(pairs: &[(&str, &str)]) -> Value {
    let map: Map<String, Value> = pairs.iter().map(|(key, value)| ((*key).into(), json!(value))).collect();
    json!({"data": map})
}

fn conflict(answer: Result<(), ApplyError>) -> String {
    answer.unwrap_err().to_status().message
}

#[test]
fn a_creator_owns_what_it_set() {
    let mut bench = Bench::of("Pod");
    bench.update(
        "a",
        json!({"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [{"name": "c", "image": "1"}]}}),
    );
    assert_eq!(
        bench.live()["metadata"]["managedFields"][0]["fieldsV1"],
        json!({
            "f:metadata": {"f:labels": {".": {}, "f:app": {}}},
            "f:spec": {"f:containers": {"k:{\"name\":\"c\"}": {".": {}, "f:image": {}, "f:name": {}, "f:resources": {}}}},
        })
    );
}

#[test]
fn ownership_moves_to_who_updates_a_value_and_a_write_without_change_moves_nothing() {
    let mut bench = Bench::of("ConfigMap");
    bench.update("a", data(&[("k", "1"), ("l", "1")]));
    bench.update("b", data(&[("k", "2"), ("l", "1")]));
    expect_test::expect![[r"
        Update a: .data .data.l
        Update b: .data.k"]]
    .assert_eq(&bench.owners());
    let before = bench.live().clone();
    bench.update("c", data(&[("k", "2"), ("l", "1")]));
    assert_eq!(*bench.live(), before);
}

#[test]
fn what_a_manager_no_longer_applies_is_gone_unless_another_owns_it() {
    let mut bench = Bench::of("ConfigMap");
    bench.apply("a", data(&[("mine", "1"), ("shared", "1"), ("kept", "1")]), false).unwrap();
    bench.apply("b", data(&[("shared", "1")]), false).unwrap();
    bench.apply("a", data(&[("kept", "1")]), false).unwrap();
    assert_eq!(bench.live()["data"], json!({"shared": "1", "kept": "1"}));
    expect_test::expect![[r"
        Apply a: .data.kept
        Apply b: .data.shared"]]
    .assert_eq(&bench.owners());
    bench.apply("a", json!({}), false).unwrap();
    assert_eq!(bench.live()["data"], json!({"shared": "1"}));
    bench.apply("b", json!({}), false).unwrap();
    assert!(bench.live().get("data").is_none());
    assert_eq!(bench.owners(), "");
}

#[test]
fn another_value_is_a_conflict_that_force_settles() {
    let mut bench = Bench::of("ConfigMap");
    bench.apply("a", data(&[("k", "1"), ("l", "1")]), false).unwrap();
    bench.update("b", data(&[("k", "1"), ("l", "2")]));
    expect_test::expect![[r#"
        Apply failed with 2 conflicts: conflicts with "a":
        - .data.k
        conflicts with "b" using v1:
        - .data.l"#]]
    .assert_eq(&conflict(bench.apply("c", data(&[("k", "3"), ("l", "3")]), false)));
    bench.apply("c", data(&[("k", "3"), ("l", "3")]), true).unwrap();
    expect_test::expect!["Apply c: .data.k .data.l"].assert_eq(&bench.owners());
}

#[test]
fn items_of_keyed_lists_are_found_by_their_keys_and_defaults() {
    let mut bench = Bench::of("Service");
    bench.apply("a", json!({"spec": {"ports": [{"port": 80, "name": "x"}]}}), false).unwrap();
    bench.apply("b", json!({"spec": {"ports": [{"port": 80, "protocol": "UDP"}]}}), false).unwrap();
    let taken = bench.apply("c", json!({"spec": {"ports": [{"port": 80, "name": "y", "protocol": "TCP"}]}}), false);
    expect_test::expect![[
        r#"Apply failed with 1 conflict: conflict with "a": .spec.ports[port=80,protocol="TCP"].name"#
    ]]
    .assert_eq(&conflict(taken));
    bench.apply("a", json!({"spec": {"type": "ClusterIP"}}), false).unwrap();
    assert_eq!(bench.live()["spec"]["ports"], json!([{"port": 80, "protocol": "UDP", "targetPort": 0}]));
}

#[test]
fn an_item_stays_while_somebody_owns_a_field_of_it() {
    let mut bench = Bench::of("Pod");
    bench.apply("a", json!({"spec": {"containers": [{"name": "c", "image": "i"}]}}), false).unwrap();
    let mut other = bench.live().clone();
    other["spec"]["containers"][0]["workingDir"] = json!("/");
    bench.update("b", other);
    bench.apply("a", json!({"spec": {"nodeName": "n"}}), false).unwrap();
    let container = &bench.live()["spec"]["containers"][0];
    assert_eq!((&container["workingDir"], container.get("image")), (&json!("/"), None));
}

#[test]
fn duplicate_items_and_unknown_fields_are_refused_when_applied() {
    let mut bench = Bench::of("Pod");
    let answer = bench.apply("a", json!({"spec": {"containers": [{"name": "c"}, {"name": "c"}]}}), false);
    expect_test::expect![[
        r#"failed to create typed patch object (/x; /v1, Kind=Pod): .spec.containers: duplicate entries for key [name="c"]"#
    ]]
    .assert_eq(&conflict(answer));
    assert_eq!(bench.apply("a", json!({"status2": 1}), false).unwrap_err().to_status().code, 500);
}

#[test]
fn duplicates_that_are_stored_stay_and_one_can_be_taken_over() {
    let mut bench = Bench::of("Pod");
    let env = |list: Value| json!({"spec": {"containers": [{"name": "c", "env": list}]}});
    bench.update("a", env(json!([{"name": "E", "value": "1"}, {"name": "E", "value": "2"}])));
    bench.apply("b", json!({"metadata": {"labels": {"l": "1"}}}), false).unwrap();
    assert_eq!(bench.live()["spec"]["containers"][0]["env"].as_array().unwrap().len(), 2);
    bench.apply("b", env(json!([{"name": "E", "value": "3"}])), true).unwrap();
    assert_eq!(bench.live()["spec"]["containers"][0]["env"], json!([{"name": "E", "value": "3"}]));
}

#[test]
fn who_was_there_before_the_first_apply_is_one_manager() {
    let mut bench = Bench::of("ConfigMap");
    bench.update("a", data(&[("k", "1")]));
    let mut unmanaged = bench.live().clone();
    unmanaged["metadata"].as_object_mut().unwrap().remove("managedFields");
    bench.keep(unmanaged);
    let answer = bench.apply("b", data(&[("k", "2")]), false);
    assert!(conflict(answer).contains(r#"conflict with "before-first-apply" using v1: .data.k"#));
    bench.apply("b", data(&[("l", "2")]), false).unwrap();
    expect_test::expect![[r"
        Apply b: .data.l
        Update before-first-apply: .data .data.k"]]
    .assert_eq(&bench.owners());
}

#[test]
fn kubectl_takes_over_what_it_applied_on_the_client_side() {
    let config = |value: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}, "data": {"k": value, "l": "1"}});
    let mut bench = Bench::of("ConfigMap");
    let mut first = config("1");
    first["metadata"]["annotations"] =
        json!({"kubectl.kubernetes.io/last-applied-configuration": config("1").to_string()});
    bench.update("kubectl-client-side-apply", first.clone());
    assert!(bench.apply("other", config("2"), false).is_err());
    bench.apply("kubectl", config("<2>"), false).unwrap();
    assert_eq!(bench.live()["data"]["k"], "<2>");
    let annotation = object::annotation(bench.live(), "kubectl.kubernetes.io/last-applied-configuration").unwrap();
    assert!(annotation.contains(r"\u003c2\u003e") && annotation.ends_with("}\n"), "{annotation}");
    // What somebody has changed since is a conflict for kubectl too.
    let mut changed = bench.live().clone();
    changed["data"]["l"] = json!("other");
    bench.update("somebody", changed);
    assert!(conflict(bench.apply("kubectl", config("<2>"), false)).contains("\"somebody\" using v1: .data.l"));
}

#[test]
fn the_time_moves_only_with_the_object() {
    let mut bench = Bench::of("ConfigMap");
    bench.apply("a", data(&[("k", "1")]), false).unwrap();
    let before = bench.live().clone();
    bench.apply("a", data(&[("k", "1")]), false).unwrap();
    assert_eq!(*bench.live(), before);
    bench.apply("a", data(&[("k", "2")]), false).unwrap();
    assert_ne!(bench.live()["metadata"]["managedFields"], before["metadata"]["managedFields"]);
}

#[test]
fn managed_fields_cannot_be_applied_but_can_be_reset_by_an_update() {
    let mut bench = Bench::of("ConfigMap");
    bench.apply("a", data(&[("k", "1")]), false).unwrap();
    let mut config = data(&[("k", "1")]);
    config["metadata"]["managedFields"] = json!([]);
    assert_eq!(bench.apply("a", config.clone(), false).unwrap_err().to_status().code, 400);
    config["metadata"]["uid"] = json!("1");
    bench.update("b", config);
    assert_eq!(bench.owners(), "");
}

#[test]
fn unreadable_managed_fields_of_a_client_are_ignored() {
    let mut bench = Bench::of("ConfigMap");
    bench.update("a", data(&[("k", "1")]));
    let mut sent = data(&[("k", "1")]);
    sent["metadata"]["managedFields"] = json!([{"manager": "q", "operation": "Apply", "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": {"bad": {}}}]);
    bench.update("b", sent);
    expect_test::expect!["Update a: .data .data.k"].assert_eq(&bench.owners());
}

#[test]
fn what_the_endpoint_resets_is_neither_owned_nor_a_conflict() {
    let mut bench = Bench::of("Pod");
    bench.apply("a", json!({"spec": {"nodeName": "n"}}), false).unwrap();
    let config = bench.filled(json!({"spec": {"nodeName": "other"}, "status": {"phase": "Failed"}}));
    let applied = bench.at("status", |endpoint, live| endpoint.apply(live, &config, "s", false)).unwrap();
    let own = decode(&applied).unwrap().into_iter().find(|entry| entry.manager == "s").unwrap();
    assert_eq!((own.fields.to_string().as_str(), own.subresource.as_str()), (".status.phase", "status"));
}

#[test]
fn the_eleventh_manager_folds_the_oldest() {
    let mut bench = Bench::of("ConfigMap");
    let mut object = data(&[("k0", "x")]);
    for n in 0..15 {
        object["data"][format!("k{n}")] = json!("x");
        bench.update(&format!("m{n}"), object.clone());
    }
    assert_eq!(decode(bench.live()).unwrap().len(), 10);
    assert!(bench.owners().contains("ancient-changes"));
}

/// `v1` calls the field `data.k`, `v2` calls it `binaryData.k`.
struct Renamed(Place<'static>);

impl Versions for Renamed {
    fn place(&self, api_version: &str) -> Option<Place<'_>> {
        ["v1", "v2"].contains(&api_version).then_some(self.0)
    }

    fn convert(&self, object: &Value, api_version: &str) -> Result<Value, String> {
        let mut out = object.clone();
        let (from, to) = if api_version == "v2" { ("data", "binaryData") } else { ("binaryData", "data") };
        if let Some(moved) = out.as_object_mut().and_then(|map| map.remove(from)) {
            out[to] = moved;
        }
        out["apiVersion"] = json!(api_version);
        Ok(out)
    }
}

#[test]
fn an_entry_of_another_version_is_compared_in_that_version_and_one_of_a_lost_version_is_forgotten() {
    let place = Some(api::schema::kind("", "v1", "ConfigMap").unwrap().node());
    let versions = Renamed(place);
    let endpoint = |api_version: &'static str| Endpoint {
        place,
        api_version,
        kind: "ConfigMap",
        subresource: "",
        reset: &[],
        versions: &versions,
        now: "2026-01-01T00:00:00Z",
    };
    let first =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}, "data": {"k": "YQ==", "l": "YQ=="}});
    let mut live = endpoint("v1").apply(None, &first, "a", false).unwrap();
    let lost = json!({"manager": "z", "operation": "Update", "apiVersion": "v0", "fieldsType": "FieldsV1", "fieldsV1": {"f:data": {"f:k": {}}}});
    live["metadata"]["managedFields"].as_array_mut().unwrap().push(lost);
    let live = versions.convert(&live, "v2").unwrap();
    let mut second =
        json!({"apiVersion": "v2", "kind": "ConfigMap", "metadata": {"name": "x"}, "binaryData": {"k": "Yg=="}});
    let conflict = endpoint("v2").apply(Some(&live), &second, "b", false).unwrap_err();
    assert!(conflict.to_string().ends_with(r#"conflict with "a": .data.k"#), "{conflict}");
    // The same manager in the new version: what it no longer applies was applied in the old one.
    second["binaryData"]["k"] = json!("YQ==");
    let applied = endpoint("v2").apply(Some(&live), &second, "a", false).unwrap();
    assert_eq!(applied["binaryData"], json!({"k": "YQ=="}));
    let entries = decode(&applied).unwrap();
    assert_eq!((entries.len(), entries[0].api_version.as_str()), (1, "v2"));
}
