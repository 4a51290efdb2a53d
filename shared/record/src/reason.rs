//! How a request ended, or a connection of a TCP gateway.

/// How a request ended: one word in the record, one label in the metrics. `Completed` says that the upstream's answer
/// went through whole, whatever its status; of a connection, that both sides ended it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The upstream's answer went through whole.
    Completed,
    /// The request (or the PROXY header of a connection) was malformed: 400 (or 501, 505), connection closed.
    BadRequest,
    /// The head is larger than the limits: 431.
    HeadTooLarge,
    /// The request target is longer than the limit: 414.
    TargetTooLong,
    /// The body is larger than the limit: 413.
    BodyTooLarge,
    /// The head did not come in time: 408.
    HeadTimeout,
    /// The body did not go on in time: 408.
    BodyTimeout,
    /// No gateway claims the host: 404.
    UnknownHost,
    /// All weights are 0: 503.
    NoWeight,
    /// The route has no live endpoint: 503.
    NoEndpoint,
    /// No endpoint accepted a connection after all tries: 502.
    ConnectFailed,
    /// The connection was not made in time: 504.
    ConnectTimeout,
    /// The upstream closed or reset before its answer's head: 502.
    UpstreamClosed,
    /// The upstream's answer is malformed: 502, or a visibly cut message when its head was already sent.
    BadResponse,
    /// The answer's head did not come in time: 504.
    ResponseTimeout,
    /// The answer's body stopped: cut.
    ResponseIdle,
    /// The upstream cut its answer: cut, never presented as complete.
    UpstreamCut,
    /// The client left before the end.
    ClientClosed,
    /// The tunnel after an upgrade ended.
    TunnelClosed,
    /// The gateway sheds load: 503.
    Overload,
    /// The gateway's drain limit passed before the end.
    Drained,
    /// Nothing moved on a connection for the time that it may be idle: cut.
    IdleTimeout,
}

impl Reason {
    /// All of them, for tables of metrics.
    pub const ALL: [Self; 22] = [
        Self::Completed,
        Self::BadRequest,
        Self::HeadTooLarge,
        Self::TargetTooLong,
        Self::BodyTooLarge,
        Self::HeadTimeout,
        Self::BodyTimeout,
        Self::UnknownHost,
        Self::NoWeight,
        Self::NoEndpoint,
        Self::ConnectFailed,
        Self::ConnectTimeout,
        Self::UpstreamClosed,
        Self::BadResponse,
        Self::ResponseTimeout,
        Self::ResponseIdle,
        Self::UpstreamCut,
        Self::ClientClosed,
        Self::TunnelClosed,
        Self::Overload,
        Self::Drained,
        Self::IdleTimeout,
    ];

    /// The word for documents and labels. Readers search for it: it never changes.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::BadRequest => "bad_request",
            Self::HeadTooLarge => "head_too_large",
            Self::TargetTooLong => "target_too_long",
            Self::BodyTooLarge => "body_too_large",
            Self::HeadTimeout => "head_timeout",
            Self::BodyTimeout => "body_timeout",
            Self::UnknownHost => "unknown_host",
            Self::NoWeight => "no_weight",
            Self::NoEndpoint => "no_endpoint",
            Self::ConnectFailed => "connect_failed",
            Self::ConnectTimeout => "connect_timeout",
            Self::UpstreamClosed => "upstream_closed",
            Self::BadResponse => "bad_response",
            Self::ResponseTimeout => "response_timeout",
            Self::ResponseIdle => "response_idle",
            Self::UpstreamCut => "upstream_cut",
            Self::ClientClosed => "client_closed",
            Self::TunnelClosed => "tunnel_closed",
            Self::Overload => "overload",
            Self::Drained => "drained",
            Self::IdleTimeout => "idle_timeout",
        }
    }

    /// The status that the gateway answers with for this reason, while no head was sent yet; `None` where it cuts the
    /// connection instead, or where the upstream's own status went through.
    pub fn status(self) -> Option<u16> {
        match self {
            Self::BadRequest => Some(400),
            Self::UnknownHost => Some(404),
            Self::HeadTimeout | Self::BodyTimeout => Some(408),
            Self::BodyTooLarge => Some(413),
            Self::TargetTooLong => Some(414),
            Self::HeadTooLarge => Some(431),
            Self::ConnectFailed | Self::UpstreamClosed | Self::BadResponse => Some(502),
            Self::NoWeight | Self::NoEndpoint | Self::Overload => Some(503),
            Self::ConnectTimeout | Self::ResponseTimeout => Some(504),
            Self::Completed
            | Self::ResponseIdle
            | Self::UpstreamCut
            | Self::ClientClosed
            | Self::TunnelClosed
            | Self::Drained
            | Self::IdleTimeout => None,
        }
    }

    /// The nearest of HAProxy's termination states, for readers of the fields `tsc` and `ts`: who ended the session, and
    /// in which phase (`--` for the two cookie characters, which old documents never filled, and connections have not).
    pub(crate) fn termination_state(self) -> &'static str {
        match self {
            Self::Completed | Self::TunnelClosed => "----",
            Self::BadRequest | Self::HeadTooLarge | Self::TargetTooLong | Self::BodyTooLarge | Self::UnknownHost => {
                "PR--"
            }
            Self::HeadTimeout => "cR--",
            Self::BodyTimeout | Self::IdleTimeout => "cD--",
            Self::NoWeight | Self::NoEndpoint | Self::ConnectFailed => "SC--",
            Self::ConnectTimeout => "sC--",
            Self::UpstreamClosed => "SH--",
            Self::BadResponse => "PH--",
            Self::ResponseTimeout => "sH--",
            Self::ResponseIdle => "sD--",
            Self::UpstreamCut => "SD--",
            Self::ClientClosed => "CD--",
            Self::Overload => "RC--",
            Self::Drained => "KD--",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_a_word_of_its_own() {
        let words: std::collections::BTreeSet<_> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
        assert_eq!(words.len(), Reason::ALL.len());
        assert!(words.iter().all(|word| word.bytes().all(|byte| byte == b'_' || byte.is_ascii_lowercase())));
    }
}
