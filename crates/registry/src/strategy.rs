//! The seam between the pipeline and a kind.

use std::borrow::Cow;
use std::ops::Deref;
use std::sync::Arc;

use api::schema::{DynamicSchema, SchemaNode};
use apimachinery::field::ErrorList;
use bytes::Bytes;
use serde_json::Value;

/// A resource as it is served: one row of discovery, and its strategy. Of a built-in kind, or made at run time from a
/// CustomResourceDefinition; names of the latter are kept by [`crate::names::intern`].
pub struct Resource {
    pub group: &'static str,
    pub version: &'static str,
    pub kind: &'static str,
    /// Plural name as it stands in the path.
    pub name: &'static str,
    pub singular: &'static str,
    pub short_names: Vec<&'static str>,
    pub categories: Vec<&'static str>,
    pub namespaced: bool,
    /// In discovery's order: alphabetical.
    pub verbs: &'static [&'static str],
    pub subresources: Vec<Subresource>,
    pub schema: Schema,
    /// `(group, resource)` under which objects are stored when another resource owns the storage
    /// (events.k8s.io/v1 events live with core/v1 events).
    pub storage: Option<(&'static str, &'static str)>,
    /// Of a kind that a definition brought.
    pub custom: Option<Custom>,
    pub strategy: StrategyRef,
    pub storage_version_hash: String,
    /// Text of a `Warning` header on every request for the resource; empty when it is not deprecated.
    pub deprecation: String,
}

/// What is known of a custom resource beside what every resource has. Its objects are stored with their apiVersion.
pub struct Custom {
    /// Name of the CustomResourceDefinition.
    pub definition: String,
    pub list_kind: String,
    /// The version in which objects are stored.
    pub storage_version: &'static str,
    /// Objects of this revision and later were written under the schema of this resource. Older ones are pruned and
    /// defaulted when they are read.
    pub settled: u64,
    /// `spec.conversion.webhook` where versions differ by more than their names.
    pub webhook: Option<Value>,
    /// The definition is going; nothing new is created.
    pub terminating: bool,
    /// The definition itself as it is stored, with all that is said for people.
    pub source: Bytes,
}

/// Where the fields of a resource are described.
pub enum Schema {
    /// Name of the definition in the schema tables, e.g. `io.k8s.api.core.v1.Pod`.
    Definition(&'static str),
    /// Loaded at run time.
    Dynamic(Arc<dyn DynamicSchema>),
}

impl Schema {
    pub fn node(&self) -> SchemaNode<'_> {
        match self {
            Schema::Definition(name) => {
                api::schema::definition(name).expect("every built-in kind has a definition").node()
            }
            Schema::Dynamic(schema) => SchemaNode::Dynamic(schema.as_ref()),
        }
    }

    /// Whether the kind is one that the server itself brings.
    pub fn is_built_in(&self) -> bool {
        matches!(self, Schema::Definition(_))
    }
}

/// A strategy of a built-in kind, or of a kind that came at run time.
#[derive(Clone)]
pub enum StrategyRef {
    BuiltIn(&'static dyn Strategy),
    Dynamic(Arc<dyn Strategy>),
}

impl Deref for StrategyRef {
    type Target = dyn Strategy;

    fn deref(&self) -> &Self::Target {
        match self {
            StrategyRef::BuiltIn(strategy) => *strategy,
            StrategyRef::Dynamic(strategy) => strategy.as_ref(),
        }
    }
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
    pub name: Cow<'static, str>,
    /// `string`, `integer`, `number`, `boolean`, `date`.
    pub kind: &'static str,
    /// `name` for the first column, else empty.
    pub format: &'static str,
    pub description: Cow<'static, str>,
    /// 0 is always printed, 1 with `-o wide`.
    pub priority: i32,
}

/// Where a kind keeps what the `scale` subresource shows, as JSON pointers.
pub struct ScalePaths<'a> {
    pub spec_replicas: &'a str,
    pub status_replicas: &'a str,
    /// The label selector, `/spec/selector` for the built-in kinds. Empty when there is none.
    pub selector: &'a str,
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
/// Order on create: `default`, managed fields, mutating admission, `default`, `prepare_for_create`, `default`, allocation,
/// `validate`.
/// Order on update: `default`, managed fields, mutating admission, `default`, `prepare_for_update`, `validate_update`.
/// Whoever fills something in before the managed fields are kept makes the client its owner; what `prepare_*` adds
/// belongs to nobody. On a status endpoint `prepare_for_status_update` and `validate_status_update` take their places.
pub trait Strategy: Sync + Send {
    /// Drops what a creator may not set (status, disabled fields).
    fn prepare_for_create(&self, object: &mut Value, _context: &Context<'_>) {
        reset_status(object);
    }

