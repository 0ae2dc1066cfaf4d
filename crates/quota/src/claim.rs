//! What PersistentVolumeClaims use.

use apimachinery::Quantity;
use serde_json::Value;

use crate::usage::{Usage, count};

const CLAIMS: &str = "persistentvolumeclaims";
const STORAGE: &str = "requests.storage";
/// Between a class and what is counted of it.
const OF_CLASS: &str = ".storageclass.storage.k8s.io/";

pub fn counts(name: &str) -> bool {
    let plain = |name: &str| name == CLAIMS || name == STORAGE;
    plain(name)
        || name == "count/persistentvolumeclaims"
        || name.split_once(OF_CLASS).is_some_and(|(_, rest)| plain(rest))
}

pub fn usage(claim: &Value) -> Usage {
    let mut usage: Usage = [(CLAIMS, 1), ("count/persistentvolumeclaims", 1)]
        .map(|(name, number)| (name.to_owned(), count(number)))
        .into();
    let class = class(claim);
    if let Some(class) = class {
        usage.insert(format!("{class}{OF_CLASS}{CLAIMS}"), count(1));
    }
    if let Some(storage) = storage(claim) {
        usage.insert(STORAGE.into(), storage);
        if let Some(class) = class {
            usage.insert(format!("{class}{OF_CLASS}{STORAGE}"), storage);
        }
    }
    usage
}

/// By the annotation of old, else by the field.
fn class(claim: &Value) -> Option<&str> {
    let old = apimachinery::object::annotation(claim, "volume.beta.kubernetes.io/storage-class");
    let class = old.or_else(|| claim.pointer("/spec/storageClassName")?.as_str());
    class.filter(|class| !class.is_empty())
}

/// What is asked for, or more if more was allocated by an expansion that was given up.
fn storage(claim: &Value) -> Option<Quantity> {
    let asked = claim.pointer("/spec/resources/requests/storage").map(Quantity::of)?;
    let allocated = claim.pointer("/status/allocatedResources/storage").map(Quantity::of);
    Some(allocated.map_or(asked, |allocated| allocated.max(asked)))
}
