use apimachinery::fields::Selector;
use serde_json::{Value, json};

use super::*;
use crate::{UserInfo, names};

/// `verb group/resource[/subresource] [namespace/]name [?fields]`, asked by a node.
fn ask(graph: &NodeGraph, node: &str, question: &str) -> Result<(), String> {
    let user = UserInfo::new(format!("system:node:{node}"), &[names::NODES]);
    let mut words = question.split(' ');
    let (verb, what) = (words.next().unwrap(), words.next().unwrap());
    let mut parts = what.split('/');
    let (group, resource) = (parts.next().unwrap(), parts.next().unwrap());
    let mut asked = Attributes::resource(&user, verb, group, resource).subresource(parts.next().unwrap_or_default());
    let mut fields = Selector::everything();
    for word in words {
        match (word.strip_prefix('?'), word.split_once('/')) {
            (Some(selector), _) => fields = Selector::parse(selector).unwrap(),
            (None, Some((namespace, name))) => asked = asked.in_namespace(namespace).named(name),
            (None, None) => asked = asked.named(word),
        }
    }
    match graph.authorize(&Attributes { fields: fields.requirements(), ..asked }) {
        Decision::Allow(_) => Ok(()),
        other => Err(other.reason().to_string()),
    }
}

fn graph() -> NodeGraph {
    let graph = NodeGraph::default();
    let pod = json!({
        "spec": {
            "nodeName": "n1",
            "serviceAccountName": "a",
            "volumes": [
                {"name": "s", "secret": {"secretName": "s"}},
                {"name": "c", "persistentVolumeClaim": {"claimName": "c"}},
                {"name": "z", "azureFile": {"secretName": "azure"}},
            ],
            "resourceClaims": [
                {"name": "direct", "resourceClaimName": "direct"},
                {"name": "made", "resourceClaimTemplateName": "t"},
            ],
        },
        "status": {
            "resourceClaimStatuses": [{"name": "made", "resourceClaimName": "p-made-x"}],
            "extendedResourceClaimStatus": {"resourceClaimName": "p-extended"},
        },
    });
    let volume = json!({"spec": {
        "claimRef": {"namespace": "ns", "name": "c"},
        "csi": {
            "nodePublishSecretRef": {"namespace": "other", "name": "publish"},
            "controllerExpandSecretRef": {"namespace": "other", "name": "expand"},
        },
    }});
    graph.apply_pod("ns", "p", Some(&pod));
    graph.apply_volume("v", Some(&volume));
    graph.apply_attachment("va", Some(&json!({"spec": {"nodeName": "n1"}})));
    graph.apply_slice("slice", Some(&json!({"spec": {"nodeName": "n1"}})));
    graph.apply_slice("network", Some(&json!({"spec": {"allNodes": true}})));
    graph
}

#[test]
fn a_node_may() {
    let graph = graph();
    for question in [
        "get /secrets ns/s",
        "list /secrets ns/s",
        "get /secrets ns/azure",
        "get /secrets other/publish",
        "get /persistentvolumeclaims ns/c",
        "patch /persistentvolumeclaims/status ns/c",
        "get /persistentvolumes v",
        "get storage.k8s.io/volumeattachments va",
        "get resource.k8s.io/resourceclaims ns/direct",
        "get resource.k8s.io/resourceclaims ns/p-made-x",
        "get resource.k8s.io/resourceclaims ns/p-extended",
        "get /serviceaccounts ns/a",
        "create /serviceaccounts/token ns/a",
        "update coordination.k8s.io/leases kube-node-lease/n1",
        "create coordination.k8s.io/leases kube-node-lease/",
        "get storage.k8s.io/csinodes n1",
        "create resource.k8s.io/resourceslices",
        "update resource.k8s.io/resourceslices slice",
        "deletecollection resource.k8s.io/resourceslices ?nodeName=n1",
        "get /pods ns/p",
        "watch /pods ns/p",
        "list /pods ?spec.nodeName=n1",
        "list /pods ?status.phase!=Failed,spec.nodeName==n1",
        "create /pods/eviction other/x",
        "patch /pods/status other/x",
        "get /nodes n1",
        "watch /nodes n1",
        "patch /nodes/status n1",
    ] {
        assert_eq!(ask(&graph, "n1", question), Ok(()), "{question}");
    }
}

