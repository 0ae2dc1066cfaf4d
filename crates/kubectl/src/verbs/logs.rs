//! `logs`: what containers have written, and go on writing.

use bytes::BytesMut;
use futures::stream::{FuturesUnordered, StreamExt};
use http_body_util::BodyExt;
use serde_json::Value;

use super::named::{RUNNING_TIMEOUT, one_object};
use crate::command::{Command, runs};
use crate::failure::{Failure, fail};
use crate::flags::{Flag, Kind, Parsed};
use crate::objects::{Asked, Call, Info};
use crate::remote::{Order, default_container, pod_behind};
use crate::session::Session;

const REQUIRED: &str = "expected 'logs [-f] [-p] (POD | TYPE/NAME) [-c CONTAINER]'.\nPOD or TYPE/NAME is a required \
    argument for the logs command";

pub const COMMAND: Command = Command {
    name: "logs",
    aliases: &["log"],
    about: "Print the logs for a container in a pod",
    usage: "[-f] [-p] (POD | TYPE/NAME) [-c CONTAINER] [options]",
    flags: &[FLAGS, RUNNING_TIMEOUT],
    run: runs!(run),
    ..Command::EMPTY
};

const FLAGS: &[Flag] = &[
    Flag::switch("all-containers", "Get all containers' logs in the pod(s)."),
    Flag::switch("all-pods", "Get logs from all pod(s). Sets prefix to true."),
    Flag::text("container", "Print the logs of this container").short('c'),
    Flag::switch("follow", "Specify if the logs should be streamed.").short('f'),
    Flag::switch("ignore-errors", "If watching / following pod logs, allow for any errors that occur to be non-fatal"),
    Flag::switch("insecure-skip-tls-verify-backend", "Skip verifying the identity of the kubelet."),
    Flag::number("limit-bytes", "0", "Maximum bytes of logs to return. Defaults to no limit."),
    Flag::number(
        "max-log-requests",
        "5",
        "Specify maximum number of concurrent logs to follow when using by a selector.",
    ),
    Flag::switch("prefix", "Prefix each log line with the log source (pod name and container name)"),
    Flag::switch(
        "previous",
        "If true, print the logs for the previous instance of the container in a pod if it exists.",
    )
    .short('p'),
    Flag::text("selector", "Selector (label query) to filter on.").short('l'),
    Flag::new("since", Kind::Duration, "Only return logs newer than a relative duration like 5s, 2m, or 3h.").or("0s"),
    Flag::text("since-time", "Only return logs after a specific date (RFC3339)."),
    Flag::number("tail", "-1", "Lines of recent log file to display."),
    Flag::switch("timestamps", "Include timestamps on each line in the log output"),
];

async fn run(session: &Session, parsed: Parsed) -> Result<(), Failure> {
    let selects = parsed.some("selector").is_some();
    match parsed.arguments.len() {
        0 if !selects => return Err(session.usage(REQUIRED)),
        1 if selects => return Err(session.usage("only a selector (-l) or a POD name is allowed")),
        3.. => return Err(session.usage(REQUIRED)),
        _ => {}
    }
    let container = parsed.arguments.get(1).map(String::as_str).or(parsed.some("container"));
    let (pods, namespace) = if selects { selected(session, &parsed).await? } else { named(session, &parsed).await? };
    check(&parsed, container)?;
    let mapping = session.catalog().await?.resource("pods")?;
    let mut sources = Vec::new();
    for pod in &pods {
        let info = Info::new(&mapping, &namespace, apimachinery::object::name(pod));
        for container in containers(session, &parsed, pod, container)? {
            sources.push(Source::new(&parsed, &info, container, selects));
        }
    }
    print_all(session, &parsed, sources).await
}

/// Why a time is none, in Go's words: the first part that is not as it should be.
fn not_a_time(text: &str) -> String {
    const PARTS: &[&str] = &["2006", "-", "01", "-", "02", "T", "15", ":", "04", ":", "05"];
    let mut rest = text;
    let wrong = PARTS.iter().find(|part| {
        let taken = rest
            .get(..part.len())
            .filter(|taken| *taken == **part || (part.len() > 1 && taken.bytes().all(|byte| byte.is_ascii_digit())));
        rest = taken.map_or(rest, |taken| &rest[taken.len()..]);
        taken.is_none()
    });
    let wrong = wrong.unwrap_or(&"Z07:00");
    format!("parsing time {text:?} as \"2006-01-02T15:04:05Z07:00\": cannot parse {rest:?} as {wrong:?}")
}

fn check(parsed: &Parsed, container: Option<&str>) -> Result<(), Failure> {
    if let Some(time) = parsed.some("since-time").filter(|time| apimachinery::time::parse(time).is_none()) {
        return Err(Failure::Plain(not_a_time(time)));
    }
    if parsed.given("since-time") && !parsed.duration("since").is_zero() {
        return fail!("at most one of `sinceTime` or `sinceSeconds` may be specified");
    }
    if let (true, Some(container)) = (parsed.on("all-containers"), container) {
        return fail!("--all-containers=true should not be specified with container name {container}");
    }
    if parsed.given("container") && parsed.arguments.len() == 2 {
        return fail!("only one of -c or an inline [CONTAINER] arg is allowed");
    }
    if parsed.number("limit-bytes") < 0 {
        return fail!("--limit-bytes must be greater than 0");
    }
    if parsed.text("since").starts_with('-') {
        return fail!("--since must be greater than 0");
    }
    if parsed.number("tail") < -1 {
        return fail!("--tail must be greater than or equal to -1");
    }
    Ok(())
}

