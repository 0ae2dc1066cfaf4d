//! What each plugin decides, seen through the whole of them.

use api::appsv1::ReplicaSet;
use controller_runtime::Lister;
use expect_test::{Expect, expect};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::cluster::Cluster;
use crate::testing::{core, pod_with, steps};

fn check_in(cluster: &Cluster, nodes: &str, pods: &str, pod: &str, spec: Value, want: Expect) {
    let now = Instant::now();
    let mut core = core(nodes, pods, now);
    core.pod_changed(None, Some(&pod_with(pod, spec)), now);
    want.assert_eq(&steps(&mut core, cluster, now).join("\n"));
}

fn check_with(nodes: &str, pods: &str, pod: &str, spec: Value, want: Expect) {
    check_in(&Cluster::empty(), nodes, pods, pod, spec, want);
}

fn check(nodes: &str, pods: &str, pod: &str, want: Expect) {
    check_with(nodes, pods, pod, json!({}), want);
}

#[test]
fn every_reason_is_counted_and_sorted() {
    check(
        "master taint=control-plane:NoSchedule; a cpu=1; b cpu=1; c cordoned",
        "x on=a cpu=500m; y on=b cpu=500m",
        "web cpu=800m",
        expect![[
            "0/4 nodes are available: 1 node(s) had untolerated taint(s), 1 node(s) were unschedulable, 2 Insufficient cpu. no new claims to deallocate, preemption: 0/4 nodes are available: 2 No preemption victims found for incoming pod, 2 Preemption is not helpful for scheduling."
        ]],
    );
    check("", "", "web", expect!["no nodes available to schedule pods"]);
}

#[test]
fn a_toleration_opens_a_tainted_node() {
    check("a taint=k:NoSchedule", "", "web tolerate=k", expect!["web -> a"]);
    check("a taint=k:PreferNoSchedule; b", "x on=b cpu=1", "web", expect!["web -> b"]);
}

#[test]
fn selectors_and_affinity_choose_nodes() {
    check("a; b label:zone=z1", "", "web select:zone=z1", expect!["web -> b"]);
    check(
        "a; b",
        "",
        "web select:zone=z1",
        expect![
            "0/2 nodes are available: 2 node(s) didn't match Pod's node affinity/selector. no new claims to deallocate, preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling."
        ],
    );
    let prefer = json!({"affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
        {"weight": 100, "preference": {"matchExpressions": [{"key": "disk", "operator": "In", "values": ["ssd"]}]}}]}}});
    check_with("a; b label:disk=ssd", "x on=b cpu=1", "web cpu=1", prefer, expect!["web -> b"]);
}

fn daemon(node: &str) -> Value {
    let term = json!({"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]});
    json!({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}}})
}

#[test]
fn a_daemons_pod_goes_to_its_node_only() {
    check_with("a; b; c", "", "agent", daemon("b"), expect!["agent -> b"]);
    check_with(
        "a; b pods=0; c",
        "",
        "agent",
        daemon("b"),
        expect![
            "0/3 nodes are available: 1 Too many pods, 2 node(s) didn't satisfy plugin(s) [NodeAffinity]. no new claims to deallocate, preemption: 0/3 nodes are available: 1 No preemption victims found for incoming pod, 2 Preemption is not helpful for scheduling."
        ],
    );
}

#[test]
fn host_ports_are_taken_once() {
    check("a; b", "x on=a port=80", "web port=80", expect!["web -> b"]);
    check(
        "a",
        "x on=a port=80 priority=5",
        "web port=80",
        expect![
            "0/1 nodes are available: 1 node(s) didn't have free ports for the requested pod ports. no new claims to deallocate, preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod."
        ],
    );
}

#[test]
fn the_emptiest_node_is_preferred() {
    check("a; b; c", "x on=a cpu=2 memory=2Gi; y on=b cpu=1 memory=1Gi", "web cpu=1 memory=1Gi", expect!["web -> c"]);
    check("a; b image=web:latest:900", "", "web", expect!["web -> b"]);
}

#[test]
fn an_impossible_request_is_no_matter_for_preemption() {
    check(
        "a cpu=1",
        "x on=a cpu=1",
        "web cpu=2 example.com/gpu=1 priority=9",
        expect![
            "0/1 nodes are available: 1 Insufficient cpu, 1 Insufficient example.com/gpu. no new claims to deallocate, preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling."
        ],
    );
}

