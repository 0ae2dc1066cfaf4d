//! The verbs: one file and one line each.

mod api_resources;
mod apply;
mod attach;
mod attended;
mod auth;
mod autoscale;
mod certificate;
pub mod completion;
mod config;
mod cp;
mod create;
mod debug;
mod delete;
mod describe;
mod diff;
mod drain;
mod dump;
mod edit;
mod events;
mod exec;
mod explain;
mod expose;
mod get;
mod label;
mod logs;
mod named;
mod options;
mod patch;
pub mod plugin;
mod port_forward;
mod proxy;
mod replace;
mod rollout;
mod run;
mod scale;
mod set;
mod taint;
mod top;
mod version;
mod wait;
mod writing;

use crate::command::Command;

/// In the order of `kubectl --help`.
pub const ALL: &[&Command] = &[
    &create::COMMAND,
    &explain::COMMAND,
    &expose::COMMAND,
    &run::COMMAND,
    &set::COMMAND,
    &get::COMMAND,
    &edit::COMMAND,
    &delete::COMMAND,
    &rollout::COMMAND,
    &scale::COMMAND,
    &autoscale::COMMAND,
    &certificate::COMMAND,
    &version::CLUSTER_INFO,
    &diff::COMMAND,
    &apply::COMMAND,
    &top::COMMAND,
    &drain::CORDON,
    &drain::UNCORDON,
    &drain::DRAIN,
    &taint::COMMAND,
    &describe::COMMAND,
    &logs::COMMAND,
    &attach::COMMAND,
    &exec::COMMAND,
    &port_forward::COMMAND,
    &proxy::COMMAND,
    &cp::COMMAND,
    &debug::COMMAND,
    &patch::COMMAND,
    &replace::COMMAND,
    &auth::COMMAND,
    &label::LABEL,
    &label::ANNOTATE,
    &wait::COMMAND,
    &events::COMMAND,
    &api_resources::RESOURCES,
    &api_resources::VERSIONS,
    &completion::COMMAND,
    &config::COMMAND,
    &options::COMMAND,
    &plugin::COMMAND,
    &version::VERSION,
];
