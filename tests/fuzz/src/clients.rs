//! Who the client is and where it belongs: the PROXY header, forwarded addresses, sticky cookies.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::LazyLock;

use ipnet::IpNet;
use vamp_routing::wire::{Balance, Endpoint, Gateway, Generation, ProxyVersion, Route, Share, Sticky, Table, Target};
use vamp_routing::{CompiledTable, DecidedBy, Draws, Entry, Head, LevelRef};

use crate::http1::{HeadLimits, Onward, PeerText, RequestHead, Storage, client_address as read, is_trusted};
use crate::proxy_header::{Ends, ProxyHeader, written};
use crate::strict;

/// Larger than any input: what one gateway writes, the next must be able to read.
const LIMITS: HeadLimits = HeadLimits { head_bytes_max: 1 << 20, target_bytes_max: 512, fields_max: 1_000 };

/// A PROXY header is read as a second reader reads it, and alike however many of its bytes came; and what it says is read
/// as the same when it is written again.
pub fn proxy_header(data: &[u8]) {
    let whole = ProxyHeader::parse(data);
    let seen = whole.map(|header| header.map(|header| (header.bytes, header.ends))).map_err(drop);
    assert_eq!(seen, slow_proxy_header(data), "two readers: {whole:?}");
    for end in 0..data.len().min(600) {
        let part = ProxyHeader::parse(&data[..end]);
        assert!(part == Ok(None) || part == whole, "{end} bytes: {part:?}, all: {whole:?}");
    }
    if let Ok(Some(ProxyHeader { ends, .. })) = whole {
        for version in [ProxyVersion::V1, ProxyVersion::V2] {
            let again = written(version, ends);
            assert_eq!(ProxyHeader::parse(&again), Ok(Some(ProxyHeader { bytes: again.len(), ends })));
        }
    }
}

type SlowHeader = Result<Option<(usize, Option<Ends>)>, ()>;

fn slow_proxy_header(data: &[u8]) -> SlowHeader {
    let signature = [0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a];
    let shown = |start: &[u8]| data.iter().zip(start).all(|(byte, wanted)| byte == wanted);
    if shown(b"PROXY ") {
        slow_first(data)
    } else if shown(&signature) {
        slow_second(data)
    } else {
        Err(())
    }
}

fn slow_first(data: &[u8]) -> SlowHeader {
    let Some(end) = data.iter().take(107).position(|byte| *byte == b'\n') else {
        return if data.len() < 107 { Ok(None) } else { Err(()) };
    };
    let line = String::from_utf8(data[..=end].to_vec()).map_err(drop)?;
    let words: Vec<&str> = line.strip_suffix("\r\n").ok_or(())?.split(' ').collect();
    if words.get(1) == Some(&"UNKNOWN") {
        return Ok(Some((line.len(), None)));
    }
    let [_, family, source, destination, port, other] = *words else { return Err(()) };
    let number = |word: &str| word.parse::<u16>().ok().filter(|number| number.to_string() == word).ok_or(());
    let (port, other) = (number(port)?, number(other)?);
    let address = |word: &str| match family {
        "TCP4" => word.parse::<Ipv4Addr>().map(IpAddr::from).map_err(drop),
        "TCP6" => word.parse::<Ipv6Addr>().map(|address| IpAddr::from(address).to_canonical()).map_err(drop),
        _ => Err(()),
    };
    let source = SocketAddr::new(address(source)?, port);
    let destination = SocketAddr::new(address(destination)?, other);
    Ok(Some((line.len(), Some(Ends { source, destination }))))
}

fn slow_second(data: &[u8]) -> SlowHeader {
    let Some(&kind) = data.get(12) else { return Ok(None) };
    if kind != 0x20 && kind != 0x21 {
        return Err(());
    }
    if data.len() < 16 {
        return Ok(None);
    }
    let length = usize::from(data[14]) * 256 + usize::from(data[15]);
    if length > 520 {
        return Err(());
    }
    if data.len() < 16 + length {
        return Ok(None);
    }
    let port = |at: usize| u16::from(data[at]) * 256 + u16::from(data[at + 1]);
    let first = |at: usize| IpAddr::from(<[u8; 4]>::try_from(&data[at..at + 4]).unwrap());
    let second = |at: usize| IpAddr::from(<[u8; 16]>::try_from(&data[at..at + 16]).unwrap()).to_canonical();
    let ends = match (kind, data[13]) {
        (0x20, _) | (_, 0x00) => None,
        (_, 0x11) if length >= 12 => Some([(first(16), port(24)), (first(20), port(26))]),
        (_, 0x21) if length >= 36 => Some([(second(16), port(48)), (second(32), port(50))]),
        _ => return Err(()),
    };
    let ends = ends.map(|ends| ends.map(|(address, port)| SocketAddr::new(address, port)));
    Ok(Some((16 + length, ends.map(|[source, destination]| Ends { source, destination }))))
}

