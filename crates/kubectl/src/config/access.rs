//! The kubeconfig files: which are read, and which one a change is written to.
//!
//! A change is planned from what the files say, and written under the files' locks, whole or not at all.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::os_text;
use super::settings::{Settings, Stanza};
use crate::failure::{Failure, fail};
use crate::print::to_yaml;

pub struct Access {
    explicit: Option<PathBuf>,
    /// Of the variable.
    listed: Vec<PathBuf>,
    home: Option<PathBuf>,
}

impl Access {
    pub fn new(flag: Option<&str>) -> Self {
        let variable = std::env::var_os("KUBECONFIG").unwrap_or_default();
        let mut listed: Vec<PathBuf> = Vec::new();
        for path in std::env::split_paths(&variable).filter(|path| !path.as_os_str().is_empty()) {
            if !listed.contains(&path) {
                listed.push(path);
            }
        }
        Self {
            explicit: flag.map(PathBuf::from),
            listed,
            home: std::env::home_dir().map(|home| home.join(".kube/config")),
        }
    }

    /// In the order in which they are believed.
    pub fn files(&self) -> Vec<PathBuf> {
        match &self.explicit {
            Some(path) => vec![path.clone()],
            None if !self.listed.is_empty() => self.listed.clone(),
            None => self.home.iter().cloned().collect(),
        }
    }

    pub fn explicit(&self) -> Option<&Path> {
        self.explicit.as_deref()
    }

    /// Where new things are written.
    pub fn default_file(&self) -> Result<PathBuf, Failure> {
        let files = self.files();
        let existing = files.iter().find(|path| path.exists());
        existing.or(files.last()).cloned().ok_or_else(|| "no kubeconfig file is known: HOME is not set".into())
    }

    /// What all files say.
    pub fn settings(&self) -> Result<Settings, Failure> {
        let mut all = Settings::default();
        for path in self.files() {
            all.add(Settings::read(&path)?);
        }
        Ok(all)
    }

    /// Edits what the files say, and writes what the edit changed. Paths beside a file are written relative to it.
    pub fn change<T>(&self, relative: bool, edit: impl Fn(&mut Settings) -> Result<T, Failure>) -> Result<T, Failure> {
        let before = self.settings()?;
        let mut after = before.clone();
        let told = edit(&mut after)?;
        if after == before {
            return Ok(told);
        }
        let _locks = self.lock()?;
        let before = self.settings()?;
        let mut after = before.clone();
        let told = edit(&mut after)?;
        for (path, settings) in self.plan(&before, after, relative)? {
            write(&path, &to_yaml(&settings.to_value()))?;
        }
        Ok(told)
    }

    fn lock(&self) -> Result<Vec<Lock>, Failure> {
        let files: BTreeSet<PathBuf> = self.files().into_iter().collect();
        files.iter().map(|path| Lock::take(path)).collect()
    }

    /// The files that change, each with what it shall say.
    fn plan(&self, before: &Settings, after: Settings, relative: bool) -> Result<BTreeMap<PathBuf, Settings>, Failure> {
        let mut plan = Plan { files: BTreeMap::new(), default: self.default_file()? };
        if before.current_context != after.current_context {
            let path = self.file_of_current_context(&after.current_context)?;
            plan.file(&path)?.current_context.clone_from(&after.current_context);
        }
        if before.rest != after.rest {
            let path = plan.default.clone();
            plan.file(&path)?.rest = after.rest.clone();
        }
        for (index, (before, after)) in before.parts().into_iter().zip(after.parts()).enumerate() {
            plan.part(index, before, after, relative)?;
        }
        Ok(plan.files)
    }

    /// The file that says it, if it is to be cleared.
    fn file_of_current_context(&self, name: &str) -> Result<PathBuf, Failure> {
        if self.explicit.is_some() || !name.is_empty() {
            return self.default_file();
        }
        for path in self.files() {
            if !Settings::read(&path)?.current_context.is_empty() {
                return Ok(path);
            }
        }
        fail!("no config found to write context")
    }
}

