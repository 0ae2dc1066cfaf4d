//! The queue and the core over time. Times are given, so nothing waits.

use std::time::Duration;

use expect_test::{Expect, expect};
use tokio::time::Instant;

use crate::cluster::Cluster;
use crate::core::{Core, Step};
use crate::testing::{core, node, pod, steps};

struct World {
    core: Core,
    cluster: Cluster,
    now: Instant,
}

impl World {
    fn new(nodes: &str) -> Self {
        let now = Instant::now();
        Self { core: core(nodes, "", now), cluster: Cluster::empty(), now }
    }

    fn pass(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
    }

    fn add(&mut self, words: &str) {
        self.core.pod_changed(None, Some(&pod(words)), self.now);
    }

    fn check(&mut self, want: Expect) {
        want.assert_eq(&steps(&mut self.core, &self.cluster, self.now).join("\n"));
    }

    fn update_node(&mut self, old: &str, new: &str) {
        self.core.node_changed(Some(&node(old)), Some(&node(new)), self.now);
    }
}

const TAINTED: &str = "a taint=node.kubernetes.io/not-ready:NoSchedule";

#[test]
fn a_pod_is_scheduled_at_once_when_its_node_becomes_ready() {
    let mut world = World::new(TAINTED);
    world.add("web");
    assert_eq!(steps(&mut world.core, &world.cluster, world.now).len(), 1);
    world.update_node(TAINTED, "a");
    world.check(expect!["web -> a"]);
}

#[test]
fn a_heartbeat_or_a_useless_change_wakes_nobody() {
    let mut world = World::new(TAINTED);
    world.add("web");
    assert_eq!(steps(&mut world.core, &world.cluster, world.now).len(), 1);
    world.update_node(TAINTED, TAINTED);
    world.check(expect![""]);
    world.update_node(TAINTED, &format!("{TAINTED} label:zone=z"));
    world.check(expect![""]);
}

#[test]
fn the_important_go_first_then_the_old() {
    let mut world = World::new("a");
    world.add("low");
    world.pass(1);
    world.add("late");
    world.add("high priority=5");
    world.check(expect![[r"
        high -> a
        low -> a
        late -> a"]]);
}

#[test]
fn room_is_assumed_before_the_binding_is_confirmed() {
    let mut world = World::new("a cpu=1");
    world.add("one cpu=1");
    world.add("two cpu=1");
    world.check(expect![[r"
        one -> a
        0/1 nodes are available: 1 Insufficient cpu. no new claims to deallocate, preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod."]]);
    world.core.pod_changed(Some(&pod("one cpu=1")), Some(&pod("one cpu=1 on=a")), world.now);
    world.check(expect![""]);
    world.core.pod_changed(Some(&pod("one cpu=1 on=a")), None, world.now);
    world.check(expect!["two -> a"]);
}

#[test]
fn a_failed_binding_gives_the_room_back_and_backs_off() {
    let mut world = World::new("a cpu=1");
    world.add("one cpu=1");
    let Step::Bind { pod: one, .. } = world.core.step(&world.cluster, world.now) else { panic!("one fits") };
    world.add("two cpu=1");
    assert_eq!(steps(&mut world.core, &world.cluster, world.now).len(), 1);
    world.core.bind_failed(one, false, world.now);
    world.check(expect!["two -> a"]);
    world.pass(1);
    assert!(steps(&mut world.core, &world.cluster, world.now)[0].starts_with("0/1 nodes"));
}

#[test]
fn a_pod_that_is_deleted_while_it_is_bound_leaves_no_trace() {
    let mut world = World::new("a cpu=1");
    world.add("one cpu=1");
    world.check(expect!["one -> a"]);
    world.core.pod_changed(Some(&pod("one cpu=1")), None, world.now);
    assert!(!world.core.cache.is_assumed("one"));
    world.add("two cpu=1");
    world.check(expect!["two -> a"]);
}

#[test]
fn a_gated_pod_waits_for_its_gates() {
    let mut world = World::new("a");
    world.add("web gated");
    world.check(expect![""]);
    world.core.pod_changed(Some(&pod("web gated")), Some(&pod("web")), world.now);
    world.check(expect!["web -> a"]);
}

#[test]
fn pods_of_others_and_terminating_pods_are_left_alone() {
    let mut world = World::new("a");
    world.add("gone deleted");
    let mut other = pod("other").as_ref().clone();
    other.spec.as_mut().expect("it has one").scheduler_name = Some("mine".into());
    world.core.pod_changed(None, Some(&other.into()), world.now);
    world.check(expect![""]);
}

#[test]
fn an_unschedulable_pod_is_tried_again_after_five_minutes() {
    let mut world = World::new("a cpu=1");
    world.add("web cpu=2");
    assert_eq!(steps(&mut world.core, &world.cluster, world.now).len(), 1);
    let Step::Wait(Some(until)) = world.core.step(&world.cluster, world.now) else { panic!("there is a deadline") };
    assert_eq!(until - world.now, Duration::from_mins(5));
    world.pass(299);
    assert!(steps(&mut world.core, &world.cluster, world.now).is_empty());
    world.pass(1);
    assert_eq!(steps(&mut world.core, &world.cluster, world.now).len(), 1);
}

#[test]
fn a_failed_pod_backs_off_longer_each_time() {
    let mut world = World::new("a");
    world.add("web");
    let mut pauses = Vec::new();
    for _ in 0..6 {
        let Step::Bind { pod, .. } = world.core.step(&world.cluster, world.now) else { panic!("it fits") };
        world.core.bind_failed(pod, false, world.now);
        let Step::Wait(Some(until)) = world.core.step(&world.cluster, world.now) else { panic!("it waits") };
        pauses.push((until - world.now).as_secs());
        world.now = until;
    }
    assert_eq!(pauses, [1, 2, 4, 8, 10, 10]);
}

#[test]
fn the_room_of_a_nominated_pod_is_kept() {
    let mut world = World::new("a cpu=1");
    world.core.pod_changed(None, Some(&pod("low cpu=1 on=a")), world.now);
    world.add("high cpu=1 priority=9");
    assert!(steps(&mut world.core, &world.cluster, world.now)[0].ends_with(r#"nominate a, preempt ["low"]"#));
    world.core.pod_changed(Some(&pod("low cpu=1 on=a")), None, world.now);
    world.add("thief cpu=1");
    world.check(expect![[r"
        0/1 nodes are available: 1 Insufficient cpu. no new claims to deallocate, preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod.
        high -> a"]]);
}
