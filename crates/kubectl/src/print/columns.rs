//! `custom-columns=HEADER:path,…`.

use serde_json::Value;

use super::jsonpath::JsonPath;
use super::{TabWriter, go_text, items, relaxed};
use crate::failure::{Failure, fail};

pub struct CustomColumns {
    columns: Vec<(String, JsonPath)>,
    writer: TabWriter,
    headers: bool,
}

impl CustomColumns {
    pub fn parse(spec: &str, no_headers: bool) -> Result<Self, Failure> {
        if spec.is_empty() {
            return fail!("custom-columns format specified but no custom columns given");
        }
        let mut columns = Vec::new();
        for part in spec.split(',') {
            let Some((header, path)) = part.split_once(':') else {
                return fail!("unexpected custom-columns spec: {part}, expected <header>:<json-path-expr>");
            };
            columns.push((header.to_owned(), JsonPath::parse(&relaxed(path)?, true)?));
        }
        Ok(Self { columns, writer: TabWriter::table(), headers: !no_headers })
    }

    /// From a file of two lines: the headers, and the paths.
    pub fn from_file(text: &str) -> Result<Self, Failure> {
        let mut lines = text.lines();
        let (Some(headers), Some(paths)) = (lines.next(), lines.next()) else {
            return fail!(
                "invalid template, missing spec line. Expected format is one line of space separated headers, one line \
                 of space separated column specs."
            );
        };
        let (headers, paths): (Vec<_>, Vec<_>) =
            (headers.split_whitespace().collect(), paths.split_whitespace().collect());
        if headers.len() != paths.len() {
            let (headers, paths) = (headers.len(), paths.len());
            return fail!("number of headers ({headers}) and field specifications ({paths}) don't match");
        }
        let column = |(header, path): (&str, &str)| {
            Ok::<_, Failure>((header.to_owned(), JsonPath::parse(&relaxed(path)?, true)?))
        };
        let columns = headers.into_iter().zip(paths).map(column).collect::<Result<_, _>>()?;
        Ok(Self { columns, writer: TabWriter::table(), headers: true })
    }

    pub fn render(&mut self, object: &Value) -> Result<String, Failure> {
        if std::mem::take(&mut self.headers) {
            let headers: Vec<&str> = self.columns.iter().map(|(header, _)| header.as_str()).collect();
            self.writer.write(&(headers.join("\t") + "\n"));
        }
        for object in items(object) {
            let cells: Vec<String> =
                self.columns.iter().map(|(_, path)| cell(path, object)).collect::<Result<_, _>>()?;
            self.writer.write(&(cells.join("\t") + "\n"));
        }
        Ok(self.writer.flush())
    }
}

fn cell(path: &JsonPath, object: &Value) -> Result<String, Failure> {
    let found = path.find(object)?;
    if found.is_empty() {
        return Ok("<none>".into());
    }
    Ok(found.iter().map(go_text).collect::<Vec<_>>().join(","))
}
