//! An object that a command works on.

use std::sync::Arc;

use client::Client;
use http::Method;
use serde_json::{Value, json};

use super::{Call, Mapping};
use crate::failure::Failure;

/// Where an object is, and what is known of it.
#[derive(Clone, Debug)]
pub struct Info {
    pub mapping: Arc<Mapping>,
    /// Empty for a cluster-scoped object.
    pub namespace: String,
    pub name: String,
    pub object: Value,
    /// The file that it was read from.
    pub source: Option<String>,
}

impl Info {
    pub fn new(mapping: &Arc<Mapping>, namespace: &str, name: &str) -> Self {
        let namespace = if mapping.namespaced { namespace.to_owned() } else { String::new() };
        Self { mapping: mapping.clone(), namespace, name: name.to_owned(), object: Value::Null, source: None }
    }

    pub fn of_object(mapping: &Arc<Mapping>, object: Value) -> Self {
        let (namespace, name) = (apimachinery::object::namespace(&object), apimachinery::object::name(&object));
        let mut info = Self::new(mapping, namespace, name);
        info.object = object;
        info
    }

    /// An object of which nobody is asked what it is.
    pub fn of_file(object: Value) -> Self {
        let api_version = apimachinery::object::api_version(&object);
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let kind = apimachinery::object::kind(&object).to_owned();
        let mapping = Mapping { group: group.to_owned(), version: version.to_owned(), kind, ..Mapping::default() };
        Self::of_object(&Arc::new(mapping), object)
    }

    /// The namespace that the object itself names.
    pub fn own_namespace(&self) -> &str {
        apimachinery::object::namespace(&self.object)
    }

    pub fn path(&self) -> String {
        self.mapping.path(&self.namespace, &self.name)
    }

    pub fn collection(&self) -> String {
        self.mapping.collection(&self.namespace)
    }

    pub async fn get(&self, client: &Client) -> Result<Value, Failure> {
        Call::get(self.path()).value(client).await
    }

    /// Fills in the object.
    pub async fn refresh(&mut self, client: &Client) -> Result<(), Failure> {
        self.object = self.get(client).await?;
        Ok(())
    }

    /// `{"apiVersion", "kind"}` for what the server leaves out.
    pub fn type_meta(&self) -> Value {
        json!({"apiVersion": self.mapping.api_version(), "kind": self.mapping.kind})
    }

    pub async fn patch(
        &self,
        client: &Client,
        kind: Patch,
        patch: &Value,
        write: &Write<'_>,
    ) -> Result<Value, Failure> {
        let call =
            Call::new(Method::PATCH, self.path() + write.subresource).content(kind.content_type(), patch.to_string());
        write.on(call).value(client).await
    }

    pub async fn create(&self, client: &Client, write: &Write<'_>) -> Result<Value, Failure> {
        write.on(Call::new(Method::POST, self.collection()).json(&self.object)).value(client).await
    }

    /// Puts the object in the place of the server's. Without a version it replaces whatever is there.
    pub async fn replace(&self, client: &Client, write: &Write<'_>) -> Result<Value, Failure> {
        let mut object = self.object.clone();
        if apimachinery::object::resource_version(&object).is_empty() {
            // What cannot be read is put all the same: some kinds are created by it.
            if let Ok(current) = self.get(client).await {
                let version = apimachinery::object::resource_version(&current);
                apimachinery::object::set_resource_version(&mut object, version);
            }
        }
        write.on(Call::new(Method::PUT, self.path() + write.subresource).json(&object)).value(client).await
    }

    /// `deployment.apps/web`.
    pub fn title(&self) -> String {
        format!("{}/{}", self.mapping.kind_name(), self.name)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patch {
    Json,
    Merge,
    Strategic,
}

impl Patch {
    fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json-patch+json",
            Self::Merge => "application/merge-patch+json",
            Self::Strategic => "application/strategic-merge-patch+json",
        }
    }
}

/// How a write is to be done.
#[derive(Clone, Copy, Debug, Default)]
pub struct Write<'a> {
    pub manager: &'a str,
    pub validate: Option<&'a str>,
    pub dry_run: bool,
    /// With its slash.
    pub subresource: &'a str,
}

impl Write<'_> {
    pub fn on(&self, call: Call) -> Call {
        call.maybe("dryRun", self.dry_run.then_some("All"))
            .maybe("fieldManager", Some(self.manager))
            .maybe("fieldValidation", self.validate)
    }
}
