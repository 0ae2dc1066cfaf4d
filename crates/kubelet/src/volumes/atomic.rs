//! Replaces the files of a volume all at once, by the symbolic link `..data`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Component, Path};

const DATA: &str = "..data";
const DATA_NEW: &str = "..data_tmp";

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileContent {
    pub data: Vec<u8>,
    pub mode: u32,
    pub owner: Option<u32>,
}

/// By path below the volume.
pub type Files = BTreeMap<String, FileContent>;

pub fn write(volume: &Path, files: &Files, group: Option<u32>) -> io::Result<()> {
    check_paths(files)?;
    fs::create_dir_all(volume)?;
    let old = fs::read_link(volume.join(DATA)).ok();
    if old.as_ref().is_some_and(|old| is_current(&volume.join(old), files)) {
        return Ok(());
    }
    let stamp = jiff::Timestamp::now().strftime("..%Y_%m_%d_%H_%M_%S.%f").to_string();
    let fresh = volume.join(&stamp);
    write_files(&fresh, files, group)?;
    let link = volume.join(DATA_NEW);
    let _ = fs::remove_file(&link);
    symlink(&stamp, &link)?;
    fs::rename(&link, volume.join(DATA))?;
    make_links(volume, files)?;
    remove_stale_links(volume, files)?;
    match old {
        Some(old) => fs::remove_dir_all(volume.join(old)),
        None => Ok(()),
    }
}

/// No path may leave the volume or look like our own.
fn check_paths(files: &Files) -> io::Result<()> {
    for path in files.keys() {
        let normal = Path::new(path).components().all(|part| matches!(part, Component::Normal(_)));
        if path.is_empty() || !normal || path.starts_with("..") {
            return Err(io::Error::other(format!("invalid path {path:?}")));
        }
    }
    Ok(())
}

fn is_current(directory: &Path, files: &Files) -> bool {
    let same =
        |(path, file): (&String, &FileContent)| fs::read(directory.join(path)).is_ok_and(|data| data == file.data);
    count_files(directory) == files.len() && files.iter().all(same)
}

fn count_files(directory: &Path) -> usize {
    let Ok(entries) = fs::read_dir(directory) else { return 0 };
    let count = |entry: fs::DirEntry| match entry.file_type() {
        Ok(kind) if kind.is_dir() => count_files(&entry.path()),
        _ => 1,
    };
    entries.flatten().map(count).sum()
}

fn write_files(directory: &Path, files: &Files, group: Option<u32>) -> io::Result<()> {
    make_directory(directory)?;
    for (path, file) in files {
        let path = directory.join(path);
        let parent = path.parent().expect("a file lies in a directory");
        fs::create_dir_all(parent)?;
        fs::set_permissions(parent, fs::Permissions::from_mode(0o755))?;
        fs::write(&path, &file.data)?;
        let mode = if group.is_some() { file.mode | 0o440 } else { file.mode };
        if group.is_some() || file.owner.is_some() {
            chown(&path, file.owner, group)?;
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(mode))?;
    }
    Ok(())
}

fn make_directory(directory: &Path) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    fs::set_permissions(directory, fs::Permissions::from_mode(0o755))
}

fn first_parts(files: &Files) -> BTreeSet<&str> {
    files.keys().filter_map(|path| path.split('/').next()).collect()
}

fn make_links(volume: &Path, files: &Files) -> io::Result<()> {
    for name in first_parts(files) {
        let link = volume.join(name);
        if fs::symlink_metadata(&link).is_err() {
            symlink(format!("{DATA}/{name}"), link)?;
        }
    }
    Ok(())
}

fn remove_stale_links(volume: &Path, files: &Files) -> io::Result<()> {
    let wanted = first_parts(files);
    for entry in fs::read_dir(volume)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.starts_with("..") && !wanted.contains(name.as_str()) && entry.file_type()?.is_symlink() {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(list: &[(&str, &str)]) -> Files {
        let content = |text: &str| FileContent { data: text.as_bytes().to_vec(), mode: 0o644, owner: None };
        list.iter().map(|(path, text)| ((*path).to_owned(), content(text))).collect()
    }

    #[test]
    fn files_change_together_and_old_ones_go() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path();
        write(path, &files(&[("a", "1"), ("d/b", "2")]), None).expect("write");
        let first = fs::read_link(path.join(DATA)).expect("a link");
        write(path, &files(&[("a", "1"), ("d/b", "2")]), None).expect("write the same");
        assert_eq!(fs::read_link(path.join(DATA)).expect("a link"), first);
        write(path, &files(&[("a", "3")]), None).expect("write");
        assert_eq!(fs::read_to_string(path.join("a")).expect("a file"), "3");
        let mut left: Vec<String> = fs::read_dir(path)
            .expect("a directory")
            .flatten()
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        left.retain(|name| !name.starts_with("..2"));
        left.sort();
        assert_eq!(left, ["..data", "a"]);
    }

    #[test]
    fn a_path_that_leaves_the_volume_is_refused() {
        let directory = tempfile::tempdir().expect("a directory");
        for path in ["../x", "/x", "a/../../x", "..data", ""] {
            assert!(write(directory.path(), &files(&[(path, "")]), None).is_err(), "{path}");
        }
    }
}
