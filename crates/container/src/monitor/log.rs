//! The container's log in the CRI form, put aside when it grows too large.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use crate::config::LogConfig;

/// A line longer than this is split into parts.
const PART_MAX: usize = 16 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    Stdout,
    Stderr,
}

pub struct LogWriter {
    config: LogConfig,
    file: Option<File>,
    size: u64,
    stdout_rest: Vec<u8>,
    stderr_rest: Vec<u8>,
}

impl LogWriter {
    /// Opens the file at once: it exists before the container starts.
    pub fn open(config: &LogConfig) -> io::Result<LogWriter> {
        let mut writer =
            LogWriter { config: config.clone(), file: None, size: 0, stdout_rest: Vec::new(), stderr_rest: Vec::new() };
        if !config.path.as_os_str().is_empty() {
            writer.reopen()?;
        }
        Ok(writer)
    }

    fn reopen(&mut self) -> io::Result<()> {
        if let Some(directory) = self.config.path.parent() {
            fs::create_dir_all(directory)?;
        }
        let file = OpenOptions::new().create(true).append(true).open(&self.config.path)?;
        self.size = file.metadata()?.len();
        self.file = Some(file);
        Ok(())
    }

    /// Takes what the container wrote; whole lines reach the file in one write.
    pub fn write(&mut self, stream: Stream, data: &[u8]) {
        let mut out = Vec::with_capacity(data.len() + 64);
        let rest = match stream {
            Stream::Stdout => &mut self.stdout_rest,
            Stream::Stderr => &mut self.stderr_rest,
        };
        rest.extend_from_slice(data);
        take_lines(rest, stream, Timestamp::now(), &mut out);
        self.append(&out);
    }

    /// Writes what has no line end yet.
    pub fn finish(&mut self) {
        let mut out = Vec::new();
        for (stream, rest) in [(Stream::Stdout, &mut self.stdout_rest), (Stream::Stderr, &mut self.stderr_rest)] {
            if !rest.is_empty() {
                entry(&mut out, stream, Timestamp::now(), 'P', rest);
                rest.clear();
            }
        }
        self.append(&out);
    }

    /// A full disk loses log lines, never the container.
    fn append(&mut self, entries: &[u8]) {
        if entries.is_empty() {
            return;
        }
        if self.size > 0
            && self.size + entries.len() as u64 > self.config.size_max
            && let Err(error) = self.rotate()
        {
            eprintln!("rotate {}: {error}", self.config.path.display());
        }
        let Some(file) = &mut self.file else { return };
        match file.write_all(entries) {
            Ok(()) => self.size += entries.len() as u64,
            Err(error) => eprintln!("write {}: {error}", self.config.path.display()),
        }
    }

    fn rotate(&mut self) -> io::Result<()> {
        let stamp = Timestamp::now().strftime("%Y%m%d-%H%M%S.%f");
        fs::rename(&self.config.path, format!("{}.{stamp}", self.config.path.display()))?;
        let aside = set_aside(&self.config.path)?;
        let surplus = (aside.len() + 1).saturating_sub(self.config.files_max as usize);
        for old in aside.iter().take(surplus) {
            fs::remove_file(old)?;
        }
        self.reopen()
    }
}

/// The files put aside for a log, oldest first.
pub fn set_aside(log: &Path) -> io::Result<Vec<PathBuf>> {
    let (Some(directory), Some(name)) = (log.parent(), log.file_name()) else {
        return Ok(Vec::new());
    };
    let prefix = format!("{}.", name.to_string_lossy());
    let mut files = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(&prefix) {
            files.push(entry.path());
        }
    }
    files.sort();
    Ok(files)
}

fn take_lines(rest: &mut Vec<u8>, stream: Stream, now: Timestamp, out: &mut Vec<u8>) {
    let mut begin = 0;
    while let Some(length) = rest[begin..].iter().position(|byte| *byte == b'\n') {
        let line = &rest[begin..begin + length];
        let cut = line.len().saturating_sub(1) / PART_MAX * PART_MAX;
        line[..cut].chunks(PART_MAX).for_each(|part| entry(out, stream, now, 'P', part));
        entry(out, stream, now, 'F', &line[cut..]);
        begin += length + 1;
    }
    while rest.len() - begin >= PART_MAX {
        entry(out, stream, now, 'P', &rest[begin..begin + PART_MAX]);
        begin += PART_MAX;
    }
    rest.drain(..begin);
    rest.shrink_to(PART_MAX);
}

fn entry(out: &mut Vec<u8>, stream: Stream, now: Timestamp, tag: char, text: &[u8]) {
    let name = match stream {
        Stream::Stdout => "stdout",
        Stream::Stderr => "stderr",
    };
    write!(out, "{now:.9} {name} {tag} ").expect("a vector takes every write");
    out.extend_from_slice(text);
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pieces: &[&str]) -> String {
        let now = Timestamp::from_second(0).expect("the epoch");
        let (mut rest, mut out) = (Vec::new(), Vec::new());
        for piece in pieces {
            rest.extend_from_slice(piece.as_bytes());
            take_lines(&mut rest, Stream::Stdout, now, &mut out);
        }
        let text = String::from_utf8(out).expect("text");
        text.lines()
            .map(|line| line.split_once(' ').expect("a time").1.chars().take(12).collect::<String>() + ";")
            .collect()
    }

    #[test]
    fn a_line_is_written_when_its_end_is_seen() {
        assert_eq!(check(&["a", "b\nc"]), "stdout F ab;");
    }

    #[test]
    fn an_empty_line_is_a_line() {
        assert_eq!(check(&["\n"]), "stdout F ;");
    }

    #[test]
    fn a_long_line_is_written_in_parts() {
        let long = "x".repeat(PART_MAX + 1);
        assert_eq!(check(&[&long, "\n"]), "stdout P xxx;stdout F x;");
        assert_eq!(check(&[&format!("{long}\n")]), "stdout P xxx;stdout F x;");
    }

    #[test]
    fn the_time_has_nine_digits() {
        let mut out = Vec::new();
        entry(&mut out, Stream::Stderr, Timestamp::from_second(0).expect("the epoch"), 'F', b"x");
        assert_eq!(String::from_utf8_lossy(&out), "1970-01-01T00:00:00.000000000Z stderr F x\n");
    }

    #[test]
    fn a_log_that_grows_is_put_aside_and_the_oldest_dropped() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("0.log");
        let mut log = LogWriter::open(&LogConfig { path: path.clone(), size_max: 100, files_max: 3 }).expect("open");
        for _ in 0..10 {
            log.write(Stream::Stdout, b"twenty characters...\n");
        }
        assert_eq!(set_aside(&path).expect("list").len(), 2);
        assert!(fs::metadata(&path).expect("the current log").len() <= 100);
    }
}
