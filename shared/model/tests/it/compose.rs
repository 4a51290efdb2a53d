//! Docker Compose files as blueprints.

use proptest::prelude::*;
use vamp_model::{Artifact, Composed, Format, Kind, Violation, read_as, read_compose};

fn read(text: &str) -> Result<Composed, Vec<Violation>> {
    read_compose(text, "shop", &|name| (name == "TAG").then(|| "1.27".to_owned()))
}

fn composed(text: &str) -> Composed {
    let composed = read(text).unwrap_or_else(|violations| panic!("{violations:#?}"));
    let again = read_as(&composed.text, Format::Yaml, Kind::Blueprint, None).unwrap().remove(0).artifact;
    assert_eq!(again, Artifact::Blueprint(composed.blueprint.clone()), "what is printed is what is meant");
    composed
}

/// The document that comes of it, and its remarks.
#[track_caller]
fn check(text: &str, document: &str, notes: &[&str]) {
    let composed = composed(text);
    let (comments, rest): (Vec<&str>, Vec<&str>) = composed.text.lines().partition(|line| line.starts_with('#'));
    assert_eq!(rest.join("\n"), document.trim(), "{}", composed.text);
    let found: Vec<_> = comments.iter().filter_map(|line| line.strip_prefix("# - ")).collect();
    assert_eq!(found, notes, "{}", composed.text);
}

#[track_caller]
fn refuses(text: &str, place: (u32, u32), part: &str) {
    let violations = read(text).unwrap_err();
    let found = violations.iter().find(|violation| violation.to_string().contains(part));
    let found = found.unwrap_or_else(|| panic!("{violations:#?}"));
    assert_eq!((found.line, found.column), (Some(place.0), Some(place.1)), "{found}");
}

const SHOP: &str = "
# The shop.
version: '3.8'
services:
  web:            # in front
    image: nginx:${TAG:-latest}
    ports: ['8080:80', '9000:9000/tcp']
    environment:
      - DB=postgres://user:5432@db:5432/shop
      - CACHES=cache:6379,cache:6380/1?x
      - PRICE=5$$
    depends_on:
      db: {condition: service_healthy}
  db:
    image: postgres:16
    environment: {POSTGRES_USER: shop, NUMBER: 1.10}
    healthcheck: {test: [CMD, pg_isready, -U, a b], interval: 1m30s, retries: 5, start_period: 500ms}
  cache: {image: redis, deploy: {replicas: 2, resources: {limits: {cpus: '0.50', memory: 50M}}}}
";

const SHOP_AS_BLUEPRINT: &str = r#"
kind: blueprints
name: shop
gateways:
  "8080": web/port_80
  9000/tcp: web/port_9000
clusters:
  web:
    services:
      - breed:
          name: web:1.0.0
          deployable: nginx:1.27
          ports:
            port_80: 80/http
            port_9000: 9000/tcp
          environment_variables:
            DB: "postgres://user:5432@$db.host:$db.ports.port_5432/shop"
            CACHES: "$cache.host:$cache.ports.port_6379,$cache.host:$cache.ports.port_6380/1?x"
            PRICE: "5$$"
          dependencies:
            db: db:1.0.0
            cache: cache:1.0.0
  db:
    services:
      - breed:
          name: db:1.0.0
          deployable: postgres:16
          ports:
            port_5432: 5432/tcp
          environment_variables:
            POSTGRES_USER: shop
            NUMBER: "1.10"
          health_checks:
            - command: "pg_isready -U 'a b'"
              initial_delay: "1s"
              timeout: "30s"
              interval: "90s"
              failures: 5
  cache:
    services:
      - breed:
          name: cache:1.0.0
          deployable: redis
          ports:
            port_6379: 6379/tcp
            port_6380: 6380/http
        scale:
          cpu: 0.5
          memory: "50Mi"
          instances: 2
"#;

#[test]
fn a_file_becomes_clusters_that_find_each_other() {
    check(SHOP, SHOP_AS_BLUEPRINT, &[]);
}

