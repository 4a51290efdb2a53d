//! The etcd driver keeps the contract, on a real etcd that this test starts, and survives what happens to one.

use vamp_store::SharedStore;
use vamp_store::conformance::{Subject, conformance};
use vamp_store::testing::Etcd;

struct Real {
    etcd: Etcd,
    store: SharedStore,
}

#[async_trait::async_trait]
impl Subject for Real {
    fn store(&self) -> SharedStore {
        self.store.clone()
    }
    async fn cut(&mut self) {
        self.etcd.kill().await;
        self.etcd.restart().await;
    }
    async fn compact(&mut self) {
        self.etcd.compact().await;
    }
}

#[tokio::test]
async fn etcd_keeps_the_contract() {
    let etcd = Etcd::start().await;
    let store = etcd.store();
    conformance(&mut Real { etcd, store }).await;
}
