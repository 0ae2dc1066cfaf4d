//! Container logs: read from the CRI files, filtered, followed across rotations.

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio::sync::mpsc;

/// What the client asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    pub follow: bool,
    pub previous: bool,
    pub timestamps: bool,
    pub tail_lines: Option<usize>,
    pub since: Option<Timestamp>,
    pub limit_bytes: Option<u64>,
    /// `Stdout`, `Stderr`, or both.
    pub stream: Option<String>,
}

/// How often a followed file is looked at. The monitor writes to the file alone, and inotify does not cross file systems
/// such as overlays reliably; upstream falls back to the same.
const FOLLOW_PAUSE: Duration = Duration::from_millis(100);
const CHUNK: usize = 64 * 1024;

/// One entry of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry<'a> {
    time: &'a str,
    stream: &'a str,
    partial: bool,
    text: &'a [u8],
}

fn parse(line: &[u8]) -> Option<Entry<'_>> {
    let mut parts = line.splitn(4, |byte| *byte == b' ');
    let time = std::str::from_utf8(parts.next()?).ok()?;
    let stream = std::str::from_utf8(parts.next()?).ok()?;
    let tag = parts.next()?;
    let text = parts.next().unwrap_or_default();
    Some(Entry { time, stream, partial: tag.first() == Some(&b'P'), text })
}

/// Turns file lines into what the client sees. Pure but for its memory of an unfinished line.
struct Printer {
    options: Options,
    sent: u64,
    in_line: bool,
}

impl Printer {
    fn new(options: Options) -> Printer {
        Printer { options, sent: 0, in_line: false }
    }

    fn is_full(&self) -> bool {
        self.options.limit_bytes.is_some_and(|limit| self.sent >= limit)
    }

    fn print(&mut self, line: &[u8], out: &mut Vec<u8>) {
        let Some(entry) = parse(line) else { return };
        if !self.wants(&entry) || self.is_full() {
            return;
        }
        let begin = out.len();
        if self.options.timestamps && !self.in_line {
            out.extend_from_slice(entry.time.as_bytes());
            out.push(b' ');
        }
        out.extend_from_slice(entry.text);
        if !entry.partial {
            out.push(b'\n');
        }
        self.in_line = entry.partial;
        if let Some(limit) = self.options.limit_bytes {
            let room = usize::try_from(limit - self.sent).unwrap_or(usize::MAX);
            out.truncate(begin + room.min(out.len() - begin));
        }
        self.sent += (out.len() - begin) as u64;
    }

    fn wants(&self, entry: &Entry<'_>) -> bool {
        let late =
            self.options.since.is_none_or(|since| entry.time.parse::<Timestamp>().is_ok_and(|time| time >= since));
        let stream = self.options.stream.as_deref().is_none_or(|wanted| wanted.eq_ignore_ascii_case(entry.stream));
        late && stream
    }
}

/// The current file and those put aside for it, oldest first.
fn files(path: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    if let (Some(directory), Some(name)) = (path.parent(), path.file_name()) {
        let prefix = format!("{}.", name.to_string_lossy());
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with(&prefix) {
                files.push(entry.path());
            }
        }
    }
    files.sort();
    files.push(path.to_owned());
    Ok(files)
}

/// The last lines of a file, without their times, joined; for termination messages.
pub fn tail_text(path: &Path, lines_max: usize, bytes_max: usize) -> String {
    let data = fs::read(path).unwrap_or_default();
    let mut last: VecDeque<&[u8]> = VecDeque::new();
    for line in data.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        if last.len() == lines_max {
            last.pop_front();
        }
        last.push_back(line);
    }
    let mut printer = Printer::new(Options::default());
    let mut out = Vec::new();
    last.into_iter().for_each(|line| printer.print(line, &mut out));
    let begin = out.len().saturating_sub(bytes_max);
    String::from_utf8_lossy(&out[begin..]).into_owned()
}

/// Reads the log into `out` until its end, or with `follow` until `ended` is true and everything was read.
pub async fn read(
    path: PathBuf,
    options: Options,
    ended: impl Fn() -> futures::future::BoxFuture<'static, bool> + Send,
    out: mpsc::Sender<Vec<u8>>,
) -> io::Result<()> {
    let (follow, tail) = (options.follow, options.tail_lines);
    let mut printer = Printer::new(options);
    let mut reader = Reader::open(&path, tail).await?;
    loop {
        let done = ended().await;
        while let Some(lines) = reader.next().await? {
            let mut text = Vec::new();
            lines.iter().for_each(|line| printer.print(line, &mut text));
            if !text.is_empty() && out.send(text).await.is_err() {
                return Ok(());
            }
            if printer.is_full() {
                return Ok(());
            }
        }
        if !follow || done {
            return Ok(());
        }
        tokio::select! {
            () = out.closed() => return Ok(()),
            () = tokio::time::sleep(FOLLOW_PAUSE) => {}
        }
    }
}

/// Reads the files one after the other; the last one may be put aside while it is read.
struct Reader {
    path: PathBuf,
    earlier: VecDeque<PathBuf>,
    file: File,
    rest: Vec<u8>,
    /// Lines at the beginning that are not wanted.
    skip: usize,
}

