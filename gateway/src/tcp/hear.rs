//! The PROXY header at the start of a connection.

use std::future::poll_fn;
use std::task::Poll;
use std::time::Instant;

use tokio::net::TcpStream;
use vamp_record::Reason;

use crate::proxy::flow::poll_read;
use crate::proxy::scratch::{self, Scratch};
use crate::proxy::timer::Timer;
use crate::proxy_header::ProxyHeader;

/// Reads the header, and what came behind it in the same step; or why there is none.
pub(super) async fn header(
    client: &mut TcpStream,
    timer: &mut Timer,
    deadline: Instant,
) -> Result<(ProxyHeader, Vec<u8>), Reason> {
    // It stays small: what is longer than any header is refused, and only what was read with its end is beyond that.
    let mut kept = Vec::new();
    poll_fn(|context| {
        scratch::with(|scratch| {
            loop {
                match poll_read(context, client, scratch.room()) {
                    Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Err(Reason::ClientClosed)),
                    Poll::Ready(Ok(bytes)) => {
                        let read = scratch.buffer.get(Scratch::START..Scratch::START + bytes);
                        kept.extend_from_slice(read.unwrap_or_default());
                    }
                    Poll::Pending if timer.is_over(context, deadline) => {
                        return Poll::Ready(Err(Reason::HeadTimeout));
                    }
                    Poll::Pending => return Poll::Pending,
                }
                match ProxyHeader::parse(&kept) {
                    Ok(None) => {}
                    Ok(Some(header)) => {
                        let rest = kept.split_off(header.bytes.min(kept.len()));
                        return Poll::Ready(Ok((header, rest)));
                    }
                    Err(fault) => {
                        tracing::debug!("a connection is closed: {fault}");
                        return Poll::Ready(Err(Reason::BadRequest));
                    }
                }
            }
        })
    })
    .await
}
