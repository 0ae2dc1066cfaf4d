//! What the components' tests run against: [`FakeApi`], an API server in memory behind a [`client::Transport`], and
//! [`netns`], network namespaces of their own.
//!
//! The API stores, lists, watches and patches as the real one does, and knows nothing else of Kubernetes: no defaults, no
//! validation, no authorization. Start at [`FakeApi`]; `verbs` is what it answers.

mod discovery;
mod fake_api;
pub mod netns;
mod path;
mod state;
mod verbs;

pub use fake_api::{Call, FakeApi};
