//! Plugins: programs on the path that are called `kubectl-` and something.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};

use crate::command::{Command, GLOBAL, find, help_of, runs};
use crate::config::os_text;
use crate::failure::{Failure, fail};
use crate::flags::{Flag, Parsed, first_argument};
use crate::session::Session;

const PREFIX: &str = "kubectl-";

pub const COMMAND: Command = Command {
    name: "plugin",
    about: "Provides utilities for interacting with plugins",
    usage: "[flags] [options]",
    children: &[&LIST],
    run: runs!(explain),
    ..Command::EMPTY
};

const LIST: Command = Command {
    name: "list",
    about: "List all visible plugin executables on a user's PATH",
    usage: "[flags] [options]",
    flags: &[&[Flag::switch(
        "name-only",
        "If true, display only the binary name of each plugin, rather than its full path",
    )]],
    run: runs!(list),
    ..Command::EMPTY
};

/// A plugin's program, and what it is told.
#[derive(Debug, PartialEq, Eq)]
pub struct Program {
    path: PathBuf,
    arguments: Vec<String>,
}

impl Program {
    /// Runs it to its end, on this process's own streams.
    pub async fn run(&self) -> Result<(), Failure> {
        let status = tokio::process::Command::new(&self.path).args(&self.arguments).status().await;
        let status = status.map_err(|error| Failure::Verbatim(format!("Error: {}", os_text(&error))))?;
        match status.code().or(status.signal().map(|signal| 128 + signal)) {
            Some(0) => Ok(()),
            code => Err(Failure::Exit(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1))),
        }
    }
}

/// The plugin that a line means, if no command of our own does: the one with the longest name.
pub fn program_for(line: &[String], path: &OsStr) -> Result<Option<Program>, Failure> {
    let Some(at) = first_argument(&[GLOBAL], line) else { return Ok(None) };
    let is_own = |count: usize| find(&line[..(at + count).min(line.len())]);
    let least = match is_own(1) {
        Err(_) => 1,
        // `create` may be extended; other commands take what follows them for an argument.
        Ok(_)
            if line.len() > at + 1
                && is_own(2).is_ok_and(|(path, _, rest)| path == "kubectl create" && extends(&rest)) =>
        {
            2
        }
        Ok(_) => return Ok(None),
    };
    let words: Vec<String> =
        line.iter().take_while(|word| !word.starts_with('-')).map(|word| word.replace('-', "_")).collect();
    if words.is_empty() {
        let flag = &line[0];
        return Err(Failure::Verbatim(format!("Error: flags cannot be placed before plugin name: {flag}")));
    }
    let found = (least..=words.len()).rev().find_map(|count| Some((count, look_up(&words[..count].join("-"), path)?)));
    Ok(found.map(|(count, path)| Program { path, arguments: line[count..].to_vec() }))
}

/// Whether a word follows the command that is none of its own.
fn extends(rest: &[String]) -> bool {
    rest.last().is_some_and(|word| !word.starts_with('-'))
}

fn look_up(name: &str, path: &OsStr) -> Option<PathBuf> {
    let name = format!("{PREFIX}{name}");
    let is_program = |path: &PathBuf| is_executable(path).unwrap_or(false);
    std::env::split_paths(path).map(|directory| directory.join(&name)).find(is_program)
}

