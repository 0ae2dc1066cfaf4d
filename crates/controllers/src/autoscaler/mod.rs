//! Scales targets by their metrics.
//!
//! Reads: HorizontalPodAutoscalers, Pods, scales, the metrics APIs.  Writes: scales,
//! `horizontalpodautoscalers/status`.  Does not know: what it scales.  Start at [`plan::greatest`], then
//! [`behavior::limit`].

mod behavior;
mod calculator;
mod metrics;
mod plan;
mod target;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use api::autoscalingv2::{
    ContainerResourceMetricStatus, ExternalMetricStatus, HorizontalPodAutoscaler, HorizontalPodAutoscalerStatus,
    MetricSpec, MetricStatus, MetricTarget, MetricValueStatus, ObjectMetricStatus, PodsMetricStatus,
    ResourceMetricStatus,
};
use api::corev1::Pod;
use api::k8s::apimachinery::pkg::api::resource::Quantity as WireQuantity;
use apimachinery::ObjectKey;
use apimachinery::labels::Selector;
use apimachinery::quantity::{Format, Quantity};
use async_trait::async_trait;
use client::events::{EventRecorder, reference};
use client::{Api, Client, Error, Object};
use controller_runtime::{Change, Lister, ReconcileError, Reconciler, Requeue, WorkQueue};
use jiff::Timestamp;
use parking_lot::Mutex;
use rt::Clock;

use crate::Context;
use crate::ignore::ignore_gone;
use crate::pods::seconds;
use behavior::Memory;
use calculator::{Proposal, Samples, Target as Wanted, Tolerance};
use metrics::Metrics;
use plan::{Said, Silent, set_condition};
use target::{Target, Targets};

const NAME: &str = "horizontal-pod-autoscaler";
const WORKERS: usize = 2;
/// Metrics are asked for; nobody tells of their change.
const SYNC_PERIOD: Duration = Duration::from_secs(15);

pub(crate) fn start(context: &Context) {
    let client = context.client(NAME);
    let queue = WorkQueue::new();
    let autoscalers = context.informers.lister::<HorizontalPodAutoscaler>();
    let pods = context.informers.lister::<Pod>();
    let own = queue.clone();
    autoscalers.subscribe(move |change| {
        // Its own status is no news.
        if !matches!(change, Change::Updated { old, new } if old.spec == new.spec) {
            own.add(change.object().key());
        }
    });
    let reconciler = AutoscalerReconciler {
        events: context.events(&client, NAME),
        metrics: Metrics::new(&client),
        targets: Targets::new(&client),
        client,
        memories: Mutex::default(),
        autoscalers: autoscalers.clone(),
        pods: pods.clone(),
        clock: context.clock.clone(),
    };
    context.run(NAME, reconciler, queue, WORKERS, async move {
        autoscalers.synced().await;
        pods.synced().await;
    });
}

struct AutoscalerReconciler {
    client: Client,
    events: EventRecorder,
    metrics: Metrics,
    targets: Targets,
    memories: Mutex<HashMap<ObjectKey, Memory>>,
    autoscalers: Lister<HorizontalPodAutoscaler>,
    pods: Lister<Pod>,
    clock: Arc<dyn Clock>,
}

/// What one pass knows.
struct Pass<'a> {
    autoscaler: &'a HorizontalPodAutoscaler,
    selector: String,
    pods: Vec<Arc<Pod>>,
    /// As wanted, and as it is.
    current: i32,
    observed: i32,
    tolerance: Tolerance,
    now: Timestamp,
}

#[async_trait]
impl Reconciler for AutoscalerReconciler {
    type Key = ObjectKey;

    async fn reconcile(&self, key: &ObjectKey) -> Result<Requeue, ReconcileError> {
        let Some(autoscaler) = self.autoscalers.get(key) else {
            self.memories.lock().remove(key);
            return Ok(Requeue::AwaitChange);
        };
        let mut status = autoscaler.status.clone().unwrap_or_default();
        self.sync(&autoscaler, &mut status).await;
        self.write(&autoscaler, status).await?;
        Ok(Requeue::After(SYNC_PERIOD))
    }
}

