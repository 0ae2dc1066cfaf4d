//! Keeps each ReplicationController at its replica count: a ReplicaSet's elder, with the same plan.
//!
//! Reads: ReplicationControllers, Pods (owned or adoptable).  Writes: Pods, `replicationcontrollers/status`.
//! Does not know: nodes, why it was woken.  Start at [`as_set`]; the decisions are [`crate::replica_set::plan`]'s.

use std::sync::Arc;

use api::appsv1::{ReplicaSet, ReplicaSetCondition, ReplicaSetSpec, ReplicaSetStatus};
use api::corev1::{Pod, ReplicationController, ReplicationControllerCondition, ReplicationControllerStatus};
use api::k8s::Resource;
use api::metav1::LabelSelector;
use apimachinery::ObjectKey;
use apimachinery::labels::Selector;
use async_trait::async_trait;
use client::{Api, Client, Error, Object};
use controller_runtime::{Lister, ReconcileError, Reconciler, Requeue, WorkQueue};
use rt::Clock;

use crate::Context;
use crate::ignore::ignore_not_found;
use crate::ownership::{candidates, claim, reference, wake_owners};
use crate::pod_control::PodControl;
use crate::pods::is_deleted;
use crate::replica_set::plan::{self, Plan};

const NAME: &str = "replication-controller";
const WORKERS: usize = 2;

pub(crate) fn start(context: &Context) {
    let client = context.client(NAME);
    let queue = WorkQueue::new();
    let (controllers, pods) = (context.informers.lister::<ReplicationController>(), context.informers.lister::<Pod>());
    let pod_control = PodControl::new(&client, context.events(&client, NAME), &pods, ReplicationController::KIND);
    let own = queue.clone();
    controllers.subscribe(move |change| own.add(change.object().key()));
    wake_owners(&pods, &controllers, pod_selector, &queue);
    let reconciler = ReplicationReconciler {
        client,
        pod_control,
        controllers: controllers.clone(),
        pods: pods.clone(),
        clock: context.clock.clone(),
    };
    context.run("replicationcontroller-controller", reconciler, queue, WORKERS, async move {
        controllers.synced().await;
        pods.synced().await;
    });
}

/// The ReplicaSet that wants the same.
fn as_set(controller: &ReplicationController) -> ReplicaSet {
    let spec = controller.spec.clone().unwrap_or_default();
    let selector = LabelSelector { match_labels: spec.selector, match_expressions: None };
    ReplicaSet {
        metadata: controller.metadata.clone(),
        spec: Some(ReplicaSetSpec {
            replicas: spec.replicas,
            min_ready_seconds: spec.min_ready_seconds,
            selector,
            template: spec.template,
        }),
        status: controller.status.clone().map(set_status),
    }
}

fn set_status(status: ReplicationControllerStatus) -> ReplicaSetStatus {
    let condition = |condition: ReplicationControllerCondition| ReplicaSetCondition {
        type_: condition.type_,
        status: condition.status,
        reason: condition.reason,
        message: condition.message,
        last_transition_time: condition.last_transition_time,
    };
    ReplicaSetStatus {
        replicas: status.replicas,
        fully_labeled_replicas: status.fully_labeled_replicas,
        ready_replicas: status.ready_replicas,
        available_replicas: status.available_replicas,
        observed_generation: status.observed_generation,
        terminating_replicas: None,
        conditions: status.conditions.map(|conditions| conditions.into_iter().map(condition).collect()),
    }
}

fn controller_status(status: ReplicaSetStatus) -> ReplicationControllerStatus {
    let condition = |condition: ReplicaSetCondition| ReplicationControllerCondition {
        type_: condition.type_,
        status: condition.status,
        reason: condition.reason,
        message: condition.message,
        last_transition_time: condition.last_transition_time,
    };
    ReplicationControllerStatus {
        replicas: status.replicas,
        fully_labeled_replicas: status.fully_labeled_replicas,
        ready_replicas: status.ready_replicas,
        available_replicas: status.available_replicas,
        observed_generation: status.observed_generation,
        conditions: status.conditions.map(|conditions| conditions.into_iter().map(condition).collect()),
    }
}

