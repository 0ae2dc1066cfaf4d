//! Says of each ValidatingAdmissionPolicy what is wrong with its expressions for the kinds that it is about.
//!
//! Reads: ValidatingAdmissionPolicies, CustomResourceDefinitions.  Writes: `validatingadmissionpolicies/status`.
//! Does not know: requests; what a policy does is not changed by what is said of it.  Start at [`plan::plan`].

mod kinds;
mod plan;

use api::admissionregistrationv1::ValidatingAdmissionPolicy;
use api::apiextensionsv1::CustomResourceDefinition;
use apimachinery::ObjectKey;
use async_trait::async_trait;
use client::{Api, Client, Object};
use controller_runtime::{Lister, ReconcileError, Reconciler, Requeue, WorkQueue};
use serde_json::{Value, json};

use crate::Context;
use crate::ignore::ignore_not_found;
use kinds::Kinds;

/// Also the manager of the fields that it writes.
const NAME: &str = "validatingadmissionpolicy-status-controller";
const WORKERS: usize = 5;

pub(crate) fn start(context: &Context) {
    let policies = context.informers.lister::<ValidatingAdmissionPolicy>();
    let definitions = context.informers.lister::<CustomResourceDefinition>();
    let queue = WorkQueue::new();
    let own = queue.clone();
    policies.subscribe(move |change| own.add(change.object().key()));
    let reconciler =
        PolicyReconciler { client: context.client(NAME), policies: policies.clone(), definitions: definitions.clone() };
    context.run(NAME, reconciler, queue, WORKERS, async move {
        policies.synced().await;
        definitions.synced().await;
    });
}

struct PolicyReconciler {
    client: Client,
    policies: Lister<ValidatingAdmissionPolicy>,
    definitions: Lister<CustomResourceDefinition>,
}

#[async_trait]
impl Reconciler for PolicyReconciler {
    type Key = ObjectKey;

    async fn reconcile(&self, key: &ObjectKey) -> Result<Requeue, ReconcileError> {
        let Some(policy) = self.policies.get(key) else { return Ok(Requeue::AwaitChange) };
        let Some(generation) = unobserved(&policy) else { return Ok(Requeue::AwaitChange) };
        let warnings = plan::plan(&policy, &Kinds::new(&self.definitions.list()));
        let api = Api::<ValidatingAdmissionPolicy>::all(&self.client);
        ignore_not_found(api.apply_status(&key.name, NAME, &configuration(&key.name, generation, &warnings)).await)?;
        Ok(Requeue::AwaitChange)
    }
}

/// The generation of which the status does not speak yet.
fn unobserved(policy: &ValidatingAdmissionPolicy) -> Option<i64> {
    let observed = policy.status.as_ref().and_then(|status| status.observed_generation).unwrap_or(0);
    policy.metadata.generation.filter(|generation| *generation > observed)
}

fn configuration(name: &str, generation: i64, warnings: &[plan::Warning]) -> Value {
    let mut checking = json!({});
    if !warnings.is_empty() {
        let told = warnings.iter().map(|warning| json!({"fieldRef": warning.field, "warning": warning.text}));
        checking["expressionWarnings"] = told.collect();
    }
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": name},
        "status": {"observedGeneration": generation, "typeChecking": checking},
    })
}
