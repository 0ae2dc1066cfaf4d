//! Acting as another user, where RBAC allows it: for certain requests only (the constrained modes), or for all.

use std::collections::BTreeMap;

use apimachinery::{GroupResource, Status};
use auth::{Attributes, UserInfo, names};

use super::authorize;
use crate::call::Call;
use crate::query::decode_segment;
use crate::server::Inner;

const EXTRA_PREFIX: &str = "impersonate-extra-";
const AUTHENTICATION: &str = "authentication.k8s.io";
const NODE_NAME: &str = "authentication.kubernetes.io/node-name";

pub fn run(server: &Inner, call: &mut Call) -> Result<(), Status> {
    let Some(wanted) = wanted(call)? else { return Ok(()) };
    let (user, mode) = allowed(server, call, &wanted)?;
    call.impersonated = Some(Box::new(Impersonation { requestor: std::mem::replace(&mut call.user, user), mode }));
    let own: Vec<_> = call.headers.keys().filter(|key| key.as_str().starts_with("impersonate-")).cloned().collect();
    for header in own {
        call.headers.remove(header);
    }
    Ok(())
}

/// Who acts as the call's user, and by which right; `""` for the unconstrained one.
pub struct Impersonation {
    #[expect(dead_code, reason = "for admission and logs, which ask who really acts")]
    pub requestor: UserInfo,
    pub mode: &'static str,
}

fn wanted(call: &Call) -> Result<Option<UserInfo>, Status> {
    let groups: Vec<String> = values(call, "impersonate-group");
    let (name, uid) = (call.header("impersonate-user"), call.header("impersonate-uid"));
    let mut extra: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for key in call.headers.keys().filter(|key| key.as_str().starts_with(EXTRA_PREFIX)) {
        extra
            .entry(decode_segment(&key.as_str()[EXTRA_PREFIX.len()..]))
            .or_default()
            .extend(values(call, key.as_str()));
    }
    let wanted = UserInfo { name: name.to_string(), uid: uid.to_string(), groups, extra };
    if !wanted.name.is_empty() {
        return Ok(Some(wanted));
    }
    if only_name(&wanted) {
        return Ok(None);
    }
    Err(Status::bad_request(format!("requested {wanted:?} without impersonating a user name")))
}

fn values(call: &Call, key: &str) -> Vec<String> {
    call.headers.get_all(key).iter().filter_map(|value| value.to_str().ok()).map(str::to_string).collect()
}

fn only_name(user: &UserInfo) -> bool {
    user.uid.is_empty() && user.groups.is_empty() && user.extra.is_empty()
}

fn node_of(name: &str) -> Option<&str> {
    name.strip_prefix(names::NODE_USER_PREFIX).filter(|node| !node.is_empty())
}

/// A right to act as somebody, and whom it reaches.
struct Mode {
    /// The verb of the right; `impersonate-on:…` stands beside it.
    verb: &'static str,
    on: &'static str,
    reaches: fn(wanted: &UserInfo, requestor: &UserInfo) -> bool,
}

const MODES: &[Mode] = &[
    Mode {
        verb: "impersonate:associated-node",
        on: "impersonate-on:associated-node:",
        reaches: |wanted, requestor| {
            let own = requestor.extra.get(NODE_NAME).map(Vec::as_slice);
            only_name(wanted) && node_of(&wanted.name).is_some_and(|node| matches!(own, Some([only]) if only == node))
        },
    },
    Mode {
        verb: "impersonate:arbitrary-node",
        on: "impersonate-on:arbitrary-node:",
        reaches: |wanted, _| only_name(wanted) && node_of(&wanted.name).is_some(),
    },
    Mode {
        verb: "impersonate:serviceaccount",
        on: "impersonate-on:serviceaccount:",
        reaches: |wanted, _| only_name(wanted) && wanted.as_service_account().is_some(),
    },
    Mode {
        verb: "impersonate:user-info",
        on: "impersonate-on:user-info:",
        reaches: |wanted, _| node_of(&wanted.name).is_none() && wanted.as_service_account().is_none(),
    },
];

/// The user that the first right gives. The first refusal is the answer when none does.
fn allowed(server: &Inner, call: &Call, wanted: &UserInfo) -> Result<(UserInfo, &'static str), Status> {
    let mut first = None;
    for mode in MODES.iter().filter(|mode| (mode.reaches)(wanted, &call.user)) {
        let checks = Checks { server, requestor: &call.user, verb: mode.verb, constrained: true };
        let on = format!("{}{}", mode.on, call.info.verb);
        let allowed = authorize::check_verb(server, call, &on).and_then(|()| checks.run(wanted));
        match allowed {
            Ok(user) => return Ok((user, mode.verb)),
            Err(refusal) => first = first.or(Some(refusal)),
        }
    }
    let checks = Checks { server, requestor: &call.user, verb: "impersonate", constrained: false };
    checks.run(wanted).map(|user| (user, "")).map_err(|refusal| first.unwrap_or(refusal))
}

