//! The tree of commands, and the way from a command line to the one that runs.

use futures::future::BoxFuture;

use crate::Streams;
use crate::failure::Failure;
use crate::flags::{Flag, Kind, Parsed, first_argument, parse};
use crate::session::Session;
use crate::verbs;
use crate::verbs::{completion, plugin};

pub type Run = for<'a> fn(&'a Session, Parsed) -> BoxFuture<'a, Result<(), Failure>>;

/// A verb, or a group of verbs.
pub struct Command {
    pub name: &'static str,
    pub aliases: &'static [&'static str],
    /// What follows the name.
    pub usage: &'static str,
    pub about: &'static str,
    pub flags: &'static [&'static [Flag]],
    pub children: &'static [&'static Command],
    pub run: Option<Run>,
}

impl Command {
    /// A command with nothing in it yet.
    pub const EMPTY: Self = Self { name: "", aliases: &[], usage: "", about: "", flags: &[], children: &[], run: None };
}

/// A [`Run`] of an async function.
macro_rules! runs {
    ($function:path) => {
        Some(|session, parsed| Box::pin($function(session, parsed)))
    };
}
pub(crate) use runs;

pub const ROOT: Command = Command {
    name: "kubectl",
    about: "kubectl controls the Kubernetes cluster manager.",
    usage: "[flags] [options]",
    children: verbs::ALL,
    ..Command::EMPTY
};

/// Flags that every command takes.
pub const GLOBAL: &[Flag] = &[
    Flag::text(
        "as",
        "Username to impersonate for the operation. User could be a regular user or a service account in a namespace.",
    ),
    Flag::new(
        "as-group",
        Kind::Texts,
        "Group to impersonate for the operation, this flag can be repeated to specify multiple groups.",
    ),
    Flag::text("as-uid", "UID to impersonate for the operation."),
    Flag::new(
        "as-user-extra",
        Kind::Texts,
        "User extras to impersonate for the operation, this flag can be repeated to specify multiple values for the \
         same key.",
    ),
    // There is no cache: discovery is two requests.
    Flag::text("cache-dir", "Default cache directory"),
    Flag::text("certificate-authority", "Path to a cert file for the certificate authority"),
    Flag::text("client-certificate", "Path to a client certificate file for TLS"),
    Flag::text("client-key", "Path to a client key file for TLS"),
    Flag::text("cluster", "The name of the kubeconfig cluster to use"),
    Flag::text("context", "The name of the kubeconfig context to use"),
    Flag::switch("disable-compression", "If true, opt-out of response compression for all requests to the server"),
    Flag::switch(
        "insecure-skip-tls-verify",
        "If true, the server's certificate will not be checked for validity. This will make your HTTPS connections \
         insecure",
    ),
    Flag::text("kubeconfig", "Path to the kubeconfig file to use for CLI requests."),
    Flag::text(
        "kuberc",
        "Path to the kuberc file to use for preferences. This can be disabled by exporting KUBECTL_KUBERC=false \
         feature gate or turning off the feature KUBERC=off.",
    ),
    Flag::new("log-flush-frequency", Kind::Duration, "Maximum number of seconds between log flushes").or("5s"),
    Flag::switch("match-server-version", "Require server version to match client version"),
    Flag::text("namespace", "If present, the namespace scope for this CLI request").short('n'),
    Flag::text("password", "Password for basic authentication to the API server"),
    Flag::text(
        "profile",
        "Name of profile to capture. One of (none|cpu|heap|goroutine|threadcreate|block|mutex|trace)",
    )
    .or("none"),
    Flag::text("profile-output", "Name of the file to write the profile to").or("profile.pprof"),
    Flag::text(
        "request-timeout",
        "The length of time to wait before giving up on a single server request. Non-zero values should contain a \
         corresponding time unit (e.g. 1s, 2m, 3h). A value of zero means don't timeout requests.",
    )
    .or("0"),
    Flag::text("server", "The address and port of the Kubernetes API server").short('s'),
    Flag::text(
        "tls-server-name",
        "Server name to use for server certificate validation. If it is not provided, the hostname used to contact the \
         server is used",
    ),
    Flag::text("token", "Bearer token for authentication to the API server"),
    Flag::text("user", "The name of the kubeconfig user to use"),
    Flag::text("username", "Username for basic authentication to the API server"),
    Flag::number("v", "0", "number for the log level verbosity").short('v'),
    Flag::text(
        "vmodule",
        "comma-separated list of pattern=N settings for file-filtered logging (only works for the default text log \
         format)",
    ),
    Flag::switch(
        "warnings-as-errors",
        "Treat warnings received from the server as errors and exit with a non-zero exit code",
    ),
    Flag::switch("help", "Help for the command").short('h'),
];

