//! The same through a whole gateway in this process: its store, its sockets, and requests that show what is served.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Parser;
use rand::RngExt as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use vamp_gateway::{Running, Settings};
use vamp_routing::wire::{self, Encoded, Generation, Table, Target};
use vamp_store::tables::{Publishable, Publisher};
use vamp_store::{SharedStore, layout};

use super::{Options, line, ms, say, table};
use crate::Failure;
use crate::process::free_port;
use crate::statistics::{quantile, spread};

/// LIMIT: how long a table may take to be served before the measurement is given up.
const PATIENCE: Duration = Duration::from_mins(1);

/// Requests a second under load, from [`CONNECTIONS`] keep-alive connections in turn.
const RATE: u32 = 2_000;
const CONNECTIONS: u32 = 8;

/// One stretch of load, with or without swaps.
const SLICE: Duration = Duration::from_secs(2);

/// Time between two swaps in a slice that has them.
const SWAP_EVERY: Duration = Duration::from_millis(100);

#[derive(Debug, Parser)]
struct Embedded {
    #[command(flatten)]
    settings: Settings,
}

/// A gateway process's inside, and the one who publishes.
struct Stage {
    running: Running,
    store: SharedStore,
    publisher: Publisher,
    table: Table,
    values: Vec<Encoded>,
    traffic: SocketAddr,
    origins: [SocketAddr; 2],
    admin: String,
}

pub(super) fn run(options: &Options) -> Result<(), Failure> {
    if options.changes == 0 && options.pairs == 0 {
        return Ok(());
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let directory = tempfile::tempdir()?;
        let mut stage = start(options, directory.path()).await?;
        changes(&mut stage, options.changes).await?;
        pairs(&mut stage, options.pairs).await?;
        let stall = stall_ms(&stage.admin).await?;
        say(&format!("{:46} {stall:.3} ms", "longest time that a swap held a thread"));
        stage.running.stop().await;
        Ok(())
    })
}

async fn start(options: &Options, directory: &std::path::Path) -> Result<Stage, Failure> {
    drop(rustls::crypto::ring::default_provider().install_default());
    let origins = [origin("A").await?, origin("B").await?];
    let (port, admin) = (free_port()?, free_port()?);
    let flags = [
        "vamp-gateway".to_owned(),
        "--store=memory:".to_owned(),
        "--gateway-id=bench".to_owned(),
        format!("--data-dir={}", directory.join("gateway").display()),
        "--bind=127.0.0.1".to_owned(),
        format!("--admin=127.0.0.1:{admin}"),
        format!("--virtual-hosts-port={port}"),
        "--threads=1".to_owned(),
    ];
    let (store, _handle) = vamp_store::memory::open();
    let running = vamp_gateway::start(Embedded::try_parse_from(flags)?.settings, Arc::clone(&store)).await?;
    let mut table = table(options, |_, _| origins[0].to_string());
    // Ports of their own would be 10,000 sockets, which is the kernel's work and another measurement.
    table.gateways.iter_mut().for_each(|gateway| gateway.port = None);
    let values = table.gateways.iter().map(wire::encode_gateway).collect();
    let publisher = Publisher::new(Arc::clone(&store), "default");
    let traffic = SocketAddr::from(([127, 0, 0, 1], port));
    let admin = format!("http://127.0.0.1:{admin}/metrics");
    let mut stage = Stage { running, store, publisher, table, values, traffic, origins, admin };
    let began = Instant::now();
    publish(&mut stage).await?;
    let host = stage.host(0)?;
    served(stage.traffic, &host, b'A').await?;
    line("the first table: publish to served", &[ms(began)], "ms");
    Ok(stage)
}

impl Stage {
    fn host(&self, gateway: usize) -> Result<String, Failure> {
        let hosts = self.table.gateways.get(gateway).map(|gateway| &gateway.virtual_hosts);
        Ok(hosts.and_then(|hosts| hosts.last()).ok_or("a gateway without a host")?.clone())
    }