struct Checks<'a> {
    server: &'a Inner,
    requestor: &'a UserInfo,
    verb: &'static str,
    constrained: bool,
}

/// From so many values on, one question about all is asked first.
const MANY: usize = 4;

impl<'a> Checks<'a> {
    fn run(&self, wanted: &UserInfo) -> Result<UserInfo, Status> {
        let mut user = wanted.clone();
        self.name(wanted, &mut user)?;
        if !wanted.uid.is_empty() {
            self.check(&self.ask(AUTHENTICATION, "uids").named(&wanted.uid))?;
        }
        self.groups(&wanted.groups)?;
        self.extra(&wanted.extra)?;
        Ok(complete(user))
    }

    fn ask<'b>(&'b self, group: &'b str, resource: &'b str) -> Attributes<'b> {
        Attributes::resource(self.requestor, self.verb, group, resource)
    }

    fn check(&self, asked: &Attributes<'_>) -> Result<(), Status> {
        authorize::check(self.server, asked)
    }

    /// Constrained rights to users and groups lie in another API group than the unconstrained one.
    fn group(&self) -> &'static str {
        if self.constrained { AUTHENTICATION } else { "" }
    }

    fn name(&self, wanted: &UserInfo, user: &mut UserInfo) -> Result<(), Status> {
        if let Some(node) = node_of(&wanted.name).filter(|_| self.constrained) {
            // The right to one's own node holds wherever one runs.
            let name = if self.verb == "impersonate:associated-node" { "*" } else { node };
            user.groups = vec![names::NODES.to_string()];
            return self.check(&self.ask(self.group(), "nodes").named(name));
        }
        let Some((namespace, name)) = wanted.as_service_account() else {
            return self.check(&self.ask(self.group(), "users").named(&wanted.name));
        };
        if wanted.groups.is_empty() {
            user.groups = UserInfo::service_account(namespace, name, "").groups;
        }
        self.check(&self.ask(self.group(), "serviceaccounts").in_namespace(namespace).named(name))
    }

    fn groups(&self, groups: &[String]) -> Result<(), Status> {
        let ask = self.ask(self.group(), "groups");
        if self.constrained {
            if groups.iter().any(String::is_empty) {
                return Err(forbidden(&ask, "impersonating the empty string group is not allowed"));
            }
            if groups.iter().any(|group| group == names::MASTERS) {
                let why = "impersonating the system:masters group is not allowed";
                return Err(forbidden(&ask.named(names::MASTERS), why));
            }
            if groups.len() >= MANY && self.check(&ask.named("*")).is_ok() {
                return Ok(());
            }
        }
        groups.iter().try_for_each(|group| self.check(&ask.named(group)))
    }

    fn extra(&self, extra: &BTreeMap<String, Vec<String>>) -> Result<(), Status> {
        let ask = self.ask(AUTHENTICATION, "userextras");
        if self.constrained && !extra.is_empty() {
            if let Some(why) = unfit_extra(extra) {
                return Err(forbidden(&ask, &why));
            }
            let values: usize = extra.values().map(Vec::len).sum();
            if values >= MANY && self.check(&ask.subresource("*").named("*")).is_ok() {
                return Ok(());
            }
        }
        let mut all = extra.iter().flat_map(|(key, values)| values.iter().map(move |value| (key, value)));
        all.try_for_each(|(key, value)| self.check(&ask.subresource(key).named(value)))
    }
}

fn unfit_extra(extra: &BTreeMap<String, Vec<String>>) -> Option<String> {
    extra.iter().find_map(|(key, values)| {
        let (domain, path) = key.split_once('/').unwrap_or((key, ""));
        Some(match () {
            () if key.is_empty() => "impersonating the empty string key in extra is not allowed".to_string(),
            () if path.is_empty() || !apimachinery::validation::is_dns1123_subdomain(domain).is_empty() => {
                format!("impersonating an invalid key in extra is not allowed: {key:?} is no domain-prefixed path")
            }
            () if key.chars().any(char::is_uppercase) => {
                format!("impersonating a non-lowercase key in extra is not allowed: {key:?}")
            }
            () if values.is_empty() => "impersonating empty values in extra is not allowed".to_string(),
            () if values.iter().any(String::is_empty) => {
                "impersonating the empty string value in extra is not allowed".to_string()
            }
            () => return None,
        })
    })
}

fn forbidden(asked: &Attributes<'_>, why: &str) -> Status {
    let resource = GroupResource::new(asked.group, asked.resource);
    Status::forbidden(&resource, asked.name, format!("{}: {why}", asked.forbidden_message()))
}

/// Adds the group that such a user would have by himself.
fn complete(mut user: UserInfo) -> UserInfo {
    if user.name == names::ANONYMOUS {
        if !user.in_group(names::UNAUTHENTICATED) {
            user.groups.push(names::UNAUTHENTICATED.into());
        }
        return user;
    }
    user.authenticated()
}
