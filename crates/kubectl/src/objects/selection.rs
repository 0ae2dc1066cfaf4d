//! Which objects a command line means: `TYPE`, `TYPE NAME…`, `TYPE/NAME…`, `TYPE,TYPE`, or files.

use std::sync::Arc;

use client::Client;
use serde_json::Value;

use super::{Call, Catalog, Files, Info, Mapping};
use crate::failure::{Failure, fail};
use crate::flags::{Flag, Parsed};
use crate::session::Session;

pub const NOTHING: &str = "You must provide one or more resources by argument or filename.
Example resource specifications include:
   '-f rsrc.yaml'
   '--filename=rsrc.json'
   '<resource> <name>'
   '<resource>'";

pub const SELECTOR_FLAGS: &[Flag] = &[
    Flag::text("selector", "Selector (label query) to filter on.").short('l'),
    Flag::text("field-selector", "Selector (field query) to filter on."),
    Flag::switch("all-namespaces", "If present, list the requested object(s) across all namespaces.").short('A'),
];

/// What a command line asks for, before the server has been asked.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    pub arguments: Vec<String>,
    pub files: Files,
    pub labels: Option<String>,
    pub fields: Option<String>,
    /// `--all`.
    pub everything: bool,
    /// A type alone means all of it.
    pub type_is_enough: bool,
    pub namespace: String,
    /// Whether the namespace was a flag: then files must agree with it.
    pub namespace_given: bool,
    pub all_namespaces: bool,
    pub single_type: bool,
}

/// What it means.
#[derive(Debug)]
pub enum Selection {
    /// These, by name. `single`: exactly one was named.
    Named { infos: Vec<Info>, single: bool },
    /// All of these types that match.
    Matching(Matching),
    /// These, from files; with what could not be read.
    Written { infos: Vec<Info>, failures: Vec<Failure>, single: bool },
}

#[derive(Debug)]
pub struct Matching {
    pub mappings: Vec<Arc<Mapping>>,
    /// Empty for all.
    pub namespace: String,
    pub labels: String,
    pub fields: String,
}

/// The shape of the arguments.
#[derive(Debug, PartialEq, Eq)]
enum Shape {
    Pairs(Vec<(String, String)>),
    Types(Vec<String>),
    TypeAndNames(String, Vec<String>),
    Nothing,
}

fn unique(list: &str) -> Vec<String> {
    let mut parts: Vec<String> = Vec::new();
    for part in list.split(',') {
        if !parts.iter().any(|known| known == part) {
            parts.push(part.to_owned());
        }
    }
    parts
}

fn shape(arguments: &[String]) -> Result<Shape, Failure> {
    let slashes = arguments.iter().filter(|argument| argument.contains('/')).count();
    match arguments {
        [] => Ok(Shape::Nothing),
        _ if slashes == arguments.len() => {
            arguments.iter().map(|argument| pair(argument)).collect::<Result<_, _>>().map(Shape::Pairs)
        }
        _ if slashes > 0 => fail!(
            "there is no need to specify a resource type as a separate argument when passing arguments in resource/name \
             form (e.g. 'kubectl get resource/<resource_name>' instead of 'kubectl get resource resource/<resource_name>'"
        ),
        [types] => Ok(Shape::Types(unique(types))),
        [types, names @ ..] => {
            let mut types = unique(types);
            if types.len() == 1 {
                return Ok(Shape::TypeAndNames(types.remove(0), names.to_vec()));
            }
            let of_type = |kind: &String| names.iter().map(|name| (kind.clone(), name.clone())).collect::<Vec<_>>();
            Ok(Shape::Pairs(types.iter().flat_map(of_type).collect()))
        }
    }
}

fn pair(argument: &str) -> Result<(String, String), Failure> {
    let mut parts = argument.split('/');
    match (parts.next(), parts.next(), parts.next()) {
        (_, _, Some(_)) => fail!("arguments in resource/name form may not have more than one slash"),
        (Some(kind), Some(name), None) if !kind.is_empty() && !name.is_empty() && !kind.contains(',') => {
            Ok((kind.to_owned(), name.to_owned()))
        }
        _ => fail!("arguments in resource/name form must have a single resource and name"),
    }
}

