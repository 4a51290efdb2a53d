//! The last good tables on disk, so that a gateway that restarts without the store serves.
//!
//! One file for each table, written whole beside its place and then moved there, so that a file with its name is
//! complete; a checksum finds what a disk or an editor did to it later. A file that is torn, damaged, of a newer
//! format or of another namespace is refused, never trusted in part, and set aside for whoever wants to look at it.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use bytes::{Buf as _, BufMut as _, Bytes};
use sha2::{Digest as _, Sha256};
use vamp_routing::wire::{Digest, Generation, ManifestEntry};

const MAGIC: &[u8; 8] = b"vamptbl\n";
const FORMAT: u32 = 1;
const HEAD_BYTES: usize = MAGIC.len() + size_of::<u32>() + size_of::<u64>() + CHECKSUM_BYTES;
const CHECKSUM_BYTES: usize = 32;

// LIMIT: tables kept. Should the newest file be damaged, the one before it serves; a third costs little.
const TABLES_MAX: usize = 3;
// LIMIT: files set aside, for the same reason.
const ASIDE_MAX: usize = 3;
// LIMIT: a file that is read at the start; ten times what the largest table that was measured has, compressed.
const FILE_BYTES_MAX: u64 = 1 << 30;

const PREFIX: &str = "table-";
const SUFFIX: &str = ".vamp";
const ASIDE: &str = ".refused";
const TEMPORARY: &str = "table.tmp";
const HANDED_OVER: &str = "the table of the process before";

/// One table with its values as the store has them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Image {
    /// Which table.
    pub(crate) generation: Generation,
    /// Its digest.
    pub(crate) digest: Digest,
    /// Its gateways in order, with their values.
    pub(crate) gateways: Vec<(ManifestEntry, Bytes)>,
}

/// Why a file is refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeptError {
    /// The disk did not do it.
    #[error("`{path}` can't be {action}: look at the disk and at who owns the data directory")]
    Disk {
        path: String,
        action: &'static str,
        #[source]
        cause: std::io::Error,
    },
    /// Something else stands in its place.
    #[error("`{path}` is no table file: remove it from the data directory")]
    NotATable { path: String },
    /// A newer product wrote it.
    #[error("`{path}` has format {found}, this build reads format {FORMAT}: start the newer program again")]
    OtherFormat { path: String, found: u32 },
    /// It ends too early or too late.
    #[error("`{path}` has {found} bytes where {expected} were written: it was cut or joined with something")]
    WrongLength { path: String, expected: u64, found: u64 },
    /// Its content is not what was written.
    #[error("`{path}` does not match its checksum: the disk damaged it, or it was edited")]
    WrongChecksum { path: String },
    /// It was kept for other traffic.
    #[error("`{path}` is of namespace `{found}`, this gateway serves `{expected}`: give each its own data directory")]
    OtherNamespace { path: String, found: String, expected: String },
    /// It is sound but makes no sense.
    #[error("`{path}` is damaged inside: it was written by a faulty program")]
    Malformed { path: String },
}

/// Writes and finds the tables of one namespace in one directory.
#[derive(Debug, Clone)]
pub(crate) struct Keeper {
    directory: PathBuf,
    namespace: String,
}

impl Keeper {
    pub(crate) fn new(directory: PathBuf, namespace: &str) -> Self {
        Self { directory, namespace: namespace.to_owned() }
    }

    /// Files that should be tables, the newest table first. No directory means no files.
    pub(crate) fn files(&self) -> Result<Vec<PathBuf>, KeptError> {
        let failed = |cause| disk(&self.directory, "listed", cause);
        let listed = match std::fs::read_dir(&self.directory) {
            Ok(listed) => listed,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(failed(error)),
        };
        let mut files = Vec::new();
        for entry in listed {
            let name = entry.map_err(failed)?.file_name();
            files.extend(name.to_str().and_then(number).map(|generation| (generation, self.directory.join(&name))));
        }
        files.sort_unstable_by(|left, right| right.cmp(left));
        Ok(files.into_iter().map(|(_, path)| path).collect())
    }

