//! What a container wrote, over its restarts: the engine ends its answer with each end of the container.

use std::sync::Arc;
use std::time::Duration;

use bollard::container::LogOutput as Frame;
use bollard::query_parameters::LogsOptions;
use futures_util::{StreamExt as _, stream};
use tokio::sync::mpsc;

use super::engine::{Engine, Failure};
use crate::platform::{LogLine, LogOutput, LogQuery, LogStream, PlatformError};

/// LIMIT: lines that are read for one question.
const TAIL_LINES_MAX: usize = 10_000;
/// LIMIT: lines that wait for a slow reader; the engine holds the rest.
const WAITING_LINES_MAX: usize = 64;
/// How often is looked whether a container that ended runs again.
const FOLLOW_INTERVAL: Duration = Duration::from_millis(250);

type Lines = mpsc::Sender<Result<LogLine, PlatformError>>;

/// Reads the last lines of a container, and those that come if they are wanted.
pub(super) fn read(engine: Arc<Engine>, container: String, query: LogQuery) -> LogStream {
    let (sender, receiver) = mpsc::channel(WAITING_LINES_MAX);
    tokio::spawn(async move {
        let mut reader = Reader { engine, container, positions: Positions::default(), sender };
        if let Err(Stop::Failed(failure)) = reader.read(query).await {
            let error = reader.engine.error("tell what an instance wrote", failure);
            // Nobody may listen any more.
            drop(reader.sender.send(Err(error)).await);
        }
    });
    let next = async |mut receiver: mpsc::Receiver<_>| receiver.recv().await.map(|line| (line, receiver));
    Box::pin(stream::unfold(receiver, next))
}

/// Why reading ends.
enum Stop {
    /// Nobody listens, or the container is gone.
    Done,
    /// The engine does not tell more.
    Failed(Failure),
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        // In conflict with the question is one that is being removed.
        if failure.is_absent() || failure.is_conflict() { Self::Done } else { Self::Failed(failure) }
    }
}

struct Reader {
    engine: Arc<Engine>,
    container: String,
    positions: Positions,
    sender: Lines,
}

impl Reader {
    async fn read(&mut self, query: LogQuery) -> Result<(), Stop> {
        let mut tail = query.tail_lines.min(TAIL_LINES_MAX).to_string();
        loop {
            let before = self.look().await?;
            self.read_once(std::mem::replace(&mut tail, "all".to_owned()), query.is_following).await?;
            if !query.is_following {
                return Ok(());
            }
            // It ended: what it wrote last is read once more, and again when it runs again.
            while self.look().await? == before {
                tokio::select! {
                    () = self.sender.closed() => return Err(Stop::Done),
                    () = tokio::time::sleep(FOLLOW_INTERVAL) => {}
                }
            }
        }
    }

    /// What changes with each start and each end.
    async fn look(&self) -> Result<impl PartialEq + use<>, Stop> {
        let told = self.engine.look(|docker| docker.inspect_container(&self.container, None)).await?;
        let state = told.state.unwrap_or_default();
        Ok((state.status, state.started_at, state.finished_at))
    }

    async fn read_once(&mut self, tail: String, follow: bool) -> Result<(), Stop> {
        let since = self.positions.since_seconds();
        let options = LogsOptions { follow, stdout: true, stderr: true, timestamps: true, tail, since, until: 0 };
        let mut frames = self.engine.streams().await?.logs(&self.container, Some(options)).boxed();
        loop {
            let frame = if follow {
                tokio::select! {
                    () = self.sender.closed() => return Err(Stop::Done),
                    frame = frames.next() => frame,
                }
            } else {
                let frame = tokio::time::timeout(self.engine.patience.pause, frames.next()).await;
                frame.map_err(|_| Failure::Silent("what an instance wrote stopped coming".to_owned()))?
            };
            let Some(frame) = frame else { return Ok(()) };
            let Some(line) = self.positions.line(&frame.map_err(Failure::from)?) else { continue };
            self.sender.send(Ok(line)).await.map_err(|_| Stop::Done)?;
        }
    }
}

/// How far both outputs were read. Each is in the order of its times; the two of them together are not.
#[derive(Debug, Default)]
struct Positions {
    out: Position,
    error: Position,
}

