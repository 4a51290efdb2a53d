//! How values are written: canonical JSON with the format's number, deflated, addressed by the SHA-256 of the JSON.
//!
//! The digest is of what is meant, not of its packing: a better compressor does not make a new value.

use std::io::{Read as _, Write as _};

use flate2::Compression;
use flate2::read::ZlibDecoder;
use flate2::write::ZlibEncoder;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{Digest, Encoded, FORMAT, Gateway, Generation, Manifest, ManifestEntry, WireError};

// LIMIT: an unpacked value. A gateway of 10,000 routes with conditions has about 4 MB; what is larger is a bomb.
const VALUE_BYTES_MAX: usize = 64 << 20;

// LIMIT: a manifest. It names up to `ENTRIES_INLINE_MAX` gateways or up to some hundred pages.
const MANIFEST_BYTES_MAX: usize = 4 << 20;

/// Gateways above which the manifest names pages instead: a manifest stays below a store's value limit (etcd 1.5 MiB),
/// and one change of a large table writes one page or two and not all names.
const ENTRIES_INLINE_MAX: usize = 1_000;

/// One name in so many ends its page.
const ENTRIES_PER_PAGE: u16 = 512;

// LIMIT: gateways of one page, should the names be such that none of them ends it.
const ENTRIES_PER_PAGE_MAX: usize = 4_096;

const GATEWAY: &str = "gateway";
const PAGE: &str = "page of a manifest";
const MANIFEST: &str = "manifest";

/// What is written: the format first, so that a reader of an older build knows why it can't read the rest.
#[derive(Serialize)]
struct Envelope<'content, Content> {
    format: u32,
    content: &'content Content,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Opened<Content> {
    #[serde(rename = "format")]
    _format: u32,
    content: Content,
}

/// Packs one gateway; the same gateway always has the same digest.
pub fn encode_gateway(gateway: &Gateway) -> Encoded {
    pack(gateway)
}

/// The digest under which a gateway is stored, without packing it.
pub(crate) fn digest_of_gateway(gateway: &Gateway) -> Digest {
    sha256(&json(&Envelope { format: FORMAT, content: gateway }))
}

/// Unpacks one gateway and checks it against the digest under which it was stored.
pub fn decode_gateway(expected: Digest, bytes: &[u8]) -> Result<Gateway, WireError> {
    unpack(GATEWAY, expected, bytes)
}

/// A manifest and the pages that it needs, in the order in which they must be written: pages first.
pub fn encode_manifest(
    generation: Generation,
    parent: Option<Generation>,
    entries: &[ManifestEntry],
) -> (Vec<u8>, Vec<Encoded>) {
    let pages: Vec<_> =
        if entries.len() > ENTRIES_INLINE_MAX { paged(entries).iter().map(pack).collect() } else { Vec::new() };
    let manifest = Manifest {
        format: FORMAT,
        generation,
        parent,
        digest: digest_of_table(entries),
        entries: if pages.is_empty() { entries.to_vec() } else { Vec::new() },
        pages: pages.iter().map(|page| page.digest).collect(),
    };
    (json(&manifest), pages)
}

/// Parts entries into pages. A name alone says whether it is the last of its page: were pages counted out, a gateway
/// that comes or goes would change all pages after its own.
fn paged(entries: &[ManifestEntry]) -> Vec<Vec<&ManifestEntry>> {
    let mut pages = Vec::new();
    let mut page = Vec::new();
    for entry in entries {
        page.push(entry);
        let Digest([first, second, ..]) = sha256(entry.name.as_bytes());
        let is_last = u16::from_be_bytes([first, second]).is_multiple_of(ENTRIES_PER_PAGE);
        if is_last || page.len() == ENTRIES_PER_PAGE_MAX {
            pages.push(std::mem::take(&mut page));
        }
    }
    if !page.is_empty() {
        pages.push(page);
    }
    pages
}

