//! ResourceQuota: what is used is counted as it comes and goes, and what exceeds is refused.

use serde_json::{Value, json};

use super::api::{Answer, Api, CORE, pod};

fn quota(name: &str, hard: Value) -> Value {
    json!({"metadata": {"name": name}, "spec": {"hard": hard}})
}

/// Until the quota says so of these resources.
async fn used(api: &Api, name: &str, wanted: &[(&str, &str)]) {
    let agrees = |answer: &Answer| {
        let used = &answer.body["status"]["used"];
        wanted.iter().all(|(resource, amount)| used[resource] == *amount).then_some(())
    };
    api.until(&format!("{CORE}/resourcequotas/{name}"), agrees).await;
}

fn demanding(name: &str, cpu: &str, memory: &str) -> Value {
    let mut pod = pod(name);
    let demand = json!({"cpu": cpu, "memory": memory});
    pod["spec"]["containers"][0]["resources"] = json!({"requests": demand, "limits": demand});
    pod
}

#[tokio::test]
async fn a_quota_counts_services_secrets_and_config_maps() {
    let api = Api::start("quota-objects").await;
    let hard = json!({"services": "10", "services.nodeports": "1", "services.loadbalancers": "1", "secrets": "10", "configmaps": "10"});
    api.post(&format!("{CORE}/resourcequotas"), &quota("one", hard)).await.ok();
    // The root certificate.
    let base = [("services", "1"), ("services.nodeports", "0"), ("secrets", "0"), ("configmaps", "1")];
    used(&api, "one", &base).await;
    let service =
        |name: &str, kind: &str| json!({"metadata": {"name": name}, "spec": {"type": kind, "ports": [{"port": 80}]}});
    let services = format!("{CORE}/services");
    api.post(&services, &service("a", "ClusterIP")).await.ok();
    api.post(&services, &service("b", "NodePort")).await.ok();
    let exceeded = "exceeded quota: one, requested: services.nodeports=1, used: services.nodeports=1, limited: services.nodeports=1";
    api.post(&services, &service("c", "LoadBalancer")).await.refused(403, exceeded);
    api.post(&format!("{CORE}/secrets"), &json!({"metadata": {"name": "a"}})).await.ok();
    api.post(&format!("{CORE}/configmaps"), &json!({"metadata": {"name": "a"}})).await.ok();
    used(&api, "one", &[("services", "3"), ("services.nodeports", "1"), ("secrets", "1"), ("configmaps", "2")]).await;
    for path in ["services/a", "services/b", "secrets/a", "configmaps/a"] {
        api.delete(&format!("{CORE}/{path}")).await.ok();
    }
    used(&api, "one", &base).await;
}

#[tokio::test]
async fn a_quota_counts_controllers() {
    let api = Api::start("quota-controllers").await;
    let hard = json!({"replicationcontrollers": "1", "count/replicasets.apps": "1"});
    api.post(&format!("{CORE}/resourcequotas"), &quota("one", hard)).await.ok();
    used(&api, "one", &[("replicationcontrollers", "0"), ("count/replicasets.apps", "0")]).await;
    let template = json!({"metadata": {"labels": {"app": "a"}}, "spec": pod("x")["spec"]});
    let sets = "/apis/apps/v1/namespaces/default/replicasets";
    let set = |name: &str| json!({"metadata": {"name": name}, "spec": {"replicas": 0, "selector": {"matchLabels": {"app": "a"}}, "template": template}});
    let controller =
        json!({"metadata": {"name": "a"}, "spec": {"replicas": 0, "selector": {"app": "a"}, "template": template}});
    api.post(&format!("{CORE}/replicationcontrollers"), &controller).await.ok();
    api.post(sets, &set("a")).await.ok();
    api.post(sets, &set("b")).await.refused(403, "exceeded quota: one, requested: count/replicasets.apps=1");
    used(&api, "one", &[("replicationcontrollers", "1"), ("count/replicasets.apps", "1")]).await;
    api.delete(&format!("{sets}/a")).await.ok();
    api.delete(&format!("{CORE}/replicationcontrollers/a")).await.ok();
    used(&api, "one", &[("replicationcontrollers", "0"), ("count/replicasets.apps", "0")]).await;
}