    /// Reads one file, or says why it is refused.
    pub(crate) fn read(&self, path: &Path) -> Result<Image, KeptError> {
        let failed = |cause| disk(path, "read", cause);
        let file = File::open(path).map_err(failed)?;
        let mut content = Vec::new();
        file.take(FILE_BYTES_MAX).read_to_end(&mut content).map_err(failed)?;
        decode(path, &self.namespace, content.into())
    }

    /// Takes a refused file out of the way, under a name that says so; where it is now.
    pub(crate) fn set_aside(&self, path: &Path) -> Result<PathBuf, KeptError> {
        let mut aside = path.as_os_str().to_owned();
        aside.push(ASIDE);
        std::fs::rename(path, &aside).map_err(|cause| disk(path, "set aside", cause))?;
        self.prune(ASIDE, ASIDE_MAX);
        Ok(aside.into())
    }

    /// A table as its file has it.
    pub(crate) fn pack(&self, image: &Image) -> Bytes {
        encode(&self.namespace, image).into()
    }

    /// Reads what [`Keeper::pack`] made.
    pub(crate) fn unpack(&self, content: Bytes) -> Result<Image, KeptError> {
        decode(Path::new(HANDED_OVER), &self.namespace, content)
    }

    /// Writes a table so that it survives a crash at any moment, then removes the oldest ones.
    pub(crate) fn write(&self, image: &Image) -> Result<(), KeptError> {
        std::fs::create_dir_all(&self.directory).map_err(|cause| disk(&self.directory, "created", cause))?;
        let temporary = self.directory.join(TEMPORARY);
        let written = self.write_file(&temporary, image);
        if written.is_err() {
            // Half a file on a full disk is of no use to anybody.
            drop(std::fs::remove_file(&temporary));
        }
        written?;
        self.prune(SUFFIX, TABLES_MAX);
        Ok(())
    }

    fn write_file(&self, temporary: &Path, image: &Image) -> Result<(), KeptError> {
        let failed = |action| move |cause| disk(temporary, action, cause);
        match std::fs::remove_file(temporary) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(failed("removed")(error)),
            _ => {}
        }
        let mut file =
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(temporary).map_err(failed("created"))?;
        let content = encode(&self.namespace, image);
        file.write_all(&content).and_then(|()| file.sync_all()).map_err(failed("written"))?;
        let Generation { epoch, revision } = image.generation;
        let path = self.directory.join(format!("{PREFIX}{epoch}.{revision}{SUFFIX}"));
        std::fs::rename(temporary, &path).map_err(|cause| disk(&path, "moved to its place", cause))?;
        // Only then is the move safe too.
        let directory = File::open(&self.directory).and_then(|directory| directory.sync_all());
        directory.map_err(|cause| disk(&self.directory, "synchronised", cause))
    }

    /// Removes all but the newest `max` files with this ending. One that stays is removed at the next write.
    fn prune(&self, ending: &str, max: usize) {
        let Ok(listed) = std::fs::read_dir(&self.directory) else { return };
        let names = listed.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let numbered = |name: String| {
            let plain = name.strip_suffix(ASIDE).unwrap_or(&name);
            let generation = number(plain).filter(|_| name.ends_with(ending))?;
            Some((generation, name))
        };
        let mut files: Vec<_> = names.filter_map(numbered).collect();
        files.sort_unstable_by(|left, right| right.cmp(left));
        for (_, name) in files.into_iter().skip(max) {
            drop(std::fs::remove_file(self.directory.join(name)));
        }
    }
}

fn disk(path: &Path, action: &'static str, cause: std::io::Error) -> KeptError {
    KeptError::Disk { path: path.display().to_string(), action, cause }
}

