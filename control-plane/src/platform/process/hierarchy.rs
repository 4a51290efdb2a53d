//! Where the system lets this program make control groups, in both versions of them. Reads, and decides; makes nothing.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// What a control group can limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Controller {
    Cpu,
    Memory,
}

impl Controller {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Memory => "memory",
        }
    }
}

/// The two kinds of control groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Version {
    /// A tree for each controller.
    One,
    /// One tree for all.
    Two,
}

/// Which groups are used.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Grouping {
    /// Those that are this program's: its own group of version 1, or one of version 2 that was delegated to it.
    #[default]
    Own,
    /// Those below this path, as `/proc/self/cgroup` writes it; made if missing.
    At(PathBuf),
    /// None.
    Off,
}

impl std::str::FromStr for Grouping {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let path = Path::new(text);
        let is_plain = || path.components().skip(1).all(|part| matches!(part, std::path::Component::Normal(_)));
        match text {
            "off" => Ok(Self::Off),
            _ if path.is_absolute() && path.parent().is_some() && is_plain() => Ok(Self::At(path.to_owned())),
            _ => {
                Err("write the path of a control group below the mount of its tree, as in `/vamp`, or `off`".to_owned())
            }
        }
    }
}

/// A group below which those of instances are made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Parent {
    pub(super) version: Version,
    pub(super) folder: PathBuf,
    /// Groups from the top of the tree that must hand a controller on, the parent last; only version 2 asks for it.
    pub(super) lends: Vec<PathBuf>,
}

/// What the system says of its control groups.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// `/proc/self/mountinfo`.
    pub(super) mounts: String,
    /// `/proc/self/cgroup`.
    pub(super) own: String,
}

struct Mount<'t> {
    version: Version,
    root: &'t str,
    at: &'t str,
}

impl Told {
    pub(super) fn read() -> Self {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        Self { mounts: read("/proc/self/mountinfo"), own: read("/proc/self/cgroup") }
    }

    /// Where groups with this controller are to be made, or why nowhere. `is_delegated` says whether the system's manager
    /// left a group to who runs in it.
    pub(super) fn parent(
        &self,
        controller: Controller,
        grouping: &Grouping,
        is_delegated: impl Fn(&Path) -> bool,
    ) -> Result<Parent, String> {
        if *grouping == Grouping::Off {
            return Err("control groups are switched off: leave out `--process-cgroup off`".to_owned());
        }
        let name = controller.name();
        let mount = self.mount(controller).ok_or_else(|| {
            format!("no control groups with `{name}` are mounted here: run where they are, or as a service of systemd")
        })?;
        let top = PathBuf::from(mount.at);
        if let Grouping::At(path) = grouping {
            let folder = top.join(path.strip_prefix("/").unwrap_or(path));
            let mut lends: Vec<PathBuf> =
                folder.ancestors().take_while(|ancestor| ancestor.starts_with(&top)).map(Path::to_owned).collect();
            lends.reverse();
            return Ok(Parent { version: mount.version, folder, lends });
        }
        let own = self.own(controller, &mount);
        if mount.version == Version::One {
            return Ok(Parent { version: Version::One, folder: own, lends: Vec::new() });
        }
        // A group of version 2 has members or lends its controllers, never both.
        match own.parent().filter(|parent| parent.starts_with(&top) && is_delegated(parent)) {
            Some(folder) => {
                Ok(Parent { version: Version::Two, folder: folder.to_owned(), lends: vec![folder.to_owned()] })
            }
            None if is_delegated(&own) => Err(format!(
                "the control group {} is delegated, and has members: set `DelegateSubgroup=` too (systemd 254), or give \
                 `--process-cgroup`",
                own.display()
            )),
            None => Err(format!(
                "no control group is delegated to this program, which runs in {}: set `Delegate=` and \
                 `DelegateSubgroup=` in its unit (systemd 254), or give `--process-cgroup`",
                own.display()
            )),
        }
    }

