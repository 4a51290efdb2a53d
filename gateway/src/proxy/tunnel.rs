//! The copy loop between two connections that speak something else than HTTP: after an upgrade.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite};

use super::flow::{Backlog, poll_read};
use super::scratch::{self, Scratch};
use super::timer::Timer;

/// Bytes that a tunnel carried.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Carried {
    /// From the client.
    pub(super) up: u64,
    /// To the client.
    pub(super) down: u64,
}

/// One direction: reads from one side, writes to the other, passes the end on.
#[derive(Debug, Default)]
struct Direction {
    backlog: Backlog,
    ended: bool,
    /// Whether the end was passed on.
    closed: bool,
    bytes: u64,
}

/// Copies both ways until both sides have ended, one side fails, or nothing moved for `idle`. `early` came from the
/// client before the tunnel was open, `queued` is still to be taken by it.
pub(super) async fn run<C, U>(
    client: &mut C,
    upstream: &mut U,
    (early, queued): (Vec<u8>, Backlog),
    idle: Duration,
    timer: &mut Timer,
) -> Carried
where
    C: AsyncRead + AsyncWrite + Unpin,
    U: AsyncRead + AsyncWrite + Unpin,
{
    let mut up = Direction::default();
    let mut down = Direction { backlog: queued, ..Direction::default() };
    let mut early = Some(early);
    let mut progress = Instant::now();
    poll_fn(|context| {
        scratch::with(|scratch| {
            let before = (up.bytes, down.bytes);
            let mut step = || -> io::Result<bool> {
                if let Some(early) = early.take() {
                    up.send(context, upstream, &early)?;
                }
                let up_done = up.advance(context, client, upstream, scratch)?;
                let down_done = down.advance(context, upstream, client, scratch)?;
                Ok(up_done && down_done)
            };
            match step() {
                Ok(false) => (),
                Ok(true) | Err(_) => return Poll::Ready(()),
            }
            if before != (up.bytes, down.bytes) {
                progress = Instant::now();
            }
            if timer.is_over(context, progress + idle) { Poll::Ready(()) } else { Poll::Pending }
        })
    })
    .await;
    Carried { up: up.bytes, down: down.bytes }
}

impl Direction {
    fn send<W: AsyncWrite + Unpin>(
        &mut self,
        context: &mut Context<'_>,
        writer: &mut W,
        bytes: &[u8],
    ) -> io::Result<()> {
        self.bytes += bytes.len() as u64;
        self.backlog.send(context, writer, bytes)
    }

    /// Moves what can be moved now; tells whether this direction is over.
    fn advance<R, W>(
        &mut self,
        context: &mut Context<'_>,
        reader: &mut R,
        writer: &mut W,
        scratch: &mut Scratch,
    ) -> io::Result<bool>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        loop {
            if !self.backlog.is_empty() {
                match self.backlog.poll_flush(context, writer) {
                    Poll::Ready(result) => result?,
                    Poll::Pending => return Ok(false),
                }
            }
            if self.ended {
                if !self.closed {
                    match Pin::new(&mut *writer).poll_shutdown(context) {
                        Poll::Ready(result) => result?,
                        Poll::Pending => return Ok(false),
                    }
                    self.closed = true;
                }
                return Ok(true);
            }
            match poll_read(context, reader, scratch.room()) {
                Poll::Ready(Ok(0)) => self.ended = true,
                Poll::Ready(Ok(bytes)) => {
                    let read = scratch.buffer.get(Scratch::START..Scratch::START + bytes).unwrap_or_default();
                    self.send(context, writer, read)?;
                }
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending => return Ok(false),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn bytes_and_ends_pass_both_ways() {
        let (mut near, mut client) = tokio::io::duplex(1000);
        let (mut upstream, mut far) = tokio::io::duplex(64);
        let idle = Duration::from_mins(1);
        let mut timer = Timer::new(Instant::now() + idle);
        let sent = vec![7; 100_000];
        let tunnel = run(&mut client, &mut upstream, (b"early".to_vec(), Backlog::default()), idle, &mut timer);
        let near_side = async {
            near.write_all(&sent).await.unwrap();
            near.shutdown().await.unwrap();
            let mut answer = Vec::new();
            near.read_to_end(&mut answer).await.unwrap();
            answer
        };
        let far_side = async {
            let mut request = Vec::new();
            far.read_to_end(&mut request).await.unwrap();
            far.write_all(b"answer").await.unwrap();
            far.shutdown().await.unwrap();
            request
        };
        let (carried, answer, request) = tokio::join!(tunnel, near_side, far_side);
        assert_eq!(answer, b"answer");
        assert_eq!(request, [b"early".as_slice(), &sent].concat());
        assert_eq!(carried, Carried { up: 100_005, down: 6 });
    }

    #[tokio::test(start_paused = true)]
    async fn a_tunnel_in_which_nothing_moves_ends() {
        let (_near, mut client) = tokio::io::duplex(1000);
        let (mut upstream, _far) = tokio::io::duplex(64);
        let idle = Duration::from_hours(1);
        let mut timer = Timer::new(Instant::now() + idle);
        assert_eq!(
            run(&mut client, &mut upstream, (Vec::new(), Backlog::default()), idle, &mut timer).await,
            Carried::default()
        );
    }
}
