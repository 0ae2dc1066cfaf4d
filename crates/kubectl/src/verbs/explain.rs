//! `explain`: what fields a kind has, from the server's OpenAPI v3 documents.

use serde_json::Value;

use crate::command::{Command, runs};
use crate::failure::{Failure, fail};
use crate::flags::{Flag, Parsed};
use crate::objects::{Call, Mapping};
use crate::session::Session;

pub const COMMAND: Command = Command {
    name: "explain",
    about: "Get documentation for a resource",
    usage: "TYPE [--recursive=FALSE|TRUE] [--api-version=api-version-group] [-o|--output=plaintext] [options]",
    flags: &[&[
        Flag::text("api-version", "Use given api-version (group/version) of the resource."),
        Flag::text("output", "Format in which to render the schema. Valid values are: (plaintext).")
            .short('o')
            .or("plaintext"),
        Flag::switch("recursive", "When true, print the name of all the fields recursively."),
    ]],
    run: runs!(run),
    ..Command::EMPTY
};

const WIDTH: usize = 76;

async fn run(session: &Session, parsed: Parsed) -> Result<(), Failure> {
    let [path] = parsed.arguments.as_slice() else {
        return match parsed.arguments.len() {
            0 => fail!(
                "You must specify the type of resource to explain. Use \"kubectl api-resources\" for a complete list of \
                 supported resources."
            ),
            _ => fail!("We accept only this format: explain RESOURCE"),
        };
    };
    if parsed.text("output") != "plaintext" {
        return fail!("unrecognized format: {}", parsed.text("output"));
    }
    let (mapping, fields) = target(session, path, parsed.text("api-version")).await?;
    session.streams.print(heading(&mapping))?;
    let document = document(session, &mapping).await?;
    let page = Page { document: &document, recursive: parsed.on("recursive") };
    session.streams.print(page.render(&mapping, &fields)?)
}

/// The resource that a path begins with, and the fields behind it.
async fn target(
    session: &Session,
    path: &str,
    api_version: &str,
) -> Result<(std::sync::Arc<Mapping>, Vec<String>), Failure> {
    let catalog = session.catalog().await?;
    // A name with its group goes before a name with fields.
    let qualified = catalog.all().iter().find(|mapping| {
        let full = mapping.qualified();
        !mapping.group.is_empty()
            && path.strip_prefix(&full).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    });
    let (name, rest) = match qualified {
        Some(mapping) => path.split_at(mapping.qualified().len()),
        None => path.split_at(path.find('.').unwrap_or(path.len())),
    };
    let fields = rest.split('.').filter(|field| !field.is_empty()).map(str::to_owned).collect();
    let mut mapping = catalog.resource(name).map_err(|failure| Failure::Verbatim(failure.text()))?;
    if !api_version.is_empty() {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let versioned = |known: &&std::sync::Arc<Mapping>| {
            known.group == group && known.version == version && known.resource == mapping.resource
        };
        mapping = match catalog.all().iter().find(versioned) {
            Some(found) => found.clone(),
            None => return fail!("couldn't find resource for \"{group}/{version}, Resource={}\"", mapping.resource),
        };
    }
    Ok((mapping, fields))
}

async fn document(session: &Session, mapping: &Mapping) -> Result<Value, Failure> {
    let client = session.client()?;
    let index = Call::get("/openapi/v3").value(client).await?;
    let path = format!("{}/{}", if mapping.group.is_empty() { "api" } else { "apis" }, mapping.api_version());
    match index["paths"][&path]["serverRelativeURL"].as_str() {
        Some(url) => Call::get(url).value(client).await,
        None => fail!("couldn't find resource for \"{}, Kind={}\"", mapping.api_version(), mapping.kind),
    }
}

fn heading(mapping: &Mapping) -> String {
    let group = if mapping.group.is_empty() { String::new() } else { format!("GROUP:      {}\n", mapping.group) };
    format!("{group}KIND:       {}\nVERSION:    {}\n\n", mapping.kind, mapping.version)
}

struct Page<'a> {
    document: &'a Value,
    recursive: bool,
}

impl<'a> Page<'a> {
    fn render(&self, mapping: &Mapping, fields: &[String]) -> Result<String, Failure> {
        let Some(root) = self.schema_of(mapping) else {
            let Mapping { group, kind, version, .. } = mapping;
            return fail!("GVK map[group:{group} kind:{kind} version:{version}] not found in OpenAPI schema");
        };
        let (mut at, mut text) = (root, String::new());
        for (index, field) in fields.iter().enumerate() {
            let parent = self.fields(at);
            let Some(child) = parent["properties"].get(field) else {
                return fail!("field {field:?} does not exist");
            };
            if index + 1 == fields.len() {
                text = field_heading(field, child, self.document);
            }
            at = child;
        }
        text.push_str("DESCRIPTION:\n");
        let description = self.descriptions(at);
        text.push_str(&indented(if description.is_empty() { "<empty>" } else { &description }));
        let inner = self.fields(at);
        if inner["properties"].is_object() {
            text.push_str("FIELDS:\n");
            self.list(inner, 1, &mut Vec::new(), &mut text);
        }
        Ok(text + "\n")
    }