/// What shells ask when a word is to be completed, with and without descriptions.
const COMPLETE: &str = "__complete";
const COMPLETE_BARE: &str = "__completeNoDesc";

/// Runs a command line.
pub async fn run(line: &[String], streams: &Streams) -> Result<(), Failure> {
    match line.split_first() {
        Some((word, rest)) if word == "help" => {
            let (path, command, _) = find(rest)?;
            return streams.print(help(&path, command));
        }
        Some((word, rest)) if [COMPLETE, COMPLETE_BARE].contains(&word.as_str()) => {
            return completion::complete(rest, streams, word == COMPLETE).await;
        }
        _ => {}
    }
    if let Some(program) = plugin::program_for(line, &std::env::var_os("PATH").unwrap_or_default())? {
        return program.run().await;
    }
    let (path, command, rest) = find(line)?;
    let mut known = vec![GLOBAL];
    known.extend(command.flags);
    let parsed = parse(&known, &rest)
        .map_err(|message| Failure::Verbatim(format!("error: {message}\nSee '{path} --help' for usage.")))?;
    match command.run {
        Some(run) if !parsed.on("help") => {
            let session = Session::new(&parsed, streams.clone(), path)?;
            run(&session, parsed).await
        }
        _ => streams.print(help(&path, command)),
    }
}

/// The command that a line names, with its full name and the line without that name.
pub fn find(line: &[String]) -> Result<(String, &'static Command, Vec<String>), Failure> {
    static TREE: Command = ROOT;
    let (mut command, mut path, mut rest) = (&TREE, TREE.name.to_owned(), line.to_vec());
    while !command.children.is_empty() {
        let mut known = vec![GLOBAL];
        known.extend(command.flags);
        let Some(at) = first_argument(&known, &rest) else { break };
        let child = command.children.iter().find(|child| child.name == rest[at] || child.aliases.contains(&&*rest[at]));
        match child {
            Some(child) => {
                rest.remove(at);
                command = child;
                path = format!("{path} {}", child.name);
            }
            None if command.run.is_some() => break,
            None => return Err(unknown(&path, &rest[at])),
        }
    }
    Ok((path, command, rest))
}

/// The help of the command of this full name.
pub fn help_of(path: &str) -> String {
    let line: Vec<String> = path.split(' ').skip(1).map(str::to_owned).collect();
    find(&line).map(|(path, command, _)| help(&path, command)).unwrap_or_default()
}

fn unknown(path: &str, word: &str) -> Failure {
    let message = format!("unknown command {word:?} for {path:?}");
    Failure::Verbatim(if path == ROOT.name {
        format!("error: {message}{}", suggestions(word))
    } else {
        format!("error: unknown command {word:?}\nSee '{path} -h' for help and examples")
    })
}

/// Commands whose names are near to a word.
fn suggestions(word: &str) -> String {
    let word = word.to_lowercase();
    let is_near =
        |name: &str| distance(&word, name) <= 2 || name.starts_with(&word) || SYNONYMS.contains(&(name, word.as_str()));
    let near: Vec<&str> = ROOT.children.iter().map(|child| child.name).filter(|name| is_near(name)).collect();
    match near.as_slice() {
        [] => String::new(),
        near => {
            format!("\n\nDid you mean this?\n{}", near.iter().map(|name| format!("\t{name}\n")).collect::<String>())
        }
    }
}

