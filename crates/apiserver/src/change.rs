//! Writes: what happens to an object between the client's wish and the store.

use std::sync::Arc;

use admission::Operation;
use apimachinery::managed_fields;
use apimachinery::validation::object_meta::{self, Judged};
use apimachinery::{GroupKind, Status, names, object, strict};
use registry::strategy::Resource;
use serde_json::Value;
use store::{Draft, Object, WriteError};

use crate::call::Call;
use crate::catalog::{self, ResourceExt};
use crate::custom::convert::{self, Conversions};
use crate::device_access;
use crate::encode::Item;
use crate::ownership::Ownership;
use crate::server::Inner;
use crate::subresources::scale::ScaleShown;

/// How often a generated name may be taken.
const NAMES_MAX: usize = 8;

/// Which part of an object an endpoint writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Main,
    Status,
    /// The replica count, which admission is shown as a Scale.
    Scale,
    /// Another subresource, which judges the change itself.
    Other(&'static str),
    /// What a request does to another object after admission has seen the request itself.
    Consequence(&'static str),
}

impl Part {
    pub fn subresource(self) -> &'static str {
        match self {
            Part::Main => "",
            Part::Status => "status",
            Part::Scale => "scale",
            Part::Other(name) | Part::Consequence(name) => name,
        }
    }
}

/// One write and its options.
pub struct Change<'a> {
    pub server: &'a Inner,
    pub call: &'a Call,
    pub resource: &'a Resource,
    pub part: Part,
    pub namespace: &'a str,
    pub name: &'a str,
    pub dry_run: bool,
    /// Name of the manager of the fields that change.
    pub manager: String,
    pub ownership: Ownership,
    pub conversions: Conversions,
}

/// What an update came to.
pub struct Updated {
    pub item: Item,
    pub created: bool,
}

