//! Keeps claims that pods use, volumes that are bound, and attribute classes that are named from vanishing under their users.
//!
//! Each kind has a finalizer, which admission gives to new objects and these controllers to older ones; they take it away when an
//! object is to go and nobody uses it. One controller for each kind, with upstream's names.

mod attributes_class;
mod claim;
mod plan;
mod volume;

use api::metav1::ObjectMeta;
use client::{Api, Object};

use crate::Context;
use crate::ignore::ignore_gone;
use plan::Step;

pub(crate) fn start(context: &Context) {
    claim::start(context);
    volume::start(context);
    attributes_class::start(context);
}

/// Writes the finalizers of one object. A conflict needs no care: the newer state comes by the watch.
async fn apply<K: Object + Clone>(api: &Api<K>, object: &K, finalizer: &str, step: Step) -> Result<(), client::Error> {
    if step == Step::Keep {
        return Ok(());
    }
    let mut object = object.clone();
    let metadata: &mut ObjectMeta = object.metadata_mut();
    let list = metadata.finalizers.get_or_insert_default();
    match step {
        Step::Add => list.push(finalizer.to_owned()),
        _ => list.retain(|own| own != finalizer),
    }
    ignore_gone(api.update(&object).await)
}
