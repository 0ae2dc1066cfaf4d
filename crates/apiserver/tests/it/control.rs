//! What stands before a verb: seats, credentials, impersonation, the audit log.

use apiserver::{AuditConfig, Config, LogConfig};
use auth::UserInfo;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::{Method, Request, Response};
use http_body_util::BodyExt;
use serde_json::{Value, json};

use crate::{Bench, whole};

const PODS: &str = "/api/v1/namespaces/default/pods";

async fn ask(
    bench: &Bench,
    user: Option<&UserInfo>,
    path: &str,
    headers: &[(&str, &str)],
) -> Response<apiserver::Body> {
    let request = headers.iter().fold(Request::get(path), |request, (name, value)| request.header(*name, *value));
    bench.send(request.body(whole("")).expect("a request"), user).await
}

fn header<'a>(response: &'a Response<apiserver::Body>, name: &str) -> &'a str {
    response.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

async fn uid(bench: &Bench, resource: &str, name: &str) -> Value {
    let path = format!("/apis/flowcontrol.apiserver.k8s.io/v1/{resource}/{name}");
    bench.get(&path).await.body["metadata"]["uid"].clone()
}

#[tokio::test]
async fn answers_say_which_schema_and_level_took_them() {
    let bench = Bench::new().await;
    let jane = UserInfo::new("jane", &[]);
    let response = ask(&bench, Some(&jane), PODS, &[]).await;
    assert_eq!(response.status(), 403);
    assert_eq!(header(&response, "x-kubernetes-pf-flowschema-uid"), uid(&bench, "flowschemas", "global-default").await);
    let level = uid(&bench, "prioritylevelconfigurations", "global-default").await;
    assert_eq!(header(&response, "x-kubernetes-pf-prioritylevel-uid"), level);
    assert!(!header(&response, "audit-id").is_empty());
}

#[tokio::test]
async fn the_server_says_of_its_schemas_that_their_levels_exist() {
    let bench = Bench::new().await;
    let probes = bench.get("/apis/flowcontrol.apiserver.k8s.io/v1/flowschemas/probes").await.body;
    assert_eq!(probes["status"]["conditions"][0]["status"], "False");
    assert_eq!(probes["status"]["conditions"][0]["reason"], "Found");
    let managers = probes["metadata"]["managedFields"].as_array().unwrap();
    assert_eq!(managers.len(), 2, "{managers:?}");
    let applied = managers.iter().find(|manager| manager["subresource"] == "status").unwrap();
    assert_eq!(applied["manager"], "api-priority-and-fairness-config-consumer-v1");
    assert_eq!(applied["operation"], "Apply");
}

/// The lines of `/metrics`.
async fn metrics(bench: &Bench) -> Vec<String> {
    let response = ask(bench, Some(&UserInfo::master("admin")), "/metrics", &[]).await;
    assert_eq!(response.status(), 200);
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap().lines().map(str::to_string).collect()
}

#[tokio::test]
async fn levels_tell_how_full_they_are() {
    let bench = Bench::new().await;
    assert_eq!(ask(&bench, Some(&UserInfo::new("jane", &[])), PODS, &[]).await.status(), 403);
    let lines = metrics(&bench).await;
    let level = "priority_level=\"global-default\"";
    for line in [
        format!("current_limit_seats{{{level}}}"),
        format!("demand_seats_bucket{{{level},le=\"0.2\"}}"),
        format!("dispatch_r{{{level}}}"),
        format!("latest_s{{{level}}}"),
        format!("next_s_bounds{{bound=\"min\",{level}}}"),
        format!("next_discounted_s_bounds{{bound=\"max\",{level}}}"),
        format!("priority_level_seat_utilization_bucket{{phase=\"executing\",{level},le=\"0.99\"}}"),
        format!("priority_level_request_utilization_count{{phase=\"waiting\",{level}}}"),
        "read_vs_write_current_requests_sum{phase=\"executing\",request_kind=\"readOnly\"}".to_string(),
        format!("request_queue_length_after_enqueue_count{{flow_schema=\"global-default\",{level}}} 1"),
        "seat_fair_frac ".to_string(),
        format!("target_seats{{{level}}}"),
    ] {
        let whole = format!("apiserver_flowcontrol_{line}");
        assert!(lines.iter().any(|own| own.starts_with(&whole)), "{whole}");
    }
    let heads: Vec<&String> = lines.iter().filter(|line| line.starts_with("# TYPE")).collect();
    let names: std::collections::BTreeSet<&&String> = heads.iter().collect();
    assert_eq!(heads.len(), names.len(), "a family stands in one place");
}