fn is_executable(path: &Path) -> std::io::Result<bool> {
    let metadata = std::fs::metadata(path)?;
    Ok(metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

async fn explain(session: &Session, _: Parsed) -> Result<(), Failure> {
    session.streams.print(help_of(&session.command))
}

async fn list(session: &Session, parsed: Parsed) -> Result<(), Failure> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let plugins = plugins(&path, |warning| session.streams.note(warning));
    let mut wrong = Vec::new();
    if plugins.is_empty() {
        wrong.push("error: unable to find any kubectl plugins in your PATH\n".to_owned());
    } else {
        session.streams.line("The following compatible plugins are available:\n")?;
    }
    let mut seen = BTreeMap::new();
    let mut warnings = 0;
    for plugin in &plugins {
        let name = file_name(plugin);
        let shown = if parsed.on("name-only") { name.clone() } else { plugin.display().to_string() };
        session.streams.line(shown)?;
        for warning in warnings_of(plugin, &name, &mut seen) {
            session.streams.note(format!("  - {warning}"));
            warnings += 1;
        }
    }
    match warnings {
        0 => {}
        1 => wrong.push("error: one plugin warning was found\n".to_owned()),
        many => wrong.push(format!("error: {many} plugin warnings were found\n")),
    }
    if wrong.is_empty() { Ok(()) } else { fail!("{}", wrong.concat()) }
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// All that are on the path, in its order.
fn plugins(path: &OsStr, mut warn: impl FnMut(String)) -> Vec<PathBuf> {
    let mut directories: Vec<PathBuf> = Vec::new();
    for directory in std::env::split_paths(path).filter(|directory| !directory.as_os_str().is_empty()) {
        if !directories.contains(&directory) {
            directories.push(directory);
        }
    }
    let mut plugins = Vec::new();
    for directory in directories {
        let entries = match std::fs::read_dir(&directory) {
            Ok(entries) => entries.flatten(),
            Err(error) => {
                let (directory, why) = (directory.display().to_string(), os_text(&error));
                warn(format!(
                    "Unable to read directory {directory:?} from your PATH: open {directory}: {why}. Skipping..."
                ));
                continue;
            }
        };
        let files = entries.filter(|entry| entry.file_type().is_ok_and(|kind| !kind.is_dir()));
        let mut found: Vec<PathBuf> = files.map(|entry| entry.path()).collect();
        found.retain(|path| file_name(path).starts_with(PREFIX));
        found.sort();
        plugins.extend(found);
    }
    plugins
}

fn warnings_of(path: &Path, name: &str, seen: &mut BTreeMap<String, PathBuf>) -> Vec<String> {
    let mut warnings = Vec::new();
    let shown = path.display();
    match is_executable(path) {
        Ok(true) => {}
        Ok(false) => {
            warnings.push(format!("warning: {shown} identified as a kubectl plugin, but it is not executable"));
        }
        Err(error) => {
            let why = os_text(&error);
            warnings.push(format!("error: unable to identify {shown} as an executable file: stat {shown}: {why}"));
        }
    }
    match seen.get(name) {
        Some(first) => {
            let first = first.display();
            warnings.push(format!("warning: {shown} is overshadowed by a similarly named plugin: {first}"));
        }
        None => drop(seen.insert(name.to_owned(), path.to_owned())),
    }
    let words: Vec<String> = name.split('-').skip(1).map(str::to_owned).collect();
    if let Ok((command, ..)) = find(&words)
        && command != "kubectl"
    {
        warnings.push(format!("warning: {name} overwrites existing command: {command:?}"));
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(names: &[&str]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().expect("a directory");
        for name in names {
            let path = directory.path().join(name);
            std::fs::write(&path, "#!/bin/sh\nexit 4\n").expect("written");
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("made executable");
        }
        directory
    }

    #[test]
    fn the_longest_name_is_run() {
        let directory = directory(&["kubectl-foo", "kubectl-foo-bar_baz", "kubectl-get", "kubectl-create-foo"]);
        let found = |line: &str| {
            let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
            let program = program_for(&words, directory.path().as_os_str()).expect("no mistake");
            program.map(|program| (file_name(&program.path), program.arguments.join(" ")))
        };
        let program = |name: &str, arguments: &str| Some((name.to_owned(), arguments.to_owned()));
        assert_eq!(found("foo a -x b"), program("kubectl-foo", "a -x b"));
        assert_eq!(found("foo bar-baz y"), program("kubectl-foo-bar_baz", "y"));
        assert_eq!(found("create foo -f x"), program("kubectl-create-foo", "-f x"));
        assert_eq!(found("get pods"), None);
        assert_eq!(found("create deployment foo"), None);
        assert_eq!(found("nothing"), None);
        let flag_first = program_for(&["-n".to_owned(), "x".into(), "foo".into()], directory.path().as_os_str());
        let why = flag_first.expect_err("a mistake").text();
        assert_eq!(why, "Error: flags cannot be placed before plugin name: -n");
    }

    #[tokio::test]
    async fn a_plugins_exit_code_is_ours() {
        let directory = directory(&["kubectl-foo"]);
        let program = program_for(&["foo".to_owned()], directory.path().as_os_str()).expect("no mistake");
        let ended = program.expect("found").run().await.expect_err("it fails").report();
        assert_eq!(ended, (String::new(), 4));
    }

    #[test]
    fn plugins_are_listed_with_what_is_wrong_with_them() {
        let (one, two) = (directory(&["kubectl-foo"]), directory(&["kubectl-foo", "kubectl-get", "other"]));
        let path = std::env::join_paths([one.path(), two.path()]).expect("a path");
        let found = plugins(&path, |_| {});
        assert_eq!(
            found.iter().map(|path| file_name(path)).collect::<Vec<_>>(),
            ["kubectl-foo", "kubectl-foo", "kubectl-get"]
        );
        let mut seen = BTreeMap::new();
        let warnings: Vec<String> =
            found.iter().flat_map(|path| warnings_of(path, &file_name(path), &mut seen)).collect();
        let overshadowed = format!(
            "warning: {} is overshadowed by a similarly named plugin: {}",
            found[1].display(),
            found[0].display()
        );
        assert_eq!(
            warnings,
            [overshadowed, "warning: kubectl-get overwrites existing command: \"kubectl get\"".into()]
        );
    }
}
