//! What instances of deployments write: the last lines, and those that come.

mod cursor;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, Response, StatusCode};
use futures_util::stream::{self, BoxStream, SelectAll};
use futures_util::{StreamExt as _, future};
use serde_json::{Value, json};
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::Instant;
use vamp_model::Kind;

use cursor::{Cursor, Followed};

use super::ask::{Api, Ask};
use super::endpoints::Answer;
use super::problem::Problem;
use super::query::{Parameter, TAIL_LINES_MAX};
use super::{read, time};
use crate::causes::with_causes;
use crate::core::now_unix_ms;
use crate::platform::{LogLine, LogOutput, LogQuery, PlatformError};
use crate::reconcile::Source;

/// LIMIT: bytes of the lines of one answer; older lines are left out.
const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;
/// LIMIT: how long a platform may take for the lines that are there.
const READ_TIMEOUT: Duration = Duration::from_secs(20);
/// LIMIT: instances that one client follows; each is a file or a connection.
const FOLLOWED_MAX: usize = 100;
/// How often who follows looks for instances that came.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// Sent when there is nothing to send, so that proxies keep the connection.
const HEARTBEAT_EVERY: Duration = Duration::from_secs(15);

/// Where a client that lost its stream says how far it came.
const LAST_EVENT_ID: &str = "last-event-id";

/// Whose lines are wanted.
#[derive(Debug, Clone)]
struct Wanted {
    deployment: String,
    cluster: Option<String>,
    service: Option<String>,
    instance: Option<String>,
}

impl Wanted {
    fn of(ask: &Ask) -> Self {
        let text = |parameter| ask.query.text(parameter).map(str::to_owned);
        Self {
            deployment: ask.name().to_owned(),
            cluster: text(Parameter::Cluster),
            service: text(Parameter::Service),
            instance: text(Parameter::Instance),
        }
    }

    async fn sources(&self, api: &Api) -> Result<Vec<Source>, PlatformError> {
        let is = |wanted: &Option<String>, found: &str| wanted.as_deref().is_none_or(|wanted| wanted == found);
        let mut sources = api.platforms.sources(&self.deployment).await?;
        sources.retain(|source| {
            is(&self.cluster, &source.cluster)
                && is(&self.service, &source.service)
                && is(&self.instance, source.id.as_str())
        });
        Ok(sources)
    }
}

/// Instances that there are, or why none can be read.
async fn sources(ask: &Ask) -> Result<Vec<Source>, Problem> {
    let wanted = Wanted::of(ask);
    let sources = wanted.sources(&ask.api).await.map_err(|error| silent(&error))?;
    if !sources.is_empty() {
        return Ok(sources);
    }
    match ask.api.core.artifact(Kind::Deployment, ask.name()).await {
        Ok(Some(_)) => {
            let what = format!("deployment `{}` has no such instance: its `status` lists them", ask.name());
            Err(Problem::no_part(what))
        }
        Ok(None) => Err(read::missing(ask, Kind::Deployment).await),
        Err(error) => Err(Problem::database("reading the database", &error)),
    }
}

fn silent(error: &PlatformError) -> Problem {
    tracing::warn!(cause = %with_causes(error), "logs can't be read");
    Problem::unavailable("the platform of the instances does not answer", "the log of the control plane has the cause")
}

/// `GET /api/v1/deployments/{name}/logs`
pub(super) async fn last(ask: Ask) -> Answer {
    let tail = ask.query.tail()?;
    let sources = sources(&ask).await?;
    let mut newest = Newest::new(tail);
    for source in &sources {
        let read = async {
            let query = LogQuery { tail_lines: tail, is_following: false };
            let mut lines = source.read(query).await?;
            while let Some(line) = lines.next().await {
                let line = line?;
                newest.add(line.at_unix_ms, line.text.len(), value(source, &line));
            }
            Ok(())
        };
        match tokio::time::timeout(READ_TIMEOUT, read).await {
            // One that was removed since it was listed has no lines any more.
            Ok(Ok(()) | Err(PlatformError::NotFound { .. })) => {}
            Ok(Err(error)) => return Err(silent(&error)),
            Err(_) => {
                return Err(Problem::unavailable("the platform takes too long for its logs", "ask for fewer lines"));
            }
        }
        newest.shrink();
    }
    Ok(ask.written.answer(StatusCode::OK, &Value::Array(newest.into_values())))
}

/// The newest lines of all instances, within their bounds.
struct Newest {
    tail: usize,
    lines: VecDeque<(u64, usize, Value)>,
    bytes: usize,
    /// Lines of the instance that is read are in order: sorted once, at its end.
    is_sorted: bool,
}

impl Newest {
    fn new(tail: usize) -> Self {
        Self { tail, lines: VecDeque::new(), bytes: 0, is_sorted: true }
    }

