//! The copy loop between two connections that speak something else than HTTP: after an upgrade, and of TCP gateways.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite};

use super::flow::{Backlog, Push, poll_read};
use super::scratch::{self, Scratch};
use super::timer::Timer;

/// Bytes that a tunnel carried.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Carried {
    /// From the client.
    pub(crate) up: u64,
    /// To the client.
    pub(crate) down: u64,
}

/// How a tunnel ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// Both sides said their last.
    Closed,
    /// The client's connection was reset.
    ClientFailed,
    /// The upstream's was.
    UpstreamFailed,
    /// Nothing moved for the time that it may.
    Idle,
}

/// Which side of a direction failed.
#[derive(Debug, Clone, Copy)]
enum Failed {
    Reader,
    Writer,
}

/// One direction: reads from one side, writes to the other, passes the end on.
#[derive(Debug)]
struct Direction {
    backlog: Backlog,
    ended: bool,
    /// Whether the end was passed on.
    closed: bool,
}

/// Copies both ways until both sides have ended, one side fails, or nothing moved for `idle`: nothing was read, and nobody
/// took any of what was read before. What is to be sent before anything else goes `first` to the upstream, and to the
/// client; of the bytes themselves, `carried` counts those that it copies, as it does.
pub(crate) async fn run<C, U>(
    client: &mut C,
    upstream: &mut U,
    (first_up, first_down): (Backlog, Backlog),
    idle: Duration,
    timer: &mut Timer,
    carried: &mut Carried,
) -> End
where
    C: AsyncRead + AsyncWrite + Push + Unpin,
    U: AsyncRead + AsyncWrite + Push + Unpin,
{
    let mut up = Direction::after(first_up);
    let mut down = Direction::after(first_down);
    let mut progress = now();
    poll_fn(|context| {
        scratch::with(|scratch| {
            for asked in [false, true] {
                let before = (*carried, up.backlog.len(), down.backlog.len());
                let up_done = match up.advance(context, client, upstream, scratch, &mut carried.up, down.closed) {
                    Ok(done) => done,
                    Err(Failed::Reader) => return Poll::Ready(End::ClientFailed),
                    Err(Failed::Writer) => return Poll::Ready(End::UpstreamFailed),
                };
                let down_done = match down.advance(context, upstream, client, scratch, &mut carried.down, up.closed) {
                    Ok(done) => done,
                    Err(Failed::Reader) => return Poll::Ready(End::UpstreamFailed),
                    Err(Failed::Writer) => return Poll::Ready(End::ClientFailed),
                };
                if up_done && down_done {
                    return Poll::Ready(End::Closed);
                }
                if before != (*carried, up.backlog.len(), down.backlog.len()) {
                    progress = now();
                }
                if !timer.is_over(context, progress + idle) {
                    return Poll::Pending;
                }
                if asked {
                    break;
                }
                up.backlog.insist();
                down.backlog.insist();
            }
            Poll::Ready(End::Idle)
        })
    })
    .await
}

/// Now, by the clock of the timers.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

impl Direction {
    fn after(first: Backlog) -> Self {
        Self { backlog: first, ended: false, closed: false }
    }

    /// Moves what can be moved now, and counts it; tells whether this direction is over. The end of the direction that is
    /// the `last` one is passed on by whoever closes both connections: one system call less for each tunnel.
    fn advance<R, W>(
        &mut self,
        context: &mut Context<'_>,
        reader: &mut R,
        writer: &mut W,
        scratch: &mut Scratch,
        moved: &mut u64,
        last: bool,
    ) -> Result<bool, Failed>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Push + Unpin,
    {
        let writer_failed = |_: io::Error| Failed::Writer;
        loop {
            if !self.backlog.is_empty() {
                match self.backlog.poll_flush(context, writer) {
                    Poll::Ready(result) => result.map_err(writer_failed)?,
                    Poll::Pending => return Ok(false),
                }
            }
            if self.ended {
                if !self.closed && !last {
                    match Pin::new(&mut *writer).poll_shutdown(context) {
                        Poll::Ready(result) => result.map_err(writer_failed)?,
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
                    *moved += bytes as u64;
                    self.backlog.send(context, writer, read).map_err(writer_failed)?;
                }
                Poll::Ready(Err(_)) => return Err(Failed::Reader),
                Poll::Pending => return Ok(false),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    impl Push for tokio::io::DuplexStream {
        /// What the runtime knows of it is all that there is.
        fn push(&self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::WouldBlock.into())
        }
    }

    #[tokio::test]
    async fn bytes_and_ends_pass_both_ways() {
        let (mut near, client) = tokio::io::duplex(1000);
        let (upstream, mut far) = tokio::io::duplex(64);
        let idle = Duration::from_mins(1);
        let mut timer = Timer::new(Instant::now() + idle);
        let sent = vec![7; 100_000];
        let mut carried = Carried::default();
        let first = (Backlog::holding(b"early".to_vec()), Backlog::holding(b"queued".to_vec()));
        let tunnel = async {
            // Closed when it is over.
            let (mut client, mut upstream) = (client, upstream);
            run(&mut client, &mut upstream, first, idle, &mut timer, &mut carried).await
        };
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
        let (end, answer, request) = tokio::join!(tunnel, near_side, far_side);
        assert_eq!(answer, b"queuedanswer");
        assert_eq!(request, [b"early".as_slice(), &sent].concat());
        assert_eq!((end, carried), (End::Closed, Carried { up: 100_000, down: 6 }));
    }

    #[tokio::test(start_paused = true)]
    async fn a_tunnel_in_which_nothing_moves_ends() {
        let (_near, mut client) = tokio::io::duplex(1000);
        let (mut upstream, _far) = tokio::io::duplex(64);
        let idle = Duration::from_hours(1);
        let mut timer = Timer::new(Instant::now() + idle);
        let mut carried = Carried::default();
        let first = (Backlog::default(), Backlog::default());
        let end = run(&mut client, &mut upstream, first, idle, &mut timer, &mut carried).await;
        assert_eq!((end, carried), (End::Idle, Carried::default()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_side_that_takes_little_by_little_keeps_its_tunnel() {
        let (_near, mut client) = tokio::io::duplex(1000);
        let (mut upstream, mut far) = tokio::io::duplex(64);
        let idle = Duration::from_secs(10);
        let mut timer = Timer::new(now() + idle);
        let mut carried = Carried::default();
        // Two minutes are needed for what is kept: nothing is read meanwhile.
        let first = (Backlog::holding(vec![7; 1_000]), Backlog::default());
        let tunnel = run(&mut client, &mut upstream, first, idle, &mut timer, &mut carried);
        let takes = async {
            let mut taken = [0; 8];
            for _ in 0..100 {
                tokio::time::sleep(Duration::from_secs(1)).await;
                far.read_exact(&mut taken).await.unwrap();
            }
        };
        tokio::select! {
            biased;
            () = takes => {}
            end = tunnel => panic!("{end:?}"),
        }
    }
}
