//! Forgets what old versions of documents said that follow from others. Their rows and digests stay, so that the chain over
//! all versions can be verified as before.

use super::session::{Session, values};

/// Documents that follow from others, and change with every instance: of them old versions are not kept whole.
pub(super) const DERIVED: &str = "instances";

/// LIMIT: versions of such a document that are kept whole; of those before them only their digests are, so that the
/// history can be verified.
pub(super) const DERIVED_VERSIONS: u64 = 100;

/// LIMIT: versions of one step through a history that was written before such versions were thinned: nobody else writes
/// meanwhile.
pub(super) const BITE: u64 = 500;

/// How far such a history was gone through.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Place {
    name: String,
    version: u64,
}

/// Forgets what an old version said; all of them of a document that is deleted. One that is deleted says nothing: it keeps
/// its NULL, by which it is known.
pub(super) async fn after_write(
    session: &mut Session<'_>,
    name: &str,
    version: u64,
    is_there: bool,
) -> Result<(), sqlx::Error> {
    let last = last_thinned(version, is_there);
    // Each write forgets one, and the deletion the rest.
    let first = if is_there { last } else { version.saturating_sub(DERIVED_VERSIONS) };
    forget(session, name, first, last).await
}

/// The last version that is not kept whole, when this is the newest.
fn last_thinned(newest: u64, is_there: bool) -> u64 {
    newest.saturating_sub(if is_there { DERIVED_VERSIONS } else { 1 })
}

async fn forget(session: &mut Session<'_>, name: &str, first: u64, last: u64) -> Result<(), sqlx::Error> {
    if last == 0 || first > last {
        return Ok(());
    }
    let forget = "UPDATE versions SET document = '' WHERE kind = ? AND name = ? AND version >= ? AND version <= ? \
                  AND document IS NOT NULL AND document <> ''";
    session.execute(forget, values![DERIVED, name, first, last]).await.map(drop)
}

/// The same for what was written before it was done at each write, from a place on; `None`: that was all.
pub(super) async fn go_on(session: &mut Session<'_>, mut place: Place) -> Result<Option<Place>, sqlx::Error> {
    let mut left = BITE;
    while left > 0 {
        let select =
            "SELECT version FROM versions WHERE kind = ? AND name = ? AND version > ? ORDER BY version LIMIT ?";
        let rows = session.rows(select, values![DERIVED, &place.name, place.version, left]).await?;
        let Some(last) = rows.last() else {
            let select = "SELECT name FROM versions WHERE kind = ? AND name > ? ORDER BY name LIMIT 1";
            let Some(next) = session.rows(select, values![DERIVED, &place.name]).await?.pop() else { return Ok(None) };
            place = Place { name: next.text(0)?, version: 0 };
            left -= 1;
            continue;
        };
        let last = last.number(0)?;
        let until = last.min(whole_after(session, &place.name).await?);
        forget(session, &place.name, place.version + 1, until).await?;
        place.version = last;
        left = left.saturating_sub(u64::try_from(rows.len()).unwrap_or(u64::MAX));
    }
    Ok(Some(place))
}

/// The version after which those of a document are kept whole.
async fn whole_after(session: &mut Session<'_>, name: &str) -> Result<u64, sqlx::Error> {
    let newest = "SELECT COALESCE(MAX(version), 0) FROM versions WHERE kind = ? AND name = ?";
    let newest = session.row(newest, values![DERIVED, name]).await?.number(0)?;
    let current = "SELECT version FROM artifacts WHERE kind = ? AND name = ?";
    let is_there = !session.rows(current, values![DERIVED, name]).await?.is_empty();
    Ok(last_thinned(newest, is_there))
}
