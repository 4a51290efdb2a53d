//! What Docker Compose describes, as a blueprint.

use crate::dev::Dev;

const COMPOSE: &str = "
# In front of a database.
services:
  web:
    image: shop:${TAG:-latest}
    ports: ['8080:80']
    environment: [DB=postgres://db:5432/shop]
    env_file: .env
  db: {image: 'postgres:16', deploy: {replicas: 1}}
";

#[tokio::test(flavor = "multi_thread")]
async fn a_compose_file_is_printed_edited_and_applied() {
    // Nothing is started here, so that nobody answers there.
    let dev = Dev::start_beside(Some("unix:///no/such/engine")).await;
    dev.write("docker-compose.yml", COMPOSE);
    let import = ["import", "compose", "--name", "store"];
    let printed = dev.done(&[&import[..], &["--env", "TAG=1.2"]].concat()).await;
    for part in
        ["line 8, services.web.env_file", "deployable: shop:1.2", "postgres://$db.host:$db.ports.port_5432/shop"]
    {
        assert!(printed.contains(part), "{part}: {printed}");
    }
    dev.write("store.yaml", &printed);
    let told = dev.done(&["apply", "-f", "store.yaml", "--dry-run"]).await;
    assert!(told.contains("deployments/store would be deployed") && told.contains("+ gateways/store/8080"), "{told}");
    dev.done(&[&import[..], &["--apply", "--dry-run"]].concat()).await;
    dev.fails(&["get", "blueprint", "store"], 3, "store").await;
    let (output, errors, code) = dev.vamp(&[&import[..], &["--apply", "--store-only"]].concat()).await;
    assert_eq!((output.as_str(), code), ("blueprints/store applied\n", 0), "{errors}");
    assert!(errors.contains("env_file"), "{errors}");
    dev.fails(&[&import[..], &["--wait"]].concat(), 2, "go with --apply").await;
    dev.write("built.yml", "services:\n  web: {build: .}\n");
    let built = [&import[..], &["-f", "built.yml"]].concat();
    dev.fails(&built, 9, "built.yml:2:8: service `web` is built from sources").await;
}
