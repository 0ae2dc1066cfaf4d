//! The table of checks, and how their answers are joined.

use serde_json::Value;

use super::policy::{Level, LevelVersion, Version};
use super::{baseline, restricted};

/// The pod that is judged: what it has of metadata, and its spec.
#[derive(Clone, Copy)]
pub struct Pod<'a> {
    pub metadata: &'a Value,
    pub spec: &'a Value,
}

impl<'a> Pod<'a> {
    /// All containers with their names, in upstream's order.
    pub fn containers(&self) -> impl Iterator<Item = (&'a str, &'a Value)> + use<'a> {
        let spec = self.spec;
        let lists = ["initContainers", "containers", "ephemeralContainers"].into_iter();
        lists
            .filter_map(|list| spec.get(list)?.as_array())
            .flatten()
            .map(|container| (container["name"].as_str().unwrap_or_default(), container))
    }

    pub fn in_user_namespace(&self) -> bool {
        self.spec.get("hostUsers") == Some(&Value::Bool(false))
    }

    pub fn is_windows(&self) -> bool {
        self.spec.pointer("/os/name").and_then(Value::as_str) == Some("windows")
    }
}

/// Why a check forbids a pod.
#[derive(Debug, PartialEq)]
pub struct Refusal {
    pub reason: String,
    pub detail: String,
}

impl Refusal {
    pub fn new(reason: &str, detail: String) -> Option<Refusal> {
        Some(Refusal { reason: reason.into(), detail })
    }
}

type CheckFn = fn(&Pod<'_>) -> Option<Refusal>;

struct Check {
    id: &'static str,
    level: Level,
    /// The first minor version of each revision, ascending.
    revisions: &'static [(u32, CheckFn)],
    /// The baseline check that this one makes superfluous, and since when.
    replaces: &'static str,
}

const fn check(level: Level, id: &'static str, revisions: &'static [(u32, CheckFn)]) -> Check {
    Check { id, level, revisions, replaces: "" }
}

const fn instead(replaces: &'static str, id: &'static str, revisions: &'static [(u32, CheckFn)]) -> Check {
    Check { id, level: Level::Restricted, revisions, replaces }
}

use Level::{Baseline, Restricted};

/// In the order in which refusals are told.
static CHECKS: &[Check] = &[
    check(Baseline, "appArmorProfile", &[(0, baseline::app_armor)]),
    check(Baseline, "capabilities_baseline", &[(0, baseline::capabilities)]),
    check(Baseline, "hostNamespaces", &[(0, baseline::host_namespaces)]),
    check(Baseline, "hostPathVolumes", &[(0, baseline::host_path)]),
    check(Baseline, "hostPorts", &[(0, baseline::host_ports)]),
    check(Baseline, "hostProbesAndHostLifecycle", &[(34, baseline::host_probes)]),
    check(Baseline, "privileged", &[(0, baseline::privileged)]),
    check(Baseline, "procMount", &[(0, baseline::proc_mount), (35, baseline::proc_mount_1_35)]),
    check(Baseline, "seLinuxOptions", &[(0, baseline::selinux), (31, baseline::selinux_1_31)]),
    check(Baseline, "seccompProfile_baseline", &[(0, baseline::seccomp_annotations), (19, baseline::seccomp)]),
    check(
        Baseline,
        "sysctls",
        &[
            (0, baseline::sysctls),
            (27, baseline::sysctls_1_27),
            (29, baseline::sysctls_1_29),
            (32, baseline::sysctls_1_32),
        ],
    ),
    check(Baseline, "windowsHostProcess", &[(0, baseline::windows_host_process)]),
    check(
        Restricted,
        "allowPrivilegeEscalation",
        &[(8, restricted::privilege_escalation), (25, restricted::privilege_escalation_1_25)],
    ),
    instead(
        "capabilities_baseline",
        "capabilities_restricted",
        &[(22, restricted::capabilities), (25, restricted::capabilities_1_25)],
    ),
    instead("procMount", "procMount_restricted", &[(35, baseline::proc_mount)]),
    instead("hostPathVolumes", "restrictedVolumes", &[(0, restricted::volumes)]),
    check(Restricted, "runAsNonRoot", &[(0, restricted::non_root), (35, restricted::non_root_1_35)]),
    check(Restricted, "runAsUser", &[(23, restricted::run_as_user), (35, restricted::run_as_user_1_35)]),
    instead(
        "seccompProfile_baseline",
        "seccompProfile_restricted",
        &[(19, restricted::seccomp), (25, restricted::seccomp_1_25)],
    ),
];

impl Check {
    fn at(&self, version: Version) -> Option<CheckFn> {
        let applies = |(since, _): &&(u32, CheckFn)| Version::Minor(*since) <= version;
        self.revisions.iter().rfind(applies).map(|(_, check)| *check)
    }
}

/// All refusals of a pod; none when it is allowed.
#[derive(Debug, Default, PartialEq)]
pub struct Verdict(Vec<Refusal>);

impl Verdict {
    pub fn allowed(&self) -> bool {
        self.0.is_empty()
    }

    pub fn reasons(&self) -> String {
        self.0.iter().map(|refusal| refusal.reason.as_str()).collect::<Vec<_>>().join(", ")
    }

    pub fn details(&self) -> String {
        let told = self.0.iter().map(|Refusal { reason, detail }| match detail.as_str() {
            "" => reason.clone(),
            _ => format!("{reason} ({detail})"),
        });
        told.collect::<Vec<_>>().join(", ")
    }
}

/// Judges a pod by all checks of a level.
pub fn evaluate(policy: LevelVersion, metadata: &Value, spec: &Value) -> Verdict {
    let pod = Pod { metadata, spec };
    let active: Vec<(&Check, CheckFn)> = CHECKS
        .iter()
        .filter(|check| check.level <= policy.level)
        .filter_map(|check| Some((check, check.at(policy.version)?)))
        .collect();
    let replaced: Vec<&str> = active.iter().map(|(check, _)| check.replaces).collect();
    let kept = active.iter().filter(|(check, _)| !replaced.contains(&check.id));
    Verdict(kept.filter_map(|(_, judge)| judge(&pod)).collect())
}
