//! What is wrong with a pod, in upstream's order.

use serde_json::{Value, json};

use crate::core::Pod;
use crate::strategy::Strategy;

fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from,
    }
}

/// A pod with one container, changed by `change`.
fn pod(change: Value) -> Value {
    let mut pod = json!({
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {"serviceAccountName": "default", "containers": [{"name": "c", "image": "busybox"}]},
    });
    merge(&mut pod, change);
    Pod.default(&mut pod);
    pod
}

/// `field reason` of each cause.
fn causes(errors: &apimachinery::field::ErrorList) -> Vec<String> {
    errors
        .iter()
        .map(|error| format!("{} {}", error.field, error.kind.reason().trim_start_matches("FieldValue")))
        .collect()
}

fn check(change: Value, expected: &[&str]) {
    assert_eq!(causes(&Pod.validate(&pod(change))), expected);
}

fn check_spec(spec: Value, expected: &[&str]) {
    check(json!({ "spec": spec }), expected);
}

#[test]
fn causes_come_in_upstreams_order() {
    check_spec(
        json!({
            "tolerations": [{"operator": "Equal"}],
            "hostname": "A",
            "dnsPolicy": "X",
            "restartPolicy": "X",
            "nodeSelector": {"a b": "c"},
            "containers": [{"name": "c", "image": " x", "imagePullPolicy": "X", "ports": [{"containerPort": 70000}]}],
        }),
        &[
            "spec.containers[0].ports[0].containerPort Invalid",
            "spec.containers[0].imagePullPolicy NotSupported",
            "spec.restartPolicy NotSupported",
            "spec.dnsPolicy NotSupported",
            "spec.nodeSelector Invalid",
            "spec.hostname Invalid",
            "spec.tolerations[0].operator Invalid",
            "spec.containers[0].image Invalid",
        ],
    );
}

#[test]
fn a_faulty_volume_cannot_be_mounted() {
    check_spec(
        json!({
            "volumes": [{"name": "v", "secret": {}}],
            "containers": [{"name": "c", "image": "x", "volumeMounts": [{"name": "v", "mountPath": "/v"}]}],
        }),
        &["spec.volumes[0].secret.secretName Required", "spec.containers[0].volumeMounts[0].name NotFound"],
    );
}

#[test]
fn sources_of_volumes_are_judged() {
    let volume = |source: Value, expected: &[&str]| {
        let mut volume = json!({"name": "v"});
        merge(&mut volume, source);
        check_spec(json!({ "volumes": [volume] }), expected);
    };
    volume(json!({"gcePersistentDisk": {}}), &["spec.volumes[0].persistentDisk.pdName Required"]);
    volume(json!({"flocker": {}}), &["spec.volumes[0].flocker Required"]);
    volume(json!({"hostPath": {"path": "a/.."}}), &["spec.volumes[0].hostPath.path Invalid"]);
    volume(json!({"hostPath": {}}), &["spec.volumes[0].hostPath.path Required"]);
    volume(json!({"quobyte": {"registry": "a,b:1", "volume": "v"}}), &["spec.volumes[0].quobyte.registry Invalid"]);
    volume(
        json!({"iscsi": {"targetPortal": "p", "iqn": "iqn.2001-04.com.example:storage", "lun": 0, "initiatorName": "x"}}),
        &["spec.volumes[0].iscsi.initiatorname Invalid"],
    );
    volume(
        json!({"iscsi": {"targetPortal": "p", "iqn": "iqn.2001-4.com", "lun": 300}}),
        &["spec.volumes[0].iscsi.iqn Invalid", "spec.volumes[0].iscsi.lun Invalid"],
    );
    volume(
        json!({"flexVolume": {"driver": "d", "options": {"a.k8s.io/b": "c"}}}),
        &["spec.volumes[0].flexVolume.options[a.k8s.io/b] Invalid"],
    );
    volume(json!({"csi": {"driver": ""}}), &["spec.volumes[0].csi.driver Required"]);
    volume(
        json!({"downwardAPI": {"items": [{"path": "../a"}]}}),
        &["spec.volumes[0].downwardAPI.path Invalid", "spec.volumes[0].downwardAPI Required"],
    );
    volume(
        json!({"secret": {"secretName": "s"}, "cephfs": {"monitors": ["m"]}}),
        &["spec.volumes[0].cephFS Forbidden"],
    );
}

#[test]
fn projected_sources_do_not_write_the_same_file() {
    let projected = json!({"sources": [
        {"secret": {"name": "s", "items": [{"key": "k", "path": "p"}]}},
        {"configMap": {"items": [{"key": "k", "path": "p"}]}},
        {"serviceAccountToken": {"path": "", "expirationSeconds": 1}},
    ]});
    check_spec(
        json!({"volumes": [{"name": "v", "projected": projected}]}),
        &[
            "spec.volumes[0].projected.sources[1].configMap.name Required",
            "spec.volumes[0].projected Invalid",
            "spec.volumes[0].projected.sources[2].serviceAccountToken.expirationSeconds Invalid",
            "spec.volumes[0].projected.path Required",
        ],
    );
}

