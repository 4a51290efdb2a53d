//! One way to talk to three products: statements with `?`, values, rows. What stands here knows SQL's differences in
//! writing and types; what the statements mean stands elsewhere, once for all products.

use std::borrow::Cow;

use sqlx::mysql::{MySqlConnection, MySqlRow};
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{AssertSqlSafe, Row as _};

/// A value that a statement takes.
#[derive(Debug, Clone, Copy)]
pub(super) enum Value<'v> {
    Number(i64),
    Text(Option<&'v str>),
    Real(Option<f64>),
}

impl From<u64> for Value<'_> {
    /// The products have signed numbers only; ours never come near the sign.
    fn from(number: u64) -> Self {
        Self::Number(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl<'v> From<&'v str> for Value<'v> {
    fn from(text: &'v str) -> Self {
        Self::Text(Some(text))
    }
}

impl<'v> From<&'v String> for Value<'v> {
    fn from(text: &'v String) -> Self {
        Self::Text(Some(text))
    }
}

impl<'v> From<Option<&'v str>> for Value<'v> {
    fn from(text: Option<&'v str>) -> Self {
        Self::Text(text)
    }
}

/// Values of a statement, in the order of its `?`.
macro_rules! values {
    ($($value:expr),* $(,)?) => { &[$($crate::persist::session::Value::from($value)),*] };
}
pub(super) use values;

/// The text of a statement: fixed, or put together from fixed parts. Nothing that a user sent stands in it.
pub(super) type Sql = Cow<'static, str>;

/// One connection of whichever product.
#[derive(Debug)]
pub(super) enum Session<'c> {
    Sqlite(&'c mut SqliteConnection),
    MySql(&'c mut MySqlConnection),
    Postgres(&'c mut PgConnection),
}

/// One row of whichever product.
pub(super) enum Row {
    Sqlite(SqliteRow),
    MySql(MySqlRow),
    Postgres(PgRow),
}

/// Binds all values to a statement.
macro_rules! bound {
    ($sql:expr, $values:expr) => {{
        let mut query = match $sql {
            Cow::Borrowed(text) => sqlx::query(text),
            Cow::Owned(text) => sqlx::query(AssertSqlSafe(text)),
        };
        for value in $values {
            query = match *value {
                Value::Number(number) => query.bind(number),
                Value::Text(text) => query.bind(text),
                Value::Real(number) => query.bind(number),
            };
        }
        query
    }};
}

impl Session<'_> {
    /// Does something; says how many rows it concerned.
    pub(super) async fn execute(&mut self, sql: impl Into<Sql>, values: &[Value<'_>]) -> Result<u64, sqlx::Error> {
        let sql = sql.into();
        Ok(match self {
            Self::Sqlite(connection) => bound!(sql, values).execute(&mut **connection).await?.rows_affected(),
            Self::MySql(connection) => bound!(sql, values).execute(&mut **connection).await?.rows_affected(),
            Self::Postgres(connection) => {
                bound!(numbered(&sql), values).execute(&mut **connection).await?.rows_affected()
            }
        })
    }

    /// All rows of an answer.
    pub(super) async fn rows(&mut self, sql: impl Into<Sql>, values: &[Value<'_>]) -> Result<Vec<Row>, sqlx::Error> {
        let sql = sql.into();
        Ok(match self {
            Self::Sqlite(connection) => {
                bound!(sql, values).fetch_all(&mut **connection).await?.into_iter().map(Row::Sqlite).collect()
            }
            Self::MySql(connection) => {
                bound!(sql, values).fetch_all(&mut **connection).await?.into_iter().map(Row::MySql).collect()
            }
            Self::Postgres(connection) => {
                let rows = bound!(numbered(&sql), values).fetch_all(&mut **connection).await?;
                rows.into_iter().map(Row::Postgres).collect()
            }
        })
    }

    /// The only row of an answer.
    pub(super) async fn row(&mut self, sql: impl Into<Sql>, values: &[Value<'_>]) -> Result<Row, sqlx::Error> {
        self.rows(sql, values).await?.pop().ok_or(sqlx::Error::RowNotFound)
    }

    /// Several statements without values, as a schema has them.
    pub(super) async fn script(&mut self, sql: impl Into<Sql>) -> Result<(), sqlx::Error> {
        let script = AssertSqlSafe(sql.into().into_owned());
        match self {
            Self::Sqlite(connection) => sqlx::raw_sql(script).execute(&mut **connection).await.map(drop),
            Self::MySql(connection) => sqlx::raw_sql(script).execute(&mut **connection).await.map(drop),
            Self::Postgres(connection) => sqlx::raw_sql(script).execute(&mut **connection).await.map(drop),
        }
    }

    /// What follows a `SELECT` whose row is kept from other writers until the end of the transaction. A writer of SQLite
    /// has the whole file anyway.
    pub(super) fn locked(&self, select: &'static str) -> Sql {
        match self {
            Self::Sqlite(_) => Cow::Borrowed(select),
            Self::MySql(_) | Self::Postgres(_) => Cow::Owned(format!("{select} FOR UPDATE")),
        }
    }
}

/// `$1`, `$2` … in place of each `?`.
fn numbered(sql: &str) -> Sql {
    let mut parts = sql.split('?');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for (index, part) in parts.enumerate() {
        text.push('$');
        text.push_str(&(index + 1).to_string());
        text.push_str(part);
    }
    Cow::Owned(text)
}

/// Reads one column of whichever product. The type is ours to know: what the server calls it differs by product.
macro_rules! column {
    ($row:expr, $index:expr) => {
        match $row {
            Row::Sqlite(row) => row.try_get_unchecked($index),
            Row::MySql(row) => row.try_get_unchecked($index),
            Row::Postgres(row) => row.try_get_unchecked($index),
        }
    };
}

impl Row {
    pub(super) fn number(&self, column: usize) -> Result<u64, sqlx::Error> {
        let number: i64 = column!(self, column)?;
        u64::try_from(number).map_err(|cause| sqlx::Error::Decode(cause.into()))
    }

    pub(super) fn real(&self, column: usize) -> Result<Option<f64>, sqlx::Error> {
        column!(self, column)
    }

    pub(super) fn text(&self, column: usize) -> Result<String, sqlx::Error> {
        self.optional_text(column)?.ok_or_else(|| sqlx::Error::Decode("a text is missing".into()))
    }

    pub(super) fn optional_text(&self, column: usize) -> Result<Option<String>, sqlx::Error> {
        let bytes = self.bytes(column)?;
        bytes.map(String::from_utf8).transpose().map_err(|cause| sqlx::Error::Decode(cause.into()))
    }

    /// A text as it is stored, which may no longer be one.
    pub(super) fn bytes(&self, column: usize) -> Result<Option<Vec<u8>>, sqlx::Error> {
        column!(self, column)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_numbered_where_the_product_wants_it() {
        assert_eq!(numbered("SELECT a FROM b WHERE c = ? AND d = ?"), "SELECT a FROM b WHERE c = $1 AND d = $2");
        assert_eq!(numbered("SELECT 1"), "SELECT 1");
    }
}
