//! Turning clients away for whom there is no room: quickly, with an answer, and without holding anything for long. Where
//! connections are carried nobody expects an answer to a request: there, they are just closed.

use std::cell::Cell;
use std::io::{self, Read as _, Write as _};
use std::net::Shutdown;
use std::rc::Rc;
use std::time::Duration;

use tokio::net::TcpStream;

/// LIMIT: clients per thread that are listened to after they were turned away, and how long and how much, so that they
/// can read the answer before the kernel resets the connection because of what they still send. The descriptors are
/// among those kept for other things than clients. With more, the answer is left to luck.
const LISTENED_TO_MAX: u32 = 16;
const LISTEN_TIMEOUT: Duration = Duration::from_secs(1);
const LISTEN_BYTES_MAX: usize = 64 * 1024;

/// LIMIT: bytes read at once of what nobody looks at.
const READ_BYTES: usize = 4 * 1024;

/// The whole answer. A second is what it takes at least for a client to be worth another try; most wait longer.
const ANSWER: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain; charset=utf-8\r\n\
    Content-Length: 46\r\nCache-Control: no-store\r\nRetry-After: 1\r\nConnection: close\r\n\r\n\
    this gateway is at its limit: try again later\n";

/// Why a client is turned away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// All connections are taken, and none could be closed.
    Connections,
    /// The memory is nearly used up.
    Memory,
    /// No descriptor is left.
    Descriptors,
    /// The client has as many connections as one may have.
    Client,
}

impl Refused {
    /// All of them, as they are counted.
    pub(crate) const ALL: [Self; 4] = [Self::Connections, Self::Memory, Self::Descriptors, Self::Client];

    /// The word for the metric.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::Memory => "memory",
            Self::Descriptors => "descriptors",
            Self::Client => "client",
        }
    }
}

/// Turns clients away, on one thread.
#[derive(Debug)]
pub(super) struct Door {
    listened_to: Rc<Cell<u32>>,
}

impl Door {
    pub(super) fn new() -> Self {
        Self { listened_to: Rc::default() }
    }

    /// Answers a client that there is no room.
    pub(super) fn turn_away(&self, stream: TcpStream) {
        let listened_to = Rc::clone(&self.listened_to);
        let Ok(stream) = stream.into_std() else { return };
        answer(&stream);
        if listened_to.get() >= LISTENED_TO_MAX {
            return;
        }
        let Ok(stream) = TcpStream::from_std(stream) else { return };
        listened_to.set(listened_to.get() + 1);
        tokio::task::spawn_local(async move {
            drop(tokio::time::timeout(LISTEN_TIMEOUT, listen(&stream)).await);
            listened_to.set(listened_to.get() - 1);
        });
    }
}

/// Answers a client that there is no room, and closes: others need the descriptor.
pub(super) fn turn_away_at_once(stream: TcpStream) {
    if let Ok(stream) = stream.into_std() {
        answer(&stream);
    }
}

/// Sends the answer and its end, and reads what the client has sent up to now.
fn answer(mut stream: &std::net::TcpStream) {
    // A new connection takes so little at once, or it is gone.
    drop(stream.write(ANSWER));
    drop(stream.shutdown(Shutdown::Write));
    let mut room = [0; READ_BYTES];
    for _ in 0..LISTEN_BYTES_MAX / READ_BYTES {
        if !matches!(stream.read(&mut room), Ok(1..)) {
            break;
        }
    }
}

/// Waits until the client closes.
async fn listen(stream: &TcpStream) {
    let mut left = LISTEN_BYTES_MAX;
    let mut room = [0; 1024];
    while left > 0 && stream.readable().await.is_ok() {
        match stream.try_read(&mut room) {
            Ok(0) => return,
            Ok(bytes) => left = left.saturating_sub(bytes),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_is_as_long_as_it_says() {
        let text = std::str::from_utf8(ANSWER).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("\r\nContent-Length: {}\r\n", body.len())), "{head}");
        assert!(head.contains("\r\nRetry-After: 1\r\n"), "{head}");
    }

    #[test]
    fn every_refusal_has_a_column_of_its_own() {
        for (index, refused) in Refused::ALL.into_iter().enumerate() {
            assert_eq!(refused as usize, index, "{}", refused.word());
        }
    }
}
