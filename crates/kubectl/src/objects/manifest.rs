//! Objects written in files: several documents in each, YAML or JSON.

use std::io::Read;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::download::download;
use super::glob;
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
        matches!(self.names.as_slice(), [name] if name != "-" && !is_url(name) && !Path::new(name).is_dir())
    }

    /// All objects, lists taken apart. What cannot be read stands among the failures.
    pub async fn read(&self) -> Result<(Vec<Document>, Vec<Failure>), Failure> {
        let (mut documents, mut failures) = (Vec::new(), Vec::new());
        for (source, place) in self.expand()? {
            let text = match place.read().await {
                Ok(text) => text,
                Err(failure) => {
                    failures.push(failure);
                    continue;
                }
            };
            // What stands before a mistake counts.
            let (objects, mistake) = documents_of(&text);
            let objects = objects.into_iter().flat_map(members_of);
            documents.extend(objects.map(|object| Document { source: source.clone(), object }));
            failures.extend(mistake.map(|why| Failure::Plain(format!("error parsing {source}: {why}"))));
        }
        Ok((documents, failures))
    }

    /// The files, those of directories in the order of their names.
    fn expand(&self) -> Result<Vec<(String, Place)>, Failure> {
        let mut files = Vec::new();
        for name in &self.names {
            match name.as_str() {
                "-" => files.push(("STDIN".to_owned(), Place::Stdin)),
                url if is_url(url) => files.push((url.to_owned(), Place::Web(url.to_owned()))),
                pattern => {
                    for path in glob::expand(pattern)? {
                        self.find(path, &mut files)?;
                    }
                }
            }
        }
        if files.is_empty() {
            let names = self.names.join(" ");
            return fail!("error reading [{names}]: recognized file extensions are [.json .yaml .yml]");
        }
        Ok(files)
    }

    fn find(&self, name: String, files: &mut Vec<(String, Place)>) -> Result<(), Failure> {
        let path = PathBuf::from(&name);
        if path.is_dir() {
            return self.walk(&path, files);
        }
        files.push((name, Place::File(path)));
        Ok(())
    }

    fn walk(&self, directory: &Path, files: &mut Vec<(String, Place)>) -> Result<(), Failure> {
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
            // A link to a directory is not followed, as by Go.
            if path.is_dir() && !path.is_symlink() {
                if self.recursive {
                    self.walk(&path, files)?;
                }
            } else if known {
                files.push((path.display().to_string(), Place::File(path)));
            }
        }
        Ok(())
    }
}

/// Where a manifest is.
#[derive(Debug, PartialEq, Eq)]
enum Place {
    Stdin,
    File(PathBuf),
    Web(String),
}

impl Place {
    async fn read(&self) -> Result<String, Failure> {
        let bytes = match self {
            Self::File(path) => std::fs::read(path)
                .map_err(|error| Failure::Plain(format!("open {}: {}", path.display(), os_text(&error))))?,
            Self::Stdin => {
                let mut bytes = Vec::new();
                let read = std::io::stdin().read_to_end(&mut bytes);
                read.map_err(|error| format!("read STDIN: {}", os_text(&error)))?;
                bytes
            }
            Self::Web(url) => download(url).await?,
        };
        decode_text(&bytes).ok_or_else(|| Failure::from("the input is not UTF-8"))
    }
}

/// UTF-8, or UTF-16 where the mark before it says so.
fn decode_text(bytes: &[u8]) -> Option<String> {
    let wide = |unit: fn([u8; 2]) -> u16| {
        let units = bytes[2..].chunks_exact(2).map(|pair| unit([pair[0], pair[1]]));
        String::from_utf16(&units.collect::<Vec<_>>()).ok()
    };
    match bytes {
        [0xff, 0xfe, ..] => wide(u16::from_le_bytes),
        [0xfe, 0xff, ..] => wide(u16::from_be_bytes),
        [0xef, 0xbb, 0xbf, text @ ..] | text => String::from_utf8(text.to_vec()).ok(),
    }
}

fn is_url(name: &str) -> bool {
    name.starts_with("http://") || name.starts_with("https://")
}

/// The documents of a text; empty ones are left out.
pub fn decode_documents(text: &str) -> Result<Vec<Value>, String> {
    match documents_of(text) {
        (objects, None) => Ok(objects),
        (_, Some(why)) => Err(why),
    }
}

/// The documents of a text up to the first mistake, and the mistake.
fn documents_of(text: &str) -> (Vec<Value>, Option<String>) {
    let is_json = text.trim_start().starts_with('{');
    let mut objects = Vec::new();
    let decoded: Box<dyn Iterator<Item = Result<Value, String>>> = if is_json {
        let values = serde_json::Deserializer::from_str(text).into_iter::<Value>();
        Box::new(values.map(|value| {
            value.map_err(|error| if error.is_eof() { "unexpected EOF".into() } else { error.to_string() })
        }))
    } else {
        Box::new(split(text).into_iter().map(|document| decode_yaml(&document)))
    };
    for object in decoded {
        match object {
            Ok(Value::Null) => {}
            Ok(object) => objects.push(object),
            Err(why) => return (objects, Some(why)),
        }
    }
    (objects, None)
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
    let mut value = serde_saphyr::from_str_with_options(document, options)
        .map_err(|error| format!("error converting YAML to JSON: yaml: {error}"))?;
    make_whole(&mut value);
    Ok(value)
}

/// YAML becomes JSON by way of text, in which `1.0` is `1`.
fn make_whole(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(make_whole),
        Value::Object(map) => map.values_mut().for_each(make_whole),
        Value::Number(number) if number.is_f64() => {
            let float = number.as_f64().filter(|float| float.fract() == 0.0);
            if let Some(whole) = float.and_then(|float| format!("{float:.0}").parse::<i64>().ok()) {
                *value = whole.into();
            }
        }
        _ => {}
    }
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
        let text = "# first\n---\na: 0644\nn: 2.0\nb: yes\n---\n---\n# none\n--- \nc: |\n  ---x\n";
        assert_eq!(
            decode_documents(text).expect("good"),
            [json!({"a": 420, "b": true, "n": 2}), json!({"c": "---x\n"})]
        );
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
