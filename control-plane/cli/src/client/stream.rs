//! Server-sent events (WHATWG HTML, 9.2): read piece by piece, and taken up again where they broke off.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use reqwest::Method;
use reqwest::header::ACCEPT;

use super::Client;
use crate::failure::Failure;
use crate::output::remark;

/// LIMIT: bytes of one event: the largest value of an event (64 KiB) many times.
const EVENT_BYTES_MAX: usize = 1024 * 1024;
/// LIMIT: how long a control plane that went away is waited for; who follows through longer outages is started again.
const RETURN_TIMEOUT: Duration = Duration::from_mins(1);
const RETRY_MIN: Duration = Duration::from_millis(250);
const RETRY_MAX: Duration = Duration::from_secs(5);

/// Makes events of the bytes of a stream.
#[derive(Debug, Default)]
struct Parser {
    line: Vec<u8>,
    data: String,
    id: Option<String>,
    /// A part of the id that is another one now, as streams of logs say it.
    position: Option<String>,
    /// The id of the last event that was whole, or where the stream began.
    last_id: Option<String>,
}

/// A line that never ends.
#[derive(Debug, PartialEq, Eq)]
struct TooLong;

impl Parser {
    /// The data of the events that are whole with these bytes.
    fn feed(&mut self, bytes: &[u8]) -> Result<Vec<String>, TooLong> {
        let mut events = Vec::new();
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.line.extend_from_slice(part);
            if self.line.len() + self.data.len() > EVENT_BYTES_MAX {
                return Err(TooLong);
            }
            if part.ends_with(b"\n") {
                let line = std::mem::take(&mut self.line);
                let line = String::from_utf8_lossy(&line);
                events.extend(self.line(line.trim_end_matches(['\r', '\n'])));
            }
        }
        Ok(events)
    }

    fn line(&mut self, line: &str) -> Option<String> {
        if line.is_empty() {
            let position = self.position.take();
            self.last_id = self.id.take().or_else(|| self.last_id.take());
            if let (Some(position), Some(last)) = (position, &mut self.last_id) {
                *last = with_part(last, &position);
            }
            let data = std::mem::take(&mut self.data);
            return data.strip_suffix('\n').map(str::to_owned);
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "data" => {
                self.data.push_str(value);
                self.data.push('\n');
            }
            "id" => self.id = Some(value.to_owned()),
            "position" => self.position = Some(value.to_owned()),
            _ => {}
        }
        None
    }
}

/// A cursor with one of its parts in the place of the one of the same name.
fn with_part(cursor: &str, part: &str) -> String {
    let name = |part: &str| part.split_once('=').map(|(name, _)| name.to_owned());
    let others = cursor.split(',').filter(|other| !other.is_empty() && name(other) != name(part));
    others.chain([part]).collect::<Vec<_>>().join(",")
}

/// A stream of events of the control plane.
#[derive(Debug)]
pub(crate) struct Stream<'c> {
    client: &'c Client,
    http: reqwest::Client,
    path: &'c [&'c str],
    query: Vec<(&'static str, String)>,
    answer: reqwest::Response,
    parser: Parser,
    waiting: VecDeque<String>,
}

impl<'c> Stream<'c> {
    pub(super) async fn open(
        client: &'c Client,
        http: reqwest::Client,
        path: &'c [&'c str],
        query: Vec<(&'static str, String)>,
    ) -> Result<Self, Failure> {
        let answer = ask(client, &http, path, &query, None).await?;
        Ok(Self { client, http, path, query, answer, parser: Parser::default(), waiting: VecDeque::new() })
    }

    /// The data of the next event. `None`: the stream is over, and can't be taken up again.
    pub(crate) async fn next(&mut self) -> Result<Option<String>, Failure> {
        loop {
            if let Some(event) = self.waiting.pop_front() {
                return Ok(Some(event));
            }
            let lost = match self.answer.chunk().await {
                Ok(Some(bytes)) => {
                    let events = self.parser.feed(&bytes).map_err(|TooLong| Failure::Usage {
                        what: format!("an event has more than {EVENT_BYTES_MAX} bytes: is this a control plane?"),
                    })?;
                    self.waiting.extend(events);
                    continue;
                }
                Ok(None) => None,
                Err(cause) => Some(self.client.unreachable(cause)),
            };
            if self.parser.last_id.is_none() {
                return lost.map_or(Ok(None), Err);
            }
            self.take_up().await?;
        }
    }