struct Plan {
    files: BTreeMap<PathBuf, Settings>,
    default: PathBuf,
}

impl Plan {
    fn file(&mut self, path: &Path) -> Result<&mut Settings, Failure> {
        let known = match self.files.remove(path) {
            Some(known) => known,
            None => Settings::read(path)?,
        };
        Ok(self.files.entry(path.to_owned()).or_insert(known))
    }

    /// Clusters, contexts or users.
    fn part(
        &mut self,
        index: usize,
        before: &BTreeMap<String, Stanza>,
        after: &BTreeMap<String, Stanza>,
        relative: bool,
    ) -> Result<(), Failure> {
        for (name, stanza) in after.iter().filter(|(name, stanza)| before.get(*name) != Some(stanza)) {
            let path = stanza.origin.clone().unwrap_or_else(|| self.default.clone());
            let mut stanza = stanza.clone();
            if relative {
                shorten_paths(&mut stanza, &path);
            }
            self.file(&path)?.parts_mut()[index].insert(name.clone(), stanza);
        }
        for (name, stanza) in before.iter().filter(|(name, _)| !after.contains_key(*name)) {
            let path = stanza.origin.clone().unwrap_or_else(|| self.default.clone());
            self.file(&path)?.parts_mut()[index].remove(name);
        }
        Ok(())
    }
}

/// The values that are names of files.
pub fn paths_mut(stanza: &mut Stanza) -> Vec<&mut String> {
    let mut paths = Vec::new();
    for (field, value) in &mut stanza.fields {
        let found = match (field.as_str(), value) {
            ("certificate-authority" | "client-certificate" | "client-key" | "tokenFile", Value::String(path)) => path,
            // A command without a slash is looked for on the path.
            ("exec", Value::Object(exec)) => match exec.get_mut("command") {
                Some(Value::String(path)) if path.contains('/') => path,
                _ => continue,
            },
            _ => continue,
        };
        paths.push(found);
    }
    paths
}

/// A path beneath the file's directory is written as seen from there.
fn shorten_paths(stanza: &mut Stanza, file: &Path) {
    let base = directory_of(file);
    for path in paths_mut(stanza).into_iter().filter(|path| !path.is_empty()) {
        if let Ok(rest) = base.join(&*path).strip_prefix(&base) {
            *path = rest.display().to_string();
        }
    }
}

/// Absolute.
pub fn directory_of(file: &Path) -> PathBuf {
    let absolute = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
    absolute.parent().unwrap_or(Path::new("/")).to_owned()
}

/// A file beside the kubeconfig that every kubectl respects. Gone with this value.
struct Lock(PathBuf);

impl Lock {
    fn take(path: &Path) -> Result<Self, Failure> {
        make_directory(path)?;
        let mut name = path.as_os_str().to_owned();
        name.push(".lock");
        let lock = PathBuf::from(name);
        let taken = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o000).open(&lock);
        match taken {
            Ok(_) => Ok(Self(lock)),
            Err(error) => fail!("open {}: {}", lock.display(), os_text(&error)),
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.0) {
            tracing::debug!(lock = %self.0.display(), %error, "the kubeconfig's lock was not removed");
        }
    }
}

fn make_directory(path: &Path) -> Result<(), Failure> {
    let directory = directory_of(path);
    std::fs::create_dir_all(&directory)
        .map_err(|error| format!("mkdir {}: {}", directory.display(), os_text(&error)))?;
    Ok(())
}

/// Puts a whole new file in the place of the old one, or of what the old one points to.
fn write(path: &Path, text: &str) -> Result<(), Failure> {
    make_directory(path)?;
    let target = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let mode = std::fs::metadata(&target).map_or(0o600, |metadata| metadata.permissions().mode());
    let mut name = target.as_os_str().to_owned();
    name.push(format!(".{}", std::process::id()));
    let temporary = PathBuf::from(name);
    let written = write_new(&temporary, text, mode).and_then(|()| std::fs::rename(&temporary, &target));
    written.map_err(|error| {
        // What could not be moved is of no use to anybody.
        let _ = std::fs::remove_file(&temporary);
        Failure::Plain(format!("open {}: {}", path.display(), os_text(&error)))
    })
}

