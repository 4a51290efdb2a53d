//! Runs each target for inputs grown from seeds. `VAMP_FUZZ_RUNS` says for how many (default 5,000); the number of a
//! failed run and its input are in the failure.

use std::panic::catch_unwind;

const CONDITIONS: &[&str] = &[
    "User-Agent == Firefox and (has cookie vamp or not header X-Trace misses '1')\n/a?b=c\nexample.org:80\nUser-Agent: Firefox",
    "host in (a, \"b c\") or path under /api && query q != v\n/api/x?q=v\na",
    "source in (10.0.0.0/8, ::1) or path matches '^/(a|b){2,3}$'\n/ab",
    "< req.hdr(host) -m beg -i v > and <!hdr_cnt(x) gt 1>\n/\nv.org\nx: a, b",
    "<network_allowed src 10.0.0.0/8 or req.fhdr(X-Forwarded-For) -m ip 10.0.0.0/8>\n/\n\nX-Forwarded-For: 10.1.1.1",
    "hdr_sub(user-agent) \"An\\x64roid\"\n/\n\nUser-Agent: Android",
];

const VALUES: &[&str] = &[
    r#"{"format":1,"content":{"name":"shop","lookup":"a1","port":9050,"sticky":"route","routes":[{"name":"r","lookup":"b2","weight":10000,"condition":"host == a","target":{"endpoints":[{"name":"e","lookup":"c3","address":"127.0.0.1:80"}]}}]}}"#,
    r#"{"format":1,"generation":{"epoch":2,"revision":41},"digest":"4f53cda18c2baa0c0354bb5f9a3ecbe5ed12ab4d8e11ba873c2f11161202b945"}"#,
    r#"{"format":1,"content":[{"name":"a","digest":"0000000000000000000000000000000000000000000000000000000000000000"}]}"#,
];

const DOCUMENTS: &[&str] = &[
    "name: shop\nport: 9050/http\nsticky: route\nroutes:\n  \"[127.0.0.1:8081]\": {weight: 95%}\n  \"[127.0.0.1:8082]\":\n    weight: 5%\n    condition: User-Agent == Firefox\n",
    "---\nkind: conditions\nname: c\ncondition: has header x\n---\nname: sava:1.0\nkind: breeds\ndeployable: {type: docker, definition: \"a/b\"}\nports: {port: 80/http}\n",
    r#"{"name":"shop","kind":"gateways","port":"9050/http","routes":{"a/b":{"weight":"100%","rewrites":[{"path":"/x if path is /y"}]}}}"#,
];

const REQUESTS: &[&str] = &[
    "GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /b HTTP/1.1\r\nHost: b:80\r\nConnection: close, X\r\nX: y\r\n\r\n",
    "POST /a?b HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhelloGET /c HTTP/1.0\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n5;x=y\r\nhello\r\n0\r\nA: b\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 5\r\nTransfer-Encoding: xchunked\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "\r\nOPTIONS http://b.example:80/x HTTP/1.1\r\nHost: a\r\nCookie: ours=1; b=2\r\nX-Forwarded-For: 1.2.3.4\r\nForwarded: for=x\r\nX_Forwarded_For: y\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nTE: trailers\r\nKeep-Alive: 5\r\nProxy-Connection: x\r\nX: a\r\n b\r\n\r\n",
];

const RESPONSES: &[&str] = &[
    "\0HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: X\r\nX: y\r\n\r\nhello",
    "\u{4}HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x\r\nhello\r\n0\r\nA: b\r\n\r\n",
    "\0HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.0 204 No Content\r\nContent-Length: 5\r\nX : y\r\n\r\n",
    "\u{1}HTTP/1.1 304 Not Modified\r\nContent-Length: 5, 5\r\nTransfer-Encoding: chunked\r\n\r\n",
    "\u{2}HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
];

/// A small generator of Marsaglia's kind: the same seed gives the same inputs everywhere.
struct Draws(u64);

impl Draws {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % bound.max(1)
    }
}

/// Changes a seed here and there: bytes drawn, cut out, doubled, or taken from another seed.
fn grown(seeds: &[&str], run: u64) -> Vec<u8> {
    let mut draws = Draws(run.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut bytes = seeds[draws.below(seeds.len())].as_bytes().to_vec();
    for _ in 0..draws.below(8) {
        let start = draws.below(bytes.len() + 1);
        let end = (start + draws.below(12)).min(bytes.len());
        let other = seeds[draws.below(seeds.len())].as_bytes();
        let from = draws.below(other.len());
        let to = (from + draws.below(12)).min(other.len());
        let drawn = [u8::try_from(draws.below(256)).unwrap()];
        let piece = match draws.below(4) {
            0 => drawn.to_vec(),
            1 => Vec::new(),
            2 => bytes[start..end].repeat(2),
            _ => other[from..to].to_vec(),
        };
        bytes.splice(start..end, piece);
    }
    bytes
}

#[track_caller]
fn check(target: fn(&[u8]), seeds: &[&str]) {
    let runs = std::env::var("VAMP_FUZZ_RUNS").map_or(5_000, |runs| runs.parse().unwrap());
    for run in 0..runs {
        let input = grown(seeds, run);
        assert!(catch_unwind(|| target(&input)).is_ok(), "run {run}: {:?}", String::from_utf8_lossy(&input));
    }
}

#[test]
fn requests_hold_their_promises() {
    check(vamp_fuzz::requests, REQUESTS);
}

#[test]
fn responses_hold_their_promises() {
    check(vamp_fuzz::responses, RESPONSES);
}

#[test]
fn conditions_hold_their_promises() {
    check(vamp_fuzz::condition, CONDITIONS);
}

#[test]
fn values_and_manifests_hold_their_promises() {
    check(vamp_fuzz::wire, VALUES);
}

#[test]
fn documents_hold_their_promises() {
    check(vamp_fuzz::document, DOCUMENTS);
}
