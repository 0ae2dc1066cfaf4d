//! Many objects: filtered, in pages that are pinned to a revision.

use std::sync::Arc;

use apimachinery::Status;
use apimachinery::labels::Operator;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use http::Response;
use registry::strategy::Resource;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use store::{Header, Key, Object, Revision, Snapshot};

use crate::body::Body;
use crate::call::Call;
use crate::catalog::ResourceExt;
use crate::custom::convert;
use crate::encode::{self, Item};
use crate::negotiate::Shape;
use crate::options::{ListOptions, VersionMatch};
use crate::server::Inner;
use crate::verbs::get::check_reached;

pub async fn run(server: &Inner, call: &Call, resource: &Arc<Resource>) -> Result<Response<Body>, Status> {
    let options = ListOptions::of(call, false)?;
    let filter = Filter::new(resource, &options)?;
    let start = Start::of(server, resource, &options)?;
    let (limit, namespace) = (options.limit, call.info.namespace.as_str());
    let mut page = read(&start, resource, namespace, &filter, if filter.reads_objects() { 0 } else { limit });
    let mut items = filter.choose(server, resource, std::mem::take(&mut page.objects)).await?;
    if limit > 0 && items.len() > limit {
        items.truncate(limit);
        page.next = items.last().map(|(last, _)| (start_of(last), None));
    }
    let mut metadata = page.metadata(start.snapshot.revision());
    if resource.custom.is_some() && call.shape() == Shape::Object && metadata.get("continue").is_none() {
        metadata["continue"] = "".into();
    }
    let items: Vec<Item> = items.into_iter().map(|(_, item)| item).collect();
    Ok(encode::list(call, resource, items, &metadata))
}

/// Judges objects by their headers, without parsing them. Fields of custom objects are looked up in the version of the
/// request, of which no header knows.
pub struct Filter {
    labels: apimachinery::labels::Selector,
    fields: apimachinery::fields::Selector,
    in_object: apimachinery::fields::Selector,
}

impl Filter {
    /// Refuses fields that the kind does not know.
    pub fn new(resource: &Resource, options: &ListOptions) -> Result<Filter, Status> {
        let known = resource.strategy.fields(&Value::Object(Map::new()));
        let selected = options.fields.renamed(|label| resource.strategy.selected_field(label));
        let selected = selected.map_err(|label| unknown_field(&known, label))?;
        for requirement in selected.requirements() {
            let field = requirement.field.as_str();
            // Kinds of the cluster that select by no field of their own know the namespace that no object of theirs has.
            let namespaces = resource.namespaced || (known.is_empty() && resource.custom.is_none());
            let general = field == "metadata.name" || (namespaces && field == "metadata.namespace");
            if !general && !known.iter().any(|(name, _)| *name == field) {
                return Err(unknown_field(&known, field));
            }
        }
        let is_custom = resource.custom.is_some();
        let (in_object, fields) = selected.split(|field| is_custom && !field.starts_with("metadata."));
        Ok(Filter { labels: options.labels.clone(), fields, in_object })
    }

    pub fn is_everything(&self) -> bool {
        self.labels.is_everything() && self.fields.is_everything() && self.in_object.is_everything()
    }

    /// Whether headers do not tell everything.
    pub fn reads_objects(&self) -> bool {
        !self.in_object.is_everything()
    }

    /// Of objects whose headers match: those that match altogether, as they are served.
    pub async fn choose(
        &self,
        server: &Inner,
        resource: &Resource,
        stored: Vec<Arc<Object>>,
    ) -> Result<Vec<(Arc<Object>, Item)>, Status> {
        let items = convert::to_served(server, resource, stored.clone()).await?;
        let matching = |(_, item): &(_, Item)| !self.reads_objects() || self.matches_object(resource, item);
        Ok(stored.into_iter().zip(items).filter(matching).collect())
    }

    fn matches_object(&self, resource: &Resource, item: &Item) -> bool {
        let fields = resource.strategy.fields(&item.value(resource));
        let value = |field: &str| fields.iter().find(|(name, _)| *name == field).map(|(_, value)| value.as_str());
        self.in_object.matches(value)
    }

    pub fn matches(&self, header: &Header) -> bool {
        self.labels.matches_with(|key| header.label(key))
            && self.fields.matches(|field| match field {
                "metadata.name" => Some(&*header.name),
                "metadata.namespace" => Some(&*header.namespace),
                other => header.field(other),
            })
    }

    /// Labels without which nothing matches.
    fn needed_labels(&self) -> Vec<(&str, &str)> {
        let needed = self.labels.requirements().iter().filter_map(|requirement| match requirement.values.as_slice() {
            [value] if requirement.operator == Operator::In => Some((requirement.key.as_str(), value.as_str())),
            _ => None,
        });
        needed.collect()
    }

    /// The only name that can match.
    fn name(&self) -> Option<&str> {
        self.fields.exact("metadata.name")
    }
}