/// Who may speak for others.
static TRUSTED: LazyLock<[IpNet; 2]> = LazyLock::new(|| {
    [IpNet::new([10, 0, 0, 0].into(), 8).unwrap(), IpNet::new([0xfd00, 0, 0, 0, 0, 0, 0, 0].into(), 8).unwrap()]
});

/// The client's address is read as a second reader reads it; the right-most address that nobody trusted wrote can't be
/// pushed aside by what stands to the left of it; and a gateway behind this one reads the same.
///
/// The lines of the input are fields, `X-Forwarded-For: …` or `Forwarded: …` or others.
pub fn client_address(data: &[u8]) {
    let [stranger, near, next] = [[203, 0, 113, 9], [10, 1, 1, 1], [10, 2, 2, 2]].map(IpAddr::from);
    let own = field_lines(data);
    with_head(&own, |head| {
        assert_eq!(read(stranger, &*TRUSTED, head), stranger, "a stranger is believed");
        let client = read(near, &*TRUSTED, head);
        assert_eq!(client, slow_client(near, &own), "two readers");
        for (peer, client) in [(stranger, stranger), (near, client)] {
            let mut onward = Vec::new();
            let told = Onward {
                path: None,
                peer: &PeerText::new(peer, false),
                client,
                trusted: is_trusted(peer, &*TRUSTED),
                host: b"local",
                request_id: b"id",
                cookies: &[],
            };
            head.write_onward(&told, &mut onward);
            let mut storage = Storage::new();
            let behind = RequestHead::parse(&onward, &mut storage, &LIMITS).unwrap().unwrap();
            assert_eq!(read(next, &*TRUSTED, &behind), client, "the gateway behind reads another client");
        }
    });
    for said in ["X-Forwarded-For: 203.0.113.9", "Forwarded: for=203.0.113.9;proto=http;host=\"a\""] {
        let has_other = field_values(&own, "x-forwarded-for").next().is_some();
        if said.starts_with('F') && has_other {
            continue;
        }
        let lines = [&own[..], said.as_bytes(), b"\r\n"].concat();
        with_head(&lines, |head| {
            assert_eq!(read(near, &*TRUSTED, head), stranger, "what a trusted proxy saw is not believed");
        });
    }
}

/// The lines of an input as lines of a head.
fn field_lines(data: &[u8]) -> Vec<u8> {
    let lines = data.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    lines.filter(|line| !line.is_empty()).flat_map(|line| [line, b"\r\n"].concat()).collect()
}

/// Does it with the head that has these lines, unless it is refused.
fn with_head(lines: &[u8], what: impl FnOnce(&RequestHead<'_, '_>)) {
    let input = [b"GET / HTTP/1.1\r\nHost: a\r\n", lines, b"\r\n"].concat();
    let mut storage = Storage::new();
    if let Ok(Some(head)) = RequestHead::parse(&input, &mut storage, &LIMITS) {
        what(&head);
    }
}

/// The values of a field of this name, in lower case.
fn field_values<'l>(lines: &'l [u8], name: &str) -> impl Iterator<Item = &'l [u8]> {
    lines.split(|byte| *byte == b'\n').filter_map(move |line| {
        let colon = line.iter().position(|byte| *byte == b':')?;
        line[..colon].eq_ignore_ascii_case(name.as_bytes()).then(|| line[colon + 1..].trim_ascii())
    })
}

/// The elements of all lists in fields of this name, without empty ones.
fn elements(lines: &[u8], name: &str) -> Vec<String> {
    let list = field_values(lines, name).map(String::from_utf8_lossy).collect::<Vec<_>>().join(",");
    let elements = list.split(',').map(|element| element.trim_matches([' ', '\t']));
    elements.filter(|element| !element.is_empty()).map(str::to_owned).collect()
}

fn slow_client(peer: IpAddr, lines: &[u8]) -> IpAddr {
    let told: Vec<String> = if field_values(lines, "x-forwarded-for").next().is_some() {
        elements(lines, "x-forwarded-for")
    } else {
        let element = |element: String| {
            let pairs = element.split(';').map(|pair| pair.trim_matches([' ', '\t']));
            let value =
                pairs.filter_map(|pair| pair.split_once('=')).find(|(name, _)| name.eq_ignore_ascii_case("for"));
            let value = value.map_or("", |(_, value)| value);
            let is_quoted = value.len() > 1 && value.starts_with('"') && value.ends_with('"');
            if is_quoted { value[1..value.len() - 1].to_owned() } else { value.to_owned() }
        };
        elements(lines, "forwarded").into_iter().map(element).collect()
    };
    let mut client = peer;
    for entry in told.iter().rev() {
        let bare = entry.strip_prefix('[').and_then(|entry| entry.strip_suffix(']')).unwrap_or(entry);
        let with_port = entry.parse::<SocketAddr>().map(|address| address.ip());
        let Ok(address) = bare.parse::<IpAddr>().or(with_port) else { break };
        client = address.to_canonical();
        if !TRUSTED.iter().any(|network| network.contains(&client)) {
            break;
        }
    }
    client
}