    /// The tree with a controller.
    fn mount(&self, controller: Controller) -> Option<Mount<'_>> {
        let mounts = || self.mounts.lines().filter_map(|line| read_mount(line));
        let first = mounts().find(|(mount, options)| {
            mount.version == Version::One && options.split(',').any(|option| option == controller.name())
        });
        first.or_else(|| mounts().find(|(mount, _)| mount.version == Version::Two)).map(|(mount, _)| mount)
    }

    /// The group of this process in a tree.
    fn own(&self, controller: Controller, mount: &Mount<'_>) -> PathBuf {
        let mut lines = self.own.lines().filter_map(|line| {
            let (number, rest) = line.split_once(':')?;
            let (controllers, path) = rest.split_once(':')?;
            let is_it = match mount.version {
                Version::One => controllers.split(',').any(|name| name == controller.name()),
                Version::Two => number == "0" && controllers.is_empty(),
            };
            is_it.then_some(path)
        });
        let path = Path::new(lines.next().unwrap_or("/"));
        // In a container the tree may begin at the container's own group, which is written as its host sees it.
        let below = path.strip_prefix(mount.root).unwrap_or(Path::new(""));
        Path::new(mount.at).join(below)
    }
}

/// A line of `mountinfo`, and the options of what is mounted.
fn read_mount(line: &str) -> Option<(Mount<'_>, &str)> {
    let (place, what) = line.split_once(" - ")?;
    let mut place = place.split(' ').skip(3);
    let (root, at) = (place.next()?, place.next()?);
    let mut what = what.split(' ');
    let version = match what.next()? {
        "cgroup" => Version::One,
        "cgroup2" => Version::Two,
        _ => return None,
    };
    Some((Mount { version, root, at }, what.nth(1)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: &str = "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
37 31 0:34 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
39 31 0:36 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
40 31 0:37 / /home rw shared:1 - ext4 /dev/sda rw";
    const SECOND: &str = "25 24 0:23 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate";
    const UNIT: &str = "0::/system.slice/vamp.service/control\n";

    fn parent(
        mounts: &str,
        own: &str,
        grouping: &Grouping,
        delegated: &str,
    ) -> Result<(Version, String, usize), String> {
        let told = Told { mounts: mounts.to_owned(), own: own.to_owned() };
        let found = told.parent(Controller::Cpu, grouping, |path| path == Path::new(delegated))?;
        Ok((found.version, found.folder.display().to_string(), found.lends.len()))
    }

    #[test]
    fn the_own_group_of_version_one_is_found_in_its_tree() {
        let own = "5:memory:/m\n3:cpu,cpuacct:/user/a\n0::/\n";
        let found = parent(FIRST, own, &Grouping::Own, "");
        assert_eq!(found, Ok((Version::One, "/sys/fs/cgroup/cpu,cpuacct/user/a".to_owned(), 0)));
        // As a container sees it.
        let inner = FIRST.replace("0:29 / ", "0:29 /docker/1f ");
        let found = parent(&inner, "3:cpu,cpuacct:/docker/1f/a\n", &Grouping::Own, "");
        assert_eq!(found, Ok((Version::One, "/sys/fs/cgroup/cpu,cpuacct/a".to_owned(), 0)));
    }

    #[test]
    fn of_version_two_only_what_was_delegated_is_used() {
        let found = parent(SECOND, UNIT, &Grouping::Own, "/sys/fs/cgroup/system.slice/vamp.service");
        assert_eq!(found, Ok((Version::Two, "/sys/fs/cgroup/system.slice/vamp.service".to_owned(), 1)));
        let refused = |own: &str, delegated: &str| parent(SECOND, own, &Grouping::Own, delegated).unwrap_err();
        let unit = "0::/system.slice/vamp.service\n";
        assert!(refused(unit, "").contains("`Delegate=`"));
        assert!(refused(unit, "/sys/fs/cgroup/system.slice/vamp.service").contains("has members"));
        // The parent of the top is not a group.
        assert!(refused("0::/\n", "/sys/fs").contains("`Delegate=`"));
    }

    #[test]
    fn a_path_is_taken_in_each_tree_and_may_be_switched_off() {
        let at = "/vamp/instances".parse::<Grouping>().unwrap();
        let found = parent(SECOND, UNIT, &at, "");
        assert_eq!(found, Ok((Version::Two, "/sys/fs/cgroup/vamp/instances".to_owned(), 3)));
        let found = parent(FIRST, "", &at, "").unwrap();
        assert_eq!((found.0, found.1.as_str()), (Version::One, "/sys/fs/cgroup/cpu,cpuacct/vamp/instances"));
        assert!(parent(FIRST, "", &"off".parse().unwrap(), "").unwrap_err().contains("off"));
        assert!(parent("", "", &at, "").unwrap_err().contains("`cpu`"));
        for wrong in ["/", "vamp", "/a/../b", ""] {
            assert!(wrong.parse::<Grouping>().unwrap_err().contains("`/vamp`"), "{wrong}");
        }
    }
}
