//! The gateway's own directory: one process at a time, its id, and the last good table.

use std::fs::File;
use std::io::Write as _;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// Why the directory can't be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// It can't be made, or a file in it can't be read or written.
    #[error("data directory: `{}` can't be used: check its owner, its permissions and the space on its disk", path.display())]
    Unusable {
        /// Which file or directory.
        path: PathBuf,
        /// What the system said.
        #[source]
        cause: std::io::Error,
    },
    /// Another process works in it.
    #[error("data directory `{}` belongs to another running gateway: give each its own with --data-dir", path.display())]
    Taken {
        /// The directory.
        path: PathBuf,
    },
    /// The process before worked in another one.
    #[error("data directory `{}` is not the one of the process before: an upgrade keeps it; to change --data-dir, stop the gateway and start it", path.display())]
    Other {
        /// The directory of this process.
        path: PathBuf,
    },
    /// The id in it is none.
    #[error("`{}` holds no gateway id: write 1 to 64 letters, digits, `-`, `_` or `.`, or remove the file", path.display())]
    BadId {
        /// The file.
        path: PathBuf,
    },
}

/// The directory, held until this is dropped. Processes that hand over share the lock.
#[derive(Debug)]
pub(crate) struct DataDir {
    path: PathBuf,
    lock: File,
}

impl DataDir {
    /// Makes it if needed, for its owner only, and takes it for this process.
    pub(crate) fn open(path: &Path) -> Result<Self, DataDirError> {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(unusable(path))?;
        let lock_path = path.join("lock");
        let mut options = File::options();
        let lock = options.create(true).truncate(false).write(true).mode(0o600).open(&lock_path);
        let lock = lock.map_err(unusable(&lock_path))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), lock }),
            Err(std::fs::TryLockError::WouldBlock) => Err(DataDirError::Taken { path: path.to_owned() }),
            Err(std::fs::TryLockError::Error(cause)) => Err(DataDirError::Unusable { path: lock_path, cause }),
        }
    }

    /// The directory of the process before, whose lock it handed over.
    pub(crate) fn take_over(path: &Path, lock: OwnedFd) -> Result<Self, DataDirError> {
        let lock_path = path.join("lock");
        let lock = File::from(lock);
        let identity = |metadata: std::fs::Metadata| (metadata.dev(), metadata.ino());
        let here = std::fs::metadata(&lock_path).map(identity);
        let held = lock.metadata().map(identity).map_err(unusable(&lock_path))?;
        if here.ok() != Some(held) {
            return Err(DataDirError::Other { path: path.to_owned() });
        }
        Ok(Self { path: path.to_owned(), lock })
    }

    /// What keeps others out, for the process that takes over.
    pub(crate) fn lock(&self) -> BorrowedFd<'_> {
        self.lock.as_fd()
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The id of the gateway: `given`, or the one that is kept, or a new one. It is kept for the next start.
    pub(crate) fn gateway_id(&self, given: Option<&str>) -> Result<String, DataDirError> {
        let path = self.path.join("gateway-id");
        if let Some(given) = given {
            return Ok(given.to_owned());
        }
        match std::fs::read_to_string(&path) {
            Ok(text) => vamp_store::layout::name(text.trim()).map_err(|_| DataDirError::BadId { path }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let id = format!("gateway-{:08x}", rand::random::<u32>());
                write_whole(&path, &id).map_err(unusable(&path))?;
                Ok(id)
            }
            Err(cause) => Err(DataDirError::Unusable { path, cause }),
        }
    }
}

/// Writes a small file so that a crash leaves either all of it or none.
fn write_whole(path: &Path, text: &str) -> std::io::Result<()> {
    let part = path.with_extension("part");
    let mut file = File::options().create(true).truncate(true).write(true).mode(0o600).open(&part)?;
    writeln!(file, "{text}")?;
    file.sync_all()?;
    std::fs::rename(&part, path)
}

fn unusable(path: &Path) -> impl FnOnce(std::io::Error) -> DataDirError {
    move |cause| DataDirError::Unusable { path: path.to_owned(), cause }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn the_id_stays_over_restarts() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b");
        let first = DataDir::open(&path).unwrap().gateway_id(None).unwrap();
        let again = DataDir::open(&path).unwrap();
        assert_eq!(again.gateway_id(None).unwrap(), first);
        assert_eq!(again.gateway_id(Some("named")).unwrap(), "named");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn two_processes_do_not_share_a_directory() {
        let folder = tempfile::tempdir().unwrap();
        let held = DataDir::open(folder.path()).unwrap();
        assert!(matches!(DataDir::open(folder.path()), Err(DataDirError::Taken { .. })));
        drop(held);
        DataDir::open(folder.path()).unwrap();
    }

    #[test]
    fn a_directory_that_is_taken_over_stays_taken_until_both_have_let_go() {
        let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let before = DataDir::open(folder.path()).unwrap();
        let lock = || before.lock().try_clone_to_owned().unwrap();
        let elsewhere = DataDir::take_over(other.path(), lock());
        assert!(matches!(elsewhere, Err(DataDirError::Other { .. })));
        let after = DataDir::take_over(folder.path(), lock()).unwrap();
        drop(before);
        assert!(matches!(DataDir::open(folder.path()), Err(DataDirError::Taken { .. })));
        drop(after);
        DataDir::open(folder.path()).unwrap();
    }

    #[test]
    fn a_damaged_id_is_refused_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("gateway-id"), "a/../b").unwrap();
        let error = DataDir::open(folder.path()).unwrap().gateway_id(None).unwrap_err();
        assert!(matches!(error, DataDirError::BadId { .. }));
    }

    #[test]
    fn a_file_in_the_place_of_the_directory_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, "").unwrap();
        let error = DataDir::open(&path).unwrap_err().to_string();
        assert!(error.contains(&path.display().to_string()), "{error}");
    }
}