fn unknown_field(known: &[(&'static str, String)], field: &str) -> Status {
    if known.is_empty() {
        let why = r#"is not a known field selector: only "metadata.name", "metadata.namespace""#;
        return Status::bad_request(format!("{field:?} {why}"));
    }
    Status::bad_request(format!("field label not supported: {field}"))
}

/// Where a page begins and in which state.
struct Start {
    snapshot: Snapshot,
    after: Option<Key>,
}

/// What a continue token says.
#[derive(Serialize, Deserialize)]
struct Continue {
    v: String,
    /// -1: whatever is newest.
    rv: i64,
    start: String,
}

const CONTINUE_VERSION: &str = "meta.k8s.io/v1";

impl Start {
    fn of(server: &Inner, resource: &Resource, options: &ListOptions) -> Result<Start, Status> {
        if !options.continue_token.is_empty() {
            return Start::of_token(server, resource, options);
        }
        check_reached(server, options.version)?;
        let exact = match options.version_match {
            VersionMatch::Exact => true,
            VersionMatch::NotOlderThan => false,
            VersionMatch::Unset => options.limit > 0 && options.version.is_some_and(|version| version > 0),
        };
        let snapshot = match options.version.filter(|_| exact) {
            Some(version) => server.store.snapshot_at(Revision(version)).map_err(|_| too_old())?,
            None => server.store.snapshot(),
        };
        Ok(Start { snapshot, after: None })
    }

    fn of_token(server: &Inner, resource: &Resource, options: &ListOptions) -> Result<Start, Status> {
        if options.version.is_some_and(|version| version != 0) {
            return Err(Status::bad_request("specifying resource version is not allowed when using continue"));
        }
        let token = decode_token(&options.continue_token)?;
        let after = after_key(resource, &token.start);
        let Ok(revision) = u64::try_from(token.rv) else {
            return Ok(Start { snapshot: server.store.snapshot(), after: Some(after) });
        };
        match server.store.snapshot_at(Revision(revision)) {
            Ok(snapshot) => Ok(Start { snapshot, after: Some(after) }),
            Err(_) => Err(expired(&token.start)),
        }
    }
}

fn after_key(resource: &Resource, start: &str) -> Key {
    let (namespace, name) = start.split_once('/').unwrap_or(("", start));
    resource.key(namespace, name.trim_end_matches('\0'))
}

fn decode_token(text: &str) -> Result<Continue, Status> {
    let wrong = || Status::bad_request("continue key is not valid: encoded continue token is malformed");
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).map_err(|_| wrong())?;
    let token: Continue = serde_json::from_slice(&bytes).map_err(|_| wrong())?;
    if token.v != CONTINUE_VERSION || token.start.is_empty() || token.start.contains("..") {
        return Err(wrong());
    }
    Ok(token)
}

fn encode_token(revision: i64, start: &str) -> String {
    let token = Continue { v: CONTINUE_VERSION.into(), rv: revision, start: start.into() };
    BASE64_URL_SAFE_NO_PAD.encode(serde_json::to_vec(&token).expect("strings and numbers are JSON"))
}

fn too_old() -> Status {
    Status::expired("The resourceVersion for the provided list is too old.")
}

/// 410 with a token to go on in the newest state.
fn expired(start: &str) -> Status {
    let mut status = Status::expired(
        "The provided continue parameter is too old to display a consistent list result. You can start a new list \
         without the continue parameter, or use the continue token in this response to retrieve the remainder of the \
         results. Continuing with the provided token results in an inconsistent list - objects that were created, \
         modified, or deleted between the time the first chunk was returned and now may show up in the list.",
    );
    status.metadata.continue_token = encode_token(-1, start);
    status
}

struct Page {
    objects: Vec<Arc<Object>>,
    /// The key after which the next page begins, and how many objects are left if that is known.
    next: Option<(String, Option<usize>)>,
}

impl Page {
    fn metadata(&self, revision: Revision) -> Value {
        let mut metadata = Map::new();
        metadata.insert("resourceVersion".into(), revision.to_string().into());
        if let Some((start, remaining)) = &self.next {
            let pinned = i64::try_from(revision.0).unwrap_or(i64::MAX);
            metadata.insert("continue".into(), encode_token(pinned, start).into());
            if let Some(remaining) = remaining {
                metadata.insert("remainingItemCount".into(), (*remaining).into());
            }
        }
        Value::Object(metadata)
    }
}

fn read(start: &Start, resource: &Resource, namespace: &str, filter: &Filter, limit: usize) -> Page {
    if let Some(object) = single(start, resource, namespace, filter) {
        return Page { objects: object.into_iter().collect(), next: None };
    }
    let prefix = resource.prefix(namespace);
    let mut matching = start
        .snapshot
        .range_labelled(&prefix, start.after.as_ref(), &filter.needed_labels())
        .filter(|(_, object)| filter.is_everything() || filter.matches(&object.header));
    if limit == 0 {
        return Page { objects: matching.map(|(_, object)| object.clone()).collect(), next: None };
    }
    let objects: Vec<Arc<Object>> = matching.by_ref().take(limit).map(|(_, object)| object.clone()).collect();
    if objects.len() < limit {
        return Page { objects, next: None };
    }
    let next = objects.last().and_then(|last| {
        // With a selector the rest is not looked through: there may be more.
        let key = resource.key(&last.header.namespace, &last.header.name);
        start.snapshot.range(&prefix, Some(&key)).next()?;
        let remaining = filter.is_everything().then(|| matching.count());
        Some((start_of(last), remaining))
    });
    Page { objects, next }
}

/// The token's form of a key: namespace and name, with a NUL so that it sorts just behind.
fn start_of(last: &Object) -> String {
    match &*last.header.namespace {
        "" => format!("{}\0", last.header.name),
        namespace => format!("{namespace}/{}\0", last.header.name),
    }
}

/// A selector that pins the name needs no scan.
#[expect(clippy::option_option, reason = "not pinned, pinned and absent, pinned and there")]
fn single(start: &Start, resource: &Resource, namespace: &str, filter: &Filter) -> Option<Option<Arc<Object>>> {
    let name = filter.name().filter(|_| start.after.is_none() && (!resource.namespaced || !namespace.is_empty()))?;
    let found = start.snapshot.get(&resource.key(namespace, name)).filter(|object| filter.matches(&object.header));
    Some(found.cloned())
}