impl Asked {
    /// From the usual flags, as far as the command has them.
    pub fn of(session: &Session, parsed: &Parsed) -> Result<Self, Failure> {
        let (namespace, namespace_given) = session.config.namespace();
        let some = |name: &str| if parsed.has(name) { parsed.some(name).map(str::to_owned) } else { None };
        let on = |name: &str| parsed.has(name) && parsed.on(name);
        let all_namespaces = on("all-namespaces");
        Ok(Self {
            arguments: parsed.arguments.clone(),
            files: if parsed.has("filename") { Files::of(parsed)? } else { Files::default() },
            labels: some("selector"),
            fields: some("field-selector"),
            everything: on("all"),
            type_is_enough: false,
            namespace,
            namespace_given: namespace_given && !all_namespaces,
            all_namespaces,
            single_type: false,
        })
    }

    fn scope(&self) -> &str {
        if self.all_namespaces { "" } else { &self.namespace }
    }

    pub async fn select(&self, session: &Session) -> Result<Selection, Failure> {
        let shape = shape(&self.arguments)?;
        if !self.files.is_empty() {
            if shape != Shape::Nothing {
                return fail!(
                    "when paths, URLs, or stdin is provided as input, you may not specify resource arguments as well"
                );
            }
            return self.written(session).await;
        }
        let selects = self.everything || self.labels.is_some() || self.fields.is_some();
        self.check(&shape, selects)?;
        self.resolve(shape, selects, session.catalog().await?, session)
    }

    /// What can be told to be wrong without the server.
    fn check(&self, shape: &Shape, selects: bool) -> Result<(), Failure> {
        match shape {
            Shape::Nothing if selects => fail!("at least one resource must be specified to use a selector"),
            Shape::Nothing => fail!("{NOTHING}"),
            Shape::Pairs(_) if selects => {
                fail!("selectors and the all flag cannot be used when passing resource/name arguments")
            }
            Shape::TypeAndNames(..) if selects => {
                fail!("name cannot be provided when a selector is specified")
            }
            _ => Ok(()),
        }
    }

    fn resolve(&self, shape: Shape, selects: bool, catalog: &Catalog, session: &Session) -> Result<Selection, Failure> {
        match shape {
            Shape::Nothing => fail!("{NOTHING}"),
            Shape::Types(types) => {
                let mappings = self.types(&types, catalog, session)?;
                if !selects && !self.type_is_enough {
                    return fail!("resource(s) were provided, but no name was specified");
                }
                Ok(Selection::Matching(Matching {
                    mappings,
                    namespace: self.scope().to_owned(),
                    labels: self.labels.clone().unwrap_or_default(),
                    fields: self.fields.clone().unwrap_or_default(),
                }))
            }
            Shape::TypeAndNames(kind, names) => {
                let mut mappings = self.types(&[kind], catalog, session)?;
                if mappings.len() > 1 {
                    return fail!("you must specify only one resource");
                }
                let mapping = mappings.remove(0);
                let infos: Result<Vec<_>, _> = names.iter().map(|name| self.named(&mapping, name)).collect();
                Ok(Selection::Named { single: names.len() == 1, infos: infos? })
            }
            Shape::Pairs(pairs) => {
                let named = |(kind, name): &(String, String)| self.named(&lookup(catalog, session, kind)?, name);
                let infos: Vec<Info> = pairs.iter().map(named).collect::<Result<_, _>>()?;
                let mixed = infos.iter().any(|info| !info.mapping.same_resource(&infos[0].mapping));
                if self.single_type && mixed {
                    return fail!("you may only specify a single resource type");
                }
                Ok(Selection::Named { single: infos.len() == 1, infos })
            }
        }
    }

