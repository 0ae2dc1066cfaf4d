//! The user's editor, on a temporary file.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::Streams;
use crate::failure::{Failure, fail};

pub struct Editor {
    words: Vec<String>,
    /// The last word is a line for a shell.
    shell: bool,
    /// Where the files go.
    directory: PathBuf,
}

impl Editor {
    /// From `KUBE_EDITOR` or `EDITOR`.
    pub fn of(streams: &Streams) -> Self {
        let directory = streams.variable("TMPDIR").map_or_else(std::env::temp_dir, PathBuf::from);
        let named = ["KUBE_EDITOR", "EDITOR"].into_iter().find_map(|name| streams.variable(name));
        let editor = named.unwrap_or_else(|| "vi".to_owned());
        if !editor.contains(' ') {
            return Self { words: vec![editor], shell: false, directory };
        }
        if !editor.contains(['"', '\'', '\\']) {
            return Self { words: editor.split(' ').map(str::to_owned).collect(), shell: false, directory };
        }
        let shell = streams.variable("SHELL").unwrap_or_else(|| "/bin/bash".to_owned());
        Self { words: vec![shell, "-c".to_owned(), editor], shell: true, directory }
    }

    /// Writes the text to a file and lets the user have it. The file stays.
    pub async fn edit(&self, extension: &str, text: &str) -> Result<(PathBuf, String), Failure> {
        let path = create(&self.directory, extension, text)?;
        self.launch(&path.display().to_string()).await?;
        let edited = std::fs::read(&path).map_err(|error| format!("open {}: {error}", path.display()))?;
        Ok((path, String::from_utf8_lossy(&edited).into_owned()))
    }

    async fn launch(&self, path: &str) -> Result<(), Failure> {
        let mut words = self.words.clone();
        match words.last_mut() {
            Some(line) if self.shell => *line = format!("{line} {path:?}"),
            _ => words.push(path.to_owned()),
        }
        let status = tokio::process::Command::new(&words[0]).args(&words[1..]).status().await;
        let called = self.words.join(" ");
        match status {
            Ok(status) if status.success() => Ok(()),
            Err(error) if error.kind() == ErrorKind::NotFound && !words[0].contains('/') => {
                fail!("unable to launch the editor {called:?}")
            }
            _ => fail!("there was a problem with the editor {called:?}"),
        }
    }
}

/// A file that nobody else can read, and that was not there.
fn create(directory: &Path, extension: &str, text: &str) -> Result<PathBuf, Failure> {
    loop {
        let name = format!("kubectl-edit-{}{extension}", random_number());
        let path = directory.join(name);
        let mut file = match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::AlreadyExists => continue,
            Err(error) => return fail!("open {}: {error}", path.display()),
        };
        if let Err(error) = file.write_all(text.as_bytes()) {
            // The first failure is the one to tell.
            let _ = std::fs::remove_file(&path);
            return fail!("write {}: {error}", path.display());
        }
        return Ok(path);
    }
}

fn random_number() -> u32 {
    apimachinery::names::fnv32a(apimachinery::names::suffix(12).as_bytes())
}
