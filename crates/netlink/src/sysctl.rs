//! Kernel parameters under `/proc/sys/net`, which belong to the namespace of the thread that writes.

use std::fs;
use std::path::Path;

use crate::{Error, Result, netns};

/// Writes `net.<key>` (slashes inside, as in `ipv4/ip_forward`) in the calling thread's namespace, if it differs.
pub fn set(key: &str, value: &str) -> Result<()> {
    let path = Path::new("/proc/sys/net").join(key);
    if fs::read_to_string(&path).is_ok_and(|current| current.trim() == value) {
        return Ok(());
    }
    fs::write(&path, value).map_err(|source| Error::Sysctl {
        key: format!("net/{key}"),
        value: value.to_owned(),
        source,
    })
}

/// Writes parameters in the namespace mounted at `path`.
pub fn set_in(path: &Path, settings: &[(String, String)]) -> Result<()> {
    let settings = settings.to_vec();
    netns::in_netns(path, move || settings.iter().try_for_each(|(key, value)| set(key, value)))?
}