    /// Types and categories, each once.
    fn types(&self, names: &[String], catalog: &Catalog, session: &Session) -> Result<Vec<Arc<Mapping>>, Failure> {
        let mut mappings: Vec<Arc<Mapping>> = Vec::new();
        for name in names {
            let members = catalog.category(name);
            let found = if members.is_empty() { vec![lookup(catalog, session, name)?] } else { members };
            for mapping in found {
                if !mappings.iter().any(|known| known.same_resource(&mapping)) {
                    mappings.push(mapping);
                }
            }
        }
        if self.single_type && mappings.len() > 1 {
            return fail!("you may only specify a single resource type");
        }
        Ok(mappings)
    }

    fn named(&self, mapping: &Arc<Mapping>, name: &str) -> Result<Info, Failure> {
        if mapping.namespaced && self.all_namespaces {
            return fail!("a resource cannot be retrieved by name across all namespaces");
        }
        Ok(Info::new(mapping, &self.namespace, name))
    }

    async fn written(&self, session: &Session) -> Result<Selection, Failure> {
        let (documents, mut failures) = self.files.read().await?;
        let catalog = session.catalog().await?;
        let mut infos = Vec::new();
        for document in documents {
            match self.place(document.object, &document.source, catalog) {
                Ok(info) => infos.push(info),
                Err(failure) => failures.push(failure),
            }
        }
        Ok(Selection::Written { infos, failures, single: self.files.is_single() })
    }

    /// A file's object, in the namespace that it belongs to.
    pub fn place(&self, mut object: Value, source: &str, catalog: &Catalog) -> Result<Info, Failure> {
        check_type(&object).map_err(|why| Failure::Plain(format!("unable to decode {source:?}: {why}")))?;
        let mapping = catalog.of_object(&object).map_err(|failure| {
            Failure::Plain(failure.text().replacen(": no matches", &format!(" from {source:?}: no matches"), 1))
        })?;
        if mapping.namespaced {
            let own = apimachinery::object::namespace(&object).to_owned();
            if own.is_empty() {
                apimachinery::object::set_namespace(&mut object, &self.namespace);
            } else if self.namespace_given && own != self.namespace {
                return Err(other_namespace(&own, &self.namespace));
            }
        }
        let mut info = Info::of_object(&mapping, object);
        info.source = Some(source.to_owned());
        Ok(info)
    }
}

/// An object's namespace is not the one that was asked for.
pub fn other_namespace(own: &str, asked: &str) -> Failure {
    Failure::Plain(format!(
        "the namespace from the provided object {own:?} does not match the namespace {asked:?}. You must pass \
         '--namespace={own}' to perform this operation."
    ))
}

/// Says so when a short name is ambiguous.
fn lookup(catalog: &Catalog, session: &Session, name: &str) -> Result<Arc<Mapping>, Failure> {
    let found = catalog.resource(name)?;
    if let Some(ambiguity) = catalog.also_called(name, &found) {
        session.warn(&ambiguity);
    }
    Ok(found)
}

/// Whether an object says what it is.
pub fn check_type(object: &Value) -> Result<(), String> {
    for (field, what) in [("kind", "Kind"), ("apiVersion", "apiVersion")] {
        if object[field].as_str().unwrap_or_default().is_empty() {
            return Err(format!("Object '{what}' is missing in '{object}'"));
        }
    }
    Ok(())
}

impl Matching {
    /// All pages of a list.
    pub async fn pages(
        &self,
        client: &Client,
        mapping: &Mapping,
        limit: i64,
        shape: impl Fn(Call) -> Call,
    ) -> Result<Vec<Value>, Failure> {
        let (mut pages, mut token) = (Vec::new(), String::new());
        loop {
            let call = shape(self.call(mapping))
                .maybe("limit", (limit > 0).then(|| limit.to_string()).as_deref())
                .maybe("continue", Some(&token));
            let page = call.value(client).await.map_err(|failure| self.unlisted(mapping, failure))?;
            token = page["metadata"]["continue"].as_str().unwrap_or_default().to_owned();
            pages.push(page);
            if token.is_empty() {
                return Ok(pages);
            }
        }
    }