/// A head as the strict reader sees it.
struct Seen<'m>(&'m strict::Message);

impl Head for Seen<'_> {
    fn method(&self) -> &[u8] {
        b"GET"
    }

    fn path(&self) -> &[u8] {
        b"/"
    }

    fn query(&self) -> Option<&[u8]> {
        None
    }

    fn host(&self) -> &[u8] {
        b"a"
    }

    fn source(&self) -> IpAddr {
        Ipv4Addr::LOCALHOST.into()
    }

    fn fields(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.0.fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()))
    }
}

/// Always the first ticket.
struct First;

impl Draws for First {
    fn draw(&mut self, _at: LevelRef) -> u64 {
        0
    }
}

const COOKIE: &str = "vamp_a1";

/// A gateway that keeps clients on instances: routes `r1` and `r2` with endpoints `e1` and `e2` each.
static STICKY: LazyLock<CompiledTable> = LazyLock::new(|| {
    let endpoint = |number: u16| Endpoint {
        name: format!("e{number}"),
        lookup: format!("e{number}"),
        address: format!("127.0.0.1:{number}"),
    };
    let route = |number: u16| Route {
        name: format!("r{number}"),
        lookup: format!("r{number}"),
        weight: Share(5_000),
        condition: None,
        condition_strength: Share::WHOLE,
        balance: Balance::default(),
        rewrites: Vec::new(),
        target: Target::Endpoints(vec![endpoint(1), endpoint(2)]),
    };
    let gateway = Gateway {
        name: "shop".to_owned(),
        lookup: "a1".to_owned(),
        port: Some(9_050),
        virtual_hosts: Vec::new(),
        sticky: Sticky::Instance,
        tcp: None,
        routes: vec![route(1), route(2)],
    };
    CompiledTable::compile(&Table { generation: Generation::default(), gateways: vec![gateway] }, None).unwrap()
});

/// A client is kept where the first of its cookies that names a route says; the application sees all cookies but ours,
/// in order, and never one that would have decided.
///
/// The lines of the input are values of `Cookie` fields.
pub fn cookies(data: &[u8]) {
    let values = data.split(|byte| *byte == b'\n').filter(|value| !value.is_empty());
    let lines: Vec<u8> = values.flat_map(|value| [b"Cookie: ", value, b"\r\n"].concat()).collect();
    with_head(&lines, |head| {
        let told = Onward {
            path: None,
            peer: &PeerText::new(Ipv4Addr::LOCALHOST.into(), false),
            client: Ipv4Addr::LOCALHOST.into(),
            trusted: false,
            host: b"local",
            request_id: b"id",
            cookies: &[COOKIE.as_bytes()],
        };
        let mut onward = Vec::new();
        head.write_onward(&told, &mut onward);
        let came = [b"GET / HTTP/1.1\r\nHost: a\r\n", &lines[..], b"\r\n"].concat();
        let Ok(Some((came, _))) = strict::next_request(&came) else { return };
        let (goes, _) = strict::next_request(&onward).unwrap().unwrap();
        assert_eq!(decided(&came), slow_decided(&pairs(&came)), "{:?}", pairs(&came));
        assert_eq!(decided(&goes), None, "{:?}", pairs(&goes));
        let others: Vec<_> = pairs(&came).into_iter().filter(|pair| name_of(pair) != COOKIE).collect();
        assert_eq!(pairs(&goes), others);
    });
}

/// Route and endpoint of which the table says that a cookie names them.
fn decided(request: &strict::Message) -> Option<(usize, Option<usize>)> {
    let decision = STICKY.route(Entry::Gateway(0), &Seen(request), &mut First).unwrap();
    let hop = decision.chain.last();
    (hop.decided_by == DecidedBy::Cookie).then_some((hop.route, hop.instance))
}

fn pairs(request: &strict::Message) -> Vec<String> {
    let values = request.fields.iter().filter(|(name, _)| name == "cookie").map(|(_, value)| value);
    let pairs = values.flat_map(|value| value.split(';')).map(|pair| pair.trim_matches([' ', '\t']));
    pairs.filter(|pair| !pair.is_empty()).map(str::to_owned).collect()
}

fn name_of(pair: &str) -> &str {
    pair.split('=').next().unwrap_or_default().trim_matches([' ', '\t'])
}

fn slow_decided(pairs: &[String]) -> Option<(usize, Option<usize>)> {
    pairs.iter().filter(|pair| name_of(pair) == COOKIE).find_map(|pair| {
        let value = pair.split_once('=')?.1.trim_matches([' ', '\t']);
        let (route, endpoint) = value.split_once('.').unwrap_or((value, ""));
        let index = |text: &str, names: [&str; 2]| names.iter().position(|name| *name == text);
        Some((index(route, ["r1", "r2"])?, index(endpoint, ["e1", "e2"])))
    })
}