#[tokio::test]
async fn dumps_are_for_those_who_may() {
    let bench = Bench::new().await;
    let path = "/debug/api_priority_and_fairness/dump_priority_levels";
    assert_eq!(ask(&bench, Some(&UserInfo::new("jane", &[])), path, &[]).await.status(), 403);
    for dump in ["dump_priority_levels", "dump_queues", "dump_requests?includeRequestDetails=1"] {
        let path = format!("/debug/api_priority_and_fairness/{dump}");
        assert_eq!(ask(&bench, Some(&UserInfo::master("admin")), &path, &[]).await.status(), 200);
    }
}

#[tokio::test]
async fn a_bootstrap_token_of_kube_system_is_a_user() {
    let bench = Bench::new().await;
    let data = |value: &str| BASE64_STANDARD.encode(value);
    let secret = json!({"metadata": {"name": "bootstrap-token-abcdef"}, "type": "bootstrap.kubernetes.io/token", "data": {
        "token-id": data("abcdef"), "token-secret": data("0123456789abcdef"),
        "usage-bootstrap-authentication": data("true"),
    }});
    assert_eq!(bench.post("/api/v1/namespaces/kube-system/secrets", &secret).await.code, 201);
    let code = async |token: &str| ask(&bench, None, "/api", &[("authorization", token)]).await.status().as_u16();
    assert_eq!(code("Bearer abcdef.0123456789abcdef").await, 200);
    assert_eq!(code("Bearer abcdef.0123456789abcdee").await, 401);
}

#[tokio::test]
async fn hostile_credentials_are_401() {
    let bench = Bench::new().await;
    for token in ["Bearer ", "Bearer .", "Bearer a.b.c", "Bearer eyJhbGciOiJub25lIn0.e30.", "Basic eDp5", "x"] {
        assert_eq!(ask(&bench, None, "/api", &[("authorization", token)]).await.status(), 401, "{token}");
    }
}

#[tokio::test]
async fn one_may_act_as_another_for_certain_requests_only() {
    let bench = Bench::new().await;
    let rules = json!([
        {"apiGroups": ["authentication.k8s.io"], "resources": ["users"], "verbs": ["impersonate:user-info"]},
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["impersonate-on:user-info:list"]},
    ]);
    let rbac = "/apis/rbac.authorization.k8s.io/v1";
    let role = json!({"metadata": {"name": "act"}, "rules": rules});
    assert_eq!(bench.post(&format!("{rbac}/clusterroles"), &role).await.code, 201);
    for (name, user, role) in [("act", "jane", "act"), ("view", "joe", "view")] {
        let binding = json!({
            "metadata": {"name": name},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}],
        });
        assert_eq!(bench.post(&format!("{rbac}/clusterrolebindings"), &binding).await.code, 201);
    }
    let jane = UserInfo::new("jane", &[]);
    let code =
        async |path: &str, headers: &[(&str, &str)]| ask(&bench, Some(&jane), path, headers).await.status().as_u16();
    let joe = ("impersonate-user", "joe");
    assert_eq!(code(PODS, &[joe]).await, 200);
    assert_eq!(code("/api/v1/namespaces/default/services", &[joe]).await, 403);
    assert_eq!(code(PODS, &[joe, ("impersonate-group", "system:masters")]).await, 403);
    assert_eq!(code(PODS, &[("impersonate-user", "system:node:x")]).await, 403);
    assert_eq!(code(PODS, &[("impersonate-group", "x")]).await, 400);
    assert_eq!(code(PODS, &[]).await, 403);
}

