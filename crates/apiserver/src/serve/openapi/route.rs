//! One operation, and how it is written.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::Dialect;
use super::parameters::{self, Parameter};

pub const JSON: &[&str] = &["application/json"];
pub const TEXT_FORMS: &[&str] = &["application/json", "application/yaml"];

/// What is done by one method at one path.
pub struct Route {
    pub path: String,
    pub method: &'static str,
    pub id: String,
    pub tag: String,
    pub about: Option<About>,
    pub parameters: Vec<Parameter>,
    pub body: Option<Payload>,
    pub consumes: &'static [&'static str],
    pub produces: &'static [&'static str],
    pub answers: Vec<(u16, Content)>,
}

/// The action, and the kind it is about.
pub struct About {
    pub action: &'static str,
    pub group: &'static str,
    pub version: &'static str,
    pub kind: &'static str,
}

pub struct Payload {
    pub definition: String,
    pub required: bool,
}

#[derive(Clone)]
pub enum Content {
    /// The name of a definition.
    Of(String),
    Text,
}

impl Content {
    fn schema(&self, dialect: Dialect) -> Value {
        match self {
            Content::Of(name) => json!({"$ref": dialect.reference(name)}),
            Content::Text => json!({"type": "string"}),
        }
    }
}

impl Route {
    /// The definitions that the operation names itself.
    pub fn definitions(&self) -> impl Iterator<Item = &str> {
        let answers = self.answers.iter().filter_map(|(_, content)| match content {
            Content::Of(name) => Some(name.as_str()),
            Content::Text => None,
        });
        self.body.iter().map(|body| body.definition.as_str()).chain(answers)
    }

    fn describe(&self, common: &[Parameter], dialect: Dialect) -> Value {
        let mut operation = json!({
            "operationId": self.id,
            "tags": [self.tag],
            "responses": self.responses(dialect),
        });
        let own = self.parameters.iter().filter(|parameter| !is_in(common, parameter));
        let mut own: Vec<Value> = described(own.copied().collect(), dialect);
        match dialect {
            Dialect::V2 => {
                // Before all other names.
                own.splice(0..0, self.body.iter().map(Payload::parameter));
                operation["schemes"] = json!(["https"]);
                for (name, media) in [("consumes", self.consumes), ("produces", self.produces)] {
                    if !media.is_empty() {
                        operation[name] = json!(media);
                    }
                }
            }
            Dialect::V3 => {
                if let Some(body) = &self.body {
                    operation["requestBody"] = body.request(self.consumes);
                }
            }
        }
        if !own.is_empty() {
            operation["parameters"] = own.into();
        }
        if let Some(about) = &self.about {
            operation["x-kubernetes-action"] = about.action.into();
            operation["x-kubernetes-group-version-kind"] =
                json!({"group": about.group, "version": about.version, "kind": about.kind});
        }
        operation
    }

    fn responses(&self, dialect: Dialect) -> Value {
        let mut responses: Map<String, Value> = Map::new();
        for (code, content) in &self.answers {
            let mut response = json!({"description": reason(*code)});
            let schema = content.schema(dialect);
            match dialect {
                Dialect::V2 => response["schema"] = schema,
                Dialect::V3 => response["content"] = contents(self.produces, &schema),
            }
            responses.insert(code.to_string(), response);
        }
        responses.insert("401".into(), json!({"description": reason(401)}));
        responses.into()
    }
}

impl Payload {
    fn parameter(&self) -> Value {
        if let Some(shared) = parameters::shared_body(&self.definition) {
            return json!({"$ref": format!("#/parameters/{shared}")});
        }
        let schema = json!({"$ref": Dialect::V2.reference(&self.definition)});
        json!({"name": "body", "in": "body", "required": self.required, "schema": schema})
    }

    fn request(&self, consumes: &[&str]) -> Value {
        let schema = json!({"$ref": Dialect::V3.reference(&self.definition)});
        let mut request = json!({"content": contents(consumes, &schema)});
        if self.required {
            request["required"] = true.into();
        }
        request
    }
}

fn contents(media: &[&str], schema: &Value) -> Value {
    media.iter().map(|media| ((*media).to_string(), json!({"schema": schema}))).collect::<Map<_, _>>().into()
}

fn reason(code: u16) -> &'static str {
    let known = http::StatusCode::from_u16(code).ok().and_then(|status| status.canonical_reason());
    known.expect("routes answer with codes that have names")
}

fn is_in(common: &[Parameter], parameter: &Parameter) -> bool {
    common.iter().any(|other| (other.name, other.place) == (parameter.name, parameter.place))
}

fn described(mut parameters: Vec<Parameter>, dialect: Dialect) -> Vec<Value> {
    parameters.sort_unstable();
    parameters.iter().map(|parameter| parameter.describe(dialect)).collect()
}

/// The operations by their paths. What all operations at a path take stands with the path.
pub fn paths(routes: &[Route], dialect: Dialect) -> Value {
    let mut by_path: BTreeMap<&str, Vec<&Route>> = BTreeMap::new();
    routes.iter().for_each(|route| by_path.entry(&route.path).or_default().push(route));
    let written = by_path.into_iter().map(|(path, routes)| (path.to_owned(), item(&routes, dialect)));
    written.collect::<Map<_, _>>().into()
}

fn item(routes: &[&Route], dialect: Dialect) -> Value {
    let mut common = routes.last().map(|route| route.parameters.clone()).unwrap_or_default();
    common.retain(|parameter| routes.iter().all(|route| is_in(&route.parameters, parameter)));
    let mut item: Map<String, Value> =
        routes.iter().map(|route| (route.method.into(), route.describe(&common, dialect))).collect();
    if !common.is_empty() {
        item.insert("parameters".into(), described(common, dialect).into());
    }
    item.into()
}