fn write_new(path: &Path, text: &str, mode: u32) -> std::io::Result<()> {
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    file.set_permissions(std::fs::Permissions::from_mode(mode & 0o7777))?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(directory: &Path, names: &[&str]) -> Access {
        let listed = names.iter().map(|name| directory.join(name)).collect();
        Access { explicit: None, listed, home: None }
    }

    fn context(text: &str) -> Stanza {
        let mut stanza = Stanza::default();
        stanza.set("cluster", text);
        stanza
    }

    #[test]
    fn a_change_goes_to_the_file_that_says_it() {
        let directory = tempfile::tempdir().expect("a directory");
        let [one, two] = ["one", "two"].map(|name| directory.path().join(name));
        std::fs::write(&one, "contexts: [{name: a, context: {cluster: x}}]\n").expect("written");
        std::fs::write(&two, "current-context: b\ncontexts: [{name: b, context: {cluster: y}}, {name: a}]\n")
            .expect("written");
        let access = access(directory.path(), &["one", "two", "three"]);
        let seen = access.settings().expect("readable");
        assert_eq!((seen.contexts["a"].text("cluster"), seen.current_context.as_str()), ("x", "b"));
        access
            .change(true, |settings| {
                settings.contexts.get_mut("b").expect("it is there").set("namespace", "n");
                settings.contexts.insert("c".into(), context("z"));
                settings.current_context.clear();
                Ok(())
            })
            .expect("changed");
        let [one, two] = [one, two].map(|path| Settings::read(&path).expect("readable"));
        assert_eq!(one.contexts.keys().collect::<Vec<_>>(), ["a", "c"]);
        assert_eq!((two.contexts["b"].text("namespace"), two.current_context.as_str()), ("n", ""));
        assert!(!directory.path().join("three").exists());
        assert_eq!(
            std::fs::read_dir(directory.path()).expect("readable").count(),
            2,
            "nothing is left beside the files"
        );
    }

    #[test]
    fn the_last_file_is_made_where_there_is_none() {
        let directory = tempfile::tempdir().expect("a directory");
        let access = access(directory.path(), &["one", "sub/two"]);
        access
            .change(true, |settings| {
                settings.contexts.insert("c".into(), context("z"));
                Ok(())
            })
            .expect("changed");
        let made = std::fs::metadata(directory.path().join("sub/two")).expect("made");
        assert_eq!(made.permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_locked_or_broken_file_is_left_alone() {
        let directory = tempfile::tempdir().expect("a directory");
        let [path, lock] = ["one", "one.lock"].map(|name| directory.path().join(name));
        std::fs::write(&lock, "").expect("written");
        let access = access(directory.path(), &["one"]);
        let add = |settings: &mut Settings| {
            settings.contexts.insert("c".into(), context("z"));
            Ok(())
        };
        let refused = access.change(true, add).expect_err("locked").text();
        assert_eq!(refused, format!("open {}: file exists", lock.display()));
        std::fs::remove_file(&lock).expect("removed");
        std::fs::write(&path, "contexts: {").expect("written");
        assert!(access.change(true, add).is_err());
        assert_eq!(std::fs::read_to_string(&path).expect("readable"), "contexts: {");
        assert!(!lock.exists());
    }

    #[test]
    fn a_link_stays_a_link() {
        let directory = tempfile::tempdir().expect("a directory");
        let [target, link] = ["target", "link"].map(|name| directory.path().join(name));
        std::fs::write(&target, "kind: Config\n").expect("written");
        std::os::unix::fs::symlink(&target, &link).expect("linked");
        access(directory.path(), &["link"])
            .change(true, |settings| {
                settings.current_context = "c".into();
                Ok(())
            })
            .expect("changed");
        assert!(link.is_symlink());
        assert_eq!(Settings::read(&target).expect("readable").current_context, "c");
    }
}
