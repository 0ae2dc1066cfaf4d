//! Container logs: read from the CRI files, filtered, followed across rotations.

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::ops::ControlFlow;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio::sync::mpsc;

use super::log_changes::LogChanges;

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

/// Reads the log into `out` until its end, or with `follow` until the container has `ended` and everything was read.
pub async fn read(
    path: PathBuf,
    options: Options,
    ended: impl Future<Output = ()> + Send,
    out: mpsc::Sender<Vec<u8>>,
) -> io::Result<()> {
    let tail = options.tail_lines;
    // What is written from now on is noticed, what was written before is read.
    let mut changes = if options.follow { Some(LogChanges::of(&path)) } else { None };
    let mut reader = Reader::open(&path, tail).await?;
    let mut printer = Printer::new(options);
    tokio::pin!(ended);
    loop {
        if print_all(&mut reader, &mut printer, &out).await?.is_break() {
            return Ok(());
        }
        let Some(changed) = &mut changes else { return Ok(()) };
        tokio::select! {
            () = out.closed() => return Ok(()),
            // The container wrote until its end: one more look.
            () = &mut ended => changes = None,
            () = changed.next() => {}
        }
    }
}

/// All that there is now. Breaks when nobody wants more.
async fn print_all(
    reader: &mut Reader,
    printer: &mut Printer,
    out: &mpsc::Sender<Vec<u8>>,
) -> io::Result<ControlFlow<()>> {
    while let Some(lines) = reader.next().await? {
        let mut text = Vec::new();
        lines.iter().for_each(|line| printer.print(line, &mut text));
        if (!text.is_empty() && out.send(text).await.is_err()) || printer.is_full() {
            return Ok(ControlFlow::Break(()));
        }
    }
    Ok(ControlFlow::Continue(()))
}

/// Reads the files one after the other; the last one may be put aside while it is read.
struct Reader {
    path: PathBuf,
    earlier: VecDeque<PathBuf>,
    file: File,
    rest: Vec<u8>,
    /// Lines at the beginning that are not wanted.
    skip: usize,
    /// The file was put aside: what is at its end now is its last.
    is_put_aside: bool,
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
        Ok(Reader { path: path.to_owned(), earlier, file, rest: Vec::new(), skip, is_put_aside: false })
    }

    /// The next lines; None at the end of what there is now.
    async fn next(&mut self) -> io::Result<Option<Vec<Vec<u8>>>> {
        let mut chunk = vec![0; CHUNK];
        loop {
            match self.file.read(&mut chunk).await? {
                0 if !self.advance().await? => return Ok(None),
                0 => {}
                length => return Ok(Some(self.lines(&chunk[..length]))),
            }
        }
    }

    /// The whole lines of what was read.
    fn lines(&mut self, chunk: &[u8]) -> Vec<Vec<u8>> {
        self.rest.extend_from_slice(chunk);
        let Some(end) = self.rest.iter().rposition(|byte| *byte == b'\n') else { return Vec::new() };
        let whole: Vec<u8> = self.rest.drain(..=end).collect();
        let mut lines: Vec<Vec<u8>> = whole[..end].split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
        let skipped = self.skip.min(lines.len());
        self.skip -= skipped;
        lines.drain(..skipped);
        lines
    }

    /// At a file's end: whether there is more to read, in this file or the next.
    async fn advance(&mut self) -> io::Result<bool> {
        if let Some(next) = self.earlier.pop_front() {
            // Of many that were put aside, the oldest is dropped while it waits here.
            return match File::open(next).await {
                Ok(file) => Ok(self.turn_to(file)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
                Err(error) => Err(error),
            };
        }
        if !self.is_current().await? {
            if self.is_put_aside {
                return self.queue_later_files().await;
            }
            // Between our look and the renaming something may have been written.
            self.is_put_aside = true;
            return Ok(true);
        }
        Ok(false)
    }

    fn turn_to(&mut self, file: File) -> bool {
        self.file = file;
        self.is_put_aside = false;
        true
    }

    /// Whether the file still has the log's name, or nothing has it yet. One that was cut is read anew.
    async fn is_current(&mut self) -> io::Result<bool> {
        let named = match tokio::fs::metadata(&self.path).await {
            Ok(named) => named,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
            Err(error) => return Err(error),
        };
        let mine = self.file.metadata().await?;
        let is_same = is_same_file(&named, &mine);
        if is_same && named.len() < self.file.stream_position().await? {
            self.file.rewind().await?;
        }
        Ok(is_same)
    }

    /// The files after this one: the log may have been put aside more than once.
    async fn queue_later_files(&mut self) -> io::Result<bool> {
        let mine = self.file.metadata().await?;
        let all = files(&self.path)?;
        let is_mine = |file: &PathBuf| fs::metadata(file).is_ok_and(|named| is_same_file(&named, &mine));
        // One that is gone was older than all that are left.
        let later = all.iter().position(is_mine).map_or(0, |at| at + 1);
        self.earlier = all[later..].to_vec().into();
        Ok(!self.earlier.is_empty())
    }
}

