//! Writes: what happens to an object between the client's wish and the store.

use std::sync::Arc;

use admission::Operation;
use apimachinery::managed_fields;
use apimachinery::validation::object_meta;
use apimachinery::{GroupKind, Status, object};
use registry::strategy::Resource;
use serde_json::Value;
use store::{Draft, Object, WriteError};

use crate::call::Call;
use crate::catalog::{self, ResourceExt};
use crate::custom::convert;
use crate::encode::Item;
use crate::ownership::Ownership;
use crate::server::Inner;

/// Which part of an object an endpoint writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Main,
    Status,
    /// Another subresource, which judges the change itself.
    Other(&'static str),
}

impl Part {
    pub fn subresource(self) -> &'static str {
        match self {
            Part::Main => "",
            Part::Status => "status",
            Part::Other(name) => name,
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
        Ok(convert::one(self.server, self.resource, stored.clone()).await?.value(self.resource))
    }

    /// Creates `object`, whose namespace and name are settled.
    pub async fn create(&self, mut object: Value) -> Result<Item, Status> {
        let (now, strategy) = (self.call.now_text(), &self.resource.strategy);
        drop_system_fields(&mut object);
        strategy.default(&mut object);
        // Before the server's own additions: they are nobody's fields.
        self.manage(None, &mut object);
        self.mutate(Operation::Create, &mut object, None).await?;
        fill_system_fields(&mut object, &now);
        strategy.default(&mut object);
        strategy.prepare_for_create(&mut object, &self.call.context(&now));
        if strategy.generation_at_create() {
            object::set_generation(&mut object, 1);
        }
        // Upstream defaults what it reads back from its storage: a job's labels come from those that its preparation gave.
        strategy.default(&mut object);
        let reservation = self.server.allocators.reserve_for_create(self.resource, &mut object)?;
        self.normalize(&mut object)?;
        self.validate_new(&object)?;
        self.admit(Operation::Create, &mut object, None).await?;
        strategy.warnings(&object, None).into_iter().for_each(|text| self.call.warn(text));
        if self.dry_run {
            return self.dry_create(object);
        }
        let key = self.resource.key(self.namespace, self.name);
        let draft = self.draft(&object).await?;
        let stored = self.server.store.create(key, draft).await.map_err(|error| self.write_error(error))?;
        reservation.commit();
        self.server.indexes.wait_for(self.resource, stored.revision).await;
        Ok(Item::Stored(stored))
    }

    /// What admission and the strategy added takes the form of everything that is decoded.
    fn normalize(&self, object: &mut Value) -> Result<(), Status> {
        let decoded = self.resource.strategy.decode(object, self.resource.schema.node());
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
        let mut errors = object_meta::validate(object, self.resource.namespaced, &check);
        errors.append(self.resource.strategy.validate(object));
        self.refuse(errors)
    }

    fn refuse(&self, errors: apimachinery::field::ErrorList) -> Result<(), Status> {
        if errors.is_empty() {
            return Ok(());
        }
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
            let wanted = compute(&old)?;
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
            return Ok(Attempt::Done(Item::Stored(current.clone())));
        }
        if self.dry_run {
            return Ok(Attempt::Done(Item::Value(new)));
        }
        let key = self.resource.key(self.namespace, self.name);
        let draft = self.draft(&new).await?;
        let written = if ends(self.resource, &old, &new) {
            let deleted = self.server.store.delete(key, current.revision, Some(draft)).await;
            deleted.inspect(|_| self.server.allocators.release(self.resource, &new))
        } else {
            self.server.store.update(key, current.revision, draft).await
        };
        match written {
            Ok(stored) => {
                reservation.commit();
                self.server.indexes.wait_for(self.resource, stored.revision).await;
                Ok(Attempt::Done(Item::Stored(stored)))
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
        self.manage(Some(old), &mut new);
        self.mutate(Operation::Update, &mut new, Some(old)).await?;
        strategy.default(&mut new);
        match self.part {
            Part::Main => strategy.prepare_for_update(&mut new, old, &self.call.context(&now)),
            Part::Status => strategy.prepare_for_status_update(&mut new, old),
            Part::Other(_) => {}
        }
        let reservation = match self.part {
            Part::Main => self.server.allocators.reserve_for_update(self.resource, old, &mut new)?,
            _ => crate::allocate::Reservation::none(),
        };
        if strategy.has_generation() && self.part != Part::Status && strategy.generation_moves(old, &new) {
            object::set_generation(&mut new, object::generation(old) + 1);
        }
        self.normalize(&mut new)?;
        self.validate_change(&new, old)?;
        self.admit(Operation::Update, &mut new, Some(old)).await?;
        strategy.warnings(&new, Some(old)).into_iter().for_each(|text| self.call.warn(text));
        Ok((new, reservation))
    }

    fn validate_change(&self, new: &Value, old: &Value) -> Result<(), Status> {
        let mut errors = object_meta::validate_update(new, old);
        match self.part {
            Part::Main => errors.append(self.resource.strategy.validate_update(new, old)),
            Part::Status => errors.append(self.resource.strategy.validate_status_update(new, old)),
            Part::Other(_) => {}
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
        let before = object.pointer("/metadata/managedFields").cloned();
        admission::mutate(&mut self.admission(operation, Some(object), old)).await?;
        self.check_owners_after_admission(object, before);
        Ok(())
    }

    pub async fn admit(&self, operation: Operation, object: &mut Value, old: Option<&Value>) -> Result<(), Status> {
        crate::stages::authorize::check_rbac_write(self, object, old)?;
        admission::validate(&self.admission(operation, Some(object), old)).await
    }

    /// The chain for a deletion.
    pub async fn admit_delete(&self, old: &Value) -> Result<(), Status> {
        admission::mutate(&mut self.admission(Operation::Delete, None, Some(old))).await?;
        admission::validate(&self.admission(Operation::Delete, None, Some(old))).await
    }

    pub fn write_error(&self, error: WriteError) -> Status {
        match error {
            WriteError::AlreadyExists(_) => Status::already_exists(&self.resource.group_resource(), self.name),
            WriteError::Conflict { current: Some(_) } => self.modified(),
            WriteError::Conflict { current: None } => self.not_found(),
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

/// After webhooks: they see an object that does not exist yet.
fn fill_system_fields(object: &mut Value, now: &str) {
    drop_system_fields(object);
    object::set_creation_timestamp(object, now);
    object::set_uid(object, &uuid::Uuid::new_v4().to_string());
}

/// What no update changes, whatever the client sent.
fn keep_system_fields(new: &mut Value, old: &Value) {
    let fields = ["deletionTimestamp", "deletionGracePeriodSeconds", "generation", "creationTimestamp", "uid"];
    let kept: Vec<_> =
        fields.iter().map(|field| (*field, old.pointer(&format!("/metadata/{field}")).cloned())).collect();
    let metadata = object::metadata_mut(new);
    metadata.remove("selfLink");
    metadata.insert("resourceVersion".into(), object::resource_version(old).into());
    for (field, value) in kept {
        match value {
            Some(value) => metadata.insert(field.into(), value),
            None => metadata.remove(field),
        };
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
