//! Finalizers that were taken away and that the cache still shows.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use api::corev1::Pod;
use apimachinery::ObjectKey;
use client::Object;
use controller_runtime::{Change, Lister};
use parking_lot::Mutex;

use super::pods::is_tracked;
use crate::ownership::controller_key;

/// UIDs of pods by their Job.
#[derive(Clone, Default)]
pub(super) struct Released(Arc<Mutex<HashMap<ObjectKey, HashSet<String>>>>);

impl Released {
    /// To be made before the controller listens to the lister: who is woken by a pod must find it up to date.
    pub fn new(pods: &Lister<Pod>) -> Released {
        let released = Released::default();
        let seen = released.clone();
        pods.subscribe(move |change: &Change<Pod>| {
            let gone = match change {
                Change::Updated { new, .. } if !is_tracked(new) => new,
                Change::Deleted(old) | Change::Replaced { old, .. } => old,
                _ => return,
            };
            let before = change.old().unwrap_or(gone);
            controller_key(&before.metadata, "Job").iter().for_each(|job| seen.saw(job, gone.uid()));
        });
        released
    }

    pub fn of(&self, job: &ObjectKey) -> HashSet<String> {
        self.0.lock().get(job).cloned().unwrap_or_default()
    }

    pub fn expect(&self, job: &ObjectKey, uid: &str) {
        self.0.lock().entry(job.clone()).or_default().insert(uid.to_owned());
    }

    /// The cache shows it, or it was not done.
    pub fn saw(&self, job: &ObjectKey, uid: &str) {
        let mut all = self.0.lock();
        let Some(uids) = all.get_mut(job) else { return };
        uids.remove(uid);
        if uids.is_empty() {
            all.remove(job);
        }
    }

    pub fn forget(&self, job: &ObjectKey) {
        self.0.lock().remove(job);
    }
}
