//! The process before, as its successor sees it: what it hands over, and when it leaves.

use std::fs::File;
use std::io::{self, Read as _, Seek as _};
use std::net::TcpListener;
use std::os::fd::{AsFd as _, OwnedFd};
use std::time::Duration;

use bytes::Bytes;
use rustix::net::SocketType;
use vamp_routing::wire::Generation;

use super::channel::Channel;
use super::{Descriptor, PROTOCOL, State, TAKE_OVER_VARIABLE, ToPredecessor, ToSuccessor, counts};
use crate::logging::with_causes;
use crate::running::Running;

/// LIMIT: what the predecessor needs to answer: it waits for its disk and its store to end what is under way, each
/// bounded by 10 s there.
const PATIENCE: Duration = Duration::from_secs(30);

/// Why a process does not take over.
#[derive(Debug, thiserror::Error)]
pub enum TakeOverError {
    /// It was not started by a gateway.
    #[error(
        "{TAKE_OVER_VARIABLE} is set, but this process was not started by `vamp-gateway upgrade`: take the variable out of the environment"
    )]
    NoPredecessor,
    /// The predecessor says something else than it should.
    #[error("the process before does not hand over: {0}")]
    Refused(String),
    /// The connection to it does not work.
    #[error("the process before can't be heard")]
    Connection(#[source] io::Error),
}

/// The process before.
#[derive(Debug)]
pub struct Predecessor {
    channel: Channel,
    pub(crate) lock: Option<OwnedFd>,
    pub(crate) admin: Option<OwnedFd>,
    requests: Option<OwnedFd>,
    pub(crate) sockets: Vec<TcpListener>,
    pub(crate) table: Option<Bytes>,
    pub(crate) generation: Option<Generation>,
}

impl Predecessor {
    /// What a predecessor hands over, if this process was started by one.
    pub async fn meet() -> Result<Option<Self>, TakeOverError> {
        if std::env::var_os(TAKE_OVER_VARIABLE).is_none() {
            return Ok(None);
        }
        let end = take_standard_input().map_err(TakeOverError::Connection)?.ok_or(TakeOverError::NoPredecessor)?;
        // Descriptors beyond the limit would be lost on their way.
        crate::plane::raise_open_files();
        let channel = Channel::new(end).map_err(TakeOverError::Connection)?;
        let (pid, version) = (std::process::id(), env!("CARGO_PKG_VERSION").to_owned());
        say(&channel, &ToPredecessor::Hello { protocol: PROTOCOL, pid, version }).await?;
        let mut this = Self {
            channel,
            lock: None,
            admin: None,
            requests: None,
            sockets: Vec::new(),
            table: None,
            generation: None,
        };
        match this.take_all().await {
            Ok(()) => Ok(Some(this)),
            Err(error) => {
                this.failed(&with_causes(&error)).await;
                Err(error)
            }
        }
    }

    async fn take_all(&mut self) -> Result<(), TakeOverError> {
        let (message, descriptors) = hear(&self.channel).await?;
        let ToSuccessor::State(state) = message else { return Err(unexpected(&message)) };
        if state.protocol != PROTOCOL {
            let reason = format!(
                "it speaks version {} of the hand-over, this program version {PROTOCOL}: stop the gateway and start the new one",
                state.protocol
            );
            return Err(TakeOverError::Refused(reason));
        }
        self.generation = state.generation;
        self.take(&state, descriptors).map_err(TakeOverError::Connection)?;
        say(&self.channel, &ToPredecessor::Received).await?;
        while self.sockets.len() < state.sockets {
            let (message, descriptors) = hear(&self.channel).await?;
            if !matches!(message, ToSuccessor::Sockets) || descriptors.is_empty() {
                return Err(unexpected(&message));
            }
            self.sockets.extend(descriptors.into_iter().map(TcpListener::from));
            say(&self.channel, &ToPredecessor::Received).await?;
        }
        Ok(())
    }

    fn take(&mut self, state: &State, descriptors: Vec<OwnedFd>) -> io::Result<()> {
        for (kind, descriptor) in state.descriptors.iter().zip(descriptors) {
            match kind {
                Descriptor::Lock => self.lock = Some(descriptor),
                Descriptor::Admin => self.admin = Some(descriptor),
                Descriptor::Requests => self.requests = Some(descriptor),
                Descriptor::Log => rustix::stdio::dup2_stderr(descriptor)?,
                Descriptor::Table => {
                    let mut file = File::from(descriptor);
                    // Both processes have one place in it.
                    file.rewind()?;
                    let mut content = Vec::new();
                    file.read_to_end(&mut content)?;
                    self.table = Some(content.into());
                }
            }
        }
        Ok(())
    }

