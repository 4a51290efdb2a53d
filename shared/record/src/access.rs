//! Who may drive a management listener (the control plane's API, a gateway's admin listener). Pure: head of a
//! request in, an answer out; both programs put it in front of their routers.
//!
//! The rule: on a loopback address no credentials are asked for, but `Host` and `Origin` are checked, so that no page
//! in a browser can drive the listener, not even one whose name was pointed at 127.0.0.1 (DNS rebinding). On any other
//! address a token is needed, and TLS, unless plain HTTP was asked for in so many words.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use axum::http::HeaderMap;
use axum::http::header::{AUTHORIZATION, HOST, HeaderName, ORIGIN};
use axum::http::uri::{Authority, Uri};
use sha2::{Digest as _, Sha256};

/// LIMIT: tokens in one file: enough for a token per team and its successor, small enough to compare with all of them.
const TOKENS_MAX: usize = 64;

/// LIMIT: shorter tokens can be guessed.
const TOKEN_BYTES_MIN: usize = 16;

/// Digits of a token's digest that name it: enough to tell 64 tokens apart, far too few to guess one from.
const WHO_DIGITS: usize = 12;

/// The header values that the rule looks at; `None` when absent, empty when not text: that names nobody.
#[derive(Clone, Copy, Default)]
struct Asked<'a> {
    /// `Host`, or the authority of the target.
    host: Option<&'a str>,
    /// `Origin`.
    origin: Option<&'a str>,
    /// `Authorization`.
    authorization: Option<&'a str>,
}

/// The rule of one listener.
#[derive(Debug, Clone)]
pub enum Access {
    /// A loopback address without tokens: anybody on this machine, but no web page.
    Loopback,
    /// Whoever has one of the tokens.
    Tokens(Tokens),
}

/// Why a request may not be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// One reader could take another host for the right one.
    #[error("the request has several `Host` fields: send one")]
    SeveralHosts,
    /// The request is addressed to another name than this machine's own.
    #[error(
        "this listener answers requests for localhost only: use http://localhost or http://127.0.0.1, or start the program with a token file"
    )]
    ForeignHost,
    /// A page of another site sent it.
    #[error(
        "this listener answers no requests of pages from other sites: open the page from this address, or start the program with a token file"
    )]
    ForeignOrigin,
    /// No credentials.
    #[error("a token is needed: send `Authorization: Bearer <token>`")]
    NoToken,
    /// Credentials that nobody has.
    #[error("the token is not known here: send one from the token file in `Authorization: Bearer <token>`")]
    WrongToken,
}

impl Denied {
    /// The status of the answer: 400 for a head that makes no sense, 401 where a token would help, else 403.
    pub fn status(self) -> u16 {
        match self {
            Self::SeveralHosts => 400,
            Self::ForeignHost | Self::ForeignOrigin => 403,
            Self::NoToken | Self::WrongToken => 401,
        }
    }
}

/// Why a listener may not be opened.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum AccessError {
    /// Nobody was given the right to use it.
    #[error("{listener} address {bind} can be reached from other machines: name a token file, or bind to 127.0.0.1")]
    NoTokens {
        /// Which listener.
        listener: &'static str,
        /// Its address.
        bind: SocketAddr,
    },
    /// Tokens would cross the network in clear text.
    #[error(
        "{listener} address {bind} would take tokens in clear text: name a TLS certificate and key, or say that plain HTTP is meant (--insecure-http)"
    )]
    ClearText {
        /// Which listener.
        listener: &'static str,
        /// Its address.
        bind: SocketAddr,
    },
    /// The token file gives nobody access.
    #[error("the token file has no token: write one token per line")]
    NoToken,
    /// Too many to be meant.
    #[error("the token file has more than {TOKENS_MAX} tokens: remove the old ones")]
    TooManyTokens,
    /// A token that can be guessed. The token itself is not repeated.
    #[error(
        "the token in line {line} is too short or has blanks: use at least {TOKEN_BYTES_MIN} visible ASCII characters (`openssl rand -hex 32`)"
    )]
    WeakToken {
        /// Where it stands, from 1.
        line: usize,
    },
}

