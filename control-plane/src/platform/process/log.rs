//! What an instance writes: lines with their time, in files of bounded size.
//!
//! The newest file is `log/0`; a full one becomes `log/1`, and so on; the last one goes. A line is
//! `MILLISECONDS o TEXT`, with `e` for standard error.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::stream;
use tokio::sync::mpsc;

use crate::platform::{LogLine, LogOutput, LogQuery, LogStream, PlatformError};

/// LIMIT: a longer line is cut into several: what is read of it must fit into memory many times.
const LINE_BYTES_MAX: usize = 16 << 10;
/// LIMIT: files of one instance, so that it takes four times the size of one at most.
const FILES: u32 = 4;
/// LIMIT: lines that are read for one question, all in memory at once.
const TAIL_LINES_MAX: usize = 10_000;
/// LIMIT: lines that wait for a slow reader; the files hold the rest.
const WAITING_LINES_MAX: usize = 64;
/// How often a file is looked at for more.
const FOLLOW_INTERVAL: Duration = Duration::from_millis(100);

/// Writes the files. What can't be written is lost: an instance never waits for a disk that is full.
#[derive(Debug)]
pub(super) struct Writer {
    folder: PathBuf,
    file: File,
    bytes: u64,
    bytes_max: u64,
}

impl Writer {
    /// Goes on where the last one ended.
    pub(super) fn open(folder: PathBuf, bytes_max: u64) -> io::Result<Self> {
        let file = open_newest(&folder)?;
        let bytes = file.metadata()?.len();
        Ok(Self { folder, file, bytes, bytes_max })
    }

    fn write(&mut self, output: LogOutput, text: &[u8], at_unix_ms: u64) {
        let mark = if output == LogOutput::Out { 'o' } else { 'e' };
        let mut line = format!("{at_unix_ms} {mark} ").into_bytes();
        line.extend_from_slice(text);
        line.push(b'\n');
        if self.bytes > 0
            && self.bytes + line.len() as u64 > self.bytes_max
            && let Err(error) = self.rotate()
        {
            tracing::warn!("log files in {} can't be rotated: {error}", self.folder.display());
        }
        // Also when the disk is full again and again: counted as written, so that the files stay within their bound.
        self.bytes += line.len() as u64;
        drop(self.file.write_all(&line));
    }

