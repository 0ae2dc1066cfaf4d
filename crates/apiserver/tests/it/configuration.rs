//! What an administrator configures, seen through requests.

use apiserver::{AdmissionConfiguration, Config};
use auth::UserInfo;
use http::Method;
use serde_json::{Value, json};
use store::{Key, Prefix};

use crate::Bench;

const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases";
const INFO: &str = "/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication";

fn admission(plugins: &str, disable: &[&str]) -> Config {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("admission.yaml");
    let head = "apiVersion: apiserver.config.k8s.io/v1\nkind: AdmissionConfiguration\nplugins:\n";
    std::fs::write(&file, format!("{head}{plugins}")).unwrap();
    let disable: Vec<String> = disable.iter().map(|name| (*name).to_owned()).collect();
    let admission = AdmissionConfiguration::load(Some(&file), &[], &disable).unwrap();
    Config { admission, ..Config::default() }
}

fn pod(name: &str, context: Value) -> Value {
    json!({"metadata": {"name": name}, "spec": {"containers": [{"name": "c", "image": "i", "securityContext": context}]}})
}

#[tokio::test]
async fn a_server_says_that_it_is_there() {
    let bench = Bench::new().await;
    let selected = format!("{LEASES}?labelSelector=apiserver.kubernetes.io%2Fidentity%3Dkube-apiserver");
    let leases = bench.get(&selected).await.body;
    let lease = &leases["items"][0];
    let name = lease["metadata"]["name"].as_str().unwrap();
    assert!(name.starts_with("apiserver-"), "{leases}");
    assert!(lease["spec"]["holderIdentity"].as_str().unwrap().starts_with(&format!("{name}_")));
    assert_eq!(lease["spec"]["leaseDurationSeconds"], 3600);
    assert!(lease["metadata"]["labels"]["kubernetes.io/hostname"].is_string());
}

#[tokio::test]
async fn extension_servers_are_told_again_what_somebody_took_out() {
    let bench = Bench::new().await;
    let first = bench.get(INFO).await.body;
    assert_eq!(first["data"]["requestheader-username-headers"], "[\"X-Remote-User\"]");
    let store = bench.server.store().clone();
    let key = Key::new("", "configmaps", "kube-system", "extension-apiserver-authentication");
    assert_eq!(bench.delete(INFO).await.code, 200);
    let mut changes = store.watch(Prefix::of_key(&key), store.revision()).expect("the newest revision is kept");
    while store.get(&key).is_none() {
        changes.next().await.expect("a change follows");
    }
    assert_eq!(bench.get(INFO).await.body["data"], first["data"]);
}

#[tokio::test]
async fn limited_resources_need_a_quota_that_covers_them() {
    let limits = "- name: ResourceQuota\n  configuration:\n    apiVersion: apiserver.config.k8s.io/v1\n    \
        kind: ResourceQuotaConfiguration\n    limitedResources:\n    - resource: secrets\n      matchContains: [count/secrets]\n";
    let bench = Bench::with(admission(limits, &[])).await;
    let path = "/api/v1/namespaces/default/secrets";
    let refused = bench.post(path, &json!({"metadata": {"name": "a"}})).await;
    assert_eq!(refused.body["message"], "secrets \"a\" is forbidden: insufficient quota to consume: count/secrets");
    let quotas = "/api/v1/namespaces/default/resourcequotas";
    let hard = json!({"count/secrets": "1"});
    let mut quota = bench.post(quotas, &json!({"metadata": {"name": "q"}, "spec": {"hard": hard}})).await.body;
    quota["status"] = json!({"hard": hard, "used": {"count/secrets": "0"}});
    assert_eq!(bench.put(&format!("{quotas}/q/status"), &quota).await.code, 200);
    assert_eq!(bench.post(path, &json!({"metadata": {"name": "a"}})).await.code, 201);
}

#[tokio::test]
async fn pod_security_has_defaults_and_exemptions() {
    let settings = "- name: PodSecurity\n  configuration:\n    apiVersion: pod-security.admission.config.k8s.io/v1\n    \
        kind: PodSecurityConfiguration\n    defaults: {enforce: baseline}\n    exemptions: {usernames: [free]}\n";
    let bench = Bench::with(admission(settings, &[])).await;
    let path = "/api/v1/namespaces/default/pods";
    let privileged = |name: &str| pod(name, json!({"privileged": true}));
    let refused = bench.post(path, &privileged("a")).await;
    assert_eq!(refused.code, 403);
    assert!(refused.body["message"].as_str().unwrap().contains("violates PodSecurity \"baseline:latest\""));
    let free = auth::UserInfo::master("free");
    let media = "application/json";
    assert_eq!(bench.ask(Some(&free), Method::POST, path, media, &privileged("b")).await.code, 201);
    let bench = Bench::with(admission(settings, &["PodSecurity"])).await;
    assert_eq!(bench.post(path, &privileged("c")).await.code, 201);
}

