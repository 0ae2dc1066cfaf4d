//! `authorizer`: the chain that leads to a question, and its answer.

use apimachinery::validation;

use super::Answer;
use crate::authorizer::{Authorizer, Chain, Decision, Question, ResourceTarget, Target};
use crate::errors::EvalError;
use crate::value::{ChainValue, Opaque, Text, Value};

pub fn call<'a>(function: &str, args: &[Value<'a>]) -> Answer<'a> {
    let (chain, rest) = split(args)?;
    match (chain, rest) {
        (Chain::Authorizer(subject), [Value::String(first), rest @ ..]) => match (function, rest) {
            ("path", []) if first.is_empty() => Some(Err(EvalError::message("path must not be empty"))),
            ("path", []) => link(Chain::Path(subject.clone(), first.to_string())),
            ("group", []) => link(Chain::Group(subject.clone(), first.to_string())),
            ("serviceAccount", [Value::String(name)]) => Some(service_account(first, name)),
            _ => None,
        },
        (Chain::Group(_, _), [Value::String(name)]) if function == "resource" && name.is_empty() => {
            Some(Err(EvalError::message("resource must not be empty")))
        }
        (Chain::Group(subject, group), [Value::String(name)]) if function == "resource" => {
            let target =
                ResourceTarget { group: group.clone(), resource: name.to_string(), ..ResourceTarget::default() };
            link(Chain::Resource(subject.clone(), target))
        }
        (Chain::Resource(subject, target), [Value::String(text)]) => {
            link(Chain::Resource(subject.clone(), narrowed(function, target.clone(), text)?))
        }
        (Chain::Decision(decision), []) => answer(function, decision),
        _ => None,
    }
}

fn split<'v, 'a>(args: &'v [Value<'a>]) -> Option<(&'v Chain, &'v [Value<'a>])> {
    let (Value::Opaque(value), rest) = args.split_first()? else { return None };
    match &**value {
        Opaque::Chain(ChainValue(chain)) => Some((chain, rest)),
        _ => None,
    }
}

fn link<'a>(chain: Chain) -> Answer<'a> {
    Some(Ok(Value::chain(chain)))
}

fn service_account<'a>(namespace: &Text<'_>, name: &Text<'_>) -> Result<Value<'a>, EvalError> {
    if !validation::is_dns1123_subdomain(name).is_empty() {
        return Err(EvalError::message("Invalid service account name"));
    }
    if !validation::is_dns1123_label(namespace).is_empty() {
        return Err(EvalError::message("Invalid service account namespace"));
    }
    Ok(Value::chain(Chain::Authorizer(Some((namespace.to_string(), name.to_string())))))
}

fn narrowed(function: &str, mut target: ResourceTarget, text: &str) -> Option<ResourceTarget> {
    match function {
        "subresource" => target.subresource = text.into(),
        "namespace" => target.namespace = text.into(),
        "name" => target.name = text.into(),
        "fieldSelector" => target.field_selector = Some(text.into()),
        "labelSelector" => target.label_selector = Some(text.into()),
        _ => return None,
    }
    Some(target)
}

fn answer<'a>(function: &str, decision: &Decision) -> Answer<'a> {
    Some(Ok(match function {
        "allowed" => Value::Bool(decision.allowed),
        "reason" => Value::text(decision.reason.as_str()),
        "errored" => Value::Bool(decision.error.is_some()),
        "error" => Value::text(decision.error.as_deref().unwrap_or_default()),
        _ => return None,
    }))
}

/// Asks the authorizer.
pub fn check<'a>(args: &[Value<'a>], authorizer: Option<&dyn Authorizer>) -> Result<Value<'a>, EvalError> {
    let (Some((chain, [Value::String(verb)])), Some(authorizer)) = (split(args), authorizer) else {
        return Err(EvalError::NoSuchOverload);
    };
    let (service_account, target) = match chain {
        Chain::Path(subject, path) => (subject.clone(), Target::Path(path.clone())),
        Chain::Resource(subject, target) => (subject.clone(), Target::Resource(target.clone())),
        _ => return Err(EvalError::NoSuchOverload),
    };
    let decision = authorizer.authorize(&Question { service_account, verb: verb.to_string(), target });
    Ok(Value::chain(Chain::Decision(decision)))
}
