//! A description in the making: indented lines whose columns are aligned at the end.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Map, Value};

use crate::print::TabWriter;

const ANNOTATION_MAX: usize = 140;
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

pub struct Page {
    writer: TabWriter,
    done: String,
    pub now: i64,
}

impl Page {
    pub fn new(now: i64) -> Self {
        Self { writer: TabWriter::description(), done: String::new(), now }
    }

    /// One line; cells are separated by tabs.
    pub fn line(&mut self, level: usize, text: impl AsRef<str>) {
        self.writer.write(&format!("{}{}\n", "  ".repeat(level), text.as_ref()));
    }

    /// `Name:` and what it is.
    pub fn field(&mut self, level: usize, name: &str, value: impl AsRef<str>) {
        self.line(level, format!("{name}:\t{}", value.as_ref()));
    }

    /// The field only if it is set.
    pub fn field_if(&mut self, level: usize, name: &str, value: &Value) {
        let text = text(value);
        if !text.is_empty() {
            self.field(level, name, text);
        }
    }

    /// What follows is aligned apart from what came before.
    pub fn flush(&mut self) {
        let text = self.writer.flush();
        self.done.push_str(&text);
    }

    /// As it was written, with its tabs.
    pub fn unaligned(self) -> String {
        self.done + &self.writer.into_text()
    }

    pub fn finish(mut self) -> String {
        self.flush();
        self.done
    }

    /// The first value beside the title, the others below it.
    pub fn values(&mut self, title: &str, values: &[String]) {
        let Some((first, rest)) = values.split_first() else {
            return self.line(0, format!("{title}:\t<none>"));
        };
        self.line(0, format!("{title}:\t{first}"));
        rest.iter().for_each(|value| self.line(0, format!("\t{value}")));
    }

    pub fn labels(&mut self, title: &str, labels: &Value) {
        let labels = map(labels).map(|(key, value)| format!("{key}={}", text(value)));
        let labels: Vec<String> = labels.collect();
        self.values(title, &labels);
    }

    pub fn annotations(&mut self, title: &str, annotations: &Value) {
        let mut lines = Vec::new();
        for (key, value) in map(annotations).filter(|(key, _)| *key != LAST_APPLIED) {
            let value = text(value);
            let value = value.strip_suffix('\n').unwrap_or(value);
            if value.len() + key.len() + 2 > ANNOTATION_MAX || value.contains('\n') {
                lines.push(format!("{key}:"));
                lines.extend(value.split('\n').map(|line| format!("  {}", shortened(line))));
            } else {
                lines.push(format!("{key}: {value}"));
            }
        }
        self.values(title, &lines);
    }

    /// Name, namespace, labels and annotations: the head of most pages.
    pub fn head(&mut self, object: &Value) {
        let metadata = &object["metadata"];
        self.field(0, "Name", text(&metadata["name"]));
        self.field(0, "Namespace", text(&metadata["namespace"]));
        self.labels("Labels", &metadata["labels"]);
        self.annotations("Annotations", &metadata["annotations"]);
    }

    pub fn controlled_by(&mut self, object: &Value) {
        if let Some(owner) = apimachinery::object::controller_of(object) {
            let line = format!("{}/{}", owner.kind, owner.name);
            self.field(0, "Controlled By", line);
        }
    }

    /// How long ago that was.
    pub fn since(&self, time: &Value) -> String {
        text(&apimachinery::table::since(Some(time).filter(|time| !time.is_null()), self.now)).to_owned()
    }
}

fn shortened(line: &str) -> String {
    let max = ANNOTATION_MAX - 2;
    if line.len() <= max {
        return line.to_owned();
    }
    let end = (0..=max).rev().find(|end| line.is_char_boundary(*end)).unwrap_or(0);
    format!("{}...", &line[..end])
}

pub fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

pub fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

pub fn map(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flat_map(Map::iter)
}

pub fn number(value: &Value) -> i64 {
    value.as_i64().unwrap_or(0)
}

/// A number or a text.
pub fn scalar(value: &Value) -> String {
    crate::print::go_text(value)
}

pub fn title_case(value: bool) -> &'static str {
    if value { "True" } else { "False" }
}

/// `a=b,c=d`, or `<none>`.
pub fn joined_labels(labels: &Value) -> String {
    let pairs: Vec<String> = map(labels).map(|(key, value)| format!("{key}={}", text(value))).collect();
    if pairs.is_empty() { "<none>".into() } else { pairs.join(",") }
}

/// `Mon, 02 Jan 2006 15:04:05 -0700`, in local time.
pub fn date(value: &Value) -> String {
    let Some(time) = value.as_str().and_then(|text| text.parse::<Timestamp>().ok()) else {
        return "Mon, 01 Jan 0001 00:00:00 +0000".into();
    };
    time.to_zoned(TimeZone::system()).strftime("%a, %d %b %Y %H:%M:%S %z").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;
    use serde_json::json;

    #[test]
    fn heads_are_laid_out() {
        let mut page = Page::new(0);
        page.head(&json!({"metadata": {
            "name": "web",
            "namespace": "default",
            "labels": {"b": "2", "a": "1"},
            "annotations": {LAST_APPLIED: "{}", "long": "x".repeat(150), "lines": "one\ntwo\n"},
        }}));
        page.labels("Selector", &Value::Null);
        expect![[r#"
            Name:         web
            Namespace:    default
            Labels:       a=1
                          b=2
            Annotations:  lines:
                            one
                            two
                          long:
                            xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx...
            Selector:     <none>
        "#]]
        .assert_eq(&page.finish());
    }
}
