//! `config view`.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::command::{Command, runs};
use crate::config::{KEY_ORDER, Settings, Stanza, os_text};
use crate::failure::{Failure, fail};
use crate::flags::{Flag, Parsed};
use crate::print::{Format, OUTPUT_FLAGS, to_json_in_order, to_yaml};
use crate::session::Session;

pub const COMMAND: Command = Command {
    name: "view",
    about: "Display merged kubeconfig settings or a specified kubeconfig file",
    usage: "[flags] [options]",
    flags: &[
        OUTPUT_FLAGS,
        &[
            Flag::switch("flatten", "Flatten the resulting kubeconfig file into self-contained output"),
            Flag::switch("merge", "Merge the full hierarchy of kubeconfig files").or("true"),
            Flag::switch("minify", "Remove all information not used by current-context from the output"),
            Flag::switch("raw", "Display raw byte data and sensitive data"),
        ],
    ],
    run: runs!(run),
    ..Command::EMPTY
};

async fn run(session: &Session, parsed: Parsed) -> Result<(), Failure> {
    if !parsed.arguments.is_empty() {
        return Err(session.usage(format!("unexpected arguments: [{}]", parsed.arguments.join(" "))));
    }
    let format = Format::of_written(&parsed)?;
    let settings = shown(session, &parsed)?.to_value();
    match format {
        None => session.streams.print(to_yaml(&settings)),
        Some(Format::Json { .. }) => session.streams.line(to_json_in_order(&settings, KEY_ORDER)),
        Some(mut format) => format.show(&settings, &session.streams),
    }
}

fn shown(session: &Session, parsed: &Parsed) -> Result<Settings, Failure> {
    let access = session.config.access();
    if !parsed.on("merge") && access.explicit().is_none() {
        return fail!("if merge==false a precise file must be specified");
    }
    let mut settings = access.settings()?;
    if parsed.on("minify") {
        if let Some(context) = parsed.some("context") {
            settings.current_context = context.to_owned();
        }
        minify(&mut settings)?;
    }
    if parsed.on("flatten") {
        flatten(&mut settings)?;
    } else if !parsed.on("raw") {
        settings.clusters.values_mut().chain(settings.users.values_mut()).for_each(redact);
    }
    Ok(settings)
}

/// Leaves the current context and what it names.
fn minify(settings: &mut Settings) -> Result<(), Failure> {
    let current = &settings.current_context;
    if current.is_empty() {
        return fail!("current-context must exist in order to minify");
    }
    let Some(context) = settings.contexts.remove(current) else {
        return fail!("cannot locate context {current}");
    };
    keep(&mut settings.clusters, "cluster", context.text("cluster"))?;
    keep(&mut settings.users, "user", context.text("user"))?;
    settings.contexts = BTreeMap::from([(current.clone(), context)]);
    Ok(())
}

fn keep(stanzas: &mut BTreeMap<String, Stanza>, what: &str, name: &str) -> Result<(), Failure> {
    if !name.is_empty() && !stanzas.contains_key(name) {
        return fail!("cannot locate {what} {name}");
    }
    stanzas.retain(|known, _| known == name);
    Ok(())
}

/// Puts the files' content in the place of their names.
fn flatten(settings: &mut Settings) -> Result<(), Failure> {
    for user in settings.users.values_mut() {
        embed(user, "client-certificate")?;
        embed(user, "client-key")?;
    }
    settings.clusters.values_mut().try_for_each(|cluster| embed(cluster, "certificate-authority"))
}

fn embed(stanza: &mut Stanza, field: &str) -> Result<(), Failure> {
    let (name, data) = (stanza.text(field).to_owned(), format!("{field}-data"));
    if name.is_empty() {
        return Ok(());
    }
    if !stanza.text(&data).is_empty() {
        return fail!("cannot have values for both path and contents");
    }
    let origin = stanza.origin.clone().unwrap_or_default();
    let path = crate::config::directory_of(&origin).join(name);
    let bytes = std::fs::read(&path).map_err(|error| format!("open {}: {}", path.display(), os_text(&error)))?;
    stanza.fields.remove(field);
    stanza.set(&data, STANDARD.encode(bytes));
    Ok(())
}

fn redact(stanza: &mut Stanza) {
    for (field, value) in &mut stanza.fields {
        let is_set = value.as_str().is_some_and(|text| !text.is_empty());
        if is_set && field.ends_with("-data") {
            *value = "DATA+OMITTED".into();
        } else if is_set && ["token", "password"].contains(&field.as_str()) {
            *value = "REDACTED".into();
        }
    }
}