impl Change<'_> {
    pub fn not_found(&self) -> Status {
        Status::not_found(&self.resource.group_resource(), self.name)
    }

    fn modified(&self) -> Status {
        Status::modified(&self.resource.group_resource(), self.name)
    }

    /// The draft of a working value, in the stored version.
    pub async fn draft(&self, value: &Value) -> Result<Draft, Status> {
        convert::to_storage(self.server, self.resource, value).await
    }

    /// The working value of a stored object, in the version of this request.
    pub async fn read(&self, stored: &Arc<Object>) -> Result<Value, Status> {
        Ok(self.shown(stored.clone()).await?.value(self.resource))
    }

    /// What the client gets to see of a stored object.
    pub async fn shown(&self, stored: Arc<Object>) -> Result<Item, Status> {
        convert::one(self.server, self.resource, stored).await
    }

    /// Creates `object`, whose namespace is settled. A name is generated after admission changed what it wanted, which may
    /// have given one, and generated again while it is taken.
    pub async fn create(&self, mut object: Value) -> Result<Item, Status> {
        drop_system_fields(&mut object);
        self.resource.strategy.default(&mut object);
        // Before the server's own additions: they are nobody's fields.
        self.manage(None, &mut object).await;
        self.mutate(Operation::Create, &mut object, None).await?;
        if self.resource.strategy.names_itself() && [object::name(&object), object::generate_name(&object)] == ["", ""]
        {
            object::set_name(&mut object, &uuid::Uuid::new_v4().to_string());
        }
        let (given, base) = (object::name(&object).to_owned(), object::generate_name(&object).to_owned());
        if !given.is_empty() || base.is_empty() {
            return self.named(&given).create_admitted(object).await;
        }
        let mut tries = 0;
        loop {
            tries += 1;
            let name = names::generate(&base);
            object::set_name(&mut object, &name);
            match self.named(&name).create_admitted(object.clone()).await {
                Err(status) if status.is_already_exists() && tries < NAMES_MAX => {}
                Err(status) if status.is_already_exists() => {
                    return Err(Status::generate_name_conflict(&self.resource.group_resource(), &name, 1));
                }
                other => return other,
            }
        }
    }

    /// The same write, to be aimed at something else.
    pub fn another(&self) -> Change<'_> {
        self.named(self.name)
    }

    fn named<'a>(&'a self, name: &'a str) -> Change<'a> {
        Change { name, manager: self.manager.clone(), conversions: Conversions::default(), ..*self }
    }

    async fn create_admitted(&self, mut object: Value) -> Result<Item, Status> {
        let (now, strategy) = (self.call.now_text(), &self.resource.strategy);
        fill_system_fields(&mut object, &now);
        strategy.default(&mut object);
        strategy.prepare_for_create(&mut object, &self.call.context(&now));
        registry::drop_disabled(self.resource, &mut object, None);
        if strategy.generation_at_create() {
            object::set_generation(&mut object, 1);
        }
        // Upstream defaults what it reads back from its storage: a job's labels come from those that its preparation gave.
        strategy.default(&mut object);
        let reservation = self.server.allocators.reserve_for_create(self.resource, &mut object, self.dry_run)?;
        self.normalize(&mut object)?;
        self.validate_new(&object)?;
        self.admit(Operation::Create, &mut object, None).await?;
        strategy.warnings(&object, None).into_iter().for_each(|text| self.call.warn(text));
        if self.dry_run {
            return self.dry_create(object);
        }
        refuse_version(&object)?;
        let key = self.resource.key(self.namespace, self.name);
        let draft = self.draft(&object).await?;
        let written = self.server.store.create_with(key, draft, reservation.companions()).await;
        let stored = written.map_err(|error| self.write_error(error))?;
        reservation.commit();
        self.server.indexes.wait_for(self.resource, stored.revision).await;
        self.shown(stored).await
    }

    /// What admission and the strategy added takes the form of everything that is decoded.
    fn normalize(&self, object: &mut Value) -> Result<(), Status> {
        let node = self.resource.schema.node();
        let decoded = match self.resource.schema.is_built_in() {
            true => strict::normalize(object, node),
            false => self.resource.strategy.decode(object, node),
        };
        decoded.map(drop).map_err(Status::internal)
    }

    fn dry_create(&self, object: Value) -> Result<Item, Status> {
        let key = self.resource.key(self.namespace, self.name);
        match self.server.store.get(&key) {
            Some(_) => Err(Status::already_exists(&self.resource.group_resource(), self.name)),
            None => Ok(Item::Value(object)),
        }
    }

    fn validate_new(&self, object: &Value) -> Result<(), Status> {
        let rule = self.resource.strategy.name_rule();
        let check = |name: &str, prefix: bool| rule.check(name, prefix);
        let mut errors = device_access::check_new(self, object);
        errors.append(object_meta::validate(object, self.resource.namespaced, &check));
        errors.append(self.resource.strategy.validate(object));
        self.refuse(errors)
    }

    fn refuse(&self, errors: apimachinery::field::ErrorList) -> Result<(), Status> {
        if errors.is_empty() {
            return Ok(());
        }
        let errors = match self.resource.schema.is_built_in() {
            true => registry::shown_errors(errors, self.resource.schema.node()),
            false => errors,
        };
        // A kind that another group keeps is judged there.
        let kind = GroupKind::new(self.resource.storage().0, self.resource.kind);
        Err(Status::invalid(&kind, self.name, &errors))
    }

    /// Reads, computes and writes until nobody was faster. `compute` gets the served form of the stored object.
    /// `retry`: whether another writer's success makes us compute anew; else it is a conflict.
    pub async fn update<F>(&self, retry: bool, mut compute: F) -> Result<Updated, Status>
    where
        F: FnMut(&Value) -> Result<Value, Status>,
    {
        let key = self.resource.key(self.namespace, self.name);
        let mut current = self.server.store.get(&key).ok_or_else(|| self.not_found())?;
        loop {
            let old = self.read(&current).await?;
            let wanted = self.settle(|| compute(&old)).await?;
            match self.try_update(&current, old, wanted).await? {
                Attempt::Done(item) => return Ok(Updated { item, created: false }),
                Attempt::Outrun(newer) if retry => current = newer,
                Attempt::Outrun(_) => return Err(self.modified()),
            }
        }
    }

    async fn try_update(&self, current: &Arc<Object>, old: Value, wanted: Value) -> Result<Attempt, Status> {
        let (new, reservation) = self.next_state(&old, wanted).await?;
        if same(&old, &new) {
            return Ok(Attempt::Done(self.shown(current.clone()).await?));
        }
        if self.dry_run {
            return Ok(Attempt::Done(Item::Value(new)));
        }
        let key = self.resource.key(self.namespace, self.name);
        let draft = self.draft(&new).await?;
        let written = if ends(self.resource, &old, &new) {
            let leaving = self.server.allocators.leaving(self.resource, || new.clone());
            let deleted = self.server.store.delete_with(key, current.revision, Some(draft), leaving).await;
            deleted.inspect(|_| self.server.allocators.release(self.resource, &new))
        } else {
            self.server.store.update_with(key, current.revision, draft, reservation.companions()).await
        };
        match written {
            Ok(stored) => {
                reservation.commit();
                self.server.indexes.wait_for(self.resource, stored.revision).await;
                Ok(Attempt::Done(self.shown(stored).await?))
            }
            Err(WriteError::Conflict { current: Some(newer) }) => Ok(Attempt::Outrun(newer)),
            Err(error) => Err(self.write_error(error)),
        }
    }

    /// The object as it would be stored, admitted and valid.
    async fn next_state(&self, old: &Value, wanted: Value) -> Result<(Value, crate::allocate::Reservation), Status> {
        let (now, strategy) = (self.call.now_text(), &self.resource.strategy);
        let mut new = wanted;
        keep_system_fields(&mut new, old);
        strategy.default(&mut new);
        self.manage(Some(old), &mut new).await;
        self.mutate(Operation::Update, &mut new, Some(old)).await?;
        strategy.default(&mut new);
        match self.part {
            Part::Main | Part::Scale => {
                strategy.prepare_for_update(&mut new, old, &self.call.context(&now));
                registry::drop_disabled(self.resource, &mut new, Some(old));
            }
            Part::Status => {
                let part = &self.call.info.subresource;
                strategy.prepare_for_part_update(part, &mut new, old, &self.call.context(&now));
            }
            Part::Other(_) | Part::Consequence(_) => {}
        }
        let reservation = match self.part {
            Part::Main | Part::Scale => {
                self.server.allocators.reserve_for_update(self.resource, old, &mut new, self.dry_run)?
            }
            _ => crate::allocate::Reservation::none(),
        };
        self.normalize(&mut new)?;
        if strategy.has_generation() && self.part != Part::Status && strategy.generation_moves(old, &new) {
            object::set_generation(&mut new, object::generation(old) + 1);
        }
        self.validate_change(&new, old)?;
        self.admit(Operation::Update, &mut new, Some(old)).await?;
        self.warnings(&new, old).into_iter().for_each(|text| self.call.warn(text));
        Ok((new, reservation))
    }

    /// What is accepted but worth a word, by the rules of what is written.
    fn warnings(&self, new: &Value, old: &Value) -> Vec<String> {
        match self.part {
            Part::Main | Part::Scale => self.resource.strategy.warnings(new, Some(old)),
            Part::Status => self.resource.strategy.part_warnings(&self.call.info.subresource, new, old),
            Part::Other(_) | Part::Consequence(_) => Vec::new(),
        }
    }

    fn validate_change(&self, new: &Value, old: &Value) -> Result<(), Status> {
        let judged = match self.part {
            Part::Main | Part::Scale => registry::metadata_judged(self.resource),
            Part::Status => registry::status_metadata_judged(self.resource),
            Part::Other(_) | Part::Consequence(_) => Judged::ONCE,
        };
        let mut errors = device_access::check_status(self, new, old);
        errors.append(object_meta::validate_update(new, old, judged));
        match self.part {
            Part::Main | Part::Scale => errors.append(self.resource.strategy.validate_update(new, old)),
            Part::Status => {
                let part = &self.call.info.subresource;
                errors.append(self.resource.strategy.validate_part_update(part, new, old));
            }
            // The other writers of parts have rules of their own.
            Part::Other("finalize") => {
                errors.append(self.resource.strategy.validate_part_update("finalize", new, old));
            }
            Part::Other(_) | Part::Consequence(_) => {}
        }
        self.refuse(errors)
    }

    fn admission<'a>(
        &'a self,
        operation: Operation,
        object: Option<&'a mut Value>,
        old: Option<&'a Value>,
    ) -> admission::Request<'a> {
        admission::Request {
            operation,
            resource: self.resource,
            // Approval of a certificate request is written as its status, and admitted as what it is.
            subresource: match (self.part, self.call.info.subresource.as_str()) {
                (Part::Status, named) if !named.is_empty() => named,
                _ => self.part.subresource(),
            },
            namespace: self.namespace,
            name: self.name,
            object,
            old,
            user: &self.call.user,
            dry_run: self.dry_run,
            store: &self.server.store,
            origin: self.call,
            services: &self.server.admission,
            reinvocation: admission::webhook::Reinvocation::default(),
        }
    }

    pub async fn mutate(&self, operation: Operation, object: &mut Value, old: Option<&Value>) -> Result<(), Status> {
        match (self.part, old) {
            (Part::Consequence(_), _) => return Ok(()),
            (Part::Scale, Some(old)) => {
                let mut shown = ScaleShown::of(self, object, old)?;
                admission::mutate(&mut self.admission(operation, Some(&mut shown.new), Some(&shown.old))).await?;
                return shown.take_back(self, object);
            }
            _ => {}
        }
        self.drop_repeated_owners(object, "");
        let before = object.pointer("/metadata/managedFields").cloned();
        admission::mutate(&mut self.admission(operation, Some(object), old)).await?;
        self.check_owners_after_admission(object, before);
        self.drop_repeated_owners(object, " after mutating admission happens");
        Ok(())
    }

    fn drop_repeated_owners(&self, object: &mut Value, when: &str) {
        let repeated = object::drop_repeated_owners(object);
        if !repeated.is_empty() {
            self.call.warn(format!(
                ".metadata.ownerReferences contains duplicate entries{when}; API server dedups owner references in 1.20+, and may \
                 reject such requests as early as 1.24; please fix your requests; duplicate UID(s) observed: {}",
                repeated.join(", ")
            ));
        }
    }

    pub async fn admit(&self, operation: Operation, object: &mut Value, old: Option<&Value>) -> Result<(), Status> {
        match (self.part, old) {
            (Part::Consequence(_), _) => return Ok(()),
            (Part::Scale, Some(old)) => {
                let mut shown = ScaleShown::of(self, object, old)?;
                return admission::validate(&self.admission(operation, Some(&mut shown.new), Some(&shown.old))).await;
            }
            _ => {}
        }
        crate::stages::authorize::check_rbac_write(self, object, old)?;
        admission::validate(&self.admission(operation, Some(object), old)).await
    }

    /// The chain for a deletion.
    pub async fn admit_delete(&self, old: &Value) -> Result<(), Status> {
        if matches!(self.part, Part::Consequence(_)) {
            return Ok(());
        }
        admission::mutate(&mut self.admission(Operation::Delete, None, Some(old))).await?;
        admission::validate(&self.admission(Operation::Delete, None, Some(old))).await
    }

    pub fn write_error(&self, error: WriteError) -> Status {
        match error {
            WriteError::AlreadyExists(_) => Status::already_exists(&self.resource.group_resource(), self.name),
            WriteError::Conflict { current: Some(_) } => self.modified(),
            WriteError::Conflict { current: None } => self.not_found(),
            // Somebody made an IPAddress of that name by hand a moment ago: the next try sees it.
            WriteError::CompanionExists(_) => self.modified(),
            other => Status::internal(other),
        }
    }
}

