//! `certificate`: says yes or no to a request for a certificate.

use http::Method;
use serde_json::{Value, json};

use crate::command::{Command, runs};
use crate::failure::{Failure, fail};
use crate::flags::{Flag, Parsed};
use crate::objects::{Asked, Call, FILENAME_FLAGS, Info, Selection};
use crate::print::OUTPUT_FLAGS;
use crate::session::Session;
use crate::verbs::writing::Writing;

const GROUP: &str = "certificates.k8s.io";
const ATTEMPTS: usize = 10;

pub const COMMAND: Command = Command {
    name: "certificate",
    about: "Modify certificate resources",
    usage: "SUBCOMMAND [options]",
    children: &[&APPROVE, &DENY],
    ..Command::EMPTY
};

const APPROVE: Command = Command {
    name: "approve",
    about: "Approve a certificate signing request",
    usage: "(-f FILENAME | NAME) [options]",
    flags: &[OUTPUT_FLAGS, FILENAME_FLAGS, FLAGS],
    run: runs!(approve),
    ..Command::EMPTY
};

const DENY: Command =
    Command { name: "deny", about: "Deny a certificate signing request", run: runs!(deny), ..APPROVE };

const FLAGS: &[Flag] = &[Flag::switch("force", "Update the CSR even if it is already decided in this way.")];

/// What is decided.
struct Decision {
    condition: &'static str,
    /// The condition that says the opposite.
    against: &'static str,
    reason: &'static str,
    message: &'static str,
    done: &'static str,
}

async fn approve(session: &Session, parsed: Parsed) -> Result<(), Failure> {
    let decision = Decision {
        condition: "Approved",
        against: "Denied",
        reason: "KubectlApprove",
        message: "This CSR was approved by kubectl certificate approve.",
        done: "approved",
    };
    run(session, &parsed, &decision).await
}

async fn deny(session: &Session, parsed: Parsed) -> Result<(), Failure> {
    let decision = Decision {
        condition: "Denied",
        against: "Approved",
        reason: "KubectlDeny",
        message: "This CSR was denied by kubectl certificate deny.",
        done: "denied",
    };
    run(session, &parsed, &decision).await
}

async fn run(session: &Session, parsed: &Parsed, decision: &Decision) -> Result<(), Failure> {
    let mut writing = Writing::of(session, parsed, "")?;
    let names = &parsed.arguments;
    if names.is_empty() && !parsed.given("filename") {
        return fail!("one or more CSRs must be specified as <name> or -f <filename>");
    }
    let mut asked = Asked { namespace_given: false, ..Asked::of(session, parsed)? };
    let full =
        |name: &String| if name.contains('/') { name.clone() } else { format!("certificatesigningrequests/{name}") };
    asked.arguments = names.iter().map(full).collect();
    let selection = asked.select(session).await?;
    if let Selection::Named { infos, .. } = &selection
        && infos.iter().any(|info| info.mapping.namespaced)
    {
        return fail!("namespace may not be empty when retrieving a resource by name");
    }
    let (infos, mut failures) = selection.fetched(session.client()?).await?;
    let mut found = 0;
    for info in infos {
        match decide(session, &info, decision, parsed.on("force")).await {
            Ok(()) => {
                found += 1;
                failures.extend(writing.report(&info.object, decision.done).err());
            }
            Err(failure) => failures.push(failure),
        }
    }
    if found == 0 && failures.is_empty() {
        return session.streams.line("No resources found");
    }
    Failure::all(failures)
}

async fn decide(session: &Session, info: &Info, decision: &Decision, force: bool) -> Result<(), Failure> {
    let (group, kind) = (&info.mapping.group, &info.mapping.kind);
    if (group.as_str(), kind.as_str()) != (GROUP, "CertificateSigningRequest") {
        let got = if group.is_empty() { kind.clone() } else { format!("{kind}.{group}") };
        return fail!("can only handle CertificateSigningRequest.{GROUP} objects, got {got}");
    }
    let mapping = session.catalog().await?.resource(&format!("certificatesigningrequests.v1.{GROUP}"))?;
    let request = Info::new(&mapping, "", &info.name);
    let client = session.client()?;
    for attempt in 0.. {
        let object = request.get(client).await.map_err(|failure| match failure.is_not_found() {
            true => Failure::Plain(format!("could not find v1 version of {}: {}", info.name, failure.bare())),
            false => failure,
        })?;
        let Some(decided) = decided(object, decision, force)? else { return Ok(()) };
        let call = Call::new(Method::PUT, request.path() + "/approval").json(&decided);
        match call.value(client).await {
            Err(failure) if failure.has_reason("Conflict") && attempt < ATTEMPTS => {}
            answer => return answer.map(drop),
        }
    }
    Ok(())
}

/// The request with the decision; `None` when nothing is to be written.
fn decided(mut request: Value, decision: &Decision, force: bool) -> Result<Option<Value>, Failure> {
    let mut conditions = request["status"]["conditions"].as_array().cloned().unwrap_or_default();
    if conditions.iter().any(|condition| condition["type"] == decision.against) {
        let name = apimachinery::object::name(&request);
        return fail!("certificate signing request {name:?} is already {}", decision.against);
    }
    if conditions.iter().any(|condition| condition["type"] == decision.condition) {
        return Ok(force.then_some(request));
    }
    conditions.push(json!({
        "type": decision.condition,
        "status": "True",
        "reason": decision.reason,
        "message": decision.message,
        "lastUpdateTime": apimachinery::time::format(jiff::Timestamp::now()),
    }));
    request["status"]["conditions"] = conditions.into();
    Ok(Some(request))
}
