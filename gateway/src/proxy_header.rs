//! The PROXY header, version 1 and 2, with which a load balancer that carries bytes says whose connection it carries.
//!
//! Pure and strict, as heads are: what two readers could understand differently is refused.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use vamp_routing::wire::ProxyVersion;

/// LIMIT: bytes of a header of version 1, with its line end: the longest that the protocol knows.
const V1_BYTES_MAX: usize = 107;

/// LIMIT: bytes of a header of version 2: 16 before the addresses, 12 or 36 of addresses, the rest for extensions, which
/// are passed over.
const V2_BYTES_MAX: usize = 536;

const V1_START: &[u8] = b"PROXY ";
const V2_START: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// What a connection began with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ProxyHeader {
    /// How long the header is.
    pub(crate) bytes: usize,
    /// The client, and the address that it connected to; `None` when the balancer speaks for itself, or does not say for
    /// whom.
    pub(crate) ends: Option<Ends>,
}

/// The two ends of a client's connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ends {
    /// The client.
    pub(crate) source: SocketAddr,
    /// The address that it connected to.
    pub(crate) destination: SocketAddr,
}

impl ProxyHeader {
    /// The header at the start of these bytes; `None` when it is incomplete, an error when no bytes could make it good.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Option<Self>, &'static str> {
        if let Some(rest) = bytes.strip_prefix(V1_START) {
            return v1(rest);
        }
        if let Some(rest) = bytes.strip_prefix(V2_START) {
            return v2(rest);
        }
        if V1_START.starts_with(bytes) || V2_START.starts_with(bytes) {
            return Ok(None);
        }
        Err(
            "the connection does not begin with a PROXY header: let the proxy in front send one, or do without --proxy-protocol (and `accept_proxy`)",
        )
    }
}

const MALFORMED_V1: &str =
    "the PROXY header is malformed: send `PROXY TCP4|TCP6 SOURCE DESTINATION PORT PORT`, or `PROXY UNKNOWN`";

fn v1(rest: &[u8]) -> Result<Option<ProxyHeader>, &'static str> {
    let room = V1_BYTES_MAX - V1_START.len();
    let window = rest.get(..room).unwrap_or(rest);
    let Some(at) = window.iter().position(|byte| *byte == b'\n') else {
        return if window.len() == room {
            Err("the PROXY header is too long: send at most 107 bytes")
        } else {
            Ok(None)
        };
    };
    let line = window.get(..at).and_then(|line| line.strip_suffix(b"\r")).ok_or(MALFORMED_V1)?;
    let line = std::str::from_utf8(line).map_err(|_| MALFORMED_V1)?;
    let bytes = V1_START.len() + at + 1;
    if line == "UNKNOWN" || line.starts_with("UNKNOWN ") {
        return Ok(Some(ProxyHeader { bytes, ends: None }));
    }
    let mut words = line.split(' ');
    let mut word = || words.next().ok_or(MALFORMED_V1);
    let (family, source, destination) = (word()?, word()?, word()?);
    let (source_port, destination_port) = (v1_port(word()?)?, v1_port(word()?)?);
    let source: IpAddr = source.parse().map_err(|_| MALFORMED_V1)?;
    let destination: IpAddr = destination.parse().map_err(|_| MALFORMED_V1)?;
    let fits = match family {
        "TCP4" => source.is_ipv4() && destination.is_ipv4(),
        "TCP6" => source.is_ipv6() && destination.is_ipv6(),
        _ => false,
    };
    if !fits || words.next().is_some() {
        return Err(MALFORMED_V1);
    }
    let source = SocketAddr::new(source.to_canonical(), source_port);
    let destination = SocketAddr::new(destination.to_canonical(), destination_port);
    Ok(Some(ProxyHeader { bytes, ends: Some(Ends { source, destination }) }))
}

/// A port as the protocol writes it: digits only, no needless zero.
fn v1_port(word: &str) -> Result<u16, &'static str> {
    let plain = word == "0" || !word.starts_with(['0', '+']);
    word.parse().ok().filter(|_| plain).ok_or(MALFORMED_V1)
}

fn v2(rest: &[u8]) -> Result<Option<ProxyHeader>, &'static str> {
    let Some(kind) = rest.first() else { return Ok(None) };
    let local = match kind {
        0x20 => true,
        0x21 => false,
        _ => {
            return Err(
                "the PROXY header has an unknown version or command: send version 1, or version 2 with LOCAL or PROXY",
            );
        }
    };
    let Some(&[family, high, low]) = rest.get(1..4) else { return Ok(None) };
    let length = usize::from(u16::from_be_bytes([high, low]));
    let bytes = V2_START.len() + 4 + length;
    if bytes > V2_BYTES_MAX {
        return Err("the PROXY header is too long: send at most 536 bytes");
    }
    let Some(addresses) = rest.get(4..4 + length) else { return Ok(None) };
    let ends = match family {
        _ if local => None,
        0x00 => None,
        0x11 => Some(v2_ends::<4, 12>(addresses, |bytes| Ipv4Addr::from(bytes).into())?),
        0x21 => Some(v2_ends::<16, 36>(addresses, |bytes| Ipv6Addr::from(bytes).to_canonical())?),
        _ => return Err("the PROXY header is of no TCP connection: let the proxy in front send TCP over IPv4 or IPv6"),
    };
    Ok(Some(ProxyHeader { bytes, ends }))
}

