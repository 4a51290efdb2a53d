//! How much memory the process may use, and whether it is about to use all of it: what the system takes away then is
//! the whole process, so connections are turned away before.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Resource, getrlimit};

/// LIMIT: memory below the limit that is left to the requests that are under way: a tenth of it, and at least what the
/// buffers of 250 blocked answers take, which may have been let in before they filled; but no more than a quarter.
const LEFT_PART: u64 = 10;
const LEFT_BYTES_MIN: u64 = 16 * 1024 * 1024;
const LEFT_PART_MAX: u64 = 4;

/// LIMIT: what the host must have left of all its memory: a twentieth, at least 32 MiB and at most 1 GiB. Below it the
/// kernel is about to choose a process to end, and what others take until the next look comes out of it too. It counts only
/// where this process has more resident than is left: else others are the reason, and turning clients away gives nothing
/// back that would matter.
const HOST_LEFT_PART: u64 = 20;

/// Part of what is used on the host from which on this process is one that uses it.
const HOST_USED_PART: u64 = 4;
const HOST_LEFT_BYTES: (u64, u64) = (32 * 1024 * 1024, 1024 * 1024 * 1024);

/// How old the last look may be, in time and in clients that were let in. A look costs some system calls.
const LOOK_EVERY: Duration = Duration::from_millis(100);
const LOOK_EVERY_CLIENTS: u64 = 32;

/// The memory of the process: its limits, and the newest look at them.
#[derive(Debug)]
pub(crate) struct Memory {
    /// What the settings allow the process to have resident.
    resident_max: Option<u64>,
    group: Option<Group>,
    started: Instant,
    looked_ms: AtomicU64,
    asked: AtomicU64,
    supply: AtomicU8,
}

/// How much memory there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
enum Supply {
    Enough,
    /// Nobody else is let in.
    Short,
    /// Half of what was left to requests under way is used: no request is taken.
    Scarce,
}

/// Who limits the memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MemoryLimit {
    /// `--memory-bytes-max`.
    Setting,
    /// The control group.
    Group,
    /// `ulimit -v`.
    AddressSpace,
    /// `ulimit -d`.
    Data,
    /// What the host has available when the gateway starts.
    Host,
}

/// The memory of the host.
#[derive(Debug, Clone, Copy)]
struct Host {
    total: u64,
    available: u64,
}

impl MemoryLimit {
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Setting => "by --memory-bytes-max",
            Self::Group => "by the control group",
            Self::AddressSpace => "by the limit of address space",
            Self::Data => "by the limit of data",
            Self::Host => "available on the host",
        }
    }
}

/// A control group with a limit of memory: everything in it is ended when that is passed.
#[derive(Debug)]
struct Group {
    limit: u64,
    used: PathBuf,
    details: PathBuf,
}

impl Memory {
    pub(crate) fn new(resident_max: Option<u64>) -> Self {
        let now = Instant::now();
        let group = Group::of_this_process(Path::new("/"));
        let (looked_ms, asked) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { resident_max, group, started: now, looked_ms, asked, supply: AtomicU8::new(Supply::Enough as u8) }
    }

    /// The smallest limit, and whose it is; `None` when not even the host says what it has.
    pub(crate) fn limit(&self) -> Option<(u64, MemoryLimit)> {
        let limits = [
            (self.resident_max, MemoryLimit::Setting),
            (self.group.as_ref().map(|group| group.limit), MemoryLimit::Group),
            (getrlimit(Resource::As).current, MemoryLimit::AddressSpace),
            (getrlimit(Resource::Data).current, MemoryLimit::Data),
            (Host::now().map(|host| host.available), MemoryLimit::Host),
        ];
        limits.into_iter().filter_map(|(limit, whose)| Some((limit?, whose))).min_by_key(|(limit, _)| *limit)
    }

    /// Whether so much is used that nobody else may be let in, now that somebody asks to be. `has_few`: there are so few
    /// clients that they are not the reason.
    pub(crate) fn is_short(&self, now: Instant, has_few: impl Fn() -> bool) -> bool {
        let asked = self.asked.fetch_add(1, Ordering::Relaxed);
        let now_ms = u64::try_from(now.saturating_duration_since(self.started).as_millis()).unwrap_or(u64::MAX);
        let looked_ms = self.looked_ms.load(Ordering::Relaxed);
        let every_ms = u64::try_from(LOOK_EVERY.as_millis()).unwrap_or(u64::MAX);
        if now_ms >= looked_ms.saturating_add(every_ms) || asked.is_multiple_of(LOOK_EVERY_CLIENTS) {
            self.looked_ms.store(now_ms, Ordering::Relaxed);
            let supply = if has_few() { Supply::Enough } else { self.look() };
            self.supply.store(supply as u8, Ordering::Relaxed);
        }
        self.supply.load(Ordering::Relaxed) >= Supply::Short as u8
    }

