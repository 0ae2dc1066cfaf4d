//! `get`: one or many objects, as a table or in another format; and watching them.

use serde_json::{Value, json};

use crate::command::{Command, runs};
use crate::failure::{Failure, fail};
use crate::flags::{Flag, Parsed};
use crate::objects::{Asked, Call, FILENAME_FLAGS, Info, Mapping, Matching, SELECTOR_FLAGS, Selection, Watcher};
use crate::print::{Format, OUTPUT_FLAGS, Sorter, TabWriter, TableOptions, TablePrinter, items};
use crate::session::Session;

const TABLE: &str =
    "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json";

pub const COMMAND: Command = Command {
    name: "get",
    about: "Display one or many resources",
    usage: "[(-o|--output=)FORMAT] (TYPE[.VERSION][.GROUP] [NAME | -l label] | TYPE[.VERSION][.GROUP]/NAME ...) [flags] \
            [options]",
    flags: &[OUTPUT_FLAGS, FILENAME_FLAGS, SELECTOR_FLAGS, FLAGS],
    run: runs!(run),
    ..Command::EMPTY
};

const FLAGS: &[Flag] = &[
    Flag::number("chunk-size", "500", "Return large lists in chunks rather than all at once. Pass 0 to disable."),
    Flag::switch(
        "ignore-not-found",
        "If set to true, suppresses NotFound error for specific objects that do not exist.",
    ),
    Flag::list("label-columns", "Accepts a comma separated list of labels that are going to be presented as columns.")
        .short('L'),
    Flag::switch("no-headers", "When using the default or custom-column output format, don't print headers."),
    Flag::switch("output-watch-events", "Output watch event objects when --watch or --watch-only is used."),
    Flag::text("raw", "Raw URI to request from the server."),
    Flag::switch("server-print", "If true, have the server return the appropriate table output.").or("true"),
    Flag::switch("show-kind", "If present, list the resource type for the requested object(s)."),
    Flag::switch("show-labels", "When printing, show all labels as the last column."),
    Flag::text("sort-by", "If non-empty, sort list types using this field specification."),
    Flag::text("subresource", "If specified, gets the subresource of the requested object."),
    Flag::switch("watch", "After listing/getting the requested object, watch for changes.").short('w'),
    Flag::switch("watch-only", "Watch for changes to the requested object(s), without listing/getting first."),
];

async fn run(session: &Session, parsed: Parsed) -> Result<(), Failure> {
    if let Some(path) = parsed.some("raw") {
        return raw(session, &parsed, path).await;
    }
    check(session, &parsed)?;
    let get = Get::new(session, &parsed)?;
    if parsed.on("watch") || parsed.on("watch-only") {
        return get.watch().await;
    }
    match Format::of(&parsed, parsed.on("no-headers"))? {
        None => get.table().await,
        Some(format) => get.whole(format).await,
    }
}

async fn raw(session: &Session, parsed: &Parsed, path: &str) -> Result<(), Failure> {
    if !parsed.arguments.is_empty() {
        return fail!("arguments may not be passed when --raw is specified");
    }
    let bytes = Call::get(path).bytes(session.client()?).await?;
    session.streams.print(bytes)
}

fn check(session: &Session, parsed: &Parsed) -> Result<(), Failure> {
    let output = parsed.text("output");
    if parsed.on("show-labels") && !["", "wide"].contains(&output) {
        return fail!("--show-labels option cannot be used with {output} printer");
    }
    if parsed.given("label-columns") && output.starts_with("custom-columns") {
        return fail!("--label-columns option cannot be used with {output} printer");
    }
    let watches = parsed.on("watch") || parsed.on("watch-only");
    if parsed.on("output-watch-events") && !watches {
        return fail!("--output-watch-events option can only be used with --watch or --watch-only");
    }
    if watches && parsed.given("sort-by") {
        session.streams.note("warning: --watch requested, --sort-by will be ignored for watch events received");
    }
    if parsed.arguments.is_empty() && !parsed.given("filename") && !watches {
        session.streams.note(
            "You must specify the type of resource to get. Use \"kubectl api-resources\" for a complete list of \
             supported resources.\n",
        );
        return Err(session.usage(
            "Required resource not specified.\nUse \"kubectl explain <resource>\" for a detailed description of that \
             resource (e.g. kubectl explain pods).",
        ));
    }
    Ok(())
}

/// One answer of the server: a table or an object, and the kind that was asked for.
struct Answer {
    mapping: std::sync::Arc<Mapping>,
    value: Value,
}

struct Get<'a> {
    session: &'a Session,
    parsed: &'a Parsed,
    asked: Asked,
    sorter: Option<Sorter>,
}

impl<'a> Get<'a> {
    fn new(session: &'a Session, parsed: &'a Parsed) -> Result<Self, Failure> {
        let asked = Asked { type_is_enough: true, ..Asked::of(session, parsed)? };
        let sorter = parsed.some("sort-by").map(Sorter::parse).transpose()?;
        Ok(Self { session, parsed, asked, sorter })
    }