impl Access {
    /// The rule for a listener at `bind`, or why it may not be opened like this.
    pub fn for_listener(
        listener: &'static str,
        bind: SocketAddr,
        tokens: Option<Tokens>,
        has_tls: bool,
        insecure_http: bool,
    ) -> Result<Self, AccessError> {
        if bind.ip().to_canonical().is_loopback() {
            return Ok(tokens.map_or(Self::Loopback, Self::Tokens));
        }
        let tokens = tokens.ok_or(AccessError::NoTokens { listener, bind })?;
        if !has_tls && !insecure_http {
            return Err(AccessError::ClearText { listener, bind });
        }
        Ok(Self::Tokens(tokens))
    }

    /// Whether a request with this target and these fields may be answered.
    pub fn check(&self, target: &Uri, fields: &HeaderMap) -> Result<(), Denied> {
        if fields.get_all(HOST).iter().count() > 1 {
            return Err(Denied::SeveralHosts);
        }
        let text = |name: HeaderName| fields.get(name).map(|value| value.to_str().unwrap_or_default());
        let host = target.authority().map(Authority::as_str).or_else(|| text(HOST));
        self.check_asked(&Asked { host, origin: text(ORIGIN), authorization: text(AUTHORIZATION) })
    }

    /// Who sends a request that may be answered, as far as this rule knows: `local`, or the token by the beginning of
    /// its SHA-256, which names it to who has the token file and to nobody else.
    pub fn who(&self, fields: &HeaderMap) -> String {
        match self {
            Self::Loopback => "local".to_owned(),
            Self::Tokens(_) => {
                let sent = fields.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
                let token = sent.and_then(|value| value.split_once(' ')).map_or("", |(_, token)| token.trim());
                let digest = Sha256::digest(token.as_bytes());
                let digit = |nibble: u8| char::from_digit(u32::from(nibble), 16).unwrap_or_default();
                let digits = digest.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]);
                let beginning: String = digits.take(WHO_DIGITS).collect();
                format!("token {beginning}")
            }
        }
    }

    fn check_asked(&self, asked: &Asked<'_>) -> Result<(), Denied> {
        match self {
            Self::Loopback => check_loopback(asked),
            Self::Tokens(tokens) => tokens.check(asked.authorization),
        }
    }
}

fn check_loopback(asked: &Asked<'_>) -> Result<(), Denied> {
    let host = asked.host.ok_or(Denied::ForeignHost)?;
    if !names_this_machine(host) {
        return Err(Denied::ForeignHost);
    }
    let Some(origin) = asked.origin else { return Ok(()) };
    // A page of another port of this machine is another site too: some other program serves it.
    let authority = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
    match authority {
        Some(authority) if authority.eq_ignore_ascii_case(host) => Ok(()),
        _ => Err(Denied::ForeignOrigin),
    }
}

/// Whether an authority names this machine in a way that no DNS server can change.
fn names_this_machine(authority: &str) -> bool {
    if let Ok(address) = authority.parse::<SocketAddr>() {
        return address.ip().to_canonical().is_loopback();
    }
    let bracketed = authority.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    if let Ok(address) = bracketed.unwrap_or(authority).parse::<IpAddr>() {
        return address.to_canonical().is_loopback();
    }
    let (name, port) = authority.split_once(':').unwrap_or((authority, "80"));
    if port.parse::<u16>().is_err() {
        return false;
    }
    name.eq_ignore_ascii_case("localhost") || name.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback())
}

/// The tokens of one file. They never show in logs.
#[derive(Clone)]
pub struct Tokens(Vec<Box<[u8]>>);

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} tokens", self.0.len())
    }
}

