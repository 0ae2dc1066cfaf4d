use super::*;
use crate::ruleset::{Delta, Ruleset};
use apimachinery::ObjectKey;
use expect_test::{Expect, expect};
use nft::Nft;
use serde_json::{Value, json};

fn facts() -> NodeFacts {
    NodeFacts { name: "node1".to_owned(), cluster_cidr: "10.244.0.0/16".parse().unwrap() }
}

fn service(spec: Value) -> Service {
    serde_json::from_value(json!({ "metadata": { "namespace": "default", "name": "web" }, "spec": spec })).unwrap()
}

/// Endpoints written `address@node`, with `!` for not ready and `~` for ending but serving.
fn slice(port: Value, endpoints: &[&str]) -> Arc<EndpointSlice> {
    let endpoint = |text: &&str| {
        let (address, node) = text.trim_start_matches(['!', '~']).split_once('@').unwrap();
        let (ending, ready) = (text.starts_with('~'), !text.starts_with(['!', '~']));
        json!({
            "addresses": [address], "nodeName": node,
            "conditions": { "ready": ready, "serving": ready || ending, "terminating": ending },
        })
    };
    let endpoints: Vec<_> = endpoints.iter().map(endpoint).collect();
    let object =
        json!({ "addressType": "IPv4", "ports": [port], "endpoints": endpoints, "metadata": { "name": "web-1" } });
    Arc::new(serde_json::from_value(object).unwrap())
}

fn cluster_ip() -> Value {
    json!({ "clusterIP": "10.96.0.7", "clusterIPs": ["10.96.0.7"], "ports": [{ "name": "http", "port": 80 }] })
}

fn with(mut base: Value, more: Value) -> Value {
    base.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    base
}

fn http(endpoints: &[&str]) -> Vec<Arc<EndpointSlice>> {
    vec![slice(json!({ "name": "http", "port": 8080 }), endpoints)]
}

fn lines(service: &Service, slices: &[Arc<EndpointSlice>]) -> String {
    let plan = plan_service(service, slices, &facts());
    let mut lines: Vec<_> = plan
        .elements
        .iter()
        .map(|(set, element)| format!("{set}: {}\n", Element { comment: None, ..element.clone() }))
        .collect();
    lines.sort();
    lines.concat()
}

fn check(spec: Value, slices: &[Arc<EndpointSlice>], expected: Expect) {
    expected.assert_eq(&lines(&service(spec), slices));
}

