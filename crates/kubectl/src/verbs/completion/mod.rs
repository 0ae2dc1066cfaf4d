//! `completion`: a shell's script, and the answers that the script asks for.

mod candidates;

use crate::Streams;
use crate::command::{Command, runs};
use crate::failure::Failure;
use crate::flags::Parsed;
use crate::session::Session;

pub const COMMAND: Command = Command {
    name: "completion",
    about: "Output shell completion code for the specified shell (bash, zsh, fish, or powershell)",
    usage: "SHELL [options]",
    run: runs!(run),
    ..Command::EMPTY
};

const SHELLS: &[(&str, &str)] = &[
    ("bash", include_str!("kubectl.bash")),
    ("fish", include_str!("kubectl.fish")),
    ("powershell", include_str!("kubectl.ps1")),
    ("zsh", include_str!("kubectl.zsh")),
];

async fn run(session: &Session, parsed: Parsed) -> Result<(), Failure> {
    let shell = match parsed.arguments.as_slice() {
        [] => return Err(session.usage("Shell not specified.")),
        [shell] => shell,
        _ => return Err(session.usage("Too many arguments. Expected only the shell type.")),
    };
    match SHELLS.iter().find(|(name, _)| name == shell) {
        Some((_, script)) => session.streams.print(script),
        None => Err(session.usage(format!("Unsupported shell type {shell:?}."))),
    }
}

/// What a shell shall do with the candidates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Directive {
    /// Names of files are meant if there are none.
    Default,
    NoSpace,
    NoFiles,
}

impl Directive {
    fn number(self) -> u8 {
        match self {
            Self::Default => 0,
            Self::NoSpace => 2,
            Self::NoFiles => 4,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Default => "ShellCompDirectiveDefault",
            Self::NoSpace => "ShellCompDirectiveNoSpace",
            Self::NoFiles => "ShellCompDirectiveNoFileComp",
        }
    }
}

/// Answers a shell: a line for each candidate, then what to do with them.
pub async fn complete(words: &[String], streams: &Streams, described: bool) -> Result<(), Failure> {
    let (candidates, directive) = candidates::of(words, streams).await;
    for candidate in candidates {
        match candidate.about.lines().next().filter(|_| described) {
            Some(about) => streams.line(format!("{}\t{about}", candidate.word))?,
            None => streams.line(candidate.word)?,
        }
    }
    streams.line(format!(":{}", directive.number()))?;
    streams.note(format!("Completion ended with directive: {}", directive.name()));
    Ok(())
}
