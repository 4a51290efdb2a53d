//! Child processes that end with the measurement, and the CPU time that the kernel charged to them.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::Failure;

/// LIMIT: a server that does not listen after this long will not.
pub(crate) const START_TIMEOUT: Duration = Duration::from_secs(15);

/// LIMIT: a server that was told to end and did not after this long will not.
const END_TIMEOUT: Duration = Duration::from_mins(1);

/// A child that is killed when it goes out of scope.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
}

impl Process {
    /// Starts `command` pinned to one core.
    pub(crate) fn start(core: usize, command: &[&str]) -> Result<Self, Failure> {
        let core = core.to_string();
        let pinned: Vec<&str> = ["taskset", "-c", &core].iter().chain(command).copied().collect();
        Self::start_anywhere(&pinned)
    }

    /// Starts `command` on any core.
    pub(crate) fn start_anywhere(command: &[&str]) -> Result<Self, Failure> {
        let (program, arguments) = command.split_first().ok_or("an empty command")?;
        let child = Command::new(program)
            .args(arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("`{}` did not start ({error}): install it", command.join(" ")))?;
        Ok(Self { child })
    }

    /// As [`Process::start_anywhere`], with environment variables.
    pub(crate) fn start_with(core: usize, environment: &[(&str, &str)], command: &[&str]) -> Result<Self, Failure> {
        let set: Vec<String> = environment.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let words = ["env"].into_iter().chain(set.iter().map(String::as_str)).chain(command.iter().copied());
        Self::start(core, &words.collect::<Vec<_>>())
    }

    /// Tells it to end, and waits until it has.
    pub(crate) fn terminate(&mut self) -> Result<(), Failure> {
        let told = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status()?;
        if !told.success() {
            return Err("a process that should end was gone already".into());
        }
        let deadline = Instant::now() + END_TIMEOUT;
        while self.child.try_wait()?.is_none() {
            if Instant::now() > deadline {
                return Err(format!("a process did not end within {} s", END_TIMEOUT.as_secs()).into());
            }
            std::thread::park_timeout(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Resident memory in KiB.
    pub(crate) fn resident_kib(&self) -> Result<f64, Failure> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("a process that is gone")?;
        Ok(line.trim().trim_end_matches("kB").trim().parse()?)
    }

    /// CPU nanoseconds of all its threads so far, without what the hypervisor stole.
    pub(crate) fn cpu_ns(&self) -> Result<u64, Failure> {
        let mut total = 0;
        for task in std::fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            let text = match std::fs::read_to_string(task?.path().join("schedstat")) {
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                text => text?,
            };
            let on_cpu = text.split(' ').next().ok_or("an empty schedstat")?;
            total += on_cpu.parse::<u64>()?;
        }
        Ok(total)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.child.kill().is_ok() {
            drop(self.child.wait());
        }
    }
}

/// A port of the loopback that was free a moment ago.
pub(crate) fn free_port() -> Result<u16, Failure> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// Waits until something accepts connections on a port of the loopback.
pub(crate) fn await_listening(name: &str, port: u16) -> Result<(), Failure> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let deadline = Instant::now() + START_TIMEOUT;
    while Instant::now() < deadline {
        if TcpStream::connect_timeout(&address, Duration::from_millis(100)).is_ok() {
            return Ok(());
        }
        std::thread::park_timeout(Duration::from_millis(20));
    }
    Err(format!("{name} does not listen on port {port} after {} s", START_TIMEOUT.as_secs()).into())
}