impl AutoscalerReconciler {
    async fn sync(&self, autoscaler: &HorizontalPodAutoscaler, status: &mut HorizontalPodAutoscalerStatus) {
        let (now, about) = (self.clock.now(), reference(autoscaler));
        let spec = &autoscaler.spec;
        let target = match self.targets.get(autoscaler.namespace(), &spec.scale_target_ref).await {
            Ok(target) => target,
            Err(error) => {
                let message = format!("the HPA controller was unable to get the target's current scale: {error}");
                self.events.warning(&about, "FailedGetScale", error);
                return set_condition(status, "AbleToScale", false, ("FailedGetScale", &message), now);
            }
        };
        let got = ("SucceededGetScale", "the HPA controller was able to get the target's current scale");
        set_condition(status, "AbleToScale", true, got, now);
        let current = target.scale.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(0);
        let min = spec.min_replicas.unwrap_or(1);
        status.current_replicas = Some(current);
        let (wanted, why) = if current == 0 && min != 0 {
            let disabled = ("ScalingDisabled", "scaling is disabled since the replica count of the target is zero");
            set_condition(status, "ScalingActive", false, disabled, now);
            (current, String::new())
        } else if current > spec.max_replicas {
            (spec.max_replicas, "Current number of replicas above Spec.MaxReplicas".into())
        } else if current < min {
            (min, "Current number of replicas below Spec.MinReplicas".into())
        } else {
            let Some(judged) = self.by_metrics(autoscaler, &target, current, status).await else { return };
            judged
        };
        status.desired_replicas = current;
        if wanted != current {
            self.rescale(autoscaler, &target, (current, wanted), &why, status).await;
        }
    }

    /// How many the metrics want, and why. `None`: they cannot be had, as the status says now.
    async fn by_metrics(
        &self,
        autoscaler: &HorizontalPodAutoscaler,
        target: &Target,
        current: i32,
        status: &mut HorizontalPodAutoscalerStatus,
    ) -> Option<(i32, String)> {
        let (now, about) = (self.clock.now(), reference(autoscaler));
        let spec = &autoscaler.spec;
        let selector = target.scale.status.as_ref().and_then(|status| status.selector.clone()).unwrap_or_default();
        let Some(parsed) = Selector::parse(&selector).ok().filter(|_| !selector.is_empty()) else {
            self.events.warning(&about, "SelectorRequired", "selector is required");
            let missing = ("InvalidSelector", "the HPA target's scale is missing a selector");
            set_condition(status, "ScalingActive", false, missing, now);
            return None;
        };
        let pass = Pass {
            autoscaler,
            selector,
            pods: self.pods.matching(autoscaler.namespace(), &parsed),
            current,
            observed: target.scale.status.as_ref().map_or(current, |status| status.replicas),
            tolerance: plan::tolerance(spec),
            now,
        };
        let (mut said, total) = (Vec::new(), spec.metrics.iter().flatten().count());
        for metric in spec.metrics.iter().flatten() {
            said.push(self.ask(&pass, metric).await);
        }
        let known: Vec<MetricStatus> = said.iter().flatten().map(|said| said.status.clone()).collect();
        status.current_metrics = (!known.is_empty()).then_some(known);
        let silent = said.iter().filter(|said| said.is_err()).count();
        for silent in said.iter().filter_map(|said| said.as_ref().err()) {
            self.events.warning(&about, silent.reason, silent.message.as_str());
        }
        match plan::greatest(&said, current) {
            Err(first) => {
                let message = format!("the HPA was unable to compute the replica count: {}", first.message);
                set_condition(status, "ScalingActive", false, (first.reason, &message), now);
                let why =
                    format!("invalid metrics ({silent} invalid out of {total}), first error is: {}", first.message);
                self.events.warning(&about, "FailedComputeMetricsReplicas", why);
                None
            }
            Ok((wanted, name)) => {
                let message = format!("the HPA was able to successfully calculate a replica count from {name}");
                set_condition(status, "ScalingActive", true, ("ValidMetricFound", &message), now);
                let mut memories = self.memories.lock();
                let memory = memories.entry(autoscaler.key()).or_default();
                let limited = behavior::limit(spec, memory, current, wanted, now);
                set_condition(status, "AbleToScale", true, limited.able, now);
                set_condition(status, "ScalingLimited", limited.is_limited, limited.limit, now);
                let why =
                    if wanted > current { format!("{name} above target") } else { "All metrics below target".into() };
                Some((limited.replicas, why))
            }
        }
    }

