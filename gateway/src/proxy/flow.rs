//! Bytes between sockets without a buffer per connection: what a peer does not take at once is kept, nothing else.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// What can be written to past the runtime.
pub(crate) trait Push {
    /// Writes what the kernel takes at once.
    fn push(&self, bytes: &[u8]) -> io::Result<usize>;
}

impl Push for TcpStream {
    fn push(&self, bytes: &[u8]) -> io::Result<usize> {
        socket2::SockRef::from(self).send(bytes)
    }
}

/// Bytes that a peer has not taken yet. Empty, and without memory, nearly always.
#[derive(Debug, Default)]
pub(crate) struct Backlog {
    bytes: Vec<u8>,
    start: usize,
    insists: bool,
}

impl Backlog {
    /// Whether the peer has taken everything.
    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Bytes that the peer has not taken.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len().saturating_sub(self.start)
    }

    /// Of what was kept, bytes that the peer has taken since, or since this was asked last.
    pub(crate) fn take_taken(&mut self) -> usize {
        let taken = std::mem::take(&mut self.start);
        self.bytes.drain(..taken);
        taken
    }

    /// Lets the next writes ask the kernel, whatever the runtime knows, until it has room for no more. The runtime hears of
    /// room only when a third of a socket's buffer is free, which may be megabytes: who takes slowly but steadily would
    /// look as if it took nothing.
    pub(crate) fn insist(&mut self) {
        self.insists = true;
    }

    /// These bytes, to be written.
    pub(crate) fn holding(bytes: Vec<u8>) -> Self {
        Self { bytes, ..Self::default() }
    }

    /// Writes what the peer takes now and keeps the rest. An error means that it took nothing of them.
    pub(crate) fn send<W: AsyncWrite + Push + Unpin>(
        &mut self,
        context: &mut Context<'_>,
        writer: &mut W,
        bytes: &[u8],
    ) -> io::Result<()> {
        let mut rest = bytes;
        while self.is_empty() && !rest.is_empty() {
            match poll_write(context, writer, rest, &mut self.insists) {
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(written)) => rest = rest.get(written..).unwrap_or_default(),
                // The next write tells the error again; that something went before must not be forgotten.
                Poll::Ready(Err(_)) if rest.len() < bytes.len() => break,
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending => break,
            }
        }
        self.bytes.extend_from_slice(rest);
        Ok(())
    }

    /// The same for what follows bytes that were sent: the peer may have those, so that an error is left to the next write
    /// to tell.
    pub(crate) fn send_on<W: AsyncWrite + Push + Unpin>(
        &mut self,
        context: &mut Context<'_>,
        writer: &mut W,
        bytes: &[u8],
    ) {
        if self.send(context, writer, bytes).is_err() {
            self.bytes.extend_from_slice(bytes);
        }
    }

    /// Writes what was kept. Ready when the peer has taken everything.
    pub(crate) fn poll_flush<W: AsyncWrite + Push + Unpin>(
        &mut self,
        context: &mut Context<'_>,
        writer: &mut W,
    ) -> Poll<io::Result<()>> {
        while let Some(rest @ [_, ..]) = self.bytes.get(self.start..) {
            match poll_write(context, writer, rest, &mut self.insists) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(written)) => self.start += written,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            }
        }
        // Frees the memory: a connection holds none between two blocked writes.
        *self = Self { insists: self.insists, ..Self::default() };
        Poll::Ready(Ok(()))
    }

    /// Forgets what was kept.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }
}

/// Writes what the peer takes now; who `insists` asks the kernel too, until that refuses.
#[inline]
fn poll_write<W: AsyncWrite + Push + Unpin>(
    context: &mut Context<'_>,
    writer: &mut W,
    bytes: &[u8],
    insists: &mut bool,
) -> Poll<io::Result<usize>> {
    let written = Pin::new(&mut *writer).poll_write(context, bytes);
    if written.is_ready() || !*insists {
        return written;
    }
    if let Ok(written @ 1..) = writer.push(bytes) {
        return Poll::Ready(Ok(written));
    }
    // An error is told by the next write.
    *insists = false;
    Poll::Pending
}

/// Makes the coming close a reset: for what would else look like a whole message, or a peaceful end.
pub(crate) fn reset_on_close(stream: &TcpStream) {
    if let Err(error) = socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO)) {
        tracing::debug!("a cut could not be marked by a reset: {error}");
    }
}

/// Reads what is there. The room must be larger than what is expected: a read that does not fill it tells the runtime
/// that nothing is left, which saves the next system call.
#[inline]
pub(crate) fn poll_read<R: AsyncRead + Unpin>(
    context: &mut Context<'_>,
    reader: &mut R,
    room: &mut [u8],
) -> Poll<io::Result<usize>> {
    let mut room = ReadBuf::new(room);
    match Pin::new(reader).poll_read(context, &mut room) {
        Poll::Ready(Ok(())) => Poll::Ready(Ok(room.filled().len())),
        Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
        Poll::Pending => Poll::Pending,
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    /// A peer that takes one write, and is gone.
    #[derive(Debug, Default)]
    struct Once(Option<Vec<u8>>);

    impl Push for Once {
        fn push(&self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::WouldBlock.into())
        }
    }

    impl AsyncWrite for Once {
        fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            if self.0.is_some() {
                return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
            }
            self.0 = Some(bytes.to_vec());
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[test]
    fn a_body_that_fails_behind_its_head_does_not_look_as_if_nothing_went() {
        let context = &mut Context::from_waker(Waker::noop());
        let (mut peer, mut backlog) = (Once::default(), Backlog::default());
        backlog.send(context, &mut peer, b"head").unwrap();
        backlog.send_on(context, &mut peer, b"body");
        assert_eq!((peer.0.as_deref(), backlog.is_empty()), (Some(&b"head"[..]), false));
        assert!(matches!(backlog.poll_flush(context, &mut peer), Poll::Ready(Err(_))));
        // Where nothing went before, the error is told at once.
        assert!(Backlog::default().send(context, &mut peer, b"head").is_err());
    }
}
