//! The server's authorizer, as expressions ask it.

use auth::{Attributes, Authorizer, Selectors, UserInfo, names};
use expressions::{Decision, Question, ResourceTarget, Target};

/// Asks for the user of a request, or for a service account that an expression names.
pub struct Asker<'a> {
    pub authorizer: &'a Authorizer,
    pub user: &'a UserInfo,
}

impl expressions::Authorizer for Asker<'_> {
    fn authorize(&self, question: &Question) -> Decision {
        let account = question.service_account.as_ref().map(|(namespace, name)| service_account(namespace, name));
        let user = account.as_ref().unwrap_or(self.user);
        let answer = match &question.target {
            Target::Path(path) => self.authorizer.authorize(&Attributes::path(user, &question.verb, path)),
            Target::Resource(target) => self.resource(user, &question.verb, target),
        };
        Decision { allowed: answer.allowed(), reason: answer.reason().to_owned(), error: None }
    }
}

impl Asker<'_> {
    fn resource(&self, user: &UserInfo, verb: &str, target: &ResourceTarget) -> auth::Decision {
        let (fields, labels) = (target.field_selector.as_deref(), target.label_selector.as_deref());
        let selectors = Selectors::parse(fields.unwrap_or_default(), labels.unwrap_or_default());
        let attributes = Attributes::resource(user, verb, &target.group, &target.resource)
            .subresource(&target.subresource)
            .in_namespace(&target.namespace)
            .named(&target.name);
        self.authorizer.authorize(&selectors.limit(attributes))
    }
}

fn service_account(namespace: &str, name: &str) -> UserInfo {
    let group = format!("{}:{namespace}", names::SERVICE_ACCOUNTS);
    let name = format!("{}{namespace}:{name}", names::SERVICE_ACCOUNT_USER_PREFIX);
    UserInfo::new(name, &[names::SERVICE_ACCOUNTS, &group, names::AUTHENTICATED])
}