    /// Opens it again behind the last event that came.
    async fn take_up(&mut self) -> Result<(), Failure> {
        let begun = Instant::now();
        let mut pause = RETRY_MIN;
        let mut is_told = false;
        loop {
            let last = self.parser.last_id.as_deref();
            match ask(self.client, &self.http, self.path, &self.query, last).await {
                Ok(answer) => {
                    self.answer = answer;
                    // What had come of an event comes again.
                    self.parser = Parser { last_id: self.parser.last_id.take(), ..Parser::default() };
                    return Ok(());
                }
                Err(failure) if failure.exit_code() == 8 && begun.elapsed() < RETURN_TIMEOUT => {
                    if !std::mem::replace(&mut is_told, true) {
                        remark("the control plane went away: waiting for it, and going on where it was");
                    }
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(RETRY_MAX);
                }
                Err(failure) => return Err(failure),
            }
        }
    }
}

async fn ask(
    client: &Client,
    http: &reqwest::Client,
    path: &[&str],
    query: &[(&'static str, String)],
    last: Option<&str>,
) -> Result<reqwest::Response, Failure> {
    let mut call = client.call(http, Method::GET, path, query).header(ACCEPT, "text/event-stream");
    if let Some(last) = last {
        call = call.header("last-event-id", last);
    }
    client.granted(call).await
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "id: 7\n\n: nothing new\n\nid: 8\nevent: archive\ndata: {\"a\":1}\n\nid:9\r\ndata:one\r\ndata: zwei ü\r\n\r\nretry: 5\n\nid: 10\ndata: cut";

    #[test]
    fn events_are_the_same_however_they_are_cut() {
        for size in 1..=TEXT.len() {
            let mut parser = Parser::default();
            let mut events = Vec::new();
            for piece in TEXT.as_bytes().chunks(size) {
                events.extend(parser.feed(piece).unwrap());
            }
            assert_eq!(events, ["{\"a\":1}", "one\nzwei ü"], "in pieces of {size}");
            assert_eq!(parser.last_id.as_deref(), Some("9"), "what was cut comes again");
        }
    }

    #[test]
    fn a_stream_knows_where_it_began_before_any_event() {
        let mut parser = Parser::default();
        assert_eq!(parser.feed(b"id: 41\n\n"), Ok(Vec::new()));
        assert_eq!(parser.last_id.as_deref(), Some("41"));
    }

    #[test]
    fn a_part_of_a_cursor_takes_the_place_of_its_former_one_when_its_event_is_whole() {
        let mut parser = Parser::default();
        parser.feed(b"id: a=1.1=0.0,b=0.0=0.0\n\n").unwrap();
        parser.feed(b"position: b=2.1=0.0\nevent: line\ndata: {}\n\n").unwrap();
        assert_eq!(parser.last_id.as_deref(), Some("a=1.1=0.0,b=2.1=0.0"));
        parser.feed(b"position: c=3.1=0.0\ndata: {}\n\nposition: a=9.9=0.0\ndata: cut").unwrap();
        assert_eq!(parser.last_id.as_deref(), Some("a=1.1=0.0,b=2.1=0.0,c=3.1=0.0"));
        parser.feed(b"\n\nid: a=8.1=0.0\n\n").unwrap();
        assert_eq!(parser.last_id.as_deref(), Some("a=8.1=0.0"));
    }

    #[test]
    fn an_event_without_end_is_not_kept() {
        let mut parser = Parser::default();
        let piece = vec![b'x'; EVENT_BYTES_MAX];
        assert_eq!(parser.feed(&piece), Ok(Vec::new()));
        assert_eq!(parser.feed(b"x"), Err(TooLong));
    }
}