#[test]
fn a_service_leads_to_the_slice_port_of_each_endpoint() {
    check(
        cluster_ip(),
        &http(&["10.244.1.3@node1", "10.244.2.4@node2", "!10.244.2.5@node2"]),
        expect![[r#"
            cluster-ips: 10.96.0.7
            endpoints: 10.96.0.7 . tcp . 80 . 0 : 10.244.1.3 . 8080
            endpoints: 10.96.0.7 . tcp . 80 . 1 : 10.244.2.4 . 8080
            hairpin: 10.244.1.3 . 10.244.1.3
            services: 10.96.0.7 . tcp . 80 : goto pick-2
        "#]],
    );
}

#[test]
fn ports_are_matched_by_name() {
    let slices = [
        slice(json!({ "name": "other", "port": 80 }), &["10.244.1.9@node1"]),
        slice(json!({ "name": "http", "port": 8080, "protocol": "UDP" }), &["10.244.1.8@node1"]),
    ];
    check(
        cluster_ip(),
        &slices,
        expect![[r#"
            cluster-ips: 10.96.0.7
            services: 10.96.0.7 . tcp . 80 : goto refuse
        "#]],
    );
}

#[test]
fn ending_endpoints_serve_when_nothing_else_does() {
    let both = lines(&service(cluster_ip()), &http(&["~10.244.2.3@node2", "10.244.2.4@node2"]));
    assert!(both.contains("10.244.2.4") && !both.contains("10.244.2.3"), "{both}");
    let ending = lines(&service(cluster_ip()), &http(&["~10.244.2.3@node2", "!10.244.2.4@node2"]));
    assert!(ending.contains("10.244.2.3") && !ending.contains("10.244.2.4"), "{ending}");
}

#[test]
fn a_node_port_with_local_policy_has_two_ways() {
    check(
        with(
            cluster_ip(),
            json!({ "type": "NodePort", "externalTrafficPolicy": "Local", "ports": [{ "name": "http", "port": 80, "nodePort": 30080 }] }),
        ),
        &http(&["10.244.1.3@node1", "10.244.2.4@node2"]),
        expect![[r#"
            cluster-ips: 10.96.0.7
            endpoints: 0.0.0.0 . tcp . 30080 . 0 : 10.244.1.3 . 8080
            endpoints: 0.0.0.0 . tcp . 30080 . 1 : 10.244.2.4 . 8080
            endpoints: 10.96.0.7 . tcp . 80 . 0 : 10.244.1.3 . 8080
            endpoints: 10.96.0.7 . tcp . 80 . 1 : 10.244.2.4 . 8080
            hairpin: 10.244.1.3 . 10.244.1.3
            local-endpoints: 0.0.0.0 . tcp . 30080 . 0 : 10.244.1.3 . 8080
            node-ports-local: tcp . 30080 : goto node-port-local-pick-1
            node-ports: tcp . 30080 : goto node-port-pick-2
            services: 10.96.0.7 . tcp . 80 : goto pick-2
        "#]],
    );
}

#[test]
fn without_local_endpoints_local_policies_drop() {
    let spec = with(
        cluster_ip(),
        json!({ "type": "NodePort", "externalTrafficPolicy": "Local", "internalTrafficPolicy": "Local",
        "ports": [{ "name": "http", "port": 80, "nodePort": 30080 }] }),
    );
    let text = lines(&service(spec), &http(&["10.244.2.4@node2"]));
    assert!(text.contains("services: 10.96.0.7 . tcp . 80 : drop"), "{text}");
    assert!(text.contains("node-ports-local: tcp . 30080 : drop"), "{text}");
}

#[test]
fn a_load_balancer_address_is_restricted_to_its_ranges() {
    let mut object = service(with(
        cluster_ip(),
        json!({ "type": "LoadBalancer",
        "loadBalancerSourceRanges": ["192.168.0.0/16", "192.168.7.0/24"], "externalIPs": ["203.0.113.9"] }),
    ));
    object.status =
        serde_json::from_value(json!({ "loadBalancer": { "ingress": [{ "ip": "172.28.128.200", "ipMode": "VIP" }] } }))
            .unwrap();
    expect![[r#"
        allowed-sources: 172.28.128.200 . tcp . 80 . 192.168.0.0/16
        cluster-ips: 10.96.0.7
        endpoints: 10.96.0.7 . tcp . 80 . 0 : 10.244.2.4 . 8080
        endpoints: 172.28.128.200 . tcp . 80 . 0 : 10.244.2.4 . 8080
        endpoints: 203.0.113.9 . tcp . 80 . 0 : 10.244.2.4 . 8080
        masquerade-all: 172.28.128.200 . tcp . 80
        masquerade-all: 203.0.113.9 . tcp . 80
        restricted: 172.28.128.200 . tcp . 80
        services: 10.96.0.7 . tcp . 80 : goto pick-1
        services: 172.28.128.200 . tcp . 80 : goto pick-1
        services: 203.0.113.9 . tcp . 80 : goto pick-1
    "#]]
    .assert_eq(&lines(&object, &http(&["10.244.2.4@node2"])));
}

#[test]
fn services_of_others_and_without_address_have_no_rules() {
    for spec in [json!({ "clusterIP": "None" }), json!({ "type": "ExternalName", "externalName": "x.org" }), json!({})]
    {
        check(spec, &http(&["10.244.1.3@node1"]), expect![[""]]);
    }
    let mut foreign = service(cluster_ip());
    foreign.metadata.labels = Some([(PROXY_NAME_LABEL.to_owned(), "other".to_owned())].into());
    assert_eq!(plan_service(&foreign, &http(&["10.244.1.3@node1"]), &facts()), ServicePlan::default());
}

/// Applies every step to the fake, which refuses what does not fit, and prints what the last one told the kernel.
fn steps(steps: &[(Value, &[&str])]) -> String {
    let (fake, mut ruleset) = (nft::Fake::new(), Ruleset::default());
    fake.apply(&ruleset.replace(&facts())).unwrap();
    let mut last = String::new();
    for (spec, endpoints) in steps {
        let mut delta = Delta::default();
        let plan = plan_service(&service(spec.clone()), &http(endpoints), &facts());
        ruleset.set(&ObjectKey::new("default", "web"), plan, &mut delta);
        let transaction = ruleset.transaction(&delta);
        fake.apply(&transaction).unwrap();
        last = transaction.to_string();
    }
    let patched = fake.list(&crate::layout::table()).unwrap();
    fake.apply(&ruleset.replace(&facts())).unwrap();
    assert_eq!(patched, fake.list(&crate::layout::table()).unwrap(), "patching and replacing lead to the same table");
    last
}

#[test]
fn one_more_endpoint_changes_one_verdict_and_adds_one_element() {
    let (one, two): (&[&str], &[&str]) = (&["10.244.1.3@n"], &["10.244.1.3@n", "10.244.2.4@n"]);
    expect![[r#"
        add chain ip coracle-services pick-2
        add rule ip coracle-services pick-2 jump check-masquerade
        add rule ip coracle-services pick-2 dnat to ip daddr . meta l4proto . th dport . numgen random mod 2 map @endpoints comment "a share of 1/2 each"
        delete element ip coracle-services services { 10.96.0.7 . tcp . 80 }
        add element ip coracle-services endpoints { 10.96.0.7 . tcp . 80 . 1 comment "default/web:http" : 10.244.2.4 . 8080 }
        add element ip coracle-services services { 10.96.0.7 . tcp . 80 comment "default/web:http" : goto pick-2 }
        delete chain ip coracle-services pick-1
    "#]]
    .assert_eq(&steps(&[(cluster_ip(), one), (cluster_ip(), two)]));
}

#[test]
fn the_same_plan_again_tells_the_kernel_nothing() {
    let endpoints: &[&str] = &["10.244.1.3@node1"];
    assert_eq!(steps(&[(cluster_ip(), endpoints), (cluster_ip(), endpoints)]), "");
}

#[test]
fn a_service_changes_its_type_and_its_affinity_and_back() {
    let endpoints: &[&str] = &["10.244.1.3@node1", "10.244.2.4@node2"];
    let sticky = with(cluster_ip(), json!({ "sessionAffinity": "ClientIP" }));
    let node_port =
        with(cluster_ip(), json!({ "type": "NodePort", "ports": [{ "name": "http", "port": 80, "nodePort": 30080 }] }));
    let last = steps(&[
        (cluster_ip(), endpoints),
        (sticky, endpoints),
        (node_port, endpoints),
        (cluster_ip(), &[]),
        (json!({}), &[]),
    ]);
    expect![[r#"
        delete element ip coracle-services cluster-ips { 10.96.0.7 }
        delete element ip coracle-services services { 10.96.0.7 . tcp . 80 }
    "#]]
    .assert_eq(&last);
}
