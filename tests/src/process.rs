//! Child processes that end with the test: output into a file, signals by pid.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use tokio::process::{Child, Command};

/// A signal that a test sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// Ends it as an operator does.
    Terminate,
    /// Ends it as Ctrl-C does.
    Interrupt,
    /// Ends it as a crash does.
    Kill,
    /// Freezes it: connections stay open, nothing answers.
    Stop,
    /// Goes on after [`Signal::Stop`].
    Continue,
}

/// One child process. Dropped, it is killed; in a failing test it shows the end of its output.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `program`; its output goes to the file `log`, after what is already there.
    pub fn spawn(
        program: &Path,
        arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
        environment: impl IntoIterator<Item = (impl AsRef<OsStr>, impl AsRef<OsStr>)>,
        log: &Path,
    ) -> Self {
        let name = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let output = std::fs::OpenOptions::new().create(true).append(true).open(log).expect("the log file opens");
        let child = Command::new(program)
            .args(arguments)
            .envs(environment)
            .stdin(Stdio::null())
            .stdout(output.try_clone().expect("a second handle of the log file"))
            .stderr(output)
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| {
                panic!("`{}` does not start: {error}: run tests/run, which installs it", program.display())
            });
        Self { name, child, log: log.to_owned() }
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        let Some(pid) = self.child.id() else { return };
        let name = match signal {
            Signal::Terminate => "TERM",
            Signal::Interrupt => "INT",
            Signal::Kill => "KILL",
            Signal::Stop => "STOP",
            Signal::Continue => "CONT",
        };
        // The shell's own `kill` is on every machine, and needs no unsafe code here.
        let status = std::process::Command::new("/bin/sh").args(["-c", &format!("kill -{name} {pid}")]).status();
        assert!(status.is_ok_and(|status| status.success()), "SIG{name} to {} ({pid})", self.name);
        if signal == Signal::Stop {
            until_stopped(pid);
        }
    }

    /// Waits for its end.
    pub async fn wait(&mut self, deadline: Duration) -> ExitStatus {
        let ended = tokio::time::timeout(deadline, self.child.wait()).await;
        let Ok(status) = ended else {
            panic!("{} did not end within {deadline:?}; it said:\n{}", self.name, self.tail())
        };
        status.expect("a child can be waited for")
    }

    /// Kills it and waits until it is gone.
    pub async fn kill(&mut self) {
        self.child.kill().await.expect("a child can be killed");
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().is_ok_and(|status| status.is_some())
    }

    /// Its process id, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// All that it has written.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// The end of what it has written.
    pub fn tail(&self) -> String {
        let log = self.log();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- end of the output of {}\n{}\n---", self.name, self.tail());
        }
    }
}

/// Waits until no thread of a process runs any more: a signal to stop it is sent, and answered a moment later.
pub(crate) fn until_stopped(pid: u32) {
    // After the name, which may hold anything, comes the state.
    let is_stopped = |stat: String| stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('T'));
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    while !std::fs::read_dir(format!("/proc/{pid}/task")).is_ok_and(|mut tasks| {
        tasks.all(|task| task.is_ok_and(|task| std::fs::read_to_string(task.path().join("stat")).is_ok_and(is_stopped)))
    }) {
        assert!(std::time::Instant::now() < deadline, "process {pid} was told to stop, and runs on");
        std::thread::yield_now();
    }
}

/// Path of one of our own programs (`vamp`, `vamp-gateway`), built as it stands in the tree, once per test process.
pub fn own_binary(name: &str) -> PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(build_own_binaries).join(name)
}

/// Path of one of our own programs as users run it: optimised. `tests/run` has built it before.
pub fn release_binary(name: &str) -> PathBuf {
    let folder = target_folder().join("release");
    build(&["--release", "--package", name]);
    folder.join(name)
}

/// The same as packagers ship it, which takes longer to build.
pub fn dist_binary(name: &str) -> PathBuf {
    build(&["--profile", "dist", "--package", name]);
    target_folder().join("dist").join(name)
}

/// Where cargo puts what it builds.
fn target_folder() -> PathBuf {
    let this = std::env::current_exe().expect("a test knows its own path");
    this.ancestors().nth(3).expect("tests run from TARGET/PROFILE/deps").to_owned()
}

fn build_own_binaries() -> PathBuf {
    let this = std::env::current_exe().expect("a test knows its own path");
    let folder = this.parent().and_then(Path::parent).expect("tests run from TARGET/PROFILE/deps").to_owned();
    build(if folder.ends_with("release") { &["--workspace", "--release"] } else { &["--workspace"] });
    folder
}

/// Builds programs as they stand in the tree.
fn build(what: &[&str]) {
    let mut command = std::process::Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(["build", "--quiet", "--bins"]).args(what).arg("--manifest-path");
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("Cargo.toml"));
    command.arg("--target-dir").arg(target_folder());
    // Cargo tells a test which package it is of. Build scripts that look at that (ring's) would run anew, here and in
    // the next build, and all that depends on them.
    let of_this_test = |name: &str| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_str().is_some_and(of_this_test)) {
        command.env_remove(name);
    }
    let status = command.status().expect("cargo starts");
    assert!(status.success(), "`cargo build --bins {}` failed: see its output above", what.join(" "));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn output_is_kept_and_signals_arrive() {
        let folder = tempfile::tempdir().unwrap();
        let script = "trap 'echo told to end; exit 3' TERM; echo ready; while :; do sleep 0.01; done";
        let log = folder.path().join("log");
        let mut shell = Process::spawn(Path::new("/bin/sh"), ["-c", script], [("A", "b")], &log);
        let patience = Duration::from_secs(10);
        crate::eventually(patience, "the script is ready", async || shell.log().contains("ready").then_some(())).await;
        shell.signal(Signal::Terminate);
        assert_eq!(shell.wait(patience).await.code(), Some(3));
        assert!(shell.log().contains("told to end"));
    }
}
