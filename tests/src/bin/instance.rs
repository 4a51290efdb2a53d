//! A service for tests of platforms. It listens at `PORT` and answers what it is told to by the path:
//!
//!     /env/NAME     the variable, or 404
//!     /health       200, or 503 after /fail, until /heal
//!     /crash/CODE   ends with this exit code
//!     /say/TEXT     writes the text to both outputs
//!     /take/BYTES   takes that much memory, and says so
//!     /work/TICKS   uses that many hundredths of a second of a processor
//!     /ask/PATH     what the service at BACKEND (http://HOST:PORT) answers at this path, or 502
//!
//! It ends at SIGTERM with code 0, unless `STUBBORN` is set.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "what it writes is what is tested")]

use std::convert::Infallible;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};

static IS_FAILING: AtomicBool = AtomicBool::new(false);

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let port = std::env::var("PORT").ok().and_then(|port| port.parse::<u16>().ok());
    let (Some(port), Ok(mut terminate)) = (port, signal(SignalKind::terminate())) else {
        eprintln!("PORT is not set to a port");
        return ExitCode::from(2);
    };
    let listener = match TcpListener::bind(("0.0.0.0", port)).await {
        Ok(listener) => listener,
        Err(error) => {
            eprintln!("port {port}: {error}");
            return ExitCode::from(3);
        }
    };
    println!("listens at {port}");
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                if let Ok((stream, _)) = accepted {
                    tokio::spawn(serve(stream));
                }
            }
            _ = terminate.recv() => {
                println!("told to end");
                if std::env::var_os("STUBBORN").is_none() {
                    return ExitCode::SUCCESS;
                }
            }
        }
    }
}

async fn serve(stream: TcpStream) -> Result<Infallible, std::io::Error> {
    let mut stream = BufReader::new(stream);
    loop {
        let (mut head, mut path) = (String::new(), None);
        while stream.read_line(&mut head).await? > 2 {
            path = path.or_else(|| head.split(' ').nth(1).map(str::to_owned));
            head.clear();
        }
        let Some(path) = path else { return Err(std::io::ErrorKind::UnexpectedEof.into()) };
        let (status, body) = match path.strip_prefix("/ask/") {
            Some(path) => ask(path).await.map_or_else(|error| (502, error.to_string()), |body| (200, body)),
            None => answer(&path),
        };
        let answer = format!("HTTP/1.1 {status} Told\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        stream.get_mut().write_all(answer.as_bytes()).await?;
    }
}

/// The body of what the service behind this one answers.
async fn ask(path: &str) -> Result<String, std::io::Error> {
    let backend = std::env::var("BACKEND").unwrap_or_default();
    let address = backend.trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET /{path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut stream = BufReader::new(stream);
    let (mut line, mut length) = (String::new(), 0);
    while stream.read_line(&mut line).await? > 2 {
        let field = line.split_once(':').filter(|(name, _)| name.eq_ignore_ascii_case("content-length"));
        length = field.and_then(|(_, value)| value.trim().parse().ok()).unwrap_or(length);
        line.clear();
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    Ok(String::from_utf8_lossy(&body).into_owned())
}

fn answer(path: &str) -> (u16, String) {
    let mut parts = path.trim_start_matches('/').splitn(2, '/');
    let (verb, value) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    match verb {
        "env" => std::env::var(value).map_or((404, String::new()), |value| (200, value)),
        "health" if IS_FAILING.load(Ordering::Relaxed) => (503, "told to fail".to_owned()),
        "health" => (200, "well".to_owned()),
        "fail" | "heal" => {
            IS_FAILING.store(verb == "fail", Ordering::Relaxed);
            (200, verb.to_owned())
        }
        "crash" => std::process::exit(value.parse().unwrap_or(1)),
        "say" => {
            println!("{value}");
            eprintln!("{value}");
            (200, value.to_owned())
        }
        "take" => {
            let bytes = value.parse().unwrap_or_default();
            let mut taken: Vec<u8> = Vec::new();
            if taken.try_reserve_exact(bytes).is_err() {
                return (507, "there is no more".to_owned());
            }
            taken.resize(bytes, 1);
            (200, taken.iter().map(|byte| u64::from(*byte)).sum::<u64>().to_string())
        }
        "work" => {
            let until = ticks() + value.parse::<u64>().unwrap_or_default();
            let mut sum = 1_u64;
            while ticks() < until {
                sum = (0..100_000).fold(sum, |sum, number: u64| sum.wrapping_mul(31).wrapping_add(number));
            }
            (200, format!("done {sum}"))
        }
        _ => (200, format!("pid {}", std::process::id())),
    }
}

/// What this process has used, as the system counts it.
fn ticks() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum()
}