    /// The list, or the watch of it.
    pub fn call(&self, mapping: &Mapping) -> Call {
        Call::get(mapping.collection(&self.namespace))
            .maybe("labelSelector", Some(&self.labels))
            .maybe("fieldSelector", Some(&self.fields))
    }

    fn unlisted(&self, mapping: &Mapping, failure: Failure) -> Failure {
        match failure {
            Failure::Server(mut status) if ["BadRequest", "NotFound"].contains(&status.reason.as_str()) => {
                let what = format!("{}/{}, Resource={}", mapping.group, mapping.version, mapping.resource);
                let (labels, fields) = (&self.labels, &self.fields);
                status.message = if labels.is_empty() && fields.is_empty() {
                    format!("Unable to list {what:?}: {}", status.message)
                } else {
                    format!(
                        "Unable to find {what:?} that match label selector {labels:?}, field selector {fields:?}: {}",
                        status.message
                    )
                };
                Failure::Server(status)
            }
            other => other,
        }
    }

    /// All matching objects.
    async fn infos(&self, client: &Client) -> Result<(Vec<Info>, Vec<Failure>), Failure> {
        let (mut infos, mut failures) = (Vec::new(), Vec::new());
        for mapping in &self.mappings {
            match self.pages(client, mapping, 500, |call| call).await {
                Ok(pages) => infos.extend(pages.into_iter().flat_map(|page| members(mapping, page))),
                Err(failure) => failures.push(failure),
            }
        }
        Ok((infos, failures))
    }
}

/// The objects of a list. Their kind is the list's: a server leaves it out of the members.
pub fn members(mapping: &Arc<Mapping>, mut list: Value) -> Vec<Info> {
    let Value::Array(items) = list["items"].take() else { return Vec::new() };
    let typed = |mut object: Value| {
        if let Value::Object(map) = &mut object {
            map.entry("apiVersion").or_insert_with(|| mapping.api_version().into());
            map.entry("kind").or_insert_with(|| mapping.kind.clone().into());
        }
        Info::of_object(mapping, object)
    };
    items.into_iter().map(typed).collect()
}

impl Selection {
    /// All that is meant, without asking for each by name. What failed stands beside.
    pub async fn infos(self, client: &Client) -> Result<(Vec<Info>, Vec<Failure>), Failure> {
        match self {
            Self::Named { infos, .. } => Ok((infos, Vec::new())),
            Self::Written { infos, failures, .. } => Ok((infos, failures)),
            Self::Matching(matching) => matching.infos(client).await,
        }
    }

    /// All that is meant, as it is on the server now.
    pub async fn fetched(self, client: &Client) -> Result<(Vec<Info>, Vec<Failure>), Failure> {
        if let Self::Matching(matching) = self {
            return matching.infos(client).await;
        }
        let (infos, mut failures) = self.infos(client).await?;
        let mut found = Vec::new();
        for mut info in infos {
            match info.refresh(client).await {
                Ok(()) => found.push(info),
                Err(failure) => failures.push(failure),
            }
        }
        Ok((found, failures))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shaped(line: &str) -> Result<Shape, String> {
        let arguments: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        shape(&arguments).map_err(|failure| failure.text())
    }

    #[test]
    fn arguments_have_four_shapes() {
        let own = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let pairs = |list: &[(&str, &str)]| {
            Ok(Shape::Pairs(list.iter().map(|(kind, name)| ((*kind).to_owned(), (*name).to_owned())).collect()))
        };
        assert_eq!(shaped(""), Ok(Shape::Nothing));
        assert_eq!(shaped("pods,svc,pods"), Ok(Shape::Types(own(&["pods", "svc"]))));
        assert_eq!(shaped("pods a b"), Ok(Shape::TypeAndNames("pods".into(), own(&["a", "b"]))));
        assert_eq!(shaped("pods/a svc/b"), pairs(&[("pods", "a"), ("svc", "b")]));
        assert_eq!(shaped("pods,svc a"), pairs(&[("pods", "a"), ("svc", "a")]));
        assert!(shaped("pods/a b").is_err() && shaped("pods/a/b").is_err() && shaped("pods/").is_err());
    }
}