#[test]
fn what_is_not_carried_over_is_told_with_its_line_and_the_reason() {
    let text = "services:
  web:
    image: app$MISSING
    build: .
    env_file: .env
    ports: ['53:53/udp', '127.0.0.1:81:81', '5432', '90-91:90-92']
    volumes: ['data:/data', './src:/src', '/anonymous']
    environment: {HOST: db, SELF: 'web:81', FROM_SHELL: ~}
    restart: always
    colour: red
    x-anything: {a: b}
  db: {image: b, environment: [WEB=web:81], depends_on: [web]}
volumes: {data: {}}
";
    let notes = [
        "line 3, services.web.image: the variable `MISSING` is not set: nothing stands in its place",
        "line 6, services.web.ports.0: gateways carry HTTP and TCP, and not `udp`",
        "line 6, services.web.ports.1: gateways listen where `--bind` says, not at an address of their own",
        "line 6, services.web.ports.2: taken for TCP by its number: write `/http` behind it if it is not",
        "line 6, services.web.ports.3: so many ports are not published one by one: which gateway leads where must be said",
        "line 8, services.web.environment.FROM_SHELL: the variable `FROM_SHELL` has no value here: add one to the breed, or leave it out",
        "line 4, services.web.build: images are not built here: the image that is named is taken",
        "line 5, services.web.env_file: the file is not read here: write its variables under `environment`",
        "line 9, services.web.restart: instances that end are always started again",
        "line 10, services.web.colour: it is not known",
        "line 8, services.web.environment.HOST: `db` is left as it is: if the host of that service is meant, write `$db.host`",
        "line 8, services.web.environment.SELF: `web:81` is left as it is: `web` needs this service, or is it",
    ];
    let composed = composed(text);
    for note in notes {
        assert!(composed.text.contains(&format!("# - {note}\n")), "`{note}` is not in {}", composed.text);
    }
    let guessed =
        "# Taken for HTTP, since nothing says what they carry: web/port_81, web/port_90, web/port_91, web/port_92. ";
    assert!(!composed.text.contains("5432,") && composed.text.contains(guessed), "{}", composed.text);
    let count = composed.text.lines().filter(|line| line.starts_with("# - ")).count();
    assert_eq!(count, notes.len() + 3, "volumes: one of the host, one without name, and those of the file");
    for part in ["volume:\n", "- shop_data:/data", "WEB: \"$web.host:$web.ports.port_81\"", "\"81\": web/port_81"] {
        assert!(composed.text.contains(part), "{part}: {}", composed.text);
    }
}

#[test]
fn the_short_and_the_long_forms_say_the_same() {
    let of = |service: &str| composed(&format!("services: {{a: {{image: i, {service}}}, b: {{image: i}}}}")).blueprint;
    for (short, long) in [
        ("ports: ['8080:80/tcp']", "ports: [{target: 80, published: '8080', app_protocol: tcp}]"),
        ("ports: ['8080:80']", "ports: [{mode: ingress, target: 80, published: '8080', protocol: tcp}]"),
        ("ports: ['8080:80']", "ports: [{target: 80, published: 8080, protocol: tcp, app_protocol: http}]"),
        ("ports: ['80-81']", "ports: [80, 81]"),
        ("ports: ['8080-8081:80-81']", "ports: ['8080:80', '8081:81']"),
        ("command: run -x 'a b'", "command: [run, -x, a b]"),
        ("environment: {A: b}", "environment: [A=b]"),
        ("depends_on: [b]", "depends_on: {b: {condition: service_started}}"),
        ("healthcheck: {test: 'true'}", "healthcheck: {test: [CMD-SHELL, 'true']}"),
        ("healthcheck: {disable: true}", "healthcheck: {test: [NONE]}"),
        (
            "scale: 2, cpus: 1.5, mem_limit: 64m",
            "deploy: {replicas: 2, resources: {limits: {cpus: '1.5', memory: 64m}}}",
        ),
    ] {
        assert_eq!(of(short), of(long), "{short}");
    }
}

#[test]
fn services_that_are_named_as_hosts_are_told_where_no_reference_can_be_put() {
    let text = "services:
  web:
    image: i
    command: [serve, '--db=db:5432', '--cache', cache, 'http://web/x']
    entrypoint: \"sh -c 'wait-for db && exec $$0'\"
    environment:
      URL: http://cache/x
      DSN: postgres://user:db@db/shop
      LIST: db,cache
      OWN: the db is near
      FOUND: http://cache:80
  db: {image: i, expose: [5432/tcp]}
  cache: {image: i, command: [cache]}
";
    let composed = composed(text);
    let found: Vec<_> = composed.text.lines().filter_map(|line| line.strip_prefix("# - ")).collect();
    let meant = "if the host of that service is meant, write";
    let given =
        "if that service is meant, give its address in a variable under `environment`, and let the program read that";
    assert_eq!(
        found,
        [
            format!("line 4, services.web.command: `db:5432` is left as it is: {given}"),
            format!("line 4, services.web.command: `cache` is left as it is: {given}"),
            format!("line 5, services.web.entrypoint: `db` is left as it is: {given}"),
            format!(
                "line 7, services.web.environment.URL: `http://cache` is left as it is: {meant} `$cache.host:$cache.ports.port_80`"
            ),
            format!(
                "line 8, services.web.environment.DSN: `postgres://db` is left as it is: {meant} `$db.host:$db.ports.port_5432`"
            ),
            format!("line 9, services.web.environment.LIST: `db` is left as it is: {meant} `$db.host`"),
            format!("line 9, services.web.environment.LIST: `cache` is left as it is: {meant} `$cache.host`"),
            format!("line 10, services.web.environment.OWN: `db` is left as it is: {meant} `$db.host`"),
        ]
    );
    assert!(composed.text.contains("FOUND: \"http://$cache.host:$cache.ports.port_80\""), "{}", composed.text);
}