    fn ignores(&self, failure: &Failure) -> bool {
        self.parsed.on("ignore-not-found") && failure.is_not_found()
    }

    /// How an answer is asked for.
    fn shape(&self, table: bool) -> impl Fn(Call) -> Call {
        let table = table && self.parsed.on("server-print");
        let whole = self.sorter.is_some();
        move |call| match (table, whole) {
            (false, _) => call,
            (true, false) => call.accept(TABLE),
            (true, true) => call.accept(TABLE).query("includeObject", "Object"),
        }
    }

    fn object_call(&self, info: &Info) -> Call {
        let subresource = self.parsed.some("subresource").map(|name| format!("/{name}")).unwrap_or_default();
        Call::get(info.path() + &subresource)
    }

    /// All answers, in order. What failed stands beside.
    async fn answers(&self, selection: Selection, table: bool) -> Result<(Vec<Answer>, Vec<Failure>), Failure> {
        let client = self.session.client()?;
        let shape = self.shape(table);
        let limit = if self.sorter.is_some() { 0 } else { self.parsed.number("chunk-size") };
        let (mut answers, mut failures) = (Vec::new(), Vec::new());
        match selection {
            Selection::Matching(matching) => {
                for mapping in &matching.mappings {
                    match matching.pages(client, mapping, limit, &shape).await {
                        Ok(pages) => {
                            answers.extend(pages.into_iter().map(|value| Answer { mapping: mapping.clone(), value }));
                        }
                        Err(failure) => failures.push(failure),
                    }
                }
            }
            named => {
                let (infos, unread) = named.infos(client).await?;
                failures.extend(unread);
                for info in infos {
                    match shape(self.object_call(&info)).value(client).await {
                        Ok(value) => answers.push(Answer { mapping: info.mapping, value }),
                        Err(failure) => failures.push(failure),
                    }
                }
            }
        }
        failures.retain(|failure| !self.ignores(failure));
        Ok((answers, failures))
    }

    fn options(&self, mapping: &Mapping, with_kind: bool) -> TableOptions {
        let kind = (with_kind || self.parsed.on("show-kind")).then(|| mapping.kind_name());
        TableOptions {
            no_headers: self.parsed.on("no-headers"),
            wide: self.parsed.text("output") == "wide",
            with_namespace: self.asked.all_namespaces && mapping.namespaced,
            kind,
            show_labels: self.parsed.on("show-labels"),
            label_columns: self.parsed.list("label-columns"),
        }
    }

    async fn table(&self) -> Result<(), Failure> {
        let selection = self.asked.select(self.session).await?;
        let (mut answers, failures) = self.answers(selection, true).await?;
        let namespaced = !self.asked.all_namespaces && answers.iter().all(|answer| answer.mapping.namespaced);
        if let Some(sorter) = &self.sorter {
            if answers.len() > 1 {
                return sorter.unsortable();
            }
            answers.retain_mut(|answer| sort_rows(sorter, answer).is_ok());
        }
        let text = self.render(&answers);
        self.session.streams.print(&text)?;
        if text.is_empty() && failures.is_empty() && !self.parsed.on("ignore-not-found") {
            self.session.streams.note(if namespaced {
                format!("No resources found in {} namespace.", self.asked.namespace)
            } else {
                "No resources found".into()
            });
        }
        Failure::all(failures)
    }

    /// A table for each run of answers of one kind, with blank lines between.
    fn render(&self, answers: &[Answer]) -> String {
        let with_kind = answers.iter().any(|answer| {
            answer.mapping.kind != answers[0].mapping.kind || answer.mapping.group != answers[0].mapping.group
        });
        let mut text = String::new();
        for run in answers.chunk_by(|a, b| a.mapping.same_resource(&b.mapping)) {
            let mut writer = TabWriter::table();
            let mut printer = TablePrinter::new(self.options(&run[0].mapping, with_kind));
            run.iter().for_each(|answer| printer.print(&answer.value, None, &mut writer));
            let table = writer.flush();
            if !text.is_empty() && !table.is_empty() && !self.parsed.on("no-headers") {
                text.push('\n');
            }
            text.push_str(&table);
        }
        text
    }

    /// Whole objects: one alone as itself, several as a list.
    async fn whole(&self, mut format: Format) -> Result<(), Failure> {
        let selection = self.asked.select(self.session).await?;
        let single =
            matches!(&selection, Selection::Named { single: true, .. } | Selection::Written { single: true, .. });
        let (answers, mut failures) = self.answers(selection, false).await?;
        if single && !failures.is_empty() {
            return Failure::all(failures);
        }
        let mut objects: Vec<Value> = answers.into_iter().flat_map(|answer| flattened(&answer)).collect();
        if objects.is_empty() && self.parsed.on("ignore-not-found") {
            return Failure::all(failures);
        }
        if let Some(sorter) = &self.sorter {
            sorter.sort(&mut objects, |object| object)?;
        }
        let shown = if single && objects.len() == 1 { objects.remove(0) } else { list(objects) };
        failures.extend(format.show(&shown, &self.session.streams).err());
        Failure::all(failures)
    }

