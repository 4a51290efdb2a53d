//! The new process, as its predecessor sees it: started, given everything, and ended again if it does not get ready.

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::fs::MemfdFlags;
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe;
use tokio::task::JoinHandle;

use super::channel::{Channel, DESCRIPTORS_MAX, pair};
use super::counts::Heir;
use super::{Descriptor, Order, PROTOCOL, State, TAKE_OVER_VARIABLE, ToPredecessor, ToSuccessor, Upgraded, notify};
use crate::running::Running;
use crate::sync::Held;

/// LIMIT: from `Go` to `Serving`: the successor gives its sockets to threads that wait for them.
const GO_PATIENCE: Duration = Duration::from_secs(10);

/// LIMIT: what a successor that closed its connection has to end by itself, so that its exit status is known.
const END_PATIENCE: Duration = Duration::from_secs(1);

/// LIMIT: the end of what a successor wrote that goes into the report.
const TAIL_BYTES_MAX: usize = 2_048;

/// How this process was started.
#[derive(Debug, Clone)]
pub struct Program {
    name: OsString,
    arguments: Vec<OsString>,
}

impl Program {
    /// From the arguments of this process, the name first.
    pub fn new(arguments: &[OsString]) -> Self {
        let (name, arguments) =
            arguments.split_first().map_or_else(Default::default, |(name, rest)| (name.clone(), rest.to_vec()));
        Self { name, arguments }
    }
}

/// A new process on its way to take over.
#[derive(Debug)]
pub(super) struct Successor {
    channel: Channel,
    child: Child,
    said: Arc<Mutex<Vec<u8>>>,
    listening: JoinHandle<()>,
}

/// Who the new process says that it is.
struct Hello {
    pid: u32,
    version: String,
}

/// Why it does not take over.
enum Fault {
    /// It said so.
    Told(String),
    /// The connection ended, or does not work.
    Lost(io::Error),
    /// What this process should have done.
    Here(String),
    /// It did not get on within this time.
    Late(Duration),
}

impl Successor {
    /// Starts it, with the arguments and the environment of this process.
    pub(super) async fn start(program: &Program, binary: Option<&Path>) -> Result<Self, String> {
        let name = binary.map_or_else(|| program.name.clone(), |binary| binary.as_os_str().to_owned());
        let (ours, theirs) = pair().map_err(|error| format!("no connection to a new process can be made: {error}"))?;
        let mut command = Command::new(&name);
        command.args(&program.arguments).env(TAKE_OVER_VARIABLE, "1");
        command.stdin(Stdio::from(theirs)).stderr(Stdio::piped());
        // The command has their end of the connection, which must not stay open here.
        let spawned = tokio::task::spawn_blocking(move || command.spawn()).await;
        let spawned = spawned.unwrap_or_else(|error| Err(io::Error::other(error)));
        let mut child = spawned.map_err(|error| format!("`{}` can't be started: {error}", name.display()))?;
        let said = Arc::default();
        let error_output = child.stderr.take();
        let this = |channel| {
            let listening = tokio::spawn(listen(error_output, Arc::clone(&said)));
            Self { channel, child, said, listening }
        };
        Channel::new(ours).map(this).map_err(|error| format!("the new process can't be heard: {error}"))
    }

    /// Hands everything over; the new process serves when this returns well.
    pub(super) async fn hand_over(
        &mut self,
        running: &Running,
        requests: BorrowedFd<'_>,
        order: &Order,
    ) -> Result<Upgraded, String> {
        match self.try_hand_over(running, requests, order).await {
            Ok(upgraded) => Ok(upgraded),
            Err(fault) => {
                let reason = self.explain(fault).await;
                self.abort(&reason).await;
                running.resume().await;
                Err(reason)
            }
        }
    }

    async fn try_hand_over(
        &mut self,
        running: &Running,
        requests: BorrowedFd<'_>,
        order: &Order,
    ) -> Result<Upgraded, Fault> {
        let prepared = tokio::time::timeout(order.patience, self.prepare(running, requests)).await;
        let (hello, sockets) = prepared.map_err(|_| Fault::Late(order.patience))??;
        let went = tokio::time::timeout(GO_PATIENCE, async {
            self.say(&ToSuccessor::Go, &[]).await?;
            self.hear(|message| matches!(message, ToPredecessor::Serving).then_some(())).await
        });
        went.await.map_err(|_| Fault::Late(GO_PATIENCE))??;
        notify::succeeded_by(hello.pid);
        Ok(Upgraded {
            pid_before: std::process::id(),
            version_before: env!("CARGO_PKG_VERSION").to_owned(),
            pid: hello.pid,
            version: hello.version,
            sockets,
            connections: running.connections(),
            drain_timeout: running.drain_timeout(),
        })
    }