/// Reads a manifest; its entries are complete only when it has no pages.
pub fn decode_manifest(bytes: &[u8]) -> Result<Manifest, WireError> {
    if bytes.len() > MANIFEST_BYTES_MAX {
        return Err(WireError::TooLarge { what: MANIFEST, limit_bytes: MANIFEST_BYTES_MAX });
    }
    check_format(MANIFEST, bytes)?;
    let manifest: Manifest = from_json(MANIFEST, bytes)?;
    if manifest.pages.is_empty() {
        manifest.check()?;
    } else if !manifest.entries.is_empty() {
        return Err(malformed(MANIFEST, "it has both entries and pages"));
    }
    Ok(manifest)
}

/// Reads one page of entries.
pub fn decode_page(expected: Digest, bytes: &[u8]) -> Result<Vec<ManifestEntry>, WireError> {
    unpack(PAGE, expected, bytes)
}

impl Manifest {
    /// Puts the entries of the pages, in the order of [`Manifest::pages`], in place and checks the table's digest.
    pub fn complete(&mut self, pages: Vec<Vec<ManifestEntry>>) -> Result<(), WireError> {
        if pages.len() != self.pages.len() {
            return Err(malformed(MANIFEST, "not all of its pages were read"));
        }
        if !pages.is_empty() {
            self.entries = pages.into_iter().flatten().collect();
            self.pages.clear();
        }
        self.check()
    }

    /// Whether the entries are those of the digest, each gateway once and in order.
    fn check(&self) -> Result<(), WireError> {
        if digest_of_table(&self.entries) != self.digest {
            return Err(WireError::WrongDigest { what: MANIFEST, expected: self.digest });
        }
        let mut pairs = self.entries.iter().zip(self.entries.iter().skip(1));
        match pairs.find(|(before, after)| before.name >= after.name) {
            Some((_, after)) => Err(malformed(MANIFEST, &format!("gateway `{}` is out of order", after.name))),
            None => Ok(()),
        }
    }
}

/// The digest of a table: of its entries, wherever they are stored.
pub fn digest_of_table(entries: &[ManifestEntry]) -> Digest {
    sha256(&json(&entries))
}

fn pack<Content: Serialize>(content: &Content) -> Encoded {
    let plain = json(&Envelope { format: FORMAT, content });
    let mut packed = ZlibEncoder::new(Vec::with_capacity(plain.len() / 4), Compression::fast());
    // Writing into memory does not fail.
    let bytes = packed.write_all(&plain).and_then(|()| packed.finish()).unwrap_or_default();
    Encoded { digest: sha256(&plain), bytes }
}

fn unpack<Content: DeserializeOwned>(what: &'static str, expected: Digest, bytes: &[u8]) -> Result<Content, WireError> {
    let mut plain = Vec::new();
    let limit = u64::try_from(VALUE_BYTES_MAX).unwrap_or(u64::MAX);
    let mut unpacked = ZlibDecoder::new(bytes).take(limit.saturating_add(1));
    unpacked.read_to_end(&mut plain).map_err(|error| malformed(what, &error.to_string()))?;
    if plain.len() > VALUE_BYTES_MAX {
        return Err(WireError::TooLarge { what, limit_bytes: VALUE_BYTES_MAX });
    }
    if sha256(&plain) != expected {
        return Err(WireError::WrongDigest { what, expected });
    }
    check_format(what, &plain)?;
    from_json::<Opened<Content>>(what, &plain).map(|opened| opened.content)
}

/// Refuses what a newer build wrote, before anything else of it is read.
fn check_format(what: &'static str, plain: &[u8]) -> Result<(), WireError> {
    #[derive(Deserialize)]
    struct OnlyFormat {
        format: u32,
    }
    match from_json::<OnlyFormat>(what, plain)?.format {
        0 => Err(malformed(what, "there is no format 0")),
        FORMAT => Ok(()),
        found => Err(WireError::NewerFormat { what, found }),
    }
}

fn from_json<Content: DeserializeOwned>(what: &'static str, plain: &[u8]) -> Result<Content, WireError> {
    serde_json::from_slice(plain).map_err(|error| malformed(what, &error.to_string()))
}

