//! Creates and deletes a workload's pods, tells users so, and remembers what the cache does not show yet.

use std::sync::Arc;

use api::corev1::Pod;
use apimachinery::ObjectKey;
use client::events::{EventRecorder, reference as event_reference};
use client::{Api, Client, DeleteParams, Error, Object};
use controller_runtime::{Change, Lister};
use futures::future::join_all;

use crate::expectations::Expectations;
use crate::ignore::ignore_gone;
use crate::ownership::controller_key;
use crate::pods::is_deleted;

pub(crate) struct PodControl {
    client: Client,
    events: EventRecorder,
    expectations: Arc<Expectations>,
}

impl PodControl {
    /// For owners of this kind, whose pods the lister shows. To be made before its controller listens to the lister: who
    /// is woken by a pod must find its expectations met.
    pub fn new(client: &Client, events: EventRecorder, pods: &Lister<Pod>, kind: &'static str) -> PodControl {
        let expectations = Arc::new(Expectations::default());
        let seen = expectations.clone();
        pods.subscribe(move |change: &Change<Pod>| {
            for pod in change.old().into_iter().chain([change.object()]) {
                controller_key(&pod.metadata, kind).iter().for_each(|owner| note(&seen, owner, change));
            }
        });
        PodControl { client: client.clone(), events, expectations }
    }

    /// Whether the cache shows everything that was done for the owner.
    pub fn is_caught_up(&self, owner: &ObjectKey) -> bool {
        self.expectations.satisfied(owner)
    }

    pub fn forget(&self, owner: &ObjectKey) {
        self.expectations.forget(owner);
    }

    /// Creates in batches that double, so that a quota or a broken webhook is asked once and not five hundred times.
    pub async fn create<O: Object>(&self, owner: &O, pods: &[Pod]) -> Result<(), Error> {
        let (mut left, mut batch) = (pods, 1);
        while !left.is_empty() {
            let (now, later) = left.split_at(batch.min(left.len()));
            self.expectations.begin_creations(&owner.key(), now.len());
            let created = join_all(now.iter().map(|pod| self.create_one(owner, pod))).await;
            created.into_iter().collect::<Result<(), Error>>()?;
            (left, batch) = (later, batch * 2);
        }
        Ok(())
    }

    async fn create_one<O: Object>(&self, owner: &O, pod: &Pod) -> Result<(), Error> {
        let about = event_reference(owner);
        match self.finish_creation(owner, pod).await {
            Ok(pod) => self.events.normal(&about, "SuccessfulCreate", format!("Created pod: {}", pod.name())),
            Err(error) if namespace_is_ending(&error) => {}
            Err(error) => {
                self.events.warning(&about, "FailedCreate", format!("Error creating: {error}"));
                return Err(error);
            }
        }
        Ok(())
    }

    async fn finish_creation<O: Object>(&self, owner: &O, pod: &Pod) -> Result<Pod, Error> {
        let created = Api::<Pod>::namespaced(&self.client, owner.namespace()).create(pod).await;
        self.expectations.creation_ended(&owner.key(), created.as_ref().ok().map(Object::uid));
        created
    }

    /// For owners with words of their own: creates one, and tells nobody.
    pub async fn create_untold<O: Object>(&self, owner: &O, pod: &Pod) -> Result<Pod, Error> {
        self.expectations.begin_creations(&owner.key(), 1);
        self.finish_creation(owner, pod).await
    }

    /// Deletes one, and tells nobody. `false`: it was gone already.
    pub async fn delete_untold<O: Object>(&self, owner: &O, pod: &Pod) -> Result<bool, Error> {
        self.expectations.begin_deletion(&owner.key(), pod.uid());
        let api = Api::<Pod>::namespaced(&self.client, pod.namespace());
        let Err(error) = api.delete(pod.name(), &DeleteParams::uid(pod.uid())).await else { return Ok(true) };
        self.expectations.saw_deletion(&owner.key(), pod.uid());
        ignore_gone::<()>(Err(error)).map(|()| false)
    }

    /// Deletes all at once.
    pub async fn delete<O: Object>(&self, owner: &O, pods: &[Arc<Pod>]) -> Result<(), Error> {
        join_all(pods.iter().map(|pod| self.delete_one(owner, pod))).await.into_iter().collect()
    }

    async fn delete_one<O: Object>(&self, owner: &O, pod: &Pod) -> Result<(), Error> {
        let about = event_reference(owner);
        match self.delete_untold(owner, pod).await {
            Ok(true) => self.events.normal(&about, "SuccessfulDelete", format!("Deleted pod: {}", pod.name())),
            Ok(false) => {}
            Err(error) => {
                self.events.warning(&about, "FailedDelete", format!("Error deleting: {error}"));
                return Err(error);
            }
        }
        Ok(())
    }
}