#[test]
fn volumes_of_the_long_form_are_carried_over() {
    let text = "services:
  web:
    image: i
    volumes:
    - {type: volume, source: data, target: /data}
    - {source: 'data', target: /again, read_only: true, volume: {nocopy: true}}
    - {type: volume, target: /nameless}
    - {type: bind, source: ./src, target: /src}
    - {type: tmpfs, target: /run}
    - {type: npipe, source: a, target: /b}
";
    let composed = composed(text);
    assert!(
        composed.text.contains("- shop_data:/data\n") && composed.text.contains("- shop_data:/again:ro\n"),
        "{}",
        composed.text
    );
    assert!(composed.text.contains("tmpfs:\n") && composed.text.contains("- \"/run\"\n"), "{}", composed.text);
    let found: Vec<_> = composed.text.lines().filter_map(|line| line.strip_prefix("# - line ")).collect();
    let parts = [
        "6, services.web.volumes.1.volume: a volume is made without options",
        "7, services.web.volumes.2: a volume without a name",
        "8, services.web.volumes.3: it needs the engine's host",
        "10, services.web.volumes.5: volumes have a name",
    ];
    assert!(found.len() == 4 && found.iter().zip(parts).all(|(found, part)| found.starts_with(part)), "{found:#?}");
    refuses("services: {a: {image: i, volumes: [{type: volume, source: x}]}}", (1, 36), "no absolute path");
    refuses("services: {a: {image: i, volumes: [{source: x, target: '/a:rw'}]}}", (1, 36), "no absolute path");
}

#[test]
fn what_can_not_be_meant_is_refused_with_its_place_and_the_mend() {
    refuses("services: {a: {build: .}}", (1, 15), "build and push it");
    refuses("services:\n  a: {image: '${B'}", (2, 15), "`${` has no `}`");
    refuses("services:\n  a: {image: '${B:?set it}'}", (2, 17), "the variable `B` is needed: set it");
    refuses("services: {a: {image: i, depends_on: [b]}}", (1, 39), "`b`, which is no service");
    refuses("services: {a: {image: i, depends_on: [b]}, b: {image: i, depends_on: [a]}}", (1, 71), "depends on it");
    refuses("services: {a: {image: i, ports: [http]}}", (1, 34), "`8080:80`");
    refuses("services: {a: {image: i, ports: [1-65535]}}", (1, 34), "`8080:80`");
    refuses("services: {a: {image: &x i}}", (1, 23), "`docker compose config`");
    refuses("services: {a.b: {image: i}, a-b: {image: i}}", (1, 29), "two services become");
    refuses("services: {'a/b': {image: i}}", (1, 12), "use letters");
    refuses("services: {}", (1, 11), "no services");
    refuses("[a]", (1, 1), "is a list");
    refuses("", (1, 1), "is empty");
    refuses("a: 1\n---\nb: 2", (3, 1), "several documents");
    refuses("services: {a: {image: i, scale: 5000}}", (1, 33), "up to 1000");
    refuses("services: {a: {image: $B}}", (1, 23), "is empty");
}

#[test]
fn a_key_of_the_file_ends_no_comment() {
    let composed = composed("services: {a: {image: i, \"x\\nkind: gateways\": 1, \"y\\u2028z\": 1}}");
    assert!(composed.text.lines().filter(|line| line.contains("kind: gateways")).all(|line| line.starts_with("# ")));
    assert!(!composed.text.contains('\u{2028}'));
}

#[test]
fn limits_that_compose_does_not_have_are_told() {
    let told = |service: &str| composed(&format!("services: {{a: {{image: i, {service}}}}}")).text;
    assert!(told("x-a: 1").contains("# Services that say no limits get 1 processor and 1GB each"));
    assert!(told("cpus: 2").contains("what is not limited gets what services get that say nothing"));
    let text = told("cpus: 2, mem_limit: 1.5g");
    assert!(!text.contains("no limits") && !text.contains("not limited") && text.contains("1536Mi"), "{text}");
}

