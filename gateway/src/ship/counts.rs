//! What became of the records: each answered request is in exactly one column.

/// What was counted since the process started, at one moment:
/// `answered` = `shipped` + the drops of all reasons + `queued`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct ShipCounts {
    /// Answered requests: every record that was pushed.
    pub answered: u64,
    /// Records that wait to be shipped, in the buffers or on their way.
    pub queued: u64,
    /// Records dropped because the buffer was full.
    pub queue_full: u64,
    /// Records dropped because no Elasticsearch is configured.
    pub not_configured: u64,
    /// What the shipper counted.
    pub tally: Tally,
}

/// What the shipper counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Records stored as documents.
    pub shipped: u64,
    /// Records dropped because the server refuses their documents for good.
    pub refused: u64,
    /// Records dropped because the server, while it took others, never took these.
    pub given_up: u64,
    /// Records dropped because the process ended before the server took them. It may have stored some of them
    /// without having answered.
    pub shutdown: u64,
    /// Whether the newest request to the server was taken.
    pub is_up: bool,
    pub(super) bulks: [u64; Bulk::ALL.len()],
}

/// What became of a bulk request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bulk {
    /// Each document is settled: stored, or refused for good.
    Stored,
    /// Some documents must be sent again.
    Partly,
    /// The server refused it whole.
    Refused,
    /// No answer that makes sense came.
    Lost,
}

impl Bulk {
    /// All of them.
    pub(crate) const ALL: [Self; 4] = [Self::Stored, Self::Partly, Self::Refused, Self::Lost];

    /// The word for a metric's label.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Stored => "stored",
            Self::Partly => "partly",
            Self::Refused => "refused",
            Self::Lost => "lost",
        }
    }
}

impl Tally {
    /// Bulk requests that ended so.
    pub(crate) fn bulks(&self, outcome: Bulk) -> u64 {
        self.bulks.get(outcome as usize).copied().unwrap_or_default()
    }

    pub(super) fn count(&mut self, outcome: Bulk) {
        if let Some(bulks) = self.bulks.get_mut(outcome as usize) {
            *bulks += 1;
        }
    }

    /// Records that are neither held nor on their way any more.
    pub(super) fn settled(&self) -> u64 {
        self.shipped + self.refused + self.given_up + self.shutdown
    }
}

impl ShipCounts {
    /// Dropped records by reason, in the words of the metric's label.
    pub(crate) fn dropped(&self) -> [(&'static str, u64); 5] {
        [
            ("queue_full", self.queue_full),
            ("refused", self.tally.refused),
            ("given_up", self.tally.given_up),
            ("shutdown", self.tally.shutdown),
            ("not_configured", self.not_configured),
        ]
    }
}
