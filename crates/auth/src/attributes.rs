//! What is asked of an authorizer, and how a refusal reads.

use crate::UserInfo;

/// One requirement of a field selector, as authorizers see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SelectorTerm {
    pub key: String,
    pub value: String,
}

/// One question: may `user` do `verb` there?
#[derive(Clone, Copy, Debug)]
pub struct Attributes<'a> {
    pub user: &'a UserInfo,
    pub verb: &'a str,
    pub namespace: &'a str,
    pub group: &'a str,
    pub resource: &'a str,
    pub subresource: &'a str,
    pub name: &'a str,
    /// The path of a request that is not for a resource; `None` for resources.
    pub path: Option<&'a str>,
    /// Equalities of the field selector.
    pub fields: &'a [SelectorTerm],
}

impl<'a> Attributes<'a> {
    pub fn resource(user: &'a UserInfo, verb: &'a str, group: &'a str, resource: &'a str) -> Self {
        Attributes { user, verb, namespace: "", group, resource, subresource: "", name: "", path: None, fields: &[] }
    }

    pub fn path(user: &'a UserInfo, verb: &'a str, path: &'a str) -> Self {
        Attributes { path: Some(path), ..Attributes::resource(user, verb, "", "") }
    }

    pub fn in_namespace(self, namespace: &'a str) -> Self {
        Attributes { namespace, ..self }
    }

    pub fn named(self, name: &'a str) -> Self {
        Attributes { name, ..self }
    }

    pub fn subresource(self, subresource: &'a str) -> Self {
        Attributes { subresource, ..self }
    }

    /// `pods` or `pods/log`.
    pub fn full_resource(&self) -> String {
        match self.subresource {
            "" => self.resource.to_string(),
            sub => format!("{}/{sub}", self.resource),
        }
    }

    /// The sentence of a 403 after "is forbidden: ".
    pub fn forbidden_message(&self) -> String {
        let user = &self.user.name;
        if let Some(path) = self.path {
            return format!("User {user:?} cannot {} path {path:?}", self.verb);
        }
        let what = format!(
            "User {user:?} cannot {} resource {:?} in API group {:?}",
            self.verb,
            self.full_resource(),
            self.group
        );
        match self.namespace {
            "" => format!("{what} at the cluster scope"),
            namespace => format!("{what} in the namespace {namespace:?}"),
        }
    }
}