impl Tokens {
    /// Reads the text of a token file: one token per line; blank lines and lines that start with `#` are passed over.
    /// More than one token lets an old and a new one work while clients are changed over.
    pub fn parse(text: &str) -> Result<Self, AccessError> {
        let mut tokens = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let token = line.trim();
            if token.is_empty() || token.starts_with('#') {
                continue;
            }
            if token.len() < TOKEN_BYTES_MIN || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
                return Err(AccessError::WeakToken { line: index + 1 });
            }
            if tokens.len() == TOKENS_MAX {
                return Err(AccessError::TooManyTokens);
            }
            tokens.push(token.as_bytes().into());
        }
        if tokens.is_empty() { Err(AccessError::NoToken) } else { Ok(Self(tokens)) }
    }

    fn check(&self, authorization: Option<&str>) -> Result<(), Denied> {
        let (scheme, given) = authorization.and_then(|value| value.split_once(' ')).ok_or(Denied::NoToken)?;
        // Old clients send `token T`.
        if !scheme.eq_ignore_ascii_case("bearer") && !scheme.eq_ignore_ascii_case("token") {
            return Err(Denied::NoToken);
        }
        let given = given.trim().as_bytes();
        // All tokens are compared, so that the time tells neither which one matched nor how far.
        let known = self.0.iter().fold(false, |known, token| known | same(token, given));
        if known { Ok(()) } else { Err(Denied::WrongToken) }
    }
}

