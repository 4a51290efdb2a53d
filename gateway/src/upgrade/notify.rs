//! Tells the supervisor how the process does, as systemd wants to hear it (`sd_notify(3)`): one datagram each.

use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// Whether a supervisor listens, who starts another process when all of this service have ended.
pub(crate) fn is_supervised() -> bool {
    std::env::var_os("NOTIFY_SOCKET").is_some()
}

/// The process runs.
pub fn ready() {
    tell("READY=1");
}

/// The process was told to stop.
pub fn stopping() {
    tell("STOPPING=1");
}

/// Another process is the service now.
pub(super) fn succeeded_by(pid: u32) {
    tell(&format!("MAINPID={pid}\nREADY=1"));
}

/// Without a supervisor that listens it does nothing.
fn tell(message: &str) {
    let Some(place) = std::env::var_os("NOTIFY_SOCKET") else { return };
    if let Err(error) = tell_at(&place, message) {
        tracing::warn!("the supervisor could not be told `{message}` at `{}`: {error}", place.display());
    }
}

fn tell_at(place: &std::ffi::OsStr, message: &str) -> io::Result<()> {
    let socket = UnixDatagram::unbound()?;
    // A supervisor that does not read must not stop the service.
    socket.set_nonblocking(true)?;
    let address = match place.as_encoded_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(place)?,
    };
    socket.send_to_addr(message.as_bytes(), &address).map(drop)
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;

    #[test]
    fn a_supervisor_hears_at_a_path_and_at_an_abstract_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let name = format!("@vamp-test-{:x}", rand::random::<u64>());
        let abstract_name = SocketAddr::from_abstract_name(&name.as_bytes()[1..]).unwrap();
        let places = [
            (OsString::from(&path), UnixDatagram::bind(&path).unwrap()),
            (OsString::from(name), UnixDatagram::bind_addr(&abstract_name).unwrap()),
        ];
        for (place, supervisor) in places {
            tell_at(&place, "READY=1").unwrap();
            let mut heard = [0; 64];
            let bytes = supervisor.recv(&mut heard).unwrap();
            assert_eq!(&heard[..bytes], b"READY=1");
        }
    }
}
