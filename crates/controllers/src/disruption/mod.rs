//! Says of each PodDisruptionBudget how many of its pods may be evicted.
//!
//! Reads: PodDisruptionBudgets, Pods, and how many pods their owners want.  Writes: `poddisruptionbudgets/status`, and a
//! stale condition of pods.  Does not know: who evicts.  Start at [`plan::plan`].

mod plan;
mod scale;
mod stale;

use std::sync::Arc;

use api::corev1::Pod;
use api::policyv1::{PodDisruptionBudget, PodDisruptionBudgetStatus};
use apimachinery::ObjectKey;
use async_trait::async_trait;
use client::events::{EventRecorder, reference};
use client::{Api, Client, Error, Object};
use controller_runtime::{Change, Lister, ReconcileError, Reconciler, Requeue, WorkQueue};
use rt::Clock;

use crate::Context;
use crate::ignore::ignore_not_found;
use crate::pods::matches;
use plan::Plan;
use scale::{Owners, ScaleError};

const NAME: &str = "disruption-controller";
const WORKERS: usize = 1;

pub(crate) fn start(context: &Context) {
    let client = context.client(NAME);
    let queue = WorkQueue::new();
    let (budgets, pods) = (context.informers.lister::<PodDisruptionBudget>(), context.informers.lister::<Pod>());
    let own = queue.clone();
    budgets.subscribe(move |change| own.add(change.object().key()));
    let (by_pod, known) = (queue.clone(), budgets.clone());
    pods.subscribe(move |change: &Change<Pod>| {
        for pod in change.old().into_iter().chain([change.object()]) {
            let near = known.namespace(pod.namespace()).into_iter();
            let selecting = near.filter(|budget| matches(&plan::pod_selector(budget), &pod.metadata));
            selecting.for_each(|budget| by_pod.add(budget.key()));
        }
    });
    stale::start(context, &client, &pods);
    let owners = Owners::new(&client, &context.informers);
    let owners_synced = owners.synced();
    let reconciler = DisruptionReconciler {
        events: context.events(&client, "controllermanager"),
        client,
        owners,
        budgets: budgets.clone(),
        pods: pods.clone(),
        clock: context.clock.clone(),
    };
    context.run(NAME, reconciler, queue, WORKERS, async move {
        budgets.synced().await;
        pods.synced().await;
        owners_synced.await;
    });
}

struct DisruptionReconciler {
    client: Client,
    events: EventRecorder,
    owners: Owners,
    budgets: Lister<PodDisruptionBudget>,
    pods: Lister<Pod>,
    clock: Arc<dyn Clock>,
}

#[async_trait]
impl Reconciler for DisruptionReconciler {
    type Key = ObjectKey;

    async fn reconcile(&self, key: &ObjectKey) -> Result<Requeue, ReconcileError> {
        let Some(budget) = self.budgets.get(key) else { return Ok(Requeue::AwaitChange) };
        match self.judge(&budget).await {
            Ok(plan) => {
                self.write(&budget, &plan.status).await?;
                self.tell_of(&budget, &plan);
                Ok(plan.check_again.map_or(Requeue::AwaitChange, Requeue::After))
            }
            Err(error) => {
                let message = match &error {
                    ScaleError::Unknown(message) => message.clone(),
                    ScaleError::Api(error) => error.to_string(),
                };
                let what = format!("Failed to calculate the number of expected pods: {message}");
                self.events.warning(&reference(budget.as_ref()), "CalculateExpectedPodCountFailed", what);
                self.write(&budget, &plan::failed(&budget, &message, self.clock.now())).await?;
                match error {
                    ScaleError::Unknown(_) => Ok(Requeue::AwaitChange),
                    ScaleError::Api(error) => Err(error.into()),
                }
            }
        }
    }
}

impl DisruptionReconciler {
    async fn judge(&self, budget: &PodDisruptionBudget) -> Result<Plan, ScaleError> {
        let selector = plan::pod_selector(budget);
        let pods = self.pods.matching(budget.namespace(), &selector);
        if pods.is_empty() {
            self.events.normal(&reference(budget), "NoPods", "No matching pods found");
        }
        let mut scale = None;
        if plan::needs_scale(budget) {
            let scales = self.owners.scales(&pods).await?;
            if scales.has_unmanaged {
                self.warn_of_unmanaged(budget, &selector.to_string());
            }
            scale = Some(scales.total);
        }
        Ok(plan::plan(budget, &pods, scale, self.clock.now()))
    }

    fn warn_of_unmanaged(&self, budget: &PodDisruptionBudget, selector: &str) {
        let message = format!(
            "Pods selected by this PodDisruptionBudget (selector: {selector}) were found to be unmanaged. As a result, \
             the status of the PDB cannot be calculated correctly, which may result in undefined behavior. To account \
             for these pods please set \".spec.minAvailable\" field of the PDB to an integer value."
        );
        self.events.warning(&reference(budget), "UnmanagedPods", message);
    }

    fn tell_of(&self, budget: &PodDisruptionBudget, plan: &Plan) {
        for pod in &plan.not_deleted {
            let name = format!("{}/{}", budget.namespace(), budget.name());
            let message = format!("Pod was expected by PDB {name} to be deleted but it wasn't");
            self.events.warning(&reference(pod.as_ref()), "NotDeleted", message);
        }
    }

    async fn write(&self, budget: &PodDisruptionBudget, status: &PodDisruptionBudgetStatus) -> Result<(), Error> {
        if budget.status.as_ref() == Some(status) {
            return Ok(());
        }
        let updated = PodDisruptionBudget { status: Some(status.clone()), ..budget.clone() };
        ignore_not_found(Api::namespaced(&self.client, budget.namespace()).update_status(&updated).await)
    }
}
