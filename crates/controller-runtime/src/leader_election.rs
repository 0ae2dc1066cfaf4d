//! One of several instances leads: the one that a Lease names.
//!
//! Who leads renews the Lease; the others take it over when they have seen it unchanged for its whole duration, by their
//! own clocks, so that clocks need not agree. Start at [`LeaderElection::acquire`].

use std::time::Duration;

use api::coordinationv1::{Lease, LeaseSpec};
use api::metav1::{MicroTime, ObjectMeta};
use client::{Api, Client, Error};
use tokio::time::Instant;

/// How long a leader that is not heard of stays one.
const LEASE: Duration = Duration::from_secs(15);
/// A leader that could not renew for so long gives up, before another one takes over.
const RENEW_MAX: Duration = Duration::from_secs(10);
/// Between two looks.
const RETRY: Duration = Duration::from_secs(2);

/// Whether it has become another's, or could not be renewed in time.
#[derive(Debug, thiserror::Error)]
#[error("the lease {0} is lost: another instance may lead")]
pub struct Lost(String);

pub struct LeaderElection {
    leases: Api<Lease>,
    name: String,
    identity: String,
    observed: Option<Observed>,
}

/// A Lease as it was first seen.
struct Observed {
    spec: LeaseSpec,
    at: Instant,
}

impl LeaderElection {
    /// `identity` is of this instance alone.
    pub fn new(client: &Client, namespace: &str, name: &str, identity: &str) -> Self {
        let leases = Api::namespaced(client, namespace);
        Self { leases, name: name.into(), identity: identity.into(), observed: None }
    }

    /// Returns once this instance leads.
    pub async fn acquire(&mut self) {
        while !self.tried().await {
            tokio::time::sleep(RETRY).await;
        }
        tracing::info!(lease = self.name, identity = self.identity, "this instance leads");
    }

    /// Leads on until that fails for too long.
    pub async fn keep(&mut self) -> Lost {
        let mut renewed = Instant::now();
        while renewed.elapsed() < RENEW_MAX {
            tokio::time::sleep(RETRY).await;
            let left = RENEW_MAX.saturating_sub(renewed.elapsed());
            match tokio::time::timeout(left, self.tried()).await {
                Ok(true) => renewed = Instant::now(),
                Ok(false) if self.is_anothers() => break,
                Ok(false) | Err(_) => {}
            }
        }
        Lost(self.name.clone())
    }

    /// Says that nobody leads, so that another instance need not wait.
    pub async fn release(&mut self) {
        let released = async {
            let mut lease = self.leases.get(&self.name).await?;
            let spec = lease.spec.get_or_insert_default();
            if spec.holder_identity.as_deref() != Some(&self.identity) {
                return Ok(());
            }
            spec.holder_identity = None;
            spec.lease_duration_seconds = Some(1);
            self.leases.update(&lease).await.map(drop)
        };
        if let Err::<(), Error>(error) = released.await {
            let error = &error as &dyn std::error::Error;
            tracing::info!(lease = self.name, error, "the lease was not given back; it ends by itself");
        }
    }

    async fn tried(&mut self) -> bool {
        self.attempt().await.unwrap_or_else(|error| {
            let error = &error as &dyn std::error::Error;
            tracing::info!(lease = self.name, error, "the lease was not written");
            false
        })
    }

