//! `config`: the kubeconfig, shown and switched.

use client::kubeconfig::{Kubeconfig, Named};
use serde_json::Value;

use crate::command::{Command, runs};
use crate::failure::{Failure, fail};
use crate::flags::{Flag, Parsed};
use crate::print::{TabWriter, to_json, to_yaml};
use crate::session::Session;

pub const COMMAND: Command = Command {
    name: "config",
    about: "Modify kubeconfig files",
    usage: "SUBCOMMAND [options]",
    children: &[&CURRENT, &GET_CONTEXTS, &USE_CONTEXT, &VIEW],
    ..Command::EMPTY
};

const CURRENT: Command = Command {
    name: "current-context",
    about: "Display the current-context",
    run: runs!(current_context),
    ..Command::EMPTY
};

const GET_CONTEXTS: Command = Command {
    name: "get-contexts",
    about: "Describe one or many contexts",
    usage: "[(-o|--output=)name] [options]",
    flags: &[&[
        Flag::switch("no-headers", "When using the default output format, don't print headers."),
        Flag::text("output", "Output format. One of: (name).").short('o'),
    ]],
    run: runs!(get_contexts),
    ..Command::EMPTY
};

const USE_CONTEXT: Command = Command {
    name: "use-context",
    aliases: &["use"],
    about: "Set the current-context in a kubeconfig file",
    usage: "CONTEXT_NAME [options]",
    run: runs!(use_context),
    ..Command::EMPTY
};

const VIEW: Command = Command {
    name: "view",
    about: "Display merged kubeconfig settings or a specified kubeconfig file",
    usage: "[flags] [options]",
    flags: &[&[
        Flag::switch("minify", "Remove all information not used by current-context from the output"),
        Flag::text("output", "Output format. One of: (json, yaml).").short('o').or("yaml"),
        Flag::switch("raw", "Display raw byte data and sensitive data"),
    ]],
    run: runs!(view),
    ..Command::EMPTY
};

async fn current_context(session: &Session, _: Parsed) -> Result<(), Failure> {
    match session.config.context_name() {
        "" => fail!("current-context is not set"),
        name => session.streams.line(name),
    }
}

async fn get_contexts(session: &Session, parsed: Parsed) -> Result<(), Failure> {
    let config = &session.config.kubeconfig;
    let known = |name: &String| config.contexts.iter().any(|context| context.name == *name);
    let unknown: Vec<Failure> = parsed
        .arguments
        .iter()
        .filter(|name| !known(name))
        .map(|name| Failure::Plain(format!("context {name} not found")))
        .collect();
    let mut contexts: Vec<&Named> = config.contexts.iter().collect();
    contexts.retain(|context| parsed.arguments.is_empty() || parsed.arguments.contains(&context.name));
    contexts.sort_by_key(|context| &context.name);
    if parsed.text("output") == "name" {
        session.streams.print(contexts.iter().map(|context| format!("{}\n", context.name)).collect::<String>())?;
        return Failure::all(unknown);
    }
    let mut writer = TabWriter::table();
    if !parsed.on("no-headers") {
        writer.write("CURRENT\tNAME\tCLUSTER\tAUTHINFO\tNAMESPACE\n");
    }
    for context in contexts {
        let mark = if context.name == session.config.context_name() { "*" } else { "" };
        let field = |field: &str| context.content["context"][field].as_str().unwrap_or_default();
        let (cluster, user, namespace) = (field("cluster"), field("user"), field("namespace"));
        writer.write(&format!("{mark}\t{}\t{cluster}\t{user}\t{namespace}\n", context.name));
    }
    session.streams.print(writer.flush())?;
    Failure::all(unknown)
}

async fn use_context(session: &Session, parsed: Parsed) -> Result<(), Failure> {
    let [name] = parsed.arguments.as_slice() else {
        return Err(session.usage(format!("Unexpected args: [{}]", parsed.arguments.join(" "))));
    };
    if !session.config.kubeconfig.contexts.iter().any(|context| context.name == *name) {
        return fail!("no context exists with the name: {name:?}");
    }
    let (path, mut own) = session.config.own_file()?;
    own.current_context.clone_from(name);
    own.write(&path).map_err(|error| format!("{error}"))?;
    session.streams.line(format!("Switched to context {name:?}."))
}

async fn view(session: &Session, parsed: Parsed) -> Result<(), Failure> {
    let mut config = session.config.kubeconfig.clone();
    if parsed.on("minify") {
        minify(&mut config, session.config.context_name())?;
    }
    if !parsed.on("raw") {
        config.clusters.iter_mut().chain(&mut config.users).for_each(redact);
    }
    for entries in [&mut config.clusters, &mut config.contexts, &mut config.users] {
        entries.sort_by(|a, b| a.name.cmp(&b.name));
    }
    let value = serde_json::to_value(&config).map_err(|error| error.to_string())?;
    session.streams.print(match parsed.text("output") {
        "yaml" => to_yaml(&value),
        "json" => to_json(&value) + "\n",
        other => {
            return fail!(
                "unable to match a printer suitable for the output format {other:?}, allowed formats are: json,yaml"
            );
        }
    })
}

fn minify(config: &mut Kubeconfig, context: &str) -> Result<(), Failure> {
    config.contexts.retain(|entry| entry.name == context);
    let Some(entry) = config.contexts.first() else {
        return fail!("cannot locate context {context:?}");
    };
    let named = |field: &str| entry.content["context"][field].as_str().unwrap_or_default().to_owned();
    let (cluster, user) = (named("cluster"), named("user"));
    config.clusters.retain(|entry| entry.name == cluster);
    config.users.retain(|entry| entry.name == user);
    config.current_context = context.to_owned();
    Ok(())
}

fn redact(entry: &mut Named) {
    for (_, content) in &mut entry.content {
        let Value::Object(fields) = content else { continue };
        for (field, value) in fields {
            if field.ends_with("-data") {
                *value = "DATA+OMITTED".into();
            } else if ["token", "password"].contains(&field.as_str()) {
                *value = "REDACTED".into();
            }
        }
    }
}