    fn rotate(&mut self) -> io::Result<()> {
        for number in (0..FILES - 1).rev() {
            match std::fs::rename(file(&self.folder, number), file(&self.folder, number + 1)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        self.file = open_newest(&self.folder)?;
        self.bytes = 0;
        Ok(())
    }
}

fn file(folder: &Path, number: u32) -> PathBuf {
    folder.join(number.to_string())
}

fn open_newest(folder: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(0o600).open(file(folder, 0))
}

/// Makes lines of what comes out of one pipe.
#[derive(Debug)]
pub(super) struct Lines {
    output: LogOutput,
    open: Vec<u8>,
}

impl Lines {
    /// For one output of the instance.
    pub(super) fn new(output: LogOutput) -> Self {
        Self { output, open: Vec::new() }
    }

    /// Writes the lines that are whole.
    pub(super) fn take(&mut self, bytes: &[u8], writer: &mut Writer, now_unix_ms: u64) {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            for part in part.chunks(LINE_BYTES_MAX) {
                self.open.extend_from_slice(part);
                if part.ends_with(b"\n") || self.open.len() >= LINE_BYTES_MAX {
                    self.end(writer, now_unix_ms);
                }
            }
        }
    }

    /// Writes a line that has begun.
    pub(super) fn end(&mut self, writer: &mut Writer, now_unix_ms: u64) {
        let line = std::mem::take(&mut self.open);
        let line = line.strip_suffix(b"\n").unwrap_or(&line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        writer.write(self.output, line, now_unix_ms);
    }

    /// Whether a line has begun.
    pub(super) fn is_open(&self) -> bool {
        !self.open.is_empty()
    }
}

/// Reads the last lines, and those that come if they are wanted.
pub(super) fn read(folder: &Path, query: LogQuery) -> Result<LogStream, PlatformError> {
    let failed = |cause| PlatformError::File { path: folder.to_owned(), cause };
    let (lines, newest) = tail(folder, query.tail_lines.min(TAIL_LINES_MAX)).map_err(failed)?;
    let (sender, receiver) = mpsc::channel(WAITING_LINES_MAX);
    let folder = folder.to_owned();
    tokio::spawn(async move {
        for line in lines {
            if sender.send(Ok(line)).await.is_err() {
                return;
            }
        }
        if let Some(newest) = newest.filter(|_| query.is_following) {
            follow(&folder, newest, &sender).await;
        }
    });
    let next = async |mut receiver: mpsc::Receiver<_>| receiver.recv().await.map(|line| (line, receiver));
    Ok(Box::pin(stream::unfold(receiver, next)))
}

/// The last lines, and the newest file behind the last one of them.
fn tail(folder: &Path, count: usize) -> io::Result<(Vec<LogLine>, Option<BufReader<File>>)> {
    let mut newest = None;
    let mut lines: Vec<LogLine> = Vec::new();
    // Opened from the newest on: a file that is renamed meanwhile is read twice rather than left out, and twice is seen.
    let mut seen = Vec::new();
    for number in 0..FILES {
        let opened = match File::open(file(folder, number)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            opened => opened?,
        };
        let inode = opened.metadata()?.ino();
        if seen.contains(&inode) {
            continue;
        }
        seen.push(inode);
        let mut reader = BufReader::new(opened);
        let mut older = read_lines(&mut reader)?;
        newest.get_or_insert(reader);
        older.append(&mut lines);
        lines = older;
        if lines.len() >= count {
            break;
        }
    }
    lines.drain(..lines.len().saturating_sub(count));
    Ok((lines, newest))
}

/// All whole lines from where the reader is; it stays before one that is being written.
fn read_lines(reader: &mut BufReader<File>) -> io::Result<Vec<LogLine>> {
    let mut lines = Vec::new();
    let mut bytes = Vec::new();
    while reader.read_until(b'\n', &mut bytes)? > 0 {
        if !bytes.ends_with(b"\n") {
            let back = i64::try_from(bytes.len()).unwrap_or_default();
            reader.seek_relative(-back)?;
            break;
        }
        lines.extend(parse(&bytes));
        bytes.clear();
    }
    Ok(lines)
}

fn parse(line: &[u8]) -> Option<LogLine> {
    let text = String::from_utf8_lossy(line.strip_suffix(b"\n").unwrap_or(line));
    let (at, rest) = text.split_once(' ')?;
    let (mark, text) = rest.split_once(' ')?;
    let output = if mark == "o" { LogOutput::Out } else { LogOutput::Error };
    Some(LogLine { at_unix_ms: at.parse().ok()?, output, text: text.to_owned() })
}

async fn follow(folder: &Path, mut reader: BufReader<File>, sender: &mpsc::Sender<Result<LogLine, PlatformError>>) {
    let newest = file(folder, 0);
    while !sender.is_closed() {
        // Whether another file is the newest one is asked first: what is then read is all of the old one.
        let inode = reader.get_ref().metadata().map(|found| found.ino()).unwrap_or_default();
        let is_newest = std::fs::metadata(&newest).map(|found| found.ino() == inode);
        for line in read_lines(&mut reader).unwrap_or_default() {
            if sender.send(Ok(line)).await.is_err() {
                return;
            }
        }
        match is_newest {
            Ok(true) => tokio::time::sleep(FOLLOW_INTERVAL).await,
            Ok(false) => match next_after(folder, inode) {
                Some(next) => reader = next,
                None => return,
            },
            // Removed, or between two names.
            Err(_) if folder.exists() => tokio::time::sleep(FOLLOW_INTERVAL).await,
            Err(_) => return,
        }
    }
}

/// The file that came after this one: its next newer neighbour, or the oldest that is left if it is gone itself.
fn next_after(folder: &Path, inode: u64) -> Option<BufReader<File>> {
    let mut next = None;
    for number in 0..FILES {
        let Ok(opened) = File::open(file(folder, number)) else { continue };
        if opened.metadata().ok()?.ino() == inode {
            break;
        }
        next = Some(BufReader::new(opened));
    }
    next
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt as _;

    use super::*;

    fn write(writer: &mut Writer, output: LogOutput, text: &str) {
        Lines::new(output).take(text.as_bytes(), writer, 7);
    }

    async fn texts(folder: &Path, tail_lines: usize) -> Vec<String> {
        let lines = read(folder, LogQuery { tail_lines, is_following: false }).unwrap();
        lines.map(|line| line.unwrap().text).collect().await
    }

    #[tokio::test]
    async fn files_stay_within_their_bound_and_the_newest_lines_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = Writer::open(folder.path().to_owned(), 1_000).unwrap();
        for number in 0..1_000 {
            write(&mut writer, LogOutput::Out, &format!("line {number}\n"));
        }
        let sizes: Vec<u64> =
            std::fs::read_dir(folder.path()).unwrap().map(|one| one.unwrap().metadata().unwrap().len()).collect();
        assert!(sizes.len() == FILES as usize && sizes.iter().all(|size| *size <= 1_000), "{sizes:?}");
        assert_eq!(texts(folder.path(), 2).await, ["line 998", "line 999"]);
        // Over the border of two files.
        let many = texts(folder.path(), 100).await;
        assert_eq!(many.first().map(String::as_str), Some("line 900"));
        drop(writer);
        let mut writer = Writer::open(folder.path().to_owned(), 1_000).unwrap();
        write(&mut writer, LogOutput::Error, "after\n");
        assert_eq!(texts(folder.path(), 2).await, ["line 999", "after"]);
    }

    #[tokio::test]
    async fn a_follower_misses_nothing_while_files_are_rotated() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = Writer::open(folder.path().to_owned(), 200).unwrap();
        write(&mut writer, LogOutput::Out, "line 0\n");
        let mut lines = read(folder.path(), LogQuery { tail_lines: 1, is_following: true }).unwrap();
        for number in 1..200 {
            write(&mut writer, LogOutput::Out, &format!("line {number}\n"));
            let read = lines.next().await.unwrap().unwrap().text;
            assert_eq!(read, format!("line {}", number - 1));
        }
        drop(folder);
        assert_eq!(lines.next().await.unwrap().unwrap().text, "line 199");
        assert!(lines.next().await.is_none(), "the folder is gone");
    }

    #[test]
    fn lines_are_cut_where_they_are_too_long_and_keep_what_they_say() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = Writer::open(folder.path().to_owned(), 1 << 20).unwrap();
        let mut lines = Lines::new(LogOutput::Error);
        lines.take(b"one\r\ntw", &mut writer, 1);
        lines.take(b"o\n", &mut writer, 2);
        lines.take(&vec![b'x'; LINE_BYTES_MAX + 1], &mut writer, 3);
        assert!(lines.is_open());
        lines.end(&mut writer, 4);
        let (read, _) = tail(folder.path(), 10).unwrap();
        let told: Vec<_> = read.iter().map(|line| (line.at_unix_ms, line.text.len(), line.output)).collect();
        let error = LogOutput::Error;
        assert_eq!(told, [(1, 3, error), (2, 3, error), (3, LINE_BYTES_MAX, error), (4, 1, error)]);
        assert_eq!(read[1].text, "two");
    }
}