    /// Brings what a client sent into the form of the kind, and names what the kind does not know or what stands twice.
    fn decode(&self, object: &mut Value, node: SchemaNode<'_>) -> Result<Vec<String>, String> {
        apimachinery::strict::read(object, node)
    }

    /// Fills in what the client left out. Must be idempotent.
    fn default(&self, _object: &mut Value) {}

    /// The kind's own rules; the pipeline validates metadata itself, with [`Strategy::name_rule`].
    fn validate(&self, _object: &Value) -> ErrorList {
        ErrorList::default()
    }

    /// Keeps what this endpoint may not change (status).
    fn prepare_for_update(&self, new: &mut Value, old: &Value, _context: &Context<'_>) {
        keep_status(new, old);
    }

    /// The rules for a change. Called instead of `validate`, so it includes it where upstream does.
    fn validate_update(&self, new: &Value, _old: &Value) -> ErrorList {
        self.validate(new)
    }

    /// Keeps what the status endpoint may not change (spec, most metadata).
    fn prepare_for_status_update(&self, new: &mut Value, old: &Value) {
        keep_all_but_status_and_metadata(new, old);
    }

    fn validate_status_update(&self, _new: &Value, _old: &Value) -> ErrorList {
        ErrorList::default()
    }

    /// Like `prepare_for_status_update`, for kinds whose status is written by several endpoints (`status`, `approval`).
    fn prepare_for_part_update(&self, _subresource: &str, new: &mut Value, old: &Value, _context: &Context<'_>) {
        self.prepare_for_status_update(new, old);
    }

    fn validate_part_update(&self, _subresource: &str, new: &Value, old: &Value) -> ErrorList {
        self.validate_status_update(new, old)
    }

    /// Whether `metadata.generation` is kept for the kind, and moves from `old` to `new`.
    fn generation_moves(&self, old: &Value, new: &Value) -> bool {
        old.get("spec") != new.get("spec")
    }

    fn has_generation(&self) -> bool {
        false
    }

    /// Whether a new object has generation 1; else the first change gives it.
    fn generation_at_create(&self) -> bool {
        self.has_generation()
    }

    /// Fields that this endpoint resets, and that its writers therefore never own. `subresource` is empty for the main
    /// resource.
    fn reset_fields(&self, subresource: &str) -> &'static [&'static str] {
        match subresource {
            "" => &["status"],
            "status" => &["spec"],
            _ => &[],
        }
    }

    /// For endpoints that reset everything but a few fields: those, with `*` for any item of a list. Empty: the endpoint is
    /// not of that kind.
    fn reset_all_but(&self, _subresource: &str) -> &'static [&'static str] {
        &[]
    }

    /// Texts for the `Warning` header.
    fn warnings(&self, _new: &Value, _old: Option<&Value>) -> Vec<String> {
        Vec::new()
    }

    /// The same of a part: most say nothing.
    fn part_warnings(&self, _subresource: &str, _new: &Value, _old: &Value) -> Vec<String> {
        Vec::new()
    }

    fn name_rule(&self) -> NameRule {
        NameRule::DnsSubdomain
    }

    /// Columns besides Name and Age when empty.
    fn columns(&self) -> &[Column] {
        DEFAULT_COLUMNS
    }

    /// One cell for each column. `now` is seconds since the epoch.
    fn row(&self, object: &Value, now: i64) -> Vec<Value> {
        vec![object.pointer("/metadata/name").cloned().unwrap_or(Value::Null), apimachinery::table::age(object, now)]
    }

    /// The order of the rows of a table, where it is not that of the list.
    fn order_rows(&self, _objects: &mut [&Value]) {}

    /// Selectable fields besides `metadata.name` and `metadata.namespace`. The names that the kind supports are
    /// those that this returns for any object of the kind (absent values are empty strings).
    fn fields(&self, _object: &Value) -> Vec<(&'static str, String)> {
        Vec::new()
    }

    /// What [`Strategy::fields`] calls a field that a selector names; `None` where selectors may not name it.
    fn selected_field<'a>(&self, label: &'a str) -> Option<&'a str> {
        Some(label)
    }

    fn scale(&self) -> Option<ScalePaths<'_>> {
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

    /// What a client hears who deletes without naming a propagation.
    fn deletion_warning(&self) -> Option<&'static str> {
        None
    }

    /// Whether an object that is created without a name gets one.
    fn names_itself(&self) -> bool {
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

    #[expect(clippy::wrong_self_convention, reason = "the pair of to_storage, asked of the strategy")]
    fn from_storage(&self, object: Value) -> Value {
        object
    }
}

