//! Keys on disk: private ones are readable by their owner only, and a file is replaced whole or not at all.

use std::fs;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use super::{Credentials, PkiError};

pub fn make_dir(dir: &Path) -> Result<(), PkiError> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(|source| at(dir, source))
}

pub fn load(path: &Path) -> Result<Option<String>, PkiError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(source) if source.kind() == ErrorKind::NotFound => Ok(None),
        Err(source) => Err(at(path, source)),
    }
}

pub fn read(path: &Path) -> Result<String, PkiError> {
    fs::read_to_string(path).map_err(|source| at(path, source))
}

pub fn load_or_make(path: &Path, make: impl FnOnce() -> Result<String, PkiError>) -> Result<String, PkiError> {
    if let Some(text) = load(path)? {
        return Ok(text);
    }
    let text = make()?;
    write(path, &text, 0o600)?;
    Ok(text)
}

pub fn write_public(path: &Path, text: &str) -> Result<(), PkiError> {
    if load(path)?.as_deref() == Some(text) {
        return Ok(());
    }
    write(path, text, 0o644)
}

pub fn load_pair(dir: &Path, name: &str) -> Result<Option<Credentials>, PkiError> {
    let cert = load(&dir.join(format!("{name}.crt")))?;
    let key = load(&dir.join(format!("{name}.key")))?;
    Ok(cert.zip(key).map(|(cert_pem, key_pem)| Credentials { cert_pem, key_pem }))
}

pub fn store_pair(dir: &Path, name: &str, pair: &Credentials) -> Result<(), PkiError> {
    write(&dir.join(format!("{name}.key")), &pair.key_pem, 0o600)?;
    write(&dir.join(format!("{name}.crt")), &pair.cert_pem, 0o644)
}

fn write(path: &Path, text: &str, mode: u32) -> Result<(), PkiError> {
    let temporary = path.with_extension("new");
    replace(path, &temporary, text, mode).map_err(|source| at(path, source))
}

fn replace(path: &Path, temporary: &Path, text: &str, mode: u32) -> std::io::Result<()> {
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(temporary)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(temporary, path)
}

fn at(path: &Path, source: std::io::Error) -> PkiError {
    PkiError::File { path: path.to_path_buf(), source }
}
