//! What a gateway process counted of its splits: served by its admin listener, summed by the control plane.

use serde::{Deserialize, Serialize};

/// All counts of one gateway process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SplitCounts {
    /// The gateway process.
    pub id: String,
    /// Its boot: counts of another boot are another account.
    pub boot: String,
    /// One for each gateway of its table.
    pub gateways: Vec<GatewayCounts>,
}

/// What a gateway process answers when it is asked for its counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SplitAnswer {
    /// Its own.
    #[serde(flatten)]
    pub counts: SplitCounts,
    /// Those of the processes from which it took over lately, the last one first: they no longer answer themselves.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub before: Vec<SplitCounts>,
}

/// Counts of one gateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GatewayCounts {
    /// Its name.
    pub gateway: String,
    /// Each split level, the weights first.
    pub levels: Vec<LevelCounts>,
    /// Requests of each route by what decided, since the process started or the route came.
    pub routes: Vec<RouteCounts>,
}

/// The account of one split level since its shares last changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LevelCounts {
    /// `weights`, or `strength` of one condition.
    pub kind: LevelKind,
    /// The route whose condition it is, for `strength`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<String>,
    /// When the account began, milliseconds since 1970 (UTC).
    pub since_unix_ms: u64,
    /// Tickets taken since then: the sum of `delivered`.
    pub tickets: u64,
    /// Wanted and delivered, in route order. For `strength`: the route, then the empty name (the rest).
    pub shares: Vec<ShareCount>,
}

/// What a split level decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LevelKind {
    /// The weights of the gateway.
    Weights,
    /// The strength of one condition.
    Strength,
}

/// One side of a split.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShareCount {
    /// The route key.
    pub route: String,
    /// Wanted share in hundredths of a percent.
    pub wanted: u16,
    /// Tickets that went there.
    pub delivered: u64,
}

/// Requests of one route by what decided.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteCounts {
    /// The route key.
    pub route: String,
    /// Taken by its condition.
    pub condition: u64,
    /// Kept by a cookie.
    pub cookie: u64,
    /// Kept by the client's address. Processes from before TCP gateways do not tell it.
    #[serde(default)]
    pub source: u64,
    /// Given by the weights.
    pub weight: u64,
    /// The only route with weight.
    pub only_route: u64,
}
