//! How long a Job waits before it replaces a pod that failed.

use api::corev1::{ContainerStateTerminated, Pod};
use jiff::{SignedDuration, Timestamp};
use std::time::Duration;

const FIRST: Duration = Duration::from_secs(10);
const MAX: Duration = Duration::from_mins(10);

/// The failures of a Job's pods since one succeeded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Backoff {
    pub failures: u32,
    pub last_failure: Option<Timestamp>,
}

impl Backoff {
    /// After pods have finished that were not known as finished before.
    pub fn after<'a>(
        self,
        succeeded: impl IntoIterator<Item = &'a Pod>,
        failed: impl IntoIterator<Item = &'a Pod>,
    ) -> Backoff {
        let last_success = succeeded.into_iter().map(finished_at).max();
        let mut next = if last_success.is_some() { Backoff::default() } else { self };
        for failure in failed.into_iter().map(finished_at).filter(|at| last_success.is_none_or(|success| *at > success))
        {
            next.failures += 1;
            next.last_failure = next.last_failure.max(Some(failure));
        }
        next
    }

    /// `None`: not at all.
    pub fn remaining(&self, now: Timestamp) -> Option<Duration> {
        remaining(self.failures, self.last_failure?, now)
    }
}

/// What is left of the pause after so many failures.
pub(super) fn remaining(failures: u32, last: Timestamp, now: Timestamp) -> Option<Duration> {
    let doublings = failures.checked_sub(1)?;
    let pause = 2u32.checked_pow(doublings).and_then(|factor| FIRST.checked_mul(factor)).unwrap_or(MAX).min(MAX);
    let end = last + SignedDuration::try_from(pause).unwrap_or_default();
    Duration::try_from(end - now).ok().filter(|left| !left.is_zero())
}

/// When the pod's last container ended; where that is not known, when it was found not ready, or deleted, or created.
pub(super) fn finished_at(pod: &Pod) -> Timestamp {
    let ends = pod.status.as_ref().and_then(|status| status.container_statuses.as_ref()).and_then(|statuses| {
        let end = |terminated: &ContainerStateTerminated| terminated.finished_at.as_ref().map(|time| time.0);
        let ends = statuses.iter().map(|status| status.state.as_ref()?.terminated.as_ref().and_then(end));
        ends.collect::<Option<Vec<_>>>()?.into_iter().max()
    });
    let not_ready = crate::pods::condition(pod, "Ready").filter(|ready| ready.status == "False");
    ends.or_else(|| Some(not_ready?.last_transition_time.as_ref()?.0))
        .or_else(|| deletion_began(pod))
        .or_else(|| Some(pod.metadata.creation_timestamp.as_ref()?.0))
        .unwrap_or(Timestamp::UNIX_EPOCH)
}

fn deletion_began(pod: &Pod) -> Option<Timestamp> {
    let end = pod.metadata.deletion_timestamp.as_ref()?.0;
    Some(end - SignedDuration::from_secs(pod.metadata.deletion_grace_period_seconds.unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("in range")
    }

    fn pod(finished: i64) -> Pod {
        let state = json!({"terminated": {"exitCode": 1, "finishedAt": at(finished).to_string()}});
        let status =
            json!({"name": "c", "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": state});
        serde_json::from_value(json!({"metadata": {}, "status": {"containerStatuses": [status]}})).expect("a pod")
    }

    #[test]
    fn the_pause_doubles_up_to_ten_minutes() {
        let left = |failures| remaining(failures, at(100), at(101)).map(|left| left.as_secs());
        assert_eq!([0, 1, 2, 3, 7, 40].map(left), [None, Some(9), Some(19), Some(39), Some(599), Some(599)]);
        assert_eq!(remaining(1, at(100), at(110)), None);
    }

    #[test]
    fn a_success_forgets_the_failures_before_it() {
        let after = Backoff::default().after([], [&pod(10), &pod(12)]);
        assert_eq!(after, Backoff { failures: 2, last_failure: Some(at(12)) });
        let later = after.after([&pod(20)], [&pod(19), &pod(21)]);
        assert_eq!(later, Backoff { failures: 1, last_failure: Some(at(21)) });
    }
}