    /// Lets a gateway lead elsewhere; to which origin.
    fn turn(&mut self, gateway: usize) -> Result<u8, Failure> {
        let [one, two] = self.origins.map(|origin| origin.to_string());
        let changed = self.table.gateways.get_mut(gateway).ok_or("no such gateway")?;
        let mut led_to_one = false;
        for route in &mut changed.routes {
            let Target::Endpoints(endpoints) = &mut route.target else { continue };
            for endpoint in endpoints {
                led_to_one = endpoint.address == one;
                endpoint.address.clone_from(if led_to_one { &two } else { &one });
            }
        }
        if let Some(value) = self.values.get_mut(gateway) {
            *value = wire::encode_gateway(changed);
        }
        Ok(if led_to_one { b'B' } else { b'A' })
    }
}

async fn publish(stage: &mut Stage) -> Result<(), Failure> {
    stage.table.generation.revision += 1;
    let both = stage.table.gateways.iter().zip(&stage.values);
    let gateways: Vec<_> = both.map(|(gateway, value)| Publishable { name: &gateway.name, value }).collect();
    Ok(stage.publisher.publish(stage.table.generation, None, &gateways).await?)
}

/// Changes one gateway after the other, each when the one before is acknowledged.
async fn changes(stage: &mut Stage, count: u64) -> Result<(), Failure> {
    let (mut publishing, mut live, mut acknowledged) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..count {
        let gateway = rand::rng().random_range(0..stage.table.gateways.len());
        let origin = stage.turn(gateway)?;
        let host = stage.host(gateway)?;
        let began = Instant::now();
        publish(stage).await?;
        publishing.push(ms(began));
        let began = Instant::now();
        served(stage.traffic, &host, origin).await?;
        live.push(ms(began));
        until_acknowledged(stage).await?;
        acknowledged.push(ms(began));
    }
    if count > 0 {
        line("one gateway changed: publish", &publishing, "ms");
        line("one gateway changed: published to served", &live, "ms");
        line("one gateway changed: published to acknowledged", &acknowledged, "ms");
    }
    Ok(())
}

/// Latencies with and without swaps, in pairs of slices one after the other.
async fn pairs(stage: &mut Stage, count: usize) -> Result<(), Failure> {
    let (mut ratios, mut with, mut without, mut swaps) = (Vec::new(), Vec::new(), Vec::new(), 0);
    for pair in 0..count {
        let mut p99 = [0.0_f64; 2];
        // Which comes first changes from pair to pair.
        for swapping in [pair % 2 == 0, pair % 2 != 0] {
            let hosts = (0..stage.table.gateways.len()).step_by(97).map(|gateway| stage.host(gateway));
            let hosts: Arc<[String]> = hosts.collect::<Result<_, _>>()?;
            let load = tokio::spawn(load(stage.traffic, hosts));
            let ends = Instant::now() + SLICE;
            while swapping && Instant::now() < ends {
                let gateway = rand::rng().random_range(0..stage.table.gateways.len());
                stage.turn(gateway)?;
                publish(stage).await?;
                swaps += 1;
                tokio::time::sleep(SWAP_EVERY).await;
            }
            let latencies = load.await??;
            let found = quantile(&latencies, 0.99).ok_or("no request was answered")?;
            if let Some(place) = p99.get_mut(usize::from(swapping)) {
                *place = found;
            }
        }
        let [calm, swapped] = p99;
        without.push(calm);
        with.push(swapped);
        ratios.push(swapped / calm);
    }
    if count > 0 {
        line("p99 of a request without swaps", &without, "ms");
        line("p99 of a request during swaps", &with, "ms");
        say(&format!("{:46} {} ({swaps} swaps, 0 failed)", "p99 during swaps / without", spread(&ratios, 2)));
    }
    Ok(())
}

