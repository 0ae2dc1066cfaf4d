//! Plugins of the chain, seen through requests.

use auth::UserInfo;
use http::Method;
use serde_json::{Value, json};

use crate::{Answer, Bench};

const PODS: &str = "/api/v1/namespaces/default/pods";
const QUOTAS: &str = "/api/v1/namespaces/default/resourcequotas";

fn pod(name: &str, container: Value) -> Value {
    let mut container = container;
    container["name"] = "c".into();
    container["image"] = "i".into();
    json!({"metadata": {"name": name}, "spec": {"containers": [container]}})
}

/// A quota whose status a controller has filled in.
async fn quota(bench: &Bench, spec: Value) {
    let created = bench.post(QUOTAS, &json!({"metadata": {"name": "q"}, "spec": spec})).await;
    assert_eq!(created.code, 201, "{}", created.body);
    let used = spec["hard"].as_object().unwrap().keys().map(|key| (key.clone(), json!("0")));
    let used: serde_json::Map<String, Value> = used.collect();
    let mut counted = created.body;
    counted["status"] = json!({"hard": spec["hard"], "used": used});
    assert_eq!(bench.put(&format!("{QUOTAS}/q/status"), &counted).await.code, 200);
}

async fn used(bench: &Bench) -> Value {
    bench.get(&format!("{QUOTAS}/q")).await.body["status"]["used"].clone()
}

fn message(answer: &Answer) -> &str {
    answer.body["message"].as_str().unwrap_or_default()
}

#[tokio::test]
async fn a_quota_is_charged_until_it_is_full() {
    let bench = Bench::new().await;
    quota(&bench, json!({"hard": {"requests.cpu": "1", "pods": "5"}})).await;
    let small = json!({"resources": {"requests": {"cpu": "600m"}}});
    assert_eq!(bench.post(PODS, &pod("a", small.clone())).await.code, 201);
    assert_eq!(used(&bench).await, json!({"pods": "1", "requests.cpu": "600m"}));
    let refused = bench.post(PODS, &pod("b", small.clone())).await;
    assert_eq!(refused.code, 403);
    assert_eq!(
        message(&refused),
        "pods \"b\" is forbidden: exceeded quota: q, requested: requests.cpu=600m, used: requests.cpu=600m, limited: requests.cpu=1"
    );
    let silent = bench.post(PODS, &pod("c", json!({}))).await;
    assert_eq!(message(&silent), "pods \"c\" is forbidden: failed quota: q: must specify requests.cpu for: c");
    let tiny = json!({"resources": {"requests": {"cpu": "1m"}}});
    assert_eq!(bench.post(&format!("{PODS}?dryRun=All"), &pod("d", tiny)).await.code, 201);
    assert_eq!(used(&bench).await, json!({"pods": "1", "requests.cpu": "600m"}), "a dry run uses nothing");
}

#[tokio::test]
async fn many_writers_never_spend_the_same_rest() {
    let bench = Bench::new().await;
    quota(&bench, json!({"hard": {"count/configmaps": "3"}})).await;
    let path = "/api/v1/namespaces/default/configmaps";
    let bodies: Vec<Value> = (0..8).map(|n| json!({"metadata": {"name": format!("m{n}")}})).collect();
    let codes = futures::future::join_all(bodies.iter().map(|body| bench.post(path, body))).await;
    assert_eq!(codes.iter().filter(|answer| answer.code == 201).count(), 3);
    assert_eq!(used(&bench).await, json!({"count/configmaps": "3"}));
}

#[tokio::test]
async fn a_quota_nobody_counted_yet_refuses() {
    let bench = Bench::new().await;
    quota(&bench, json!({"hard": {"pods": "5"}})).await;
    bench.patch(&format!("{QUOTAS}/q/status"), "merge", &json!({"status": {"used": null}})).await;
    let refused = bench.post(PODS, &pod("a", json!({}))).await;
    assert_eq!(message(&refused), "pods \"a\" is forbidden: status unknown for quota: q, resources: pods");
}

