//! `config.yaml`: the flags of `server` and `agent` in a file, in the form that k3s gave it.
//!
//! A key is a flag's long name. Files of `config.yaml.d` follow in the order of their names and replace what came before; a key
//! with `+` at its end adds to it. What the command line says goes before all of them.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command};
use serde_json::Value;

pub const DEFAULT: &str = "/etc/coracle/config.yaml";
const COMMANDS: [&str; 2] = ["server", "agent"];

/// The command line with what the file adds to it.
pub fn complete(command: &Command, line: Vec<OsString>) -> anyhow::Result<Vec<OsString>> {
    // Whatever is wrong with the line is said when all of it is parsed.
    let Ok(matches) = command.clone().ignore_errors(true).try_get_matches_from(&line) else { return Ok(line) };
    let Some((name, given)) = matches.subcommand().filter(|(name, _)| COMMANDS.contains(name)) else { return Ok(line) };
    let Some(path) = given.get_one::<PathBuf>("config") else { return Ok(line) };
    let asked = given.value_source("config") != Some(ValueSource::DefaultValue);
    let options = read(path, asked)?;
    let flags = command.find_subcommand(name).map(|command| command.get_arguments().collect()).unwrap_or_default();
    let added = arguments(&options, &flags, given).with_context(|| format!("read {}", path.display()))?;
    let place = line.iter().position(|word| word == name).map_or(line.len(), |place| place + 1);
    let (before, after) = line.split_at(place);
    Ok(before.iter().cloned().chain(added.into_iter().map(OsString::from)).chain(after.iter().cloned()).collect())
}

type Options = BTreeMap<String, Value>;

/// The file and those of the directory beside it. A file that nobody asked for need not be there.
fn read(path: &Path, asked: bool) -> anyhow::Result<Options> {
    let mut options = Options::new();
    match std::fs::read_to_string(path) {
        Ok(text) => merge(&mut options, &text).with_context(|| format!("read {}", path.display()))?,
        Err(error) if error.kind() == io::ErrorKind::NotFound && !asked => {}
        Err(error) => return Err(error).with_context(|| format!("read {}", path.display())),
    }
    let mut directory = path.as_os_str().to_owned();
    directory.push(".d");
    for part in parts(Path::new(&directory)).with_context(|| format!("list {}", directory.display()))? {
        let text = std::fs::read_to_string(&part).with_context(|| format!("read {}", part.display()))?;
        merge(&mut options, &text).with_context(|| format!("read {}", part.display()))?;
    }
    Ok(options)
}

fn parts(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound || error.kind() == io::ErrorKind::NotADirectory => {
            return Ok(Vec::new());
        }
        entries => entries?,
    };
    let mut paths = entries.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<Vec<_>>>()?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml"));
    paths.sort();
    Ok(paths)
}

fn merge(options: &mut Options, text: &str) -> anyhow::Result<()> {
    if text.trim().is_empty() {
        return Ok(());
    }
    let file: Option<Options> = serde_saphyr::from_str(text).context("it is no list of options")?;
    for (key, value) in file.into_iter().flatten() {
        match key.strip_suffix('+') {
            None => drop(options.insert(key, value)),
            Some(key) => {
                let known = options.remove(key).map(listed).unwrap_or_default();
                options.insert(key.to_owned(), known.into_iter().chain(listed(value)).collect());
            }
        }
    }
    Ok(())
}

fn listed(value: Value) -> Vec<Value> {
    match value {
        Value::Array(values) => values,
        value => vec![value],
    }
}

/// The options as words of a command line, without those that it has already.
fn arguments(options: &Options, flags: &Vec<&Arg>, given: &ArgMatches) -> anyhow::Result<Vec<String>> {
    let mut words = Vec::new();
    for (key, value) in options {
        let Some(flag) = flags.iter().find(|flag| flag.get_long() == Some(key)) else {
            bail!("unknown option {key:?}");
        };
        if given.value_source(flag.get_id().as_str()) == Some(ValueSource::CommandLine) {
            continue;
        }
        for value in listed(value.clone()) {
            words.extend(word(key, flag, &value)?);
        }
    }
    Ok(words)
}