/// One slice of requests at a steady rate; milliseconds from when each was to be sent to its answer. A request that is
/// not answered, or a connection that is closed, is a failure of the measurement.
async fn load(traffic: SocketAddr, hosts: Arc<[String]>) -> Result<Vec<f64>, Failure> {
    let begin = Instant::now();
    let connections = (0..CONNECTIONS).map(|number| {
        let hosts = Arc::clone(&hosts);
        tokio::spawn(async move {
            let mut stream = TcpStream::connect(traffic).await?;
            stream.set_nodelay(true)?;
            let mut latencies = Vec::new();
            let every = Duration::from_secs(1) * CONNECTIONS / RATE;
            let mut due = begin + every * number / CONNECTIONS;
            for host in hosts.iter().cycle().skip(usize::try_from(number)?) {
                if due > begin + SLICE {
                    break;
                }
                tokio::time::sleep_until(due.into()).await;
                ask(&mut stream, host).await?;
                latencies.push(ms(due));
                due += every;
            }
            Ok::<_, Failure>(latencies)
        })
    });
    let mut all = Vec::new();
    for connection in connections.collect::<Vec<_>>() {
        all.extend(connection.await??);
    }
    Ok(all)
}

/// Asks until this origin answers.
async fn served(traffic: SocketAddr, host: &str, origin: u8) -> Result<(), Failure> {
    let began = Instant::now();
    let mut stream: Option<TcpStream> = None;
    while began.elapsed() < PATIENCE {
        let mut open = match stream.take() {
            Some(open) => open,
            None => TcpStream::connect(traffic).await?,
        };
        // Before the first table there is no gateway of that name.
        match ask(&mut open, host).await {
            Ok(found) if found == origin => return Ok(()),
            Ok(_) => stream = Some(open),
            Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    }
    Err(format!("a table was not served within {PATIENCE:?}").into())
}

/// One request; the letter of the origin that answered it.
async fn ask(stream: &mut TcpStream, host: &str) -> Result<u8, Failure> {
    stream.write_all(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes()).await?;
    let mut answer = Vec::with_capacity(512);
    loop {
        if stream.read_buf(&mut answer).await? == 0 {
            return Err("the gateway closed a connection".into());
        }
        let Some(body) = answer.windows(4).position(|end| end == b"\r\n\r\n").map(|head| head + 4) else { continue };
        if !answer.starts_with(b"HTTP/1.1 200 ") {
            return Err(format!("not 200: {}", String::from_utf8_lossy(&answer)).into());
        }
        if let Some(letter) = answer.get(body) {
            return Ok(*letter);
        }
    }
}

/// An origin that answers each request with this letter.
async fn origin(letter: &'static str) -> Result<SocketAddr, Failure> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer(stream, letter));
        }
    });
    Ok(address)
}

async fn answer(mut stream: TcpStream, letter: &str) {
    let text = format!("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{letter}");
    let mut head = Vec::with_capacity(1024);
    // The gateway sends one request after the other, each without a body.
    while stream.read_buf(&mut head).await.is_ok_and(|bytes| bytes > 0) {
        if head.ends_with(b"\r\n\r\n") {
            head.clear();
            if stream.write_all(text.as_bytes()).await.is_err() {
                return;
            }
        }
    }
}

async fn until_acknowledged(stage: &Stage) -> Result<(), Failure> {
    let key = layout::registration("default", "bench");
    let wanted = stage.table.generation;
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        let entry = stage.store.get(&key).await?;
        let registration = entry.and_then(|entry| serde_json::from_slice::<wire::Registration>(&entry.value).ok());
        if registration
            .and_then(|registration| registration.applied)
            .is_some_and(|applied: Generation| applied >= wanted)
        {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_micros(200)).await;
    }
    Err("a table was not acknowledged".into())
}

/// What the gateway says of the longest time that a swap held a thread.
async fn stall_ms(admin: &str) -> Result<f64, Failure> {
    let page = reqwest::get(admin).await?.text().await?;
    let value = page.lines().find_map(|line| line.strip_prefix("vamp_gateway_swap_stall_seconds "));
    Ok(value.ok_or("the gateway does not tell its longest stall")?.parse::<f64>()? * 1e3)
}