/// Field order is that of the types and there are no maps: equal values are equal bytes.
fn json<Content: Serialize>(content: &Content) -> Vec<u8> {
    // The types of this module have string keys only, which is all that could fail.
    serde_json::to_vec(content).unwrap_or_default()
}

fn sha256(bytes: &[u8]) -> Digest {
    Digest(Sha256::digest(bytes).into())
}

fn malformed(what: &'static str, reason: &str) -> WireError {
    WireError::Malformed { what, reason: reason.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Balance, Endpoint, Rewrite, Route, Share, Sticky, Target};

    fn gateway(name: &str) -> Gateway {
        Gateway {
            name: name.to_owned(),
            lookup: "a1".to_owned(),
            port: Some(9050),
            virtual_hosts: vec!["*.example.org".to_owned()],
            sticky: Sticky::Route,
            tcp: None,
            routes: vec![Route {
                name: "[127.0.0.1:80]".to_owned(),
                lookup: "b2".to_owned(),
                weight: Share::WHOLE,
                condition: Some("User-Agent == Firefox".to_owned()),
                condition_strength: Share(2_500),
                balance: Balance::LeastConn,
                rewrites: vec![Rewrite { path: "/a%[path]".to_owned(), condition: "path is /".to_owned() }],
                target: Target::Endpoints(vec![Endpoint {
                    name: "e".to_owned(),
                    lookup: "c3".to_owned(),
                    address: "127.0.0.1:80".to_owned(),
                }]),
            }],
        }
    }

    fn entries(count: u16) -> Vec<ManifestEntry> {
        let entry = |number: u16| {
            let [high, low] = number.to_be_bytes();
            let mut digest = [0; 32];
            digest[..2].copy_from_slice(&[high, low]);
            ManifestEntry { name: format!("gateway-{number:05}"), digest: Digest(digest) }
        };
        (0..count).map(entry).collect()
    }

    const GENERATION: Generation = Generation { epoch: 3, revision: 7 };

    #[test]
    fn a_gateway_comes_back_as_it_was() {
        let encoded = encode_gateway(&gateway("shop"));
        assert_eq!(decode_gateway(encoded.digest, &encoded.bytes), Ok(gateway("shop")));
        assert_eq!(encode_gateway(&gateway("shop")), encoded);
        assert_ne!(encode_gateway(&gateway("shop2")).digest, encoded.digest);
    }

    #[test]
    fn no_changed_or_cut_value_is_taken() {
        let encoded = encode_gateway(&gateway("shop"));
        for length in 0..encoded.bytes.len() {
            assert!(decode_gateway(encoded.digest, &encoded.bytes[..length]).is_err(), "cut at {length}");
        }
        for place in 0..encoded.bytes.len() {
            let mut changed = encoded.bytes.clone();
            changed[place] ^= 0x20;
            // A change that unpacks to the same content would be harmless; any other must be refused.
            if let Ok(read) = decode_gateway(encoded.digest, &changed) {
                assert_eq!(read, gateway("shop"), "changed at {place}");
            }
        }
        assert!(matches!(decode_gateway(Digest([0; 32]), &encoded.bytes), Err(WireError::WrongDigest { .. })));
    }

    #[test]
    fn a_value_that_unpacks_without_end_is_refused() {
        let mut packed = ZlibEncoder::new(Vec::new(), Compression::best());
        for _ in 0..=VALUE_BYTES_MAX >> 20 {
            packed.write_all(&vec![b' '; 1 << 20]).unwrap();
        }
        let bytes = packed.finish().unwrap();
        assert!(matches!(decode_gateway(Digest([0; 32]), &bytes), Err(WireError::TooLarge { .. })));
    }

    #[test]
    fn a_newer_format_says_what_to_update() {
        let plain = br#"{"format":2,"anything":"else"}"#;
        assert_eq!(decode_manifest(plain), Err(WireError::NewerFormat { what: MANIFEST, found: 2 }),);
        let mut packed = ZlibEncoder::new(Vec::new(), Compression::fast());
        packed.write_all(plain).unwrap();
        let bytes = packed.finish().unwrap();
        assert_eq!(decode_gateway(sha256(plain), &bytes), Err(WireError::NewerFormat { what: GATEWAY, found: 2 }));
    }

    #[track_caller]
    fn manifest_comes_back(count: u16, page_counts: std::ops::RangeInclusive<usize>) {
        let (bytes, pages) = encode_manifest(GENERATION, None, &entries(count));
        assert!(page_counts.contains(&pages.len()), "{} pages", pages.len());
        assert!(bytes.len() < 200_000, "{} bytes", bytes.len());
        let mut manifest = decode_manifest(&bytes).unwrap();
        let read = pages.iter().map(|page| decode_page(page.digest, &page.bytes).unwrap()).collect();
        manifest.complete(read).unwrap();
        assert_eq!(manifest.entries, entries(count));
        assert_eq!(manifest.generation, GENERATION);
    }

    #[test]
    fn manifests_of_any_size_come_back_and_stay_small() {
        manifest_comes_back(0, 0..=0);
        manifest_comes_back(1, 0..=0);
        manifest_comes_back(1_000, 0..=0);
        manifest_comes_back(1_001, 1..=5);
        manifest_comes_back(5_000, 5..=20);
    }

    #[test]
    fn one_gateway_more_or_less_changes_few_pages() {
        let all = entries(4_000);
        let (_, before) = encode_manifest(GENERATION, None, &all);
        for place in [0, 777, 3_999] {
            let mut fewer = all.clone();
            fewer.remove(place);
            let (_, after) = encode_manifest(GENERATION, None, &fewer);
            let new = after.iter().filter(|page| !before.contains(page)).count();
            assert!(new <= 1, "without the gateway at {place}, {new} pages are new");
        }
    }

    #[test]
    fn a_manifest_with_wrong_or_missing_entries_is_refused() {
        let (bytes, _) = encode_manifest(GENERATION, None, &entries(3));
        let text = String::from_utf8(bytes).unwrap();
        assert!(matches!(
            decode_manifest(text.replace("gateway-00001", "gateway-00009").as_bytes()),
            Err(WireError::WrongDigest { .. })
        ));
        let mut wrong_order = entries(3);
        wrong_order.swap(0, 1);
        let (bytes, _) = encode_manifest(GENERATION, None, &wrong_order);
        assert!(matches!(decode_manifest(&bytes), Err(WireError::Malformed { .. })));
        let (bytes, _) = encode_manifest(GENERATION, None, &entries(2_000));
        assert!(decode_manifest(&bytes).unwrap().complete(Vec::new()).is_err());
    }

    #[test]
    fn the_digest_of_a_table_does_not_depend_on_pages_or_generation() {
        let digest = |generation| {
            let (bytes, _) = encode_manifest(generation, None, &entries(5));
            decode_manifest(&bytes).unwrap().digest
        };
        assert_eq!(digest(GENERATION), digest(Generation { epoch: 9, revision: 1 }));
    }

    /// Released: what this digest names must be readable by every later build.
    #[test]
    fn format_1_stays_as_it_was_released() {
        let encoded = encode_gateway(&gateway("shop"));
        let plain = json(&Envelope { format: 1, content: &gateway("shop") });
        let released = concat!(
            r#"{"format":1,"content":{"name":"shop","lookup":"a1","port":9050,"virtual_hosts":["*.example.org"],"#,
            r#""sticky":"route","routes":[{"name":"[127.0.0.1:80]","lookup":"b2","weight":10000,"#,
            r#""condition":"User-Agent == Firefox","condition_strength":2500,"balance":"least_conn","#,
            r#""rewrites":[{"path":"/a%[path]","condition":"path is /"}],"#,
            r#""target":{"endpoints":[{"name":"e","lookup":"c3","address":"127.0.0.1:80"}]}}]}}"#
        );
        assert_eq!(String::from_utf8(plain).unwrap(), released);
        assert_eq!(encoded.digest, sha256(released.as_bytes()));
    }
}
