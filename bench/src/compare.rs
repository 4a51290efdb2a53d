//! CPU per request of the gateway and of HAProxy: both alive at once, each on the same core in turn, interleaved in
//! random order, judged by the median of the ratios within a round.

use std::io::Write;
use std::process::Command;
use std::time::Duration;

use clap::Args;
use rand::seq::SliceRandom;

use crate::Failure;
use crate::process::{Process, await_listening, free_port};
use crate::product::Product;
use crate::statistics::spread;

/// The proxies share one core, load and origin the other: the machine needs two.
const PROXY_CORE: usize = 0;
const LOAD_CORE: usize = 1;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Rounds; each measures every proxy once.
    #[arg(long, default_value_t = 9)]
    rounds: usize,
    /// Seconds of load for each proxy in each round.
    #[arg(long, default_value_t = 2)]
    seconds: u64,
    /// Client connections, kept alive.
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// Bytes of each answer's body.
    #[arg(long, default_value_t = 100)]
    bytes: usize,
}

/// What one proxy did in one slice of time.
struct Slice {
    cpu_us_per_request: f64,
    requests_per_second: f64,
}

struct Proxy<'p> {
    name: &'static str,
    port: u16,
    process: &'p Process,
    slices: Vec<Slice>,
}

pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    let directory = tempfile::tempdir()?;
    let origin_port = free_port()?;
    let origin_listen = format!("127.0.0.1:{origin_port}");
    let bytes = options.bytes.to_string();
    let own = std::env::current_exe()?;
    let own = own.to_str().ok_or("the path of this program is not UTF-8")?;
    let _origin = Process::start(LOAD_CORE, &[own, "origin", "--listen", &origin_listen, "--bytes", &bytes])?;
    await_listening("the origin", origin_port)?;

    let haproxy_port = free_port()?;
    let configuration = directory.path().join("haproxy.cfg");
    std::fs::File::create(&configuration)?.write_all(haproxy(haproxy_port, origin_port).as_bytes())?;
    let configuration = configuration.to_str().ok_or("the temporary directory is not UTF-8")?;
    let haproxy = Process::start(PROXY_CORE, &["haproxy", "-db", "-f", configuration])?;
    await_listening("haproxy", haproxy_port)?;

    let product = Product::start(Some(PROXY_CORE), directory.path())?;
    let gateway_port = free_port()?;
    product.put_gateway(
        "bench",
        &serde_json::json!({
            "name": "bench", "port": gateway_port,
            "routes": { format!("[127.0.0.1:{origin_port}]"): { "weight": "100%" } },
        }),
    )?;
    await_listening("the gateway", gateway_port)?;

    let mut proxies = [
        Proxy { name: "haproxy", port: haproxy_port, process: &haproxy, slices: Vec::new() },
        Proxy { name: "vamp", port: gateway_port, process: product.gateway(), slices: Vec::new() },
    ];
    for round in 0..=options.rounds {
        proxies.shuffle(&mut rand::rng());
        for proxy in &mut proxies {
            let slice = measure(proxy, options)?;
            // The first round only warms up pools and caches.
            if round > 0 {
                proxy.slices.push(slice);
            }
        }
    }
    proxies.sort_by_key(|proxy| proxy.name);
    report(&proxies, options);
    Ok(())
}

/// One slice of load against one proxy.
fn measure(proxy: &Proxy<'_>, options: &Options) -> Result<Slice, Failure> {
    let before = proxy.process.cpu_ns()?;
    let output = Command::new("taskset")
        .args(["-c", &LOAD_CORE.to_string(), "wrk", "-t1"])
        .arg(format!("-c{}", options.connections))
        .arg(format!("-d{}s", options.seconds))
        .arg(format!("http://127.0.0.1:{}/", proxy.port))
        .output()
        .map_err(|error| format!("`wrk` did not start ({error}): apt-get install wrk"))?;
    let spent = Duration::from_nanos(proxy.process.cpu_ns()? - before);
    let text = String::from_utf8(output.stdout)?;
    if !output.status.success() || text.contains("Non-2xx") || text.contains("Socket errors") {
        return Err(format!("load against {} met errors, so its figures count nothing:\n{text}", proxy.name).into());
    }
    let requests = number_before(&text, " requests in").ok_or_else(|| format!("wrk counted no requests:\n{text}"))?;
    let seconds = u32::try_from(options.seconds)?;
    Ok(Slice {
        cpu_us_per_request: spent.as_secs_f64() * 1e6 / requests,
        requests_per_second: requests / f64::from(seconds),
    })
}

/// The number that stands before `label`.
fn number_before(text: &str, label: &str) -> Option<f64> {
    text.split_once(label)?.0.rsplit(char::is_whitespace).next()?.parse().ok()
}

#[expect(clippy::print_stdout, reason = "the table is what the command is for")]
fn report(proxies: &[Proxy<'_>], options: &Options) {
    println!(
        "keep-alive, {} bytes, {} connections, {} rounds of {} s; median [quartiles]",
        options.bytes, options.connections, options.rounds, options.seconds
    );
    let Some(rival) = proxies.iter().find(|proxy| proxy.name == "haproxy") else { return };
    for proxy in proxies {
        let cpu: Vec<f64> = proxy.slices.iter().map(|slice| slice.cpu_us_per_request).collect();
        let rate: Vec<f64> = proxy.slices.iter().map(|slice| slice.requests_per_second).collect();
        let ratio: Vec<f64> = proxy
            .slices
            .iter()
            .zip(&rival.slices)
            .map(|(own, rival)| own.cpu_us_per_request / rival.cpu_us_per_request)
            .collect();
        println!(
            "{:8}  {} x haproxy  {} us CPU/request  {} requests/s",
            proxy.name,
            spread(&ratio, 2),
            spread(&cpu, 1),
            spread(&rate, 0)
        );
    }
}

/// HAProxy as it does the same work: one thread, keep-alive on both sides, `X-Forwarded-For`.
fn haproxy(port: u16, origin_port: u16) -> String {
    format!(
        "global\n  nbthread 1\n  maxconn 4000\n\
         defaults\n  mode http\n  option forwardfor\n  timeout connect 3s\n  timeout client 60s\n  timeout server 60s\n\
         frontend front\n  bind 127.0.0.1:{port}\n  default_backend back\n\
         backend back\n  server origin 127.0.0.1:{origin_port}\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_of_wrk_is_read() {
        assert_eq!(number_before("  12345 requests in 2.00s, 1.2MB read", " requests in"), Some(12345.0));
    }
}