#[tokio::test]
async fn a_changed_service_is_charged_by_the_difference() {
    let bench = Bench::new().await;
    quota(&bench, json!({"hard": {"services": "1", "services.nodeports": "1"}})).await;
    let path = "/api/v1/namespaces/default/services";
    let service = json!({"metadata": {"name": "s"}, "spec": {"ports": [{"name": "a", "port": 80}]}});
    assert_eq!(bench.post(path, &service).await.code, 201);
    let node_port = json!({"spec": {"type": "NodePort"}});
    assert_eq!(bench.patch(&format!("{path}/s"), "merge", &node_port).await.code, 200);
    assert_eq!(used(&bench).await, json!({"services": "1", "services.nodeports": "1"}));
    let second = json!({"spec": {"ports": [{"name": "a", "port": 80}, {"name": "b", "port": 81}]}});
    let refused = bench.patch(&format!("{path}/s"), "merge", &second).await;
    assert_eq!(refused.code, 403, "{}", refused.body);
}

#[tokio::test]
async fn a_namespace_takes_the_pods_that_its_level_allows() {
    let bench = Bench::new().await;
    assert_eq!(bench.post(PODS, &pod("old", json!({"securityContext": {"privileged": true}}))).await.code, 201);
    let enforce = json!({"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "baseline"}}});
    assert_eq!(bench.patch("/api/v1/namespaces/default", "merge", &enforce).await.code, 200);
    let refused = bench.post(PODS, &pod("new", json!({"securityContext": {"privileged": true}}))).await;
    assert_eq!(refused.code, 403);
    assert_eq!(
        message(&refused),
        "pods \"new\" is forbidden: violates PodSecurity \"baseline:latest\": privileged (container \"c\" must not set \
         securityContext.privileged=true)"
    );
    let bad = json!({"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "extreme"}}});
    let refused = bench.patch("/api/v1/namespaces/default", "merge", &bad).await;
    assert_eq!((refused.code, &refused.body["reason"]), (422, &json!("Invalid")));
    let cause = &refused.body["details"]["causes"][0];
    assert_eq!(cause["field"], "metadata.labels[pod-security.kubernetes.io/enforce]");
}

#[tokio::test]
async fn claims_and_volumes_are_protected_and_grow_only_with_their_class() {
    let bench = Bench::new().await;
    let path = "/api/v1/namespaces/default/persistentvolumeclaims";
    let claim = json!({"metadata": {"name": "c"}, "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": "fast",
        "resources": {"requests": {"storage": "1Gi"}}}});
    let created = bench.post(path, &claim).await;
    assert_eq!(created.body["metadata"]["finalizers"], json!(["kubernetes.io/pvc-protection"]), "{}", created.body);
    let larger = json!({"spec": {"resources": {"requests": {"storage": "2Gi"}}}});
    assert!(bench.patch(&format!("{path}/c"), "merge", &larger).await.code >= 403);
}

#[tokio::test]
async fn approving_needs_a_right_on_the_signer() {
    let bench = Bench::new().await;
    let user = UserInfo::new("approver", &["system:authenticated"]);
    let role = json!({"metadata": {"name": "approve"}, "rules": [
        {"apiGroups": ["certificates.k8s.io"], "resources": ["certificatesigningrequests", "certificatesigningrequests/approval"],
         "verbs": ["get", "update", "patch"]}]});
    let rbac = "/apis/rbac.authorization.k8s.io/v1";
    assert_eq!(bench.post(&format!("{rbac}/clusterroles"), &role).await.code, 201);
    let binding = json!({"metadata": {"name": "approve"}, "subjects": [{"kind": "User", "name": "approver", "apiGroup": "rbac.authorization.k8s.io"}],
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "approve"}});
    assert_eq!(bench.post(&format!("{rbac}/clusterrolebindings"), &binding).await.code, 201);
    let mut params = rcgen::CertificateParams::default();
    params.distinguished_name.push(rcgen::DnType::CommonName, "alice");
    let key = rcgen::KeyPair::generate().unwrap();
    let pem = params.serialize_request(&key).unwrap().pem().unwrap();
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(pem);
    let csrs = "/apis/certificates.k8s.io/v1/certificatesigningrequests";
    let csr = json!({"metadata": {"name": "x"}, "spec": {"request": text, "signerName": "example.com/s", "usages": ["client auth"]}});
    let created = bench.post(csrs, &csr).await;
    assert_eq!(created.code, 201, "{}", created.body);
    let approval =
        json!({"status": {"conditions": [{"type": "Approved", "status": "True", "reason": "r", "message": "m"}]}});
    let media = "application/merge-patch+json";
    let refused = bench.ask(Some(&user), Method::PATCH, &format!("{csrs}/x/approval"), media, &approval).await;
    assert_eq!(refused.code, 403);
    assert_eq!(
        message(&refused),
        "certificatesigningrequests.certificates.k8s.io \"x\" is forbidden: user not permitted to approve requests with \
         signerName \"example.com/s\""
    );
    assert_eq!(bench.patch(&format!("{csrs}/x/approval"), "merge", &approval).await.code, 200);
}

#[tokio::test]
async fn a_bound_pod_learns_where_its_node_is() {
    let bench = Bench::new().await;
    let labels = json!({"topology.kubernetes.io/zone": "z1", "topology.kubernetes.io/region": "r1", "other": "x"});
    assert_eq!(bench.post("/api/v1/nodes", &json!({"metadata": {"name": "n", "labels": labels}})).await.code, 201);
    assert_eq!(bench.post(PODS, &pod("p", json!({}))).await.code, 201);
    let binding = json!({"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n"}});
    assert_eq!(bench.post(&format!("{PODS}/p/binding"), &binding).await.code, 201);
    let found = bench.get(&format!("{PODS}/p")).await.body;
    let want = json!({"topology.kubernetes.io/zone": "z1", "topology.kubernetes.io/region": "r1"});
    assert_eq!(found["metadata"]["labels"], want);
}

#[tokio::test]
async fn a_binding_to_no_node_brings_no_labels() {
    let bench = Bench::new().await;
    let labels = json!({"topology.kubernetes.io/zone": "z1"});
    assert_eq!(bench.post("/api/v1/nodes", &json!({"metadata": {"name": "n", "labels": labels}})).await.code, 201);
    assert_eq!(bench.post(PODS, &pod("p", json!({}))).await.code, 201);
    let binding = json!({"metadata": {"name": "p"}, "target": {"name": "n"}});
    assert_eq!(bench.post(&format!("{PODS}/p/binding"), &binding).await.code, 201);
    assert!(bench.get(&format!("{PODS}/p")).await.body["metadata"]["labels"].is_null());
}

#[tokio::test]
async fn an_account_may_keep_its_pods_from_other_secrets() {
    let bench = Bench::new().await;
    let account = json!({"metadata": {"name": "strict", "annotations": {"kubernetes.io/enforce-mountable-secrets": "true"}},
        "secrets": [{"name": "mine"}]});
    assert_eq!(bench.post("/api/v1/namespaces/default/serviceaccounts", &account).await.code, 201);
    let with = |secret: &str| {
        let mut pod = pod("p", json!({"envFrom": [{"secretRef": {"name": secret}}]}));
        pod["spec"]["serviceAccountName"] = "strict".into();
        pod
    };
    let refused = bench.post(PODS, &with("other")).await;
    assert_eq!(refused.code, 403);
    assert_eq!(
        message(&refused),
        "pods \"p\" is forbidden: container c with envFrom referencing secret.secretName=\"other\" is not allowed because \
         service account strict does not reference that secret"
    );
    assert_eq!(bench.post(PODS, &with("mine")).await.code, 201);
}

#[tokio::test]
async fn the_first_by_name_of_classes_of_one_second_is_the_default() {
    let bench = Bench::new().await;
    let classes = "/apis/networking.k8s.io/v1/ingressclasses";
    for name in ["b", "a", "c"] {
        let class = json!({"metadata": {"name": name, "annotations": {"ingressclass.kubernetes.io/is-default-class": "true"}}, "spec": {"controller": "example.com/c"}});
        assert_eq!(bench.post(classes, &class).await.code, 201);
    }
    let stored = bench.get(classes).await.body["items"].as_array().unwrap().clone();
    let newest = stored.iter().map(|class| class["metadata"]["creationTimestamp"].as_str().unwrap()).max().unwrap();
    let mut last = stored.iter().filter(|class| class["metadata"]["creationTimestamp"] == newest);
    let want = last.next().unwrap()["metadata"]["name"].clone();
    let ingress = json!({"metadata": {"name": "i"}, "spec": {"defaultBackend": {"service": {"name": "s", "port": {"number": 80}}}}});
    let created = bench.post("/apis/networking.k8s.io/v1/namespaces/default/ingresses", &ingress).await;
    assert_eq!(created.body["spec"]["ingressClassName"], want, "{}", created.body);
}
