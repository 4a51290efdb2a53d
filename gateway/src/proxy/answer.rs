//! The gateway's own answers to clients, all of them: each names the thing and the mend.

use std::io::Write as _;

use vamp_record::Reason;

/// An answer that the gateway gives itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    /// Status code.
    pub(super) status: u16,
    /// What is wrong and how to mend it.
    pub(super) text: String,
}

impl Answer {
    /// For a request that ended for this reason before a head was sent; `None` where the connection is cut instead.
    pub(super) fn of(reason: Reason) -> Option<Self> {
        let status = reason.status()?;
        Some(Self { status, text: text(reason).to_owned() })
    }

    /// Appends it to `out`; `persistent`: the connection stays open; `to_head`: it answers HEAD, which has no body.
    pub(super) fn write(&self, persistent: bool, to_head: bool, request_id: &[u8], out: &mut Vec<u8>) {
        // Writing to a vector does not fail.
        drop(write!(
            out,
            "HTTP/1.1 {} {}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\nCache-Control: no-store\r\n",
            self.status,
            words(self.status),
            self.text.len() + 1,
        ));
        if self.status == 503 {
            // Whatever it is for want of, most clients wait longer by themselves.
            out.extend_from_slice(b"Retry-After: 1\r\n");
        }
        if !request_id.is_empty() {
            out.extend_from_slice(b"X-Request-Id: ");
            out.extend_from_slice(request_id);
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(if persistent {
            b"Connection: keep-alive\r\n\r\n"
        } else {
            b"Connection: close\r\n\r\n"
        });
        if !to_head {
            out.extend_from_slice(self.text.as_bytes());
            out.push(b'\n');
        }
    }
}

fn text(reason: Reason) -> &'static str {
    match reason {
        Reason::BadRequest => "the body of the request is malformed: frame it as RFC 9112 says",
        Reason::HeadTooLarge => "the head of the request is too large: send fewer or shorter header fields",
        Reason::TargetTooLong => "the request target is too long: shorten the path or the query",
        Reason::BodyTooLarge => "the body of the request is larger than this gateway takes: send less at once",
        Reason::HeadTimeout => "the head of the request did not come in time: send it again",
        Reason::BodyTimeout => "the body of the request stopped coming, or came too slowly: send it again",
        Reason::UnknownHost => "no gateway serves this host: check the name, or give a gateway this virtual host",
        Reason::NoWeight => "all routes of this gateway have weight 0: give one of them weight",
        Reason::NoEndpoint => "the route of this request has no live endpoint: start one, or take its weight away",
        Reason::ConnectFailed => "no endpoint of this route accepts connections: check that the service runs",
        Reason::ConnectTimeout => {
            "no endpoint of this route accepted a connection in time: check the service and the network"
        }
        Reason::UpstreamClosed => "the service closed the connection without an answer: look into its log",
        Reason::BadResponse => "the service answered with something that is not HTTP/1.1: look into its log",
        Reason::ResponseTimeout => {
            "the service did not answer in time: look into its log, or raise the response time-out"
        }
        Reason::Overload => "this gateway is at its limit: try again later",
        Reason::Completed
        | Reason::ResponseIdle
        | Reason::UpstreamCut
        | Reason::ClientClosed
        | Reason::TunnelClosed
        | Reason::Drained
        | Reason::IdleTimeout => "the connection ended before the answer",
    }
}

fn words(status: u16) -> &'static str {
    match status {
        400 => "Bad Request",
        404 => "Not Found",
        408 => "Request Timeout",
        413 => "Content Too Large",
        414 => "URI Too Long",
        431 => "Request Header Fields Too Large",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        _ => "Error",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_has_its_words_and_every_text_its_mend() {
        for reason in Reason::ALL {
            let Some(answer) = Answer::of(reason) else { continue };
            assert_ne!(words(answer.status), "Error", "{reason:?}");
            assert!(answer.text.contains(": "), "{reason:?}: {}", answer.text);
        }
    }

    #[test]
    fn an_answer_is_framed_and_says_whether_the_connection_stays() {
        let answer = Answer { status: 404, text: "no: yes".to_owned() };
        let mut out = Vec::new();
        answer.write(false, false, b"id1", &mut out);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "HTTP/1.1 404 Not Found\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 8\r\nCache-Control: no-store\r\nX-Request-Id: id1\r\nConnection: close\r\n\r\nno: yes\n"
        );
        let mut out = Vec::new();
        answer.write(true, true, b"", &mut out);
        assert!(out.ends_with(b"Connection: keep-alive\r\n\r\n"));
    }
}
