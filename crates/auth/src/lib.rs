//! Who asks, and may they: the cluster's keys, authentication and authorization.
//!
//! [`pki::Pki`] keeps the authorities and signs certificates; [`authn::Authenticator`] turns a client certificate or a
//! bearer token into a [`UserInfo`]; [`Authorizer`] answers [`Attributes`] from an index of RBAC objects and of pods by
//! node. Whoever owns the objects feeds the indexes ([`rbac::Rbac::apply`], [`node::NodeGraph::apply_pod`]).
//!
//! Must not know: HTTP, the store, resources' strategies. Start at [`Authorizer::authorize`].

mod attributes;
pub mod authn;
mod authorizer;
mod bootstrap_token;
pub mod join;
pub mod node;
pub mod oidc;
pub mod pki;
pub mod rbac;
mod remembered;
pub mod request_header;
pub mod token;
mod user;

pub use attributes::{Attributes, Selectors};
pub use authorizer::{Authorizer, Decision, Grants};
pub use user::UserInfo;

/// Groups and users that Kubernetes itself names.
pub mod names {
    pub const MASTERS: &str = "system:masters";
    pub const AUTHENTICATED: &str = "system:authenticated";
    pub const UNAUTHENTICATED: &str = "system:unauthenticated";
    pub const ANONYMOUS: &str = "system:anonymous";
    pub const NODES: &str = "system:nodes";
    pub const NODE_USER_PREFIX: &str = "system:node:";
    pub const SERVICE_ACCOUNTS: &str = "system:serviceaccounts";
    pub const SERVICE_ACCOUNT_USER_PREFIX: &str = "system:serviceaccount:";
}