#[tokio::test]
async fn a_quota_counts_what_pods_demand_and_refuses_more() {
    let api = Api::start("quota-pods").await;
    let pods = format!("{CORE}/pods");
    let hard =
        json!({"pods": "5", "requests.cpu": "1", "requests.memory": "500Mi", "requests.example.com/dongle": "3"});
    api.post(&format!("{CORE}/resourcequotas"), &quota("one", hard)).await.ok();
    used(&api, "one", &[("pods", "0"), ("requests.cpu", "0"), ("requests.memory", "0")]).await;
    let mut one = demanding("one", "500m", "252Mi");
    one["spec"]["containers"][0]["resources"]["requests"]["example.com/dongle"] = json!("2");
    one["spec"]["containers"][0]["resources"]["limits"]["example.com/dongle"] = json!("2");
    api.post(&pods, &one).await.ok();
    let counted =
        [("pods", "1"), ("requests.cpu", "500m"), ("requests.memory", "252Mi"), ("requests.example.com/dongle", "2")];
    used(&api, "one", &counted).await;
    api.post(&pods, &demanding("two", "600m", "100Mi"))
        .await
        .refused(403, "exceeded quota: one, requested: requests.cpu=600m");
    let mut dongles = demanding("two", "100m", "100Mi");
    dongles["spec"]["containers"][0]["resources"]["requests"]["example.com/dongle"] = json!("2");
    dongles["spec"]["containers"][0]["resources"]["limits"]["example.com/dongle"] = json!("2");
    api.post(&pods, &dongles).await.refused(403, "requests.example.com/dongle=2");
    api.post(&pods, &pod("two"))
        .await
        .refused(403, "failed quota: one: must specify requests.cpu for: main; requests.memory for: main");
    used(&api, "one", &counted).await;
    api.delete(&format!("{pods}/one")).await.ok();
    used(&api, "one", &[("pods", "0"), ("requests.cpu", "0"), ("requests.example.com/dongle", "0")]).await;
}

#[tokio::test]
async fn a_quota_counts_pods_of_its_scopes_alone() {
    let api = Api::start("quota-scopes").await;
    for scope in ["Terminating", "NotTerminating", "BestEffort", "NotBestEffort"] {
        let mut one = quota(&scope.to_lowercase(), json!({"pods": "5"}));
        one["spec"]["scopes"] = json!([scope]);
        api.post(&format!("{CORE}/resourcequotas"), &one).await.ok();
        used(&api, &scope.to_lowercase(), &[("pods", "0")]).await;
    }
    let pods = format!("{CORE}/pods");
    let counts = async |terminating: &str, not_terminating: &str, best_effort: &str, not_best_effort: &str| {
        used(&api, "terminating", &[("pods", terminating)]).await;
        used(&api, "notterminating", &[("pods", not_terminating)]).await;
        used(&api, "besteffort", &[("pods", best_effort)]).await;
        used(&api, "notbesteffort", &[("pods", not_best_effort)]).await;
    };
    api.post(&pods, &pod("plain")).await.ok();
    counts("0", "1", "1", "0").await;
    api.delete(&format!("{pods}/plain")).await.ok();
    counts("0", "0", "0", "0").await;
    let mut ends = demanding("ends", "1", "1Gi");
    ends["spec"]["activeDeadlineSeconds"] = json!(3600);
    api.post(&pods, &ends).await.ok();
    counts("1", "0", "0", "1").await;
    api.delete(&format!("{pods}/ends")).await.ok();
    counts("0", "0", "0", "0").await;
}

#[tokio::test]
async fn a_quota_is_changed_listed_deleted_and_its_status_is_written() {
    let api = Api::start("quota-lifecycle").await;
    let quotas = format!("{CORE}/resourcequotas");
    let mut one = quota("one", json!({"cpu": "1", "memory": "500Mi"}));
    one["metadata"]["labels"] = json!({"of": "conformance"});
    api.post(&quotas, &one).await.ok();
    let own = format!("{quotas}/one");
    let mut stored = api.get(&own).await.ok();
    stored["spec"]["hard"] = json!({"cpu": "2", "memory": "1Gi"});
    stored["metadata"]["resourceVersion"] = Value::Null;
    assert_eq!(api.put(&own, &stored).await.ok()["spec"]["hard"]["cpu"], "2");
    let hard = |answer: &Answer| (answer.body["status"]["hard"]["memory"] == "1Gi").then_some(());
    api.until(&own, hard).await;
    let patched = api
        .merge(&own, &json!({"metadata": {"labels": {"one": "patched"}}, "spec": {"hard": {"memory": "750Mi"}}}))
        .await;
    assert_eq!(patched.ok()["spec"]["hard"], json!({"cpu": "2", "memory": "750Mi"}));
    let status = json!({"status": {"hard": {"services": "3"}}});
    assert_eq!(api.merge(&format!("{own}/status"), &status).await.ok()["status"]["hard"]["services"], "3");
    // The controller puts right what it did not write.
    let right =
        |answer: &Answer| (answer.body["status"]["hard"] == json!({"cpu": "2", "memory": "750Mi"})).then_some(());
    api.until(&own, right).await;
    let listed = api.get("/api/v1/resourcequotas?labelSelector=one%3Dpatched").await.ok();
    assert_eq!(super::api::names(&listed), ["one"]);
    api.delete(&format!("{quotas}?labelSelector=one%3Dpatched")).await.ok();
    api.get(&own).await.refused(404, "resourcequotas \"one\" not found");
}
