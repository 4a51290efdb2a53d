//! Where a running gateway is asked for an upgrade: a socket in its data directory, for its own user and root.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};

use super::counts::Heir;
use super::successor::{Program, Successor};
use super::{Order, Outcome};
use crate::running::Running;

/// LIMIT: an order is one line with a path.
const ORDER_BYTES_MAX: u64 = 16 * 1024;

/// LIMIT: who connects and does not ask.
const ORDER_PATIENCE: Duration = Duration::from_secs(5);

/// LIMIT: pause after a connection that could not be taken, so that a lack of descriptors costs no time.
const PAUSE: Duration = Duration::from_millis(100);

/// Where the socket stands.
pub(super) fn place(data_dir: &Path) -> PathBuf {
    data_dir.join("upgrade.sock")
}

/// Where upgrades are asked for.
#[derive(Debug)]
pub struct Requests {
    /// Without it nobody can ask.
    listener: Option<UnixListener>,
    place: PathBuf,
}

/// How the time of a process ends.
#[derive(Debug)]
pub enum End {
    /// It was told to stop.
    Told,
    /// This process serves.
    HandedOver(Heir),
}

impl Requests {
    /// Opens the socket in a data directory that belongs to this process, or goes on with that of the process before.
    /// A gateway that can't be upgraded serves all the same.
    pub fn open(data_dir: &Path, inherited: Option<OwnedFd>) -> Self {
        let place = place(data_dir);
        let listener = match inherited {
            Some(socket) => {
                let socket = std::os::unix::net::UnixListener::from(socket);
                socket.set_nonblocking(true).and_then(|()| UnixListener::from_std(socket))
            }
            None => bind(&place),
        };
        if let Err(error) = &listener {
            tracing::warn!(
                "`{}` can't be opened, so this process can't be upgraded while it runs: {error}: check the data directory, and that its path has less than 90 bytes",
                place.display()
            );
        }
        Self { listener: listener.ok(), place }
    }

    /// Does what is asked for until the process is `told` to stop, or another one serves in its place.
    pub async fn serve(&self, running: &Running, program: &Program, told: impl Future<Output = ()>) -> End {
        let mut told = std::pin::pin!(told);
        loop {
            let (stream, order) = tokio::select! {
                biased;
                () = &mut told => return self.told(),
                asked = self.next() => asked,
            };
            let mut successor = match Successor::start(program, order.binary.as_deref()).await {
                Ok(successor) => successor,
                Err(reason) => {
                    tracing::error!("no upgrade: {reason}");
                    answer(stream, &Outcome::Failed(reason)).await;
                    continue;
                }
            };
            let outcome = tokio::select! {
                biased;
                () = &mut told => None,
                outcome = self.attempt(&mut successor, running, &order) => Some(outcome),
            };
            match outcome {
                None => {
                    successor.abort("the gateway was told to stop").await;
                    answer(stream, &Outcome::Failed("the gateway was told to stop meanwhile".to_owned())).await;
                    return self.told();
                }
                Some(Ok(upgraded)) => {
                    tracing::info!(pid = upgraded.pid, "another process serves now: what is open here is finished");
                    answer(stream, &Outcome::Upgraded(upgraded)).await;
                    return End::HandedOver(successor.into_heir());
                }
                Some(Err(reason)) => {
                    tracing::error!("no upgrade, this process serves on: {reason}");
                    answer(stream, &Outcome::Failed(reason)).await;
                }
            }
        }
    }

    fn told(&self) -> End {
        if self.listener.is_some() {
            // One that stays is replaced by the next start.
            drop(std::fs::remove_file(&self.place));
        }
        End::Told
    }

    /// One upgrade; who asks for another one meanwhile is told so.
    async fn attempt(
        &self,
        successor: &mut Successor,
        running: &Running,
        order: &Order,
    ) -> Result<super::Upgraded, String> {
        let Some(listener) = &self.listener else { return Err("nobody can ask".to_owned()) };
        let busy = async {
            loop {
                let (stream, _) = self.next().await;
                answer(stream, &Outcome::Busy).await;
            }
        };
        tokio::select! {
            outcome = successor.hand_over(running, listener.as_fd(), order) => outcome,
            () = busy => Err("nobody can ask".to_owned()),
        }
    }

    /// The next who may ask, with what is asked for.
    async fn next(&self) -> (UnixStream, Order) {
        let Some(listener) = &self.listener else { return std::future::pending().await };
        loop {
            let stream = match listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!("a request for an upgrade can't be taken: {error}");
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            };
            if !may_ask(&stream) {
                answer(stream, &Outcome::Denied).await;
                continue;
            }
            if let Some(asked) = read(stream).await {
                return asked;
            }
        }
    }
}

fn bind(place: &Path) -> io::Result<UnixListener> {
    match std::fs::remove_file(place) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(place)?;
    std::fs::set_permissions(place, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

fn may_ask(stream: &UnixStream) -> bool {
    stream.peer_cred().is_ok_and(|peer| is_allowed(peer.uid(), rustix::process::geteuid().as_raw()))
}

/// The gateway's own user, and root.
fn is_allowed(user: u32, own: u32) -> bool {
    user == own || user == 0
}

async fn read(stream: UnixStream) -> Option<(UnixStream, Order)> {
    let mut stream = BufReader::new(stream.take(ORDER_BYTES_MAX));
    let mut line = String::new();
    tokio::time::timeout(ORDER_PATIENCE, stream.read_line(&mut line)).await.ok()?.ok()?;
    let order = serde_json::from_str(&line).ok()?;
    Some((stream.into_inner().into_inner(), order))
}

async fn answer(mut stream: UnixStream, outcome: &Outcome) {
    let Ok(mut line) = serde_json::to_vec(outcome) else { return };
    line.push(b'\n');
    // Who left need not know.
    drop(tokio::time::timeout(ORDER_PATIENCE, stream.write_all(&line)).await);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_stranger_gets_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("upgrade.sock");
        let listener = bind(&place).unwrap();
        assert_eq!(std::fs::metadata(&place).unwrap().permissions().mode() & 0o777, 0o600);
        let (asking, asked) = tokio::join!(UnixStream::connect(&place), listener.accept());
        assert!(may_ask(&asked.unwrap().0), "the gateway's own user may");
        drop(asking);
        assert!(is_allowed(0, 1_000) && is_allowed(1_000, 1_000) && !is_allowed(1_001, 1_000));
    }
}