const SYNONYMS: &[(&str, &str)] = &[
    ("delete", "rm"),
    ("delete", "remove"),
    ("describe", "inspect"),
    ("get", "list"),
    ("get", "ls"),
    ("top", "stats"),
];

/// How many letters must be changed, taken out or put in.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (line, letter) in a.chars().enumerate() {
        let mut above = std::mem::replace(&mut row[0], line + 1);
        for (column, other) in b.iter().enumerate() {
            let changed = above + usize::from(letter != *other);
            above = row[column + 1];
            row[column + 1] = changed.min(above + 1).min(row[column] + 1);
        }
    }
    row[b.len()]
}

fn help(path: &str, command: &Command) -> String {
    let mut text = format!("{}\n", command.about);
    if !command.children.is_empty() {
        text.push_str("\nAvailable Commands:\n");
        let width = command.children.iter().map(|child| child.name.len()).max().unwrap_or(0);
        for child in command.children {
            text.push_str(&format!("  {:width$}   {}\n", child.name, child.about));
        }
    }
    let flags: Vec<&Flag> = command.flags.iter().copied().flatten().collect();
    if !flags.is_empty() {
        text.push_str("\nOptions:\n");
    }
    for flag in flags {
        text.push_str(&help_of_flag(flag));
    }
    text.push_str(&format!("\nUsage:\n  {path} {}\n", command.usage));
    text
}

pub fn help_of_flag(flag: &Flag) -> String {
    let short = flag.short.map_or(String::new(), |short| format!("-{short}, "));
    let default = match flag.kind {
        Kind::Text | Kind::Optional(_) => format!("'{}'", flag.default),
        Kind::List | Kind::Texts => "[]".to_owned(),
        _ => flag.default.to_owned(),
    };
    format!("    {short}--{}={default}:\n\t{}\n\n", flag.name, flag.help)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn verbs_are_found_in_the_tree() {
        let (path, command, rest) = find(&words("-n prod create deploy web --image=x")).expect("known");
        assert_eq!((path.as_str(), command.name), ("kubectl create deployment", "deployment"));
        assert_eq!(rest.join(" "), "-n prod web --image=x");
        assert_eq!(
            find(&words("frobnicate")).err().map(|failure| failure.report().0),
            Some("error: unknown command \"frobnicate\" for \"kubectl\"".into())
        );
    }

    #[test]
    fn near_commands_are_suggested() {
        assert_eq!((distance("noexec", "exec"), distance("", "ab"), distance("lst", "list")), (2, 2, 1));
        assert_eq!(suggestions("noexec"), "\n\nDid you mean this?\n\texec\n");
        assert!(suggestions("rm").contains("\tdelete\n"));
    }

    #[test]
    fn no_two_flags_of_a_command_share_a_name() {
        fn check(command: &Command) {
            let mut names: Vec<_> =
                GLOBAL.iter().chain(command.flags.iter().copied().flatten()).map(|flag| flag.name).collect();
            let count = names.len();
            names.sort_unstable();
            names.dedup();
            // These hide a global flag on purpose, as upstream's do.
            let hiding = command.flags.iter().copied().flatten().filter(|flag| {
                [
                    "user",
                    "certificate-authority",
                    "client-certificate",
                    "client-key",
                    "cluster",
                    "insecure-skip-tls-verify",
                    "server",
                    "tls-server-name",
                    "token",
                    "namespace",
                    "profile",
                    "username",
                    "password",
                ]
                .contains(&flag.name)
            });
            assert_eq!(names.len() + hiding.count(), count, "{}", command.name);
            command.children.iter().for_each(|child| check(child));
        }
        check(&ROOT);
    }
}
