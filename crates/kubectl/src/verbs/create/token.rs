//! `create token SERVICE_ACCOUNT_NAME`.

use http::Method;
use serde_json::json;

use super::name_of;
use crate::command::{Command, runs};
use crate::failure::{Failure, fail};
use crate::flags::{Flag, Kind, Parsed};
use crate::objects::Call;
use crate::print::{Format, OUTPUT_FLAGS};
use crate::session::Session;

pub const COMMAND: Command = Command {
    name: "token",
    about: "Request a service account token",
    usage: "SERVICE_ACCOUNT_NAME [options]",
    flags: &[OUTPUT_FLAGS, FLAGS],
    run: runs!(run),
    ..Command::EMPTY
};

const FLAGS: &[Flag] = &[
    Flag::new("audience", Kind::Texts, "Audience of the requested token."),
    Flag::text("bound-object-kind", "Kind of an object to bind the token to."),
    Flag::text("bound-object-name", "Name of an object to bind the token to."),
    Flag::text("bound-object-uid", "UID of an object to bind the token to."),
    Flag::new("duration", Kind::Duration, "Requested lifetime of the issued token.").or("0s"),
];

const BINDABLE: [(&str, &str); 3] = [("Node", "v1"), ("Pod", "v1"), ("Secret", "v1")];

async fn run(session: &Session, parsed: Parsed) -> Result<(), Failure> {
    let name = name_of(session, &parsed)?;
    let mut spec = json!({"audiences": parsed.texts("audience")});
    let seconds = parsed.duration("duration").as_secs();
    if seconds > 0 {
        spec["expirationSeconds"] = seconds.into();
    }
    match parsed.some("bound-object-kind") {
        Some(kind) => spec["boundObjectRef"] = bound(&parsed, kind)?,
        None if parsed.given("bound-object-name") => {
            return fail!("--bound-object-name can only be set if --bound-object-kind is provided");
        }
        None => {}
    }
    let request = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec});
    let path = format!("/api/v1/namespaces/{}/serviceaccounts/{name}/token", session.namespace());
    let answer = Call::new(Method::POST, path).json(&request).value(session.client()?).await;
    let answer = answer.map_err(|failure| match failure.status() {
        Some(status) => Failure::Plain(format!("failed to create token: {}", status.message)),
        None => failure,
    })?;
    match Format::of_written(&parsed)? {
        Some(mut format) => session.streams.print(format.render(&answer)?),
        None => session.streams.line(answer["status"]["token"].as_str().unwrap_or_default()),
    }
}

fn bound(parsed: &Parsed, kind: &str) -> Result<serde_json::Value, Failure> {
    let Some((kind, version)) = BINDABLE.iter().find(|(known, _)| *known == kind) else {
        return fail!("supported --bound-object-kind values are Node, Pod, Secret");
    };
    let Some(name) = parsed.some("bound-object-name") else {
        return fail!("--bound-object-name is required if --bound-object-kind is provided");
    };
    Ok(json!({"kind": kind, "apiVersion": version, "name": name, "uid": parsed.text("bound-object-uid")}))
}
