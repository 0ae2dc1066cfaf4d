//! Rows of tables, where they are not plainly what lies in a field.

use registry::by_kind;
use serde_json::{Value, json};

/// The cells of some columns.
fn cells(api: (&str, &str, &str), object: &Value, columns: &[&str]) -> Vec<Value> {
    let strategy = &by_kind(api.0, api.1, api.2).unwrap().strategy;
    let row = strategy.row(object, 0);
    let at = |name: &&str| strategy.columns().iter().position(|column| column.name == **name).unwrap();
    columns.iter().map(|name| row[at(name)].clone()).collect()
}

#[test]
fn cells_are_upstreams() {
    let core = |kind| ("", "v1", kind);
    let hosts = |hosts: &[&str]| {
        let rules: Vec<Value> = hosts.iter().map(|host| json!({"host": host})).collect();
        json!({"metadata": {"annotations": {"kubernetes.io/ingress.class": "old"}}, "spec": {"rules": rules}})
    };
    let ingress = ("networking.k8s.io", "v1", "Ingress");
    let beta = "volume.beta.kubernetes.io/storage-class";
    let cases = [
        (ingress, hosts(&["a", "b", "c"]), vec![("Class", json!("<none>")), ("Hosts", json!("a,b,c"))]),
        (ingress, hosts(&["a", "b", "c", ""]), vec![("Hosts", json!("a,b,c + 1 more..."))]),
        (ingress, hosts(&["", "a", "b", "c"]), vec![("Hosts", json!("a,b,c"))]),
        (ingress, hosts(&["", ""]), vec![("Hosts", json!("*"))]),
        (
            ("networking.k8s.io", "v1", "IPAddress"),
            json!({"spec": {"parentRef": {"group": "g.io", "resource": "gates", "namespace": "n", "name": "x"}}}),
            vec![("ParentRef", json!("gates.g.io/n/x"))],
        ),
        (
            core("PersistentVolume"),
            json!({"metadata": {"annotations": {beta: "old"}}, "spec": {"storageClassName": "new"}}),
            vec![("Capacity", json!("0")), ("StorageClass", json!("old"))],
        ),
        (
            core("PersistentVolumeClaim"),
            json!({"spec": {"volumeName": "v", "storageClassName": "new"}}),
            vec![("Capacity", json!("0")), ("StorageClass", json!("new"))],
        ),
        (
            core("ComponentStatus"),
            json!({"conditions": [{"type": "Healthy", "status": "False", "message": "m", "error": "e"}]}),
            vec![("Status", json!("Unhealthy")), ("Message", json!("m")), ("Error", json!("e"))],
        ),
        (
            ("storage.k8s.io", "v1", "CSIDriver"),
            json!({"spec": {"tokenRequests": [{"audience": ""}, {"audience": "a"}]}}),
            vec![("TokenRequests", json!(",a")), ("Modes", json!("<none>"))],
        ),
        (
            core("ResourceQuota"),
            json!({"status": {"hard": {"limits.cpu": "2", "pods": "3"}, "used": {"pods": "1"}}}),
            vec![("Request", json!("pods: 1/3")), ("Limit", json!("limits.cpu: 0/2"))],
        ),
    ];
    for (api, object, wanted) in cases {
        let (columns, wanted): (Vec<&str>, Vec<Value>) = wanted.into_iter().unzip();
        assert_eq!(cells(api, &object, &columns), wanted, "{api:?} {object}");
    }
}

#[test]
fn flow_schemas_stand_in_the_order_in_which_they_match() {
    let schema =
        |name: &str, precedence: i64| json!({"metadata": {"name": name}, "spec": {"matchingPrecedence": precedence}});
    let all = [schema("a", 20), schema("c", 10), schema("b", 10)];
    let mut rows: Vec<&Value> = all.iter().collect();
    by_kind("flowcontrol.apiserver.k8s.io", "v1", "FlowSchema").unwrap().strategy.order_rows(&mut rows);
    let names: Vec<&Value> = rows.iter().map(|row| &row["metadata"]["name"]).collect();
    assert_eq!(names, ["b", "c", "a"]);
}
