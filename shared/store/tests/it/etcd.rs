//! The etcd driver keeps the contract, on a real etcd that this test starts, and survives what happens to one.

use bytes::Bytes;
use vamp_store::conformance::{Subject, conformance};
use vamp_store::testing::{Etcd, Security};
use vamp_store::{Expected, SharedStore, StoreError};

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

/// Writes, reads and watches: what a store that lets us in does.
async fn lets_us_in(store: &SharedStore) {
    let listing = store.list("a").await.unwrap();
    let mut watch = store.watch("a", listing.position).await.unwrap();
    store.put("a/b", Bytes::from_static(b"c"), Expected::Anything, None).await.unwrap();
    assert_eq!(store.get("a/b").await.unwrap().unwrap().value, "c");
    assert_eq!(watch.next().await.unwrap().events[0].key(), "a/b");
}

fn connect(url: &str) -> SharedStore {
    vamp_store::connect(&url.parse().unwrap()).unwrap()
}

#[tokio::test]
async fn etcd_is_spoken_to_over_tls_with_certificates_on_both_sides() {
    let etcd = Etcd::start_with(Security::Tls).await;
    lets_us_in(&etcd.store()).await;
    let url = etcd.url("");
    // A server that another authority vouches for is not spoken to, and etcd speaks to nobody without a certificate.
    let own_authority = url.split(['?', '&']).find(|part| part.starts_with("ca=")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let other = folder.path().join("ca.pem");
    std::fs::write(&other, include_str!("../../../record/tests/localhost.crt")).unwrap();
    for refused in [
        url.replace(own_authority, &format!("ca={}", other.display())),
        format!("etcd://{}/test?{own_authority}", etcd.endpoint()),
    ] {
        let error = connect(&refused).get("a/b").await.unwrap_err();
        assert!(matches!(error, StoreError::Unreachable { .. } | StoreError::Denied { .. }), "{refused}: {error}");
    }
}

#[tokio::test]
async fn etcd_lets_a_user_in_by_password_and_nobody_else() {
    let etcd = Etcd::start().await;
    etcd.ctl(&["user", "add", "root:right"]).await;
    etcd.ctl(&["user", "grant-role", "root", "root"]).await;
    etcd.ctl(&["auth", "enable"]).await;
    let folder = tempfile::tempdir().unwrap();
    let with_password = |password: &str| {
        let file = folder.path().join(password);
        std::fs::write(&file, format!("{password}\n")).unwrap();
        connect(&etcd.url(&format!("user=root&password-file={}", file.display())))
    };
    lets_us_in(&with_password("right")).await;
    for store in [with_password("wrong"), etcd.store()] {
        let error = store.get("a/b").await.unwrap_err();
        assert!(matches!(error, StoreError::Denied { .. }), "{error:?}");
        assert!(!format!("{error:?}").contains("wrong"), "the password is repeated: {error:?}");
    }
}
