//! Services to nftables.
//!
//! Observe Services and EndpointSlices, [`plan_service`] what each needs in the kernel (pure), and apply the difference as
//! one transaction. The table is flat: maps from (address, protocol, port) to the chain for its *number* of endpoints, which
//! draws one and finds it in a map; a Service adds elements, hardly ever a chain. See [`layout`] for the picture.
//!
//! Does not know: how pods get their addresses, who gives Services theirs. Start at [`ServiceProxy::run`] and [`layout`].

mod connections;
mod health;
pub mod layout;
mod plan;
mod proxy;
mod rules;
mod ruleset;

pub use connections::{UdpFrontend, stale};
pub use layout::{NodeFacts, TABLE};
pub use plan::{ServicePlan, plan_service};
pub use proxy::{Error, ProxyConfig, ServiceProxy};
pub use rules::Rules;
pub use ruleset::{Delta, Ruleset};
