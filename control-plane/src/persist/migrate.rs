//! Brings a database forward to the newest schema, from any that was released.

use super::PersistError;
use super::address::Address;
use super::chain::{ChangeRow, VersionRow};
use super::pools::{Pools, Product, Transaction};
use super::schema::{Migration, NEWEST, migrations};
use super::session::{Session, values};

/// The first schema in which changes are chained.
const CHAINED: u64 = 2;
/// LIMIT: changes that are chained in one bite of memory.
const BITE: u64 = 500;

/// Makes the tables, or brings them forward, all in one transaction where the product can.
pub(super) async fn migrate(pools: &Pools, address: &Address, now_unix_ms: u64) -> Result<(), PersistError> {
    let failed = |cause| PersistError::of(&address.to_string(), cause);
    let mut transaction = pools.write().await.map_err(failed)?;
    let found = found(&mut transaction).await.map_err(failed)?;
    if found > NEWEST {
        return Err(PersistError::NewerSchema { address: address.to_string(), found, known: NEWEST });
    }
    let product = pools.product();
    for migration in migrations(product).iter().filter(|migration| migration.to > found) {
        let step = step(&mut transaction.session(), product, migration, found, now_unix_ms).await;
        step.map_err(failed)?;
    }
    if let Session::MySql(_) = transaction.session() {
        transaction.session().execute("DO RELEASE_LOCK('vamp-schema')", &[]).await.map_err(failed)?;
    }
    transaction.commit().await.map_err(failed)
}

/// The schema that is there, 0 for none; nobody else migrates meanwhile.
async fn found(transaction: &mut Transaction) -> Result<u64, sqlx::Error> {
    let mut session = transaction.session();
    match session {
        Session::Sqlite(_) => return session.row("PRAGMA user_version", &[]).await?.number(0),
        Session::MySql(_) => drop(session.row("SELECT GET_LOCK('vamp-schema', 60)", &[]).await?),
        Session::Postgres(_) => drop(session.row("SELECT 1 FROM pg_advisory_xact_lock(8624503)", &[]).await?),
    }
    session.script("CREATE TABLE IF NOT EXISTS vamp_schema (version BIGINT NOT NULL)").await?;
    let row = session.row("SELECT COALESCE(MAX(version), 0) FROM vamp_schema", &[]).await?;
    row.number(0)
}

async fn step(
    session: &mut Session<'_>,
    product: Product,
    migration: &Migration,
    from: u64,
    now_unix_ms: u64,
) -> Result<(), sqlx::Error> {
    session.script(migration.steps).await?;
    if product == Product::Sqlite && migration.to == 1 {
        let state = "INSERT INTO state (id, epoch, sequence, revision, table_digest) VALUES (1, ?, 0, 0, '')";
        session.execute(state, values![now_unix_ms]).await?;
    }
    if product != Product::Sqlite && from == 0 {
        // A try before this one may have come so far.
        session.execute("DELETE FROM state", &[]).await?;
        let state = "INSERT INTO state (id, epoch, sequence, revision, table_digest, head, event) VALUES (1, ?, 0, 0, '', '', 0)";
        session.execute(state, values![now_unix_ms]).await?;
    }
    if migration.to == CHAINED {
        chain(session).await?;
    }
    if !migration.afterwards.is_empty() {
        session.script(migration.afterwards).await?;
    }
    match product {
        // PRAGMA takes no values; the number is a constant of this build.
        Product::Sqlite => session.script(format!("PRAGMA user_version = {}", migration.to)).await,
        Product::MySql | Product::Postgres => {
            session.execute("INSERT INTO vamp_schema (version) VALUES (?)", values![migration.to]).await.map(drop)
        }
    }
}

/// Gives the changes that were there before they were chained their hashes, and the newest what is so now: the table and
/// the ports.
async fn chain(session: &mut Session<'_>) -> Result<(), sqlx::Error> {
    let state = session.row("SELECT epoch, sequence, table_digest FROM state", &[]).await?;
    let (epoch, newest, table) = (state.number(0)?, state.number(1)?, state.text(2)?);
    let ports = session.rows("SELECT gateway, port FROM ports", &[]).await?;
    let ports = ports.iter().map(|row| Ok((row.text(0)?, Some(row.number(1)?)))).collect::<Result<_, sqlx::Error>>()?;
    let ports = super::write::ports_text(&ports);
    let mut head = String::new();
    let mut done = 0;
    while done < newest {
        let rows = session
            .rows(
                "SELECT sequence, at_unix_ms, cause, revision FROM changes WHERE sequence > ? ORDER BY sequence LIMIT ?",
                values![done, BITE],
            )
            .await?;
        if rows.is_empty() {
            break;
        }
        for row in rows {
            let is_newest = row.number(0)? == newest;
            let change = ChangeRow {
                sequence: row.number(0)?,
                at_unix_ms: row.number(1)?,
                cause: row.text(2)?,
                revision: row.number(3)?,
                epoch: if is_newest { epoch } else { 0 },
                table: if is_newest { table.clone() } else { String::new() },
                ports: if is_newest { ports.clone() } else { String::new() },
                ..ChangeRow::default()
            };
            head = change.hash(&head, digest_versions(session, change.sequence).await?);
            let chained = "UPDATE changes SET epoch = ?, table_digest = ?, ports = ?, hash = ? WHERE sequence = ?";
            let values = values![change.epoch, &change.table, &change.ports, &head, change.sequence];
            session.execute(chained, values).await?;
            done = change.sequence;
        }
    }
    session.execute("UPDATE state SET head = ?", values![&head]).await.map(drop)
}

async fn digest_versions(session: &mut Session<'_>, sequence: u64) -> Result<Vec<String>, sqlx::Error> {
    let rows = session
        .rows("SELECT kind, name, version, document, at_unix_ms FROM versions WHERE sequence = ?", values![sequence])
        .await?;
    let mut digests = Vec::with_capacity(rows.len());
    for row in rows {
        let (kind, name, version, document) = (row.text(0)?, row.text(1)?, row.number(2)?, row.bytes(3)?);
        let document = document.as_deref();
        let row = VersionRow { kind: &kind, name: &name, version, document, at_unix_ms: row.number(4)?, sequence };
        let digest = row.digest();
        let digested = "UPDATE versions SET digest = ? WHERE kind = ? AND name = ? AND version = ?";
        session.execute(digested, values![&digest, &kind, &name, version]).await?;
        digests.push(digest);
    }
    Ok(digests)
}