#[tokio::test]
async fn anonymous_requests_follow_the_authentication_configuration() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("authentication.yaml");
    let text = "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\n\
        anonymous: {enabled: true, conditions: [{path: /livez}]}\n";
    std::fs::write(&file, text).unwrap();
    let bench = Bench::with(Config { authentication_config: Some(file), ..Config::default() }).await;
    let code = async |path: &str| bench.ask(None, Method::GET, path, "application/json", &Value::Null).await.code;
    assert_eq!(code("/livez").await, 200);
    assert_eq!(code("/healthz").await, 401);
}

#[tokio::test]
async fn a_wrong_authentication_configuration_stops_the_start() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("authentication.yaml");
    std::fs::write(&file, "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\njwt: [{}]\n")
        .unwrap();
    let tasks = rt::TaskSet::new();
    let config = Config { authentication_config: Some(file), ..Config::default() };
    assert!(apiserver::Server::start(config, &tasks).await.is_err());
}

/// Of a server with plugins that do not run by themselves.
fn with_plugins(enable: &[&str]) -> Config {
    let enable: Vec<String> = enable.iter().map(|name| (*name).to_owned()).collect();
    let admission = AdmissionConfiguration::load(None, &enable, &[]).unwrap();
    Config { admission, ..Config::default() }
}

