//! The server's `Table`s as text.

use serde_json::{Value, json};

use super::TabWriter;

#[derive(Clone, Debug, Default)]
pub struct TableOptions {
    pub no_headers: bool,
    pub wide: bool,
    pub with_namespace: bool,
    /// Prefixes names with this kind.
    pub kind: Option<String>,
    pub show_labels: bool,
    pub label_columns: Vec<String>,
}

/// Prints tables of one kind; the header only once.
#[derive(Debug, Default)]
pub struct TablePrinter {
    options: TableOptions,
    columns: Vec<Value>,
    printed_headers: bool,
}

impl TablePrinter {
    pub fn new(options: TableOptions) -> Self {
        Self { options, ..Self::default() }
    }

    /// Writes a table, or any object or list by name and age. `event` adds the column of a watch.
    pub fn print(&mut self, answer: &Value, event: Option<&str>, out: &mut TabWriter) {
        let fallback;
        let table = if answer["kind"] == "Table" {
            answer
        } else {
            fallback = by_name_and_age(answer);
            &fallback
        };
        let columns = table["columnDefinitions"].as_array().filter(|columns| !columns.is_empty());
        if let Some(columns) = columns
            && *columns != self.columns
        {
            self.columns.clone_from(columns);
            self.printed_headers = false;
        }
        let rows = table["rows"].as_array().map(Vec::as_slice).unwrap_or_default();
        if rows.is_empty() {
            return;
        }
        if !self.printed_headers && !self.options.no_headers {
            self.header(event.is_some(), out);
        }
        self.printed_headers = true;
        rows.iter().for_each(|row| self.row(row, event, out));
    }

    fn is_shown(&self, column: &Value) -> bool {
        self.options.wide || column["priority"].as_i64().unwrap_or(0) == 0
    }

    fn header(&self, event: bool, out: &mut TabWriter) {
        let mut names: Vec<String> = Vec::new();
        names.extend(event.then(|| "EVENT".into()));
        names.extend(self.options.with_namespace.then(|| "NAMESPACE".into()));
        let shown = self.columns.iter().filter(|column| self.is_shown(column));
        names.extend(shown.map(|column| column["name"].as_str().unwrap_or_default().to_uppercase()));
        let short = |label: &String| label.rsplit('/').next().unwrap_or_default().to_uppercase();
        names.extend(self.options.label_columns.iter().map(short));
        names.extend(self.options.show_labels.then(|| "LABELS".into()));
        out.write(&(names.join("\t") + "\n"));
    }

    fn row(&self, row: &Value, event: Option<&str>, out: &mut TabWriter) {
        let metadata = &row["object"]["metadata"];
        let mut cells: Vec<String> = Vec::new();
        cells.extend(event.map(event_cell));
        if self.options.with_namespace {
            cells.push(metadata["namespace"].as_str().unwrap_or_default().to_owned());
        }
        let values = row["cells"].as_array().map(Vec::as_slice).unwrap_or_default();
        let mut named = false;
        for (column, value) in self.columns.iter().zip(values) {
            let is_name = !named && column["format"] == "name" && column["type"] == "string";
            named |= is_name;
            if self.is_shown(column) {
                cells.push(self.cell(value, is_name));
            }
        }
        let label = |key: &String| metadata["labels"][key].as_str().unwrap_or_default().to_owned();
        cells.extend(self.options.label_columns.iter().map(label));
        cells.extend(self.options.show_labels.then(|| format_labels(&metadata["labels"])));
        out.write(&(cells.join("\t") + "\n"));
    }

    fn cell(&self, value: &Value, is_name: bool) -> String {
        let text = if value.is_null() { String::new() } else { escaped(&super::go_text(value)) };
        match &self.options.kind {
            Some(kind) if is_name => format!("{kind}/{text}"),
            _ => text,
        }
    }
}

fn event_cell(event: &str) -> String {
    format!("{event:8}")
}

/// Cut at the first line end; nothing that a terminal would obey.
fn escaped(text: &str) -> String {
    let cut = match text.find(['\n', '\r', '\u{c}']) {
        Some(at) => format!("{}...", &text[..at]),
        None => text.to_owned(),
    };
    cut.replace('\u{1b}', "^[")
}

/// `a=b,c=d`, or `<none>`.
pub fn format_labels(labels: &Value) -> String {
    let Some(labels) = labels.as_object().filter(|labels| !labels.is_empty()) else { return "<none>".into() };
    let pairs: Vec<String> =
        labels.iter().map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default())).collect();
    pairs.join(",")
}

/// For a server that makes no tables.
fn by_name_and_age(answer: &Value) -> Value {
    let now = jiff::Timestamp::now().as_second();
    let row = |object: &Value| {
        let cells = json!([object["metadata"]["name"], apimachinery::table::age(object, now)]);
        json!({"cells": cells, "object": {"metadata": object["metadata"]}})
    };
    json!({
        "columnDefinitions": [{"name": "Name", "type": "string", "format": "name"}, {"name": "Age", "type": "string"}],
        "rows": super::items(answer).map(row).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    fn table() -> Value {
        json!({
            "kind": "Table",
            "columnDefinitions": [
                {"name": "Name", "type": "string", "format": "name", "priority": 0},
                {"name": "Restarts", "type": "integer", "priority": 0},
                {"name": "Node", "type": "string", "priority": 1},
            ],
            "rows": [{"cells": ["a", 3, "n1"], "object": {"metadata": {"namespace": "x", "labels": {"app": "y", "b/c": "d"}}}}],
        })
    }

    fn printed(options: TableOptions) -> String {
        let mut out = TabWriter::table();
        TablePrinter::new(options).print(&table(), None, &mut out);
        out.flush()
    }

    #[test]
    fn columns_are_chosen_by_the_options() {
        expect![[r#"
            NAME   RESTARTS
            a      3
        "#]]
        .assert_eq(&printed(TableOptions::default()));
        expect![[r#"
            NAMESPACE   NAME    RESTARTS   NODE   C     LABELS
            x           pod/a   3          n1     d     app=y,b/c=d
        "#]]
        .assert_eq(&printed(TableOptions {
            wide: true,
            with_namespace: true,
            kind: Some("pod".into()),
            show_labels: true,
            label_columns: vec!["b/c".into()],
            ..TableOptions::default()
        }));
    }
}
