//! How many pods a metric asks for.

use std::collections::BTreeMap;
use std::sync::Arc;

use api::corev1::Pod;
use apimachinery::quantity::Quantity;
use client::Object;
use jiff::{SignedDuration, Timestamp};

use crate::pods::{condition, is_deleted, is_ready, phase};

/// What a pod uses while it starts says little.
const CPU_INITIALIZATION: SignedDuration = SignedDuration::from_mins(5);
const INITIAL_READINESS: SignedDuration = SignedDuration::from_secs(30);

/// One pod's use, in thousandths.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    pub milli: i64,
    pub time: Timestamp,
    pub window: SignedDuration,
}

pub(super) type Samples = BTreeMap<String, Sample>;

/// How far from the target is near enough.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tolerance {
    pub up: f64,
    pub down: f64,
}

impl Tolerance {
    fn covers(self, ratio: f64) -> bool {
        ratio <= 1.0 + self.up && ratio >= 1.0 - self.down
    }
}

/// What each pod is to use on average.
pub(super) enum Target {
    /// In percent of what it requests, by pod in thousandths.
    Utilization(i32, BTreeMap<String, i64>),
    Average(i64),
}

/// A number of pods, and what they use now.
#[derive(Debug, PartialEq)]
pub(super) struct Proposal {
    pub replicas: i32,
    pub utilization: Option<i32>,
    pub average: i64,
}

impl Target {
    fn ratio(&self, samples: &BTreeMap<String, i64>) -> Result<(f64, Option<i32>, i64), String> {
        let total: i64 = samples.values().sum();
        let count = i64::try_from(samples.len()).unwrap_or(1).max(1);
        match self {
            Target::Average(target) => Ok((ratio(total / count, *target), None, total / count)),
            Target::Utilization(target, requests) => {
                let known: Vec<_> = samples.iter().filter_map(|(pod, used)| Some((used, requests.get(pod)?))).collect();
                let requested: i64 = known.iter().map(|(_, requested)| **requested).sum();
                if requested == 0 {
                    return Err("no metrics returned matched known pods".into());
                }
                let used: i64 = known.iter().map(|(used, _)| **used).sum();
                let percent = used * 100 / requested;
                let average = used / i64::try_from(known.len()).unwrap_or(1).max(1);
                Ok((ratio(percent, i64::from(*target)), i32::try_from(percent).ok(), average))
            }
        }
    }

