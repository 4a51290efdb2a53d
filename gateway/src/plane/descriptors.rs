//! The process's limit of open files, and how many clients it allows.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::{info, warn};

/// LIMIT: descriptors kept for other things than clients and endpoints: the store, the admin listener, files, event
/// queues, and the sockets of a hundred ports.
const RESERVED: u64 = 256;

/// LIMIT: clients that are served however low the limit is; then descriptors may run out, and accepting pauses.
const CONNECTIONS_MIN: usize = 16;

/// Raises the limit of open files as far as the process may, and says how many client connections it has room for, up
/// to `connections_max`: each may need another descriptor for its endpoint.
pub(super) fn room_for(connections_max: usize) -> usize {
    let Some(limit) = raise_open_files() else { return connections_max };
    let room = usize::try_from(limit.saturating_sub(RESERVED) / 2).unwrap_or(usize::MAX).max(CONNECTIONS_MIN);
    if room < connections_max {
        info!(
            open_files = limit,
            "the limit of {limit} open files leaves room for {room} client connections: raise it (`ulimit -n`) for up to {connections_max}"
        );
    }
    room.min(connections_max)
}

/// The limit after raising it; `None`: there is none.
pub(crate) fn raise_open_files() -> Option<u64> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let current = current?;
    if maximum == Some(current) {
        return Some(current);
    }
    match setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        Ok(()) => maximum,
        Err(error) => {
            warn!(%error, "the limit of {current} open files could not be raised: start the process with a higher one (`ulimit -n`)");
            Some(current)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_of_open_files_is_raised_and_bounds_the_clients() {
        assert_eq!(room_for(1), 1);
        let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
        assert_eq!(current, maximum);
        let room = room_for(usize::MAX);
        assert!(room >= CONNECTIONS_MIN && maximum.is_none_or(|maximum| room as u64 <= maximum), "{room}");
    }
}
