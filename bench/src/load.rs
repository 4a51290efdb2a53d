//! Load: `wrk` where clients wait for their answers, and a generator of our own where they do not, or where the number of
//! requests must be known.
//!
//! The open loop measures each answer from the moment at which its request was meant to start: a proxy that stalls
//! delays all requests that were due meanwhile, and their wait counts (no coordinated omission).

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rand::RngExt as _;

use crate::Failure;
use crate::origin::BODY_BYTE;
use crate::statistics::quantile;

/// What a load did.
#[derive(Debug, Clone, Default)]
pub(crate) struct Done {
    /// Requests with a right answer.
    pub(crate) requests: f64,
    /// Seconds that it took.
    pub(crate) seconds: f64,
    /// Microseconds from the intended start to the whole answer; empty where they are not measured one by one.
    pub(crate) latencies_us: Vec<f64>,
}

impl Done {
    /// Median, 99th percentile and 99.9th percentile in microseconds, if they were measured.
    pub(crate) fn latency_us(&self) -> Option<[f64; 3]> {
        let at = |share| quantile(&self.latencies_us, share);
        Some([at(0.5)?, at(0.99)?, at(0.999)?])
    }
}

/// What is sent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target<'t> {
    pub(crate) name: &'t str,
    pub(crate) port: u16,
    /// Bytes of each answer's body.
    pub(crate) bytes: usize,
}

/// The header that no condition of the benchmark matches, so that each request is looked at and then split.
pub(crate) const HEADER: &str = "X-Canary: no";

/// Clients that each wait for their answer.
pub(crate) fn closed(
    target: Target<'_>,
    keep_alive: bool,
    connections: usize,
    seconds: u64,
    core: usize,
) -> Result<Done, Failure> {
    let mut command = Command::new("taskset");
    command.args(["-c", &core.to_string(), "wrk", "-t1", "-H", HEADER]);
    if !keep_alive {
        command.args(["-H", "Connection: close"]);
    }
    let output = command
        .arg(format!("-c{connections}"))
        .arg(format!("-d{seconds}s"))
        .arg(format!("http://127.0.0.1:{}/", target.port))
        .output()
        .map_err(|error| format!("`wrk` did not start ({error}): apt-get install wrk"))?;
    let text = String::from_utf8(output.stdout)?;
    if !output.status.success() || text.contains("Non-2xx") || text.contains("Socket errors") {
        return Err(format!("load against {} met errors, so its figures count nothing:\n{text}", target.name).into());
    }
    let requests = number_before(&text, " requests in").ok_or_else(|| format!("wrk counted no requests:\n{text}"))?;
    Ok(Done { requests, seconds: f64::from(u32::try_from(seconds)?), latencies_us: Vec::new() })
}

/// Requests that come at random moments, `rate` per second on average, over as many connections as are given.
pub(crate) fn open(target: Target<'_>, rate: u32, connections: usize, seconds: u64) -> Result<Done, Failure> {
    let arrivals = arrivals(rate, Duration::from_secs(seconds), &mut rand::rng());
    run(target, connections, &arrivals)
}

/// As many requests as are asked for, each client with one under way.
pub(crate) fn counted(target: Target<'_>, connections: usize, requests: usize) -> Result<Done, Failure> {
    run(target, connections, &vec![Duration::ZERO; requests])
}

/// Moments of a Poisson process, from its start.
fn arrivals(rate: u32, length: Duration, random: &mut impl rand::Rng) -> Vec<Duration> {
    let mut moments = Vec::new();
    let mut at = 0.0;
    loop {
        // 1 − x, because the logarithm of 0 is none.
        at -= (1.0 - random.random::<f64>()).ln() / f64::from(rate);
        if at >= length.as_secs_f64() {
            return moments;
        }
        moments.push(Duration::from_secs_f64(at));
    }
}

fn run(target: Target<'_>, connections: usize, arrivals: &[Duration]) -> Result<Done, Failure> {
    let next = AtomicUsize::new(0);
    // All connections stand before the first request is due.
    let clients = (0..connections).map(|_| Client::connect(target)).collect::<Result<Vec<_>, _>>()?;
    let began = Instant::now() + Duration::from_millis(50);
    let outcomes: Vec<Result<Vec<f64>, Failure>> = std::thread::scope(|scope| {
        let running: Vec<_> =
            clients.into_iter().map(|client| scope.spawn(|| client.work(began, arrivals, &next))).collect();
        running.into_iter().map(|thread| thread.join().unwrap_or_else(|_| Err("a client ended early".into()))).collect()
    });
    let seconds = began.elapsed().as_secs_f64();
    let mut latencies_us = Vec::new();
    for outcome in outcomes {
        latencies_us.extend(outcome?);
    }
    let requests = f64::from(u32::try_from(latencies_us.len())?);
    Ok(Done { requests, seconds, latencies_us })
}

/// One connection of our own.
struct Client<'t> {
    target: Target<'t>,
    stream: TcpStream,
    request: Vec<u8>,
    buffer: Vec<u8>,
}

