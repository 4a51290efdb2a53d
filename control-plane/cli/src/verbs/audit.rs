//! `vamp audit`: who changed what and why, and whether the history is what was written.

use serde_json::Value;

use super::{print_as_is, text};
use crate::arguments::{AuditListArguments, AuditVerifyArguments, Output};
use crate::client::{Client, Request};
use crate::failure::Failure;
use crate::output::{cell, print, table};

/// Shows the newest changes.
pub(crate) async fn audit_list(arguments: AuditListArguments) -> Result<(), Failure> {
    let client = Client::new(&arguments.server)?;
    let output = arguments.output.output;
    let query = vec![("limit", arguments.limit.to_string())];
    let answer = client.send(Request { query, output, ..Request::get(&["audit", "changes"]) }).await?;
    if output != Output::Table {
        return print_as_is(&answer, output);
    }
    let changes = answer.json();
    let row = |change: &Value| {
        let number = change.get("sequence").map(cell).unwrap_or_default();
        let texts = ["at", "who", "cause", "why"].map(|member| text(change, member).to_owned());
        std::iter::once(number).chain(texts).collect::<Vec<_>>()
    };
    let rows: Vec<_> = changes.as_array().into_iter().flatten().map(row).collect();
    print(&table(&["CHANGE", "AT", "WHO", "WHAT", "WHY"], &rows))
}

/// Says whether the history is sound; that it is not is a failure.
pub(crate) async fn audit_verify(arguments: AuditVerifyArguments) -> Result<(), Failure> {
    let client = Client::new(&arguments.server)?;
    let output = arguments.output.output;
    let query = arguments.head.map(|head| ("head", head)).into_iter().collect();
    let answer = client.send(Request { query, output: Output::Json, ..Request::get(&["audit", "verify"]) }).await?;
    let audit = answer.json();
    if output == Output::Table {
        print(&in_words(&audit))?;
    } else {
        print_as_is(&answer, Output::Json)?;
    }
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
