//! Asks one question of one instance.

use std::time::Duration;

use super::super::{Instance, Outcome, Platform, PlatformError};
use super::{HealthCheck, Probe};
use crate::causes::with_causes;

/// A connection that is open for so long is one: nobody who does not listen keeps it.
const SETTLED: Duration = Duration::from_millis(100);

/// Asks; `Err` says in words why the answer is bad, `None` that the platform can't be asked, so that nothing is known.
pub(super) async fn ask(
    platform: &dyn Platform,
    http: &reqwest::Client,
    instance: &Instance,
    check: &HealthCheck,
) -> Option<Result<(), String>> {
    let asked = match &check.probe {
        Probe::Command { command } => run(platform, instance, command, check.timeout).await?,
        Probe::Http { port, path, is_tls } => match address(instance, port) {
            Ok(address) => get(http, &address, path, *is_tls, check.timeout).await,
            Err(reason) => Err(reason),
        },
        Probe::Tcp { port } => match address(instance, port) {
            Ok(address) => connect(&address, check.timeout).await,
            Err(reason) => Err(reason),
        },
    };
    Some(asked)
}

fn address(instance: &Instance, port: &str) -> Result<String, String> {
    let number = instance.ports.get(port).ok_or_else(|| format!("port `{port}` is not open"))?;
    let host = &instance.host;
    Ok(if host.contains(':') { format!("[{host}]:{number}") } else { format!("{host}:{number}") })
}

async fn get(http: &reqwest::Client, address: &str, path: &str, is_tls: bool, timeout: Duration) -> Result<(), String> {
    let scheme = if is_tls { "https" } else { "http" };
    let url = format!("{scheme}://{address}{path}");
    match http.get(&url).timeout(timeout).send().await {
        Ok(answer) if answer.status().is_success() || answer.status().is_redirection() => Ok(()),
        Ok(answer) => Err(format!("GET {url}: status {}", answer.status().as_u16())),
        Err(error) if error.is_timeout() => Err(format!("GET {url}: no answer within {} ms", timeout.as_millis())),
        Err(error) => Err(format!("GET {url}: {}", with_causes(&error.without_url()))),
    }
}

async fn connect(address: &str, timeout: Duration) -> Result<(), String> {
    match tokio::time::timeout(timeout, open(address, SETTLED.min(timeout / 2))).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(format!("connection to {address}: {error}")),
        Err(_) => Err(format!("connection to {address}: none within {} ms", timeout.as_millis())),
    }
}

/// A connection, which must not be closed again at once: a platform's own proxy takes connections for instances that do
/// not listen.
async fn open(address: &str, settled: Duration) -> std::io::Result<()> {
    let stream = tokio::net::TcpStream::connect(address).await?;
    match tokio::time::timeout(settled, stream.peek(&mut [0])).await {
        Ok(Ok(0)) => Err(std::io::Error::other("closed as soon as it was open")),
        Ok(Err(error)) => Err(error),
        Ok(Ok(_)) | Err(_) => Ok(()),
    }
}

async fn run(
    platform: &dyn Platform,
    instance: &Instance,
    command: &[String],
    timeout: Duration,
) -> Option<Result<(), String>> {
    told_by(command, platform.run(&instance.id, command, timeout).await)
}

/// What a command beside an instance tells of it; `None`: nothing.
fn told_by(command: &[String], ended: Result<Outcome, PlatformError>) -> Option<Result<(), String>> {
    let name = command.first().map_or("", String::as_str);
    let answer = match ended {
        Ok(outcome) if outcome.code == Some(0) => Ok(()),
        Ok(outcome) => {
            let code = outcome.code.map_or_else(|| "a signal".to_owned(), |code| format!("exit code {code}"));
            Err(format!("command `{name}`: {code}: {}", outcome.output))
        }
        // That a file system is silent says nothing of the instance.
        Err(PlatformError::Unreachable { .. } | PlatformError::Unseen { .. }) => return None,
        Err(error) => Err(format!("command `{name}`: {}", with_causes(&error))),
    };
    Some(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_that_could_not_be_looked_up_or_asked_for_says_nothing_of_its_instance() {
        let told = |ended| told_by(&["/bin/sh".to_owned()], ended);
        let id = || "web-1".to_owned();
        let unseen = PlatformError::Unseen { id: id(), command: "/bin/sh".to_owned(), seconds: 2 };
        assert_eq!(told(Err(unseen)), None);
        let unreachable = PlatformError::Unreachable { platform: "docker".to_owned(), cause: "silence".into() };
        assert_eq!(told(Err(unreachable)), None);
        // What is known speaks for it or against it.
        let ended = |code| told(Ok(Outcome { code, output: "no".to_owned() }));
        assert_eq!(ended(Some(0)), Some(Ok(())));
        assert_eq!(ended(Some(3)), Some(Err("command `/bin/sh`: exit code 3: no".to_owned())));
        let missing = PlatformError::UnknownCommand { id: id(), command: "/bin/sh".to_owned() };
        assert!(told(Err(missing)).is_some_and(|answer| answer.is_err()));
    }
}