    /// Whether so much is used that no request may be taken, when it was last looked.
    #[inline]
    pub(crate) fn is_scarce(&self) -> bool {
        self.supply.load(Ordering::Relaxed) == Supply::Scarce as u8
    }

    fn look(&self) -> Supply {
        let Some(own) = Own::now() else { return Supply::Enough };
        let group = self.group.as_ref().and_then(|group| Some((group.used()?, group.limit)));
        // The limits of the process may be changed from outside while it runs.
        let limits = [
            self.resident_max.map(|limit| (own.resident, limit)),
            group,
            getrlimit(Resource::As).current.map(|limit| (own.address_space, limit)),
            getrlimit(Resource::Data).current.map(|limit| (own.data, limit)),
        ];
        let of_host = Host::now().map(|host| host.supply(own.resident));
        let of_limits = limits.into_iter().flatten().map(|(used, limit)| supply(used, limit));
        of_limits.chain(of_host).max().unwrap_or(Supply::Enough)
    }
}

fn supply(used: u64, limit: u64) -> Supply {
    Supply::of(limit.saturating_sub(used), (limit / LEFT_PART).max(LEFT_BYTES_MIN).min(limit / LEFT_PART_MAX))
}

impl Supply {
    /// Where so much is free of what must be left.
    fn of(free: u64, left: u64) -> Self {
        if free < left / 2 {
            Self::Scarce
        } else if free < left {
            Self::Short
        } else {
            Self::Enough
        }
    }
}

impl Host {
    fn now() -> Option<Self> {
        Self::read(&fs::read_to_string("/proc/meminfo").ok()?)
    }

    fn read(text: &str) -> Option<Self> {
        Some(Self { total: bytes_of(text, "MemTotal:")?, available: bytes_of(text, "MemAvailable:")? })
    }

    fn supply(self, resident: u64) -> Supply {
        let (least, most) = HOST_LEFT_BYTES;
        // Where others use the memory, turning clients away gives nothing back and takes the service away.
        let part_of_used = self.total.saturating_sub(self.available) / HOST_USED_PART;
        if resident < self.available.max(part_of_used) {
            return Supply::Enough;
        }
        Supply::of(self.available, (self.total / HOST_LEFT_PART).clamp(least, most))
    }
}

/// What the process uses, in bytes.
#[derive(Debug, Clone, Copy)]
struct Own {
    address_space: u64,
    resident: u64,
    data: u64,
}

impl Own {
    fn now() -> Option<Self> {
        let text = fs::read_to_string("/proc/self/status").ok()?;
        let bytes = |name: &str| bytes_of(&text, name);
        Some(Self { address_space: bytes("VmSize:")?, resident: bytes("VmRSS:")?, data: bytes("VmData:")? })
    }
}

/// Bytes that this process has resident.
pub(crate) fn resident_bytes() -> u64 {
    Own::now().map_or(0, |own| own.resident)
}

/// The figure in a line of `/proc`, which counts in KiB.
fn bytes_of(text: &str, name: &str) -> Option<u64> {
    let figure = text.lines().find_map(|line| line.strip_prefix(name))?;
    figure.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib.saturating_mul(1024))
}

impl Group {
    /// The group of this process, or the one above it with the smallest limit. Both generations of control groups have
    /// it; in a container, the group's path may be that of the host, and then the top is the container's own.
    fn of_this_process(root: &Path) -> Option<Self> {
        let groups = fs::read_to_string(root.join("proc/self/cgroup")).ok()?;
        let mounted = root.join("sys/fs/cgroup");
        let new = groups.lines().find_map(|line| line.strip_prefix("0::"));
        let old = groups.lines().find_map(|line| {
            let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
            controllers.split(',').any(|controller| controller == "memory").then_some(path)
        });
        let new = new.and_then(|path| Self::smallest(&mounted, path, "memory.max", "memory.current"));
        let old = old.and_then(|path| {
            Self::smallest(&mounted.join("memory"), path, "memory.limit_in_bytes", "memory.usage_in_bytes")
        });
        [new, old].into_iter().flatten().min_by_key(|group| group.limit)
    }

    fn smallest(mounted: &Path, path: &str, limit: &str, used: &str) -> Option<Self> {
        let groups = Path::new(path.trim_start_matches('/')).ancestors().map(|path| mounted.join(path));
        let limited = groups.filter_map(|folder| {
            // `max`, and the old kind's number for it, are no limits.
            let limit = fs::read_to_string(folder.join(limit)).ok()?.trim().parse().ok()?;
            let is_limit = limit < u64::MAX / 4;
            is_limit.then(|| Self { limit, used: folder.join(used), details: folder.join("memory.stat") })
        });
        limited.min_by_key(|group| group.limit)
    }