    async fn rescale(
        &self,
        autoscaler: &HorizontalPodAutoscaler,
        target: &Target,
        (current, wanted): (i32, i32),
        why: &str,
        status: &mut HorizontalPodAutoscalerStatus,
    ) {
        let (now, about) = (self.clock.now(), reference(autoscaler));
        let what = format!("New size: {wanted}; reason: {why}");
        if let Err(error) = self.targets.set(target, wanted).await {
            self.events.warning(&about, "FailedRescale", format!("{what}; error: {error}"));
            let message = format!("the HPA controller was unable to update the target scale: {error}");
            return set_condition(status, "AbleToScale", false, ("FailedUpdateScale", &message), now);
        }
        let message = format!("the HPA controller was able to update the target scale to {wanted}");
        set_condition(status, "AbleToScale", true, ("SucceededRescale", &message), now);
        self.events.normal(&about, "SuccessfulRescale", what);
        status.desired_replicas = wanted;
        status.last_scale_time = Some(seconds(now));
        let mut memories = self.memories.lock();
        memories.entry(autoscaler.key()).or_default().note(now, current, wanted);
    }

    async fn ask(&self, pass: &Pass<'_>, metric: &MetricSpec) -> Result<Said, Silent> {
        let (reason, what) = match metric.type_.as_str() {
            "Resource" => ("FailedGetResourceMetric", "resource metric value"),
            "ContainerResource" => ("FailedGetContainerResourceMetric", "container metric value"),
            "Pods" => ("FailedGetPodsMetric", "pods metric value"),
            "Object" => ("FailedGetObjectMetric", "object metric value"),
            _ => ("FailedGetExternalMetric", "external metric value"),
        };
        let said = match metric.type_.as_str() {
            "Resource" | "ContainerResource" => self.ask_resource(pass, metric).await,
            "Pods" => self.ask_pods(pass, metric).await,
            _ => self.ask_value(pass, metric).await,
        };
        said.map_err(|message| Silent { reason, message: format!("failed to get {what}: {message}") })
    }

    async fn ask_resource(&self, pass: &Pass<'_>, metric: &MetricSpec) -> Result<Said, String> {
        let of_pod = metric.resource.as_ref().map(|source| (&source.name, &source.target, None));
        let of_one = metric.container_resource.as_ref();
        let of_one = of_one.map(|source| (&source.name, &source.target, Some(source.container.as_str())));
        let (name, target, container) = of_pod.or(of_one).ok_or("the metric has no source")?;
        let namespace = pass.autoscaler.namespace();
        let wanted = match (milli(target.average_value.as_ref()), target.average_utilization) {
            (Some(average), _) => Wanted::Average(average),
            (None, Some(percent)) => Wanted::Utilization(percent, calculator::requests(&pass.pods, name, container)?),
            (None, None) => return Err("invalid resource metric source: neither an average utilization target nor an average value (usage) target was set".into()),
        };
        let kind = if target.average_value.is_some() { "usage" } else { "utilization" };
        let samples = self.metrics.resource(namespace, &pass.selector, name, container).await;
        let samples = samples.map_err(|error| {
            format!("failed to get {name} {kind}: unable to get metrics for resource {name}: {error}")
        })?;
        let proposal = pass.by_pods(&samples, &wanted, name == "cpu")?;
        let current = MetricValueStatus {
            average_utilization: proposal.utilization,
            average_value: Some(quantity(proposal.average)),
            value: None,
        };
        let mut status = MetricStatus { type_: metric.type_.clone(), ..MetricStatus::default() };
        match container {
            None => status.resource = Some(ResourceMetricStatus { name: name.clone(), current }),
            Some(container) => {
                let container = container.to_owned();
                status.container_resource =
                    Some(ContainerResourceMetricStatus { name: name.clone(), container, current });
            }
        }
        let said = match (container, kind) {
            (_, "usage") => format!("{name} resource"),
            (None, _) => format!("{name} resource utilization (percentage of request)"),
            (Some(_), _) => format!("{name} container resource utilization (percentage of request)"),
        };
        Ok(Said { replicas: proposal.replicas, name: said, status })
    }