/// The ends in a block of two addresses, each of `A` bytes, and two ports: `B` bytes together.
fn v2_ends<const A: usize, const B: usize>(
    block: &[u8],
    address: impl Fn([u8; A]) -> IpAddr,
) -> Result<Ends, &'static str> {
    let end = |at: usize, port_at: usize| {
        let (bytes, port) = (block.get(at..)?.first_chunk::<A>()?, block.get(port_at..)?.first_chunk::<2>()?);
        Some(SocketAddr::new(address(*bytes), u16::from_be_bytes(*port)))
    };
    match (end(0, 2 * A), end(A, 2 * A + 2)) {
        (Some(source), Some(destination)) if block.len() >= B => Ok(Ends { source, destination }),
        _ => Err("the PROXY header is shorter than its addresses: send them whole"),
    }
}

/// The header that says whose connection follows; without the ends, that it is nobody's who could be named.
pub(crate) fn written(version: ProxyVersion, ends: Option<Ends>) -> Vec<u8> {
    let ends = ends.map(of_one_family);
    match version {
        ProxyVersion::V1 => written_v1(ends).into_bytes(),
        ProxyVersion::V2 => written_v2(ends),
    }
}

/// Both in IPv4, or both in IPv6: a header has room for one family only.
fn of_one_family(ends: Ends) -> Ends {
    let Ends { source, destination } = ends;
    if source.is_ipv4() == destination.is_ipv4() {
        return ends;
    }
    let in_v6 = |end: SocketAddr| match end.ip() {
        IpAddr::V4(v4) => SocketAddr::new(v4.to_ipv6_mapped().into(), end.port()),
        IpAddr::V6(_) => end,
    };
    Ends { source: in_v6(source), destination: in_v6(destination) }
}

fn written_v1(ends: Option<Ends>) -> String {
    let Some(Ends { source, destination }) = ends else { return "PROXY UNKNOWN\r\n".to_owned() };
    let family = if source.is_ipv4() { "TCP4" } else { "TCP6" };
    let (from, to) = (source.ip(), destination.ip());
    format!("PROXY {family} {from} {to} {} {}\r\n", source.port(), destination.port())
}

