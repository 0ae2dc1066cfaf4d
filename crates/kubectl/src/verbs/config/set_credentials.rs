//! `config set-credentials`.

use serde_json::{Value, json};

use super::set_cluster::{check_file, set_file};
use super::unexpected;
use crate::command::{Command, help_of, runs};
use crate::config::Stanza;
use crate::failure::{Failure, fail};
use crate::flags::{Flag, Kind, Parsed};
use crate::session::Session;

pub const COMMAND: Command = Command {
    name: "set-credentials",
    about: "Set a user entry in kubeconfig",
    usage: "NAME [--client-certificate=path/to/certfile] [--client-key=path/to/keyfile] [--token=bearer_token] \
            [--username=basic_user] [--password=basic_password] [--auth-provider=provider_name] \
            [--auth-provider-arg=key=value] [--exec-command=exec_command] [--exec-api-version=exec_api_version] \
            [--exec-arg=arg] [--exec-env=key=value] [options]",
    flags: &[FLAGS],
    run: runs!(run),
    ..Command::EMPTY
};

const FLAGS: &[Flag] = &[
    Flag::text("auth-provider", "Auth provider for the user entry in kubeconfig"),
    Flag::list("auth-provider-arg", "'key=value' arguments for the auth provider"),
    Flag::text("client-certificate", "Path to client-certificate file for the user entry in kubeconfig"),
    Flag::text("client-key", "Path to client-key file for the user entry in kubeconfig"),
    Flag::switch("embed-certs", "Embed client cert/key for the user entry in kubeconfig"),
    Flag::text("exec-api-version", "API version of the exec credential plugin for the user entry in kubeconfig"),
    Flag::list("exec-arg", "New arguments for the exec credential plugin command for the user entry in kubeconfig"),
    Flag::text("exec-command", "Command for the exec credential plugin for the user entry in kubeconfig"),
    Flag::new("exec-env", Kind::Texts, "'key=value' environment values for the exec credential plugin"),
    Flag::text(
        "exec-interactive-mode",
        "InteractiveMode of the exec credentials plugin for the user entry in kubeconfig",
    ),
    Flag::switch(
        "exec-provide-cluster-info",
        "ProvideClusterInfo of the exec credentials plugin for the user entry in kubeconfig",
    ),
    Flag::text("password", "password for the user entry in kubeconfig"),
    Flag::text("token", "token for the user entry in kubeconfig"),
    Flag::text("username", "username for the user entry in kubeconfig"),
];

/// `key=value` to set and `key-` to take away.
#[derive(Default)]
struct Pairs {
    set: Vec<(String, String)>,
    remove: Vec<String>,
}

impl Pairs {
    fn parse(words: &[String], flag: &str) -> Result<Self, Failure> {
        let mut pairs = Self::default();
        for word in words {
            match (word.split_once('='), word.strip_suffix('-')) {
                (Some((key, value)), _) if !key.is_empty() => pairs.set.push((key.into(), value.into())),
                (None, Some(key)) => pairs.remove.push(key.into()),
                _ => return fail!("invalid {flag} format: {word}"),
            }
        }
        Ok(pairs)
    }
}

async fn run(session: &Session, parsed: Parsed) -> Result<(), Failure> {
    let [name] = parsed.arguments.as_slice() else {
        return Err(unexpected(session, "unexpected", &parsed.arguments));
    };
    let pairs = Pairs::parse(&parsed.list("auth-provider-arg"), "auth-provider-arg")
        .and_then(|provider| Ok((provider, Pairs::parse(&parsed.texts("exec-env"), "exec-env")?)));
    let (provider, env) = match pairs {
        Ok(pairs) => pairs,
        Err(failure) => {
            session.streams.print(help_of(&session.command))?;
            return Err(failure);
        }
    };
    check(&parsed, name)?;
    session.config.access().change(true, |settings| {
        let user = settings.users.entry(name.clone()).or_default();
        edit_files(user, &parsed);
        edit_provider(user, &parsed, &provider);
        edit_exec(user, &parsed, &env);
        edit_secrets(user, &parsed);
        Ok(())
    })?;
    session.streams.line(format!("User {name:?} set."))
}