fn word(key: &str, flag: &Arg, value: &Value) -> anyhow::Result<Option<String>> {
    if !flag.get_action().takes_values() {
        let Some(on) = value.as_bool() else { bail!("option {key:?} must be true or false, not {value}") };
        return Ok(on.then(|| format!("--{key}")));
    }
    ensure!(!value.is_object() && !value.is_null(), "option {key:?} must be a value or a list of values, not {value}");
    Ok(Some(format!("--{key}={}", value.as_str().map_or_else(|| value.to_string(), str::to_owned))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    /// The line with a file, and the parts of its directory, put before what is typed.
    fn check(files: &[(&str, &str)], typed: &str) -> String {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("config.yaml.d")).unwrap();
        for (name, text) in files {
            std::fs::write(directory.path().join(name), text).unwrap();
        }
        let config = format!("--config={}", directory.path().join("config.yaml").display());
        let line = ["coracle"].into_iter().chain(typed.split_whitespace()).chain([config.as_str()]);
        let completed = complete(&crate::Arguments::command(), line.map(OsString::from).collect());
        let text = match completed {
            Ok(words) => words.iter().map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" "),
            Err(error) => format!("{error:#}"),
        };
        text.replace(&format!(" {config}"), "").replace(&directory.path().display().to_string(), "/etc")
    }

    #[test]
    fn keys_are_flags_and_lists_repeat_them() {
        let file = "tls-san:\n- a.example\n- b.example\ndisable-agent: true\nhttps-listen-port: 7443\n";
        assert_eq!(
            check(&[("config.yaml", file)], "server"),
            "coracle server --disable-agent --https-listen-port=7443 --tls-san=a.example --tls-san=b.example"
        );
        assert_eq!(check(&[("config.yaml", "disable-agent: false")], "server"), "coracle server");
        assert_eq!(
            check(&[("config.yaml", "server: https://a:6443\ntoken: x\n")], "agent"),
            "coracle agent --server=https://a:6443 --token=x"
        );
    }

    #[test]
    fn the_command_line_goes_before_the_file() {
        let file = "node-name: from-file\ntoken: secret\n";
        assert_eq!(
            check(&[("config.yaml", file)], "server --node-name typed -t short"),
            "coracle server --node-name typed -t short"
        );
    }

    #[test]
    fn later_parts_replace_and_add() {
        let files = [
            ("config.yaml", "node-label: [a=1]\nnode-name: first\n"),
            ("config.yaml.d/10.yaml", "node-label+: [b=2]\n"),
            ("config.yaml.d/20.yaml", "node-name: last\n"),
            ("config.yaml.d/notes.txt", "not read"),
        ];
        assert_eq!(check(&files, "server"), "coracle server --node-label=a=1 --node-label=b=2 --node-name=last");
    }

    #[test]
    fn what_is_wrong_is_said_with_the_file() {
        assert_eq!(
            check(&[("config.yaml", "nod-name: a")], "server"),
            "read /etc/config.yaml: unknown option \"nod-name\""
        );
        assert_eq!(
            check(&[("config.yaml", "disable-agent: 7")], "server"),
            "read /etc/config.yaml: option \"disable-agent\" must be true or false, not 7"
        );
        assert!(check(&[], "server").starts_with("read /etc/config.yaml: No such file"));
        assert!(
            check(&[("config.yaml", "- a\n")], "server").starts_with("read /etc/config.yaml: it is no list of options")
        );
    }

    #[test]
    fn other_commands_read_no_file() {
        let line: Vec<OsString> = ["coracle", "ps"].into_iter().map(OsString::from).collect();
        assert_eq!(complete(&crate::Arguments::command(), line.clone()).unwrap(), line);
    }
}
