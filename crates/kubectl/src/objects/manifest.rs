//! Objects written in files: several documents in each, YAML or JSON.

use std::io::Read;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::config::os_text;
use crate::failure::{Failure, fail};
use crate::flags::{Flag, Parsed};

pub const FILENAME_FLAGS: &[Flag] = &[
    Flag::list("filename", "Filename or directory that contains the resources.").short('f'),
    Flag::text("kustomize", "Not supported.").short('k'),
    Flag::switch("recursive", "Process the directories used in -f, --filename recursively.").short('R'),
];

const EXTENSIONS: [&str; 3] = ["json", "yaml", "yml"];

/// The files that a command line names.
#[derive(Clone, Debug, Default)]
pub struct Files {
    pub names: Vec<String>,
    recursive: bool,
}

/// One object of a file.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    pub source: String,
    pub object: Value,
}

impl Files {
    pub fn of(parsed: &Parsed) -> Result<Self, Failure> {
        if parsed.given("kustomize") {
            return fail!("kustomizations (-k) are not supported");
        }
        Ok(Self { names: parsed.list("filename"), recursive: parsed.on("recursive") })
    }

    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Whether one file alone was named: what is in it may be one object.
    pub fn is_single(&self) -> bool {
        matches!(self.names.as_slice(), [name] if name != "-" && !Path::new(name).is_dir())
    }

    /// All objects, lists taken apart. What cannot be read stands among the failures.
    pub fn read(&self) -> Result<(Vec<Document>, Vec<Failure>), Failure> {
        let (mut documents, mut failures) = (Vec::new(), Vec::new());
        for (source, path) in self.expand()? {
            match read(path.as_deref()).and_then(|text| parse_file(&source, &text)) {
                Ok(objects) => documents.extend(
                    objects.into_iter().flat_map(members_of).map(|object| Document { source: source.clone(), object }),
                ),
                Err(failure) => failures.push(failure),
            }
        }
        Ok((documents, failures))
    }

    /// The files, those of directories in the order of their names. `None` is standard input.
    fn expand(&self) -> Result<Vec<(String, Option<PathBuf>)>, Failure> {
        let mut files = Vec::new();
        for name in &self.names {
            let path = PathBuf::from(name);
            match name.as_str() {
                "-" => files.push(("STDIN".to_owned(), None)),
                url if url.starts_with("http://") || url.starts_with("https://") => {
                    return fail!("reading {url:?}: URLs are not supported; fetch the file first");
                }
                _ if !path.exists() => return fail!("the path {name:?} does not exist"),
                _ if path.is_dir() => self.walk(&path, &mut files)?,
                _ => files.push((name.clone(), Some(path))),
            }
        }
        if files.is_empty() {
            return fail!("error reading {:?}: recognized file extensions are [.json .yaml .yml]", self.names);
        }
        Ok(files)
    }

    fn walk(&self, directory: &Path, files: &mut Vec<(String, Option<PathBuf>)>) -> Result<(), Failure> {
        let failed = |error: std::io::Error| {
            Failure::Plain(format!("error reading {:?}: {}", directory.display().to_string(), os_text(&error)))
        };
        let mut entries: Vec<PathBuf> = std::fs::read_dir(directory)
            .map_err(failed)?
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<Result<_, _>>()
            .map_err(failed)?;
        entries.sort();
        for path in entries {
            let known = path.extension().is_some_and(|extension| EXTENSIONS.iter().any(|known| extension == *known));
            if path.is_dir() {
                if self.recursive {
                    self.walk(&path, files)?;
                }
            } else if known {
                files.push((path.display().to_string(), Some(path)));
            }
        }
        Ok(())
    }
}

fn read(path: Option<&Path>) -> Result<String, Failure> {
    let mut bytes = Vec::new();
    match path {
        Some(path) => {
            bytes = std::fs::read(path)
                .map_err(|error| Failure::Plain(format!("open {}: {}", path.display(), os_text(&error))))?;
        }
        None => {
            std::io::stdin().read_to_end(&mut bytes).map_err(|error| format!("read STDIN: {}", os_text(&error)))?;
        }
    }
    let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
    String::from_utf8(text.to_vec()).map_err(|_| Failure::from("the input is not UTF-8"))
}

