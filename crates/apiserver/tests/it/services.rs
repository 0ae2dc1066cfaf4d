use serde_json::{Value, json};

use crate::Bench;

const SERVICES: &str = "/api/v1/namespaces/default/services";

fn service(name: &str, node_port: u16) -> Value {
    json!({
        "metadata": {"name": name},
        "spec": {"type": "NodePort", "selector": {"a": "b"}, "ports": [{"port": 80, "nodePort": node_port}]},
    })
}

#[tokio::test]
async fn a_node_port_belongs_to_one_service_until_it_is_given_back() {
    let bench = Bench::new().await;
    let first = bench.post(SERVICES, &service("a", 30500)).await;
    assert_eq!(first.code, 201, "{}", first.body);
    let refused = bench.post(SERVICES, &service("b", 30500)).await;
    assert_eq!((refused.code, &refused.body["details"]["causes"][0]["field"]), (422, &json!("spec.ports[0].nodePort")));
    let cluster = bench.patch(&format!("{SERVICES}/a"), "merge", &json!({"spec": {"type": "ClusterIP"}})).await.body;
    assert_eq!(cluster["spec"]["clusterIP"], first.body["spec"]["clusterIP"]);
    assert_eq!(bench.post(SERVICES, &service("b", 30500)).await.code, 201);
    bench.delete(&format!("{SERVICES}/b")).await;
    assert_eq!(bench.post(SERVICES, &service("c", 30500)).await.code, 201);
}

#[tokio::test]
async fn a_dry_run_and_a_refused_write_take_no_port() {
    let bench = Bench::new().await;
    assert_eq!(bench.post(&format!("{SERVICES}?dryRun=All"), &service("a", 30501)).await.code, 201);
    let mut invalid = service("a", 30501);
    invalid["spec"]["sessionAffinity"] = "Sometimes".into();
    assert_eq!(bench.post(SERVICES, &invalid).await.code, 422);
    assert_eq!(bench.post(SERVICES, &service("a", 30501)).await.code, 201);
}

#[tokio::test]
async fn the_kubernetes_service_has_the_first_address_and_this_server_behind_it() {
    let bench = Bench::new().await;
    assert_eq!(bench.get(&format!("{SERVICES}/kubernetes")).await.body["spec"]["clusterIP"], "10.96.0.1");
    let slices = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes";
    assert_eq!(bench.get(slices).await.body["endpoints"][0]["addresses"][0], "127.0.0.1");
    let mut taken = service("a", 30502);
    taken["spec"]["clusterIP"] = "10.96.0.1".into();
    assert_eq!(bench.post(SERVICES, &taken).await.code, 422);
}

#[tokio::test]
async fn a_headless_service_without_a_selector_needs_no_family() {
    let bench = Bench::new().await;
    let service = json!({"metadata": {"name": "h"}, "spec": {"clusterIP": "None", "ports": [{"port": 80}]}});
    let answer = bench.post("/api/v1/namespaces/default/services", &service).await;
    assert_eq!(answer.code, 201, "{}", answer.body);
    assert_eq!(answer.body["spec"]["ipFamilyPolicy"], "RequireDualStack");
}

#[tokio::test]
async fn an_address_of_a_load_balancer_says_how_it_is_reached() {
    let bench = Bench::new().await;
    let path = "/api/v1/namespaces/default/services";
    let service = json!({"metadata": {"name": "lb"}, "spec": {"type": "LoadBalancer", "ports": [{"port": 80}]}});
    assert_eq!(bench.post(path, &service).await.code, 201);
    let status =
        json!({"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}, {"hostname": "lb.example.com"}]}}});
    let answer = bench.patch(&format!("{path}/lb/status"), "merge", &status).await;
    let ingress = json!([{"ip": "192.0.2.1", "ipMode": "VIP"}, {"hostname": "lb.example.com"}]);
    assert_eq!(answer.body["status"]["loadBalancer"]["ingress"], ingress, "{}", answer.body);
}
