use serde_json::json;

use super::*;
use crate::names;

fn rbac() -> Rbac {
    let rbac = Rbac::default();
    for object in bootstrap::objects() {
        rbac.apply(object.kind, &object.namespace, &object.name, Some(&object.object));
    }
    rbac
}

fn authenticated(name: &str) -> UserInfo {
    UserInfo::new(name, &[names::AUTHENTICATED])
}

#[test]
fn anybody_may_read_the_version_but_no_pods() {
    let (rbac, user) = (rbac(), UserInfo::anonymous());
    assert!(rbac.authorize(&Attributes::path(&user, "get", "/version")).allowed());
    let pods = Attributes::resource(&user, "list", "", "pods").in_namespace("default");
    assert!(!rbac.authorize(&pods).allowed());
    assert_eq!(
        pods.forbidden_message(),
        r#"User "system:anonymous" cannot list resource "pods" in API group "" in the namespace "default""#
    );
}

#[test]
fn a_role_binding_grants_in_its_namespace_only_and_until_it_is_removed() {
    let (rbac, jane) = (rbac(), authenticated("jane"));
    let role = json!({"rules": [{"verbs": ["get"], "apiGroups": [""], "resources": ["pods", "pods/log"]}]});
    let binding = json!({
        "roleRef": {"kind": "Role", "name": "reader"},
        "subjects": [{"kind": "User", "name": "jane"}],
    });
    rbac.apply(Kind::Role, "a", "reader", Some(&role));
    rbac.apply(Kind::RoleBinding, "a", "jane-reads", Some(&binding));
    let ask = |ns: &str, sub: &str| {
        rbac.authorize(&Attributes::resource(&jane, "get", "", "pods").in_namespace(ns).subresource(sub)).allowed()
    };
    assert!(ask("a", "") && ask("a", "log"));
    assert!(!ask("a", "exec") && !ask("b", ""));
    rbac.apply(Kind::RoleBinding, "a", "jane-reads", None);
    assert!(!ask("a", ""));
}

#[test]
fn nobody_can_grant_what_he_does_not_hold() {
    let (rbac, jane) = (rbac(), authenticated("jane"));
    let wanted = rules_of(&json!({"rules": [{"verbs": ["get", "list"], "apiGroups": [""], "resources": ["secrets"]}]}));
    let refusal = rbac.confirm_no_escalation(&jane, "a", &wanted).unwrap_err();
    assert_eq!(
        refusal.to_string(),
        "user \"jane\" (groups=[\"system:authenticated\"]) is attempting to grant RBAC permissions not currently held:\n\
         {APIGroups:[\"\"], Resources:[\"secrets\"], Verbs:[\"get\"]}\n{APIGroups:[\"\"], Resources:[\"secrets\"], Verbs:[\"list\"]}"
    );
    let master = UserInfo::master("root");
    assert!(rbac.confirm_no_escalation(&master, "a", &wanted).is_ok());
}

#[test]
fn a_missing_role_is_named_in_the_reason() {
    let (rbac, jane) = (rbac(), authenticated("jane"));
    let binding = json!({
        "roleRef": {"kind": "ClusterRole", "name": "gone"},
        "subjects": [{"kind": "User", "name": "jane"}],
    });
    rbac.apply(Kind::ClusterRoleBinding, "", "b", Some(&binding));
    let decision = rbac.authorize(&Attributes::resource(&jane, "get", "", "nodes"));
    assert_eq!(decision.reason(), "RBAC: clusterrole.rbac.authorization.k8s.io \"gone\" not found");
}
