//! What the proxies are asked to do.

use clap::ValueEnum;

/// One kind of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Workload {
    /// Kept connections, answers of 100 B.
    Ka100,
    /// Kept connections, answers of 10 KB.
    Ka10k,
    /// Kept connections, answers of 100 KB.
    Ka100k,
    /// A connection for each request, answers of 100 B.
    Close,
    /// Weights 90/10, a condition on a header and a record for each request; answers of 1 KB.
    Vamp,
    /// 3,000 requests per second, whatever the proxy does; answers of 100 B.
    Fixed3k,
    /// 10,000 requests per second.
    Fixed10k,
}

/// Where a workload is sent: each proxy listens for all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Site {
    Small,
    Medium,
    Large,
    Vamp,
}

/// How requests come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arrivals {
    /// Each client sends its next request when it has its answer.
    Closed { keep_alive: bool },
    /// At random moments, so many per second on average.
    Open { rate: u32 },
}

impl Workload {
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Ka100 => "keep-alive, 100 B",
            Self::Ka10k => "keep-alive, 10 KB",
            Self::Ka100k => "keep-alive, 100 KB",
            Self::Close => "connection per request",
            Self::Vamp => "90/10 + condition + record, 1 KB",
            Self::Fixed3k => "3,000 requests/s",
            Self::Fixed10k => "10,000 requests/s",
        }
    }

    pub(crate) fn site(self) -> Site {
        match self {
            Self::Ka100 | Self::Close | Self::Fixed3k | Self::Fixed10k => Site::Small,
            Self::Ka10k => Site::Medium,
            Self::Ka100k => Site::Large,
            Self::Vamp => Site::Vamp,
        }
    }

    pub(crate) fn arrivals(self) -> Arrivals {
        match self {
            Self::Fixed3k => Arrivals::Open { rate: 3_000 },
            Self::Fixed10k => Arrivals::Open { rate: 10_000 },
            Self::Close => Arrivals::Closed { keep_alive: false },
            Self::Ka100 | Self::Ka10k | Self::Ka100k | Self::Vamp => Arrivals::Closed { keep_alive: true },
        }
    }
}

impl Site {
    pub(crate) const ALL: [Self; 4] = [Self::Small, Self::Medium, Self::Large, Self::Vamp];

    /// Bytes of an answer's body.
    pub(crate) fn bytes(self) -> usize {
        match self {
            Self::Small => 100,
            Self::Medium => 10 * 1024,
            Self::Large => 100 * 1024,
            Self::Vamp => 1024,
        }
    }
}
