//! The seam between the pipeline and a kind.

use apimachinery::field::ErrorList;
use serde_json::Value;

/// A resource as it is served: one row of discovery, and its strategy.
pub struct Resource {
    pub group: &'static str,
    pub version: &'static str,
    pub kind: &'static str,
    /// Plural name as it stands in the path.
    pub name: &'static str,
    pub singular: &'static str,
    pub short_names: &'static [&'static str],
    pub categories: &'static [&'static str],
    pub namespaced: bool,
    /// In discovery's order: alphabetical.
    pub verbs: &'static [&'static str],
    pub subresources: &'static [Subresource],
    /// Name of the definition in the schema tables, e.g. `io.k8s.api.core.v1.Pod`.
    pub schema: &'static str,
    /// `(group, resource)` under which objects are stored when another resource owns the storage
    /// (events.k8s.io/v1 events live with core/v1 events).
    pub storage: Option<(&'static str, &'static str)>,
    pub strategy: &'static dyn Strategy,
}

/// A subresource of discovery. What it does is known by its name: `status` and `scale` are driven by the
/// strategy; `log`, `exec`, `binding`, `eviction`, `token` … are handlers of the API server.
pub struct Subresource {
    pub name: &'static str,
    pub group: &'static str,
    pub version: &'static str,
    pub kind: &'static str,
    pub verbs: &'static [&'static str],
}

/// A printer column, as in a `Table`.
pub struct Column {
    pub name: &'static str,
    /// `string`, `integer`, `number`, `boolean`, `date`.
    pub kind: &'static str,
    /// `name` for the first column, else empty.
    pub format: &'static str,
    pub description: &'static str,
    /// 0 is always printed, 1 with `-o wide`.
    pub priority: i32,
}

/// Where a kind keeps what the `scale` subresource shows, as JSON pointers.
pub struct ScalePaths {
    pub spec_replicas: &'static str,
    pub status_replicas: &'static str,
    /// The label selector, `/spec/selector` for the built-in kinds.
    pub selector: &'static str,
}

/// What the request says beside the object.
pub struct Context<'a> {
    /// The time of the request, RFC 3339 with seconds.
    pub now: &'a str,
    pub namespace: &'a str,
    /// The user's name, for kinds that record it (CertificateSigningRequest).
    pub user: &'a str,
    pub user_uid: &'a str,
    pub user_groups: &'a [String],
}

/// What is specific to a kind. Every method is pure and synchronous. The pipeline has already set
/// apiVersion, kind and the system part of metadata, and keeps `metadata.generation` by asking
/// [`Strategy::generation_moves`].
///
/// Order on create: `prepare_for_create`, `default`, mutating admission, `default`, `validate`.
/// Order on update: `default`, `prepare_for_update`, mutating admission, `default`, `validate_update`.
pub trait Strategy: Sync + Send {
    /// Drops what a creator may not set (status, disabled fields).
    fn prepare_for_create(&self, _object: &mut Value, _context: &Context<'_>) {}

    /// Fills in what the client left out. Must be idempotent.
    fn default(&self, _object: &mut Value) {}

    /// The kind's own rules; the pipeline validates metadata itself, with [`Strategy::name_rule`].
    fn validate(&self, _object: &Value) -> ErrorList {
        ErrorList::default()
    }

    /// Keeps what this endpoint may not change (status).
    fn prepare_for_update(&self, _new: &mut Value, _old: &Value, _context: &Context<'_>) {}

    /// The rules for a change. Called instead of `validate`, so it includes it where upstream does.
    fn validate_update(&self, new: &Value, _old: &Value) -> ErrorList {
        self.validate(new)
    }

    /// Keeps what the status endpoint may not change (spec, most metadata).
    fn prepare_for_status_update(&self, new: &mut Value, old: &Value) {
        strategy_keep_all_but_status(new, old);
    }

    fn validate_status_update(&self, _new: &Value, _old: &Value) -> ErrorList {
        ErrorList::default()
    }

    /// Whether `metadata.generation` is kept for the kind, and moves from `old` to `new`.
    fn generation_moves(&self, old: &Value, new: &Value) -> bool {
        old.get("spec") != new.get("spec")
    }

    fn has_generation(&self) -> bool {
        false
    }

    /// Texts for the `Warning` header.
    fn warnings(&self, _new: &Value, _old: Option<&Value>) -> Vec<String> {
        Vec::new()
    }

    fn name_rule(&self) -> NameRule {
        NameRule::DnsSubdomain
    }

    /// Columns besides Name and Age when empty.
    fn columns(&self) -> &'static [Column] {
        DEFAULT_COLUMNS
    }

    /// One cell for each column. `now` is seconds since the epoch.
    fn row(&self, object: &Value, now: i64) -> Vec<Value> {
        vec![
            object.pointer("/metadata/name").cloned().unwrap_or(Value::Null),
            apimachinery::table::age(object, now),
        ]
    }

    /// Selectable fields besides `metadata.name` and `metadata.namespace`. The names that the kind supports are
    /// those that this returns for any object of the kind (absent values are empty strings).
    fn fields(&self, _object: &Value) -> Vec<(&'static str, String)> {
        Vec::new()
    }

    fn scale(&self) -> Option<ScalePaths> {
        None
    }

    /// For kinds that end gracefully (pods): the grace period in seconds that the deletion gets, given what the
    /// client asked for. `None`: the kind is deleted at once.
    fn grace_period(&self, _object: &Value, _requested: Option<i64>) -> Option<i64> {
        None
    }

    /// Propagation when the client names none: `true` orphans dependents (historic kinds).
    fn orphans_by_default(&self) -> bool {
        false
    }

    fn allows_create_on_update(&self) -> bool {
        false
    }

    fn allows_unconditional_update(&self) -> bool {
        true
    }

    /// From the served form to the stored form, and back, where `Resource::storage` names another resource.
    fn to_storage(&self, object: Value) -> Value {
        object
    }

    fn from_storage(&self, object: Value) -> Value {
        object
    }
}

/// How `metadata.name` of a kind may look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameRule {
    DnsSubdomain,
    DnsLabel,
    /// RFC 1035 label: services.
    Dns1035Label,
    /// Only what a path segment forbids: RBAC kinds.
    PathSegment,
}

pub const DEFAULT_COLUMNS: &[Column] = &[
    Column { name: "Name", kind: "string", format: "name", description: "", priority: 0 },
    Column { name: "Age", kind: "string", format: "", description: "", priority: 0 },
];

/// Puts everything of `old` into `new` except `status`.
pub fn strategy_keep_all_but_status(new: &mut Value, old: &Value) {
    let status = new.get_mut("status").map(Value::take);
    let managed = new.pointer_mut("/metadata/managedFields").map(Value::take);
    *new = old.clone();
    if let Some(map) = new.as_object_mut() {
        match status {
            Some(status) => map.insert("status".into(), status),
            None => map.remove("status"),
        };
    }
    if let (Some(managed), Some(metadata)) = (managed, new.get_mut("metadata").and_then(Value::as_object_mut)) {
        metadata.insert("managedFields".into(), managed);
    }
}