    async fn watch(&self) -> Result<(), Failure> {
        let asked = Asked { single_type: true, ..self.asked.clone() };
        let selection = asked.select(self.session).await?;
        let (mapping, base) = watched(&selection)?;
        let mut sink = Sink::new(self, &mapping)?;
        let shape = self.shape(sink.is_table());
        let client = self.session.client()?;
        let (answers, failures) = self.answers(selection, sink.is_table()).await?;
        Failure::all(failures)?;
        let version = version_of(&answers);
        let is_list = answers.iter().any(|answer| answer.value["items"].is_array()) || !base.single;
        if !self.parsed.on("watch-only") {
            for answer in &answers {
                sink.show(&answer.value, "ADDED")?;
            }
        }
        // A watch of one object begins with what it is now, which has been shown.
        let (from, mut skip) = if is_list { (version, false) } else { ("0".to_owned(), true) };
        let call = shape(base.call).query("resourceVersion", &from);
        let mut watcher = Watcher::start(client, call).await?;
        while let Some(event) = watcher.next().await? {
            if event.kind == "BOOKMARK" || std::mem::take(&mut skip) {
                continue;
            }
            sink.show(&event.object, &event.kind)?;
        }
        Ok(())
    }
}

struct Watched {
    call: Call,
    single: bool,
}

/// What there is to watch: one collection, or one object in it.
fn watched(selection: &Selection) -> Result<(std::sync::Arc<Mapping>, Watched), Failure> {
    match selection {
        Selection::Matching(matching) => {
            let mapping = matching.mappings.first().cloned().ok_or("nothing to watch")?;
            let call = matching.call(&mapping);
            Ok((mapping, Watched { call, single: false }))
        }
        Selection::Named { infos, .. } | Selection::Written { infos, .. } => match infos.as_slice() {
            [info] => {
                let one = Matching {
                    mappings: vec![info.mapping.clone()],
                    namespace: info.namespace.clone(),
                    labels: String::new(),
                    fields: format!("metadata.name={}", info.name),
                };
                Ok((info.mapping.clone(), Watched { call: one.call(&info.mapping), single: true }))
            }
            many => fail!(
                "watch is only supported on individual resources and resource collections - {} resources were found",
                many.len()
            ),
        },
    }
}

fn version_of(answers: &[Answer]) -> String {
    let version = answers.last().and_then(|answer| answer.value["metadata"]["resourceVersion"].as_str());
    version.unwrap_or_default().to_owned()
}

/// Where watched objects go.
struct Sink<'a> {
    session: &'a Session,
    events: bool,
    form: Form,
}

enum Form {
    Table(TablePrinter, TabWriter),
    Whole(Format, bool),
}

impl<'a> Sink<'a> {
    fn new(get: &Get<'a>, mapping: &Mapping) -> Result<Self, Failure> {
        let form = match Format::of(get.parsed, get.parsed.on("no-headers"))? {
            Some(format) => Form::Whole(format, false),
            None => Form::Table(TablePrinter::new(get.options(mapping, false)), TabWriter::table()),
        };
        Ok(Self { session: get.session, events: get.parsed.on("output-watch-events"), form })
    }

    fn is_table(&self) -> bool {
        matches!(self.form, Form::Table(..))
    }

    fn show(&mut self, value: &Value, kind: &str) -> Result<(), Failure> {
        let event = self.events.then_some(kind);
        let text = match &mut self.form {
            Form::Table(printer, writer) => {
                printer.print(value, event, writer);
                writer.flush()
            }
            Form::Whole(format, printed) => {
                let mut text = String::new();
                for object in items(value) {
                    if format.is_yaml() && std::mem::replace(printed, true) {
                        text.push_str("---\n");
                    }
                    text.push_str(&match event {
                        Some(kind) => format.render(&json!({"type": kind, "object": object}))?,
                        None => format.render(object)?,
                    });
                }
                text
            }
        };
        self.session.streams.print(text)
    }
}

/// The objects of an answer; members of a list get the kind that the server leaves out.
fn flattened(answer: &Answer) -> Vec<Value> {
    if answer.value["items"].is_array() {
        crate::objects::members(&answer.mapping, answer.value.clone()).into_iter().map(|info| info.object).collect()
    } else {
        vec![answer.value.clone()]
    }
}

fn list(objects: Vec<Value>) -> Value {
    json!({"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": ""}, "items": objects})
}

/// A table of rows without the field is not shown at all.
fn sort_rows(sorter: &Sorter, answer: &mut Answer) -> Result<(), Failure> {
    let field = if answer.value["kind"] == "Table" { "rows" } else { "items" };
    match answer.value.get_mut(field) {
        Some(Value::Array(rows)) if rows.len() > 1 => {
            sorter.sort(rows, |row| if field == "rows" { &row["object"] } else { row })
        }
        _ => Ok(()),
    }
}
