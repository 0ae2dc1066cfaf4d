//! `config set-cluster`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::{absolute, unexpected};
use crate::command::{Command, runs};
use crate::config::{Stanza, os_text};
use crate::failure::{Failure, fail};
use crate::flags::{Flag, Parsed};
use crate::session::Session;

pub const COMMAND: Command = Command {
    name: "set-cluster",
    about: "Set a cluster entry in kubeconfig",
    usage: "NAME [--server=server] [--certificate-authority=path/to/certificate/authority] \
            [--insecure-skip-tls-verify=true] [--tls-server-name=example.com] [options]",
    flags: &[&[
        Flag::text("certificate-authority", "Path to certificate-authority file for the cluster entry in kubeconfig"),
        Flag::switch("embed-certs", "embed-certs for the cluster entry in kubeconfig"),
        Flag::switch("insecure-skip-tls-verify", "insecure-skip-tls-verify for the cluster entry in kubeconfig"),
        Flag::text("proxy-url", "proxy-url for the cluster entry in kubeconfig"),
        Flag::text("server", "server for the cluster entry in kubeconfig"),
        Flag::text("tls-server-name", "tls-server-name for the cluster entry in kubeconfig"),
    ]],
    run: runs!(run),
    ..Command::EMPTY
};

async fn run(session: &Session, parsed: Parsed) -> Result<(), Failure> {
    let [name] = parsed.arguments.as_slice() else {
        return Err(unexpected(session, "Unexpected", &parsed.arguments));
    };
    check(&parsed, name)?;
    session.config.access().change(true, |settings| {
        edit(settings.clusters.entry(name.clone()).or_default(), &parsed);
        Ok(())
    })?;
    session.streams.line(format!("Cluster {name:?} set."))
}

fn check(parsed: &Parsed, name: &str) -> Result<(), Failure> {
    let authority = parsed.text("certificate-authority");
    if name.is_empty() {
        return fail!("you must specify a non-empty cluster name");
    }
    if parsed.on("insecure-skip-tls-verify") && !authority.is_empty() {
        return fail!("you cannot specify a certificate authority and insecure mode at the same time");
    }
    if !parsed.on("embed-certs") {
        return Ok(());
    }
    match authority {
        "" => fail!("you must specify a --certificate-authority to embed"),
        path => check_file("certificate-authority", path),
    }
}

/// A file that shall be embedded must be there.
pub(super) fn check_file(flag: &str, path: &str) -> Result<(), Failure> {
    match std::fs::metadata(path) {
        Ok(_) => Ok(()),
        Err(error) => fail!("could not stat {flag} file {path}: stat {path}: {}", os_text(&error)),
    }
}

/// A file's name, or its content, in the place of what was there.
pub(super) fn set_file(stanza: &mut Stanza, field: &str, path: &str, embed: bool) {
    let data = format!("{field}-data");
    if embed {
        stanza.set(&data, std::fs::read(path).map(|bytes| STANDARD.encode(bytes)).unwrap_or_default());
        stanza.fields.remove(field);
    } else {
        stanza.set(field, absolute(path));
        stanza.fields.remove(&data);
    }
}

fn edit(cluster: &mut Stanza, parsed: &Parsed) {
    if parsed.given("server") {
        cluster.set("server", parsed.text("server"));
        cluster.fields.remove("tls-server-name");
    }
    if parsed.given("tls-server-name") {
        cluster.set("tls-server-name", parsed.text("tls-server-name"));
    }
    if parsed.given("insecure-skip-tls-verify") {
        cluster.fields.remove("insecure-skip-tls-verify");
        if parsed.on("insecure-skip-tls-verify") {
            cluster.fields.insert("insecure-skip-tls-verify".into(), true.into());
            cluster.fields.remove("certificate-authority");
            cluster.fields.remove("certificate-authority-data");
        }
    }
    if parsed.given("certificate-authority") {
        set_file(cluster, "certificate-authority", parsed.text("certificate-authority"), parsed.on("embed-certs"));
        cluster.fields.remove("insecure-skip-tls-verify");
    }
    if parsed.given("proxy-url") {
        cluster.set("proxy-url", parsed.text("proxy-url"));
    }
}