    fn schema_of(&self, mapping: &Mapping) -> Option<&'a Value> {
        let is_kind = |schema: &&Value| {
            let kinds = schema["x-kubernetes-group-version-kind"].as_array();
            kinds.into_iter().flatten().any(|kind| {
                kind["group"].as_str().unwrap_or_default() == mapping.group
                    && kind["version"] == mapping.version.as_str()
                    && kind["kind"] == mapping.kind.as_str()
            })
        };
        self.document["components"]["schemas"].as_object()?.values().find(is_kind)
    }

    /// What a schema stands for: itself, or what it refers to.
    fn resolve(&self, schema: &'a Value) -> &'a Value {
        match reference(schema) {
            Some(name) => &self.document["components"]["schemas"][name],
            None => schema,
        }
    }

    /// The schema whose properties a path goes on with.
    fn fields(&self, schema: &'a Value) -> &'a Value {
        let schema = self.resolve(schema);
        match (schema.get("items"), schema.get("additionalProperties")) {
            (Some(items), _) => self.fields(items),
            (None, Some(values)) if values.is_object() => self.fields(values),
            _ => schema,
        }
    }

    /// What a schema says of itself, and then what its parts say, each on lines of its own.
    fn descriptions(&self, schema: &'a Value) -> String {
        let schema = schema.get("$ref").map_or(schema, |_| self.resolve(schema));
        let own = described(schema).map(|text| format!("{text}\n"));
        let values = schema.get("additionalProperties").filter(|values| values.is_object());
        let branches = schema["allOf"].as_array().into_iter().flatten();
        let parts = branches.chain(schema.get("items")).chain(values);
        own.into_iter().chain(parts.map(|part| self.descriptions(part))).collect()
    }

    fn list(&self, schema: &'a Value, level: usize, above: &mut Vec<&'a str>, text: &mut String) {
        let indent = "  ".repeat(level);
        for (name, field) in schema["properties"].as_object().into_iter().flatten() {
            let required = if required(schema, name) { " -required-" } else { "" };
            text.push_str(&format!("{indent}{name}\t<{}>{required}\n", type_name(field, self.document)));
            let values = enumerated(field);
            if !values.is_empty() {
                let shown: Vec<&str> = values.iter().take(4).map(String::as_str).collect();
                let more = if values.len() > 4 { ", ...." } else { "" };
                text.push_str(&format!("{indent}enum: {}{more}\n", shown.join(", ")));
            }
            if self.recursive {
                self.descend(field, level, above, text);
            } else {
                text.push_str(&indented(described(field).unwrap_or("<no description>")));
                text.push('\n');
            }
        }
    }

    /// A kind within itself is not shown again.
    fn descend(&self, field: &'a Value, level: usize, above: &mut Vec<&'a str>, text: &mut String) {
        let name = innermost(field);
        if name.is_some_and(|name| above.contains(&name)) {
            return;
        }
        above.extend(name);
        self.list(self.fields(field), level + 1, above, text);
        if name.is_some() {
            above.pop();
        }
    }
}

fn field_heading(name: &str, schema: &Value, document: &Value) -> String {
    let mut text = format!("FIELD: {name} <{}>\n", type_name(schema, document));
    let values = enumerated(schema);
    if !values.is_empty() {
        text.push_str("ENUM:\n");
        values.iter().for_each(|value| text.push_str(&format!("    {value}\n")));
        return text + "\n";
    }
    text + "\n\n"
}

fn described(schema: &Value) -> Option<&str> {
    schema["description"].as_str().filter(|text| !text.is_empty())
}

fn required(schema: &Value, field: &str) -> bool {
    schema["required"].as_array().is_some_and(|required| required.iter().any(|name| name == field))
}

/// The name of what a schema refers to, directly or as the one member of `allOf`.
fn reference(schema: &Value) -> Option<&str> {
    let target = schema.get("$ref").or_else(|| match schema["allOf"].as_array()?.as_slice() {
        [one] => one.get("$ref"),
        _ => None,
    });
    target?.as_str()?.rsplit('/').next()
}

fn innermost(schema: &Value) -> Option<&str> {
    reference(schema)
        .or_else(|| innermost(schema.get("items")?))
        .or_else(|| innermost(schema.get("additionalProperties").filter(|values| values.is_object())?))
}

fn enumerated(schema: &Value) -> Vec<String> {
    let values = schema["enum"].as_array().into_iter().flatten();
    values.map(|value| if value == "" { "\"\"".to_owned() } else { crate::print::go_text(value) }).collect()
}

/// What a reference leads to has its name where it is an object; else the name of its type.
fn type_name(schema: &Value, document: &Value) -> String {
    if let Some(items) = schema.get("items") {
        return format!("[]{}", type_name(items, document));
    }
    if let Some(values) = schema.get("additionalProperties") {
        return format!("map[string]{}", type_name(values, document));
    }
    if let Some(name) = reference(schema) {
        return match document["components"]["schemas"][name]["type"].as_str() {
            None | Some("object") => name.rsplit('.').next().unwrap_or(name).to_owned(),
            Some(simple) => simple.to_owned(),
        };
    }
    match schema["type"].as_str() {
        None | Some("object") => "Object".to_owned(),
        Some(name) => name.to_owned(),
    }
}

/// Wrapped, with four spaces before each line.
fn indented(text: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    for paragraph in text.split('\n') {
        let mut line = String::new();
        for word in paragraph.split(' ') {
            if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > WIDTH {
                lines.push(std::mem::take(&mut line));
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        lines.push(line);
    }
    lines.iter().map(|line| format!("    {line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn types_are_named_as_by_kubectl() {
        let pod = json!({"allOf": [{"$ref": "#/components/schemas/io.k8s.api.core.v1.PodSpec"}]});
        let time = json!({"$ref": "#/components/schemas/io.k8s.Time"});
        let document = json!({"components": {"schemas": {"io.k8s.Time": {"type": "string"}}}});
        let name = |schema: &Value| type_name(schema, &document);
        assert_eq!(name(&pod), "PodSpec");
        assert_eq!(name(&time), "string");
        assert_eq!(name(&json!({"type": "array", "items": {"type": "string"}})), "[]string");
        assert_eq!(name(&json!({"additionalProperties": {"type": "object"}})), "map[string]Object");
    }

    #[test]
    fn a_field_is_explained_by_itself_and_by_what_it_refers_to() {
        let reference = json!({"$ref": "#/components/schemas/io.ex.v1.Leg"});
        let document = json!({"components": {"schemas": {
            "io.ex.v1.Frob": {
                "type": "object",
                "properties": {
                    "legs": {"type": "array", "description": "Legs to walk on.", "items": reference},
                    "tail": {"allOf": [reference]},
                },
                "x-kubernetes-group-version-kind": [{"group": "ex.io", "version": "v1", "kind": "Frob"}],
            },
            "io.ex.v1.Leg": {"type": "object", "description": "A limb."},
        }}});
        let mapping =
            Mapping { group: "ex.io".into(), version: "v1".into(), kind: "Frob".into(), ..Mapping::default() };
        let page = Page { document: &document, recursive: false };
        let shown = |fields: &[String]| page.render(&mapping, fields).unwrap_or_default().replace("    \n", "    .\n");
        expect_test::expect![[r"
            FIELD: legs <[]Leg>


            DESCRIPTION:
                Legs to walk on.
                A limb.
                .

        "]]
        .assert_eq(&shown(&["legs".to_owned()]));
        expect_test::expect![[r"
            DESCRIPTION:
                <empty>
            FIELDS:
              legs	<[]Leg>
                Legs to walk on.

              tail	<Leg>
                <no description>


        "]]
        .assert_eq(&shown(&[]));
    }

    #[test]
    fn a_custom_kind_is_explained() {
        let document = json!({"components": {"schemas": {"io.ex.v1.Frob": {
            "description": "A frob.", "type": "object", "required": ["spec"],
            "properties": {"spec": {"type": "object", "properties": {"color": {"type": "string", "enum": ["red", ""]}}}},
            "x-kubernetes-group-version-kind": [{"group": "ex.io", "version": "v1", "kind": "Frob"}],
        }}}});
        let mapping =
            Mapping { group: "ex.io".into(), version: "v1".into(), kind: "Frob".into(), ..Mapping::default() };
        let page = Page { document: &document, recursive: true };
        let shown = page.render(&mapping, &[]).unwrap_or_default().replace("    \n", "    .\n");
        expect_test::expect![[r#"
            DESCRIPTION:
                A frob.
                .
            FIELDS:
              spec	<Object> -required-
                color	<string>
                enum: red, ""

        "#]]
        .assert_eq(&shown);
        assert!(page.render(&mapping, &["nope".to_owned()]).is_err());
    }
}