    /// What the kernel can't take back by itself: without the cached pages of files.
    fn used(&self) -> Option<u64> {
        let used: u64 = fs::read_to_string(&self.used).ok()?.trim().parse().ok()?;
        let details = fs::read_to_string(&self.details).unwrap_or_default();
        let cached = ["inactive_file ", "active_file "].into_iter().filter_map(|name| {
            details.lines().find_map(|line| line.strip_prefix(name)).and_then(|bytes| bytes.parse::<u64>().ok())
        });
        Some(cached.fold(used, u64::saturating_sub))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn group(groups: &str, files: &[(&str, &str)]) -> Option<(u64, Option<u64>)> {
        let root = tempfile::tempdir().unwrap();
        let all = [("proc/self/cgroup", groups)].into_iter().chain(files.iter().copied());
        for (path, text) in all {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        Group::of_this_process(root.path()).map(|group| (group.limit, group.used()))
    }

    #[test]
    fn the_smallest_limit_of_the_groups_above_counts_without_cached_files() {
        let files = [
            ("sys/fs/cgroup/a/memory.max", "1000\n"),
            ("sys/fs/cgroup/a/memory.current", "700\n"),
            ("sys/fs/cgroup/a/memory.stat", "anon 300\ninactive_file 250\nactive_file 50\n"),
            ("sys/fs/cgroup/a/b/memory.max", "max\n"),
        ];
        assert_eq!(group("0::/a/b\n", &files), Some((1000, Some(400))));
        assert_eq!(group("0::/\n", &files), None);
    }

    #[test]
    fn a_container_finds_its_limit_at_the_top_and_groups_of_the_old_kind_have_one_too() {
        let files = [
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "2000\n"),
            ("sys/fs/cgroup/memory/memory.usage_in_bytes", "5\n"),
        ];
        assert_eq!(group("4:cpu,memory:/docker/abc\n0::/\n", &files), Some((2000, Some(5))));
        let unlimited = [("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n")];
        assert_eq!(group("4:memory:/\n", &unlimited), None);
    }

    #[test]
    fn memory_is_short_when_the_process_is_near_its_limit_and_clients_are_the_reason() {
        let later = Instant::now() + Duration::from_secs(1);
        let tiny = Memory::new(Some(1024 * 1024));
        assert!(tiny.is_short(later, || false) && tiny.is_scarce(), "no process is that small");
        assert!(!tiny.is_short(later + Duration::from_secs(1), || true) && !tiny.is_scarce());
        let memory = Memory::new(Some(u64::MAX / 8));
        assert!(!memory.is_short(later, || false));
        assert!(memory.limit().is_some_and(|(limit, whose)| limit > 0 && whose != MemoryLimit::Setting));
        assert!(resident_bytes() > 0);
    }

    #[test]
    fn a_host_without_any_other_limit_runs_short_when_this_process_is_the_reason() {
        let host = |total_mib: u64, available_kib: u64| {
            let text = format!("MemTotal: {} kB\nMemFree: 1 kB\nMemAvailable: {available_kib} kB\n", total_mib * 1024);
            Host::read(&text).unwrap()
        };
        let (mib, gib) = (1024 * 1024, 1024 * 1024 * 1024);
        // Of 2 GiB, 102 MiB must be left.
        assert_eq!(host(2048, 110 * 1024).supply(gib), Supply::Enough);
        assert_eq!(host(2048, 100 * 1024).supply(gib), Supply::Short);
        assert_eq!(host(2048, 50 * 1024).supply(gib), Supply::Scarce);
        assert_eq!(host(2048, 50 * 1024).supply(20 * mib), Supply::Enough, "others took it");
        assert_eq!(host(64 * 1024, 500 * 1024).supply(600 * mib), Supply::Enough, "others took most of it");
        // At least 32 MiB, and at most 1 GiB.
        assert_eq!(host(128, 31 * 1024).supply(64 * mib), Supply::Short);
        assert_eq!(host(128, 33 * 1024).supply(64 * mib), Supply::Enough);
        assert_eq!(host(256 * 1024, 1024 * 1024).supply(100 * gib), Supply::Enough);
        assert_eq!(host(256 * 1024, 1024 * 1024 - 1).supply(100 * gib), Supply::Short);
        assert!(Host::now().is_some_and(|host| host.total > host.available));
    }

    #[test]
    fn what_is_left_to_requests_under_way_is_a_tenth_16_mib_or_a_quarter() {
        let mib = |mib: u64| mib * 1024 * 1024;
        for (limit, left) in [(mib(1000), mib(100)), (mib(100), mib(16)), (mib(40), mib(10))] {
            assert_eq!(supply(limit - left, limit), Supply::Enough, "{limit}");
            assert_eq!(supply(limit - left + 1, limit), Supply::Short, "{limit}");
            assert_eq!(supply(limit - left / 2, limit), Supply::Short, "{limit}");
            assert_eq!(supply(limit - left / 2 + 1, limit), Supply::Scarce, "{limit}");
        }
    }
}
