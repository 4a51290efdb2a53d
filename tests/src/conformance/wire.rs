//! Messages as a strict reader sees them: the judge of what a proxy sends. Slow and obvious on purpose.

/// A header field as it stands on the wire.
pub(crate) type Field = (String, String);

/// One message: its first line, fields, and body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The first line.
    pub line: String,
    /// Names in lower case, values without white space around them.
    pub fields: Vec<Field>,
    /// The body's content, without framing.
    pub body: Vec<u8>,
    /// Whether the body came whole, by its own framing.
    pub complete: bool,
    /// Whether only the end of the connection ends the body.
    pub until_close: bool,
}

impl Message {
    /// The value of a field, if it stands there once.
    pub fn field(&self, name: &str) -> Option<&str> {
        let mut found = self.fields.iter().filter(|(known, _)| known == name);
        match (found.next(), found.next()) {
            (Some((_, value)), None) => Some(value),
            _ => None,
        }
    }

    /// Whether a field stands there at all.
    pub fn has(&self, name: &str) -> bool {
        self.fields.iter().any(|(known, _)| known == name)
    }

    /// The status of a response.
    pub fn status(&self) -> u16 {
        self.line.get(9..12).and_then(|digits| digits.parse().ok()).unwrap_or(0)
    }
}

/// What a reader makes of bytes: messages, and what is wrong with the rest.
#[derive(Debug, Clone, Default)]
pub struct Stream {
    /// The messages, in order.
    pub messages: Vec<Message>,
    /// Why the bytes behind them are no message.
    pub fault: Option<String>,
}

/// Whether a text is a token (RFC 9110, 5.6.2).
fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

/// Reads a head, strictly: the first line, fields, and where it ends. `Ok(None)`: more is needed.
pub(crate) fn head(bytes: &[u8]) -> Result<Option<(String, Vec<Field>, usize)>, String> {
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(None) };
    let text: String = bytes[..end].iter().map(|byte| char::from(*byte)).collect();
    let mut lines = text.split("\r\n");
    let line = lines.next().unwrap_or_default().to_owned();
    let is_bad = |character: char| (character < ' ' && character != '\t') || character == '\u{7f}';
    if line.chars().any(is_bad) {
        return Err(format!("a first line with a control character: {line:?}"));
    }
    let mut fields = Vec::new();
    for field in lines {
        let Some((name, value)) = field.split_once(':') else { return Err(format!("a line without colon: {field:?}")) };
        if !is_token(name) {
            return Err(format!("a field name that is no token: {name:?}"));
        }
        if value.chars().any(is_bad) {
            return Err(format!("a field value with a control character: {field:?}"));
        }
        fields.push((name.to_ascii_lowercase(), value.trim_matches([' ', '\t']).to_owned()));
    }
    Ok(Some((line, fields, end + 4)))
}

/// How a body is framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    None,
    Length(usize),
    Chunked,
    UntilClose,
}

/// The framing that the fields give, with nothing forgiven.
pub(crate) fn framing(fields: &[Field], otherwise: Framing) -> Result<Framing, String> {
    let all = |name: &str| {
        fields.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str()).collect::<Vec<_>>()
    };
    let (lengths, codings) = (all("content-length"), all("transfer-encoding"));
    match (&*lengths, &*codings) {
        ([], []) => Ok(otherwise),
        ([length], []) => {
            let plain = !length.is_empty() && length.bytes().all(|byte| byte.is_ascii_digit());
            length.parse().ok().filter(|_| plain).map(Framing::Length).ok_or(format!("Content-Length {length:?}"))
        }
        ([], [coding]) if coding.eq_ignore_ascii_case("chunked") => Ok(Framing::Chunked),
        _ => Err(format!("framing that two readers could understand differently: {lengths:?} {codings:?}")),
    }
}

/// A chunked body, strictly: content, and bytes that it took. `Ok(None)`: more is needed.
pub(crate) fn chunked(bytes: &[u8]) -> Result<Option<(Vec<u8>, usize)>, String> {
    let mut content = Vec::new();
    let mut at = 0;
    loop {
        let Some(line) = bytes[at..].windows(2).position(|two| two == b"\r\n") else { return Ok(None) };
        let text: String = bytes[at..at + line].iter().map(|byte| char::from(*byte)).collect();
        let size = text.split(';').next().unwrap_or_default().trim_end_matches([' ', '\t']).to_owned();
        let is_size = !size.is_empty() && size.len() <= 15 && size.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !is_size || text.chars().any(|character| character != '\t' && (character < ' ' || character == '\u{7f}')) {
            return Err(format!("a chunk line {text:?}"));
        }
        let size = usize::from_str_radix(&size, 16).map_err(|error| error.to_string())?;
        at += line + 2;
        if size == 0 {
            break;
        }
        if bytes.len() < at + size + 2 {
            return Ok(None);
        }
        if &bytes[at + size..at + size + 2] != b"\r\n" {
            return Err("a chunk that does not end where its size says".to_owned());
        }
        content.extend_from_slice(&bytes[at..at + size]);
        at += size + 2;
    }
    // Trailers: fields up to an empty line.
    loop {
        let Some(line) = bytes[at..].windows(2).position(|two| two == b"\r\n") else { return Ok(None) };
        let text: String = bytes[at..at + line].iter().map(|byte| char::from(*byte)).collect();
        at += line + 2;
        match text.split_once(':') {
            None if text.is_empty() => return Ok(Some((content, at))),
            Some((name, _)) if is_token(name) => (),
            _ => return Err(format!("a trailer {text:?}")),
        }
    }
}

