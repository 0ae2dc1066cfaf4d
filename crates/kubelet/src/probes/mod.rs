//! Probes: each in a task of its own, which tells the pod's worker when the verdict changes. Start at [`run`].

pub mod exec;
mod grpc;
pub mod http;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use api::corev1::{Container, Probe};
use api::k8s::apimachinery::pkg::util::intstr::IntOrString;
use client::events::EventType;
use rand::Rng;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::context::{Context, pod_reference};
use crate::hooks::address;
use crate::pods::model::uid;
use crate::start::Place;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Startup,
    Liveness,
    Readiness,
}

impl Kind {
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Startup => "Startup",
            Kind::Liveness => "Liveness",
            Kind::Readiness => "Readiness",
        }
    }

    pub fn of(self, container: &Container) -> Option<&Probe> {
        match self {
            Kind::Startup => container.startup_probe.as_ref(),
            Kind::Liveness => container.liveness_probe.as_ref(),
            Kind::Readiness => container.readiness_probe.as_ref(),
        }
    }
}

/// A changed verdict about one instance of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    pub container: String,
    pub id: String,
    pub kind: Kind,
    pub passes: bool,
}

/// Numbers of a probe with their defaults; a zero means the default, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Pace {
    initial_delay: Duration,
    period: Duration,
    timeout: Duration,
    successes: u32,
    failures: u32,
}

impl Pace {
    fn of(probe: &Probe) -> Pace {
        let number = |value: Option<i32>, default: u32| {
            value.and_then(|value| u32::try_from(value).ok()).filter(|value| *value > 0).unwrap_or(default)
        };
        let seconds = |value, default| Duration::from_secs(u64::from(number(value, default)));
        Pace {
            initial_delay: seconds(probe.initial_delay_seconds, 0),
            period: seconds(probe.period_seconds, 10),
            timeout: seconds(probe.timeout_seconds, 1),
            successes: number(probe.success_threshold, 1),
            failures: number(probe.failure_threshold, 3),
        }
    }
}

/// Counts results until a threshold makes them a verdict. Pure.
#[derive(Debug, Default)]
struct Counter {
    last: Option<bool>,
    run: u32,
    verdict: Option<bool>,
}

impl Counter {
    /// The verdict, when this result changes it.
    fn count(&mut self, passes: bool, pace: Pace) -> Option<bool> {
        self.run = if self.last == Some(passes) { self.run + 1 } else { 1 };
        self.last = Some(passes);
        let enough = if passes { pace.successes } else { pace.failures };
        if self.run < enough || self.verdict == Some(passes) {
            return None;
        }
        self.verdict = Some(passes);
        self.verdict
    }
}

/// Probes one instance until the task is cancelled.
pub async fn run(
    context: Arc<Context>,
    place: Place,
    container: Container,
    id: String,
    kind: Kind,
    verdicts: mpsc::Sender<Verdict>,
) {
    let Some(probe) = kind.of(&container) else { return };
    let pace = Pace::of(probe);
    // All containers of a restarted node would be probed in step otherwise.
    let jitter = if pace.initial_delay.is_zero() {
        Duration::ZERO
    } else {
        pace.period.mul_f64(rand::rng().random_range(0.0..0.1))
    };
    tokio::time::sleep(pace.initial_delay + jitter).await;
    let mut ticks = tokio::time::interval_at(Instant::now(), pace.period);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut counter = Counter::default();
    loop {
        ticks.tick().await;
        let result = probe_once(&context, &place, &container, &id, probe, pace.timeout).await;
        if let Err(why) = &result {
            let text = format!("{} probe failed: {why}", kind.as_str());
            context.recorder.record(
                &pod_reference(&place.pod, Some(&container.name)),
                EventType::Warning,
                "Unhealthy",
                text,
            );
        }
        if let Some(passes) = counter.count(result.is_ok(), pace) {
            let verdict = Verdict { container: container.name.clone(), id: id.clone(), kind, passes };
            if verdicts.send(verdict).await.is_err() {
                return;
            }
            if kind == Kind::Startup {
                return;
            }
        }
    }
}

