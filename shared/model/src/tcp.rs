//! What gateways say that carry connections, and what they can't say: there is no request to look at.

use serde_json::{Map, Value, json};
use vamp_routing::condition::Condition;
use vamp_routing::wire::{ProxyVersion, Tcp};

use crate::breed::Protocol;
use crate::condition::ConditionUse;
use crate::decode::{Decoder, Field, Fields};
use crate::route::RouteBody;
use crate::tree::Content;

/// Takes the fields that only TCP gateways have.
pub(crate) fn decode(decoder: &mut Decoder<'_>, fields: &mut Fields<'_>, protocol: Protocol) -> Option<Tcp> {
    let owner = fields.owner.clone();
    let (accept, send) = (fields.take("accept_proxy"), fields.take("send_proxy"));
    if protocol == Protocol::Http {
        for (name, field) in [("accept_proxy", accept), ("send_proxy", send)] {
            if let Some(field) = field {
                let message = format!("{owner} has `{name}`, which only TCP gateways have");
                let hint = "write its port as `N/tcp`; for HTTP, start the gateway processes with `--proxy-protocol`";
                decoder.refuse(&field, message, hint);
            }
        }
        return None;
    }
    let accept_proxy = accept.is_some_and(|field| decode_accept(decoder, &field, &owner));
    let send_proxy = send.and_then(|field| decode_send(decoder, &field, &owner));
    Some(Tcp { accept_proxy, send_proxy })
}

fn decode_accept(decoder: &mut Decoder<'_>, field: &Field<'_>, owner: &str) -> bool {
    if let Content::Bool(accepts) = field.node.content {
        return accepts;
    }
    decoder.refuse(field, format!("`accept_proxy` of {owner} is {}", field.node.sort()), "use `true` or `false`");
    false
}

fn decode_send(decoder: &mut Decoder<'_>, field: &Field<'_>, owner: &str) -> Option<ProxyVersion> {
    let text = decoder.text(field, &format!("`send_proxy` of {owner}"))?;
    match text.to_ascii_lowercase().as_str() {
        "v1" => Some(ProxyVersion::V1),
        "v2" => Some(ProxyVersion::V2),
        "none" => None,
        _ => {
            let message = format!("{owner} sends PROXY headers of version `{}`", text.escape_debug());
            decoder.refuse(field, message, "use `v1`, `v2` or `none`");
            None
        }
    }
}

/// The fields as they are written.
pub(crate) fn to_fields(tcp: Tcp) -> Map<String, Value> {
    let send_proxy = tcp.send_proxy.map(|version| match version {
        ProxyVersion::V1 => "v1",
        ProxyVersion::V2 => "v2",
    });
    let fields = [("accept_proxy", json!(tcp.accept_proxy)), ("send_proxy", json!(send_proxy))];
    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

pub(crate) fn refuse_hosts(decoder: &mut Decoder<'_>, field: &Field<'_>, owner: &str) {
    // As it is written back.
    if matches!(&field.node.content, Content::List(hosts) if hosts.is_empty()) {
        return;
    }
    decoder.refuse(
        field,
        format!("{owner} is a TCP gateway and has virtual hosts, which only requests name"),
        "remove them, or write its port as `N/http`",
    );
}

/// Refuses what looks at requests in a route of a TCP gateway; stored routes and conditions are looked at when the table
/// is made.
pub(crate) fn check_route(
    decoder: &mut Decoder<'_>,
    body: &RouteBody,
    condition: Option<&Field<'_>>,
    rewrites: Option<&Field<'_>>,
    what: &str,
) {
    if let (Some(field), false) = (rewrites, body.rewrites.is_empty()) {
        let message = format!("{what} has rewrites, and a TCP gateway has no paths");
        decoder.refuse(field, message, "remove them, or write the gateway's port as `N/http`");
    }
    if let (Some(field), Some(ConditionUse::Inline(text))) = (condition, &body.condition)
        && let Ok(parsed) = Condition::parse(text)
        && let Some(test) = parsed.test_of_requests()
    {
        let message = format!(
            "the condition of {what} tests `{test}`, and a TCP gateway knows only the `source` of a connection"
        );
        decoder.refuse(
            field,
            message,
            "test `source`, as in `source in 10.0.0.0/8`, or write the gateway's port as `N/http`",
        );
    }
}
