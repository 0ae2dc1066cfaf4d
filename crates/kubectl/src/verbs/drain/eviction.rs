//! Taking the pods away: by evictions, which a disruption budget may hold up, or by deletions.

use std::time::Duration;

use futures::stream::{FuturesUnordered, StreamExt};
use http::Method;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::filters::{DaemonSet, Judged, Rules, daemon_set_of, is_skipped, judge};
use crate::duration;
use crate::failure::{Failure, fail};
use crate::flags::Parsed;
use crate::objects::{Call, Info, Matching, members};
use crate::print::operation;
use crate::session::{FOREVER, Session};
use crate::verbs::delete::gone;
use crate::verbs::writing::DryRun;

const RETRY_DELAY: Duration = Duration::from_secs(5);

/// How nodes are drained.
pub struct Drainer<'a> {
    session: &'a Session,
    dry_run: DryRun,
    rules: Rules,
    pod_selector: String,
    chunk_size: i64,
    grace_period: i64,
    disable_eviction: bool,
    timeout: Option<Duration>,
    verbose: bool,
}

/// What became of one try.
enum Tried {
    Evicted,
    Gone,
    /// Try again, for the reason that was told.
    Later,
}

impl<'a> Drainer<'a> {
    pub async fn new(session: &'a Session, parsed: &Parsed, dry_run: DryRun) -> Result<Self, Failure> {
        let disable_eviction = parsed.on("disable-eviction");
        Ok(Self {
            session,
            dry_run,
            rules: Rules {
                force: parsed.on("force"),
                ignore_daemon_sets: parsed.on("ignore-daemonsets"),
                delete_empty_dir_data: parsed.on("delete-emptydir-data"),
                skip_terminating_after: parsed.number("skip-wait-for-delete-timeout"),
            },
            pod_selector: parsed.text("pod-selector").to_owned(),
            chunk_size: parsed.number("chunk-size"),
            grace_period: parsed.number("grace-period"),
            disable_eviction: disable_eviction || !evicts(session).await?,
            timeout: Some(parsed.duration("timeout")).filter(|timeout| !timeout.is_zero()),
            verbose: parsed.number("v") >= 2,
        })
    }

    pub async fn drain(&self, node: &str) -> Result<(), Failure> {
        let judged = self.pods_of(node).await?;
        refused(&judged)?;
        let warnings = judged.warnings();
        if !warnings.is_empty() {
            self.session.warn(&warnings);
        }
        let pods = judged.to_evict();
        if self.dry_run == DryRun::Client {
            for pod in &pods {
                self.session.streams.line(format!("evicting pod {} (dry run)", title(pod)))?;
            }
            return Ok(());
        }
        let removed = if self.disable_eviction { self.delete_all(&pods).await } else { self.evict_all(&pods).await };
        let Err(failure) = removed else { return Ok(()) };
        self.tell_pending(node, &failure).await;
        Err(failure)
    }

    async fn pods_of(&self, node: &str) -> Result<Judged, Failure> {
        let client = self.session.client()?;
        let mapping = self.session.catalog().await?.resource("pods")?;
        let matching = Matching {
            mappings: vec![mapping.clone()],
            namespace: String::new(),
            labels: self.pod_selector.clone(),
            fields: format!("spec.nodeName={node}"),
        };
        let pages = matching.pages(client, &mapping, self.chunk_size, |call| call).await?;
        let now = jiff::Timestamp::now().as_second();
        let mut judged = Judged::default();
        for info in pages.into_iter().flat_map(|page| members(&mapping, page)) {
            let daemon_set = self.daemon_set(&info).await?;
            let verdict = judge(&info.object, &self.rules, &daemon_set, now);
            judged.0.push((info.object, verdict));
        }
        Ok(judged)
    }

    async fn daemon_set(&self, pod: &Info) -> Result<DaemonSet, Failure> {
        let Some(name) = daemon_set_of(&pod.object) else { return Ok(DaemonSet::None) };
        let mapping = self.session.catalog().await?.resource("daemonsets.v1.apps")?;
        Ok(match Info::new(&mapping, &pod.namespace, name).get(self.session.client()?).await {
            Ok(_) => DaemonSet::Found,
            Err(failure) if failure.is_not_found() => DaemonSet::Missing(failure.bare()),
            Err(failure) => DaemonSet::Unreadable(failure.bare()),
        })
    }