    /// What a pod without a sample is taken to use when pods are to be removed.
    fn assumed(&self, pod: &str) -> i64 {
        match self {
            Target::Average(target) => *target,
            Target::Utilization(target, requests) => {
                requests.get(pod).copied().unwrap_or(0) * i64::from((*target).max(100)) / 100
            }
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a ratio of uses is an estimate")]
pub(super) fn ratio(used: i64, target: i64) -> f64 {
    used as f64 / target as f64
}

#[expect(clippy::cast_possible_truncation, reason = "a float saturates at the bounds of the integer")]
pub(super) fn ceil(number: f64) -> i32 {
    number.ceil() as i32
}

/// Pods by what their samples are worth.
#[derive(Default)]
struct Groups<'a> {
    ready: i32,
    unready: Vec<&'a str>,
    missing: Vec<&'a str>,
    ignored: Vec<&'a str>,
}

impl<'a> Groups<'a> {
    fn of(pods: &'a [Arc<Pod>], samples: &Samples, is_cpu: bool, now: Timestamp) -> Self {
        let mut groups = Groups::default();
        for pod in pods {
            let sample = samples.get(pod.name());
            match sample {
                _ if is_deleted(&pod.metadata) || phase(pod) == "Failed" => groups.ignored.push(pod.name()),
                _ if phase(pod) == "Pending" => groups.unready.push(pod.name()),
                None => groups.missing.push(pod.name()),
                Some(sample) if is_cpu && is_starting(pod, sample, now) => groups.unready.push(pod.name()),
                Some(_) => groups.ready += 1,
            }
        }
        groups
    }
}

fn is_starting(pod: &Pod, sample: &Sample, now: Timestamp) -> bool {
    let start = pod.status.as_ref().and_then(|status| status.start_time.as_ref());
    let Some((ready, start)) = condition(pod, "Ready").zip(start) else { return true };
    let changed = ready.last_transition_time.as_ref().map_or(Timestamp::UNIX_EPOCH, |time| time.0);
    let is_down = ready.status == "False";
    if start.0 + CPU_INITIALIZATION > now {
        return is_down || sample.time < changed + sample.window;
    }
    is_down && start.0 + INITIAL_READINESS > changed
}

/// For metrics of each pod.
pub(super) fn by_pods(
    pods: &[Arc<Pod>],
    samples: &Samples,
    target: &Target,
    is_cpu: bool,
    current: i32,
    tolerance: Tolerance,
    now: Timestamp,
) -> Result<Proposal, String> {
    if pods.is_empty() {
        return Err("no pods returned by selector while calculating replica count".into());
    }
    let groups = Groups::of(pods, samples, is_cpu, now);
    let left_out = |pod: &str| groups.ignored.contains(&pod) || groups.unready.contains(&pod);
    let mut used: BTreeMap<String, i64> = BTreeMap::new();
    used.extend(samples.iter().filter(|(pod, _)| !left_out(pod)).map(|(pod, sample)| (pod.clone(), sample.milli)));
    if used.is_empty() {
        return Err("did not receive metrics for targeted pods (pods might be unready)".into());
    }
    let (first, utilization, average) = target.ratio(&used)?;
    let propose = |replicas| Proposal { replicas, utilization, average };
    let grows_with_unready = !groups.unready.is_empty() && first > 1.0;
    if !grows_with_unready && groups.missing.is_empty() {
        let keeps = tolerance.covers(first);
        return Ok(propose(if keeps { current } else { ceil(first * f64::from(groups.ready)) }));
    }
    for pod in groups.missing.iter().filter(|_| (first - 1.0).abs() > f64::EPSILON) {
        used.insert((*pod).to_owned(), if first < 1.0 { target.assumed(pod) } else { 0 });
    }
    for pod in groups.unready.iter().filter(|_| grows_with_unready) {
        used.insert((*pod).to_owned(), 0);
    }
    let (second, _, _) = target.ratio(&used)?;
    let turns = (first < 1.0 && second > 1.0) || (first > 1.0 && second < 1.0);
    let replicas = ceil(second * f64::from(i32::try_from(used.len()).unwrap_or(i32::MAX)));
    let contradicts = (second < 1.0 && replicas > current) || (second > 1.0 && replicas < current);
    Ok(propose(if turns || contradicts || tolerance.covers(second) { current } else { replicas }))
}

/// For one number of something else, to be as the target.
pub(super) fn by_value(
    pods: &[Arc<Pod>],
    used: i64,
    target: i64,
    current: i32,
    tolerance: Tolerance,
) -> Result<i32, String> {
    let ratio = ratio(used, target);
    if current == 0 {
        return Ok(ceil(ratio));
    }
    if tolerance.covers(ratio) {
        return Ok(current);
    }
    if pods.is_empty() {
        return Err(
            "unable to calculate ready pods: no pods returned by selector while calculating replica count".into()
        );
    }
    let ready = pods.iter().filter(|pod| phase(pod) == "Running" && is_ready(pod)).count();
    Ok(ceil(ratio * f64::from(i32::try_from(ready).unwrap_or(i32::MAX))))
}

/// For one number of something else, to be the target for each pod. With what that is for each pod now.
pub(super) fn by_share(used: i64, target: i64, current: i32, tolerance: Tolerance) -> (i32, i64) {
    let wanted = target.saturating_mul(i64::from(current));
    let keeps = current > 0 && tolerance.covers(ratio(used, wanted));
    let replicas = if keeps { current } else { ceil(ratio(used, target)) };
    (replicas, if current > 0 { i64::from(ceil(ratio(used, i64::from(current)))) } else { used })
}

/// What each pod requests of a resource, in thousandths: of all its containers, or of one.
pub(super) fn requests(
    pods: &[Arc<Pod>],
    resource: &str,
    container: Option<&str>,
) -> Result<BTreeMap<String, i64>, String> {
    let of_pod = |pod: &Arc<Pod>| {
        let spec = pod.spec.as_ref();
        let sidecars = spec.and_then(|spec| spec.init_containers.as_ref()).into_iter().flatten();
        let sidecars = sidecars.filter(|container| container.restart_policy.as_deref() == Some("Always"));
        let containers = spec.map(|spec| spec.containers.as_slice()).unwrap_or_default().iter().chain(sidecars);
        let mut total = 0;
        for each in containers.filter(|each| container.is_none_or(|name| name == each.name)) {
            let request = each.resources.as_ref().and_then(|resources| resources.requests.as_ref()?.get(resource));
            let Some(request) = request.and_then(|request| request.0.parse::<Quantity>().ok()) else {
                return Err(format!("missing request for {resource} in container {} of Pod {}", each.name, pod.name()));
            };
            total += request.milli_value();
        }
        Ok((pod.name().to_owned(), total))
    };
    pods.iter().map(of_pod).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const NOW: &str = "2027-01-15T08:00:00Z";

    fn pod(name: &str, phase: &str) -> Arc<Pod> {
        let ready = json!({"type": "Ready", "status": "True", "lastTransitionTime": "2027-01-15T07:00:00Z"});
        let container = json!({"name": "c", "resources": {"requests": {"cpu": "100m"}}});
        Arc::new(
            serde_json::from_value(json!({"metadata": {"name": name}, "spec": {"containers": [container]},
            "status": {"phase": phase, "startTime": "2027-01-15T06:59:00Z", "conditions": [ready]}}))
            .expect("a pod"),
        )
    }

    fn check(used: &[(&str, i64)], pods: &[Arc<Pod>], percent: i32) -> Result<(i32, Option<i32>), String> {
        let now: Timestamp = NOW.parse().expect("a time");
        let sample = |milli| Sample { milli, time: now, window: SignedDuration::from_secs(30) };
        let samples = used.iter().map(|(name, milli)| ((*name).to_owned(), sample(*milli))).collect();
        let target = Target::Utilization(percent, requests(pods, "cpu", None)?);
        let current = i32::try_from(pods.len()).expect("few");
        let tolerance = Tolerance { up: 0.1, down: 0.1 };
        let proposal = by_pods(pods, &samples, &target, true, current, tolerance, now)?;
        Ok((proposal.replicas, proposal.utilization))
    }

    #[test]
    fn pods_follow_their_use() {
        let pods = [pod("a", "Running"), pod("b", "Running")];
        assert_eq!(check(&[("a", 90), ("b", 90)], &pods, 50), Ok((4, Some(90))));
        assert_eq!(check(&[("a", 52), ("b", 52)], &pods, 50), Ok((2, Some(52))));
        assert_eq!(check(&[("a", 10), ("b", 10)], &pods, 50), Ok((1, Some(10))));
    }

    #[test]
    fn a_pod_without_a_sample_damps_both_ways() {
        let pods = [pod("a", "Running"), pod("b", "Running")];
        assert_eq!(check(&[("a", 20)], &pods, 50), Ok((2, Some(20))));
        assert_eq!(check(&[("a", 200)], &pods, 50), Ok((4, Some(200))));
        let starting = [pod("a", "Running"), pod("b", "Pending")];
        assert_eq!(check(&[("a", 110)], &starting, 50), Ok((2, Some(110))));
        assert!(check(&[], &pods, 50).is_err());
    }
}
