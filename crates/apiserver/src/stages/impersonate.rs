//! Acting as another user, where RBAC allows it.

use std::collections::BTreeMap;

use apimachinery::{GroupResource, Status};
use auth::{Attributes, UserInfo, names};

use crate::call::Call;
use crate::query::decode_segment;
use crate::server::Inner;

const EXTRA_PREFIX: &str = "impersonate-extra-";

pub fn run(server: &Inner, call: &mut Call) -> Result<(), Status> {
    let Some(wanted) = wanted(call)? else { return Ok(()) };
    authorize(server, &call.user, &wanted)?;
    call.user = complete(wanted);
    Ok(())
}

fn wanted(call: &Call) -> Result<Option<UserInfo>, Status> {
    let groups: Vec<String> = values(call, "impersonate-group");
    let (name, uid) = (call.header("impersonate-user"), call.header("impersonate-uid"));
    let mut extra: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for key in call.headers.keys().filter(|key| key.as_str().starts_with(EXTRA_PREFIX)) {
        let values = values(call, key.as_str());
        extra.insert(decode_segment(&key.as_str()[EXTRA_PREFIX.len()..]).to_lowercase(), values);
    }
    if name.is_empty() {
        return if groups.is_empty() && uid.is_empty() && extra.is_empty() {
            Ok(None)
        } else {
            Err(Status::internal("requested to impersonate groups, uid or extra without impersonating a user"))
        };
    }
    Ok(Some(UserInfo { name: name.to_string(), uid: uid.to_string(), groups, extra }))
}

fn values(call: &Call, key: &str) -> Vec<String> {
    call.headers.get_all(key).iter().filter_map(|value| value.to_str().ok()).map(str::to_string).collect()
}

fn authorize(server: &Inner, user: &UserInfo, wanted: &UserInfo) -> Result<(), Status> {
    match wanted.as_service_account() {
        Some((namespace, name)) => {
            let ask = Attributes::resource(user, "impersonate", "", "serviceaccounts");
            check(server, &ask.in_namespace(namespace).named(name))?;
        }
        None => check(server, &Attributes::resource(user, "impersonate", "", "users").named(&wanted.name))?,
    }
    for group in &wanted.groups {
        check(server, &Attributes::resource(user, "impersonate", "", "groups").named(group))?;
    }
    let authentication = "authentication.k8s.io";
    if !wanted.uid.is_empty() {
        check(server, &Attributes::resource(user, "impersonate", authentication, "uids").named(&wanted.uid))?;
    }
    for (key, values) in &wanted.extra {
        for value in values {
            let ask = Attributes::resource(user, "impersonate", authentication, "userextras");
            check(server, &ask.subresource(key).named(value))?;
        }
    }
    Ok(())
}

fn check(server: &Inner, asked: &Attributes<'_>) -> Result<(), Status> {
    let decision = server.authorizer.authorize(asked);
    if decision.allowed() {
        return Ok(());
    }
    let resource = GroupResource::new(asked.group, asked.resource);
    Err(Status::forbidden(&resource, asked.name, asked.forbidden_message()))
}

/// Adds the groups that such a user would have by himself.
fn complete(mut user: UserInfo) -> UserInfo {
    if let Some((namespace, name)) = user.as_service_account() {
        let own = UserInfo::service_account(namespace, name, "").groups;
        if user.groups.is_empty() {
            user.groups = own;
        }
    }
    if user.name == names::ANONYMOUS {
        if !user.in_group(names::UNAUTHENTICATED) {
            user.groups.push(names::UNAUTHENTICATED.into());
        }
        return user;
    }
    user.authenticated()
}
