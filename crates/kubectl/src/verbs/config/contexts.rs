//! Contexts: listed, chosen, changed, renamed and deleted.

use super::{entries, file_name, unexpected};
use crate::command::{Command, help_of, runs};
use crate::failure::{Failure, fail};
use crate::flags::{Flag, Parsed};
use crate::print::TabWriter;
use crate::session::Session;

pub const CURRENT: Command = Command {
    name: "current-context",
    about: "Display the current-context",
    usage: "[flags] [options]",
    run: runs!(current),
    ..Command::EMPTY
};

pub const GET: Command = Command {
    name: "get-contexts",
    about: "Describe one or many contexts",
    usage: "[(-o|--output=)name)] [options]",
    flags: &[&[
        Flag::switch("no-headers", "When using the default output format, don't print headers."),
        Flag::text("output", "Output format. One of: (name).").short('o'),
    ]],
    run: runs!(get),
    ..Command::EMPTY
};

pub const USE: Command = Command {
    name: "use-context",
    aliases: &["use"],
    about: "Set the current-context in a kubeconfig file",
    usage: "CONTEXT_NAME [options]",
    run: runs!(choose),
    ..Command::EMPTY
};

pub const RENAME: Command = Command {
    name: "rename-context",
    about: "Rename a context from the kubeconfig file",
    usage: "CONTEXT_NAME NEW_NAME [options]",
    run: runs!(rename),
    ..Command::EMPTY
};

pub const DELETE: Command = Command {
    name: "delete-context",
    about: "Delete the specified context from the kubeconfig",
    usage: "NAME [options]",
    run: runs!(delete),
    ..Command::EMPTY
};

pub const SET: Command = Command {
    name: "set-context",
    about: "Set a context entry in kubeconfig",
    usage: "[NAME | --current] [--cluster=cluster_nickname] [--user=user_nickname] [--namespace=namespace] [options]",
    flags: &[&[
        Flag::text("cluster", "cluster for the context entry in kubeconfig"),
        Flag::switch("current", "Modify the current context"),
        Flag::text("namespace", "namespace for the context entry in kubeconfig").short('n'),
        Flag::text("user", "user for the context entry in kubeconfig"),
    ]],
    run: runs!(set),
    ..Command::EMPTY
};

async fn current(session: &Session, _: Parsed) -> Result<(), Failure> {
    match session.config.access().settings()?.current_context.as_str() {
        "" => fail!("current-context is not set"),
        name => session.streams.line(name),
    }
}

async fn get(session: &Session, parsed: Parsed) -> Result<(), Failure> {
    let output = parsed.text("output");
    if !["", "name"].contains(&output) {
        return fail!(
            "--output {output} is not available in kubectl config get-contexts; resetting to default output format"
        );
    }
    let settings = session.config.access().settings()?;
    let (mut names, mut unknown): (Vec<String>, Vec<Failure>) = (Vec::new(), Vec::new());
    for name in &parsed.arguments {
        match settings.contexts.contains_key(name) {
            true => names.push(name.clone()),
            false => unknown.push(Failure::Plain(format!("context {name} not found"))),
        }
    }
    if parsed.arguments.is_empty() {
        names.extend(settings.contexts.keys().cloned());
    }
    names.sort();
    let mut writer = TabWriter::table();
    if !parsed.on("no-headers") && output.is_empty() {
        writer.write("CURRENT\tNAME\tCLUSTER\tAUTHINFO\tNAMESPACE\n");
    }
    for name in names {
        if output == "name" {
            writer.write(&format!("{name}\n"));
            continue;
        }
        let context = &settings.contexts[&name];
        let mark = if name == settings.current_context { "*" } else { " " };
        let [cluster, user, namespace] = ["cluster", "user", "namespace"].map(|field| context.text(field));
        writer.write(&format!("{mark}\t{name}\t{cluster}\t{user}\t{namespace}\n"));
    }
    session.streams.print(writer.flush())?;
    Failure::all(unknown)
}

async fn choose(session: &Session, parsed: Parsed) -> Result<(), Failure> {
    let [name] = parsed.arguments.as_slice() else {
        return Err(unexpected(session, "Unexpected", &parsed.arguments));
    };
    if name.is_empty() {
        return fail!("empty context names are not allowed");
    }
    session.config.access().change(true, |settings| {
        if !settings.contexts.contains_key(name) {
            return fail!("no context exists with the name: {name:?}");
        }
        settings.current_context.clone_from(name);
        Ok(())
    })?;
    session.streams.line(format!("Switched to context {name:?}."))
}

async fn rename(session: &Session, parsed: Parsed) -> Result<(), Failure> {
    let [old, new] = parsed.arguments.as_slice() else {
        return Err(unexpected(session, "Unexpected", &parsed.arguments));
    };
    if new.is_empty() {
        return fail!("You must specify a new non-empty context name");
    }
    let file = file_name(session)?;
    session.config.access().change(true, |settings| {
        if settings.contexts.contains_key(old) && settings.contexts.contains_key(new) {
            return fail!("cannot rename the context {old:?}, the context {new:?} already exists in {file}");
        }
        let Some(context) = settings.contexts.remove(old) else {
            return fail!("cannot rename the context {old:?}, it's not in {file}");
        };
        settings.contexts.insert(new.clone(), context);
        if settings.current_context == *old {
            settings.current_context.clone_from(new);
        }
        Ok(())
    })?;
    session.streams.line(format!("Context {old:?} renamed to {new:?}."))
}

async fn delete(session: &Session, parsed: Parsed) -> Result<(), Failure> {
    let [name] = parsed.arguments.as_slice() else {
        return session.streams.print(help_of(&session.command));
    };
    let settings = session.config.access().settings()?;
    if settings.contexts.contains_key(name) && settings.current_context == *name {
        session.streams.note(
            "warning: this removed your active context, use \"kubectl config use-context\" to select a different one",
        );
    }
    entries::delete(session, "context", name, |settings| &mut settings.contexts)
}

async fn set(session: &Session, parsed: Parsed) -> Result<(), Failure> {
    let name = match parsed.arguments.as_slice() {
        [] if parsed.on("current") => None,
        [] => return fail!("you must specify a non-empty context name or --current"),
        [name] if name.is_empty() && !parsed.on("current") => {
            return fail!("you must specify a non-empty context name or --current");
        }
        [_] if parsed.on("current") => return fail!("you cannot specify both a context name and --current"),
        [name] => Some(name),
        more => return Err(unexpected(session, "Unexpected", more)),
    };
    let (name, existed) = session.config.access().change(true, |settings| {
        let name = name.unwrap_or(&settings.current_context).clone();
        if name.is_empty() {
            return fail!("no current context is set");
        }
        let existed = settings.contexts.contains_key(&name);
        let context = settings.contexts.entry(name.clone()).or_default();
        for field in ["cluster", "user", "namespace"].into_iter().filter(|field| parsed.given(field)) {
            context.set(field, parsed.text(field));
        }
        Ok((name, existed))
    })?;
    session.streams.line(format!("Context {name:?} {}.", if existed { "modified" } else { "created" }))
}
