//! What is asked of an authorizer, and how a refusal reads.

use apimachinery::{fields, labels};

use crate::UserInfo;

/// The selectors of a request as far as they can be read: what cannot be read limits nothing.
#[derive(Clone, Debug, Default)]
pub struct Selectors {
    fields: fields::Selector,
    labels: labels::Selector,
}

impl Selectors {
    pub fn parse(fields: &str, labels: &str) -> Self {
        Selectors {
            fields: fields::Selector::parse(fields).unwrap_or_default(),
            labels: labels::Selector::parse(labels).unwrap_or_default(),
        }
    }

    /// The same question for what is selected only.
    pub fn limit<'a>(&'a self, asked: Attributes<'a>) -> Attributes<'a> {
        Attributes { fields: self.fields.requirements(), labels: self.labels.requirements(), ..asked }
    }
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
    /// What the field selector demands, as far as it could be read.
    pub fields: &'a [fields::Requirement],
    /// What the label selector demands, as far as it could be read.
    pub labels: &'a [labels::Requirement],
}

impl<'a> Attributes<'a> {
    pub fn resource(user: &'a UserInfo, verb: &'a str, group: &'a str, resource: &'a str) -> Self {
        let (namespace, subresource, name) = ("", "", "");
        Attributes { user, verb, namespace, group, resource, subresource, name, path: None, fields: &[], labels: &[] }
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
