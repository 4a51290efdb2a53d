//! `vamp events`: what happened, and what happens.

use serde_json::Value;

use super::rows::member;
use crate::arguments::EventsArguments;
use crate::client::Client;
use crate::failure::Failure;
use crate::format::{Output, piece, show};
use crate::output::{cell, print_on, table};

/// Shows events, oldest first.
pub(crate) async fn events(arguments: EventsArguments) -> Result<(), Failure> {
    let client = Client::new(&arguments.asking.server)?;
    let tags = arguments.tags.iter().map(|tag| ("tag", tag.clone()));
    let of_type = arguments.of_type.iter().map(|kind| ("type", kind.clone()));
    let wanted: Vec<_> = tags.chain(of_type).collect();
    // Opened before the past is read, so that nothing is missed in between.
    let coming =
        if arguments.follow { Some(client.follow(&["events", "stream"], wanted.clone()).await?) } else { None };
    let mut query = wanted;
    query.extend(arguments.since.iter().map(|since| ("from", since.clone())));
    let mut past = match arguments.limit {
        0 => Vec::new(),
        limit => client.list(&["events"], &query, Some(limit.into())).await?,
    };
    past.reverse();
    let output = &arguments.asking.output.output;
    let Some(mut coming) = coming else {
        let rows: Vec<_> = past.iter().map(|event| cells(event).to_vec()).collect();
        let told = table(&["AT", "TYPE", "TAGS", "VALUE"], &rows);
        return show(&Value::Array(past), output, |_| told);
    };
    let mut last = 0;
    for event in &past {
        last = last.max(number(event));
        if !tell(event, output)? {
            return Ok(());
        }
    }
    while let Some(event) = coming.next().await? {
        let event = serde_json::from_str(&event).unwrap_or_default();
        if number(&event) > last && !tell(&event, output)? {
            break;
        }
    }
    Ok(())
}

fn number(event: &Value) -> u64 {
    event.get("id").and_then(Value::as_u64).unwrap_or_default()
}

/// Writes one event of many; false when nobody reads any more.
fn tell(event: &Value, output: &Output) -> Result<bool, Failure> {
    print_on(&piece(event, output, || format!("{}\n", cells(event).join("  ")))?)
}

fn cells(event: &Value) -> [String; 4] {
    // With each tag `a:b` stands `a`, which says nothing more.
    let tags: Vec<&str> = super::items(event, "tags").filter_map(Value::as_str).collect();
    let says_more =
        |tag: &&&str| !tags.iter().any(|other| other.strip_prefix(**tag).is_some_and(|rest| rest.starts_with(':')));
    let tags: Vec<&str> = tags.iter().filter(says_more).copied().collect();
    let value = event.get("value").map_or_else(|| "-".to_owned(), cell);
    [member(event, "timestamp"), member(event, "type"), tags.join(","), value]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_event_is_told_without_tags_that_say_nothing_more() {
        let event = json!({
            "id": 7, "timestamp": "T", "type": "archive", "value": {"version": 2},
            "tags": ["archive", "archive:update", "gateways", "gateways:shop", "plain"],
        });
        assert_eq!(cells(&event), ["T", "archive", "archive:update,gateways:shop,plain", "{\"version\":2}"]);
        assert_eq!(number(&event), 7);
    }
}
