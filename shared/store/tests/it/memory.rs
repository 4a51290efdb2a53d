//! The in-process driver keeps the contract.

use vamp_store::SharedStore;
use vamp_store::conformance::{Subject, conformance};
use vamp_store::memory::{self, Handle};

struct Memory {
    store: SharedStore,
    handle: Handle,
}

#[async_trait::async_trait]
impl Subject for Memory {
    fn store(&self) -> SharedStore {
        self.store.clone()
    }
    async fn cut(&mut self) {
        self.handle.cut();
    }
    async fn compact(&mut self) {
        self.handle.compact();
    }
}

#[tokio::test]
async fn the_in_process_store_keeps_the_contract() {
    let (store, handle) = memory::open();
    conformance(&mut Memory { store, handle }).await;
}
