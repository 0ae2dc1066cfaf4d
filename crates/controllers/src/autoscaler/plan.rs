//! What the metrics together ask for, and how the status says so.

use api::autoscalingv2::{
    HorizontalPodAutoscalerCondition, HorizontalPodAutoscalerSpec, HorizontalPodAutoscalerStatus, MetricStatus,
};
use apimachinery::quantity::Quantity;
use jiff::Timestamp;

use super::calculator::Tolerance;
use crate::pods::seconds;

const TOLERANCE: f64 = 0.1;

/// What one metric says.
pub(super) struct Said {
    pub replicas: i32,
    pub name: String,
    pub status: MetricStatus,
}

/// Why a metric says nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Silent {
    pub reason: &'static str,
    pub message: String,
}

/// The greatest proposal. Where some are silent, no other may shrink the target.
pub(super) fn greatest(said: &[Result<Said, Silent>], current: i32) -> Result<(i32, String), Silent> {
    let silent = said.iter().filter_map(|said| said.as_ref().err()).collect::<Vec<_>>();
    let mut best: Option<&Said> = None;
    for said in said.iter().flatten() {
        if best.is_none_or(|best| said.replicas > best.replicas) {
            best = Some(said);
        }
    }
    match (best, silent.first()) {
        (Some(best), None) => Ok((best.replicas, best.name.clone())),
        (Some(best), Some(_)) if best.replicas >= current => Ok((best.replicas, best.name.clone())),
        (_, Some(first)) => Err((*first).clone()),
        (None, None) => Err(Silent { reason: "InvalidMetricSourceType", message: "no metrics".into() }),
    }
}

pub(super) fn tolerance(spec: &HorizontalPodAutoscalerSpec) -> Tolerance {
    let behavior = spec.behavior.as_ref();
    let of = |rules: Option<&api::autoscalingv2::HPAScalingRules>| {
        let wanted = rules.and_then(|rules| rules.tolerance.as_ref()?.0.parse::<Quantity>().ok());
        wanted.map_or(TOLERANCE, Quantity::as_f64)
    };
    Tolerance {
        up: of(behavior.and_then(|behavior| behavior.scale_up.as_ref())),
        down: of(behavior.and_then(|behavior| behavior.scale_down.as_ref())),
    }
}

pub(super) fn set_condition(
    status: &mut HorizontalPodAutoscalerStatus,
    kind: &str,
    is_true: bool,
    (reason, message): (&str, &str),
    now: Timestamp,
) {
    let mut wanted = HorizontalPodAutoscalerCondition {
        type_: kind.into(),
        status: if is_true { "True" } else { "False" }.into(),
        reason: Some(reason.into()),
        message: Some(message.into()),
        last_transition_time: Some(seconds(now)),
    };
    let conditions = status.conditions.get_or_insert_default();
    let Some(known) = conditions.iter_mut().find(|condition| condition.type_ == kind) else {
        conditions.push(wanted);
        return;
    };
    if known.status == wanted.status {
        wanted.last_transition_time = known.last_transition_time.clone();
    }
    *known = wanted;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(replicas: i32) -> Result<Said, Silent> {
        Ok(Said { replicas, name: format!("metric of {replicas}"), status: MetricStatus::default() })
    }

    #[test]
    fn a_silent_metric_forbids_to_shrink() {
        let silent = || Err(Silent { reason: "FailedGetResourceMetric", message: "none".into() });
        assert_eq!(greatest(&[said(3), said(5)], 4), Ok((5, "metric of 5".into())));
        assert_eq!(greatest(&[said(5), silent()], 4), Ok((5, "metric of 5".into())));
        assert!(greatest(&[said(3), silent()], 4).is_err());
        assert!(greatest(&[silent()], 4).is_err());
    }
}
