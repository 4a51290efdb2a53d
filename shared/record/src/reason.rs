//! How a request ended.

/// How a request ended: one word in the record, one label in the metrics. `Completed` says that the upstream's answer
/// went through whole, whatever its status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The upstream's answer went through whole.
    Completed,
    /// The request was malformed: 400 (or 501, 505), connection closed.
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
}
