//! What a released build has written stays readable, byte for byte as it was written; and what was written comes back.
//!
//! The files in `wire/` are never changed. A new format adds files and a case.

use proptest::prelude::*;
use vamp_routing::wire::{
    Balance, Digest, Encoded, Endpoint, Gateway, Generation, ManifestEntry, ProxyVersion, Rewrite, Route, Share,
    Sticky, Target, Tcp, WireError, decode_gateway, decode_manifest, decode_page, encode_gateway, encode_manifest,
};

/// Digest of the gateway in `wire/format-1.gateway`.
const GATEWAY_DIGEST: &str = "4f96c3243695404f519a798a70678ae6a3fb9238b27c88eb937446f4245ab10d";

/// Digest of the gateway in `wire/format-1.tcp.gateway`.
const TCP_GATEWAY_DIGEST: &str = "b8dbb9dc29d0b1b29615aa43cb3eb42f78f1023fc7f7b0a051ec97ec9a92b6cb";

fn endpoint(name: &str, address: &str) -> Endpoint {
    Endpoint { name: name.to_owned(), lookup: format!("{name}-lookup"), address: address.to_owned() }
}

fn plain_route(name: &str, target: Target) -> Route {
    Route {
        name: name.to_owned(),
        lookup: format!("{name}-lookup"),
        weight: Share(0),
        condition: None,
        condition_strength: Share::WHOLE,
        balance: Balance::RoundRobin,
        rewrites: Vec::new(),
        target,
    }
}

/// Each field in use, and each left out where it can be.
fn released() -> Gateway {
    let endpoints =
        vec![endpoint("sava/1", "10.0.0.1:8080"), endpoint("sava/2", "[::1]:8080"), endpoint("é", "sava:80")];
    Gateway {
        name: "shop/sava/port".to_owned(),
        lookup: "6b3c4e1d".to_owned(),
        port: Some(9050),
        virtual_hosts: vec!["*.example.org".to_owned(), "shop.example.org".to_owned()],
        sticky: Sticky::Instance,
        tcp: None,
        routes: vec![
            Route {
                weight: Share(9_995),
                condition: Some("User-Agent == Firefox and has cookie \"a b\"".to_owned()),
                condition_strength: Share(2_550),
                balance: Balance::LeastConn,
                rewrites: vec![Rewrite { path: "/v2%[path]".to_owned(), condition: "path under /v1".to_owned() }],
                ..plain_route("shop/sava:1.0", Target::Endpoints(endpoints))
            },
            Route { weight: Share(5), ..plain_route("other", Target::Gateway("other".to_owned())) },
            plain_route("empty", Target::Endpoints(Vec::new())),
        ],
    }
}

fn entries(count: usize) -> Vec<ManifestEntry> {
    let digest = |index: usize| Digest([u8::try_from(index % 251).unwrap(); 32]);
    (0..count).map(|index| ManifestEntry { name: format!("gateway-{index:06}"), digest: digest(index) }).collect()
}

const GENERATION: Generation = Generation { epoch: 2, revision: 41 };
const PARENT: Generation = Generation { epoch: 2, revision: 40 };

#[test]
fn a_gateway_of_format_1_is_read_and_written_as_it_was() {
    let digest: Digest = GATEWAY_DIGEST.parse().unwrap();
    assert_eq!(decode_gateway(digest, include_bytes!("wire/format-1.gateway")), Ok(released()));
    assert_eq!(encode_gateway(&released()).digest, digest);
}

#[test]
fn a_manifest_of_format_1_is_read_and_written_as_it_was() {
    let bytes = include_bytes!("wire/format-1.manifest.json");
    let manifest = decode_manifest(bytes).unwrap();
    assert_eq!(manifest.generation, GENERATION);
    assert_eq!(manifest.parent, Some(PARENT));
    assert_eq!(manifest.entries, entries(3));
    let (written, pages) = encode_manifest(GENERATION, Some(PARENT), &entries(3));
    assert_eq!(String::from_utf8(written), String::from_utf8(bytes.to_vec()));
    assert!(pages.is_empty());
}

#[test]
fn a_manifest_with_pages_of_format_1_is_written_as_it_was() {
    let (written, pages) = encode_manifest(GENERATION, None, &entries(1_500));
    let released = include_str!("wire/format-1.paged.json");
    assert_eq!(String::from_utf8(written).unwrap(), released);
    assert_eq!(decode_manifest(released.as_bytes()).unwrap().pages.len(), pages.len());
}

/// What was added to format 1 since: a gateway that carries connections.
fn with_tcp() -> Gateway {
    let tcp = Tcp { accept_proxy: true, send_proxy: Some(ProxyVersion::V2) };
    let endpoints = vec![endpoint("db/1", "10.0.0.1:5432")];
    Gateway {
        name: "db".to_owned(),
        lookup: "0b1c2d3e".to_owned(),
        port: Some(5432),
        virtual_hosts: Vec::new(),
        sticky: Sticky::Route,
        tcp: Some(tcp),
        routes: vec![Route { weight: Share::WHOLE, ..plain_route("[10.0.0.1:5432]", Target::Endpoints(endpoints)) }],
    }
}

#[test]
fn a_tcp_gateway_of_format_1_is_read_and_written_as_it_was() {
    let digest: Digest = TCP_GATEWAY_DIGEST.parse().unwrap();
    assert_eq!(decode_gateway(digest, include_bytes!("wire/format-1.tcp.gateway")), Ok(with_tcp()));
    assert_eq!(encode_gateway(&with_tcp()).digest, digest);
    let plain = Gateway { tcp: Some(Tcp::default()), ..with_tcp() };
    let encoded = encode_gateway(&plain);
    assert_eq!(decode_gateway(encoded.digest, &encoded.bytes), Ok(plain));
}