impl<'t> Client<'t> {
    fn connect(target: Target<'t>) -> Result<Self, Failure> {
        let stream = TcpStream::connect(("127.0.0.1", target.port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        let request = format!("GET / HTTP/1.1\r\nHost: 127.0.0.1:{}\r\n{HEADER}\r\n\r\n", target.port).into_bytes();
        Ok(Self { target, stream, request, buffer: vec![0; 256 * 1024] })
    }

    /// Takes the next request that nobody took, until there is none. Tells the microseconds that each took.
    fn work(mut self, began: Instant, arrivals: &[Duration], next: &AtomicUsize) -> Result<Vec<f64>, Failure> {
        let mut latencies_us = Vec::new();
        while let Some(arrival) = arrivals.get(next.fetch_add(1, Ordering::Relaxed)) {
            let due = began + *arrival;
            while let Some(early) = due.checked_duration_since(Instant::now()).filter(|early| !early.is_zero()) {
                std::thread::park_timeout(early);
            }
            self.ask()?;
            // A closed loop has no moment at which a request was due but that at which it could be sent.
            latencies_us.push(due.elapsed().as_secs_f64() * 1e6);
        }
        Ok(latencies_us)
    }

    /// One request and its whole answer.
    fn ask(&mut self) -> Result<(), Failure> {
        self.stream.write_all(&self.request)?;
        let mut filled = 0;
        loop {
            let room = self.buffer.get_mut(filled..).filter(|room| !room.is_empty()).ok_or("an answer is too long")?;
            let read = self.stream.read(room)?;
            if read == 0 {
                return Err(format!("{} closed a connection that it should keep", self.target.name).into());
            }
            filled += read;
            let answer = self.buffer.get(..filled).unwrap_or_default();
            if let Some(head) = answer.windows(4).position(|four| four == b"\r\n\r\n") {
                if !answer.starts_with(b"HTTP/1.1 200") {
                    return Err(format!("{} answered with something else than 200", self.target.name).into());
                }
                let body = answer.get(head + 4..).unwrap_or_default();
                if body.len() > self.target.bytes || body.iter().any(|byte| *byte != BODY_BYTE) {
                    return Err(format!("{} answered with another body", self.target.name).into());
                }
                if body.len() == self.target.bytes {
                    return Ok(());
                }
            }
        }
    }
}

/// A connection that had one answer and asks for nothing more.
pub(crate) fn idle_client(target: Target<'_>) -> Result<TcpStream, Failure> {
    let mut client = Client::connect(target)?;
    client.ask()?;
    Ok(client.stream)
}

/// The number that stands before `label`.
fn number_before(text: &str, label: &str) -> Option<f64> {
    text.split_once(label)?.0.rsplit(char::is_whitespace).next()?.parse().ok()
}

/// Compares our generator with `wrk`, both in a closed loop on the same server.
#[expect(clippy::print_stdout, reason = "the figures are what the command is for")]
pub(crate) fn check(port: u16, bytes: usize, core: usize) -> Result<(), Failure> {
    let target = Target { name: "the origin", port, bytes };
    let (connections, seconds) = (16, 3);
    let by_wrk = closed(target, true, connections, seconds, core)?;
    let per_second = by_wrk.requests / by_wrk.seconds;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count of requests")]
    let own = counted(target, connections, by_wrk.requests as usize)?;
    let own_per_second = own.requests / own.seconds;
    println!("wrk {per_second:.0} requests/s, our generator {own_per_second:.0}: {:.2}", own_per_second / per_second);
    // What they must agree on is not their own pace but the server's: half of it, offered by ours, must be served.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate of requests")]
    let rate = (per_second.min(own_per_second) / 4.0) as u32;
    let open = open(target, rate, connections, seconds)?;
    let [median, p99, _] = open.latency_us().ok_or("no request was measured")?;
    let delivered = open.requests / f64::from(u32::try_from(seconds)?) / f64::from(rate);
    println!("open loop at {rate} requests/s: {delivered:.3} of them sent, p50 {median:.0} us, p99 {p99:.0} us");
    Ok(())
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;

    use super::*;

    #[test]
    fn the_count_of_wrk_is_read() {
        assert_eq!(number_before("  12345 requests in 2.00s, 1.2MB read", " requests in"), Some(12345.0));
    }

    #[test]
    fn arrivals_are_in_order_and_as_many_as_wanted_on_average() {
        let moments = arrivals(10_000, Duration::from_secs(10), &mut rand::rngs::StdRng::seed_from_u64(7));
        assert!(moments.is_sorted());
        // Four standard deviations of a Poisson count of 100,000.
        assert!((98_700..101_300).contains(&moments.len()), "{}", moments.len());
        let gaps: Vec<f64> = moments.windows(2).map(|two| two[1].saturating_sub(two[0]).as_secs_f64() * 1e6).collect();
        // The median of an exponential distribution is ln 2 of its mean.
        let median = quantile(&gaps, 0.5).unwrap();
        assert!((66.0..73.0).contains(&median), "{median}");
    }
}
