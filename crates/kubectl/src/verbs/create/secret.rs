//! `create secret docker-registry` and `create secret tls`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::{SAVE_CONFIG, create_made, name_of};
use crate::command::{Command, runs};
use crate::config::os_text;
use crate::failure::{Failure, fail};
use crate::flags::{Flag, Parsed};
use crate::print::{OUTPUT_FLAGS, compact_json};
use crate::session::Session;
use crate::verbs::writing;

pub const DOCKER_REGISTRY: Command = Command {
    name: "docker-registry",
    about: "Create a secret for use with a Docker registry",
    usage: "NAME --docker-username=user --docker-password=password --docker-email=email [--docker-server=string] \
            [--from-file=[key=]source] [--dry-run=server|client|none] [options]",
    flags: &[
        OUTPUT_FLAGS,
        writing::FLAGS,
        writing::VALIDATE,
        SAVE_CONFIG,
        &[
            Flag::text("docker-email", "Email for Docker registry"),
            Flag::text("docker-password", "Password for Docker registry authentication"),
            Flag::text("docker-server", "Server location for Docker registry").or("https://index.docker.io/v1/"),
            Flag::text("docker-username", "Username for Docker registry authentication"),
            Flag::text("from-file", "A docker configuration file."),
        ],
    ],
    run: runs!(docker_registry),
    ..Command::EMPTY
};

pub const TLS: Command = Command {
    name: "tls",
    about: "Create a TLS secret",
    usage: "NAME --cert=path/to/cert/file --key=path/to/key/file [--dry-run=server|client|none] [options]",
    flags: &[
        OUTPUT_FLAGS,
        writing::FLAGS,
        writing::VALIDATE,
        SAVE_CONFIG,
        &[
            Flag::text("cert", "Path to PEM encoded public key certificate."),
            Flag::text("key", "Path to private key associated with given certificate."),
        ],
    ],
    run: runs!(tls),
    ..Command::EMPTY
};

fn secret(name: &str, kind: &str, data: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "type": kind, "data": data})
}

async fn docker_registry(session: &Session, parsed: Parsed) -> Result<(), Failure> {
    let name = name_of(session, &parsed)?;
    let content = match parsed.some("from-file") {
        Some(source) => read(source.split_once('=').map_or(source, |(_, path)| path))?,
        None => docker_config(&parsed)?.into_bytes(),
    };
    let data = json!({".dockerconfigjson": STANDARD.encode(content)});
    create_made(session, &parsed, secret(name, "kubernetes.io/dockerconfigjson", data), Some("secret ")).await
}

fn docker_config(parsed: &Parsed) -> Result<String, Failure> {
    let (user, password) = (parsed.text("docker-username"), parsed.text("docker-password"));
    if user.is_empty() || password.is_empty() {
        return fail!(
            "either --from-file or the combination of --docker-username, --docker-password and --docker-server is required"
        );
    }
    let auth = STANDARD.encode(format!("{user}:{password}"));
    let fields = [("username", user), ("password", password), ("email", parsed.text("docker-email")), ("auth", &auth)];
    // In upstream's order, so that the secret is the same to the byte.
    let fields: Vec<String> = fields
        .into_iter()
        .filter(|(_, text)| !text.is_empty())
        .map(|(field, text)| format!("\"{field}\":{}", compact_json(&text.into())))
        .collect();
    let server = compact_json(&parsed.text("docker-server").into());
    Ok(format!("{{\"auths\":{{{server}:{{{}}}}}}}", fields.join(",")))
}

async fn tls(session: &Session, parsed: Parsed) -> Result<(), Failure> {
    let name = name_of(session, &parsed)?;
    let (Some(cert), Some(key)) = (parsed.some("cert"), parsed.some("key")) else {
        return fail!("key and cert must be specified");
    };
    let (cert, key) = (read(cert)?, read(key)?);
    let is_pem = |bytes: &[u8]| String::from_utf8_lossy(bytes).contains("-----BEGIN ");
    if !is_pem(&cert) {
        return fail!("tls: failed to find any PEM data in certificate input");
    }
    if !is_pem(&key) {
        return fail!("tls: failed to find any PEM data in key input");
    }
    let data = json!({"tls.crt": STANDARD.encode(cert), "tls.key": STANDARD.encode(key)});
    create_made(session, &parsed, secret(name, "kubernetes.io/tls", data), Some("secret ")).await
}

fn read(path: &str) -> Result<Vec<u8>, Failure> {
    std::fs::read(path).map_err(|error| Failure::Plain(format!("open {path}: {}", os_text(&error))))
}