/// A build from before TCP gateways must not take connections for requests: it refuses the table, and keeps its own.
#[test]
fn builds_from_before_tcp_gateways_refuse_one() {
    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "what counts is which fields there are")]
    struct Before {
        name: String,
        lookup: String,
        #[serde(default)]
        port: Option<u16>,
        #[serde(default)]
        virtual_hosts: Vec<String>,
        #[serde(default)]
        sticky: Sticky,
        routes: Vec<Route>,
    }
    let read = |bytes: &[u8]| {
        let plain: serde_json::Value = serde_json::from_reader(flate2::read::ZlibDecoder::new(bytes)).unwrap();
        assert_eq!(plain["format"], 1);
        serde_json::from_value::<Before>(plain["content"].clone()).map_err(|error| error.to_string())
    };
    assert!(read(include_bytes!("wire/format-1.gateway")).is_ok());
    let error = read(include_bytes!("wire/format-1.tcp.gateway")).unwrap_err();
    assert!(error.contains("unknown field `tcp`"), "{error}");
}

/// Fields that this build does not know may mean anything: what is not understood is not served.
#[test]
fn unknown_fields_of_the_known_format_are_refused() {
    let text = include_str!("wire/format-1.manifest.json").replacen('{', "{\"more\":1,", 1);
    assert!(matches!(decode_manifest(text.as_bytes()), Err(WireError::Malformed { .. })));
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z/.]{0,8}", any::<String>()]
}

fn route() -> impl Strategy<Value = Route> {
    let endpoints = prop::collection::vec((text(), text(), text()), 0..3).prop_map(|all| {
        let endpoint = |(name, lookup, address)| Endpoint { name, lookup, address };
        Target::Endpoints(all.into_iter().map(endpoint).collect())
    });
    let target = prop_oneof![endpoints, text().prop_map(Target::Gateway)];
    let rewrites = prop::collection::vec((text(), text()), 0..3);
    let balance = prop_oneof![Just(Balance::RoundRobin), Just(Balance::LeastConn)];
    (text(), text(), 0..=10_000_u16, prop::option::of(text()), 0..=10_000_u16, balance, rewrites, target).prop_map(
        |(name, lookup, weight, condition, strength, balance, rewrites, target)| Route {
            name,
            lookup,
            weight: Share(weight),
            condition,
            condition_strength: Share(strength),
            balance,
            rewrites: rewrites.into_iter().map(|(path, condition)| Rewrite { path, condition }).collect(),
            target,
        },
    )
}

fn gateway() -> impl Strategy<Value = Gateway> {
    let sticky = prop_oneof![Just(Sticky::None), Just(Sticky::Route), Just(Sticky::Instance)];
    let hosts = prop::collection::vec(text(), 0..3);
    let send_proxy = prop::option::of(prop_oneof![Just(ProxyVersion::V1), Just(ProxyVersion::V2)]);
    let tcp = (any::<bool>(), send_proxy).prop_map(|(accept_proxy, send_proxy)| Tcp { accept_proxy, send_proxy });
    let routes = prop::collection::vec(route(), 0..4);
    (text(), text(), any::<Option<u16>>(), hosts, sticky, prop::option::of(tcp), routes).prop_map(
        |(name, lookup, port, virtual_hosts, sticky, tcp, routes)| Gateway {
            name,
            lookup,
            port,
            virtual_hosts,
            sticky,
            tcp,
            routes,
        },
    )
}

/// `bytes` are refused or are what the digest says, and nothing else.
fn check(original: &Gateway, encoded: &Encoded, bytes: &[u8]) -> Result<(), TestCaseError> {
    if let Ok(read) = decode_gateway(encoded.digest, bytes) {
        prop_assert_eq!(&read, original);
    }
    prop_assert!(decode_page(encoded.digest, bytes).is_err());
    prop_assert!(decode_manifest(bytes).is_err());
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_gateway_comes_back(gateway in gateway()) {
        let encoded = encode_gateway(&gateway);
        prop_assert_eq!(decode_gateway(encoded.digest, &encoded.bytes), Ok(gateway.clone()));
        prop_assert_eq!(encode_gateway(&gateway), encoded);
    }

    #[test]
    fn equal_digests_mean_equal_gateways(one in gateway(), other in gateway()) {
        prop_assert_eq!(encode_gateway(&one).digest == encode_gateway(&other).digest, one == other);
    }

    #[test]
    fn damaged_values_are_never_taken_for_others(
        gateway in gateway(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        kept in any::<prop::sample::Index>(),
        noise in prop::collection::vec(any::<u8>(), 0..64),
    ) {
        let encoded = encode_gateway(&gateway);
        let mut bytes = encoded.bytes.clone();
        for (place, mask) in damage {
            if let Some(byte) = bytes.get_mut(place.index(encoded.bytes.len())) {
                *byte ^= mask;
            }
        }
        check(&gateway, &encoded, &bytes)?;
        bytes.truncate(kept.index(encoded.bytes.len()));
        check(&gateway, &encoded, &bytes)?;
        bytes.extend(&noise);
        check(&gateway, &encoded, &bytes)?;
        check(&gateway, &encoded, &noise)?;
    }

    #[test]
    fn damaged_manifests_are_refused_or_name_the_same_gateways(
        count in 0_usize..5,
        place in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let (mut bytes, _) = encode_manifest(GENERATION, Some(PARENT), &entries(count));
        let place = place.index(bytes.len());
        bytes[place] = byte;
        if let Ok(manifest) = decode_manifest(&bytes) {
            prop_assert_eq!(manifest.entries, entries(count));
        }
    }
}
