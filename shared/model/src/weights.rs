//! Shares out what given weights leave open.

use vamp_routing::wire::Share;

/// Given weights that make neither nothing nor a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WrongSum {
    /// What they add up to, in hundredths of a percent.
    pub sum: u64,
}

/// The weight of each route, in order. Routes without one share what is left in whole percents, the last of them takes
/// the rest; the order never changes.
pub fn share_out(given: &[Option<Share>]) -> Result<Vec<Share>, WrongSum> {
    let sum: u64 = given.iter().flatten().map(|share| u64::from(share.0)).sum();
    let open = given.iter().filter(|share| share.is_none()).count();
    let whole = Share::WHOLE.0;
    let Some(left) = u16::try_from(sum).ok().and_then(|sum| whole.checked_sub(sum)) else {
        return Err(WrongSum { sum });
    };
    if open == 0 && sum != 0 && left != 0 {
        return Err(WrongSum { sum });
    }
    let each = u16::try_from(usize::from(left) / 100 / open.max(1)).unwrap_or_default().saturating_mul(100);
    let last_open = given.iter().rposition(Option::is_none);
    let others = u16::try_from(open.saturating_sub(1)).unwrap_or_default();
    let rest = left.saturating_sub(each.saturating_mul(others));
    let shared = given.iter().enumerate().map(|(index, share)| match share {
        Some(share) => *share,
        None if Some(index) == last_open => Share(rest),
        None => Share(each),
    });
    Ok(shared.collect())
}

/// What each of some shares becomes when all of them have `room` together, in proportion and exact in sum: what rounding
/// leaves goes to those that lost most by it, the first of them first. `None` where nothing has a share to begin with.
pub fn fit(shares: &[Share], room: Share) -> Option<Vec<Share>> {
    let sum: u64 = shares.iter().map(|share| u64::from(share.0)).sum();
    if sum == 0 {
        return None;
    }
    let parts = shares.iter().map(|share| u64::from(share.0) * u64::from(room.0));
    let mut fitted: Vec<u64> = parts.clone().map(|part| part / sum).collect();
    let mut losers: Vec<(usize, u64)> = parts.map(|part| part % sum).enumerate().collect();
    losers.sort_by_key(|(_, lost)| std::cmp::Reverse(*lost));
    let left = u64::from(room.0).saturating_sub(fitted.iter().sum());
    for (index, _) in losers.into_iter().take(usize::try_from(left).unwrap_or_default()) {
        if let Some(share) = fitted.get_mut(index) {
            *share += 1;
        }
    }
    fitted.into_iter().map(|share| u16::try_from(share).ok().map(Share)).collect()
}
