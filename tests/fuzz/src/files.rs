//! Files that people and disks may have changed: settings, and the table of the last run.

use std::ffi::OsString;
use std::io::Write as _;

use clap::{CommandFactory as _, Parser};
use sha2::Digest as _;

use crate::keep::{Keeper, KeptError};
use crate::settings_file::{ConfigFile, with_file};

#[derive(Debug, Parser)]
struct Program {
    #[command(flatten)]
    _file: ConfigFile,
    #[command(flatten)]
    settings: Settings,
}

/// Settings of each kind.
#[derive(Debug, PartialEq, clap::Args)]
struct Settings {
    #[arg(long)]
    listen: Option<String>,
    #[arg(long)]
    threads: Option<u16>,
    #[arg(long)]
    bind: Vec<String>,
    #[arg(long)]
    insecure_http: bool,
}

/// A settings file is refused with its place or the name that is wrong, or read; and a value means in a file what it
/// means behind its flag.
///
/// The whole input is a file; and its lines are values.
pub fn settings(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Err(told) = from_file(&text) {
        assert!(!told.is_empty(), "refused without a reason: {text}");
    }
    let mut lines = text.lines().map(|line| line.trim_matches(|c: char| c.is_control() || c == '\u{feff}'));
    let (listen, threads) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    let bind: Vec<&str> = lines.take(4).collect();
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let list: Vec<String> = bind.iter().map(|text| quoted(text)).collect();
    let file = format!("listen: {}\nthreads: {}\nbind: [{}]\n", quoted(listen), quoted(threads), list.join(", "));
    let flags: Vec<String> = [format!("--listen={listen}"), format!("--threads={threads}")]
        .into_iter()
        .chain(bind.iter().map(|text| format!("--bind={text}")))
        .collect();
    let by_flags = Program::try_parse_from(["program".to_owned()].into_iter().chain(flags));
    match (from_file(&file), by_flags) {
        (Ok(in_file), Ok(by_flags)) => {
            assert_eq!(in_file.settings, by_flags.settings, "{file}");
        }
        (in_file, by_flags) => assert_eq!(in_file.is_ok(), by_flags.is_ok(), "{file}: {in_file:?}, {by_flags:?}"),
    }
}

/// The settings of a file, or what the user is told.
fn from_file(text: &str) -> Result<Program, String> {
    let mut file = tempfile::NamedTempFile::new_in("/dev/shm").unwrap();
    file.write_all(text.as_bytes()).unwrap();
    let arguments: Vec<OsString> = vec!["program".into(), "--config".into(), file.path().into()];
    let command = with_file(Program::command(), &arguments).map_err(|error| {
        let told = error.to_string();
        assert!(told.contains(&file.path().display().to_string()), "{told}");
        told
    })?;
    let matches = command.try_get_matches_from(&arguments).map_err(|error| error.to_string())?;
    <Program as clap::FromArgMatches>::from_arg_matches(&matches).map_err(|error| error.to_string())
}

/// A kept table is refused, or is byte for byte what would be kept of it. The input is a file; and what stands in a file
/// behind a head that is right.
pub fn kept_table(data: &[u8]) {
    let keeper = Keeper::new("/nowhere".into(), "default");
    let head = [b"vamptbl\n".as_slice(), &1_u32.to_be_bytes(), &(data.len() as u64).to_be_bytes()].concat();
    let sealed = [&head[..], &sha2::Sha256::digest(data)[..], data].concat();
    for content in [data, &sealed] {
        match keeper.unpack(content.to_vec().into()) {
            Ok(image) => assert_eq!(keeper.pack(&image), content, "kept otherwise than it was read"),
            Err(error) => assert!(!matches!(error, KeptError::Disk { .. }), "{error}"),
        }
    }
}
