//! What travels between the programs, and what people write: conditions, documents, Compose files, tables, registrations,
//! counts.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::ZlibEncoder;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::Digest as _;
use vamp_model::{Artifact, Document, Format, read_compose, to_json, to_yaml};
use vamp_record::split::{SplitAnswer, SplitCounts};
use vamp_routing::condition::Condition;
use vamp_routing::wire::{self, Digest, Gateway, Generation, Registration, Table};
use vamp_routing::{CompiledTable, Draws, Entry, Head as _, LevelRef, PlainHead};

/// A condition is refused with a place inside its text, or is what its print says; it answers for any head.
///
/// The first line is the condition, the others are target, host and header fields of a request.
pub fn condition(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (text, request) = text.split_once('\n').unwrap_or((&text, ""));
    let condition = match Condition::parse(text) {
        Ok(condition) => condition,
        Err(error) => {
            assert!((1..=text.chars().count() + 1).contains(&error.position), "`{text}`: {error}");
            assert!(!error.message.is_empty() && !error.hint.is_empty(), "`{text}`: {error}");
            return;
        }
    };
    let mut lines = request.lines().map(str::to_owned);
    let target = lines.next().unwrap_or_default();
    let host = lines.next().unwrap_or_default();
    let field = |line: String| line.split_once(':').map(|(name, value)| (name.to_owned(), value.to_owned()));
    let head = PlainHead { target, host, fields: lines.filter_map(field).collect(), ..PlainHead::default() };
    assert!(head.path().len() <= head.target.len());
    let holds = condition.matches(&head);
    // A print can be longer than the text; only one that fits the bound can be read.
    let printed = condition.to_string();
    if printed.len() <= 16 * 1024 {
        let again = Condition::parse(&printed).unwrap_or_else(|error| panic!("`{text}` as `{printed}`: {error}"));
        assert_eq!(again, condition, "`{text}` as `{printed}`");
        assert_eq!(again.matches(&head), holds, "`{text}` as `{printed}`");
    }
}

/// Bytes are refused or decode to what encodes to the same digest: as they are, and packed as a value would be. A
/// gateway that decodes is refused with a reason, or serves; `explain` tells of it what is done.
pub fn wire(data: &[u8]) {
    let digest = Digest(sha2::Sha256::digest(data).into());
    let mut packed = ZlibEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(data).unwrap();
    for bytes in [data, &packed.finish().unwrap()] {
        if let Ok(gateway) = wire::decode_gateway(digest, bytes) {
            let encoded = wire::encode_gateway(&gateway);
            assert_eq!(wire::decode_gateway(encoded.digest, &encoded.bytes).as_ref(), Ok(&gateway));
            serve(gateway);
        }
        if let Ok(entries) = wire::decode_page(digest, bytes) {
            assert!(entries.len() < data.len());
        }
    }
    if let Ok(manifest) = wire::decode_manifest(data)
        && manifest.pages.is_empty()
    {
        let (again, _) = wire::encode_manifest(manifest.generation, manifest.parent, &manifest.entries);
        assert_eq!(wire::decode_manifest(&again).map(|again| again.digest), Ok(manifest.digest));
    }
}

/// Always the first ticket.
struct First;

impl Draws for First {
    fn draw(&mut self, _at: LevelRef) -> u64 {
        0
    }
}

/// Compiles a table of one gateway, and sends a request through it.
fn serve(gateway: Gateway) {
    let table = Table { generation: Generation::default(), gateways: vec![gateway] };
    let compiled = match CompiledTable::compile(&table, None) {
        Ok(compiled) => compiled,
        Err(problems) => {
            assert!(!problems.is_empty(), "refused without a reason");
            return;
        }
    };
    assert_eq!(compiled.gateways().first().map(|gateway| gateway.to_wire()), table.gateways.into_iter().next());
    let head = PlainHead { target: "/a?b".to_owned(), host: "a".to_owned(), ..PlainHead::default() };
    for entry in [Entry::Gateway(0), Entry::VirtualHosts] {
        let verdict = compiled.route(entry, &head, &mut First);
        let explained = compiled.explain(entry, &head, &mut First);
        let taken = match &verdict {
            Ok(decision) => {
                let hop = decision.chain.last();
                compiled.gateways()[hop.gateway].routes.get(hop.route).map(|route| route.wire.name.clone())
            }
            Err(_) => None,
        };
        assert_eq!(explained.route, taken, "`explain` tells of another route");
    }
}

/// A document is refused with reasons, or is read to artifacts that are written so that they are read again as the
/// same, in both formats.
pub fn document(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    for format in [Format::Json, Format::Yaml] {
        match vamp_model::read(&text, format) {
            Err(violations) => assert!(!violations.is_empty(), "refused without a reason: {text}"),
            Ok(documents) => documents.iter().for_each(is_written_as_read),
        }
    }
}

fn is_written_as_read(document: &Document) {
    let written = to_json(&document.artifact);
    for (text, format) in [(written.to_string(), Format::Json), (to_yaml(&written), Format::Yaml)] {
        let again = vamp_model::read(&text, format).unwrap_or_else(|violations| panic!("{text}: {violations:?}"));
        let [again] = &*again else { panic!("{} documents: {text}", again.len()) };
        assert_eq!(again.artifact, document.artifact, "{text}");
    }
}

/// A Docker Compose file is refused with reasons, or becomes a blueprint whose text is read as that blueprint.
pub fn compose(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let variables = |name: &str| name.len().is_multiple_of(2).then(|| name.to_lowercase());
    match read_compose(&text, "shop", &variables) {
        Err(violations) => assert!(!violations.is_empty(), "refused without a reason: {text}"),
        Ok(composed) => {
            let again = vamp_model::read(&composed.text, Format::Yaml);
            let again = again.unwrap_or_else(|violations| panic!("{}: {violations:?}", composed.text));
            let [again] = &*again else { panic!("{} documents: {}", again.len(), composed.text) };
            assert_eq!(again.artifact, Artifact::Blueprint(composed.blueprint), "{}", composed.text);
            is_written_as_read(again);
        }
    }
}

/// What is read is written so that it is read again as the same, whatever fields a newer program added.
fn is_the_same_again<Message: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(data: &[u8]) {
    let Ok(message) = serde_json::from_slice::<Message>(data) else { return };
    let written = serde_json::to_vec(&message).unwrap();
    assert_eq!(serde_json::from_slice::<Message>(&written).unwrap(), message);
}

/// What a gateway says of itself in the store; a digest has one text only.
pub fn registration(data: &[u8]) {
    is_the_same_again::<Registration>(data);
    let text = String::from_utf8_lossy(data);
    if let Ok(digest) = text.parse::<Digest>() {
        assert_eq!(digest.to_string(), text);
    }
}

/// What a gateway counted: asked for by the control plane, handed over to the next process, kept in the database.
pub fn counts(data: &[u8]) {
    is_the_same_again::<SplitAnswer>(data);
    is_the_same_again::<Vec<SplitCounts>>(data);
}
