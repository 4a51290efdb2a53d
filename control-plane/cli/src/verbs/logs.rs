//! `vamp logs`: what instances of a deployment write.

use serde_json::Value;

use super::text;
use crate::arguments::LogsArguments;
use crate::client::{Client, Request};
use crate::failure::Failure;
use crate::format::{Output, piece, show};
use crate::output::{print, print_on};

/// Shows the last lines, and those that come.
pub(crate) async fn logs(arguments: LogsArguments) -> Result<(), Failure> {
    let client = Client::new(&arguments.asking.server)?;
    let mut query = vec![("tail", arguments.tail.to_string())];
    match arguments.of.as_deref().map(|of| of.split_once('/').ok_or(of)) {
        Some(Ok((cluster, service))) => {
            query.extend([("cluster", cluster.to_owned()), ("service", service.to_owned())]);
        }
        Some(Err(instance)) => query.push(("instance", instance.to_owned())),
        None => {}
    }
    let output = &arguments.asking.output.output;
    if !arguments.follow {
        let path = ["deployments", &arguments.deployment, "logs"];
        let lines = client.send(Request { query, ..Request::get(&path) }).await?.json();
        let told: String = lines.as_array().into_iter().flatten().map(line).collect();
        return match output {
            Output::Table | Output::Wide => print(&told),
            _ => show(&lines, output, |_| String::new()),
        };
    }
    let path = ["deployments", &arguments.deployment, "logs", "stream"];
    let mut coming = client.follow(&path, query).await?;
    while let Some(event) = coming.next().await? {
        let event: Value = serde_json::from_str(&event).unwrap_or_default();
        if !print_on(&piece(&event, output, || line(&event))?)? {
            return Ok(());
        }
    }
    let what = "the control plane ended the stream: it is stopping, or the deployment is gone; ask again".to_owned();
    Err(Failure::StreamEnded { what })
}

/// One line, with whose it is.
fn line(line: &Value) -> String {
    format!("{} {}  {}\n", text(line, "at"), text(line, "instance"), text(line, "text"))
}
