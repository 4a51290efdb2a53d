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
        say(&self.channel, &ToPredecessor::Ready).await?;
        match hear(&self.channel).await {
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