    fn add(&mut self, at_unix_ms: u64, bytes: usize, line: Value) {
        self.bytes += bytes;
        self.lines.push_back((at_unix_ms, bytes, line));
        self.is_sorted = false;
        if self.bytes > 2 * ANSWER_BYTES_MAX {
            self.shrink();
        }
    }

    fn shrink(&mut self) {
        if !std::mem::replace(&mut self.is_sorted, true) {
            self.lines.make_contiguous().sort_by_key(|(at, ..)| *at);
        }
        while self.lines.len() > self.tail || self.bytes > ANSWER_BYTES_MAX {
            let Some((_, bytes, _)) = self.lines.pop_front() else { return };
            self.bytes -= bytes;
        }
    }

    fn into_values(mut self) -> Vec<Value> {
        self.shrink();
        self.lines.into_iter().map(|(.., value)| value).collect()
    }
}

fn value(source: &Source, line: &LogLine) -> Value {
    json!({
        "at": time(line.at_unix_ms),
        "cluster": source.cluster,
        "service": source.service,
        "instance": source.id.to_string(),
        "output": if line.output == LogOutput::Out { "stdout" } else { "stderr" },
        "text": line.text,
    })
}

/// `GET /api/v1/deployments/{name}/logs/stream`
pub(super) async fn follow(ask: Ask) -> Answer {
    let tail = ask.query.tail()?;
    let place = Arc::clone(&ask.api.streams).try_acquire_owned();
    let place = place.map_err(|_| Problem::busy("too many streams"))?;
    let resumed = match ask.headers.get(LAST_EVENT_ID) {
        Some(cursor) => Some(cursor.to_str().ok().and_then(Followed::read_all).ok_or_else(unknown_cursor)?),
        None => None,
    };
    // That there are some is asked before the answer begins; those that come later are found on the way. Who goes on
    // may find none for a while: they are replaced, or on their way back.
    let found = sources(&ask).await;
    let is_there = || async { matches!(ask.api.core.artifact(Kind::Deployment, ask.name()).await, Ok(Some(_))) };
    if let Err(problem) = found
        && !(resumed.is_some() && problem.is_not_found() && is_there().await)
    {
        return Err(problem);
    }
    let follower = Follower {
        wanted: Wanted::of(&ask),
        first: if resumed.is_some() { First::Over(BTreeSet::new()) } else { First::NotSeen },
        tail,
        lines: SelectAll::new(),
        known: resumed.unwrap_or_default(),
        cursor: Cursor::default(),
        has_begun: false,
        next_look: Instant::now(),
        told_at: Instant::now(),
        stopping: ask.api.stopping.clone(),
        api: ask.api,
        _place: place,
    };
    let mut answer = Response::new(Body::from_stream(futures_util::stream::unfold(follower, Follower::next)));
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    Ok(answer)
}

fn unknown_cursor() -> Problem {
    Problem::bad_request("the `Last-Event-ID` is none of this stream", "send the last one that came, or none")
}

/// What comes of an instance.
enum Said {
    Line(LogLine, Value),
    /// Its stream is over: it is removed, or its platform went away.
    Ended,
}

/// The instances that were there when a stream began: not all of their lines are told.
enum First {
    /// Nobody has looked yet.
    NotSeen,
    /// Those that could not be read so far.
    Over(BTreeSet<String>),
}

impl First {
    /// Takes note of those that are there.
    fn see<'s>(&mut self, ids: impl Iterator<Item = &'s str>) {
        if matches!(self, Self::NotSeen) {
            *self = Self::Over(ids.map(str::to_owned).collect());
        }
    }

    /// One that was taken could not be read.
    fn missed(&mut self, id: String) {
        if let Self::Over(first) = self {
            first.insert(id);
        }
    }

    /// Whether this one was there; what comes of it from now on is told whole.
    fn takes(&mut self, id: &str) -> bool {
        match self {
            Self::NotSeen => false,
            Self::Over(first) => first.remove(id),
        }
    }
}

/// Who follows. A slow reader holds the streams up, and they hold nothing but a few lines.
struct Follower {
    api: Arc<Api>,
    wanted: Wanted,
    first: First,
    /// How many lines are told of those.
    tail: usize,
    lines: SelectAll<BoxStream<'static, (String, Said)>>,
    known: BTreeMap<String, Followed>,
    cursor: Cursor,
    /// Whether the client knows where the stream began.
    has_begun: bool,
    next_look: Instant,
    told_at: Instant,
    stopping: watch::Receiver<bool>,
    _place: OwnedSemaphorePermit,
}

