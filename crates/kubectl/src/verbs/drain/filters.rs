//! Which pods of a node a drain takes away, and which stand in its way.

use serde_json::Value;

const DAEMON_SET_REFUSED: &str = "DaemonSet-managed Pods (use --ignore-daemonsets to ignore)";
const DAEMON_SET_IGNORED: &str = "ignoring DaemonSet-managed Pods";
const LOCAL_STORAGE_REFUSED: &str = "Pods with local storage (use --delete-emptydir-data to override)";
const LOCAL_STORAGE_DELETED: &str = "deleting Pods with local storage";
const UNMANAGED_REFUSED: &str = "Pods that declare no controller (use --force to override)";
const UNMANAGED_DELETED: &str = "deleting Pods that declare no controller";

/// What the user allows.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rules {
    pub force: bool,
    pub ignore_daemon_sets: bool,
    pub delete_empty_dir_data: bool,
    /// Pods that have been terminating for longer than so many seconds are left alone; 0 for none.
    pub skip_terminating_after: i64,
}

/// What is known of the DaemonSet that a pod belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DaemonSet {
    /// It belongs to none, or does not run any more.
    None,
    Found,
    Missing(String),
    Unreadable(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Evict,
    Skip,
    Warn { evict: bool, why: String },
    Refuse(String),
}

impl Verdict {
    fn evicts(&self) -> bool {
        matches!(self, Self::Evict | Self::Warn { evict: true, .. })
    }
}

/// The DaemonSet that a running pod belongs to.
pub fn daemon_set_of(pod: &Value) -> Option<&str> {
    let owner = apimachinery::object::controller_of(pod)?;
    (!is_finished(pod) && owner.kind == "DaemonSet" && owner.api_version == "apps/v1").then_some(owner.name)
}

fn is_finished(pod: &Value) -> bool {
    matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed"))
}

/// Whether the pod's deletion lies too far back to be waited for.
pub fn is_skipped(pod: &Value, rules: &Rules, now: i64) -> bool {
    let deleted = apimachinery::time::seconds(&pod["metadata"]["deletionTimestamp"]);
    rules.skip_terminating_after > 0 && deleted.is_some_and(|deleted| now - deleted > rules.skip_terminating_after)
}

/// The first objection decides; where there is none, what the last rule says of it.
pub fn judge(pod: &Value, rules: &Rules, daemon_set: &DaemonSet, now: i64) -> Verdict {
    if is_skipped(pod, rules, now) {
        return Verdict::Skip;
    }
    let of_daemon_set = judge_daemon_set(rules, daemon_set);
    if !of_daemon_set.evicts() {
        return of_daemon_set;
    }
    if apimachinery::object::annotation(pod, "kubernetes.io/config.mirror").is_some() {
        return Verdict::Skip;
    }
    let of_storage = judge_storage(pod, rules);
    if !of_storage.evicts() {
        return of_storage;
    }
    judge_owner(pod, rules)
}

fn judge_daemon_set(rules: &Rules, daemon_set: &DaemonSet) -> Verdict {
    match daemon_set {
        DaemonSet::None => Verdict::Evict,
        DaemonSet::Missing(why) if rules.force => Verdict::Warn { evict: true, why: why.clone() },
        DaemonSet::Missing(why) | DaemonSet::Unreadable(why) => Verdict::Refuse(why.clone()),
        DaemonSet::Found if rules.ignore_daemon_sets => {
            Verdict::Warn { evict: false, why: DAEMON_SET_IGNORED.to_owned() }
        }
        DaemonSet::Found => Verdict::Refuse(DAEMON_SET_REFUSED.to_owned()),
    }
}

fn judge_storage(pod: &Value, rules: &Rules) -> Verdict {
    let volumes = pod["spec"]["volumes"].as_array().map(Vec::as_slice).unwrap_or_default();
    let is_local = volumes.iter().any(|volume| volume["emptyDir"].is_object());
    match (is_local && !is_finished(pod), rules.delete_empty_dir_data) {
        (false, _) => Verdict::Evict,
        (true, true) => Verdict::Warn { evict: true, why: LOCAL_STORAGE_DELETED.to_owned() },
        (true, false) => Verdict::Refuse(LOCAL_STORAGE_REFUSED.to_owned()),
    }
}

fn judge_owner(pod: &Value, rules: &Rules) -> Verdict {
    if is_finished(pod) || apimachinery::object::controller_of(pod).is_some() {
        return Verdict::Evict;
    }
    if rules.force {
        return Verdict::Warn { evict: true, why: UNMANAGED_DELETED.to_owned() };
    }
    Verdict::Refuse(UNMANAGED_REFUSED.to_owned())
}

/// The pods of a node with what was decided of each.
#[derive(Debug, Default)]
pub struct Judged(pub Vec<(Value, Verdict)>);

