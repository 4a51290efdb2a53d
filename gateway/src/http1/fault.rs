//! Why a head is refused: the thing, what is wrong with it, and the mend, in words for the client.

/// Why a request head is refused. The connection is closed after the answer: where the next request starts is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fault {
    /// 400: the head, or a part of it, is not what RFC 9112 allows.
    #[error("{0}")]
    Malformed(&'static str),
    /// 414: the request target is longer than the limit.
    #[error(
        "the request target is longer than this gateway takes: shorten the path or the query, or send it in a body"
    )]
    TargetTooLong,
    /// 431: the head is larger than the limit.
    #[error("the head of the request is larger than this gateway takes: send fewer or shorter header fields")]
    HeadTooLarge,
    /// 431: the head has more fields than the limit.
    #[error("the request has more header fields than this gateway takes: send fewer")]
    TooManyFields,
    /// 501: known to HTTP, not to this gateway.
    #[error("{0}")]
    NotImplemented(&'static str),
    /// 505: not HTTP/1.0 or 1.1.
    #[error("this port speaks HTTP/1.1 and HTTP/1.0: send one of these")]
    Version,
}

impl Fault {
    /// The status that answers it.
    pub(crate) fn status(self) -> u16 {
        match self {
            Self::Malformed(_) => 400,
            Self::TargetTooLong => 414,
            Self::HeadTooLarge | Self::TooManyFields => 431,
            Self::NotImplemented(_) => 501,
            Self::Version => 505,
        }
    }
}

/// Why a response head is refused: the upstream broke HTTP, and its connection can't be used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ResponseFault {
    /// The head, or a part of it, is not what RFC 9112 allows.
    #[error("{0}")]
    Malformed(&'static str),
    /// The head, or the number of its fields, is larger than the limit.
    #[error("the head of the response is larger than this gateway takes")]
    HeadTooLarge,
    /// 101 without a request for an upgrade.
    #[error("the response switches protocols although the request did not ask for it")]
    UnaskedUpgrade,
}