impl Follower {
    /// The next piece of the stream; `None` ends it: the control plane is stopping.
    async fn next(mut self) -> Option<(Result<String, Infallible>, Self)> {
        loop {
            if self.next_look <= Instant::now() {
                self.look().await;
                if let Some(cursor) = self.cursor.alone(&self.known) {
                    return Some((Ok(cursor), self));
                }
            }
            if !self.has_begun && !self.known.is_empty() {
                self.has_begun = true;
                return Some((Ok(format!("id: {}\n\n", Followed::write_all(&self.known))), self));
            }
            if self.told_at.elapsed() >= HEARTBEAT_EVERY {
                self.told_at = Instant::now();
                return Some((Ok(": nothing new\n\n".to_owned()), self));
            }
            let mut stopping = self.stopping.clone();
            let said = tokio::select! {
                said = self.lines.next(), if !self.lines.is_empty() => said,
                _ = stopping.wait_for(|stopping| *stopping) => return None,
                () = tokio::time::sleep_until(self.next_look) => None,
            };
            let Some((id, said)) = said else { continue };
            let followed = self.known.entry(id.clone()).or_default();
            match said {
                Said::Ended => followed.is_open = false,
                Said::Line(line, value) => {
                    if followed.takes(&line) {
                        self.told_at = Instant::now();
                        let line = format!("event: line\ndata: {value}\n\n");
                        let cursor = self.cursor.with_line(&self.known, &id, line.len());
                        return Some((Ok(format!("{cursor}{line}")), self));
                    }
                }
            }
        }
    }

    /// Follows instances that came, with all that they wrote, and those whose stream broke off.
    async fn look(&mut self) {
        self.next_look = Instant::now() + LOOK_EVERY;
        // A platform that does not answer now is asked again.
        let Ok(sources) = self.wanted.sources(&self.api).await else { return };
        self.first.see(sources.iter().map(|source| source.id.as_str()));
        self.known.retain(|id, _| sources.iter().any(|source| source.id.as_str() == id));
        for source in sources {
            let id = source.id.to_string();
            let is_open = self.known.get(&id).is_some_and(|followed| followed.is_open);
            // What is told of ended ones counts too: a cursor names no more than are read back.
            let is_surplus = self.known.len() >= FOLLOWED_MAX && !self.known.contains_key(&id);
            if is_open || is_surplus || self.lines.len() >= FOLLOWED_MAX {
                continue;
            }
            let opened_at_unix_ms = now_unix_ms();
            let is_first = self.first.takes(&id);
            let tail_lines = if is_first { self.tail } else { TAIL_LINES_MAX };
            let Ok(lines) = source.read(LogQuery { tail_lines, is_following: true }).await else {
                // It is read with the next look, as it would have been now.
                if is_first {
                    self.first.missed(id);
                }
                continue;
            };
            let followed = self.known.entry(id.clone()).or_default();
            followed.open(is_first.then_some(opened_at_unix_ms));
            let end = (id.clone(), Said::Ended);
            let said = lines.filter_map(move |line| {
                let line = line.ok().map(|line| {
                    let value = value(&source, &line);
                    (id.clone(), Said::Line(line, value))
                });
                future::ready(line)
            });
            self.lines.push(said.chain(stream::once(future::ready(end))).boxed());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_can_not_be_read_at_first_is_still_one_of_the_first() {
        let mut first = First::NotSeen;
        assert!(!first.takes("a"), "nobody has looked");
        first.see(["a", "b"].into_iter());
        first.see(["a", "b", "later"].into_iter());
        assert!(first.takes("a") && !first.takes("later"));
        assert!(!first.takes("a"), "it ended, and is read anew with all that was not told");
        assert!(first.takes("b"));
        first.missed("b".to_owned());
        assert!(first.takes("b"));
        // Who goes on where it was wants all that was not told.
        let mut resumed = First::Over(BTreeSet::new());
        resumed.see(["a"].into_iter());
        assert!(!resumed.takes("a"));
    }

    fn newest(tail: usize, lines: &[(u64, usize)]) -> Vec<Value> {
        let mut newest = Newest::new(tail);
        for (at, bytes) in lines {
            newest.add(*at, *bytes, json!(at));
        }
        newest.into_values()
    }

    #[test]
    fn lines_of_several_instances_stand_in_the_order_of_their_time() {
        assert_eq!(newest(9, &[(1, 1), (4, 1), (6, 1), (2, 1), (4, 1)]), [1, 2, 4, 4, 6].map(Value::from));
        assert_eq!(newest(2, &[(1, 1), (4, 1), (6, 1), (2, 1)]), [4, 6].map(Value::from));
        assert!(newest(0, &[(1, 1)]).is_empty());
    }

    #[test]
    fn an_answer_is_bounded_in_bytes_too() {
        let long = ANSWER_BYTES_MAX / 2;
        assert_eq!(newest(9, &[(1, long), (2, long), (3, long)]), [2, 3].map(Value::from));
        let many: Vec<_> = (0..1000).map(|at| (at, ANSWER_BYTES_MAX / 10)).collect();
        assert_eq!(newest(1000, &many).len(), 10);
    }
}
