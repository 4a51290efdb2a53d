//! `vamp audit`: who changed what and why, and whether the history is what was written.

use serde_json::Value;

use super::text;
use crate::arguments::{AuditListArguments, AuditVerifyArguments};
use crate::client::{Client, Request};
use crate::failure::Failure;
use crate::format::show;
use crate::output::{cell, table};

/// Shows the newest changes.
pub(crate) async fn audit_list(arguments: AuditListArguments) -> Result<(), Failure> {
    let client = Client::new(&arguments.asking.server)?;
    let query = vec![("limit", arguments.limit.to_string())];
    let changes = client.send(Request { query, ..Request::get(&["audit", "changes"]) }).await?.json();
    show(&changes, &arguments.asking.output.output, |_| listed(&changes))
}

fn listed(changes: &Value) -> String {
    let row = |change: &Value| {
        let number = change.get("sequence").map(cell).unwrap_or_default();
        let texts = ["at", "who", "cause", "why"].map(|member| text(change, member).to_owned());
        std::iter::once(number).chain(texts).collect::<Vec<_>>()
    };
    let rows: Vec<_> = changes.as_array().into_iter().flatten().map(row).collect();
    table(&["CHANGE", "AT", "WHO", "WHAT", "WHY"], &rows)
}

/// Says whether the history is sound; that it is not is a failure.
pub(crate) async fn audit_verify(arguments: AuditVerifyArguments) -> Result<(), Failure> {
    let client = Client::new(&arguments.asking.server)?;
    let query = arguments.head.map(|head| ("head", head)).into_iter().collect();
    let audit = client.send(Request { query, ..Request::get(&["audit", "verify"]) }).await?.json();
    show(&audit, &arguments.asking.output.output, |_| in_words(&audit))?;
    match audit.get("fault").and_then(Value::as_str) {
        Some(fault) => Err(Failure::Unsound { what: fault.to_owned() }),
        None => Ok(()),
    }
}

fn in_words(audit: &Value) -> String {
    let number = |member: &str| audit.get(member).map(cell).unwrap_or_default();
    let (changes, versions, head) = (number("changes"), number("versions"), text(audit, "head"));
    format!("{changes} changes with {versions} versions are what was written\nhead {head}")
}
