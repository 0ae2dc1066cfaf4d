//! What is accepted of an object but worth a word, kind by kind.

use registry::by_kind;
use serde_json::{Value, json};

fn warnings(api: (&str, &str, &str), object: &Value) -> Vec<String> {
    by_kind(api.0, api.1, api.2).unwrap().strategy.warnings(object, None)
}

#[test]
fn addresses_and_labels_of_old_forms_are_told() {
    let zone = "failure-domain.beta.kubernetes.io/zone";
    let instead = "deprecated since v1.17; use \"topology.kubernetes.io/zone\" instead";
    let core = |kind| ("", "v1", kind);
    let bad = "non-standard IP address \"010.0.0.1\" is invalid: use \"10.0.0.1\"";
    let cases = [
        (
            core("Endpoints"),
            json!({"subsets": [{"addresses": [{"ip": "010.0.0.1"}], "notReadyAddresses": [{"ip": "1.2.3.4"}]}]}),
            vec![format!("subsets[0].addresses[0].ip: {bad}")],
        ),
        (
            core("Endpoints"),
            json!({
                "metadata": {"labels": {"endpoints.kubernetes.io/managed-by": "endpoint-controller"}},
                "subsets": [{"addresses": [{"ip": "010.0.0.1"}]}],
            }),
            vec![],
        ),
        (
            ("discovery.k8s.io", "v1", "EndpointSlice"),
            json!({"addressType": "FQDN", "endpoints": [{"addresses": ["010.0.0.1"]}]}),
            vec![
                "spec.addressType: FQDN endpoints are deprecated".to_owned(),
                format!("endpoints[0].addresses[0]: {bad}"),
            ],
        ),
        (
            ("networking.k8s.io", "v1", "NetworkPolicy"),
            json!({"spec": {"egress": [{"to": [{"ipBlock": {"cidr": "10.0.0.1/8", "except": ["10.1.0.0/16"]}}]}]}}),
            vec![
                "spec.egress[0].to[0].ipBlock.cidr: CIDR value \"10.0.0.1/8\" is ambiguous in this context (should be \
                 \"10.0.0.0/8\" or \"10.0.0.1/32\"?)"
                    .to_owned(),
            ],
        ),
        (
            ("storage.k8s.io", "v1", "StorageClass"),
            json!({"allowedTopologies": [{"matchLabelExpressions": [{"key": zone, "values": ["a"]}]}]}),
            vec![format!("allowedTopologies[0].matchLabelExpressions[0].key: {instead}")],
        ),
        (
            ("storage.k8s.io", "v1", "CSIStorageCapacity"),
            json!({"nodeTopology": {"matchLabels": {zone: "a"}, "matchExpressions": [{"key": zone, "operator": "Exists"}]}}),
            vec![
                format!("nodeTopology.matchExpressions[0].key: {zone} is {instead}"),
                format!("nodeTopology.matchLabels.{zone}: {instead}"),
            ],
        ),
        (
            ("node.k8s.io", "v1", "RuntimeClass"),
            json!({"scheduling": {"nodeSelector": {zone: "a"}}}),
            vec![format!("scheduling.nodeSelector: {instead}")],
        ),
        (
            core("Node"),
            json!({"spec": {"externalID": "x"}}),
            vec!["spec.externalID: this field is deprecated, and is unused by Kubernetes".to_owned()],
        ),
    ];
    for (api, object, wanted) in cases {
        assert_eq!(warnings(api, &object), wanted, "{api:?} {object}");
    }
}

#[test]
fn a_status_has_warnings_of_its_own() {
    let part = |kind: &str, part: &str, object: &Value| {
        by_kind("", "v1", kind).unwrap().strategy.part_warnings(part, object, &json!({}))
    };
    let bad = "non-standard IP address \"010.0.0.1\" is invalid: use \"10.0.0.1\"";
    let pod =
        json!({"status": {"podIPs": [{"ip": "10.0.0.2"}, {"ip": "010.0.0.1"}], "hostIPs": [{"ip": "010.0.0.1"}]}});
    let wanted = vec![format!("status.podIPs[1].ip: {bad}"), format!("status.hostIPs[0].ip: {bad}")];
    assert_eq!(part("Pod", "status", &pod), wanted);
    assert_eq!(part("Pod", "resize", &pod), Vec::<String>::new());
    let service =
        json!({"spec": {"externalName": "x"}, "status": {"loadBalancer": {"ingress": [{"ip": "010.0.0.1"}]}}});
    assert_eq!(part("Service", "status", &service), [format!("status.loadBalancer.ingress[0]: {bad}")]);
}
