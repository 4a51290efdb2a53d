//! The tables, and the way from each released schema to the newest.
//!
//! Schemas have one number over all products. A migration is released with its product version and never edited
//! afterwards; there is no way back. `fixtures/` holds a database of each released schema, and a test opens them.

mod mysql;
mod postgres;
mod sqlite;

use super::pools::Product;

/// One step forward.
#[derive(Debug)]
pub(super) struct Migration {
    /// The schema that it makes.
    pub(super) to: u64,
    /// Its statements. A product that can't undo them together gets statements that may be repeated.
    pub(super) steps: &'static str,
    /// What comes after the rows that were there have got their hashes; see `chain`.
    pub(super) afterwards: &'static str,
}

/// The newest schema.
pub(super) const NEWEST: u64 = 2;

/// The way forward of a product, in order.
pub(super) fn migrations(product: Product) -> &'static [Migration] {
    match product {
        Product::Sqlite => &sqlite::MIGRATIONS,
        Product::MySql => &mysql::MIGRATIONS,
        Product::Postgres => &postgres::MIGRATIONS,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_way_leads_to_the_newest_schema() {
        for product in [Product::Sqlite, Product::MySql, Product::Postgres] {
            let steps: Vec<u64> = migrations(product).iter().map(|migration| migration.to).collect();
            assert!(steps.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{product:?}: {steps:?}");
            assert_eq!(steps.last(), Some(&NEWEST), "{product:?}");
        }
    }
}