    async fn ask_pods(&self, pass: &Pass<'_>, metric: &MetricSpec) -> Result<Said, String> {
        let source = metric.pods.as_ref().ok_or("the metric has no source")?;
        let average = milli(source.target.average_value.as_ref()).ok_or("the metric has no target")?;
        let samples = self.metrics.pods(pass.autoscaler.namespace(), &pass.selector, &source.metric).await;
        let samples = samples.map_err(|error| format!("unable to get metric {}: {error}", source.metric.name))?;
        let proposal = pass.by_pods(&samples, &Wanted::Average(average), false)?;
        let current = MetricValueStatus { average_value: Some(quantity(proposal.average)), ..Default::default() };
        let pods = Some(PodsMetricStatus { metric: source.metric.clone(), current });
        let status = MetricStatus { type_: metric.type_.clone(), pods, ..MetricStatus::default() };
        Ok(Said { replicas: proposal.replicas, name: format!("pods metric {}", source.metric.name), status })
    }

    /// One number of an object, or of something outside.
    async fn ask_value(&self, pass: &Pass<'_>, metric: &MetricSpec) -> Result<Said, String> {
        let namespace = pass.autoscaler.namespace();
        let mut status = MetricStatus { type_: metric.type_.clone(), ..MetricStatus::default() };
        if let Some(source) = &metric.object {
            let object = &source.described_object;
            let used = self.metrics.object(namespace, object, &source.metric).await.map_err(|error| {
                let (name, kind) = (&source.metric.name, &object.kind);
                format!("unable to get metric {name}: {kind} on {namespace} {}/{error}", object.name)
            })?;
            let (replicas, current) = pass.by_value(used, &source.target)?;
            let (described_object, metric) = (object.clone(), source.metric.clone());
            let name = format!("{} metric {}", object.kind, metric.name);
            status.object = Some(ObjectMetricStatus { described_object, metric, current });
            return Ok(Said { replicas, name, status });
        }
        let source = metric.external.as_ref().ok_or("the metric has no source")?;
        let used = self.metrics.external(namespace, &source.metric).await;
        let name = &source.metric.name;
        let used = used.map_err(|error| format!("unable to get external metric {namespace}/{name}: {error}"))?;
        let (replicas, current) = pass.by_value(used, &source.target)?;
        let name = format!("external metric {name}");
        status.external = Some(ExternalMetricStatus { metric: source.metric.clone(), current });
        Ok(Said { replicas, name, status })
    }

    async fn write(
        &self,
        autoscaler: &HorizontalPodAutoscaler,
        status: HorizontalPodAutoscalerStatus,
    ) -> Result<(), Error> {
        if autoscaler.status.as_ref() == Some(&status) {
            return Ok(());
        }
        let updated = HorizontalPodAutoscaler { status: Some(status), ..autoscaler.clone() };
        ignore_gone(Api::namespaced(&self.client, autoscaler.namespace()).update_status(&updated).await)
    }
}

impl Pass<'_> {
    fn by_pods(&self, samples: &Samples, wanted: &Wanted, is_cpu: bool) -> Result<Proposal, String> {
        calculator::by_pods(&self.pods, samples, wanted, is_cpu, self.current, self.tolerance, self.now)
    }

    fn by_value(&self, used: i64, target: &MetricTarget) -> Result<(i32, MetricValueStatus), String> {
        if let Some(share) = milli(target.average_value.as_ref()) {
            let (replicas, average) = calculator::by_share(used, share, self.observed, self.tolerance);
            return Ok((replicas, MetricValueStatus { average_value: Some(quantity(average)), ..Default::default() }));
        }
        let value = milli(target.value.as_ref()).ok_or("neither a value target nor an average value target was set")?;
        let replicas = calculator::by_value(&self.pods, used, value, self.current, self.tolerance)?;
        Ok((replicas, MetricValueStatus { value: Some(quantity(used)), ..Default::default() }))
    }
}

fn milli(quantity: Option<&WireQuantity>) -> Option<i64> {
    Some(quantity?.0.parse::<Quantity>().ok()?.milli_value())
}

fn quantity(milli: i64) -> WireQuantity {
    WireQuantity(Quantity::from_milli(milli, Format::DecimalSi).to_string())
}
