//! Server-side apply: a configuration that its manager owns, laid over the stored object.

use std::sync::Arc;

use apimachinery::managed_fields::Endpoint;
use apimachinery::{Status, object, strict};
use http::{Response, StatusCode};
use registry::strategy::Resource;
use serde_json::Value;

use crate::body::Body;
use crate::call::Call;
use crate::catalog::ResourceExt;
use crate::change::{Change, Part, Updated};
use crate::options::{FieldValidation, WriteOptions};
use crate::ownership::{self, Ownership};
use crate::server::Inner;
use crate::verbs::create::settle_namespace;
use crate::verbs::patch::check_fixed;
use crate::verbs::update::{create_attributes, settle_name};
use crate::{decode, encode};

pub const MEDIA_TYPE: &str = "application/apply-patch+yaml";

pub fn is_asked(call: &Call) -> bool {
    call.info.verb == "patch" && crate::negotiate::media_type(&call.headers) == MEDIA_TYPE
}

pub async fn run(server: &Arc<Inner>, call: &Call, resource: &Resource, part: Part) -> Result<Response<Body>, Status> {
    let options = WriteOptions::of(call, "PatchOptions")?;
    let body = call.read_body().await?;
    let config = Configuration::of(call, &options, &body)?;
    let change = Change { ownership: Ownership::Settled, ..Change::of(server, call, resource, part, &options) };
    let Updated { item, created } = write(&change, &config).await?;
    let code = if created { StatusCode::CREATED } else { StatusCode::OK };
    Ok(encode::object(call, code, resource, &item))
}

/// What is applied, and how.
pub struct Configuration {
    value: Value,
    manager: String,
    force: bool,
    /// Complaints about keys that stand there twice.
    duplicates: Option<String>,
    validation: FieldValidation,
}

impl Configuration {
    pub fn of(call: &Call, options: &WriteOptions, body: &[u8]) -> Result<Configuration, Status> {
        let (value, duplicates) = decode::configuration(body)?;
        Ok(Configuration {
            value,
            manager: options.manager.clone(),
            force: call.query.is_true("force"),
            duplicates,
            validation: options.field_validation,
        })
    }

    /// The live object (or nothing) with the configuration laid over it, and the owners that follow.
    pub fn applied(&self, call: &Call, endpoint: &Endpoint<'_>, live: Option<&Value>) -> Result<Value, Status> {
        let applied = endpoint.apply(live, &self.value, &self.manager, self.force);
        let applied = applied.map_err(|error| error.to_status())?;
        self.complain(call)?;
        Ok(applied)
    }

    fn complain(&self, call: &Call) -> Result<(), Status> {
        match (&self.duplicates, self.validation) {
            (Some(why), FieldValidation::Strict) => {
                Err(Status::bad_request(format!("error strict decoding YAML: {why}")))
            }
            (Some(why), FieldValidation::Warn) => {
                call.warn(why.clone());
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

/// Creates the object if it is missing. Whoever is outrun by another creator applies to that one's object, and whoever
/// is outrun by a deletion creates.
async fn write(change: &Change<'_>, config: &Configuration) -> Result<Updated, Status> {
    let key = change.resource.key(change.namespace, change.name);
    loop {
        let missing = change.server.store.get(&key).is_none();
        if !missing || change.part != Part::Main {
            let updated = change.update(true, |old| next(change, config, Some(old))).await;
            let vanished = !missing && change.part == Part::Main && change.server.store.get(&key).is_none();
            match updated {
                Err(status) if status.is_not_found() && vanished => continue,
                other => return other,
            }
        }
        let new = change.settle(|| next(change, config, None)).await?;
        crate::stages::authorize::check(change.server, &create_attributes(change))?;
        match change.create(new).await {
            Err(status) if status.is_already_exists() && !change.dry_run => {}
            other => return other.map(|item| Updated { item, created: true }),
        }
    }
}

/// The object as this apply wants it to be.
fn next(change: &Change<'_>, config: &Configuration, live: Option<&Value>) -> Result<Value, Status> {
    let (call, resource) = (change.call, change.resource);
    let mut new = change.at_endpoint(|endpoint| config.applied(call, endpoint, live))?;
    if resource.custom.is_none() {
        strict::wrap_integers(&mut new, resource.schema.node());
    }
    let decoded = resource.strategy.decode(&mut new, resource.schema.node());
    decoded.map_err(|why| ownership::unconvertible(resource, &new, &why))?;
    encode::set_kind(resource, &mut new);
    if live.is_none() && !object::uid(&new).is_empty() {
        let why = format!(
            "uid mismatch: the provided object specified uid {}, and no existing object was found",
            object::uid(&new)
        );
        return Err(Status::conflict(&resource.group_resource(), change.name, why));
    }
    settle_namespace(call, resource, &mut new)?;
    settle_name(call, &mut new)?;
    match live {
        Some(live) => check_fixed(call, resource, live, &new)?,
        None => object::set_resource_version(&mut new, ""),
    }
    Ok(new)
}