#[tokio::test]
async fn plugins_that_are_off_run_when_they_are_asked_for() {
    const PODS: &str = "/api/v1/namespaces/default/pods";
    const SERVICES: &str = "/api/v1/namespaces/default/services";
    let service = json!({"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}], "externalIPs": ["10.9.8.7"]}});
    let term = json!({"topologyKey": "zone", "labelSelector": {}});
    let mut apart = pod("apart", json!({}));
    apart["spec"]["affinity"] = json!({"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}});
    let mut device = pod("device", json!({}));
    let one = json!({"example.com/gpu": "1"});
    device["spec"]["containers"][0]["resources"] = json!({"requests": one, "limits": one});
    device["spec"]["containers"][0]["imagePullPolicy"] = "Never".into();

    let plain = Bench::new().await;
    assert_eq!(plain.post(SERVICES, &service).await.code, 201);
    assert_eq!(plain.post(PODS, &apart).await.code, 201);
    assert_eq!(plain.post(PODS, &device).await.body["spec"]["containers"][0]["imagePullPolicy"], "Never");

    let plugins = ["DenyServiceExternalIPs", "LimitPodHardAntiAffinityTopology", "AlwaysPullImages"];
    let strict = Bench::with(with_plugins(&[&plugins[..], &["ExtendedResourceToleration"]].concat())).await;
    let refused = strict.post(SERVICES, &service).await;
    assert_eq!(refused.code, 403);
    assert_eq!(
        refused.body["message"],
        "services \"s\" is forbidden: Use of external IPs is denied by admission control"
    );
    assert_eq!(
        strict.post(PODS, &apart).await.body["message"],
        "pods \"apart\" is forbidden: affinity.PodAntiAffinity.RequiredDuringScheduling has TopologyKey zone but only key \
         kubernetes.io/hostname is allowed"
    );
    let created = strict.post(PODS, &device).await.body;
    assert_eq!(created["spec"]["containers"][0]["imagePullPolicy"], "Always");
    let tolerations = created["spec"]["tolerations"].as_array().unwrap();
    assert!(tolerations.contains(&json!({"key": "example.com/gpu", "operator": "Exists", "effect": "NoSchedule"})));
}

#[tokio::test]
async fn nothing_is_written_where_everything_is_denied() {
    let bench = Bench::started(with_plugins(&["AlwaysDeny"])).await;
    let refused = bench.post("/api/v1/namespaces/default/configmaps", &json!({"metadata": {"name": "a"}})).await;
    assert_eq!(refused.code, 403);
    assert_eq!(
        refused.body["message"],
        "configmaps \"a\" is forbidden: admission control is denying all modifications"
    );
    assert_eq!(bench.delete("/api/v1/namespaces/default").await.code, 403);
    assert_eq!(bench.get("/api/v1/namespaces/default").await.code, 200);
}

#[tokio::test]
async fn who_cannot_delete_an_object_does_not_give_it_an_owner() {
    let bench = Bench::with(with_plugins(&["OwnerReferencesPermissionEnforcement"])).await;
    let path = "/api/v1/namespaces/default/configmaps";
    let rbac = "/apis/rbac.authorization.k8s.io/v1";
    let role = json!({"metadata": {"name": "writers"},
        "rules": [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["create", "get", "patch"]}]});
    assert_eq!(bench.post(&format!("{rbac}/clusterroles"), &role).await.code, 201);
    let group = "rbac.authorization.k8s.io";
    let binding = json!({"metadata": {"name": "writers"}, "subjects": [{"kind": "User", "name": "ann", "apiGroup": group}],
        "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": "writers"}});
    assert_eq!(bench.post(&format!("{rbac}/clusterrolebindings"), &binding).await.code, 201);

    let ann = UserInfo::new("ann", &["system:authenticated"]);
    let owned = |name: &str, blocks: bool| {
        let owner = json!({"apiVersion": "v1", "kind": "Node", "name": "n", "uid": "u", "blockOwnerDeletion": blocks});
        json!({"metadata": {"name": name, "ownerReferences": [owner]}})
    };
    let post = async |body: Value| bench.ask(Some(&ann), Method::POST, path, "application/json", &body).await;
    assert_eq!(post(owned("a", false)).await.code, 201, "a creator could have left it out");
    let blocking = post(owned("b", true)).await;
    assert_eq!(blocking.code, 403);
    let why = "configmaps \"b\" is forbidden: cannot set blockOwnerDeletion if an ownerReference refers to a resource you can't \
               set finalizers on: ";
    assert!(blocking.body["message"].as_str().unwrap().starts_with(why), "{}", blocking.body);
    let taken = json!({"metadata": {"ownerReferences": null}});
    let media = "application/merge-patch+json";
    let refused = bench.ask(Some(&ann), Method::PATCH, &format!("{path}/a"), media, &taken).await;
    assert_eq!(refused.code, 403);
    let why = "configmaps \"a\" is forbidden: cannot set an ownerRef on a resource you can't delete: ";
    assert!(refused.body["message"].as_str().unwrap().starts_with(why), "{}", refused.body);
    assert_eq!(bench.patch(&format!("{path}/a"), "merge", &taken).await.code, 200);
}

#[tokio::test]
async fn a_namespace_chooses_the_nodes_and_the_tolerations_of_its_pods() {
    const PODS: &str = "/api/v1/namespaces/team/pods";
    let bench = Bench::with(with_plugins(&["PodNodeSelector", "PodTolerationRestriction"])).await;
    let annotations = json!({"scheduler.alpha.kubernetes.io/node-selector": "env=test",
        "scheduler.alpha.kubernetes.io/defaultTolerations": "[{\"key\": \"team\", \"operator\": \"Exists\"}]"});
    let namespace = json!({"metadata": {"name": "team", "annotations": annotations}});
    assert_eq!(bench.post("/api/v1/namespaces", &namespace).await.code, 201);
    let account = json!({"metadata": {"name": "default"}});
    bench.post("/api/v1/namespaces/team/serviceaccounts", &account).await;

    let created = bench.post(PODS, &pod("a", json!({}))).await;
    assert_eq!(created.body["spec"]["nodeSelector"], json!({"env": "test"}), "{}", created.body);
    let tolerations = created.body["spec"]["tolerations"].as_array().unwrap();
    assert!(tolerations.contains(&json!({"key": "team", "operator": "Exists"})));
    let mut elsewhere = pod("b", json!({}));
    elsewhere["spec"]["nodeSelector"] = json!({"env": "production"});
    let refused = bench.post(PODS, &elsewhere).await;
    assert_eq!(refused.code, 403);
    assert_eq!(
        refused.body["message"],
        "pods \"b\" is forbidden: pod node label selector conflicts with its namespace node label selector"
    );

    let allowed = json!({"metadata": {"annotations": {"scheduler.alpha.kubernetes.io/tolerationsWhitelist": "[{\"key\": \"x\"}]"}}});
    assert_eq!(bench.patch("/api/v1/namespaces/team", "merge", &allowed).await.code, 200);
    let refused = bench.post(PODS, &pod("c", json!({}))).await;
    assert_eq!(refused.code, 500);
    assert_eq!(
        refused.body["message"],
        "pod tolerations (possibly merged with namespace default tolerations) conflict with its namespace whitelist"
    );
}
