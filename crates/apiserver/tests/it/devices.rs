//! Who may ask for devices and say how they are.

use auth::UserInfo;
use http::Method;
use serde_json::{Value, json};

use crate::{Answer, Bench};

const CLAIMS: &str = "/apis/resource.k8s.io/v1/namespaces/default/resourceclaims";
const ROLES: &str = "/apis/rbac.authorization.k8s.io/v1/clusterroles";
const BINDINGS: &str = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings";

fn claim(name: &str, admin: bool) -> Value {
    let exactly = json!({"deviceClassName": "c", "adminAccess": admin});
    json!({"metadata": {"name": name}, "spec": {"devices": {"requests": [{"name": "r", "exactly": exactly}]}}})
}

fn cause(answer: &Answer) -> (u16, &Value, &Value) {
    let cause = &answer.body["details"]["causes"][0];
    (answer.code, &cause["field"], &cause["reason"])
}

#[tokio::test]
async fn admin_access_needs_a_label_of_the_namespace() {
    let bench = Bench::new().await;
    let refused = bench.post(CLAIMS, &claim("a", true)).await;
    let field = json!("spec.devices.requests[0].adminAccess");
    assert_eq!(cause(&refused), (422, &field, &json!("FieldValueForbidden")));
    let template = json!({"metadata": {"name": "t"}, "spec": {"spec": claim("a", true)["spec"]}});
    let templates = "/apis/resource.k8s.io/v1/namespaces/default/resourceclaimtemplates";
    assert_eq!(cause(&bench.post(templates, &template).await), (422, &field, &json!("FieldValueForbidden")));
    assert_eq!(bench.post(CLAIMS, &claim("b", false)).await.code, 201);
    let label = json!({"metadata": {"labels": {"resource.kubernetes.io/admin-access": "true"}}});
    bench.patch("/api/v1/namespaces/default", "merge", &label).await;
    assert_eq!(bench.post(CLAIMS, &claim("a", true)).await.code, 201);
}

/// Grants a user verbs on a resource of the group.
async fn grant(bench: &Bench, name: &str, verbs: Value, resource: &str) {
    let rules = json!([{"apiGroups": ["resource.k8s.io"], "resources": [resource], "verbs": verbs}]);
    assert_eq!(bench.post(ROLES, &json!({"metadata": {"name": name}, "rules": rules})).await.code, 201);
    let reference = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name});
    let subjects = json!([{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "driver"}]);
    let binding = json!({"metadata": {"name": name}, "roleRef": reference, "subjects": subjects});
    assert_eq!(bench.post(BINDINGS, &binding).await.code, 201);
}

#[tokio::test]
async fn parts_of_the_status_need_permissions_of_their_own() {
    let bench = Bench::new().await;
    assert_eq!(bench.post(CLAIMS, &claim("a", false)).await.code, 201);
    grant(&bench, "status", json!(["patch", "update"]), "resourceclaims/status").await;
    let path = format!("{CLAIMS}/a/status");
    let user = UserInfo::new("driver", &["system:authenticated"]);
    let patch = async |status: Value| {
        let media = "application/merge-patch+json";
        bench.ask(Some(&user), Method::PATCH, &path, media, &json!({"status": status})).await
    };
    let result = json!({"request": "r", "driver": "d.example.com", "pool": "p", "device": "x"});
    let allocation = json!({"allocation": {"devices": {"results": [result]}}});
    let refused = patch(allocation.clone()).await;
    assert_eq!(cause(&refused), (422, &json!("status"), &json!("FieldValueForbidden")), "{}", refused.body);
    grant(&bench, "binding", json!(["patch", "update"]), "resourceclaims/binding").await;
    let allowed = patch(allocation).await;
    assert_eq!(allowed.code, 200, "{}", allowed.body);
    let devices = json!({"devices": [{"driver": "d.example.com", "pool": "p", "device": "x"}]});
    let refused = patch(devices.clone()).await;
    assert_eq!(cause(&refused), (422, &json!("status.devices"), &json!("FieldValueForbidden")), "{}", refused.body);
    grant(&bench, "driver", json!(["arbitrary-node:patch"]), "resourceclaims/driver").await;
    let allowed = patch(devices).await;
    assert_eq!(allowed.code, 200, "{}", allowed.body);
}
