//! Paths as Go's `path` takes them, and what a user means by one.

use crate::failure::{Failure, fail};

/// The shortest path that means the same.
pub fn clean(path: &str) -> String {
    let rooted = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => drop(parts.pop()),
            ".." if rooted => {}
            part => parts.push(part),
        }
    }
    match (rooted, parts.join("/")) {
        (true, rest) => format!("/{rest}"),
        (false, rest) if rest.is_empty() => ".".to_owned(),
        (false, rest) => rest,
    }
}

pub fn directory(path: &str) -> String {
    clean(path.rfind('/').map_or("", |at| &path[..=at]))
}

pub fn base(path: &str) -> String {
    let path = path.trim_end_matches('/');
    match path.rsplit('/').next() {
        Some("") | None => "/".to_owned(),
        Some(name) => name.to_owned(),
    }
}

pub fn join(path: &str, more: &str) -> String {
    let parts: Vec<&str> = [path, more].into_iter().filter(|part| !part.is_empty()).collect();
    if parts.is_empty() { String::new() } else { clean(&parts.join("/")) }
}

fn without_last_slash(path: &str) -> &str {
    if path == "/" { path } else { path.strip_suffix('/').unwrap_or(path) }
}

/// Without what leads out of it.
pub fn without_shortcuts(path: &str) -> String {
    let path = path.trim_start_matches("../");
    let path = if path == "." || path == ".." { "" } else { path };
    path.strip_prefix('/').unwrap_or(path).to_owned()
}

/// What the entries of an archive of this path begin with.
pub fn archive_prefix(path: &str) -> String {
    let relative = path.trim_start_matches(['/', '\\']);
    without_shortcuts(without_last_slash(&clean(without_last_slash(relative))))
}

/// Whether the path lies in the directory.
pub fn is_within(directory: &str, path: &str) -> bool {
    let (directory, path) = (clean(directory), clean(path));
    match directory.as_str() {
        "." => !path.starts_with('/') && path != ".." && !path.starts_with("../"),
        "/" => path.starts_with('/'),
        _ => path.strip_prefix(&directory).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')),
    }
}

/// `[[namespace/]pod:]path`
#[derive(Debug, PartialEq, Eq)]
pub struct FileSpec {
    pub namespace: String,
    pub pod: String,
    pub path: String,
}

impl FileSpec {
    pub fn parse(text: &str) -> Result<Self, Failure> {
        let wrong = || fail!("filespec must match the canonical format: [[namespace/]pod:]file/path");
        let Some((pod, path)) = text.split_once(':') else {
            let path = without_last_slash(text).to_owned();
            return Ok(Self { namespace: String::new(), pod: String::new(), path });
        };
        let (namespace, pod) = match pod.split('/').collect::<Vec<_>>()[..] {
            _ if text.starts_with(':') => return wrong(),
            [pod] => ("", pod),
            [namespace, pod] => (namespace, pod),
            _ => return wrong(),
        };
        let path = without_last_slash(path).replace('\\', "/");
        Ok(Self { namespace: namespace.to_owned(), pod: pod.to_owned(), path })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_gos() {
        for (path, cleaned) in [("", "."), ("a//b/./c", "a/b/c"), ("../a/..", ".."), ("/../a", "/a"), ("a/../..", "..")]
        {
            assert_eq!(clean(path), cleaned, "{path}");
        }
        assert_eq!(["a/b", "a", "/a", "/"].map(directory), ["a", ".", "/", "/"]);
        assert_eq!(["a/b/", "/", "a"].map(base), ["b", "/", "a"]);
        assert_eq!((join("a", "/b"), join("", ""), join("a", "")), ("a/b".into(), String::new(), "a".into()));
        assert_eq!(["/tmp/x/", "../../a", ".", "/"].map(archive_prefix), ["tmp/x", "a", "", ""]);
        assert!(is_within("a", "a/b") && is_within("a", "a") && !is_within("a", "ab") && !is_within("a", "a/../b"));
        assert!(is_within(".", "x") && !is_within(".", "../x"));
    }

    #[test]
    fn a_path_may_be_in_a_pod() {
        let spec = |text: &str| FileSpec::parse(text).map(|spec| [spec.namespace, spec.pod, spec.path]);
        let own = |parts: [&str; 3]| parts.map(str::to_owned);
        assert_eq!(spec("a/b/").expect("local"), own(["", "", "a/b"]));
        assert_eq!(spec("n/p:/x").expect("remote"), own(["n", "p", "/x"]));
        assert_eq!(spec("p:c:d").expect("remote"), own(["", "p", "c:d"]));
        assert!(spec(":x").is_err() && spec("a/b/c:x").is_err());
    }
}