/// The time of the last line that was read, how many there were of that time, and how many were passed by since.
#[derive(Debug, Default)]
struct Position {
    at_nanoseconds: i128,
    lines: usize,
    passed: usize,
}

impl Positions {
    /// From where to read on; the engine takes whole seconds. What comes again is passed by.
    fn since_seconds(&mut self) -> i32 {
        self.out.passed = 0;
        self.error.passed = 0;
        let both = [&self.out, &self.error].into_iter().filter(|position| position.lines > 0);
        let earliest = both.map(|position| position.at_nanoseconds).min().unwrap_or_default();
        i32::try_from(earliest / 1_000_000_000).unwrap_or(i32::MAX)
    }

    /// The line of a frame; `None`: it was read before, or is none.
    fn line(&mut self, frame: &Frame) -> Option<LogLine> {
        let (output, position, bytes) = match frame {
            Frame::StdOut { message } => (LogOutput::Out, &mut self.out, message),
            Frame::StdErr { message } => (LogOutput::Error, &mut self.error, message),
            Frame::StdIn { .. } | Frame::Console { .. } => return None,
        };
        let text = String::from_utf8_lossy(bytes);
        let (time, text) = text.split_once(' ')?;
        let at = time.parse::<jiff::Timestamp>().ok()?;
        if !position.take(at.as_nanosecond()) {
            return None;
        }
        let text = text.strip_suffix('\n').unwrap_or(text);
        let text = text.strip_suffix('\r').unwrap_or(text).to_owned();
        Some(LogLine { at_unix_ms: u64::try_from(at.as_millisecond()).ok()?, output, text })
    }
}

impl Position {
    /// Whether a line of this time is a new one.
    fn take(&mut self, at_nanoseconds: i128) -> bool {
        match at_nanoseconds.cmp(&self.at_nanoseconds) {
            std::cmp::Ordering::Less => false,
            std::cmp::Ordering::Equal if self.passed < self.lines => {
                self.passed += 1;
                false
            }
            std::cmp::Ordering::Equal => {
                self.lines += 1;
                self.passed = self.lines;
                true
            }
            std::cmp::Ordering::Greater => {
                *self = Self { at_nanoseconds, lines: 1, passed: 1 };
                true
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(output: LogOutput, text: &str) -> Frame {
        let message = text.to_owned().into();
        match output {
            LogOutput::Out => Frame::StdOut { message },
            LogOutput::Error => Frame::StdErr { message },
        }
    }

    fn texts(positions: &mut Positions, frames: &[Frame]) -> Vec<String> {
        frames.iter().filter_map(|frame| positions.line(frame)).map(|line| line.text).collect()
    }

    #[test]
    fn what_comes_again_after_a_restart_is_passed_by_and_nothing_else_is() {
        let before = [
            frame(LogOutput::Out, "1970-01-01T00:00:05.000000001Z one\n"),
            frame(LogOutput::Error, "1970-01-01T00:00:07.1Z two\r\n"),
            frame(LogOutput::Out, "1970-01-01T00:00:06.9Z same time\n"),
            frame(LogOutput::Out, "1970-01-01T00:00:06.9Z same time\n"),
        ];
        let mut positions = Positions::default();
        assert_eq!(positions.since_seconds(), 0);
        assert_eq!(texts(&mut positions, &before), ["one", "two", "same time", "same time"]);
        assert_eq!(positions.since_seconds(), 6);
        let after = [
            &before[2..],
            &[
                frame(LogOutput::Out, "1970-01-01T00:00:06.9Z same time\n"),
                frame(LogOutput::Error, "1970-01-01T00:00:07.1Z two\n"),
                frame(LogOutput::Error, "1970-01-01T00:00:07.2Z three"),
            ],
        ]
        .concat();
        assert_eq!(texts(&mut positions, &after), ["same time", "three"]);
    }

    #[test]
    fn what_has_no_time_is_no_line() {
        let mut positions = Positions::default();
        assert_eq!(texts(&mut positions, &[frame(LogOutput::Out, "hello\n"), frame(LogOutput::Out, "")]), [""; 0]);
        let line = positions.line(&frame(LogOutput::Error, "1970-01-01T00:00:01.25Z a b \n")).unwrap();
        assert_eq!((line.at_unix_ms, line.output, line.text.as_str()), (1_250, LogOutput::Error, "a b "));
    }
}