#[test]
fn an_ephemeral_volumes_claim_is_named_after_the_pod() {
    let claim = json!({"spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}});
    check_spec(
        json!({"volumes": [
            {"name": "e", "ephemeral": {"volumeClaimTemplate": claim}},
            {"name": "p", "persistentVolumeClaim": {"claimName": "web-e"}},
        ]}),
        &["spec.volumes[1].persistentVolumeClaim.claimName Invalid"],
    );
}

#[test]
fn a_pods_own_resources_bound_its_containers() {
    let container = json!({"name": "c", "image": "x", "resources": {"requests": {"cpu": "2"}, "limits": {"cpu": "4"}}});
    check_spec(
        json!({"resources": {"requests": {"cpu": "1", "disk": "1"}, "limits": {"cpu": "3"}}, "containers": [container]}),
        &[
            "spec.resources.requests[disk] Invalid",
            "spec.resources.requests[cpu] Invalid",
            "spec.resources.containers[0][cpu].limits Invalid",
        ],
    );
}

#[test]
fn a_pod_with_limits_asks_for_what_its_containers_ask_for() {
    let container = json!({"name": "c", "image": "x", "resources": {"requests": {"cpu": "500m"}}});
    let pod = pod(json!({"spec": {"resources": {"limits": {"cpu": "1", "memory": "1Gi"}}, "containers": [container]}}));
    assert_eq!(pod["spec"]["resources"]["requests"], json!({"cpu": "500m", "memory": "1Gi"}));
    assert_eq!(super::qos_class(&pod["spec"]), "Burstable");
}

#[test]
fn windows_and_linux_have_their_own_fields() {
    check_spec(
        json!({
            "os": {"name": "windows"},
            "hostPID": true,
            "securityContext": {"runAsUser": 1},
            "containers": [{"name": "c", "image": "x", "securityContext": {"privileged": true}}],
        }),
        &[
            "spec.hostPID Forbidden",
            "spec.securityContext.runAsUser Forbidden",
            "spec.containers[0].securityContext.privileged Forbidden",
        ],
    );
    let options = json!({"runAsUserName": "a\\b\\c", "hostProcess": true});
    check_spec(
        json!({"os": {"name": "linux"}, "securityContext": {"windowsOptions": options}}),
        &[
            "spec.securityContext.windowsOptions.runAsUserName Invalid",
            "spec.hostNetwork Invalid",
            "spec.securityContext.windowsOptions Forbidden",
        ],
    );
    check_spec(json!({"os": {"name": "plan9"}}), &["spec.os NotSupported"]);
}

#[test]
fn annotations_agree_with_fields() {
    check(
        json!({
            "metadata": {"annotations": {
                "controller.kubernetes.io/pod-deletion-cost": "+1",
                "container.apparmor.security.beta.kubernetes.io/x": "unconfined",
                "seccomp.security.alpha.kubernetes.io/pod": "unconfined",
            }},
            "spec": {"securityContext": {"seccompProfile": {"type": "RuntimeDefault"}}},
        }),
        &[
            "metadata.annotations[controller.kubernetes.io/pod-deletion-cost] Invalid",
            "metadata.annotations[container.apparmor.security.beta.kubernetes.io/x] Invalid",
            "spec.securityContext.seccompProfile.type Forbidden",
        ],
    );
}

#[test]
fn label_keys_are_merged_into_the_selector_of_a_new_pod() {
    let constraint = json!({
        "maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule",
        "matchLabelKeys": ["app"], "labelSelector": {},
    });
    let mut object =
        pod(json!({"metadata": {"labels": {"app": "a"}}, "spec": {"topologySpreadConstraints": [constraint]}}));
    let groups = [];
    let context = crate::Context { now: "", namespace: "", user: "", user_uid: "", user_groups: &groups };
    Pod.prepare_for_create(&mut object, &context);
    let selector = &object["spec"]["topologySpreadConstraints"][0]["labelSelector"];
    assert_eq!(*selector, json!({"matchExpressions": [{"key": "app", "operator": "In", "values": ["a"]}]}));
    assert_eq!(causes(&Pod.validate(&object)), Vec::<String>::new());
}

#[test]
fn an_update_changes_only_what_it_may() {
    let check = |old: Value, new: Value, expected: &[&str]| {
        assert_eq!(causes(&Pod.validate_update(&pod(new), &pod(old))), expected);
    };
    let gated = |rest: Value| {
        let mut spec = json!({"schedulingGates": [{"name": "g"}]});
        merge(&mut spec, rest);
        json!({ "spec": spec })
    };
    check(json!({}), json!({"spec": {"containers": [{"name": "c", "image": "other"}]}}), &[]);
    check(json!({}), json!({"spec": {"hostname": "h"}}), &["spec Forbidden"]);
    check(
        json!({"spec": {"containers": [{"name": "c", "image": "x", "imagePullPolicy": "Never"}]}}),
        json!({"spec": {"containers": [{"name": "c", "image": "", "imagePullPolicy": "Never"}]}}),
        &["spec.containers[0].image Required", "spec.containers[0].image Required"],
    );
    check(
        json!({"spec": {"activeDeadlineSeconds": 5}}),
        json!({"spec": {"activeDeadlineSeconds": 6, "hostname": "h"}}),
        &["spec.activeDeadlineSeconds Invalid"],
    );
    check(gated(json!({})), gated(json!({"nodeSelector": {"a": "b"}})), &[]);
    check(gated(json!({"nodeSelector": {"a": "b"}})), gated(json!({})), &["spec.nodeSelector Invalid"]);
    check(json!({}), gated(json!({})), &["spec.schedulingGates[0].name Forbidden"]);
    check(
        json!({"metadata": {"annotations": {"kubernetes.io/config.mirror": "m"}}, "spec": {"nodeName": "n"}}),
        json!({"spec": {"nodeName": "n"}}),
        &["metadata.annotations[kubernetes.io/config.mirror] Forbidden"],
    );
}

#[test]
fn a_status_says_what_can_be() {
    let ended = json!({"containerStatuses": [{"name": "c", "state": {"terminated": {"exitCode": 0}}}]});
    let mut old = pod(json!({"spec": {"restartPolicy": "Never"}}));
    old["status"] = ended;
    let mut new = old.clone();
    new["status"] = json!({
        "containerStatuses": [{"name": "c", "state": {"running": {}}}],
        "conditions": [{"type": "a b", "status": "True"}],
        "podIPs": [{"ip": "10.0.0.1"}, {"ip": "10.0.0.2"}],
        "hostIP": "10.0.0.3", "hostIPs": [{"ip": "10.0.0.4"}],
    });
    assert_eq!(
        causes(&Pod.validate_status_update(&new, &old)),
        [
            "metadata.conditions[0].Type Invalid",
            "status.containerStatuses[0].state Forbidden",
            "status.podIPs Invalid",
            "status.hostIPs[0].ip Invalid",
        ]
    );
}

#[test]
fn what_is_probably_not_meant_is_told() {
    let object = pod(json!({
        "metadata": {"name": "web.a"},
        "spec": {
            "hostAliases": [{"ip": "10.0.0.1"}, {"ip": "10.0.0.1"}],
            "imagePullSecrets": [{"name": ""}],
            "topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "beta.kubernetes.io/os", "whenUnsatisfiable": "DoNotSchedule"}],
            "containers": [
                {"name": "c", "image": "x", "ports": [{"containerPort": 80}, {"containerPort": 80, "hostPort": 81}],
                 "env": [{"name": "A", "value": "1"}, {"name": "A", "value": "$(A)"}],
                 "resources": {"limits": {"ephemeral-storage": "100m"}}},
                {"name": "d", "image": "x", "ports": [{"containerPort": 80}]},
            ],
        },
    }));
    let expected = [
        "metadata.name: this is used in the Pod's hostname, which can result in surprising behavior; a DNS label is \
         recommended: [must not contain dots]",
        "spec.topologySpreadConstraints[0].topologyKey: beta.kubernetes.io/os is deprecated since v1.14; use \
         \"kubernetes.io/os\" instead",
        "spec.topologySpreadConstraints[0].labelSelector: a null labelSelector results in matching no pod",
        "spec.hostAliases[1].ip: duplicate ip \"10.0.0.1\"",
        "spec.imagePullSecrets[0].name: invalid empty name \"\"",
        "spec.containers[0].resources.limits[ephemeral-storage]: fractional byte value \"100m\" is invalid, must be an \
         integer",
        "spec.containers[0].resources.requests[ephemeral-storage]: fractional byte value \"100m\" is invalid, must be an \
         integer",
        "spec.containers[0].env[1]: hides previous definition of \"A\", which may be dropped when using apply",
        "spec.containers[0].ports[1]: overlapping port definition with spec.containers[0].ports[0]",
        "spec.containers[1].ports[0]: duplicate port definition with spec.containers[0].ports[0]",
        "spec.containers[1].ports[0]: overlapping port definition with spec.containers[0].ports[1]",
    ];
    assert_eq!(Pod.warnings(&object, None), expected);
    assert_eq!(Pod.warnings(&object, Some(&object)), Vec::<String>::new());
}