    /// Whether this instance leads now.
    async fn attempt(&mut self) -> Result<bool, Error> {
        let Some(mut lease) = self.leases.get_opt(&self.name).await? else {
            let metadata = ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() };
            self.leases.create(&Lease { metadata, spec: Some(self.spec(None)) }).await?;
            return Ok(true);
        };
        let known = lease.spec.clone().unwrap_or_default();
        let at = self.seen(&known);
        if !self.may_take(&known, at) {
            return Ok(false);
        }
        lease.spec = Some(self.spec(Some(&known)));
        self.leases.update(&lease).await?;
        Ok(true)
    }

    /// Since when the Lease is as it is.
    fn seen(&mut self, spec: &LeaseSpec) -> Instant {
        match &self.observed {
            Some(observed) if observed.spec == *spec => observed.at,
            _ => {
                let at = Instant::now();
                self.observed = Some(Observed { spec: spec.clone(), at });
                at
            }
        }
    }

    fn may_take(&self, spec: &LeaseSpec, seen: Instant) -> bool {
        let holder = spec.holder_identity.as_deref().unwrap_or_default();
        let seconds = spec.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok()).unwrap_or(0);
        holder.is_empty() || holder == self.identity || seen.elapsed() >= Duration::from_secs(seconds)
    }

    fn is_anothers(&self) -> bool {
        let holder = self.observed.as_ref().and_then(|observed| observed.spec.holder_identity.as_deref());
        holder.is_some_and(|holder| !holder.is_empty() && holder != self.identity)
    }

    /// The Lease as this instance's: taken now, or renewed.
    fn spec(&self, known: Option<&LeaseSpec>) -> LeaseSpec {
        let now = MicroTime(jiff::Timestamp::now());
        let own = known.filter(|spec| spec.holder_identity.as_deref() == Some(&self.identity));
        let changes = known.and_then(|spec| spec.lease_transitions).unwrap_or(0);
        LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(LEASE.as_secs()).ok(),
            acquire_time: own.and_then(|spec| spec.acquire_time.clone()).or(Some(now.clone())),
            renew_time: Some(now),
            lease_transitions: Some(if own.is_some() || known.is_none() { changes } else { changes + 1 }),
            ..LeaseSpec::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use testkit::FakeApi;

    use super::*;

    const PATH: &str = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases";

    fn election(api: &FakeApi, identity: &str) -> LeaderElection {
        LeaderElection::new(&api.client(), "kube-system", "manager", identity)
    }

    fn lease(api: &FakeApi) -> serde_json::Value {
        api.get(&format!("{PATH}/manager")).expect("a lease")["spec"].clone()
    }

    #[tokio::test(start_paused = true)]
    async fn one_of_two_leads_until_it_is_not_heard_of_for_the_whole_duration() {
        let api = FakeApi::new();
        let (mut first, mut second) = (election(&api, "a"), election(&api, "b"));
        first.acquire().await;
        let began = Instant::now();
        second.acquire().await;
        assert!((LEASE..LEASE + RETRY).contains(&began.elapsed()), "{:?}", began.elapsed());
        assert_eq!((&lease(&api)["holderIdentity"], &lease(&api)["leaseTransitions"]), (&json!("b"), &json!(1)));
        assert_eq!(first.keep().await.to_string(), "the lease manager is lost: another instance may lead");
    }

    #[tokio::test(start_paused = true)]
    async fn who_renews_leads_on() {
        let api = FakeApi::new();
        let (mut first, mut second) = (election(&api, "a"), election(&api, "b"));
        first.acquire().await;
        let both = async { tokio::join!(first.keep(), second.acquire()) };
        tokio::time::timeout(10 * LEASE, both).await.expect_err("nothing changes");
        assert_eq!(lease(&api)["holderIdentity"], "a");
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_that_is_given_back_is_taken_at_once() {
        let api = FakeApi::new();
        let (mut first, mut second) = (election(&api, "a"), election(&api, "b"));
        first.acquire().await;
        first.release().await;
        let began = Instant::now();
        second.acquire().await;
        assert_eq!(began.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_leader_that_cannot_renew_gives_up_before_another_takes_over() {
        let api = FakeApi::new();
        let mut first = election(&api, "a");
        first.acquire().await;
        api.react(|_| Some(apimachinery::Status::internal("out of order")));
        let began = Instant::now();
        first.keep().await;
        assert!(began.elapsed() >= RENEW_MAX && began.elapsed() < LEASE, "{:?}", began.elapsed());
    }
}