    /// Until it is ready.
    async fn prepare(&self, running: &Running, requests: BorrowedFd<'_>) -> Result<(Hello, usize), Fault> {
        let hello = self.hear(|message| match message {
            ToPredecessor::Hello { protocol: PROTOCOL, pid, version } => Some(Hello { pid, version }),
            _ => None,
        });
        let hello = hello.await?;
        let Held { generation, table } = running.hold().await;
        let sockets = running.share_sockets().await.map_err(|error| {
            Fault::Here(format!("the listening sockets can't be shared: {error}: raise the limit of open files"))
        })?;
        let table = match (generation, table) {
            (Some(_), None) => return Err(Fault::Here("a part of the served table is not at hand".to_owned())),
            (_, table) => table.map(|table| in_memory(&table)).transpose(),
        };
        let table = table.map_err(|error| Fault::Here(format!("the table can't be put into memory: {error}")))?;
        let log = io::stderr();
        let mut given = vec![
            (Descriptor::Lock, running.lock()),
            (Descriptor::Admin, running.admin_socket()),
            (Descriptor::Requests, requests),
            (Descriptor::Log, log.as_fd()),
        ];
        given.extend(table.as_ref().map(|table| (Descriptor::Table, table.as_fd())));
        let (kinds, descriptors): (Vec<_>, Vec<_>) = given.into_iter().unzip();
        let state = State { protocol: PROTOCOL, generation, sockets: sockets.len(), descriptors: kinds };
        self.give(&ToSuccessor::State(state), &descriptors).await?;
        for some in sockets.chunks(DESCRIPTORS_MAX) {
            let descriptors: Vec<_> = some.iter().map(OwnedFd::as_fd).collect();
            self.give(&ToSuccessor::Sockets, &descriptors).await?;
        }
        self.hear(|message| matches!(message, ToPredecessor::Ready).then_some(())).await?;
        Ok((hello, sockets.len()))
    }

    /// Sends descriptors, and waits until they arrived: the kernel counts those on their way.
    async fn give(&self, message: &ToSuccessor, descriptors: &[BorrowedFd<'_>]) -> Result<(), Fault> {
        self.say(message, descriptors).await?;
        self.hear(|message| matches!(message, ToPredecessor::Received).then_some(())).await
    }

    async fn say(&self, message: &ToSuccessor, descriptors: &[BorrowedFd<'_>]) -> Result<(), Fault> {
        self.channel.send(message, descriptors).await.map_err(Fault::Lost)
    }

    /// The next message, which must be what `wanted` takes.
    async fn hear<T>(&self, wanted: impl FnOnce(ToPredecessor) -> Option<T>) -> Result<T, Fault> {
        let (message, _) = self.channel.receive().await.map_err(Fault::Lost)?;
        match message {
            ToPredecessor::Failed(reason) => Err(Fault::Told(reason)),
            message => {
                let told = format!("{message:?}");
                wanted(message).ok_or_else(|| Fault::Told(format!("it said {told} out of turn")))
            }
        }
    }

    /// The reason in words for an operator.
    async fn explain(&mut self, fault: Fault) -> String {
        let what = match fault {
            Fault::Here(reason) => return reason,
            Fault::Told(reason) => return format!("the new process does not take over: {reason}"),
            Fault::Late(patience) => format!("the new process was not ready within {patience:?}"),
            Fault::Lost(error) => match self.ended_by_itself().await {
                Some(status) => format!("the new process ended before it was ready ({status})"),
                None => format!("the new process can't be heard: {error}: is it a vamp-gateway that can take over?"),
            },
        };
        if self.child.try_wait().is_ok_and(|status| status.is_some()) {
            // Its last words may be on their way.
            drop(tokio::time::timeout(END_PATIENCE, &mut self.listening).await);
        }
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let said = String::from_utf8_lossy(&said);
        match said.trim() {
            "" => what,
            said => format!("{what}; it said:\n{said}"),
        }
    }

    async fn ended_by_itself(&mut self) -> Option<ExitStatus> {
        let ended = async {
            loop {
                match self.child.try_wait() {
                    Ok(None) => tokio::time::sleep(Duration::from_millis(10)).await,
                    ended => return ended.ok().flatten(),
                }
            }
        };
        tokio::time::timeout(END_PATIENCE, ended).await.ok().flatten()
    }

    /// The one that serves, to be told what was counted here.
    pub(super) fn into_heir(self) -> Heir {
        Heir { channel: self.channel, process: Mutex::new(self.child) }
    }

    /// Ends it. It is told, too: a program between the two may be what is killed.
    pub(super) async fn abort(&mut self, reason: &str) {
        let reason = reason.chars().take(1_000).collect();
        let message = ToSuccessor::Abort(reason);
        let told = self.channel.send(&message, &[]);
        drop(tokio::time::timeout(END_PATIENCE, told).await);
        // One that has ended already can't be killed, which is as well.
        drop(self.child.kill());
        drop(self.child.wait());
        self.listening.abort();
    }
}

/// Passes on what the new process writes before it has this process's own standard error.
async fn listen(output: Option<std::process::ChildStderr>, said: Arc<Mutex<Vec<u8>>>) {
    let Some(Ok(mut output)) = output.map(|output| pipe::Receiver::from_owned_fd(output.into())) else { return };
    let mut bytes = [0; 1024];
    while let Ok(read @ 1..) = output.read(&mut bytes).await {
        let some = bytes.get(..read).unwrap_or_default();
        // A log that can't be written is lost.
        drop(io::stderr().write_all(some));
        let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
        said.extend_from_slice(some);
        let surplus = said.len().saturating_sub(TAIL_BYTES_MAX);
        said.drain(..surplus);
    }
}

/// A file that needs no disk.
pub(super) fn in_memory(content: &[u8]) -> io::Result<OwnedFd> {
    let mut file = std::fs::File::from(rustix::fs::memfd_create("vamp-table", MemfdFlags::CLOEXEC)?);
    file.write_all(content)?;
    Ok(file.into())
}