/// Whether both are equal, in a time that depends on the length of `expected` only.
fn same(expected: &[u8], given: &[u8]) -> bool {
    let differs = expected.iter().enumerate().fold(0_u8, |differs, (index, byte)| {
        // `black_box` keeps the compiler from leaving the loop at the first difference.
        std::hint::black_box(differs | (byte ^ given.get(index).copied().unwrap_or_default()))
    });
    std::hint::black_box(differs == 0) & (expected.len() == given.len())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    const TOKEN: &str = "0123456789abcdef";
    const OTHER: &str = "fedcba9876543210";

    #[track_caller]
    fn check_host(host: &str, origin: Option<&str>, expected: Result<(), Denied>) {
        let asked = Asked { host: Some(host), origin, authorization: None };
        assert_eq!(Access::Loopback.check_asked(&asked), expected, "{host} {origin:?}");
    }

    #[test]
    fn who_asks_is_named_without_the_token() {
        let mut fields = HeaderMap::new();
        assert_eq!(Access::Loopback.who(&fields), "local");
        fields.insert(AUTHORIZATION, HeaderValue::from_static("Bearer 0123456789abcdef"));
        let access = Access::Tokens(Tokens::parse(TOKEN).unwrap());
        // `printf 0123456789abcdef | sha256sum`
        assert_eq!(access.who(&fields), "token 9f9f5111f7b2");
        fields.insert(AUTHORIZATION, HeaderValue::from_static("token 0123456789abcdef"));
        assert_eq!(access.who(&fields), "token 9f9f5111f7b2");
    }

    #[track_caller]
    fn check_token(authorization: Option<&str>, expected: Result<(), Denied>) {
        let access = Access::Tokens(Tokens::parse(&format!("# team a\n{TOKEN}\n\n {OTHER} \n")).unwrap());
        let asked = Asked { host: Some("gateway.example:1988"), origin: Some("https://anywhere"), authorization };
        assert_eq!(access.check_asked(&asked), expected, "{authorization:?}");
    }

    #[test]
    fn loopback_answers_its_own_names_only() {
        for host in ["localhost", "LOCALHOST:8080", "127.0.0.1", "127.0.0.1:1988", "127.9.9.9:1", "[::1]", "[::1]:80"] {
            check_host(host, None, Ok(()));
        }
        for host in [
            "evil.example",
            "evil.example:1988",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "10.0.0.1:80",
            "",
            "localhost:x",
            "[::2]:80",
        ] {
            check_host(host, None, Err(Denied::ForeignHost));
        }
        assert_eq!(Access::Loopback.check_asked(&Asked::default()), Err(Denied::ForeignHost));
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_denied() {
        #[track_caller]
        fn check(fields: &[(HeaderName, &[u8])], expected: Result<(), Denied>) {
            let mut map = HeaderMap::new();
            for (name, value) in fields {
                map.append(name, HeaderValue::from_bytes(value).unwrap());
            }
            assert_eq!(Access::Loopback.check(&Uri::from_static("/ready"), &map), expected, "{fields:?}");
        }
        check(&[(HOST, b"localhost")], Ok(()));
        check(&[(HOST, b"localhost"), (HOST, b"localhost")], Err(Denied::SeveralHosts));
        check(&[(HOST, b"localhost\xff")], Err(Denied::ForeignHost));
        check(&[(HOST, b"localhost"), (ORIGIN, b"http://localhost")], Ok(()));
        check(&[(HOST, b"localhost"), (ORIGIN, b"http://localhost\xff")], Err(Denied::ForeignOrigin));
        let named = Uri::from_static("http://evil.example/ready");
        let fields = HeaderMap::from_iter([(HOST, HeaderValue::from_static("localhost"))]);
        assert_eq!(Access::Loopback.check(&named, &fields), Err(Denied::ForeignHost));
    }

    #[test]
    fn loopback_answers_pages_of_its_own_origin_only() {
        check_host("localhost:8080", Some("http://localhost:8080"), Ok(()));
        for origin in ["null", "http://localhost:3000", "https://evil.example", "http://localhost", "file://"] {
            check_host("localhost:8080", Some(origin), Err(Denied::ForeignOrigin));
        }
    }

    #[test]
    fn both_ways_to_send_a_token_are_taken() {
        check_token(Some(&format!("Bearer {TOKEN}")), Ok(()));
        check_token(Some(&format!("bearer {OTHER}")), Ok(()));
        check_token(Some(&format!("token {TOKEN}")), Ok(()));
    }

    #[test]
    fn anything_but_a_whole_token_is_denied() {
        check_token(None, Err(Denied::NoToken));
        check_token(Some(TOKEN), Err(Denied::NoToken));
        check_token(Some(&format!("Basic {TOKEN}")), Err(Denied::NoToken));
        for wrong in ["", "0123456789abcde", "0123456789abcdef0", "0123456789abcdeg"] {
            check_token(Some(&format!("Bearer {wrong}")), Err(Denied::WrongToken));
        }
    }

    #[test]
    fn a_listener_for_other_machines_needs_tokens_and_tls_or_a_loud_word() {
        let all = SocketAddr::from(([0, 0, 0, 0], 1988));
        let tokens = || Some(Tokens::parse(TOKEN).unwrap());
        let open = |tokens, tls, insecure| Access::for_listener("admin", all, tokens, tls, insecure);
        assert_eq!(open(None, true, true).unwrap_err(), AccessError::NoTokens { listener: "admin", bind: all });
        assert_eq!(open(tokens(), false, false).unwrap_err(), AccessError::ClearText { listener: "admin", bind: all });
        assert!(matches!(open(tokens(), true, false), Ok(Access::Tokens(_))));
        assert!(matches!(open(tokens(), false, true), Ok(Access::Tokens(_))));
        let loopback = SocketAddr::from(([127, 0, 0, 1], 1988));
        assert!(matches!(Access::for_listener("admin", loopback, None, false, false), Ok(Access::Loopback)));
    }

    #[test]
    fn weak_token_files_are_refused_without_repeating_a_token() {
        assert_eq!(Tokens::parse("# none\n").unwrap_err(), AccessError::NoToken);
        let error = Tokens::parse("# first\nsecret").unwrap_err();
        assert_eq!(error, AccessError::WeakToken { line: 2 });
        assert!(!error.to_string().contains("secret"));
        assert_eq!(format!("{:?}", Tokens::parse(TOKEN).unwrap()), "1 tokens");
    }
}
