//! The same on real servers, started by `tests/run`.

use super::{Bench, finds_damage, history, passes, released};
use crate::persist::address::Address;
use crate::persist::pools::Pools;

impl Bench {
    /// A new database on a server that an environment variable names.
    async fn server(variable: &str, product: &str) -> Self {
        let Ok(address) = std::env::var(variable) else {
            panic!(
                "{variable} is not set: use tests/run, or start a server with `tests/components/database start {product} \
                 FOLDER` and set it to the address that this prints"
            )
        };
        let (server, _) = address.rsplit_once('/').unwrap();
        let name = format!("vamp_{:016x}", rand::random::<u64>());
        let mut made = Pools::open(&Address::parse(&address).unwrap()).await.unwrap().reader().await.unwrap();
        made.session().script(format!("CREATE DATABASE {name}")).await.unwrap();
        Self { address: format!("{server}/{name}"), _folder: None }
    }
}

async fn all_of_it(variable: &str, product: &str) {
    let fresh = async || Bench::server(variable, product).await;
    passes(&fresh().await).await;
    finds_damage(&fresh().await).await;
    history::an_end_that_is_cut_off_is_found_by_who_has_seen_it(&fresh().await).await;
    history::an_old_version_that_is_changed_is_named(&fresh().await).await;
    history::what_is_changed_is_found(fresh).await;
    history::what_is_forgotten_is_still_verified(fresh).await;
    history::finds_what_came_since(fresh).await;
    released::servers_of_every_released_schema_are_brought_forward(product, fresh).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mariadb_passes_as_real_servers_do() {
    all_of_it("VAMP_TEST_MYSQL", "mariadb").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgresql_passes_as_real_servers_do() {
    all_of_it("VAMP_TEST_POSTGRES", "postgresql").await;
}
