//! Charges new objects to the quotas of their namespace, and refuses what no quota has room for.
//!
//! Charging is a compare-and-swap on the quota's status, so that two writers never spend the same rest. Nothing is given
//! back here: the quota controller counts anew.

use std::sync::Arc;

use apimachinery::{Status, object};
use async_trait::async_trait;
use quota::Evaluator;
use quota::usage::{self, Usage};
use serde_json::Value;
use store::{Draft, Key, Object, WriteError};

use super::limited::{Covered, Demands};
use crate::{Operation, Plugin, Request};

pub struct ResourceQuota;

/// How often others may be faster.
const TRIES_MAX: usize = 32;

#[async_trait]
impl Plugin for ResourceQuota {
    fn name(&self) -> &'static str {
        "ResourceQuota"
    }

    async fn validate(&self, request: &Request<'_>) -> Result<(), Status> {
        let Some(evaluator) = evaluator(request) else { return Ok(()) };
        let mut charged: Vec<String> = Vec::new();
        for _ in 0..TRIES_MAX {
            let charges = plan(request, &evaluator)?;
            let open = charges.into_iter().filter(|charge| !charged.contains(&charge.name)).collect();
            if request.dry_run || apply(request, open, &mut charged).await? {
                return Ok(());
            }
        }
        let quotas = apimachinery::GroupResource::new("", "resourcequotas");
        Err(Status::conflict(&quotas, "", "the quotas of the namespace changed too often; please try again"))
    }
}

/// How to count, if the request can use anything at all.
fn evaluator(request: &Request<'_>) -> Option<Evaluator> {
    if request.namespace.is_empty() || request.is_resource("", "namespaces") {
        return None;
    }
    let evaluator = Evaluator::of(request.resource.group, request.resource.name)?;
    let counts = match request.operation {
        Operation::Create => request.subresource.is_empty(),
        Operation::Update => evaluator.counts_updates(request.subresource),
        Operation::Delete | Operation::Connect => false,
    };
    counts.then_some(evaluator)
}

/// What a quota is to have used after the write.
struct Charge {
    name: String,
    stored: Arc<Object>,
    value: Value,
    used: Usage,
}

/// The charges of all quotas that the object counts against; an error when one has no room, or none is there that must be.
fn plan(request: &Request<'_>, evaluator: &Evaluator) -> Result<Vec<Charge>, Status> {
    let quotas = request.list("", "resourcequotas", Some(request.namespace));
    let idle = quotas.is_empty() && request.services.configuration.limited.is_empty();
    let Some(object) = request.object.as_deref().filter(|_| !idle) else { return Ok(Vec::new()) };
    let usage = evaluator.usage(object, seconds_now());
    let demands = Demands::of(request, evaluator, object, &usage);
    let (mut interested, mut covered) = (Vec::new(), Covered::default());
    for stored in quotas {
        let value = stored.value();
        let hard = usage::of(value.pointer("/status/hard"));
        covered.scopes.extend(evaluator.matching_scopes(object, &quota::scope_selectors(&value)));
        if evaluator.matches(&value, &hard, object) {
            check(request, evaluator, &value, &hard, object)?;
            covered.names.extend(hard.keys().filter(|name| evaluator.counts(name)).cloned());
            interested.push((stored, value, hard));
        }
    }
    refuse_negative(request, &usage)?;
    let deltas: Vec<Usage> =
        interested.iter().map(|(_, value, hard)| delta(request, evaluator, &usage, Some((value, hard)))).collect();
    let idle = match deltas.is_empty() {
        true => delta(request, evaluator, &usage, None).is_empty(),
        false => deltas.iter().all(Usage::is_empty),
    };
    if idle {
        return Ok(Vec::new());
    }
    demands.check(request, &covered)?;
    let charges = interested.into_iter().zip(deltas);
    let charges = charges.map(|((stored, value, hard), delta)| charge(request, stored, value, &hard, &delta));
    Ok(charges.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
}

/// Whether the object says what the quota counts, and the quota what was used.
fn check(
    request: &Request<'_>,
    evaluator: &Evaluator,
    quota: &Value,
    hard: &Usage,
    object: &Value,
) -> Result<(), Status> {
    let name = object::name(quota);
    let restricted: Vec<&String> = hard.keys().filter(|key| evaluator.counts(key)).collect();
    if let Err(why) = evaluator.check_constraints(&restricted, object) {
        return Err(request.forbidden(format!("failed quota: {name}: {why}")));
    }
    let used = usage::of(quota.pointer("/status/used"));
    if restricted.iter().any(|key| !used.contains_key(*key)) {
        let names = restricted.iter().map(|key| key.as_str()).collect::<Vec<_>>().join(",");
        return Err(request.forbidden(format!("status unknown for quota: {name}, resources: {names}")));
    }
    Ok(())
}

fn refuse_negative(request: &Request<'_>, usage: &Usage) -> Result<(), Status> {
    let negative = usage.iter().filter(|(_, amount)| amount.is_negative());
    let negative: Vec<&str> = negative.map(|(name, _)| name.as_str()).collect();
    if negative.is_empty() {
        return Ok(());
    }
    Err(request.forbidden(format!("quota usage is negative for resource(s): {}", negative.join(","))))
}

/// What the write uses beyond what the old object used of the same quota. What is given back is for the controller to see.
fn delta(request: &Request<'_>, evaluator: &Evaluator, usage: &Usage, quota: Option<(&Value, &Usage)>) -> Usage {
    let counted = |old: &&Value| quota.is_none_or(|(quota, hard)| evaluator.matches(quota, hard, old));
    let old = request.old.filter(|_| request.operation == Operation::Update).filter(counted);
    let mut delta = match old {
        Some(old) => usage::subtract(usage.clone(), &evaluator.usage(old, seconds_now())),
        None => usage.clone(),
    };
    delta.retain(|_, amount| !amount.is_zero() && !amount.is_negative());
    delta
}

fn seconds_now() -> i64 {
    jiff::Timestamp::now().as_second()
}

fn charge(
    request: &Request<'_>,
    stored: Arc<Object>,
    value: Value,
    hard: &Usage,
    delta: &Usage,
) -> Result<Option<Charge>, Status> {
    let requested = usage::mask(delta, hard.keys());
    if requested.is_empty() {
        return Ok(None);
    }
    let used = usage::of(value.pointer("/status/used"));
    let after = usage::add(used.clone(), &requested);
    let exceeded = usage::exceeded(&usage::mask(&after, requested.keys()), hard);
    let name = object::name(&value).to_owned();
    if !exceeded.is_empty() {
        let show = |amounts: &Usage| usage::show(&usage::mask(amounts, &exceeded));
        let why = format!(
            "exceeded quota: {name}, requested: {}, used: {}, limited: {}",
            show(&requested),
            show(&used),
            show(hard)
        );
        return Err(request.forbidden(why));
    }
    Ok(Some(Charge { name, stored, value, used: after }))
}

/// Writes the charges. False when somebody else was faster; those that were written are remembered.
async fn apply(request: &Request<'_>, charges: Vec<Charge>, charged: &mut Vec<String>) -> Result<bool, Status> {
    for mut charge in charges {
        charge.value["status"]["used"] = usage::to_value(&charge.used);
        let key = Key::new("", "resourcequotas", request.namespace, &charge.name);
        let draft = Draft::new(&charge.value, (*charge.stored.header).clone());
        match request.store.update(key, charge.stored.revision, draft).await {
            Ok(_) => charged.push(charge.name),
            Err(WriteError::Conflict { .. }) => return Ok(false),
            Err(error) => return Err(Status::internal(error)),
        }
    }
    Ok(true)
}
