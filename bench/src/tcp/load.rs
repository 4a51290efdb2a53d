//! Both ends of the connections: the load, and the servers behind the proxies. A process each, pinned with the others that
//! are no proxy.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::Failure;

/// Bytes of a small message.
const MESSAGE_BYTES: usize = 100;

/// Bytes that are read or written at once in large transfers.
const CHUNK_BYTES: usize = 256 * 1024;

/// What connections are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Work {
    /// A connection for one message and its answer.
    Connection,
    /// Messages and answers on connections that stay.
    Exchange,
    /// The server sends, as much as passes.
    Download,
    /// The client does.
    Upload,
}

impl Work {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Connection => "connection",
            Self::Exchange => "exchange",
            Self::Download => "download",
            Self::Upload => "upload",
        }
    }

    /// What it is and what is counted.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Connection => "connection with one exchange of 100 B",
            Self::Exchange => "exchange of 100 B on a kept connection",
            Self::Download => "MiB from the server",
            Self::Upload => "MiB from the client",
        }
    }

    /// Connections at the same time.
    fn connections(self) -> usize {
        match self {
            Self::Connection | Self::Exchange => 32,
            Self::Download | Self::Upload => 8,
        }
    }
}

fn on_this_thread<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}

/// Serves until it is killed.
pub(crate) fn serve(listen: SocketAddr, work: Work) -> Result<(), Failure> {
    on_this_thread(async move {
        let listener = TcpListener::bind(listen).await?;
        loop {
            let (client, _) = listener.accept().await?;
            client.set_nodelay(true)?;
            // One that fails is its client's to tell.
            tokio::spawn(async move { drop(answer(client, work).await) });
        }
    })
}

async fn answer(mut client: TcpStream, work: Work) -> std::io::Result<()> {
    match work {
        Work::Connection | Work::Exchange => {
            let mut message = [0; MESSAGE_BYTES];
            while client.read_exact(&mut message).await.is_ok() {
                client.write_all(&message).await?;
            }
        }
        Work::Download => {
            let chunk = vec![7; CHUNK_BYTES];
            loop {
                client.write_all(&chunk).await?;
            }
        }
        Work::Upload => {
            let mut chunk = vec![0; CHUNK_BYTES];
            while client.read(&mut chunk).await? > 0 {}
        }
    }
    Ok(())
}

/// Makes load, and prints how many units of the work were done: connections, exchanges, or MiB.
#[expect(clippy::print_stdout, reason = "whoever started it reads it")]
pub(crate) fn make(target: SocketAddr, work: Work, seconds: u64) -> Result<(), Failure> {
    let done = on_this_thread(async move {
        let until = Instant::now() + Duration::from_secs(seconds);
        let mut clients = JoinSet::new();
        for _ in 0..work.connections() {
            clients.spawn(client(target, work, until));
        }
        let mut done = 0.0;
        while let Some(ended) = clients.join_next().await {
            done += ended??;
        }
        Ok(done)
    })?;
    println!("{done}");
    Ok(())
}

/// Makes this many connections, or exchanges, one after the other on each of its clients.
pub(crate) fn count(target: SocketAddr, work: Work, clients: usize, units: usize) -> Result<(), Failure> {
    on_this_thread(async move {
        let mut running = JoinSet::new();
        for index in 0..clients {
            let units = units / clients + usize::from(index < units % clients);
            running.spawn(counted_client(target, work, units));
        }
        while let Some(ended) = running.join_next().await {
            ended??;
        }
        Ok(())
    })
}

async fn counted_client(target: SocketAddr, work: Work, units: usize) -> Result<(), Failure> {
    let mut server = TcpStream::connect(target).await?;
    server.set_nodelay(true)?;
    for done in 0..units {
        if done > 0 && work == Work::Connection {
            server = TcpStream::connect(target).await?;
        }
        exchange(&mut server).await?;
    }
    Ok(())
}

async fn client(target: SocketAddr, work: Work, until: Instant) -> Result<f64, Failure> {
    let mut done = 0.0;
    match work {
        Work::Connection => {
            while Instant::now() < until {
                let mut server = TcpStream::connect(target).await?;
                exchange(&mut server).await?;
                done += 1.0;
            }
        }
        Work::Exchange => {
            let mut server = TcpStream::connect(target).await?;
            server.set_nodelay(true)?;
            while Instant::now() < until {
                exchange(&mut server).await?;
                done += 1.0;
            }
        }
        Work::Download => {
            let (mut server, mut chunk) = (TcpStream::connect(target).await?, vec![0; CHUNK_BYTES]);
            while Instant::now() < until {
                done += mebibytes(match server.read(&mut chunk).await? {
                    0 => return Err("the server ended".into()),
                    bytes => bytes,
                });
            }
        }
        Work::Upload => {
            let (mut server, chunk) = (TcpStream::connect(target).await?, vec![7; CHUNK_BYTES]);
            while Instant::now() < until {
                done += mebibytes(server.write(&chunk).await?);
            }
        }
    }
    Ok(done)
}

async fn exchange(server: &mut TcpStream) -> Result<(), Failure> {
    let (message, mut answer) = ([7; MESSAGE_BYTES], [0; MESSAGE_BYTES]);
    server.write_all(&message).await?;
    server.read_exact(&mut answer).await?;
    if answer == message { Ok(()) } else { Err("something else came back".into()) }
}

fn mebibytes(bytes: usize) -> f64 {
    f64::from(u32::try_from(bytes).unwrap_or(u32::MAX)) / f64::from(1 << 20)
}