impl Judged {
    pub fn to_evict(&self) -> Vec<Value> {
        self.0.iter().filter(|(_, verdict)| verdict.evicts()).map(|(pod, _)| pod.clone()).collect()
    }

    /// `why: namespace/name, namespace/name`, in one line.
    pub fn warnings(&self) -> String {
        let why = |verdict: &Verdict| match verdict {
            Verdict::Warn { why, .. } => Some(why.clone()),
            _ => None,
        };
        self.grouped(why).join("; ")
    }

    pub fn refusals(&self) -> Vec<String> {
        let why = |verdict: &Verdict| match verdict {
            Verdict::Refuse(why) => Some(format!("cannot delete {why}")),
            _ => None,
        };
        self.grouped(why)
    }

    fn grouped(&self, why: impl Fn(&Verdict) -> Option<String>) -> Vec<String> {
        let mut groups: Vec<(String, Vec<String>)> = Vec::new();
        for (pod, verdict) in &self.0 {
            let Some(why) = why(verdict) else { continue };
            let (namespace, name) = (apimachinery::object::namespace(pod), apimachinery::object::name(pod));
            let title = format!("{namespace}/{name}");
            match groups.iter_mut().find(|(known, _)| *known == why) {
                Some((_, titles)) => titles.push(title),
                None => groups.push((why, vec![title])),
            }
        }
        groups.into_iter().map(|(why, titles)| format!("{why}: {}", titles.join(", "))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};
    use serde_json::json;

    fn owned(kind: &str) -> Value {
        json!([{"apiVersion": "apps/v1", "kind": kind, "name": "o", "uid": "u", "controller": true}])
    }

    fn pods() -> Vec<(Value, DaemonSet)> {
        let pod = |name: &str, owners: Value| json!({"metadata": {"name": name, "namespace": "n", "ownerReferences": owners}, "status": {"phase": "Running"}});
        let mut local = pod("local", owned("ReplicaSet"));
        local["spec"]["volumes"] = json!([{"name": "v", "emptyDir": {}}]);
        let mut mirror = pod("mirror", json!([]));
        mirror["metadata"]["annotations"]["kubernetes.io/config.mirror"] = "x".into();
        let mut done = pod("done", json!([]));
        done["status"]["phase"] = "Succeeded".into();
        let mut leaving = pod("leaving", owned("ReplicaSet"));
        leaving["metadata"]["deletionTimestamp"] = "1970-01-01T00:00:10Z".into();
        vec![
            (pod("owned", owned("ReplicaSet")), DaemonSet::None),
            (pod("daemon", owned("DaemonSet")), DaemonSet::Found),
            (pod("orphan", owned("DaemonSet")), DaemonSet::Missing("daemonsets.apps \"o\" not found".into())),
            (pod("bare", json!([])), DaemonSet::None),
            (local, DaemonSet::None),
            (mirror, DaemonSet::None),
            (done, DaemonSet::None),
            (leaving, DaemonSet::None),
        ]
    }

    fn check(rules: Rules, wanted: Expect) {
        let judge = |(pod, daemon_set): (Value, DaemonSet)| {
            let verdict = judge(&pod, &rules, &daemon_set, 100);
            (pod, verdict)
        };
        let judged = Judged(pods().into_iter().map(judge).collect());
        let evicted: Vec<String> =
            judged.to_evict().iter().map(|pod| apimachinery::object::name(pod).to_owned()).collect();
        let refusals = judged.refusals().join("\n");
        wanted.assert_eq(&format!("evict {}\nwarn {}\n{refusals}\n", evicted.join(" "), judged.warnings()));
    }

    #[test]
    fn what_stands_in_the_way_is_named() {
        check(
            Rules::default(),
            expect![[r#"
            evict owned done leaving
            warn 
            cannot delete DaemonSet-managed Pods (use --ignore-daemonsets to ignore): n/daemon
            cannot delete daemonsets.apps "o" not found: n/orphan
            cannot delete Pods that declare no controller (use --force to override): n/bare
            cannot delete Pods with local storage (use --delete-emptydir-data to override): n/local
        "#]],
        );
    }

    #[test]
    fn what_is_allowed_goes_with_a_warning() {
        let rules =
            Rules { force: true, ignore_daemon_sets: true, delete_empty_dir_data: true, skip_terminating_after: 60 };
        check(
            rules,
            expect![[r#"
            evict owned orphan bare local done
            warn ignoring DaemonSet-managed Pods: n/daemon; deleting Pods that declare no controller: n/bare

        "#]],
        );
    }

    #[test]
    fn finished_daemons_need_no_daemon_set() {
        let mut pod = pods()[1].0.clone();
        assert_eq!(daemon_set_of(&pod), Some("o"));
        pod["status"]["phase"] = "Failed".into();
        assert_eq!(daemon_set_of(&pod), None);
    }
}