    async fn tell_pending(&self, node: &str, failure: &Failure) {
        let streams = &self.session.streams;
        let judged = match self.pods_of(node).await {
            Ok(judged) => judged,
            Err(failure) => {
                let why = failure.bare();
                return streams.print_error(format!(
                    "Following errors occurred while getting the list of pods to delete:\n{why}"
                ));
            }
        };
        let pods = judged.to_evict();
        if !pods.is_empty() {
            let why = failure.bare();
            streams.note(format!("There are pending pods in node {node:?} when an error occurred: {why}"));
            pods.iter().for_each(|pod| streams.note(format!("pod/{}", apimachinery::object::name(pod))));
        }
        if let Err(refusals) = refused(&judged) {
            let why = refusals.bare();
            streams.print_error(format!("Following errors occurred while getting the list of pods to delete:\n{why}"));
        }
    }

    fn delete_options(&self) -> Value {
        let mut options = json!({});
        if self.grace_period >= 0 {
            options["gracePeriodSeconds"] = self.grace_period.into();
        }
        if self.dry_run == DryRun::Server {
            options["dryRun"] = json!(["All"]);
        }
        options
    }

    async fn info(&self, pod: &Value) -> Result<Info, Failure> {
        let mapping = self.session.catalog().await?.resource("pods")?;
        Ok(Info::of_object(&mapping, pod.clone()))
    }

    /// All at once.
    async fn evict_all(&self, pods: &[Value]) -> Result<(), Failure> {
        let deadline = Instant::now() + self.timeout.unwrap_or(FOREVER);
        let mut evictions: FuturesUnordered<_> = pods.iter().map(|pod| self.evict(pod, deadline)).collect();
        let mut failures = Vec::new();
        while let Some(evicted) = evictions.next().await {
            failures.extend(evicted.err());
        }
        several(failures)
    }

    async fn evict(&self, pod: &Value, deadline: Instant) -> Result<(), Failure> {
        let mut info = self.info(pod).await?;
        let suffix = if self.dry_run == DryRun::Server { " (server dry run)" } else { "" };
        loop {
            if self.verbose && self.dry_run == DryRun::No {
                self.session.streams.print(operation(&info.object, "eviction started"))?;
            }
            self.session.streams.line(format!("evicting pod {}{suffix}", title(&info.object)))?;
            if let (true, Some(timeout)) = (Instant::now() >= deadline, self.timeout) {
                let (place, timeout) = (place(&info), duration::format(timeout));
                return fail!("error when evicting {place}: global timeout reached: {timeout}");
            }
            match self.try_eviction(&info).await? {
                Tried::Gone => return Ok(()),
                Tried::Evicted => break,
                Tried::Later => tokio::time::sleep(RETRY_DELAY).await,
            }
            if let Ok(fresh) = info.get(self.session.client()?).await {
                info.object = fresh;
            }
        }
        if self.dry_run == DryRun::Server {
            return Ok(());
        }
        self.wait(&info, true, deadline).await.map_err(|failure| {
            let (name, namespace, why) = (&info.name, &info.namespace, failure.bare());
            Failure::Plain(format!(
                "error when waiting for pod {name:?} in namespace {namespace:?} to terminate: {why}"
            ))
        })
    }

    async fn try_eviction(&self, info: &Info) -> Result<Tried, Failure> {
        let eviction = json!({
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": info.name, "namespace": info.namespace},
            "deleteOptions": self.delete_options(),
        });
        let call = Call::new(Method::POST, info.path() + "/eviction").json(&eviction);
        let answer = call.value(self.session.client()?).await;
        let Err(failure) = answer.and_then(granted) else { return Ok(Tried::Evicted) };
        let (why, delay) = (failure.bare(), duration::format(RETRY_DELAY));
        if failure.is_not_found() {
            return Ok(Tried::Gone);
        }
        if failure.has_reason("TooManyRequests") {
            let place = place(info);
            self.session.streams.note(format!("error when evicting {place} (will retry after {delay}): {why}"));
            return Ok(Tried::Later);
        }
        if !namespace_ends(&failure) {
            return fail!("error when evicting {}: {why}", place(info));
        }
        if apimachinery::object::deletion_timestamp(&info.object).is_some() {
            return Ok(Tried::Evicted);
        }
        let (name, namespace) = (&info.name, &info.namespace);
        self.session.streams.note(format!(
            "error when evicting pod {name:?} from terminating namespace {namespace:?} (will retry after {delay}): {why}"
        ));
        Ok(Tried::Later)
    }