#[test]
fn services_that_all_need_each_other_are_read_in_time() {
    let service = |index: usize| {
        let needs: Vec<String> = (0..index).map(|on| format!("s{on}")).collect();
        format!(
            "s{index}: {{image: i, depends_on: [{}], environment: {{A: '{}'}}}}, ",
            needs.join(", "),
            "s0:1,".repeat(60)
        )
    };
    let services: Vec<String> = (0..120).map(service).collect();
    let made = composed(&format!("services: {{{}}}", services.concat()));
    assert_eq!(made.blueprint.body.clusters.len(), 120);
}

#[test]
fn a_file_beyond_its_bounds_is_refused() {
    assert!(read(&"#".repeat(1024 * 1024 + 1)).unwrap_err()[0].message.contains("longer than"));
    let repeated = |count: usize, part: fn(usize) -> String| (0..count).map(part).collect::<Vec<_>>().concat();
    let many = repeated(1001, |index| format!("s{index}: {{image: i}}, "));
    assert!(read(&format!("services: {{{many}}}")).unwrap_err()[0].message.contains("1001 services"));
    let noisy = repeated(2000, |index| format!("k{index}: 1, "));
    let noisy = composed(&format!("services: {{a: {{image: i, {noisy}}}}}"));
    assert!(noisy.text.contains("# - and 1000 more\n"));
    assert!(read_compose("services: {a: {image: i}}", "a/b", &|_| None).is_err());
}

#[test]
fn a_port_of_the_host_has_one_owner() {
    let text = "services: {a: {image: i, ports: ['80:80']}, b: {image: i, ports: ['80:81/tcp']}}";
    let composed = composed(text);
    assert!(composed.text.contains("services.b.ports: port 80 is published by another service"), "{}", composed.text);
    assert_eq!(composed.blueprint.body.gateways.len(), 1);
}

/// Texts that files have, mixed as no person would.
fn scalar() -> impl Strategy<Value = String> {
    let words = prop::sample::select(vec![
        "a",
        "b",
        "a:80",
        "http://b:80/x?y=a:1",
        "80",
        "8080:80",
        "1-3:1-3/tcp",
        "$$",
        "${A:-b:1}",
        "$B",
        "./x:/y",
        "d:/d",
        "5s",
        "64m",
        "0.5",
        "-1",
        "ü\u{2028}\u{85}",
        "#",
        ": ",
        "- ",
        "\u{feff}",
        "\0",
        "'",
        "true",
        "~",
        "",
    ]);
    prop::collection::vec(words, 0..4).prop_map(|words| words.concat())
}

fn tree() -> impl Strategy<Value = serde_json::Value> {
    let leaf = scalar().prop_map(serde_json::Value::from);
    leaf.prop_recursive(3, 30, 6, |inner| {
        let keys = prop::sample::select(vec![
            "image",
            "build",
            "ports",
            "expose",
            "environment",
            "depends_on",
            "command",
            "healthcheck",
            "test",
            "interval",
            "retries",
            "deploy",
            "replicas",
            "resources",
            "limits",
            "cpus",
            "memory",
            "volumes",
            "target",
            "published",
            "protocol",
            "a",
            "b",
            "condition",
            "user",
            "init",
            "x-y",
            "new\nline",
        ]);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(serde_json::Value::from),
            prop::collection::vec((keys.prop_map(str::to_owned), inner), 0..6)
                .prop_map(|entries| serde_json::Value::Object(entries.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn any_file_is_refused_or_becomes_what_its_text_says(services in prop::collection::vec(tree(), 0..4), image in scalar()) {
        let names = ["a", "b", "c.d", "e"];
        let mut services: Vec<serde_json::Value> = services;
        for service in &mut services {
            if let Some(service) = service.as_object_mut() {
                service.entry("image").or_insert_with(|| format!("i{image}").into());
            }
        }
        let services: serde_json::Map<_, _> = names.iter().map(|name| (*name).to_owned()).zip(services).collect();
        match read(&serde_json::json!({"services": services}).to_string()) {
            Err(violations) => prop_assert!(violations.iter().all(|found| found.line.is_some()), "{violations:?}"),
            Ok(composed) => {
                let read = read_as(&composed.text, Format::Yaml, Kind::Blueprint, None);
                prop_assert!(read.is_ok(), "{read:?}: {}", composed.text);
                let artifact = read.unwrap().remove(0).artifact;
                prop_assert_eq!(artifact, Artifact::Blueprint(composed.blueprint));
            }
        }
    }
}