fn written_v2(ends: Option<Ends>) -> Vec<u8> {
    let mut addresses = Vec::with_capacity(36);
    let mut address = |end: SocketAddr| match end.ip() {
        IpAddr::V4(v4) => addresses.extend_from_slice(&v4.octets()),
        IpAddr::V6(v6) => addresses.extend_from_slice(&v6.octets()),
    };
    let kind_and_family = match ends {
        None => [0x20, 0x00],
        Some(Ends { source, destination }) => {
            address(source);
            address(destination);
            addresses.extend_from_slice(&source.port().to_be_bytes());
            addresses.extend_from_slice(&destination.port().to_be_bytes());
            [0x21, if source.is_ipv4() { 0x11 } else { 0x21 }]
        }
    };
    // At most 36 bytes.
    let length = u16::try_from(addresses.len()).unwrap_or_default();
    [V2_START, &kind_and_family, &length.to_be_bytes(), &addresses].concat()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn second(kind: u8, family: u8, block: &[u8]) -> Vec<u8> {
        let length = u16::try_from(block.len()).unwrap().to_be_bytes();
        [V2_START, &[kind, family], &length, block].concat()
    }

    fn ends(source: &str, destination: &str) -> Ends {
        Ends { source: source.parse().unwrap(), destination: destination.parse().unwrap() }
    }

    /// Each part of a good header is incomplete, and what follows it does not matter.
    #[track_caller]
    fn reads(header: &[u8], ends: Option<Ends>) {
        for end in 0..header.len() {
            assert_eq!(ProxyHeader::parse(&header[..end]), Ok(None), "{end} bytes");
        }
        let read = ProxyHeader::parse(&[header, b"GET"].concat());
        assert_eq!(read, Ok(Some(ProxyHeader { bytes: header.len(), ends })));
    }

    #[test]
    fn both_versions_are_read_whole_and_in_pieces() {
        let both = || Some(ends("192.0.2.7:56324", "192.0.2.1:443"));
        reads(b"PROXY TCP4 192.0.2.7 192.0.2.1 56324 443\r\n", both());
        reads(b"PROXY TCP6 2001:db8::7 2001:db8::1 1 65535\r\n", Some(ends("[2001:db8::7]:1", "[2001:db8::1]:65535")));
        reads(b"PROXY UNKNOWN\r\n", None);
        reads(b"PROXY UNKNOWN anything goes here\r\n", None);
        let four = [192, 0, 2, 7, 192, 0, 2, 1, 0xdc, 4, 1, 187];
        reads(&second(0x21, 0x11, &four), both());
        reads(&second(0x21, 0x11, &[&four[..], &[4, 0, 1, 9]].concat()), both());
        reads(&second(0x20, 0x00, &[]), None);
        reads(&second(0x20, 0x11, &four), None);
        reads(&second(0x21, 0x00, &[1, 2]), None);
        let mut six = [0; 36];
        (six[0], six[1], six[15], six[31], six[33], six[35]) = (0x20, 1, 7, 9, 80, 90);
        reads(&second(0x21, 0x21, &six), Some(ends("[2001::7]:80", "[::9]:90")));
        reads(&second(0x20, 0x00, &[0; V2_BYTES_MAX - 16]), None);
    }

    #[test]
    fn what_is_written_is_read_as_the_same() {
        for version in [ProxyVersion::V1, ProxyVersion::V2] {
            for (source, destination) in [
                ("192.0.2.7:56324", "192.0.2.1:443"),
                ("[2001:db8::7]:1", "[2001:db8::1]:65535"),
                // Of two families: a client of a proxy in front, seen on the other one.
                ("192.0.2.7:1", "[2001:db8::1]:2"),
                ("[2001:db8::7]:1", "192.0.2.1:2"),
            ] {
                let ends = Some(ends(source, destination));
                reads(&written(version, ends), ends);
            }
            reads(&written(version, None), None);
        }
        let v1 = written(ProxyVersion::V1, Some(ends("192.0.2.7:1", "[2001:db8::1]:2")));
        assert_eq!(v1, b"PROXY TCP6 ::ffff:192.0.2.7 2001:db8::1 1 2\r\n");
    }

    #[test]
    fn what_is_no_header_is_refused_with_its_mend() {
        let long = [b"PROXY UNKNOWN ".as_slice(), &[b'x'; 200]].concat();
        let cases: [&[u8]; 21] = [
            b"GET / HTTP/1.1\r\n",
            b"proxy TCP4 192.0.2.7 192.0.2.1 1 2\r\n",
            b"PROXY  TCP4 192.0.2.7 192.0.2.1 1 2\r\n",
            b"PROXY TCP4 192.0.2.7 192.0.2.1 1 2\n",
            b"PROXY TCP4 192.0.2.7 192.0.2.1 1\r\n",
            b"PROXY TCP4 192.0.2.7 192.0.2.1 1 2 3\r\n",
            b"PROXY TCP4 192.0.2.7 192.0.2.1 1 2 \r\n",
            b"PROXY TCP4 192.0.2.7 192.0.2.1 1 65536\r\n",
            b"PROXY TCP4 192.0.2.7 192.0.2.1 +1 2\r\n",
            b"PROXY TCP4 192.0.2.7 192.0.2.1 01 2\r\n",
            b"PROXY TCP4 192.0.2.07 192.0.2.1 1 2\r\n",
            b"PROXY TCP4 2001:db8::7 2001:db8::1 1 2\r\n",
            b"PROXY TCP6 192.0.2.7 192.0.2.1 1 2\r\n",
            b"PROXY UDP4 192.0.2.7 192.0.2.1 1 2\r\n",
            b"PROXY UNKNOWNX\r\n",
            &long,
            &second(0x22, 0x11, &[0; 12]),
            &second(0x11, 0x11, &[0; 12]),
            &second(0x21, 0x12, &[0; 12]),
            &second(0x21, 0x21, &[0; 35]),
            &second(0x21, 0x11, &[0; V2_BYTES_MAX - 15]),
        ];
        for case in cases {
            let refused = ProxyHeader::parse(case).unwrap_err();
            assert!(refused.contains(": "), "thing and mend: {refused}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_judged_alike_however_many_came(start in 0..3_usize, rest in proptest::collection::vec(any::<u8>(), 0..700)) {
            let bytes = [[&b""[..], V1_START, V2_START][start], &rest].concat();
            let whole = ProxyHeader::parse(&bytes);
            if let Ok(Some(header)) = whole {
                prop_assert!(header.bytes <= bytes.len());
            }
            for end in 0..bytes.len() {
                let part = ProxyHeader::parse(&bytes[..end]);
                prop_assert!(part == Ok(None) || part == whole, "{} bytes", end);
            }
        }
    }
}
