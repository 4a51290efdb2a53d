//! Bytes between sockets without a buffer per connection: what a peer does not take at once is kept, nothing else.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// Bytes that a peer has not taken yet. Empty, and without memory, nearly always.
#[derive(Debug, Default)]
pub(crate) struct Backlog {
    bytes: Vec<u8>,
    start: usize,
}

impl Backlog {
    /// Whether the peer has taken everything.
    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// These bytes, to be written.
    pub(crate) fn holding(bytes: Vec<u8>) -> Self {
        Self { bytes, start: 0 }
    }

    /// Writes what the peer takes now and keeps the rest. An error means that it took nothing of them.
    pub(crate) fn send<W: AsyncWrite + Unpin>(
        &mut self,
        context: &mut Context<'_>,
        writer: &mut W,
        bytes: &[u8],
    ) -> io::Result<()> {
        let mut rest = bytes;
        while self.is_empty() && !rest.is_empty() {
            match Pin::new(&mut *writer).poll_write(context, rest) {
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
    pub(crate) fn send_on<W: AsyncWrite + Unpin>(&mut self, context: &mut Context<'_>, writer: &mut W, bytes: &[u8]) {
        if self.send(context, writer, bytes).is_err() {
            self.bytes.extend_from_slice(bytes);
        }
    }

    /// Writes what was kept. Ready when the peer has taken everything.
    pub(crate) fn poll_flush<W: AsyncWrite + Unpin>(
        &mut self,
        context: &mut Context<'_>,
        writer: &mut W,
    ) -> Poll<io::Result<()>> {
        while let Some(rest @ [_, ..]) = self.bytes.get(self.start..) {
            match Pin::new(&mut *writer).poll_write(context, rest) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(written)) => self.start += written,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            }
        }
        // Frees the memory: a connection holds none between two blocked writes.
        *self = Self::default();
        Poll::Ready(Ok(()))
    }

    /// Forgets what was kept.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }
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