/// An empty selector is nobody's: it would take every pod.
fn pod_selector(controller: &ReplicationController) -> Selector {
    let labels = controller.spec.as_ref().and_then(|spec| spec.selector.as_ref());
    match labels {
        Some(labels) if !labels.is_empty() => plan::pod_selector(&as_set(controller)),
        _ => Selector::nothing(),
    }
}

struct ReplicationReconciler {
    client: Client,
    pod_control: PodControl,
    controllers: Lister<ReplicationController>,
    pods: Lister<Pod>,
    clock: Arc<dyn Clock>,
}

#[async_trait]
impl Reconciler for ReplicationReconciler {
    type Key = ObjectKey;

    async fn reconcile(&self, key: &ObjectKey) -> Result<Requeue, ReconcileError> {
        let Some(controller) = self.controllers.get(key) else {
            self.pod_control.forget(key);
            return Ok(Requeue::AwaitChange);
        };
        let caught_up = self.pod_control.is_caught_up(key);
        let api = Api::namespaced(&self.client, controller.namespace());
        let selector = pod_selector(&controller);
        let near = candidates(&self.pods, controller.as_ref(), &selector);
        let pods = claim(&api, controller.as_ref(), &selector, near).await?;
        let set = as_set(&controller);
        let plan = plan::plan(&set, &pods, self.clock.now());
        let mut failure = None;
        if caught_up && !is_deleted(&controller.metadata) {
            failure = self.apply(&controller, &set, &plan).await.err();
        }
        self.write_status(&controller, &plan, failure.as_ref()).await?;
        match (failure, plan.next_available) {
            (Some(error), _) => Err(error.into()),
            (None, Some(wait)) => Ok(Requeue::After(wait)),
            (None, None) => Ok(Requeue::AwaitChange),
        }
    }
}

impl ReplicationReconciler {
    async fn apply(&self, controller: &ReplicationController, set: &ReplicaSet, plan: &Plan) -> Result<(), Error> {
        let mut pod = plan::new_pod(set);
        pod.metadata.owner_references = Some(vec![reference(controller)]);
        self.pod_control.create(controller, &vec![pod; plan.create]).await?;
        self.pod_control.delete(controller, &plan.delete).await
    }

    async fn write_status(
        &self,
        controller: &ReplicationController,
        plan: &Plan,
        failure: Option<&Error>,
    ) -> Result<(), Error> {
        let failure = failure.map(|error| plan::failure(plan, error.to_string(), self.clock.now()));
        let status = controller_status(plan::with_failure(plan.status.clone(), failure));
        if controller.status.as_ref() == Some(&status) {
            return Ok(());
        }
        let updated = ReplicationController { status: Some(status), ..controller.clone() };
        ignore_not_found(Api::namespaced(&self.client, controller.namespace()).update_status(&updated).await)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;
    use serde_json::json;

    #[test]
    fn a_replication_controller_is_planned_as_a_replica_set() {
        let controller: ReplicationController = serde_json::from_value(json!({
            "metadata": {"name": "web", "namespace": "default", "uid": "u", "generation": 2},
            "spec": {"replicas": 3, "selector": {"app": "web"}, "template": {"metadata": {"labels": {"app": "web"}}}},
        }))
        .expect("a controller");
        let plan = plan::plan(&as_set(&controller), &[], jiff::Timestamp::UNIX_EPOCH);
        let status = serde_json::to_string(&controller_status(plan.status)).expect("JSON");
        expect![[r#"create 3 {"observedGeneration":2,"replicas":0}"#]]
            .assert_eq(&format!("create {} {status}", plan.create));
    }

    #[test]
    fn an_empty_selector_takes_no_pods() {
        let controller = ReplicationController::default();
        assert!(!crate::pods::matches(&pod_selector(&controller), &controller.metadata));
    }
}