async fn probe_once(
    context: &Context,
    place: &Place,
    container: &Container,
    id: &str,
    probe: &Probe,
    timeout: Duration,
) -> Result<(), String> {
    if let Some(command) = &probe.exec {
        let command = command.command.clone().unwrap_or_default();
        let run = exec::run(context.runtime.as_ref(), uid(&place.pod), id, command.clone());
        let late = || format!("command timed out: {:?} timed out after {}s", command.join(" "), timeout.as_secs());
        let (code, output) = tokio::time::timeout(timeout, run).await.map_err(|_| late())??;
        return if code == 0 { Ok(()) } else { Err(output) };
    }
    let check = network_check(place, container, probe);
    let late = || match (&probe.http_get, &probe.tcp_socket) {
        (Some(_), _) => "context deadline exceeded (Client.Timeout exceeded while awaiting headers)".to_owned(),
        (_, Some(_)) => "dial tcp: i/o timeout".to_owned(),
        _ => format!("timeout: health rpc did not complete within {}s", timeout.as_secs()),
    };
    tokio::time::timeout(timeout, check).await.map_err(|_| late())?
}

async fn network_check(place: &Place, container: &Container, probe: &Probe) -> Result<(), String> {
    if let Some(get) = &probe.http_get {
        let target = http::Target::new(get, address(place)?, port(container, &get.port)?);
        let answer = http::get(&target).await?;
        return if (200..400).contains(&answer.status) {
            Ok(())
        } else {
            Err(format!("HTTP probe failed with statuscode: {}", answer.status))
        };
    }
    if let Some(socket) = &probe.tcp_socket {
        let own: Option<IpAddr> = socket.host.as_deref().and_then(|host| host.parse().ok());
        let host = own.map_or_else(|| address(place), Ok)?;
        let number = port(container, &socket.port)?;
        let connected = TcpStream::connect((host, number)).await;
        return connected.map(drop).map_err(|error| format!("dial tcp {host}:{number}: connect: {}", io_text(&error)));
    }
    match &probe.grpc {
        Some(check) => {
            let number = u16::try_from(check.port).map_err(|_| format!("invalid port {}", check.port))?;
            grpc::check(address(place)?, number, check.service.as_deref().unwrap_or_default()).await
        }
        None => Err("missing probe handler".to_owned()),
    }
}

/// As Go words what the kernel said.
pub fn io_text(error: &std::io::Error) -> String {
    match error.raw_os_error() {
        Some(libc::ECONNREFUSED) => "connection refused".to_owned(),
        Some(libc::EHOSTUNREACH) => "no route to host".to_owned(),
        Some(libc::ENETUNREACH) => "network is unreachable".to_owned(),
        Some(libc::ECONNRESET) => "connection reset by peer".to_owned(),
        _ => error.to_string(),
    }
}

/// A port's number, or its name looked up among the container's ports.
pub fn port(container: &Container, port: &IntOrString) -> Result<u16, String> {
    let number = match port {
        IntOrString::Int(number) => Some(*number),
        IntOrString::String(name) => {
            let named = container.ports.iter().flatten().find(|port| port.name.as_deref() == Some(name));
            named.map(|port| port.container_port).or_else(|| name.parse().ok())
        }
    };
    let number = number.ok_or_else(|| format!("couldn't find port: {port:?}"))?;
    u16::try_from(number).ok().filter(|number| *number > 0).ok_or_else(|| format!("invalid port number: {number}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds_make_a_verdict_and_only_changes_are_told() {
        let pace = Pace { successes: 1, failures: 3, ..Pace::of(&Probe::default()) };
        let mut counter = Counter::default();
        let told: Vec<Option<bool>> = [true, true, false, false, true, false, false, false, false]
            .map(|passes| counter.count(passes, pace))
            .into();
        let mut expected = vec![None; 9];
        (expected[0], expected[7]) = (Some(true), Some(false));
        assert_eq!(told, expected);
    }

    #[test]
    fn zero_means_the_default() {
        let probe = Probe { timeout_seconds: Some(0), period_seconds: Some(0), ..Probe::default() };
        let pace = Pace::of(&probe);
        assert_eq!((pace.timeout, pace.period, pace.failures), (Duration::from_secs(1), Duration::from_secs(10), 3));
    }
}