#[tokio::test]
async fn the_audit_log_has_a_line_for_each_stage() {
    let directory = std::env::temp_dir().join(format!("audit-stages-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let (policy, path) = (directory.join("policy.yaml"), directory.join("audit.log"));
    let rules = "kind: Policy\napiVersion: audit.k8s.io/v1\nrules:\n\
        - level: RequestResponse\n  users: [jane]\n  resources: [{group: '', resources: [configmaps]}]\n";
    std::fs::write(&policy, rules).unwrap();
    let log = LogConfig { path: path.clone(), age_max_days: 0, backups_max: 0, size_max_megabytes: 0 };
    let audit = AuditConfig { policy: Some(policy), log: Some(log), webhook: None };
    let bench = Bench::with(Config { audit, ..Config::default() }).await;
    let jane = UserInfo::new("jane", &["system:masters"]);
    let map = json!({"metadata": {"name": "x"}, "data": {"a": "b"}});
    let path_of_maps = "/api/v1/namespaces/default/configmaps";
    bench.ask(Some(&jane), Method::POST, path_of_maps, "application/json", &map).await;
    bench.ask(Some(&jane), Method::POST, path_of_maps, "application/json", &map).await;
    let text = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let told: Vec<String> =
        lines.iter().map(|line| format!("{} {}", line["stage"], line["responseStatus"]["code"])).collect();
    let stages = [
        "\"RequestReceived\" null",
        "\"ResponseComplete\" 201",
        "\"RequestReceived\" null",
        "\"ResponseComplete\" 409",
    ];
    assert_eq!(told, stages);
    assert_eq!(lines[1]["requestObject"]["data"], json!({"a": "b"}));
    assert_eq!(lines[1]["responseObject"]["metadata"]["name"], "x");
    assert_eq!(lines[1]["annotations"]["authorization.k8s.io/decision"], "allow");
    assert_eq!(lines[0]["auditID"], lines[1]["auditID"]);
    assert_eq!(lines[3]["responseStatus"]["reason"], "AlreadyExists");
    std::fs::remove_dir_all(directory).unwrap();
}

#[tokio::test]
async fn a_time_limit_that_cannot_be_read_is_400() {
    let bench = Bench::new().await;
    let admin = UserInfo::master("admin");
    assert_eq!(ask(&bench, Some(&admin), &format!("{PODS}?timeout=soon"), &[]).await.status(), 400);
    assert_eq!(ask(&bench, Some(&admin), &format!("{PODS}?timeout=10s"), &[]).await.status(), 200);
}

#[tokio::test]
async fn health_is_told_check_by_check() {
    let bench = Bench::new().await;
    let admin = UserInfo::master("admin");
    let code = async |path: &str| ask(&bench, Some(&admin), path, &[]).await.status().as_u16();
    assert_eq!(
        (code("/livez/ping").await, code("/readyz/etcd-readiness").await, code("/readyz/what").await),
        (200, 200, 404)
    );
    let verbose = ask(&bench, None, "/livez?verbose&exclude=etcd&exclude=x", &[]).await;
    let body = http_body_util::BodyExt::collect(verbose.into_body()).await.unwrap().to_bytes();
    let text = String::from_utf8(body.to_vec()).unwrap();
    assert!(text.contains("[+]etcd excluded: ok\n") && text.contains("no matches for \"x\"\n"), "{text}");
    assert!(text.ends_with("livez check passed\n"), "{text}");
}

#[tokio::test]
async fn requests_are_counted_where_they_are_answered() {
    let bench = Bench::new().await;
    let quotas = "/api/v1/namespaces/default/resourcequotas";
    bench.post(&format!("{quotas}?dryRun=All"), &json!({"metadata": {"name": "x"}})).await;
    assert_eq!(bench.get(&format!("{quotas}/x")).await.code, 404);
    assert_eq!(bench.get(quotas).await.code, 200);
    assert_eq!(ask(&bench, Some(&UserInfo::new("jane", &[])), PODS, &[]).await.status(), 403);
    let mut watch = crate::watching::Watch::at(&bench, &format!("{quotas}?watch=1&resourceVersion=0")).await;
    let open = "apiserver_longrunning_requests{component=\"apiserver\",group=\"\",resource=\"resourcequotas\",\
                scope=\"namespace\",subresource=\"\",verb=\"WATCH\",version=\"v1\"}";
    assert!(metrics(&bench).await.contains(&format!("{open} 1")));
    bench.post(quotas, &json!({"metadata": {"name": "x"}})).await;
    while watch.next().await.is_some_and(|(_, object)| object["metadata"]["name"] != "x") {}
    drop(watch);
    let lines = metrics(&bench).await;
    let has = |line: &str| assert!(lines.iter().any(|own| own.starts_with(line)), "{line}");
    let labels = |scope: &str, verb: &str| {
        format!(
            "group=\"\",resource=\"resourcequotas\",scope=\"{scope}\",subresource=\"\",verb=\"{verb}\",version=\"v1\"}}"
        )
    };
    let total = |code: u16, dry: &str| {
        format!("apiserver_request_total{{code=\"{code}\",component=\"apiserver\",dry_run=\"{dry}\",")
    };
    has(&format!("{}{} 1", total(201, "All"), labels("resource", "POST")));
    has(&format!("{}{} ", total(201, ""), labels("resource", "POST")));
    has(&format!("{}{} 1", total(404, ""), labels("resource", "GET")));
    has(&format!("{}{} 1", total(200, ""), labels("namespace", "LIST")));
    has(&format!("{}{} 1", total(200, ""), labels("namespace", "WATCH")));
    has(&format!("{open} 0"));
    let component = "component=\"apiserver\",";
    has(&format!("apiserver_request_sli_duration_seconds_count{{{component}{} ", labels("resource", "POST")));
    has(&format!("apiserver_response_sizes_count{{{component}{} 1", labels("namespace", "LIST")));
    has("apiserver_watch_events_total{group=\"\",resource=\"resourcequotas\",version=\"v1\"} ");
    has("kubernetes_build_info{");
    has("# TYPE apiserver_resource_objects gauge");
    assert!(!lines.iter().any(|line| line.contains("code=\"403\"")), "whoever may not is not answered");
}

#[tokio::test]
async fn checks_are_counted_and_the_status_says_since_when_the_server_runs() {
    let bench = Bench::new().await;
    let admin = UserInfo::master("admin");
    for path in ["/readyz", "/livez/ping", "/livez/ping"] {
        assert_eq!(ask(&bench, Some(&admin), path, &[]).await.status(), 200, "{path}");
    }
    let body = async |path: &str, headers: &[(&str, &str)]| {
        let response = ask(&bench, Some(&admin), path, headers).await;
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        String::from_utf8(bytes.to_vec()).unwrap()
    };
    let slis = body("/metrics/slis", &[]).await;
    for line in [
        "kubernetes_healthcheck{name=\"ping\",type=\"livez\"} 1",
        "kubernetes_healthchecks_total{name=\"ping\",status=\"success\",type=\"livez\"} 2",
        "kubernetes_healthchecks_total{name=\"etcd-readiness\",status=\"success\",type=\"readyz\"} 1",
    ] {
        assert!(slis.lines().any(|one| one == line), "lacks {line}: {slis}");
    }
    assert!(body("/statusz", &[]).await.contains("\nBinary version: 1.36\n"));
    let structured = body("/statusz", &[("accept", "application/json;v=v1beta1;g=config.k8s.io;as=Statusz")]).await;
    let structured: Value = serde_json::from_str(&structured).unwrap();
    assert_eq!((&structured["kind"], &structured["metadata"]["name"]), (&json!("Statusz"), &json!("apiserver")));
    let refused = ask(&bench, Some(&admin), "/statusz", &[("accept", "application/json")]).await;
    assert_eq!(refused.status(), 406);
}