    /// Says that all is ready here, and returns when it is this process's turn: the predecessor said so, or is gone.
    pub(crate) async fn ready(&self) -> Result<(), TakeOverError> {
        if let Err(error) = say(&self.channel, &ToPredecessor::Ready).await {
            tracing::warn!("the process before can't be told that this one is ready: {}", with_causes(&error));
        }
        let mut heard = hear(&self.channel).await;
        // It ended and had not heard everything, which is told before its own last word.
        if matches!(&heard, Err(TakeOverError::Connection(error)) if error.kind() == io::ErrorKind::ConnectionReset) {
            heard = hear(&self.channel).await;
        }
        match heard {
            Ok((ToSuccessor::Go, _)) => Ok(()),
            Ok((message, _)) => Err(unexpected(&message)),
            Err(TakeOverError::Connection(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
                tracing::warn!("the process before ended while it handed over: this one serves");
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Says that this process serves.
    pub(crate) async fn serving(&self) {
        if let Err(error) = say(&self.channel, &ToPredecessor::Serving).await {
            tracing::warn!("the process before can't be told that this one serves: {error}");
        }
    }

    /// The socket on which upgrades are asked for. What the process before counts is heard from now on.
    pub fn into_requests(self, running: &Running) -> Option<OwnedFd> {
        counts::listen(self.channel, running.before());
        self.requests
    }

    /// Says why this process ends.
    pub async fn failed(&self, reason: &str) {
        // LIMIT: of a message.
        let reason = reason.chars().take(4_000).collect();
        // Who does not hear it sees the end.
        drop(say(&self.channel, &ToPredecessor::Failed(reason)).await);
    }
}

async fn say(channel: &Channel, message: &ToPredecessor) -> Result<(), TakeOverError> {
    channel.send(message, &[]).await.map_err(TakeOverError::Connection)
}

async fn hear(channel: &Channel) -> Result<(ToSuccessor, Vec<OwnedFd>), TakeOverError> {
    let silence = || TakeOverError::Connection(io::ErrorKind::TimedOut.into());
    let heard = tokio::time::timeout(PATIENCE, channel.receive()).await.map_err(|_| silence())?;
    heard.map_err(TakeOverError::Connection)
}

fn unexpected(message: &ToSuccessor) -> TakeOverError {
    TakeOverError::Refused(match message {
        ToSuccessor::Abort(reason) => reason.clone(),
        message => format!("it said {message:?} out of turn"),
    })
}

/// The connection that stands in the place of standard input, which is empty from now on.
fn take_standard_input() -> io::Result<Option<OwnedFd>> {
    let input = std::io::stdin().as_fd().try_clone_to_owned()?;
    if rustix::net::sockopt::socket_type(&input).ok() != Some(SocketType::SEQPACKET) {
        return Ok(None);
    }
    rustix::stdio::dup2_stdin(File::open("/dev/null")?)?;
    Ok(Some(input))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upgrade::channel::pair;

    /// A successor, and its predecessor's end.
    fn met() -> (Predecessor, Channel) {
        let (ours, theirs) = pair().unwrap();
        let before = Predecessor {
            channel: Channel::new(theirs).unwrap(),
            lock: None,
            admin: None,
            requests: None,
            sockets: Vec::new(),
            table: None,
            generation: None,
        };
        (before, Channel::new(ours).unwrap())
    }

    #[tokio::test]
    async fn its_turn_comes_by_word_or_by_the_end_of_the_process_before() {
        let (before, channel) = met();
        channel.send(&ToSuccessor::Go, &[]).await.unwrap();
        before.ready().await.unwrap();
        assert!(matches!(channel.receive().await.unwrap().0, ToPredecessor::Ready));
        let (before, channel) = met();
        let ended = async {
            assert!(matches!(channel.receive().await.unwrap().0, ToPredecessor::Ready));
            drop(channel);
        };
        let (ready, ()) = tokio::join!(before.ready(), ended);
        ready.unwrap();
        // It ended before it heard, or could hear, that this one is ready.
        let (before, channel) = met();
        say(&before.channel, &ToPredecessor::Ready).await.unwrap();
        drop(channel);
        before.ready().await.unwrap();
    }

    #[tokio::test]
    async fn one_that_is_told_to_end_does_not_take_the_end_of_the_connection_for_its_turn() {
        for is_unheard in [false, true] {
            let (before, channel) = met();
            if is_unheard {
                say(&before.channel, &ToPredecessor::Ready).await.unwrap();
            }
            channel.send(&ToSuccessor::Abort("it took too long".to_owned()), &[]).await.unwrap();
            drop(channel);
            let error = with_causes(&before.ready().await.unwrap_err());
            assert!(error.contains("it took too long"), "{error}");
        }
    }

    #[tokio::test]
    async fn sockets_come_in_as_many_messages_as_they_take() {
        let (mut before, channel) = met();
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let told = async {
            let descriptors = vec![Descriptor::Lock];
            let state = State { protocol: PROTOCOL, generation: None, sockets: 3, descriptors };
            channel.send(&ToSuccessor::State(state), &[socket.as_fd()]).await.unwrap();
            for sockets in [2, 1] {
                assert!(matches!(channel.receive().await.unwrap().0, ToPredecessor::Received));
                channel.send(&ToSuccessor::Sockets, &vec![socket.as_fd(); sockets]).await.unwrap();
            }
        };
        let (taken, ()) = tokio::join!(before.take_all(), told);
        taken.unwrap();
        assert!(before.lock.is_some());
        let there = before.sockets.iter().map(|taken| taken.local_addr().unwrap());
        assert_eq!(there.collect::<Vec<_>>(), [socket.local_addr().unwrap(); 3]);
    }
}