#[test]
fn a_node_may_not_and_hears_why() {
    const UNRELATED: &str = "no relationship found between node 'n1' and this object";
    const LEASES: &str = "can only access leases in the \"kube-node-lease\" system namespace";
    let graph = graph();
    for (question, why) in [
        ("get /secrets ns/other", UNRELATED),
        ("get /secrets other/expand", UNRELATED),
        ("update /secrets ns/s", "can only read resources of this type"),
        ("get /configmaps/x ns/s", "cannot read subresource"),
        ("list /secrets", "can only read namespaced object of this type"),
        ("list /secrets ns/", "No Object name found"),
        ("list /persistentvolumeclaims ns/c", "can only get individual resources of this type"),
        ("get /persistentvolumeclaims/x ns/c", "cannot get subresource"),
        ("get /persistentvolumeclaims/status ns/c", "can only get/update/patch this type"),
        ("update /persistentvolumeclaims/status ns/x", UNRELATED),
        ("list /serviceaccounts ns/", "can only create tokens for individual service accounts"),
        ("create /serviceaccounts ns/a", "can only create token subresource of serviceaccount"),
        ("list coordination.k8s.io/leases ns/", "can only get, create, update, patch, or delete a node lease"),
        ("get coordination.k8s.io/leases ns/n1", LEASES),
        (
            "get coordination.k8s.io/leases kube-node-lease/n2",
            "can only access node lease with the same name as the requesting node",
        ),
        ("list storage.k8s.io/csinodes", "can only get, create, update, patch, or delete a CSINode"),
        ("get storage.k8s.io/csinodes/x n1", "cannot authorize CSINode subresources"),
        ("get storage.k8s.io/csinodes n2", "can only access CSINode with the same name as the requesting node"),
        ("get resource.k8s.io/resourceslices network", UNRELATED),
        ("get resource.k8s.io/resourceslices/x slice", "cannot authorize ResourceSlice subresources"),
        (
            "list resource.k8s.io/resourceslices ?nodeName!=n1",
            "can only list/watch/deletecollection resourceslices with nodeName field selector",
        ),
        (
            "bind resource.k8s.io/resourceslices slice",
            "only the following verbs are allowed for a ResourceSlice: get, watch, list, create, update, patch, \
             delete, deletecollection",
        ),
        ("list /pods", "can only list/watch pods with spec.nodeName field selector"),
        ("list /pods ?spec.nodeName=n2", "can only list/watch pods with spec.nodeName field selector"),
        ("list /pods ?spec.nodeName!=n1", "can only list/watch pods with spec.nodeName field selector"),
        ("update /pods ns/p", ""),
        ("create /pods/exec ns/p", ""),
        ("get /nodes n2", "node 'n1' cannot read 'n2', only its own Node object"),
        ("list /nodes", "node 'n1' cannot read all nodes, only its own Node object"),
        ("delete /nodes n1", ""),
        ("list certificates.k8s.io/podcertificaterequests ns/ ?spec.nodeName=n1", ""),
    ] {
        assert_eq!(ask(&graph, "n1", question), Err(why.to_string()), "{question}");
    }
    assert_eq!(ask(&graph, "", "get /nodes n1"), Err("unknown node for user \"system:node:\"".into()));
}

#[test]
fn another_node_and_the_same_node_after_the_pod_may_not() {
    let graph = graph();
    let refused = |node: &str, name: &str| ask(&graph, node, &format!("get /secrets {name}")).is_err();
    assert!(refused("n2", "ns/s") && refused("n2", "other/publish") && !refused("n1", "other/publish"));
    graph.apply_pod("ns", "p", None);
    assert!(refused("n1", "ns/s") && refused("n1", "other/publish"));
}

#[test]
fn a_mirror_pod_opens_nothing() {
    let graph = NodeGraph::default();
    let volumes = json!([{"name": "v", "secret": {"secretName": "s"}}]);
    let mirror: Value = json!({
        "metadata": {"annotations": {"kubernetes.io/config.mirror": "x"}},
        "spec": {"nodeName": "n1", "volumes": volumes},
    });
    graph.apply_pod("ns", "p", Some(&mirror));
    assert!(ask(&graph, "n1", "get /secrets ns/s").is_err());
    assert_eq!(ask(&graph, "n1", "get /pods ns/p"), Ok(()));
}
