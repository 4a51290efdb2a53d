//! An HTTP/1.1 conformance set for any reverse proxy: what goes in at the client's side, what the origin answers, and what
//! both must see, byte by byte. Each case names the rule that it keeps.
//!
//! The proxy must send everything to the origin of this set, whatever the host.

#![allow(
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "slow and obvious readers of test input: each place was found in that very input"
)]

mod cases;
mod origin;
pub mod peers;
mod wire;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

pub use self::origin::Got;
use self::origin::{MARK, Origin, Script};
pub use self::wire::{Message, Stream};

/// How binding a rule is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// A proxy that does not keep it is open to attack, or breaks messages.
    Must,
    /// A careful proxy keeps it.
    Should,
}

/// What both sides must see.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Want {
    /// Nothing reaches the origin, and the connection ends, after an error or none.
    Refused,
    /// The origin never gets it whole, and the connection ends: what is wrong comes when the head is on its way already.
    NeverWhole,
    /// As [`Want::Refused`], or so many requests, each in canonical form.
    RefusedOr(usize),
    /// So many requests reach the origin, and as many answers of the origin the client.
    Passed(usize),
    /// What the function says.
    Judged(fn(&Seen) -> Result<(), String>),
}

/// One case.
#[derive(Debug, Clone)]
pub struct Case {
    /// What it is about, with others.
    pub family: &'static str,
    /// What it is about.
    pub name: String,
    /// Section of a standard, or advisory.
    pub cite: &'static str,
    /// How binding it is.
    pub level: Level,
    /// Methods of the requests that are meant.
    methods: Vec<&'static str>,
    /// What the client sends; between pieces it waits until the proxy had time to act.
    pieces: Vec<Vec<u8>>,
    script: Script,
    want: Want,
}

/// What was seen in one case.
#[derive(Debug, Clone)]
pub struct Seen {
    /// Bytes that the client sent.
    pub sent: Vec<u8>,
    /// Bytes that the client got.
    pub raw: Vec<u8>,
    /// The same, read.
    pub answers: Stream,
    /// Whether the proxy ended the client's connection.
    pub closed: bool,
    /// What the origin got.
    pub origin: Got,
}

impl Seen {
    /// Answers that are no interim ones.
    pub fn finals(&self) -> Vec<&Message> {
        self.answers.messages.iter().filter(|answer| answer.status() >= 200 || answer.status() == 101).collect()
    }
}

/// How one case ended.
#[derive(Debug)]
pub struct Outcome {
    /// The case.
    pub case: Case,
    /// What was seen.
    pub seen: Seen,
    /// What is wrong, if something is.
    pub fault: Option<String>,
}

/// All cases.
pub fn cases() -> Vec<Case> {
    cases::all()
}

/// LIMIT: how long a case waits for the next byte when it expects one, and when it does not. Proxies answer within
/// milliseconds; on a machine that does other things too, within hundreds of them.
const PATIENCE: Duration = Duration::from_secs(5);
const QUIET: Duration = Duration::from_secs(1);

/// Between two pieces that the proxy must see apart.
const PAUSE: Duration = Duration::from_millis(150);

/// Judges a proxy: runs the cases whose family or name contains `only` on it, `jobs` at a time.
///
/// # Errors
///
/// When the origin's port can't be had.
pub async fn judge(target: SocketAddr, origin: SocketAddr, only: &str, jobs: usize) -> std::io::Result<Vec<Outcome>> {
    let (origin, _) = Origin::start(origin).await?;
    Ok(judge_before(target, &origin, only, jobs).await)
}

async fn judge_before(target: SocketAddr, origin: &Origin, only: &str, jobs: usize) -> Vec<Outcome> {
    let permits = Arc::new(Semaphore::new(jobs.max(1)));
    let mut running = JoinSet::new();
    let chosen = cases().into_iter().filter(|case| case.family.contains(only) || case.name.contains(only));
    for (number, case) in chosen.enumerate() {
        let (permits, origin) = (Arc::clone(&permits), origin.clone());
        running.spawn(async move {
            let _permit = permits.acquire_owned().await;
            // Random, so that a proxy's pooled connection of an earlier run can't be taken for one of this.
            let token = format!("{number:04x}{:08x}", rand::random::<u32>());
            let seen = run(&case, target, &origin, &token).await;
            let fault = verdict(&case, &seen).err();
            (number, Outcome { case, seen, fault })
        });
    }
    let mut outcomes = running.join_all().await;
    outcomes.sort_by_key(|(number, _)| *number);
    outcomes.into_iter().map(|(_, outcome)| outcome).collect()
}

