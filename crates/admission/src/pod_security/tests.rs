//! Pods of each kind of violation, and what is said of them.

use expect_test::{Expect, expect};
use serde_json::{Value, json};

use super::policy::Version;
use super::{Level, LevelVersion, Policy, evaluate};

fn check_at(level: Level, version: Version, pod: Value, want: Expect) {
    let metadata = pod.get("metadata").cloned().unwrap_or_default();
    want.assert_eq(&evaluate(LevelVersion::new(level, version), &metadata, &pod["spec"]).details());
}

fn check(level: Level, spec: Value, want: Expect) {
    check_at(level, Version::Latest, json!({"spec": spec}), want);
}

fn safe() -> Value {
    json!({"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}, "runAsNonRoot": true,
           "seccompProfile": {"type": "RuntimeDefault"}})
}

#[test]
fn a_plain_pod_is_baseline_and_not_restricted() {
    let spec = json!({"containers": [{"name": "x"}]});
    check(Level::Baseline, spec.clone(), expect![""]);
    check(
        Level::Restricted,
        spec,
        expect![[
            r#"allowPrivilegeEscalation != false (container "x" must set securityContext.allowPrivilegeEscalation=false), unrestricted capabilities (container "x" must set securityContext.capabilities.drop=["ALL"]), runAsNonRoot != true (pod or container "x" must set securityContext.runAsNonRoot=true), seccompProfile (pod or container "x" must set securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost")"#
        ]],
    );
    check(Level::Restricted, json!({"containers": [{"name": "x", "securityContext": safe()}]}), expect![""]);
}

#[test]
fn what_reaches_into_the_host_is_not_baseline() {
    let spec = json!({
        "hostNetwork": true, "hostPID": true,
        "volumes": [{"name": "v", "hostPath": {"path": "/"}}],
        "containers": [
            {"name": "a", "securityContext": {"privileged": true}, "ports": [{"hostPort": 8080}, {"hostPort": 80}]},
            {"name": "b", "securityContext": {"capabilities": {"add": ["NET_ADMIN", "CHOWN"]}},
             "livenessProbe": {"httpGet": {"host": "127.0.0.1"}}},
        ],
        "securityContext": {"sysctls": [{"name": "kernel.msgmax"}], "seLinuxOptions": {"user": "u", "type": "t"}},
    });
    check(
        Level::Baseline,
        spec,
        expect![[
            r#"non-default capabilities (container "b" must not include "NET_ADMIN" in securityContext.capabilities.add), host namespaces (hostNetwork=true, hostPID=true), hostPath volumes (volume "v"), hostPort (container "a" uses hostPorts 80, 8080), probe or lifecycle host (container "b" uses probe or lifecycle host "127.0.0.1"), privileged (container "a" must not set securityContext.privileged=true), seLinuxOptions (pod set forbidden securityContext.seLinuxOptions: type "t"; user may not be set), forbidden sysctls (kernel.msgmax)"#
        ]],
    );
}

#[test]
fn a_restricted_check_speaks_for_the_baseline_check_that_it_replaces() {
    let context = json!({"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"], "add": ["SYS_ADMIN"]},
        "runAsNonRoot": true, "seccompProfile": {"type": "Unconfined"}});
    let volume = json!({"name": "v", "hostPath": {"path": "/"}});
    check(
        Level::Restricted,
        json!({"volumes": [volume], "containers": [{"name": "x", "securityContext": context}]}),
        expect![[
            r#"unrestricted capabilities (container "x" must not include "SYS_ADMIN" in securityContext.capabilities.add), restricted volume types (volume "v" uses restricted volume type "hostPath"), seccompProfile (container "x" must not set securityContext.seccompProfile.type to "Unconfined")"#
        ]],
    );
}

#[test]
fn versions_keep_their_rules() {
    let sysctl = json!({"spec": {"containers": [], "securityContext": {"sysctls": [{"name": "net.ipv4.tcp_rmem"}]}}});
    check_at(Level::Baseline, Version::Minor(31), sysctl.clone(), expect!["forbidden sysctls (net.ipv4.tcp_rmem)"]);
    check_at(Level::Baseline, Version::Minor(32), sysctl, expect![""]);
    let annotated = json!({"metadata": {"annotations": {"seccomp.security.alpha.kubernetes.io/pod": "unconfined"}},
        "spec": {"containers": [{"name": "x"}]}});
    check_at(
        Level::Baseline,
        Version::Minor(18),
        annotated.clone(),
        expect![[r#"seccompProfile (forbidden annotation seccomp.security.alpha.kubernetes.io/pod="unconfined")"#]],
    );
    check_at(Level::Baseline, Version::Minor(19), annotated, expect![""]);
    let windows = json!({"spec": {"os": {"name": "windows"},
        "containers": [{"name": "x", "securityContext": {"runAsNonRoot": true}}]}});
    check_at(Level::Restricted, Version::Latest, windows, expect![""]);
}

#[test]
fn root_of_a_user_namespace_is_let_in() {
    let mut context = safe();
    context["runAsUser"] = 0.into();
    context["runAsNonRoot"] = false.into();
    let spec = json!({"hostUsers": false, "containers": [{"name": "x", "securityContext": context}]});
    check(Level::Restricted, spec.clone(), expect![""]);
    let old = json!({"spec": spec});
    check_at(
        Level::Restricted,
        Version::Minor(34),
        old,
        expect![[
            r#"runAsNonRoot != true (container "x" must not set securityContext.runAsNonRoot=false), runAsUser=0 (container "x" must not set runAsUser=0)"#
        ]],
    );
}

fn check_labels(labels: Value, want: Expect) {
    let (policy, errors) = Policy::of(labels.as_object(), &Policy::PRIVILEGED);
    let Policy { enforce, audit, warn } = policy;
    want.assert_eq(&format!("enforce={enforce} audit={audit} warn={warn} errors={}", errors.len()));
}

#[test]
fn labels_choose_the_policy_and_warnings_follow_what_is_enforced() {
    check_labels(
        json!({}),
        expect!["enforce=privileged:latest audit=privileged:latest warn=privileged:latest errors=0"],
    );
    check_labels(
        json!({"pod-security.kubernetes.io/enforce": "baseline", "pod-security.kubernetes.io/enforce-version": "v1.30"}),
        expect!["enforce=baseline:v1.30 audit=privileged:latest warn=baseline:v1.30 errors=0"],
    );
    check_labels(
        json!({"pod-security.kubernetes.io/enforce": "extreme", "pod-security.kubernetes.io/warn-version": "1.2"}),
        expect!["enforce=restricted:latest audit=privileged:latest warn=privileged:latest errors=2"],
    );
}