enum Attempt {
    Done(Item),
    Outrun(Arc<Object>),
}

/// The stored form of a working value, where no webhook is needed for it.
pub fn draft(resource: &Resource, value: &Value) -> Draft {
    let mut stored = value.clone();
    if resource.storage.is_some() {
        stored = resource.strategy.to_storage(stored);
    }
    if let Some(map) = stored.as_object_mut() {
        map.remove("kind");
        match &resource.custom {
            Some(custom) => {
                map.insert("apiVersion".into(), format!("{}/{}", resource.group, custom.storage_version).into())
            }
            None => map.remove("apiVersion"),
        };
    }
    let (group, name) = resource.storage();
    let owner = catalog::of_storage(group, name).map_or(resource, AsRef::as_ref);
    let header = catalog::header(owner, &stored);
    Draft::new(&stored, header)
}

/// What no client sets.
fn drop_system_fields(object: &mut Value) {
    let metadata = object::metadata_mut(object);
    for field in ["creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "selfLink", "uid"] {
        metadata.remove(field);
    }
}

/// What is new has no version; a text that is none says nothing.
fn refuse_version(object: &Value) -> Result<(), Status> {
    match object::resource_version(object).parse() {
        Ok(1..=u64::MAX) => Err(Status::internal("resourceVersion should not be set on objects to be created")),
        _ => Ok(()),
    }
}

