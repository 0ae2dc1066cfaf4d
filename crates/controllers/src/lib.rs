//! The controllers, one folder each.
//!
//! Each has a pure `plan` over what it observed, and a reconciler that observes and applies. All share the reflectors of
//! one [`Context`]; each writes under its own service account, with the roles that upstream gives it.
//!
//! Must not know: the store, the scheduler, nodes' insides. Start at [`start`], then at any folder.

mod autoscaler;
mod certificates;
mod context;
mod cron_job;
mod daemon_set;
mod deployment;
mod disruption;
mod endpoints;
mod expectations;
mod garbage_collector;
mod ignore;
mod job;
mod namespace;
mod node_ipam;
mod node_lifecycle;
mod ownership;
mod pod_control;
mod pod_gc;
mod pods;
mod replica_set;
mod replication_controller;
mod resource_quota;
mod resources;
mod revisions;
mod root_ca;
mod service_account;
mod service_cidr;
mod signer;
mod slices;
mod stateful_set;
mod storage_protection;
mod token_secrets;
mod ttl_after_finished;
mod validating_admission_policy_status;
mod volume_binder;

use api::corev1::Pod;
use client::Client;
use controller_runtime::Informers;
use rt::TaskSet;

pub use context::{Config, Context};
pub use signer::{CertificateSigner, TokenSigner, Usage, Wish};

/// The caches of the controllers, without what none of them reads.
pub fn informers(client: &Client, tasks: &TaskSet) -> Informers {
    let informers = Informers::new(client, tasks).without(resources::forget_schemas);
    informers.without(pods::forget_running).as_text::<Pod>()
}

/// Starts every controller. They run until the context's tasks are cancelled.
pub fn start(context: &Context) {
    deployment::start(context);
    replica_set::start(context);
    daemon_set::start(context);
    replication_controller::start(context);
    stateful_set::start(context);
    job::start(context);
    autoscaler::start(context);
    cron_job::start(context);
    disruption::start(context);
    ttl_after_finished::start(context);
    slices::start(context);
    endpoints::start(context);
    service_account::start(context);
    root_ca::start(context);
    let resources = resources::start(context);
    namespace::start(context, &resources);
    garbage_collector::start(context, &resources);
    resource_quota::start(context, &resources);
    node_ipam::start(context);
    node_lifecycle::start(context);
    pod_gc::start(context);
    storage_protection::start(context);
    service_cidr::start(context);
    volume_binder::start(context);
    token_secrets::start(context);
    certificates::start(context);
    validating_admission_policy_status::start(context);
}