/// The table's number in a file name.
fn number(name: &str) -> Option<Generation> {
    let (epoch, revision) = name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?.split_once('.')?;
    Some(Generation { epoch: epoch.parse().ok()?, revision: revision.parse().ok()? })
}

fn encode(namespace: &str, image: &Image) -> Vec<u8> {
    let mut content = Vec::from([0; HEAD_BYTES]);
    put(&mut content, namespace.as_bytes());
    content.put_u64(image.generation.epoch);
    content.put_u64(image.generation.revision);
    content.put_slice(&image.digest.0);
    content.put_u64(image.gateways.len() as u64);
    for (entry, value) in &image.gateways {
        put(&mut content, entry.name.as_bytes());
        content.put_slice(&entry.digest.0);
        put(&mut content, value);
    }
    let (head, body) = content.split_at_mut(HEAD_BYTES);
    let checksum = Sha256::digest(&*body);
    let length = body.len() as u64;
    let mut head = &mut *head;
    head.put_slice(MAGIC);
    head.put_u32(FORMAT);
    head.put_u64(length);
    head.put_slice(&checksum);
    content
}

fn put(content: &mut Vec<u8>, field: &[u8]) {
    content.put_u64(field.len() as u64);
    content.put_slice(field);
}

fn decode(path: &Path, namespace: &str, mut content: Bytes) -> Result<Image, KeptError> {
    let path = || path.display().to_string();
    let found = content.len() as u64;
    let short = |expected: usize| KeptError::WrongLength { path: path(), expected: expected as u64, found };
    let magic = content.get(..MAGIC.len()).ok_or_else(|| short(HEAD_BYTES))?;
    if magic != MAGIC {
        return Err(KeptError::NotATable { path: path() });
    }
    content.advance(MAGIC.len());
    let format = content.try_get_u32().map_err(|_| short(HEAD_BYTES))?;
    if format != FORMAT {
        return Err(KeptError::OtherFormat { path: path(), found: format });
    }
    let length = content.try_get_u64().map_err(|_| short(HEAD_BYTES))?;
    let checksum = take(&mut content, CHECKSUM_BYTES).ok_or_else(|| short(HEAD_BYTES))?;
    if length != content.len() as u64 {
        let expected = length.saturating_add(HEAD_BYTES as u64);
        return Err(KeptError::WrongLength { path: path(), expected, found });
    }
    if Sha256::digest(&content)[..] != checksum[..] {
        return Err(KeptError::WrongChecksum { path: path() });
    }
    let (found, image) = body(content).ok_or_else(|| KeptError::Malformed { path: path() })?;
    if found != namespace {
        return Err(KeptError::OtherNamespace { path: path(), found, expected: namespace.to_owned() });
    }
    Ok(image)
}

/// The namespace and the table.
fn body(mut content: Bytes) -> Option<(String, Image)> {
    let namespace = text(&mut content)?;
    let generation = Generation { epoch: content.try_get_u64().ok()?, revision: content.try_get_u64().ok()? };
    let digest = digest(&mut content)?;
    let count = content.try_get_u64().ok()?;
    let mut gateways = Vec::new();
    for _ in 0..count {
        let entry = ManifestEntry { name: text(&mut content)?, digest: self::digest(&mut content)? };
        gateways.push((entry, field(&mut content)?));
    }
    content.is_empty().then_some((namespace, Image { generation, digest, gateways }))
}

fn take(content: &mut Bytes, bytes: usize) -> Option<Bytes> {
    (bytes <= content.len()).then(|| content.split_to(bytes))
}

fn field(content: &mut Bytes) -> Option<Bytes> {
    let bytes = content.try_get_u64().ok()?;
    take(content, usize::try_from(bytes).ok()?)
}

fn text(content: &mut Bytes) -> Option<String> {
    String::from_utf8(field(content)?.into()).ok()
}