/// The pods of a selector.
async fn selected(session: &Session, parsed: &Parsed) -> Result<(Vec<Value>, String), Failure> {
    let namespace = session.namespace();
    let asked = Asked {
        arguments: vec!["pods".into()],
        labels: parsed.some("selector").map(str::to_owned),
        namespace: namespace.clone(),
        ..Asked::default()
    };
    let (infos, failures) = asked.select(session).await?.infos(session.client()?).await?;
    Failure::all(failures)?;
    if infos.is_empty() {
        session.streams.note(format!("No resources found in {namespace} namespace."));
    }
    Ok((infos.into_iter().map(|info| info.object).collect(), namespace))
}

/// The pod of that name, or one (or all) of those behind an object.
async fn named(session: &Session, parsed: &Parsed) -> Result<(Vec<Value>, String), Failure> {
    let info = one_object(session, &parsed.arguments[0]).await.map_err(|failure| match failure {
        Failure::Server(status) if status.reason == "NotFound" => {
            let namespace = session.namespace();
            Failure::Plain(format!("error from server (NotFound): {} in namespace {namespace:?}", status.message))
        }
        other => other,
    })?;
    let mut pods = pod_behind(session, &info, Order::Logging, parsed.duration("pod-running-timeout")).await?;
    if pods.len() > 1 && !parsed.on("all-pods") {
        let name = apimachinery::object::name(&pods[0]);
        session.streams.note(format!("Found {} pods, using pod/{name}", pods.len()));
        pods.truncate(1);
    }
    Ok((pods, info.namespace))
}

fn containers(session: &Session, parsed: &Parsed, pod: &Value, named: Option<&str>) -> Result<Vec<String>, Failure> {
    if !parsed.on("all-containers") {
        return Ok(vec![default_container(&session.streams, pod, named, parsed.on("all-pods"))?]);
    }
    let lists = ["initContainers", "containers", "ephemeralContainers"];
    let all = lists.into_iter().filter_map(|list| pod["spec"][list].as_array()).flatten();
    Ok(all.filter_map(|container| container["name"].as_str()).map(str::to_owned).collect())
}

/// One container's log.
struct Source {
    call: Call,
    prefix: String,
}

impl Source {
    fn new(parsed: &Parsed, pod: &Info, container: String, selects: bool) -> Self {
        let on = |flag: &str| parsed.on(flag).then_some("true");
        let number = |number: i64, default: i64| (number != default).then(|| number.to_string());
        // Of many pods, the ends alone.
        let tail = if selects && !parsed.given("tail") { 10 } else { parsed.number("tail") };
        let since = parsed.duration("since").as_secs_f64().round();
        let call = Call::get(pod.path() + "/log")
            .query("container", &container)
            .maybe("follow", on("follow"))
            .maybe("insecureSkipTLSVerifyBackend", on("insecure-skip-tls-verify-backend"))
            .maybe("limitBytes", number(parsed.number("limit-bytes"), 0).as_deref())
            .maybe("previous", on("previous"))
            .maybe("sinceSeconds", (since > 0.0).then(|| format!("{since:.0}")).as_deref())
            .maybe("sinceTime", parsed.some("since-time"))
            .maybe("tailLines", number(tail, -1).as_deref())
            .maybe("timestamps", on("timestamps"));
        let prefixed = parsed.on("prefix") || parsed.on("all-pods");
        let prefix = if prefixed { format!("[pod/{}/{container}] ", pod.name) } else { String::new() };
        Self { call, prefix }
    }

    /// Passes whole lines on, as they come.
    async fn print(&self, session: &Session) -> Result<(), Failure> {
        let mut body = self.call.stream(session.client()?).await?.into_body();
        let mut pending = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(client::Error::Body)?;
            pending.extend_from_slice(frame.data_ref().map_or(&[], |data| data));
            if let Some(end) = pending.iter().rposition(|byte| *byte == b'\n') {
                let lines = pending.split_to(end + 1);
                self.show(session, &lines)?;
            }
        }
        if pending.is_empty() { Ok(()) } else { self.show(session, &pending) }
    }

    fn show(&self, session: &Session, lines: &[u8]) -> Result<(), Failure> {
        if self.prefix.is_empty() {
            return session.streams.print(lines);
        }
        let mut prefixed = Vec::with_capacity(lines.len() * 2);
        for line in lines.split_inclusive(|byte| *byte == b'\n') {
            prefixed.extend_from_slice(self.prefix.as_bytes());
            prefixed.extend_from_slice(line);
        }
        session.streams.print(prefixed)
    }
}

async fn print_all(session: &Session, parsed: &Parsed, sources: Vec<Source>) -> Result<(), Failure> {
    let limit = parsed.number("max-log-requests");
    let together = parsed.on("follow") && sources.len() > 1;
    if together && i64::try_from(sources.len()).unwrap_or(i64::MAX) > limit {
        return fail!(
            "you are attempting to follow {} log streams, but maximum allowed concurrency is {limit}, use \
             --max-log-requests to increase the limit",
            sources.len()
        );
    }
    let forgiven = |result: Result<(), Failure>| match result {
        Err(failure) if parsed.on("ignore-errors") && !matches!(failure, Failure::Exit(_)) => {
            session.streams.print(format!("error: {}\n", failure.text()))
        }
        result => result,
    };
    if together {
        let mut all: FuturesUnordered<_> = sources.iter().map(|source| source.print(session)).collect();
        while let Some(result) = all.next().await {
            forgiven(result)?;
        }
        return Ok(());
    }
    for source in &sources {
        forgiven(source.print(session).await)?;
    }
    Ok(())
}
