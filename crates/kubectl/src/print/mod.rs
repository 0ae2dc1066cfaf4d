//! Output formats.

mod columns;
mod go;
mod json;
pub mod jsonpath;
mod kyaml;
mod name;
mod sort;
mod table;
mod tabwriter;
mod template;

pub use apimachinery::yaml::to_yaml;
pub use columns::CustomColumns;
pub use go::{decode_base64, go_text};
pub use json::{compact as compact_json, to_json, to_json_in_order};
use kyaml::to_kyaml;
pub use name::{operation, title};
pub use sort::{Sorter, relaxed};
pub use table::{TableOptions, TablePrinter};
pub use tabwriter::TabWriter;

use serde_json::Value;

use crate::Streams;
use crate::failure::{Failure, fail};
use crate::flags::{Flag, Parsed};
use jsonpath::JsonPath;
use template::GoTemplate;
use template::code_point;

pub const OUTPUT_FLAGS: &[Flag] = &[
    Flag::text("output", "Output format.").short('o'),
    Flag::text("template", "Template string or path to template file to use when -o=go-template, -o=go-template-file."),
    Flag::switch(
        "allow-missing-template-keys",
        "If true, ignore any errors in templates when a field or map key is missing in the template.",
    )
    .or("true"),
    Flag::switch(
        "show-managed-fields",
        "If true, keep the managedFields when printing objects in JSON or YAML format.",
    ),
];

/// What kubectl lists for `get`.
const FORMATS: &str = "custom-columns,custom-columns-file,go-template,go-template-file,json,jsonpath,jsonpath-as-json,\
    jsonpath-file,kyaml,name,template,templatefile,wide,yaml";

/// And for what was written.
const FORMATS_WRITTEN: &str = "go-template,go-template-file,json,jsonpath,jsonpath-as-json,jsonpath-file,kyaml,name,\
    template,templatefile,yaml";

/// An output format for whole objects.
pub enum Format {
    Json { managed_fields: bool },
    Yaml { managed_fields: bool },
    Kyaml { managed_fields: bool },
    Name,
    GoTemplate(Box<GoTemplate>),
    JsonPath { path: JsonPath, as_json: bool },
    Columns(CustomColumns),
}

impl Format {
    /// The format that `-o` asks for; `None` for a table.
    pub fn of(parsed: &Parsed, no_headers: bool) -> Result<Option<Self>, Failure> {
        Self::parse(parsed, no_headers, FORMATS)
    }

    /// The format that a written object is shown in; `None` for a line that says what was done.
    pub fn of_written(parsed: &Parsed) -> Result<Option<Self>, Failure> {
        match parsed.text("output") {
            output if output == "wide" || output.starts_with("custom-columns") => fail!(
                "unable to match a printer suitable for the output format {output:?}, allowed formats are: {FORMATS_WRITTEN}"
            ),
            _ => Self::parse(parsed, false, FORMATS_WRITTEN),
        }
    }

    fn parse(parsed: &Parsed, no_headers: bool, formats: &str) -> Result<Option<Self>, Failure> {
        let output = parsed.text("output");
        let managed_fields = parsed.on("show-managed-fields");
        let allow_missing_keys = parsed.on("allow-missing-template-keys");
        let (kind, argument) = match output.split_once('=') {
            Some((kind, argument)) => (kind, argument.to_owned()),
            None => (output, parsed.text("template").to_owned()),
        };
        Ok(Some(match kind {
            "" if !argument.is_empty() => Self::GoTemplate(Box::new(GoTemplate::parse(&argument, allow_missing_keys)?)),
            "" | "wide" => return Ok(None),
            "go-template" | "template" => Self::go_template(&argument, allow_missing_keys)?,
            "go-template-file" | "templatefile" => {
                Self::go_template(&read_template(&argument, "--template ")?, allow_missing_keys)?
            }
            "kyaml" => Self::Kyaml { managed_fields },
            "json" => Self::Json { managed_fields },
            "yaml" => Self::Yaml { managed_fields },
            "name" => Self::Name,
            "jsonpath" | "jsonpath-as-json" | "jsonpath-file" => {
                let template =
                    if kind == "jsonpath-file" { read_template(&argument, "--template ")? } else { argument };
                if template.is_empty() {
                    return fail!("template format specified but no template given");
                }
                Self::JsonPath {
                    path: JsonPath::parse(&template, allow_missing_keys)?,
                    as_json: kind == "jsonpath-as-json",
                }
            }
            "custom-columns" => Self::Columns(CustomColumns::parse(&argument, no_headers)?),
            "custom-columns-file" => Self::Columns(CustomColumns::from_file(&read_template(&argument, "template ")?)?),
            _ => {
                return fail!(
                    "unable to match a printer suitable for the output format {output:?}, allowed formats are: {formats}"
                );
            }
        }))
    }

    fn go_template(text: &str, allow_missing_keys: bool) -> Result<Self, Failure> {
        match text {
            "" => fail!("template format specified but no template given"),
            text => Ok(Self::GoTemplate(Box::new(GoTemplate::parse(text, allow_missing_keys)?))),
        }
    }

    /// Prints an object, or a list of objects. A template that fails has printed what it could.
    pub fn show(&mut self, object: &Value, streams: &Streams) -> Result<(), Failure> {
        let Self::GoTemplate(template) = self else { return streams.print(self.render(object)?) };
        let written = template.execute(object);
        streams.print(written.text)?;
        written.failure.map_or(Ok(()), Err)
    }

    /// An object, or a list of objects, as text.
    pub fn render(&mut self, object: &Value) -> Result<String, Failure> {
        match self {
            Self::Json { managed_fields } => Ok(to_json(&shown(object, *managed_fields)) + "\n"),
            Self::Yaml { managed_fields } => Ok(to_yaml(&shown(object, *managed_fields))),
            Self::Kyaml { managed_fields } => Ok(to_kyaml(&shown(object, *managed_fields))),
            Self::GoTemplate(template) => {
                let written = template.execute(object);
                written.failure.map_or_else(|| Ok(String::from_utf8_lossy(&written.text).into_owned()), Err)
            }
            Self::Name => Ok(items(object).map(|object| title(object) + "\n").collect()),
            Self::JsonPath { path, as_json: false } => path.print(object),
            Self::JsonPath { path, as_json: true } => path.print_json(object),
            Self::Columns(columns) => columns.render(object),
        }
    }

    pub fn is_yaml(&self) -> bool {
        matches!(self, Self::Yaml { .. })
    }
}

fn read_template(path: &str, what: &str) -> Result<String, Failure> {
    if path.is_empty() {
        return fail!("template format specified but no template given");
    }
    std::fs::read_to_string(path)
        .map_err(|_| Failure::Plain(format!("error reading {what}{path}, open {path}: no such file or directory\n")))
}

/// The members of a list, or the object itself.
pub fn items(object: &Value) -> impl Iterator<Item = &Value> {
    let members = object["items"].as_array();
    let own = if members.is_some() { None } else { Some(object) };
    members.into_iter().flatten().chain(own)
}

/// Without the managed fields, unless they are wanted.
fn shown(object: &Value, managed_fields: bool) -> Value {
    let mut object = object.clone();
    if managed_fields {
        return object;
    }
    let strip = |object: &mut Value| {
        if let Some(Value::Object(metadata)) = object.get_mut("metadata") {
            metadata.remove("managedFields");
        }
    };
    strip(&mut object);
    if let Some(Value::Array(items)) = object.get_mut("items") {
        items.iter_mut().for_each(strip);
    }
    object
}
