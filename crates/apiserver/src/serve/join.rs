//! Signing the certificates of a node that presents the join token.

use apimachinery::Status;
use auth::join::{JoinRequest, JoinResponse, same_secret};
use auth::pki::{Names, PkiError, Profile};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::{Method, Response};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use store::{Draft, Key, WriteError};

use crate::body::Body;
use crate::call::Call;
use crate::server::Inner;
use crate::{catalog, encode};

pub async fn run(server: &Inner, call: &Call) -> Result<Response<Body>, Status> {
    if call.method != Method::POST {
        return Err(Status::method_not_allowed());
    }
    authenticate(server, call)?;
    let body = call.read_body().await?;
    let request: JoinRequest =
        serde_json::from_slice(&body).map_err(|error| Status::bad_request(format!("join request: {error}")))?;
    check_name(&request.node_name)?;
    own_name(server, &request).await?;
    let response = sign(server, &request).map_err(refused)?;
    let value = serde_json::to_value(&response).map_err(Status::internal)?;
    Ok(encode::json_response(call, &value))
}

/// Basic authentication with the token's password, as `node` or `server`.
fn authenticate(server: &Inner, call: &Call) -> Result<(), Status> {
    let password = server.config.join_password.as_deref().ok_or_else(Status::unauthorized)?;
    let encoded = call.header("authorization").strip_prefix("Basic ").ok_or_else(Status::unauthorized)?;
    let decoded = BASE64_STANDARD.decode(encoded.trim()).map_err(|_| Status::unauthorized())?;
    let text = String::from_utf8(decoded).map_err(|_| Status::unauthorized())?;
    let (user, given) = text.split_once(':').ok_or_else(Status::unauthorized)?;
    if matches!(user, "node" | "server") && same_secret(given, password) {
        return Ok(());
    }
    Err(Status::unauthorized())
}

fn check_name(name: &str) -> Result<(), Status> {
    match apimachinery::validation::is_dns1123_subdomain(name).first() {
        Some(why) => Err(Status::bad_request(format!("node name {name:?}: {why}"))),
        None => Ok(()),
    }
}

/// The first node of a name keeps it: another machine would have to know the node's own password.
async fn own_name(server: &Inner, request: &JoinRequest) -> Result<(), Status> {
    let name = format!("{}.node-password.coracle", request.node_name);
    let key = Key::new("", "secrets", "kube-system", &name);
    let digest = BASE64_STANDARD.encode(Sha256::digest(request.node_password.as_bytes()));
    let stored = match server.store.get(&key) {
        Some(stored) => stored,
        None => match server.store.create(key, password_secret(&name, &digest)?).await {
            Ok(_) => return Ok(()),
            Err(WriteError::AlreadyExists(stored)) => stored,
            Err(error) => return Err(Status::internal(error)),
        },
    };
    // Secrets keep base64 of their bytes; the bytes are the digest's text.
    let kept = stored.value().pointer("/data/hash").and_then(Value::as_str).map(str::to_string).unwrap_or_default();
    if same_secret(&kept, &BASE64_STANDARD.encode(&digest)) {
        return Ok(());
    }
    let nodes = apimachinery::GroupResource::new("", "nodes");
    let why =
        "another machine has joined under this name with a different node password; delete its secret to reuse it";
    Err(Status::forbidden(&nodes, &request.node_name, why))
}

fn password_secret(name: &str, digest: &str) -> Result<Draft, Status> {
    let missing = || Status::internal("secrets are not registered");
    let resource = catalog::of_storage("", "secrets").ok_or_else(missing)?;
    let secret = json!({
        "metadata": {
            "name": name,
            "namespace": "kube-system",
            "uid": uuid::Uuid::new_v4().to_string(),
            "creationTimestamp": apimachinery::time::format(jiff::Timestamp::now()),
        },
        "type": "Opaque",
        "immutable": true,
        "data": {"hash": BASE64_STANDARD.encode(digest)},
    });
    Ok(crate::change::draft(resource, &secret))
}

fn sign(server: &Inner, request: &JoinRequest) -> Result<JoinResponse, PkiError> {
    let node = request.node_name.clone();
    let mut names = Names::from_texts([node.as_str(), "localhost", "127.0.0.1"]);
    names.addresses.extend(request.node_addresses.iter().copied());
    let ca = &server.pki.ca;
    Ok(JoinResponse {
        client_certificate: ca.sign_request(&request.client_request, &Profile::KubeletClient { node: node.clone() })?,
        serving_certificate: ca.sign_request(&request.serving_request, &Profile::KubeletServing { node, names })?,
        ca_certificate: ca.pem().to_string(),
    })
}

fn refused(error: PkiError) -> Status {
    match error {
        PkiError::Refused { reason } => {
            Status::bad_request(format!("the certificate request may not be signed: {reason}"))
        }
        other => Status::internal(other),
    }
}
