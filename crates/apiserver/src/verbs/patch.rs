//! A change relative to the stored state. Applies, which are patches too, go to [`apply`].

use std::sync::Arc;

use api::schema::SchemaNode;
use apimachinery::patch::{self, PatchError};
use apimachinery::status::Details;
use apimachinery::{Status, object, strict};
use bytes::Bytes;
use http::{Response, StatusCode};
use registry::strategy::Resource;
use serde_json::Value;

use crate::body::Body;
use crate::call::Call;
use crate::catalog::ResourceExt;
use crate::change::{Change, Part, Updated};
use crate::options::{FieldValidation, WriteOptions};
use crate::server::Inner;
use crate::verbs::apply;
use crate::verbs::update::{check_version, settle_name};
use crate::{decode, encode};

const TYPES: &[&str] = &[
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    apply::MEDIA_TYPE,
];

#[derive(Clone, Copy)]
pub enum PatchType {
    Json,
    Merge,
    Strategic,
}

impl PatchType {
    pub fn of(call: &Call) -> Result<PatchType, Status> {
        match crate::negotiate::media_type(&call.headers) {
            "application/json-patch+json" => Ok(PatchType::Json),
            "application/merge-patch+json" => Ok(PatchType::Merge),
            "application/strategic-merge-patch+json" => Ok(PatchType::Strategic),
            _ => Err(Status::unsupported_media_type(TYPES).with_details(Details::default())),
        }
    }

    pub fn apply(self, object: &Value, patch: &[u8], schema: SchemaNode<'_>) -> Result<Value, PatchError> {
        match self {
            PatchType::Json => patch::json::apply(object, patch),
            PatchType::Strategic => patch::strategic::apply(object, patch, schema),
            PatchType::Merge => patch::merge::apply(object, patch),
        }
    }
}

pub async fn run(server: &Arc<Inner>, call: &Call, resource: &Resource, part: Part) -> Result<Response<Body>, Status> {
    if apply::is_asked(call) {
        return apply::run(server, call, resource, part).await;
    }
    let kind = PatchType::of(call)?;
    let options = WriteOptions::of(call, "PatchOptions")?;
    let body = call.read_body().await?;
    let change = Change::of(server, call, resource, part, &options);
    let patcher = Patcher { call, resource, kind, body, validation: options.field_validation };
    let Updated { item, .. } = change.update(true, |old| patcher.patched(old)).await?;
    Ok(encode::object(call, StatusCode::OK, resource, &item))
}

struct Patcher<'a> {
    call: &'a Call,
    resource: &'a Resource,
    kind: PatchType,
    body: Bytes,
    validation: FieldValidation,
}

impl Patcher<'_> {
    fn patched(&self, old: &Value) -> Result<Value, Status> {
        let problems = self.problems().map_err(|error| error.to_status())?;
        let applied = self.kind.apply(old, &self.body, self.resource.schema.node());
        let mut new = applied.map_err(|error| error.to_status())?;
        patch::check_kind(&new, old, &String::from_utf8_lossy(&self.body))?;
        self.normalize(&mut new, problems)?;
        encode::set_kind(self.resource, &mut new);
        // A patch that takes the namespace away still means the object of the path.
        if self.resource.namespaced && object::namespace(&new).is_empty() {
            object::set_namespace(&mut new, object::namespace(old));
        }
        settle_name(self.call, &mut new)?;
        check_fixed(self.call, self.resource, old, &new)?;
        Ok(new)
    }

    /// What a strict reader finds in the patch itself. Who ignores it is read as leniently as the patch's library reads.
    fn problems(&self) -> Result<Vec<String>, PatchError> {
        match self.kind {
            _ if self.validation == FieldValidation::Ignore => Ok(Vec::new()),
            PatchType::Json => patch::json::problems(&self.body),
            PatchType::Merge | PatchType::Strategic => Ok(strict::duplicates(&self.body)),
        }
    }

    fn normalize(&self, new: &mut Value, of_patch: Vec<String>) -> Result<(), Status> {
        let shown = || String::from_utf8_lossy(&self.body).into_owned();
        if matches!(self.kind, PatchType::Strategic) {
            strict::wrap_integers(new, self.resource.schema.node());
        }
        let decoded = self.resource.strategy.decode(new, self.resource.schema.node());
        let mut problems = decoded.map_err(|why| patch::undecodable(&shown(), &why))?;
        problems.extend(of_patch);
        if self.validation == FieldValidation::Strict && !problems.is_empty() {
            let why = format!("strict decoding error: {}", problems.join(", "));
            return Err(patch::undecodable(&shown(), &why));
        }
        decode::complain(self.call, &self.resource.gvk(), problems, self.validation)
    }
}

/// A patch that names a version means that one.
pub fn check_fixed(call: &Call, resource: &Resource, old: &Value, new: &Value) -> Result<(), Status> {
    if resource.namespaced && object::namespace(new) != object::namespace(old) {
        return Err(Status::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        ));
    }
    check_version(resource, &call.info.name, new, old)
}
