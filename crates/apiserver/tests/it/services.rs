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

const ADDRESSES: &str = "/apis/networking.k8s.io/v1/ipaddresses";
const CIDRS: &str = "/apis/networking.k8s.io/v1/servicecidrs";

fn plain(name: &str, address: Option<&str>) -> Value {
    let mut service = json!({"metadata": {"name": name}, "spec": {"ports": [{"port": 80}]}});
    if let Some(address) = address {
        service["spec"]["clusterIP"] = address.into();
    }
    service
}

async fn address_of(bench: &Bench, name: &str) -> String {
    let service = bench.get(&format!("{SERVICES}/{name}")).await.body;
    format!("{ADDRESSES}/{}", service["spec"]["clusterIP"].as_str().unwrap())
}

#[tokio::test]
async fn the_default_range_and_the_first_address_are_objects() {
    let bench = Bench::new().await;
    let range = bench.get(&format!("{CIDRS}/kubernetes")).await.body;
    assert_eq!(range["spec"]["cidrs"], json!(["10.96.0.0/12"]));
    let condition = &range["status"]["conditions"][0];
    assert_eq!((&condition["type"], &condition["status"]), (&json!("Ready"), &json!("True")));
    assert_eq!(condition["message"], "Kubernetes default Service CIDR is ready");
    let address = bench.get(&format!("{ADDRESSES}/10.96.0.1")).await.body;
    let parent = json!({"resource": "services", "namespace": "default", "name": "kubernetes"});
    assert_eq!(address["spec"]["parentRef"], parent);
    let labels = json!({
        "ipaddress.kubernetes.io/ip-family": "IPv4",
        "ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io",
    });
    assert_eq!(address["metadata"]["labels"], labels);
    let owner = &address["metadata"]["managedFields"][0];
    assert_eq!((&owner["manager"], &owner["operation"]), (&json!("kube-apiserver"), &json!("Update")));
}

#[tokio::test]
async fn an_address_is_an_object_as_long_as_its_service_has_it() {
    let bench = Bench::new().await;
    assert_eq!(
        bench.post(&format!("{SERVICES}?dryRun=All"), &plain("a", None)).await.body["spec"]["clusterIP"],
        "10.96.0.0"
    );
    bench.post(SERVICES, &plain("a", None)).await;
    let path = address_of(&bench, "a").await;
    assert_eq!(bench.get(&path).await.body["spec"]["parentRef"]["name"], "a");
    let outside =
        json!({"spec": {"type": "ExternalName", "externalName": "x.y", "clusterIP": null, "clusterIPs": null}});
    let changed = bench.patch(&format!("{SERVICES}/a"), "merge", &outside).await;
    assert_eq!((changed.code, bench.get(&path).await.code), (200, 404), "{}", changed.body);
    bench.patch(&format!("{SERVICES}/a"), "merge", &json!({"spec": {"type": "ClusterIP"}})).await;
    let path = address_of(&bench, "a").await;
    assert_eq!(bench.get(&path).await.code, 200);
    bench.delete(&format!("{SERVICES}/a")).await;
    assert_eq!(bench.get(&path).await.code, 404);
}

#[tokio::test]
async fn an_address_goes_with_the_last_finalizer_of_its_service() {
    let bench = Bench::new().await;
    let mut service = plain("a", Some("10.96.0.77"));
    service["metadata"]["finalizers"] = json!(["example.com/hold"]);
    bench.post(SERVICES, &service).await;
    let path = format!("{ADDRESSES}/10.96.0.77");
    bench.delete(&format!("{SERVICES}/a")).await;
    assert_eq!(bench.get(&path).await.code, 200);
    bench.patch(&format!("{SERVICES}/a"), "merge", &json!({"metadata": {"finalizers": null}})).await;
    assert_eq!(bench.get(&path).await.code, 404);
}