/// How `metadata.name` of a kind may look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameRule {
    DnsSubdomain,
    DnsLabel,
    /// Only what a path segment forbids: RBAC kinds.
    PathSegment,
    /// The name is an address: IPAddress.
    Ip,
}

impl NameRule {
    /// What is wrong with a name, or with the prefix that one is generated from.
    pub fn check(self, value: &str, prefix: bool) -> Vec<String> {
        use apimachinery::validation as rules;
        let masked = rules::object_meta::mask_trailing_dash(value, prefix);
        match self {
            Self::DnsSubdomain => rules::is_dns1123_subdomain(&masked),
            Self::DnsLabel => rules::is_dns1123_label(&masked),
            Self::PathSegment => rules::is_path_segment_name(value),
            Self::Ip => match rules::parse_ip(value).map(|address| address.to_canonical().to_string()) {
                Some(canonical) if canonical == value => Vec::new(),
                Some(canonical) => vec![format!("must be in canonical form ({canonical:?})")],
                None => vec!["must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)".into()],
            },
        }
    }
}

impl Column {
    /// The first column of nearly every kind.
    pub const NAME: Self = Self {
        name: Cow::Borrowed("Name"),
        kind: "string",
        format: "name",
        description: Cow::Borrowed("Name must be unique within a namespace."),
        priority: 0,
    };
    pub const AGE: Self = Self::text("Age");

    pub const fn text(name: &'static str) -> Self {
        Self::new(name, "string", "", 0)
    }

    /// Printed with `-o wide` only.
    pub const fn wide(name: &'static str) -> Self {
        Self::new(name, "string", "", 1)
    }

    pub const fn of(name: &'static str, kind: &'static str) -> Self {
        Self::new(name, kind, "", 0)
    }

    pub const fn new(name: &'static str, kind: &'static str, format: &'static str, priority: i32) -> Self {
        Self { name: Cow::Borrowed(name), kind, format, description: Cow::Borrowed(""), priority }
    }
}

pub const DEFAULT_COLUMNS: &[Column] = &[Column::NAME, Column::AGE];

/// Gives the object the status that a new object of its kind has.
pub fn reset_status(object: &mut Value) {
    let zero = status_of_zero(object);
    let Some(map) = object.as_object_mut() else { return };
    match zero {
        Some(status) => map.insert("status".into(), status),
        None => map.remove("status"),
    };
}

fn status_of_zero(object: &Value) -> Option<Value> {
    let gvk = apimachinery::Gvk::of(object)?;
    let node = api::schema::kind(&gvk.group, &gvk.version, &gvk.kind)?.node();
    apimachinery::strict::zero(node).get("status").cloned()
}

/// Puts the status of `old` into `new`.
pub fn keep_status(new: &mut Value, old: &Value) {
    let Some(map) = new.as_object_mut() else { return };
    match old.get("status") {
        Some(status) => map.insert("status".into(), status.clone()),
        None => map.remove("status"),
    };
}

/// Everything but status and metadata stays: most status endpoints may change metadata too.
pub fn keep_all_but_status_and_metadata(new: &mut Value, old: &Value) {
    let (Some(new), Some(old)) = (new.as_object_mut(), old.as_object()) else { return };
    new.retain(|name, _| name == "status" || name == "metadata");
    for (name, value) in old.iter().filter(|(name, _)| *name != "status" && *name != "metadata") {
        new.insert(name.clone(), value.clone());
    }
}

/// The same for kinds whose metadata stays, besides what the server itself keeps there.
pub fn keep_all_but_the_status(new: &mut Value, old: &Value) {
    keep_all_but_status_and_metadata(new, old);
    ["labels", "annotations", "finalizers", "ownerReferences"].iter().for_each(|name| keep_metadata(new, old, name));
}

pub fn keep_metadata(new: &mut Value, old: &Value, name: &str) {
    let metadata = apimachinery::object::metadata_mut(new);
    match old.pointer("/metadata").and_then(|metadata| metadata.get(name)) {
        Some(value) => metadata.insert(name.into(), value.clone()),
        None => metadata.remove(name),
    };
}
