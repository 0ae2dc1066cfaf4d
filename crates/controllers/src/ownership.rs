//! Which objects a workload controls: adopts those that match and have no controller, releases those that match no more.

use std::sync::Arc;

use api::metav1::{ObjectMeta, OwnerReference};
use apimachinery::ObjectKey;
use apimachinery::labels::Selector;
use client::{Api, Error, Object, Patch};
use controller_runtime::{Change, Lister, WorkQueue};
use serde_json::json;

use crate::pods::{is_deleted, matches};

/// The owner that controls the object.
pub(crate) fn controller_of(metadata: &ObjectMeta) -> Option<&OwnerReference> {
    metadata.owner_references.as_ref()?.iter().find(|owner| owner.controller == Some(true))
}

/// The key of the controlling owner, when it is of this kind.
pub(crate) fn controller_key(metadata: &ObjectMeta, kind: &str) -> Option<ObjectKey> {
    let owner = controller_of(metadata).filter(|owner| owner.kind == kind)?;
    Some(ObjectKey::new(metadata.namespace.as_deref().unwrap_or_default(), owner.name.as_str()))
}

/// A reference that makes `owner` the controller.
pub(crate) fn reference<K: Object>(owner: &K) -> OwnerReference {
    OwnerReference {
        api_version: K::API_VERSION.into(),
        kind: K::KIND.into(),
        name: owner.name().into(),
        uid: owner.uid().into(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

/// An object wakes the owner that controls it, or did; one that nobody controls wakes those that might adopt it.
pub(crate) fn wake_owners<K: Object, O: Object>(
    objects: &Lister<K>,
    owners: &Lister<O>,
    selector: fn(&O) -> Selector,
    queue: &WorkQueue<ObjectKey>,
) {
    let (owners, queue) = (owners.clone(), queue.clone());
    objects.subscribe(move |change: &Change<K>| {
        for object in change.old().into_iter().chain([change.object()]) {
            controller_key(object.metadata(), O::KIND).into_iter().for_each(|owner| queue.add(owner));
        }
        let orphan = change.object();
        if controller_of(orphan.metadata()).is_none() && !matches!(change, Change::Deleted(_)) {
            let candidates = owners.namespace(orphan.namespace()).into_iter();
            let adopting = candidates.filter(|owner| matches(&selector(owner), orphan.metadata()));
            adopting.for_each(|owner| queue.add(owner.key()));
        }
    });
}

/// What is to become of an object that an owner may control.
#[derive(Debug, PartialEq, Eq)]
enum Claim {
    Mine,
    Adopt,
    Release,
    Foreign,
}

fn judge<K: Object, O: Object>(owner: &O, selector: &Selector, object: &K) -> Claim {
    let matching = matches(selector, object.metadata());
    match controller_of(object.metadata()) {
        Some(controller) if controller.uid != owner.uid() => Claim::Foreign,
        Some(_) if matching => Claim::Mine,
        Some(_) if is_deleted(owner.metadata()) => Claim::Foreign,
        Some(_) => Claim::Release,
        None if matching && !is_deleted(owner.metadata()) && !is_deleted(object.metadata()) => Claim::Adopt,
        None => Claim::Foreign,
    }
}

/// What the owner has, and what it might adopt, in the order of the keys. Reads no more objects than it gives.
pub(crate) fn candidates<K: Object, O: Object>(objects: &Lister<K>, owner: &O, selector: &Selector) -> Vec<Arc<K>> {
    let mut found = objects.matching(owner.namespace(), selector);
    let owned = objects.by_owner(owner.uid()).into_iter();
    found.extend(owned.filter(|own| own.namespace() == owner.namespace() && !matches(selector, own.metadata())));
    found.sort_by(|one, other| one.name().cmp(other.name()));
    found
}

/// The candidates that `owner` controls, after adopting and releasing.
pub(crate) async fn claim<K: Object, O: Object>(
    api: &Api<K>,
    owner: &O,
    selector: &Selector,
    candidates: Vec<Arc<K>>,
) -> Result<Vec<Arc<K>>, Error> {
    claim_with_finalizer(api, owner, selector, candidates, None).await
}

/// Puts a finalizer on what it adopts, and takes it off what it releases.
pub(crate) async fn claim_with_finalizer<K: Object, O: Object>(
    api: &Api<K>,
    owner: &O,
    selector: &Selector,
    candidates: Vec<Arc<K>>,
    finalizer: Option<&str>,
) -> Result<Vec<Arc<K>>, Error> {
    let mut mine = Vec::new();
    for object in candidates {
        match judge(owner, selector, object.as_ref()) {
            Claim::Mine => mine.push(object),
            Claim::Adopt if still_exists(api.client(), owner).await? => {
                mine.push(Arc::new(adopt(api, owner, &object, finalizer).await?))
            }
            Claim::Release => release(api, owner, &object, finalizer).await?,
            Claim::Adopt | Claim::Foreign => {}
        }
    }
    Ok(mine)
}

/// Asks the server, not the cache: an owner that was deleted and made anew must not adopt for its predecessor.
async fn still_exists<O: Object>(client: &client::Client, owner: &O) -> Result<bool, Error> {
    let live = Api::<O>::namespaced(client, owner.namespace()).get_opt(owner.name()).await?;
    Ok(live.is_some_and(|live| live.uid() == owner.uid() && !is_deleted(live.metadata())))
}

async fn adopt<K: Object, O: Object>(api: &Api<K>, owner: &O, object: &K, finalizer: Option<&str>) -> Result<K, Error> {
    let mut patch = json!({"metadata": {"uid": object.uid(), "ownerReferences": [reference(owner)]}});
    if let Some(finalizer) = finalizer {
        patch["metadata"]["finalizers"] = json!([finalizer]);
    }
    api.patch(object.name(), &Patch::Strategic(patch)).await
}

async fn release<K: Object, O: Object>(
    api: &Api<K>,
    owner: &O,
    object: &K,
    finalizer: Option<&str>,
) -> Result<(), Error> {
    let gone = json!([{"$patch": "delete", "uid": owner.uid()}]);
    let mut patch = json!({"metadata": {"uid": object.uid(), "ownerReferences": gone}});
    if let Some(finalizer) = finalizer {
        patch["metadata"]["$deleteFromPrimitiveList/finalizers"] = json!([finalizer]);
    }
    match api.patch(object.name(), &Patch::Strategic(patch)).await {
        Err(error) if error.is_not_found() || error.is_invalid() => Ok(()),
        result => result.map(drop),
    }
}