#[test]
fn the_least_important_pods_are_preempted_and_no_more_than_needed() {
    check(
        "a cpu=2; b cpu=2",
        "x on=a cpu=2 priority=5; y on=b cpu=1 priority=1; z on=b cpu=1 priority=2",
        "web cpu=1 priority=9",
        expect![[r#"0/2 nodes are available: 2 Insufficient cpu. | nominate b, preempt ["y"]"#]],
    );
    check_with(
        "a cpu=1",
        "x on=a cpu=1",
        "web cpu=1 priority=9",
        json!({"preemptionPolicy": "Never"}),
        expect![
            "0/1 nodes are available: 1 Insufficient cpu. no new claims to deallocate, preemption: not eligible due to preemptionPolicy=Never."
        ],
    );
}

fn spread(key: &str) -> Value {
    json!({"topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": key, "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"app": "web"}}}]})
}

#[test]
fn hard_spreading_keeps_the_skew() {
    let nodes = "a label:zone=1; b label:zone=1; c label:zone=2";
    check_with(
        nodes,
        "x on=a app=web; y on=b app=web; z on=c app=web",
        "w app=web cpu=1",
        spread("zone"),
        expect!["w -> c"],
    );
    check_with(
        "a label:zone=1; b label:zone=2 cpu=1; c",
        "x on=a app=web; z on=b cpu=1 priority=3",
        "w app=web cpu=1",
        spread("zone"),
        expect![
            "0/3 nodes are available: 1 Insufficient cpu, 1 node(s) didn't match pod topology spread constraints, 1 node(s) didn't match pod topology spread constraints (missing required label). no new claims to deallocate, preemption: 0/3 nodes are available: 1 Preemption is not helpful for scheduling, 2 No preemption victims found for incoming pod."
        ],
    );
}

#[test]
fn pods_of_a_replica_set_are_spread_over_nodes_by_default() {
    let set = json!({"metadata": {"name": "web", "namespace": "default", "uid": "web"},
        "spec": {"selector": {"matchLabels": {"app": "web"}}}});
    let set: ReplicaSet = serde_json::from_value(set).expect("a set");
    let cluster = Cluster { replica_sets: Lister::of(vec![set]), ..Cluster::empty() };
    let busy = "x on=a app=web; o on=b cpu=1 memory=1Gi";
    check_in(&cluster, "a; b", busy, "web app=web owner=web", json!({}), expect!["web -> b"]);
    check_in(&Cluster::empty(), "a; b", busy, "web app=web", json!({}), expect!["web -> a"]);
}

fn near(kind: &str, how: &str) -> Value {
    let term = json!({"labelSelector": {"matchLabels": {"app": "db"}}, "topologyKey": "zone"});
    let term = if how.starts_with("preferred") { json!({"weight": 100, "podAffinityTerm": term}) } else { term };
    json!({"affinity": {kind: {how: [term]}}})
}

#[test]
fn affinity_brings_pods_together_and_anti_affinity_keeps_them_apart() {
    const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
    const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";
    let nodes = "a label:zone=1; b label:zone=2";
    let pods = "db on=a app=db cpu=1 priority=7";
    check_with(nodes, pods, "web", near("podAffinity", REQUIRED), expect!["web -> a"]);
    check_with(nodes, pods, "web", near("podAntiAffinity", REQUIRED), expect!["web -> b"]);
    check_with(nodes, pods, "web", near("podAffinity", PREFERRED), expect!["web -> a"]);
    check_with(
        nodes,
        "",
        "web",
        near("podAffinity", REQUIRED),
        expect![
            "0/2 nodes are available: 2 node(s) didn't match pod affinity rules. no new claims to deallocate, preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling."
        ],
    );
    check_with("a label:zone=1", "", "first app=db", near("podAffinity", REQUIRED), expect!["first -> a"]);
    check_with(
        "a label:zone=1",
        pods,
        "web",
        near("podAntiAffinity", REQUIRED),
        expect![
            "0/1 nodes are available: 1 node(s) didn't match pod anti-affinity rules. no new claims to deallocate, preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod."
        ],
    );
}

#[test]
fn a_claim_must_exist_and_be_bound() {
    let volumes = json!({"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}]});
    check_with(
        "a; b",
        "",
        "db",
        volumes.clone(),
        expect![
            "0/2 nodes are available: persistentvolumeclaim \"data\" not found. no new claims to deallocate, preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling."
        ],
    );
    let claim = json!({"metadata": {"name": "data", "namespace": "default"}, "spec": {}});
    let claims = Lister::of(vec![serde_json::from_value(claim).expect("a claim")]);
    let cluster = Cluster { claims, ..Cluster::empty() };
    check_in(
        &cluster,
        "a; b",
        "",
        "db",
        volumes,
        expect![
            "0/2 nodes are available: pod has unbound immediate PersistentVolumeClaims. no new claims to deallocate, preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling."
        ],
    );
}