fn check(parsed: &Parsed, name: &str) -> Result<(), Failure> {
    if name.is_empty() {
        return fail!("you must specify a non-empty user name");
    }
    let basic = parsed.some("username").or(parsed.some("password"));
    if parsed.some("token").is_some() && basic.is_some() {
        return fail!(
            "you cannot specify more than one authentication method at the same time: --token, --username/--password"
        );
    }
    if parsed.on("embed-certs") {
        let files = ["client-certificate", "client-key"].map(|flag| (flag, parsed.some(flag)));
        if files.iter().all(|(_, path)| path.is_none()) {
            return fail!("you must specify a --client-certificate or --client-key to embed");
        }
        for (flag, path) in files {
            path.map_or(Ok(()), |path| check_file(flag, path))?;
        }
    }
    let modes = ["IfAvailable", "Always", "Never"];
    if parsed.given("exec-interactive-mode") && !modes.contains(&parsed.text("exec-interactive-mode")) {
        return fail!("invalid interactive mode type, can be only IfAvailable, Never, Always");
    }
    Ok(())
}

fn edit_files(user: &mut Stanza, parsed: &Parsed) {
    for flag in ["client-certificate", "client-key"].into_iter().filter(|flag| parsed.given(flag)) {
        set_file(user, flag, parsed.text(flag), parsed.on("embed-certs"));
    }
}

/// A token puts an end to a name and password, and the other way round.
fn edit_secrets(user: &mut Stanza, parsed: &Parsed) {
    for flag in ["token", "username", "password"].into_iter().filter(|flag| parsed.given(flag)) {
        user.set(flag, parsed.text(flag));
    }
    if parsed.some("token").is_some() {
        user.fields.remove("username");
        user.fields.remove("password");
    } else if parsed.some("username").or(parsed.some("password")).is_some() {
        user.fields.remove("token");
    }
}

fn edit_provider(user: &mut Stanza, parsed: &Parsed, pairs: &Pairs) {
    let new = parsed.text("auth-provider");
    let is_other = user.fields.get("auth-provider").is_none_or(|provider| provider["name"] != new);
    if parsed.given("auth-provider") && is_other {
        user.fields.insert("auth-provider".into(), json!({"name": new}));
    }
    let Some(provider) = user.fields.get_mut("auth-provider") else { return };
    if !provider["config"].is_object() {
        provider["config"] = json!({});
    }
    if let Some(config) = provider["config"].as_object_mut() {
        config.retain(|key, _| !pairs.remove.contains(key));
        config.extend(pairs.set.iter().map(|(key, value)| (key.clone(), Value::from(value.as_str()))));
    }
}

fn edit_exec(user: &mut Stanza, parsed: &Parsed, env: &Pairs) {
    if parsed.given("exec-command") {
        let exec = user.fields.entry("exec").or_insert_with(|| json!({}));
        exec["command"] = parsed.text("exec-command").into();
        exec["args"] = Value::Null;
    }
    let Some(exec) = user.fields.get_mut("exec").filter(|exec| exec.is_object()) else { return };
    for (flag, field) in [("exec-api-version", "apiVersion"), ("exec-interactive-mode", "interactiveMode")] {
        if parsed.given(flag) {
            exec[field] = parsed.text(flag).into();
        }
    }
    let arguments = parsed.list("exec-arg");
    if !arguments.is_empty() {
        exec["args"] = json!(arguments);
    }
    if parsed.given("exec-provide-cluster-info") {
        exec["provideClusterInfo"] = parsed.on("exec-provide-cluster-info").into();
    }
    edit_env(&mut exec["env"], env);
}

fn edit_env(env: &mut Value, pairs: &Pairs) {
    let mut variables = env.as_array().cloned().unwrap_or_default();
    variables.retain(|variable| pairs.remove.iter().all(|name| variable["name"] != name.as_str()));
    for (name, value) in &pairs.set {
        match variables.iter_mut().find(|variable| variable["name"] == name.as_str()) {
            Some(variable) => variable["value"] = value.as_str().into(),
            None => variables.push(json!({"name": name, "value": value})),
        }
    }
    if !env.is_null() || !variables.is_empty() || !pairs.remove.is_empty() {
        *env = variables.into();
    }
}