/// After webhooks: they see an object that does not exist yet.
fn fill_system_fields(object: &mut Value, now: &str) {
    drop_system_fields(object);
    object::set_creation_timestamp(object, now);
    object::set_uid(object, &uuid::Uuid::new_v4().to_string());
}

/// What no update changes. Some is the server's whatever the client sent; some is only added, and judged where it differs.
fn keep_system_fields(new: &mut Value, old: &Value) {
    let before = |field: &str| old.pointer(&format!("/metadata/{field}")).cloned();
    let metadata = object::metadata_mut(new);
    metadata.remove("selfLink");
    metadata.insert("resourceVersion".into(), object::resource_version(old).into());
    for field in ["generation", "creationTimestamp"] {
        match before(field) {
            Some(value) => metadata.insert(field.into(), value),
            None => metadata.remove(field),
        };
    }
    if let Some(ending) = before("deletionTimestamp") {
        metadata.insert("deletionTimestamp".into(), ending);
    }
    for field in ["deletionGracePeriodSeconds", "uid"] {
        let absent = metadata.get(field).is_none_or(|value| value.is_null() || value == "");
        if let Some(value) = before(field).filter(|_| absent) {
            metadata.insert(field.into(), value);
        }
    }
}

/// Whether nothing differs but versions and the times of managers.
fn same(old: &Value, new: &Value) -> bool {
    let mut new = new.clone();
    object::set_resource_version(&mut new, object::resource_version(old));
    managed_fields::same_but_for_times(old, &new)
}

/// Whether an update takes away the last thing that a deletion waited for.
fn ends(resource: &Resource, old: &Value, new: &Value) -> bool {
    if object::deletion_timestamp(new).is_none() || object::finalizers(new).next().is_some() {
        return false;
    }
    if resource.group.is_empty() && resource.name == "namespaces" {
        return crate::verbs::delete::namespace_is_empty(new);
    }
    let had = object::finalizers(old).next().is_some();
    had && object::deletion_grace_period_seconds(new).unwrap_or(0) == 0
}