fn digest(content: &mut Bytes) -> Option<Digest> {
    take(content, 32)?.as_ref().try_into().ok().map(Digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(revision: u64) -> Image {
        let entry = |name: &str, byte| ManifestEntry { name: name.to_owned(), digest: Digest([byte; 32]) };
        Image {
            generation: Generation { epoch: 1, revision },
            digest: Digest([9; 32]),
            gateways: vec![(entry("shop", 1), Bytes::from_static(b"value")), (entry("shop/x", 2), Bytes::new())],
        }
    }

    fn keeper() -> (tempfile::TempDir, Keeper) {
        let directory = tempfile::tempdir().unwrap();
        let keeper = Keeper::new(directory.path().join("deep/er"), "default");
        (directory, keeper)
    }

    fn newest(keeper: &Keeper) -> Result<Image, KeptError> {
        keeper.read(keeper.files().unwrap().first().unwrap())
    }

    /// Every way in which bytes can be wrong is an error, none a panic, none a table.
    #[track_caller]
    fn check_refused(content: Vec<u8>, what: &str) {
        let result = decode(Path::new("file"), "default", content.into());
        assert!(result.is_err(), "{what}: {result:?}");
    }

    #[test]
    fn a_table_comes_back_as_it_was_written() {
        let (_directory, keeper) = keeper();
        assert!(keeper.files().unwrap().is_empty());
        for revision in [1, 2, 10] {
            keeper.write(&image(revision)).unwrap();
            assert_eq!(newest(&keeper).unwrap(), image(revision));
        }
        let empty = Image { gateways: Vec::new(), ..image(11) };
        keeper.write(&empty).unwrap();
        assert_eq!(newest(&keeper).unwrap(), empty);
    }

    #[test]
    fn the_newest_three_tables_stay_and_nothing_else() {
        let (_directory, keeper) = keeper();
        (7..=12).for_each(|revision| keeper.write(&image(revision)).unwrap());
        let read = keeper.files().unwrap().iter().map(|path| keeper.read(path).unwrap().generation.revision).collect();
        let revisions: Vec<u64> = read;
        assert_eq!(revisions, [12, 11, 10]);
        assert_eq!(std::fs::read_dir(&keeper.directory).unwrap().count(), 3);
    }

    #[test]
    fn only_the_owner_may_read_a_table() {
        use std::os::unix::fs::PermissionsExt as _;
        let (_directory, keeper) = keeper();
        keeper.write(&image(1)).unwrap();
        let mode = std::fs::metadata(&keeper.files().unwrap()[0]).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_file_that_is_cut_anywhere_is_refused() {
        let whole = encode("default", &image(1));
        assert!(decode(Path::new("file"), "default", whole.clone().into()).is_ok());
        for length in 0..whole.len() {
            check_refused(whole[..length].to_vec(), &format!("cut at {length}"));
        }
    }

    #[test]
    fn a_file_with_any_bit_flipped_is_refused() {
        let whole = encode("default", &image(1));
        for at in 0..whole.len() {
            for bit in 0..8 {
                let mut content = whole.clone();
                content[at] ^= 1 << bit;
                check_refused(content, &format!("bit {bit} of byte {at}"));
            }
        }
    }

    #[test]
    fn a_file_with_bytes_removed_inserted_or_appended_is_refused() {
        let whole = encode("default", &image(1));
        for at in 0..whole.len() {
            let mut content = whole.clone();
            content.remove(at);
            check_refused(content, &format!("without byte {at}"));
            let mut content = whole.clone();
            content.insert(at, 0);
            check_refused(content, &format!("with a byte before {at}"));
        }
        check_refused([whole.clone(), whole].concat(), "twice");
    }

    /// A sound checksum over a body that lies about its lengths: what a faulty program could write.
    #[test]
    fn a_body_that_lies_about_itself_is_refused() {
        let whole = encode("default", &image(1));
        for at in HEAD_BYTES..whole.len() {
            for byte in [0, 1, 0x7f, 0xff] {
                let mut content = whole.clone();
                content[at] = byte;
                let checksum = Sha256::digest(&content[HEAD_BYTES..]);
                content[HEAD_BYTES - CHECKSUM_BYTES..HEAD_BYTES].copy_from_slice(&checksum);
                // Other names and numbers make another table, which is for the digests of its values to find.
                drop(decode(Path::new("file"), "default", content.into()));
            }
        }
    }

    #[test]
    fn a_refusal_names_the_file_and_the_reason() {
        let check = |content: Vec<u8>, message: &str| {
            let error = decode(Path::new("/data/table-1.1.vamp"), "default", content.into()).unwrap_err();
            assert_eq!(error.to_string(), message);
        };
        check(
            encode("other", &image(1)),
            "`/data/table-1.1.vamp` is of namespace `other`, this gateway serves `default`: give each its own data directory",
        );
        let mut newer = encode("default", &image(1));
        newer[11] = 2;
        check(newer, "`/data/table-1.1.vamp` has format 2, this build reads format 1: start the newer program again");
        check(
            b"{\"json\": true}".to_vec(),
            "`/data/table-1.1.vamp` is no table file: remove it from the data directory",
        );
        check(
            Vec::new(),
            "`/data/table-1.1.vamp` has 0 bytes where 52 were written: it was cut or joined with something",
        );
    }

    #[test]
    fn a_refused_file_is_set_aside_and_the_one_before_it_is_next() {
        let (_directory, keeper) = keeper();
        keeper.write(&image(1)).unwrap();
        keeper.write(&image(2)).unwrap();
        let newest_path = keeper.files().unwrap()[0].clone();
        std::fs::write(&newest_path, b"").unwrap();
        assert!(newest(&keeper).is_err());
        let aside = keeper.set_aside(&newest_path).unwrap();
        assert!(aside.exists());
        assert_eq!(newest(&keeper).unwrap(), image(1));
        for revision in 3..10 {
            keeper.write(&image(revision)).unwrap();
            keeper.set_aside(&keeper.files().unwrap()[0]).unwrap();
        }
        let count = std::fs::read_dir(&keeper.directory).unwrap().count();
        assert!(count <= TABLES_MAX + ASIDE_MAX, "{count} files");
    }

    #[test]
    fn what_a_killed_write_left_is_no_table_and_in_nobodys_way() {
        let (_directory, keeper) = keeper();
        keeper.write(&image(1)).unwrap();
        let half = encode("default", &image(2));
        std::fs::write(keeper.directory.join(TEMPORARY), &half[..half.len() / 2]).unwrap();
        assert_eq!(newest(&keeper).unwrap(), image(1));
        keeper.write(&image(3)).unwrap();
        assert_eq!(newest(&keeper).unwrap(), image(3));
    }

    #[test]
    fn a_disk_that_does_not_take_it_is_an_error_that_heals() {
        let (directory, keeper) = keeper();
        let blocked = directory.path().join("deep");
        std::fs::write(&blocked, b"a file where a directory should be").unwrap();
        let error = keeper.write(&image(1)).unwrap_err();
        assert!(matches!(error, KeptError::Disk { action: "created", .. }), "{error}");
        std::fs::remove_file(&blocked).unwrap();
        keeper.write(&image(1)).unwrap();
        assert_eq!(newest(&keeper).unwrap(), image(1));
    }

    #[test]
    fn a_directory_in_place_of_a_file_is_refused_and_set_aside() {
        let (_directory, keeper) = keeper();
        keeper.write(&image(1)).unwrap();
        let odd = keeper.directory.join("table-2.0.vamp");
        std::fs::create_dir(&odd).unwrap();
        assert!(matches!(newest(&keeper), Err(KeptError::Disk { .. })));
        keeper.set_aside(&odd).unwrap();
        assert_eq!(newest(&keeper).unwrap(), image(1));
    }
}