fn note(expectations: &Expectations, owner: &ObjectKey, change: &Change<Pod>) {
    match change {
        Change::Added(pod) => expectations.saw_creation(owner, pod.uid()),
        Change::Deleted(pod) => expectations.saw_deletion(owner, pod.uid()),
        Change::Updated { new, .. } if is_deleted(&new.metadata) => expectations.saw_deletion(owner, new.uid()),
        Change::Updated { .. } => {}
        Change::Replaced { old, new } => {
            expectations.saw_deletion(owner, old.uid());
            expectations.saw_creation(owner, new.uid());
        }
    }
}

/// A creation in a namespace that ends is no failure: nothing is to be created there any more.
fn namespace_is_ending(error: &Error) -> bool {
    let causes = error.status().and_then(|status| status.details.as_ref()).map(|details| details.causes.as_slice());
    causes.unwrap_or_default().iter().any(|cause| cause.reason == "NamespaceTerminating")
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use api::appsv1::ReplicaSet;
    use apimachinery::Status;
    use apimachinery::status::{Cause, Details};
    use rt::TaskSet;
    use serde_json::json;
    use testkit::FakeApi;

    use super::*;

    struct Bench {
        api: FakeApi,
        tasks: TaskSet,
        control: PodControl,
        owner: ReplicaSet,
        pods: Vec<Pod>,
    }

    /// A workload that wants seven pods.
    fn bench() -> Bench {
        let (api, tasks) = (FakeApi::new(), TaskSet::new());
        let events = EventRecorder::new(&api.client(), "test", "", &tasks);
        let control = PodControl::new(&api.client(), events, &Lister::of(Vec::new()), "ReplicaSet");
        let owner = json!({"metadata": {"name": "web", "namespace": "default", "uid": "u"}});
        let pod = json!({"metadata": {"generateName": "web-"}});
        let pods = vec![serde_json::from_value(pod).expect("a pod"); 7];
        Bench { api, tasks, control, owner: serde_json::from_value(owner).expect("a set"), pods }
    }

    /// Answers from the `after`-th creation of a pod on with `status`. Returns how many were asked for.
    fn refuse(api: &FakeApi, after: usize, status: Status) -> Arc<AtomicUsize> {
        let asked = Arc::new(AtomicUsize::new(0));
        let count = asked.clone();
        api.react(move |call| {
            let counts = call.path.ends_with("/pods");
            (counts && count.fetch_add(1, Ordering::Relaxed) >= after).then(|| status.clone())
        });
        asked
    }

    #[tokio::test]
    async fn a_refusal_ends_the_batches() {
        let bench = bench();
        let asked = refuse(&bench.api, 2, Status::failure(403, "Forbidden", "exceeded quota"));
        bench.control.create(&bench.owner, &bench.pods).await.expect_err("a refusal");
        assert_eq!(asked.load(Ordering::Relaxed), 3, "one, then two");
        let told = |event: &serde_json::Value| event["reason"] == "FailedCreate";
        bench.api.wait_for("/api/v1/namespaces/default/events", told).await;
        bench.tasks.shutdown().await;
    }

    #[tokio::test]
    async fn a_namespace_that_ends_is_no_failure() {
        let bench = bench();
        let cause = Cause { reason: "NamespaceTerminating".into(), ..Cause::default() };
        let details = Details { causes: vec![cause], ..Details::default() };
        refuse(&bench.api, 0, Status::failure(403, "Forbidden", "it ends").with_details(details));
        bench.control.create(&bench.owner, &bench.pods).await.expect("no failure");
        assert!(bench.control.is_caught_up(&bench.owner.key()));
        bench.tasks.shutdown().await;
    }

    #[tokio::test]
    async fn a_pod_that_is_another_one_by_now_counts_as_deleted() {
        let bench = bench();
        let pod = |uid: &str| json!({"metadata": {"name": "web-1", "namespace": "default", "uid": uid}});
        bench.api.put("/api/v1/namespaces/default/pods", pod("new"));
        let old = Arc::new(serde_json::from_value(pod("old")).expect("a pod"));
        bench.control.delete(&bench.owner, &[old]).await.expect("no failure");
        assert!(bench.control.is_caught_up(&bench.owner.key()));
        assert!(bench.api.get("/api/v1/namespaces/default/pods/web-1").is_some());
        bench.tasks.shutdown().await;
    }
}
