//! Tables for people; data goes to standard output, everything else to standard error.

use std::io::Write as _;

use serde_json::Value;

use crate::colour::{Colour, on_errors};
use crate::failure::Failure;

/// Writes text to standard output; a reader that left (`| head`) is no failure.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    if text.is_empty() { Ok(()) } else { print_on(text).map(drop) }
}

/// The same for a part of an output that goes on: false when the reader left.
pub(crate) fn print_on(text: &str) -> Result<bool, Failure> {
    let mut out = std::io::stdout().lock();
    let written =
        out.write_all(text.as_bytes()).and_then(|()| if text.ends_with('\n') { Ok(()) } else { writeln!(out) });
    match written.and_then(|()| out.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(error.into()),
        Ok(()) => Ok(true),
    }
}

/// Says what works, but most likely not as meant.
pub(crate) fn warn(text: &str) {
    remark(&format!("{} {text}", on_errors("warning:", Colour::Yellow)));
}

/// Writes a remark to standard error.
pub(crate) fn remark(text: &str) {
    // Nobody is left to be told when this fails.
    drop(writeln!(std::io::stderr(), "{text}"));
}

/// Rows under headings, each column as wide as its widest cell.
pub(crate) fn table(headings: &[&str], rows: &[Vec<String>]) -> String {
    let columns = Columns::fitting(headings, rows);
    let mut text = columns.line(headings.iter().copied());
    for row in rows {
        text.push_str(&columns.row(row));
    }
    text
}

/// The columns of a table to which more rows may come.
#[derive(Debug, Clone)]
pub(crate) struct Columns(Vec<usize>);

impl Columns {
    /// As wide as the widest cells of these rows.
    pub(crate) fn fitting(headings: &[&str], rows: &[Vec<String>]) -> Self {
        let width = |column: usize| {
            let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
            cells.chain(headings.get(column).map(|heading| heading.len())).max().unwrap_or_default()
        };
        Self((0..headings.len()).map(width).collect())
    }

    /// One row.
    pub(crate) fn row(&self, cells: &[String]) -> String {
        self.line(cells.iter().map(String::as_str))
    }

    fn line<'c>(&self, cells: impl Iterator<Item = &'c str>) -> String {
        let padded: Vec<_> = cells.zip(&self.0).map(|(cell, width)| format!("{cell:<width$}")).collect();
        format!("{}\n", padded.join("  ").trim_end())
    }
}

/// A JSON value as a cell: text without quotes, nothing as `-`.
pub(crate) fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) if text.is_empty() => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) if items.is_empty() => "-".to_owned(),
        Value::Array(items) => items.iter().map(cell).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [vec!["shop".to_owned(), "9050/http".to_owned()], vec!["a".to_owned(), "-".to_owned()]];
        assert_eq!(table(&["NAME", "PORT"], &rows), "NAME  PORT\nshop  9050/http\na     -\n");
    }

    #[test]
    fn values_are_cells_without_quotes() {
        assert_eq!(cell(&serde_json::json!(["a", 1])), "a,1");
        assert_eq!(cell(&Value::Null), "-");
    }
}
