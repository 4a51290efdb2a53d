//! The origin behind the proxy that is judged: it reads strictly, keeps what it got by the case that it belongs to, and
//! answers as that case says.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::wire::{self, Message};

/// How a connection goes on after the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    Keep,
    Close,
    Reset,
}

/// What the origin does about the requests of a case.
#[derive(Debug, Clone)]
pub(crate) struct Script {
    /// The answer, byte by byte.
    pub(crate) answer: Vec<u8>,
    pub(crate) then: Then,
    /// Whether it answers as soon as the head is there.
    pub(crate) early: bool,
    /// The answer leaves in two pieces, cut here.
    pub(crate) cut: Option<usize>,
}

impl Default for Script {
    fn default() -> Self {
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_vec();
        Self { answer, then: Then::Keep, early: false, cut: None }
    }
}

/// What it got of one case.
#[derive(Debug, Clone, Default)]
pub struct Got {
    /// Requests, in order.
    pub requests: Vec<Message>,
    /// What it could not read as a request.
    pub faults: Vec<String>,
    /// All bytes, connection by connection as they came.
    pub raw: Vec<u8>,
}

#[derive(Debug, Default)]
struct Case {
    script: Script,
    got: Got,
}

/// The running origin.
#[derive(Debug, Clone, Default)]
pub(crate) struct Origin {
    cases: Arc<Mutex<HashMap<String, Case>>>,
}

/// What marks the target of a request of a case, before the case's number.
pub(crate) const MARK: &str = "/t-";

impl Origin {
    /// Listens until the runtime ends.
    pub(crate) async fn start(address: SocketAddr) -> std::io::Result<(Self, SocketAddr)> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let origin = Self::default();
        let own = origin.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let own = own.clone();
                tokio::spawn(async move { own.serve(stream).await });
            }
        });
        Ok((origin, address))
    }

    pub(crate) fn expect(&self, token: &str, script: Script) {
        self.with(|cases| drop(cases.insert(token.to_owned(), Case { script, got: Got::default() })));
    }

    pub(crate) fn got(&self, token: &str) -> Got {
        self.with(|cases| cases.get(token).map(|case| case.got.clone()).unwrap_or_default())
    }

    fn with<T>(&self, change: impl FnOnce(&mut HashMap<String, Case>) -> T) -> T {
        change(&mut self.cases.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    /// The script of a case, after `note` kept what came of it.
    fn note(&self, token: &str, note: impl FnOnce(&mut Got)) -> Option<Script> {
        self.with(|cases| {
            let case = cases.get_mut(token)?;
            note(&mut case.got);
            Some(case.script.clone())
        })
    }

    async fn serve(&self, mut stream: TcpStream) {
        let mut input = Vec::new();
        let mut last = String::new();
        // Whether the request at the front was answered before it was whole.
        let mut answered = false;
        loop {
            match wire::next_request(&input) {
                Ok(Some((request, taken))) => {
                    let raw: Vec<u8> = input.drain(..taken).collect();
                    last = token_of(&raw).unwrap_or_else(|| last.clone());
                    let script = self.note(&last, |got| {
                        got.requests.push(request);
                        got.raw.extend_from_slice(&raw);
                    });
                    let script = script.unwrap_or_default();
                    if !std::mem::take(&mut answered) && !answer(&mut stream, &script).await {
                        return;
                    }
                    continue;
                }
                Ok(None) => {
                    let early = wire::head(&input).ok().flatten().and_then(|_| self.note(&token_of(&input)?, |_| ()));
                    let early = early.filter(|script| script.early && !answered);
                    answered |= early.is_some();
                    if let Some(script) = early
                        && !answer(&mut stream, &script).await
                    {
                        return;
                    }
                }
                Err(fault) => {
                    let token = token_of(&input).unwrap_or(last);
                    self.note(&token, |got| {
                        got.faults.push(fault);
                        got.raw.extend_from_slice(&input);
                    });
                    return;
                }
            }
            if !matches!(stream.read_buf(&mut input).await, Ok(1..)) {
                if !input.is_empty() {
                    let token = token_of(&input).unwrap_or(last);
                    self.note(&token, |got| got.raw.extend_from_slice(&input));
                }
                return;
            }
        }
    }
}

/// Answers; tells whether the connection stays.
async fn answer(stream: &mut TcpStream, script: &Script) -> bool {
    let (first, second) = script.answer.split_at(script.cut.unwrap_or(script.answer.len()).min(script.answer.len()));
    if stream.write_all(first).await.is_err() {
        return false;
    }
    if !second.is_empty() {
        tokio::time::sleep(Duration::from_millis(30)).await;
        if stream.write_all(second).await.is_err() {
            return false;
        }
    }
    match script.then {
        Then::Keep => true,
        Then::Close => {
            drop(stream.shutdown().await);
            false
        }
        Then::Reset => {
            // What was sent must arrive before the reset does.
            tokio::time::sleep(Duration::from_millis(30)).await;
            drop(stream.set_zero_linger());
            false
        }
    }
}

/// The case that bytes belong to.
fn token_of(bytes: &[u8]) -> Option<String> {
    let at = bytes.windows(MARK.len()).position(|part| part == MARK.as_bytes())? + MARK.len();
    let token: String =
        bytes[at..].iter().take_while(|byte| byte.is_ascii_hexdigit()).map(|byte| char::from(*byte)).collect();
    (!token.is_empty()).then_some(token)
}