fn parse_file(source: &str, text: &str) -> Result<Vec<Value>, Failure> {
    decode_documents(text).map_err(|why| Failure::Plain(format!("error parsing {source}: {why}")))
}

/// The documents of a text; empty ones are left out.
pub fn decode_documents(text: &str) -> Result<Vec<Value>, String> {
    if text.trim_start().starts_with('{') {
        return decode_json(text);
    }
    let mut objects = Vec::new();
    for document in split(text) {
        let object = decode_yaml(&document)?;
        if !object.is_null() {
            objects.push(object);
        }
    }
    Ok(objects)
}

fn decode_json(text: &str) -> Result<Vec<Value>, String> {
    let objects: Result<Vec<Value>, _> = serde_json::Deserializer::from_str(text).into_iter().collect();
    objects.map_err(|error| if error.is_eof() { "unexpected EOF".into() } else { error.to_string() })
}

/// Cuts at lines that begin with `---`.
fn split(text: &str) -> Vec<String> {
    let mut documents = vec![String::new()];
    for line in text.split_inclusive('\n') {
        match line.strip_prefix("---") {
            Some(rest) if rest.trim().is_empty() => documents.push(String::new()),
            // A document may begin on its separator's line.
            Some(rest) if rest.starts_with([' ', '\t']) => documents.push(rest.trim_start().to_owned()),
            _ => documents.last_mut().expect("one at least").push_str(line),
        }
    }
    documents
}

/// YAML as kubectl reads it: 1.1's octal numbers and switches, the last of equal keys.
fn decode_yaml(document: &str) -> Result<Value, String> {
    let nothing = |line: &str| line.trim().is_empty() || line.trim_start().starts_with('#') || line.starts_with("...");
    if document.lines().all(nothing) {
        return Ok(Value::Null);
    }
    let options = serde_saphyr::options! {
        legacy_octal_numbers: true,
        duplicate_keys: serde_saphyr::options::DuplicateKeyPolicy::LastWins,
        with_snippet: false,
    };
    serde_saphyr::from_str_with_options(document, options)
        .map_err(|error| format!("error converting YAML to JSON: yaml: {error}"))
}

/// The members of a list of objects, or the object itself.
pub fn members_of(object: Value) -> Vec<Value> {
    let is_list = object["kind"].as_str().is_some_and(|kind| kind.ends_with("List"));
    match object {
        Value::Object(mut map) if is_list && map.get("items").is_some_and(Value::is_array) => match map.remove("items")
        {
            Some(Value::Array(items)) => items.into_iter().flat_map(members_of).collect(),
            _ => Vec::new(),
        },
        object => vec![object],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn documents_are_cut_and_read() {
        let text = "# first\n---\na: 0644\nb: yes\n---\n---\n# none\n--- \nc: |\n  ---x\n";
        assert_eq!(decode_documents(text).expect("good"), [json!({"a": 420, "b": true}), json!({"c": "---x\n"})]);
        assert_eq!(decode_documents("{\"a\":1}\n{\"b\":2}").expect("good"), [json!({"a": 1}), json!({"b": 2})]);
        assert_eq!(decode_documents("{\"a\":").expect_err("cut"), "unexpected EOF");
        assert!(decode_documents("a: [b\n").expect_err("bad").starts_with("error converting YAML to JSON: yaml: "));
    }

    #[test]
    fn lists_are_taken_apart() {
        let list = json!({"kind": "List", "items": [{"kind": "Pod"}, {"kind": "PodList", "items": [{"kind": "Pod", "n": 1}]}]});
        assert_eq!(members_of(list), [json!({"kind": "Pod"}), json!({"kind": "Pod", "n": 1})]);
    }
}
