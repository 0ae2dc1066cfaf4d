//! The end of a definition: its objects go first, then it is let go.

use std::sync::Arc;

use apimachinery::{Status, object};
use http::Method;
use registry::strategy::Resource;
use store::{Key, Prefix, Watcher};

use crate::catalog::{self, ResourceExt};
use crate::change::{Change, Part};
use crate::internal;
use crate::options::{DeleteOptions, WriteOptions};
use crate::server::Inner;
use crate::verbs::delete;

pub const FINALIZER: &str = "customresourcecleanup.apiextensions.k8s.io";

/// A definition and the resource that stores its objects, served or not.
pub struct Target {
    pub definition: String,
    pub resource: Arc<Resource>,
}

/// Deletes every object of the definition, waits until all of them are gone (some may have finalizers), and takes the
/// definition's own finalizer away.
pub async fn run(server: Arc<Inner>, target: Target) {
    let prefix = target.resource.prefix("");
    let snapshot = server.store.snapshot();
    let Ok(mut watcher) = server.store.watch(prefix.clone(), snapshot.revision()) else { return };
    let present: Vec<Key> = snapshot.range(&prefix, None).map(|(key, _)| key.clone()).collect();
    for key in &present {
        if let Err(status) = end(&server, &target.resource, key).await {
            let (definition, object) = (&target.definition, key.name());
            tracing::warn!(definition, object, %status, "cannot delete a custom resource");
        }
    }
    if wait_until_empty(&server, &prefix, &mut watcher).await {
        release(&server, &target.definition).await;
    }
}

async fn end(server: &Inner, resource: &Resource, key: &Key) -> Result<(), Status> {
    let call = internal::call(server, Method::DELETE, "/")?;
    let options = WriteOptions::own(&call);
    let change = Change {
        namespace: key.namespace(),
        name: key.name(),
        ..Change::of(server, &call, resource, Part::Main, &options)
    };
    match delete::delete(&change, &DeleteOptions::default()).await {
        Err(status) if status.code != 404 => Err(status),
        _ => Ok(()),
    }
}

/// Whether nothing is left; false when the server cannot tell any more.
async fn wait_until_empty(server: &Inner, prefix: &Prefix, watcher: &mut Watcher) -> bool {
    while server.store.snapshot().range(prefix, None).next().is_some() {
        if watcher.next().await.is_err() {
            match server.store.watch(prefix.clone(), server.store.snapshot().revision()) {
                Ok(fresh) => *watcher = fresh,
                Err(_) => return false,
            }
        }
    }
    true
}

/// Takes the finalizer away, which ends the definition unless others hold it.
async fn release(server: &Arc<Inner>, name: &str) {
    let Some(resource) = catalog::of_storage("apiextensions.k8s.io", "customresourcedefinitions") else { return };
    let path = format!("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{name}");
    loop {
        let Some(stored) = server.store.get(&resource.key("", name)) else { return };
        let mut definition = crate::encode::served(resource, &stored);
        let others = object::finalizers(&definition).filter(|finalizer| *finalizer != FINALIZER);
        let others = others.map(str::to_string).collect();
        object::set_finalizers(&mut definition, others);
        match internal::send(server, Method::PUT, &path, Some(&definition)).await {
            Err(status) if status.code == 409 => {}
            Err(status) if status.code != 404 => {
                tracing::error!(definition = name, %status, "cannot let a definition go");
                return;
            }
            _ => return,
        }
    }
}
