//! The audit log: a line for each event, in files of limited size, number and age; or on standard output.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;

/// Limits under upstream's flags; 0 for none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// `-` is standard output.
    pub path: PathBuf,
    pub age_max_days: u64,
    pub backups_max: usize,
    pub size_max_megabytes: u64,
}

pub struct Log {
    config: LogConfig,
    file: Mutex<Option<Open>>,
}

struct Open {
    file: File,
    size: u64,
}

impl Log {
    pub fn open(config: LogConfig) -> io::Result<Log> {
        let file = if config.path == Path::new("-") { None } else { Some(Open::at(&config.path)?) };
        Ok(Log { config, file: Mutex::new(file) })
    }

    /// Writes before it returns: an event is not lost when the process ends.
    pub fn write(&self, line: &[u8]) -> io::Result<()> {
        let mut file = self.file.lock();
        let Some(open) = &mut *file else { return io::stdout().write_all(line) };
        let limit = self.config.size_max_megabytes << 20;
        if limit > 0 && open.size > 0 && open.size + line.len() as u64 > limit {
            self.rotate(jiff::Timestamp::now())?;
            *open = Open::at(&self.config.path)?;
        }
        open.file.write_all(line)?;
        open.size += line.len() as u64;
        Ok(())
    }

    /// Puts the full file aside under its time, and removes what is too old or too much.
    fn rotate(&self, now: jiff::Timestamp) -> io::Result<()> {
        let (stem, extension) = self.names();
        let time = now.strftime("%Y-%m-%dT%H-%M-%S%.3f");
        std::fs::rename(&self.config.path, self.config.path.with_file_name(format!("{stem}-{time}{extension}")))?;
        self.remove_old()
    }

    fn names(&self) -> (String, String) {
        let text = |part: Option<&std::ffi::OsStr>| part.map(|part| part.to_string_lossy().into_owned());
        let extension = text(self.config.path.extension()).map_or(String::new(), |extension| format!(".{extension}"));
        (text(self.config.path.file_stem()).unwrap_or_default(), extension)
    }

    fn remove_old(&self) -> io::Result<()> {
        let (stem, extension) = self.names();
        let directory = self.config.path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let mut backups: Vec<PathBuf> = Vec::new();
        for entry in std::fs::read_dir(directory.unwrap_or(Path::new(".")))? {
            let path = entry?.path();
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            let time = name.strip_prefix(&format!("{stem}-")).and_then(|rest| rest.strip_suffix(&extension));
            if time.is_some_and(|time| time.len() == 23 && time.as_bytes()[10] == b'T') {
                backups.push(path);
            }
        }
        // The newest first: names end in their time.
        backups.sort_by(|a, b| b.cmp(a));
        let kept = if self.config.backups_max == 0 { usize::MAX } else { self.config.backups_max };
        for (index, path) in backups.iter().enumerate() {
            if index >= kept || self.is_old(path) {
                std::fs::remove_file(path)?;
            }
        }
        Ok(())
    }

    fn is_old(&self, path: &Path) -> bool {
        let age_max = Duration::from_secs(self.config.age_max_days * 24 * 3600);
        let modified = path.metadata().and_then(|metadata| metadata.modified());
        let age = modified.ok().and_then(|modified| SystemTime::now().duration_since(modified).ok());
        !age_max.is_zero() && age.is_some_and(|age| age > age_max)
    }
}

impl Open {
    fn at(path: &Path) -> io::Result<Open> {
        use std::os::unix::fs::OpenOptionsExt;
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        let file = OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
        let size = file.metadata()?.len();
        Ok(Open { file, size })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_files_are_put_aside_and_only_so_many_are_kept() {
        let directory = std::env::temp_dir().join(format!("audit-log-{}", std::process::id()));
        let config =
            LogConfig { path: directory.join("audit.log"), age_max_days: 1, backups_max: 2, size_max_megabytes: 1 };
        let log = Log::open(config).unwrap();
        let line = vec![b'x'; 600 << 10];
        log.write(&line).unwrap();
        for second in 1..5 {
            log.write(b"short\n").unwrap();
            log.rotate(jiff::Timestamp::from_second(1_700_000_000 + second).unwrap()).unwrap();
            *log.file.lock() = Some(Open::at(&log.config.path).unwrap());
        }
        let mut names: Vec<String> = std::fs::read_dir(&directory)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        let aside = ["audit-2023-11-14T22-13-23.000.log", "audit-2023-11-14T22-13-24.000.log"];
        assert_eq!(names, [aside[0], aside[1], "audit.log"]);
        log.write(&line).unwrap();
        log.write(&line).unwrap();
        assert_eq!(log.config.path.metadata().unwrap().len(), line.len() as u64);
        std::fs::remove_dir_all(directory).unwrap();
    }
}