impl Reader {
    async fn open(path: &Path, tail: Option<usize>) -> io::Result<Reader> {
        let mut earlier: VecDeque<PathBuf> = files(path)?.into();
        let skip = match tail {
            Some(wanted) => lines_before_tail(&mut earlier, wanted).await?,
            None => 0,
        };
        let first = earlier.pop_front().unwrap_or_else(|| path.to_owned());
        let file = File::open(first).await?;
        Ok(Reader { path: path.to_owned(), earlier, file, rest: Vec::new(), skip })
    }

    /// The next lines; None at the end of what there is now.
    async fn next(&mut self) -> io::Result<Option<Vec<Vec<u8>>>> {
        let mut chunk = vec![0; CHUNK];
        let length = self.file.read(&mut chunk).await?;
        if length == 0 {
            return if self.advance().await? { Ok(Some(Vec::new())) } else { Ok(None) };
        }
        self.rest.extend_from_slice(&chunk[..length]);
        let mut lines = Vec::new();
        while let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.rest.drain(..=end).collect();
            if self.skip > 0 {
                self.skip -= 1;
            } else {
                lines.push(line[..end].to_vec());
            }
        }
        Ok(Some(lines))
    }

    /// To the next file, if this one is finished: there is a later one, or it was put aside.
    async fn advance(&mut self) -> io::Result<bool> {
        if let Some(next) = self.earlier.pop_front() {
            self.file = File::open(next).await?;
            return Ok(true);
        }
        use std::os::unix::fs::MetadataExt;
        let mine = self.file.metadata().await?;
        let named = match tokio::fs::metadata(&self.path).await {
            Ok(named) => named,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        };
        if named.ino() == mine.ino() && named.dev() == mine.dev() {
            if named.len() < self.file.stream_position().await? {
                self.file.rewind().await?;
            }
            return Ok(false);
        }
        self.file = File::open(&self.path).await?;
        Ok(true)
    }
}

/// Drops the files that lie before the wanted tail, and says how many lines of the first one left lie before it.
async fn lines_before_tail(files: &mut VecDeque<PathBuf>, wanted: usize) -> io::Result<usize> {
    let mut kept = VecDeque::new();
    let mut seen = 0;
    while let Some(file) = files.pop_back() {
        let lines = count_lines(&file).await?;
        kept.push_front(file);
        seen += lines;
        if seen >= wanted {
            break;
        }
    }
    *files = kept;
    Ok(seen.saturating_sub(wanted))
}

async fn count_lines(path: &Path) -> io::Result<usize> {
    let mut file = match File::open(path).await {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(error),
    };
    let mut chunk = vec![0; CHUNK];
    let mut lines = 0;
    loop {
        match file.read(&mut chunk).await? {
            0 => return Ok(lines),
            length => lines += chunk[..length].iter().filter(|byte| **byte == b'\n').count(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    fn log(directory: &Path, entries: &[&str]) -> PathBuf {
        let path = directory.join("0.log");
        let text: String = entries
            .iter()
            .enumerate()
            .map(|(at, entry)| format!("2026-01-01T00:00:0{at}.000000000Z {entry}\n"))
            .collect();
        fs::write(&path, text).expect("a log");
        path
    }

    async fn check(path: &Path, options: Options) -> String {
        let (sender, mut receiver) = mpsc::channel(16);
        read(path.to_owned(), options, || futures::future::ready(true).boxed(), sender).await.expect("read");
        let mut text = Vec::new();
        while let Some(part) = receiver.recv().await {
            text.extend(part);
        }
        String::from_utf8(text).expect("text")
    }

    #[tokio::test]
    async fn lines_are_filtered() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = log(directory.path(), &["stdout F a", "stderr F b", "stdout P c", "stdout F d"]);
        assert_eq!(check(&path, Options::default()).await, "a\nb\ncd\n");
        assert_eq!(check(&path, Options { tail_lines: Some(2), ..Options::default() }).await, "cd\n");
        assert_eq!(check(&path, Options { tail_lines: Some(0), ..Options::default() }).await, "");
        assert_eq!(check(&path, Options { limit_bytes: Some(3), ..Options::default() }).await, "a\nb");
        let since = "2026-01-01T00:00:02Z".parse().ok();
        assert_eq!(check(&path, Options { since, ..Options::default() }).await, "cd\n");
        let stamped = check(&path, Options { timestamps: true, tail_lines: Some(3), ..Options::default() }).await;
        assert_eq!(stamped, "2026-01-01T00:00:01.000000000Z b\n2026-01-01T00:00:02.000000000Z cd\n");
    }

    #[tokio::test]
    async fn files_put_aside_are_read_first() {
        let directory = tempfile::tempdir().expect("a directory");
        let old = log(directory.path(), &["stdout F old"]);
        fs::rename(&old, directory.path().join("0.log.20260101-000000")).expect("rotate");
        let path = log(directory.path(), &["stdout F new"]);
        assert_eq!(check(&path, Options::default()).await, "old\nnew\n");
        assert_eq!(check(&path, Options { tail_lines: Some(1), ..Options::default() }).await, "new\n");
    }

    #[test]
    fn the_tail_of_a_log_is_a_last_message() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = log(directory.path(), &["stdout F a", "stderr F b", "stderr F c"]);
        assert_eq!(tail_text(&path, 2, 100), "b\nc\n");
        assert_eq!(tail_text(&path, 80, 2), "c\n");
    }
}
