//! Messages with descriptors between two processes on one host.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::Interest;
use tokio::net::UnixStream;

/// LIMIT: descriptors of one message. The kernel takes 253 (`SCM_MAX_FD`).
pub(super) const DESCRIPTORS_MAX: usize = 250;

/// LIMIT: bytes of one message: some fixed fields and one text.
const MESSAGE_BYTES_MAX: usize = 32 * 1024;

const ANCILLARY_BYTES: usize = rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX));

/// One end of a connection that keeps messages whole. The runtime's stream only waits for it: packets are not read and
/// written as a stream is.
#[derive(Debug)]
pub(super) struct Channel(UnixStream);

/// Both ends of a new connection.
pub(super) fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    Ok(rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?)
}

impl Channel {
    /// Speaks over one end; it must be non-blocking.
    pub(super) fn new(end: OwnedFd) -> io::Result<Self> {
        UnixStream::from_std(end.into()).map(Self)
    }

    /// Sends a message with descriptors, which stay open here.
    pub(super) async fn send(&self, message: &impl Serialize, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        let bytes = serde_json::to_vec(message)?;
        loop {
            self.0.writable().await?;
            let sent = self.0.try_io(Interest::WRITABLE, || {
                let mut space = [MaybeUninit::uninit(); ANCILLARY_BYTES];
                let mut ancillary = SendAncillaryBuffer::new(&mut space);
                if !descriptors.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(descriptors)) {
                    return Err(io::Error::other("too many descriptors for one message"));
                }
                let flags = SendFlags::NOSIGNAL;
                Ok(rustix::net::sendmsg(&self.0, &[IoSlice::new(&bytes)], &mut ancillary, flags)?)
            });
            match sent {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                sent => return sent.map(drop),
            }
        }
    }

    /// The next message with its descriptors. An end of the connection is [`io::ErrorKind::UnexpectedEof`].
    pub(super) async fn receive<T: DeserializeOwned>(&self) -> io::Result<(T, Vec<OwnedFd>)> {
        loop {
            self.0.readable().await?;
            match self.0.try_io(Interest::READABLE, || receive_now(self.0.as_fd())) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                received => {
                    let (bytes, descriptors) = received?;
                    return Ok((serde_json::from_slice(&bytes)?, descriptors));
                }
            }
        }
    }
}

fn receive_now(end: BorrowedFd<'_>) -> io::Result<(Vec<u8>, Vec<OwnedFd>)> {
    let mut bytes = vec![0; MESSAGE_BYTES_MAX];
    let mut space = [MaybeUninit::uninit(); ANCILLARY_BYTES];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC;
    let received = rustix::net::recvmsg(end, &mut [IoSliceMut::new(&mut bytes)], &mut ancillary, flags)?;
    let mut descriptors = Vec::new();
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(more) = message {
            descriptors.extend(more);
        }
    }
    if received.bytes == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    if received.flags.contains(ReturnFlags::CTRUNC) {
        return Err(io::Error::other("descriptors were lost: raise the limit of open files (`ulimit -n`)"));
    }
    if received.flags.contains(ReturnFlags::TRUNC) {
        return Err(io::Error::other("a message is longer than this program reads"));
    }
    bytes.truncate(received.bytes);
    Ok((bytes, descriptors))
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{Read as _, Seek as _, Write as _};

    use super::*;

    fn channels() -> (Channel, Channel) {
        let (one, other) = pair().unwrap();
        (Channel::new(one).unwrap(), Channel::new(other).unwrap())
    }

    #[tokio::test]
    async fn messages_stay_whole_and_keep_their_descriptors() {
        let (one, other) = channels();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"content").unwrap();
        let many = vec![file.as_fd(); DESCRIPTORS_MAX];
        one.send(&"with", &many).await.unwrap();
        one.send(&"without", &[]).await.unwrap();
        let (word, descriptors) = other.receive::<String>().await.unwrap();
        assert_eq!((word.as_str(), descriptors.len()), ("with", DESCRIPTORS_MAX));
        let mut last = File::from(descriptors.into_iter().next_back().unwrap());
        last.rewind().unwrap();
        let mut content = String::new();
        last.read_to_string(&mut content).unwrap();
        assert_eq!(content, "content");
        let (word, descriptors) = other.receive::<String>().await.unwrap();
        assert_eq!((word.as_str(), descriptors.len()), ("without", 0));
    }

    #[tokio::test]
    async fn the_end_of_the_other_process_is_seen() {
        let (one, other) = channels();
        one.send(&"last", &[]).await.unwrap();
        drop(one);
        assert_eq!(other.receive::<String>().await.unwrap().0, "last");
        let end = other.receive::<String>().await.unwrap_err();
        assert_eq!(end.kind(), io::ErrorKind::UnexpectedEof);
    }
}
