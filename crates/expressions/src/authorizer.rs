//! The seam to an authorizer: `authorizer.group('apps').resource('deployments').check('create').allowed()`.

/// Answers whether somebody may do something. Handed in at evaluation.
pub trait Authorizer: Sync {
    fn authorize(&self, question: &Question) -> Decision;
}

/// What an expression asks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Question {
    /// Namespace and name of the service account to ask for; `None` is the user of the request.
    pub service_account: Option<(String, String)>,
    pub verb: String,
    pub target: Target,
}

/// What the question is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    Path(String),
    Resource(ResourceTarget),
}

impl Default for Target {
    fn default() -> Self {
        Self::Path(String::new())
    }
}

/// A resource to be checked. The version is always `*`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResourceTarget {
    pub group: String,
    pub resource: String,
    pub subresource: String,
    pub namespace: String,
    pub name: String,
    /// As written; the authorizer parses it, and treats what it cannot parse as no restriction.
    pub field_selector: Option<String>,
    pub label_selector: Option<String>,
}

/// The answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    pub allowed: bool,
    pub reason: String,
    pub error: Option<String>,
}

/// A step of the chain that an expression builds.
#[derive(Clone)]
pub(crate) enum Chain {
    Authorizer(Subject),
    Path(Subject, String),
    Group(Subject, String),
    Resource(Subject, ResourceTarget),
    Decision(Decision),
}

/// The service account to ask for, if not the requesting user.
pub(crate) type Subject = Option<(String, String)>;