/// Reads requests from the bytes of one connection, as an origin that forgives nothing.
pub(crate) fn next_request(bytes: &[u8]) -> Result<Option<(Message, usize)>, String> {
    let Some((line, fields, start)) = head(bytes)? else { return Ok(None) };
    let framing = framing(&fields, Framing::None)?;
    let rest = &bytes[start..];
    let (body, taken) = match framing {
        Framing::Length(length) if rest.len() < length => return Ok(None),
        Framing::Length(length) => (rest[..length].to_vec(), length),
        Framing::Chunked => match chunked(rest)? {
            Some(read) => read,
            None => return Ok(None),
        },
        Framing::None | Framing::UntilClose => (Vec::new(), 0),
    };
    Ok(Some((Message { line, fields, body, complete: true, until_close: false }, start + taken)))
}

/// Whether a request is one that a proxy may send: one host, a plain target, framing said once, nothing that concerns
/// the client's connection only.
pub(crate) fn check_request(request: &Message) -> Result<(), String> {
    let words: Vec<_> = request.line.split(' ').collect();
    let [method, target, "HTTP/1.1" | "HTTP/1.0"] = *words else {
        return Err(format!("the origin got the request line {:?}", request.line));
    };
    if !is_token(method) || target.is_empty() || !target.bytes().all(|byte| (b'!'..=b'~').contains(&byte)) {
        return Err(format!("the origin got the request line {:?}", request.line));
    }
    if words[2] == "HTTP/1.1" && request.field("host").is_none() {
        return Err(format!("the origin got no or several Host fields: {:?}", request.fields));
    }
    for name in ["proxy-connection", "keep-alive", "te", "proxy-authorization"] {
        if request.has(name) && name != "te" {
            return Err(format!("the origin got `{name}`, which concerns the client's connection (RFC 9110, 7.6.1)"));
        }
    }
    Ok(())
}

/// Reads responses from what a client got. `methods`: of the requests, in order. `closed`: whether the connection ended.
pub(crate) fn responses(mut bytes: &[u8], methods: &[&str], closed: bool) -> Stream {
    let mut stream = Stream::default();
    let mut asked = methods.iter();
    let mut method = asked.next();
    while !bytes.is_empty() {
        let (line, fields, start) = match head(bytes) {
            Ok(Some(head)) => head,
            Ok(None) => {
                stream.fault = Some("a head that does not end".to_owned());
                break;
            }
            Err(fault) => {
                stream.fault = Some(fault);
                break;
            }
        };
        let status: u16 = line.get(9..12).and_then(|digits| digits.parse().ok()).unwrap_or(0);
        if !line.starts_with("HTTP/1.1 ") && !line.starts_with("HTTP/1.0 ") || !(100..1000).contains(&status) {
            stream.fault = Some(format!("a status line {line:?}"));
            break;
        }
        let rest = &bytes[start..];
        let bodiless = (100..200).contains(&status) || status == 204 || status == 304 || method == Some(&"HEAD");
        let framing = if bodiless && status != 101 { Ok(Framing::None) } else { framing(&fields, Framing::UntilClose) };
        let framing = match framing {
            Ok(framing) => framing,
            Err(fault) => {
                stream.fault = Some(fault);
                break;
            }
        };
        let mut message = Message { line, fields, body: Vec::new(), complete: true, until_close: false };
        let taken = match framing {
            Framing::None => 0,
            Framing::Length(length) => {
                let there = length.min(rest.len());
                message.body = rest[..there].to_vec();
                message.complete = there == length;
                there
            }
            Framing::Chunked => match chunked(rest) {
                Ok(Some((content, taken))) => {
                    message.body = content;
                    taken
                }
                Ok(None) => {
                    message.complete = false;
                    rest.len()
                }
                Err(fault) => {
                    stream.fault = Some(fault);
                    message.complete = false;
                    rest.len()
                }
            },
            Framing::UntilClose => {
                message.body = rest.to_vec();
                message.complete = closed || status == 101;
                message.until_close = true;
                rest.len()
            }
        };
        bytes = &rest[taken..];
        let is_final = !(100..200).contains(&status) || status == 101;
        stream.messages.push(message);
        if is_final {
            method = asked.next();
        }
    }
    stream
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_strict_reader_takes_what_is_right_and_nothing_else() {
        let right =
            b"POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2;x\r\nhi\r\n0\r\nA: b\r\n\r\nNEXT";
        let (request, taken) = next_request(right).unwrap().unwrap();
        assert_eq!((&*request.body, &right[taken..]), (&b"hi"[..], &b"NEXT"[..]));
        assert!(check_request(&request).is_ok());
        for wrong in [
            &b"GET /a HTTP/1.1\r\nHost : a\r\n\r\n"[..],
            b"GET /a HTTP/1.1\r\nA: b\r\n c\r\n\r\n",
            b"GET /a HTTP/1.1\r\nA: b\nC: d\r\n\r\n",
            b"GET /a HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
            b"GET /a HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"GET /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n+1\r\na\r\n0\r\n\r\n",
        ] {
            assert!(next_request(wrong).is_err(), "{}", String::from_utf8_lossy(wrong));
        }
        let (two_hosts, _) = next_request(b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n").unwrap().unwrap();
        assert!(check_request(&two_hosts).is_err());
    }

    #[test]
    fn a_cut_body_is_seen_as_cut() {
        let cut = responses(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel", &["GET"], true);
        assert!(!cut.messages[0].complete);
        let two =
            responses(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloHTTP/1.1 204 N\r\n\r\n", &["GET"; 2], false);
        assert_eq!(two.messages.iter().map(Message::status).collect::<Vec<_>>(), [200, 204]);
    }
}