    async fn delete_all(&self, pods: &[Value]) -> Result<(), Failure> {
        let client = self.session.client()?;
        let options = self.delete_options();
        let mut infos = Vec::new();
        for pod in pods {
            let info = self.info(pod).await?;
            match Call::new(Method::DELETE, info.path()).json(&options).value(client).await {
                Err(failure) if !failure.is_not_found() => return Err(failure),
                _ => infos.push(info),
            }
            if self.verbose && self.dry_run == DryRun::No {
                self.session.streams.print(operation(pod, "deletion started"))?;
            }
        }
        if self.dry_run == DryRun::Server {
            return Ok(());
        }
        let deadline = Instant::now() + self.timeout.unwrap_or(FOREVER);
        let mut waits: FuturesUnordered<_> = infos.iter().map(|info| self.wait(info, false, deadline)).collect();
        while let Some(waited) = waits.next().await {
            waited?;
        }
        Ok(())
    }

    /// Waits until the pod has gone, or has been going for too long, and says so.
    async fn wait(&self, info: &Info, evicted: bool, deadline: Instant) -> Result<(), Failure> {
        let uid = Some(apimachinery::object::uid(&info.object)).filter(|uid| !uid.is_empty());
        let going = gone(self.session, info, uid, deadline + FOREVER);
        let result = tokio::select! {
            result = going => result,
            skipped = self.skipped(info) => return match skipped {
                Ok(()) => self.session.streams.line(format!(
                    "pod {:?} has DeletionTimestamp older than {} seconds, skipping",
                    info.name, self.rules.skip_terminating_after
                )),
                Err(failure) => Err(failure),
            },
            () = tokio::time::sleep_until(deadline) => return fail!("context deadline exceeded"),
        };
        let done = match (evicted, result.is_ok()) {
            (true, true) => "evicted",
            (true, false) => "eviction failed",
            (false, true) => "deleted",
            (false, false) => "deletion failed",
        };
        self.session.streams.print(operation(&info.object, &format!("{done}{}", self.dry_run.suffix())))?;
        result
    }

    /// Resolves when the pod has been terminating for longer than the user waits for.
    async fn skipped(&self, info: &Info) -> Result<(), Failure> {
        let object = match info.get(self.session.client()?).await {
            Ok(object) if self.rules.skip_terminating_after > 0 => object,
            _ => return std::future::pending().await,
        };
        let Some(deleted) = apimachinery::time::seconds(&object["metadata"]["deletionTimestamp"]) else {
            return std::future::pending().await;
        };
        let now = jiff::Timestamp::now().as_second();
        if !is_skipped(&object, &self.rules, now) {
            let left = deleted.saturating_add(self.rules.skip_terminating_after).saturating_add(1) - now;
            tokio::time::sleep(Duration::from_secs(u64::try_from(left).unwrap_or(0))).await;
        }
        Ok(())
    }
}

/// A server may say in the answer itself that an eviction failed: where a pod has several budgets.
fn granted(answer: Value) -> Result<Value, Failure> {
    let failed = answer["kind"] == "Status" && answer["status"] == "Failure";
    match serde_json::from_value::<apimachinery::Status>(answer.clone()) {
        Ok(status) if failed => Err(Failure::Server(Box::new(status))),
        _ => Ok(answer),
    }
}

/// Whether the server takes evictions.
async fn evicts(session: &Session) -> Result<bool, Failure> {
    let pods = session.catalog().await?.resource("pods")?;
    Ok(pods.subresources.iter().any(|name| name == "eviction"))
}

fn refused(judged: &Judged) -> Result<(), Failure> {
    several(judged.refusals().into_iter().map(Failure::Plain).collect())
}

/// Even one is told as one of several, without a word before it.
fn several(failures: Vec<Failure>) -> Result<(), Failure> {
    if failures.is_empty() { Ok(()) } else { Err(Failure::Many(failures)) }
}

fn namespace_ends(failure: &Failure) -> bool {
    let causes = failure.status().and_then(|status| status.details.as_ref()).map(|details| &details.causes);
    failure.has_reason("Forbidden")
        && causes.is_some_and(|causes| causes.iter().any(|cause| cause.reason == "NamespaceTerminating"))
}

fn title(pod: &Value) -> String {
    format!("{}/{}", apimachinery::object::namespace(pod), apimachinery::object::name(pod))
}

fn place(info: &Info) -> String {
    format!("pods/{:?} -n {:?}", info.name, info.namespace)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_in_an_answer_is_no_eviction() {
        assert!(granted(json!({"kind": "Status", "status": "Success", "code": 201})).is_ok());
        let failure = granted(json!({"kind": "Status", "status": "Failure", "message": "several", "code": 500}));
        assert_eq!(failure.unwrap_err().status().unwrap().message, "several");
    }
}
