//! How many clients the process has room for: by its limit of open files and by its memory, told once at the start.

use std::os::fd::{AsRawFd, RawFd};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::{info, warn};

use crate::memory::Memory;

/// LIMIT: descriptors kept for other things than clients and endpoints: the store, 64 connections of the admin listener,
/// files, event queues, clients that are turned away, and the sockets of a hundred ports. Half of them where the limit
/// is so low that this would be more.
const RESERVED: u64 = 256;

/// LIMIT: clients that are served however little there is; then descriptors or memory may run out, and clients are
/// turned away.
const CONNECTIONS_MIN: usize = 16;

/// LIMIT: connections, unless the settings say otherwise: 100 MiB when all are idle, and 4 GiB when none of their clients
/// takes its answer.
const CONNECTIONS_MAX: usize = 65_536;

/// LIMIT: memory that each connection has room for. An idle one takes about 1 KiB, one whose client does not take its
/// answer up to 64 KiB. A connection of a TCP gateway of which neither side takes anything keeps that twice: such are few,
/// or the memory runs short and nobody else is let in.
const BYTES_PER_CONNECTION: u64 = 64 * 1024;

/// LIMIT: descriptors, the last below the limit, that no connection of a client or to an endpoint keeps: enough to turn
/// clients away on each thread, and for a file and a connection to the store. An eighth of the limit where it is low.
const KEPT: u64 = 32;

/// Fewer connections than this are worth a warning.
const FEW_CONNECTIONS: usize = 1_000;

/// What the process has room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Capacity {
    /// Client connections.
    pub(crate) connections: usize,
    /// The limit of open files; `None`: there is none.
    pub(crate) open_files: Option<u64>,
    /// The limit of memory in bytes, as far as one is known.
    pub(crate) memory_bytes: Option<u64>,
}

/// The last descriptors of the process. The kernel gives the lowest number that is free, so who gets one of these is the
/// one who knows that nearly none is left: nothing needs to be counted, and no other thread can be faster.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LastDescriptors {
    from: Option<RawFd>,
}

impl LastDescriptors {
    pub(super) fn new(open_files: Option<u64>) -> Self {
        Self { from: open_files.and_then(|limit| RawFd::try_from(limit - KEPT.min(limit / 8)).ok()) }
    }

    /// Where nothing is kept.
    #[cfg(test)]
    pub(crate) const NONE: Self = Self { from: None };

    /// Whether this is one of them: it is to be closed soon.
    pub(crate) fn include(self, descriptor: &impl AsRawFd) -> bool {
        self.from.is_some_and(|from| descriptor.as_raw_fd() >= from)
    }
}

/// Raises the limit of open files as far as the process may, and says how many client connections it has room for:
/// `wanted`, or what open files and memory allow. Each may need another descriptor for its endpoint.
pub(super) fn room_for(wanted: Option<usize>, memory: &Memory) -> Capacity {
    let open_files = raise_open_files();
    let limit = memory.limit();
    let by_files = open_files.map_or(usize::MAX, |limit| whole((limit - RESERVED.min(limit / 2)) / 2));
    let by_memory = limit.map_or(usize::MAX, |(bytes, _)| whole(bytes / BYTES_PER_CONNECTION));
    let room = by_files.min(by_memory).max(CONNECTIONS_MIN);
    let connections = wanted.unwrap_or_else(|| room.min(CONNECTIONS_MAX));
    let files = open_files.map_or_else(|| "no limit of open files".to_owned(), |limit| format!("{limit} open files"));
    let memory = limit
        .map_or_else(String::new, |(bytes, whose)| format!(" and {} MiB of memory {}", bytes >> 20, whose.words()));
    let by_system = |room: usize| if room == usize::MAX { "any number".to_owned() } else { room.to_string() };
    info!(
        connections,
        "up to {connections} client connections: {files} (room for {}){memory} (room for {})",
        by_system(by_files),
        by_system(by_memory),
    );
    if connections > room {
        warn!(
            "--connections-max is {connections}, but there is room for {room}: where each needs another connection to an endpoint, descriptors or memory run out before; raise `ulimit -n` or the memory"
        );
    } else if connections < FEW_CONNECTIONS && wanted.is_none() {
        warn!("there is room for {connections} client connections only: raise `ulimit -n` or the memory");
    }
    Capacity { connections, open_files, memory_bytes: limit.map(|(bytes, _)| bytes) }
}

fn whole(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
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
    fn the_last_descriptors_are_those_next_to_the_limit() {
        for (limit, first) in [(Some(1_024), Some(992)), (Some(64), Some(56)), (None, None)] {
            let last = LastDescriptors::new(limit);
            assert_eq!(last.from, first);
            if let Some(first) = first {
                assert!(last.include(&first) && !last.include(&(first - 1)), "{limit:?}");
            }
        }
        assert!(!LastDescriptors::NONE.include(&RawFd::MAX));
    }

    #[test]
    fn the_limit_of_open_files_is_raised_and_bounds_the_clients_with_the_memory() {
        let plenty = Memory::new(None);
        assert_eq!(room_for(Some(1), &plenty).connections, 1);
        let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
        assert_eq!(current, maximum);
        let capacity = room_for(None, &plenty);
        assert_eq!(capacity.open_files, maximum);
        assert!(capacity.connections >= CONNECTIONS_MIN && capacity.connections <= CONNECTIONS_MAX, "{capacity:?}");
        assert!(maximum.is_none_or(|maximum| capacity.connections as u64 <= maximum), "{capacity:?}");
        let little = room_for(None, &Memory::new(Some(100 * BYTES_PER_CONNECTION)));
        assert_eq!((little.connections, little.memory_bytes), (100, Some(100 * BYTES_PER_CONNECTION)));
    }
}