async fn run(case: &Case, target: SocketAddr, origin: &Origin, token: &str) -> Seen {
    origin.expect(token, case.script.clone());
    let mut sent = Vec::new();
    let (mut raw, mut closed) = (Vec::new(), false);
    if let Ok(mut stream) = TcpStream::connect(target).await {
        for (index, piece) in case.pieces.iter().enumerate() {
            if index > 0 {
                closed |= read(&mut stream, &mut raw, PAUSE).await;
            }
            let piece = filled(piece, token);
            sent.extend_from_slice(&piece);
            if stream.write_all(&piece).await.is_err() {
                break;
            }
        }
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while !closed && tokio::time::Instant::now() < deadline {
            let before = raw.len();
            closed |= read(&mut stream, &mut raw, QUIET).await;
            if raw.len() == before && is_answered(case, &raw) {
                break;
            }
        }
    }
    let answers = wire::responses(&raw, &case.methods, closed);
    Seen { sent, raw, answers, closed, origin: origin.got(token) }
}

/// Reads until nothing comes for a while; tells whether the connection ended.
async fn read(stream: &mut TcpStream, raw: &mut Vec<u8>, quiet: Duration) -> bool {
    loop {
        match tokio::time::timeout(quiet, stream.read_buf(raw)).await {
            Err(_) => return false,
            Ok(Ok(1..)) => (),
            Ok(_) => return true,
        }
    }
}

/// Whether as many answers are there as the case has requests.
fn is_answered(case: &Case, raw: &[u8]) -> bool {
    let answers = wire::responses(raw, &case.methods, false);
    answers.messages.iter().filter(|answer| answer.status() >= 200 || answer.status() == 101).count()
        >= case.methods.len()
}

/// The bytes of a piece, with the target of this case in place of `{t}`.
fn filled(piece: &[u8], token: &str) -> Vec<u8> {
    let target = format!("{MARK}{token}").into_bytes();
    let mut out = Vec::new();
    let mut rest = piece;
    while let Some(at) = rest.windows(3).position(|part| part == b"{t}") {
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(&target);
        rest = &rest[at + 3..];
    }
    out.extend_from_slice(rest);
    out
}

fn verdict(case: &Case, seen: &Seen) -> Result<(), String> {
    if let Some(fault) = seen.origin.faults.first() {
        return Err(format!("the origin got what it can't read: {fault}"));
    }
    for request in &seen.origin.requests {
        wire::check_request(request)?;
    }
    let (requests, answers) = (seen.origin.requests.len(), seen.finals().len());
    if answers > case.methods.len() {
        return Err(format!("the client got {answers} answers to {} requests", case.methods.len()));
    }
    match case.want {
        Want::Judged(judge) => judge(seen),
        Want::Refused if !seen.origin.raw.is_empty() => Err("it reached the origin".to_owned()),
        Want::Refused | Want::NeverWhole => refused(seen),
        Want::RefusedOr(wanted) if requests == 0 && wanted > 0 => refused(seen),
        Want::RefusedOr(wanted) | Want::Passed(wanted) => {
            if let Some(fault) = &seen.answers.fault {
                return Err(format!("the client got what it can't read: {fault}"));
            }
            if requests != wanted {
                return Err(format!("the origin got {requests} requests, not {wanted}"));
            }
            let passed = seen.finals().iter().filter(|answer| answer.status() < 400 && answer.complete).count();
            if passed != wanted {
                return Err(format!("{passed} answers of the origin reached the client, not {wanted}"));
            }
            Ok(())
        }
    }
}

fn refused(seen: &Seen) -> Result<(), String> {
    if !seen.origin.requests.is_empty() {
        return Err("it reached the origin as a whole request".to_owned());
    }
    if seen.finals().iter().any(|answer| answer.status() < 400) {
        return Err("it was answered as if it were right".to_owned());
    }
    if !seen.closed {
        return Err("the connection stayed open after it".to_owned());
    }
    Ok(())
}

/// Bytes as a person reads them.
pub fn shown(bytes: &[u8]) -> String {
    let text: String =
        bytes.iter().take(600).flat_map(|byte| std::ascii::escape_default(*byte)).map(char::from).collect();
    text.replace("\\r\\n", "\\r\\n\n      ")
}