fn is_same_file(one: &fs::Metadata, other: &fs::Metadata) -> bool {
    (one.dev(), one.ino()) == (other.dev(), other.ino())
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
        read(path.to_owned(), options, std::future::ready(()), sender).await.expect("read");
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

    fn write(path: &Path, texts: &[&str]) {
        use std::io::Write;
        let mut file = fs::OpenOptions::new().create(true).append(true).open(path).expect("a log");
        for text in texts {
            writeln!(file, "2026-01-01T00:00:00.000000000Z stdout F {text}").expect("written");
        }
    }

    /// A follower of the log in `directory`, what it has read, and what ends the container.
    fn follow(path: &Path, tasks: &rt::TaskSet) -> (mpsc::Receiver<Vec<u8>>, tokio::sync::oneshot::Sender<()>) {
        let (sender, receiver) = mpsc::channel(1);
        let (end, ended) = tokio::sync::oneshot::channel();
        let (path, options) = (path.to_owned(), Options { follow: true, ..Options::default() });
        tasks.spawn("follower", async move {
            read(path, options, async { drop(ended.await) }, sender).await.expect("read");
        });
        (receiver, end)
    }

    async fn expect(receiver: &mut mpsc::Receiver<Vec<u8>>, wanted: &str) {
        let mut text = Vec::new();
        while text.len() < wanted.len() {
            text.extend(receiver.recv().await.expect("more"));
        }
        assert_eq!(String::from_utf8(text).expect("text"), wanted);
    }

    #[tokio::test]
    async fn a_follower_sees_each_line_and_the_last_ones_before_the_end() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = log(directory.path(), &["stdout F a"]);
        let tasks = rt::TaskSet::new();
        let (mut receiver, end) = follow(&path, &tasks);
        expect(&mut receiver, "a\n").await;
        for text in ["b", "c"] {
            write(&path, &[text]);
            expect(&mut receiver, &format!("{text}\n")).await;
        }
        write(&path, &["d"]);
        end.send(()).expect("it follows");
        expect(&mut receiver, "d\n").await;
        assert_eq!(receiver.recv().await, None);
        tasks.shutdown().await;
    }

    #[tokio::test]
    async fn a_follower_loses_nothing_when_the_log_is_put_aside_again_and_again() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = log(directory.path(), &["stdout F first"]);
        let tasks = rt::TaskSet::new();
        let (mut receiver, end) = follow(&path, &tasks);
        expect(&mut receiver, "first\n").await;
        // All in one turn of the follower: it wakes to find two files that it never saw.
        for number in 0..3 {
            write(&path, &[&format!("late {number}")]);
            fs::rename(&path, directory.path().join(format!("0.log.20260101-00000{number}"))).expect("rotate");
        }
        write(&path, &["current"]);
        expect(&mut receiver, "late 0\nlate 1\nlate 2\ncurrent\n").await;
        drop(end);
        assert_eq!(receiver.recv().await, None);
        tasks.shutdown().await;
    }

    #[tokio::test]
    async fn a_follower_whom_nobody_reads_ends() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = log(directory.path(), &["stdout F a"]);
        let tasks = rt::TaskSet::new();
        let (receiver, _end) = follow(&path, &tasks);
        drop(receiver);
        tasks.join().await;
    }

    #[test]
    fn the_tail_of_a_log_is_a_last_message() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = log(directory.path(), &["stdout F a", "stderr F b", "stderr F c"]);
        assert_eq!(tail_text(&path, 2, 100), "b\nc\n");
        assert_eq!(tail_text(&path, 80, 2), "c\n");
    }
}