#[tokio::test]
async fn what_is_taken_or_in_no_range_is_refused() {
    let bench = Bench::new().await;
    let why =
        async |path: &str, address: &str| bench.post(path, &plain("a", Some(address))).await.body["message"].clone();
    assert_eq!(
        why(SERVICES, "10.96.0.1").await,
        r#"Service "a" is invalid: spec.clusterIPs: Invalid value: ["10.96.0.1"]: failed to allocate IP 10.96.0.1: provided IP is already allocated"#
    );
    assert_eq!(
        why(SERVICES, "192.168.9.9").await,
        r#"Service "a" is invalid: spec.clusterIPs: Invalid value: ["192.168.9.9"]: failed to allocate IP 192.168.9.9: the provided network does not match the current range"#
    );
    assert_eq!(
        why(&format!("{SERVICES}?dryRun=All"), "192.168.9.9").await,
        r#"Service "a" is invalid: spec.clusterIPs: Invalid value: ["192.168.9.9"]: failed to allocate IP 192.168.9.9: the provided IP (192.168.9.9) is not in the valid range. The range of valid IPs is 10.96.0.0/12"#
    );
    // Somebody keeps an address for himself.
    let parent = json!({"group": "example.com", "resource": "hosts", "name": "h"});
    let kept = json!({"metadata": {"name": "10.96.0.50"}, "spec": {"parentRef": parent}});
    assert_eq!(bench.post(ADDRESSES, &kept).await.code, 201);
    assert_eq!(bench.post(SERVICES, &plain("a", Some("10.96.0.50"))).await.code, 422);
}

#[tokio::test]
async fn another_range_gives_addresses_until_it_is_to_go() {
    let bench = Bench::new().await;
    let range = json!({"metadata": {"name": "more"}, "spec": {"cidrs": ["10.200.0.0/24"]}});
    assert_eq!(bench.post(SERVICES, &plain("a", Some("10.200.0.9"))).await.code, 422);
    assert_eq!(bench.post(CIDRS, &range).await.code, 201);
    assert_eq!(bench.post(SERVICES, &plain("a", Some("10.200.0.9"))).await.code, 201);
    assert_eq!(bench.post(SERVICES, &plain("edge", Some("10.200.0.255"))).await.code, 422);
    let hold = json!({"metadata": {"finalizers": ["networking.k8s.io/service-cidr-finalizer"]}});
    bench.patch(&format!("{CIDRS}/more"), "merge", &hold).await;
    bench.delete(&format!("{CIDRS}/more")).await;
    assert_eq!(bench.post(SERVICES, &plain("b", Some("10.200.0.10"))).await.code, 422);
}

#[tokio::test]
async fn concurrent_services_get_different_addresses() {
    let bench = Bench::new().await;
    let range = json!({"metadata": {"name": "small"}, "spec": {"cidrs": ["10.201.0.0/28"]}});
    bench.post(CIDRS, &range).await;
    let asks = (0..20).map(|index| {
        let bench = &bench;
        let path = format!("/api/v1/namespaces/{}/services", if index % 2 == 0 { "default" } else { "kube-system" });
        async move { bench.post(&path, &plain(&format!("s{index}"), Some("10.201.0.3"))).await.code }
    });
    let codes = futures::future::join_all(asks).await;
    assert_eq!(codes.iter().filter(|code| **code == 201).count(), 1, "{codes:?}");
    let before = bench.get(ADDRESSES).await.body["items"].as_array().unwrap().len();
    let asks = (0..50).map(|index| {
        let bench = &bench;
        async move { bench.post(SERVICES, &plain(&format!("t{index}"), None)).await.code }
    });
    assert!(futures::future::join_all(asks).await.iter().all(|code| *code == 201));
    assert_eq!(bench.get(ADDRESSES).await.body["items"].as_array().unwrap().len(), before + 50);
}

/// Waits until an IPAddress is there, or is gone.
async fn until(bench: &Bench, address: &str, there: bool) {
    let key = store::Key::new("networking.k8s.io", "ipaddresses", "", address);
    let store = bench.server.store();
    loop {
        let mut changes = store.watch(store::Prefix::of_key(&key), store.revision()).unwrap();
        if store.get(&key).is_some() == there {
            return;
        }
        changes.next().await.unwrap();
    }
}

#[tokio::test]
async fn an_address_that_lies_about_its_service_is_repaired() {
    let bench = Bench::new().await;
    bench.post(SERVICES, &plain("a", Some("10.96.0.60"))).await;
    let labels = json!({
        "ipaddress.kubernetes.io/ip-family": "IPv4",
        "ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io",
    });
    let parent = json!({"resource": "services", "namespace": "default", "name": "a"});
    let stray = json!({"metadata": {"name": "10.96.0.61", "labels": labels}, "spec": {"parentRef": parent}});
    bench.post(ADDRESSES, &stray).await;
    until(&bench, "10.96.0.61", false).await;
    // The next change of the service brings back what somebody deleted.
    bench.delete(&format!("{ADDRESSES}/10.96.0.60")).await;
    bench.patch(&format!("{SERVICES}/a"), "merge", &json!({"metadata": {"labels": {"x": "y"}}})).await;
    until(&bench, "10.96.0.60", true).await;
}
