//! Does what the ship machine asks for: one task, in which records are made documents, and bulk requests wait for
//! their answers, beside each other.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tokio::sync::watch;
use tokio::time::Instant;
use vamp_record::client::ElasticError;
use vamp_record::document::Documents;
use vamp_record::template::Template;
use vamp_record::{ElasticClient, Record};

use super::machine::{Action, Document, Fault, Input, Notice, ShipMachine};
use super::queue::Recorder;
use crate::logging::chain;

/// Where records go, and as what.
#[derive(Debug)]
pub(crate) struct ShipSettings {
    /// The server.
    pub client: ElasticClient,
    /// Writes the documents of this process.
    pub documents: Documents,
    /// How long the end of the process may wait for the server to take what is queued.
    pub flush_timeout: Duration,
}

/// Ships what `recorder` gets until `stop` is true or its sender is gone, then what it still holds: at most for the
/// time-out; the rest is counted as dropped. Stop when no more requests are answered.
pub(crate) async fn run(settings: ShipSettings, recorder: Arc<Recorder>, mut stop: watch::Receiver<bool>) {
    let mut driver = Driver::new(settings, recorder);
    let mut machine = ShipMachine::new(driver.now(), rand::random());
    let mut deadline = None;
    let mut input = Input::Tick;
    loop {
        for action in machine.step(driver.now(), input) {
            driver.start(action);
        }
        driver.recorder.book(machine.tally());
        if machine.is_done() {
            break;
        }
        let due = machine.due().map(|due| driver.started + due);
        input = tokio::select! {
            biased;
            () = sleep_until(deadline), if deadline.is_some() => break,
            _ = stop.wait_for(|is_stopping| *is_stopping), if deadline.is_none() => {
                deadline = Some(Instant::now() + driver.settings.flush_timeout);
                Input::Stop
            }
            Some(input) = driver.jobs.next() => input,
            () = driver.recorder.waiting() => Input::Waiting,
            () = sleep_until(due) => Input::Tick,
        };
    }
    driver.finish(machine);
}

async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

struct Driver {
    settings: ShipSettings,
    documents: Arc<Documents>,
    recorder: Arc<Recorder>,
    started: Instant,
    jobs: FuturesUnordered<BoxFuture<'static, Input>>,
    /// The next record's number in its id.
    sequence: u64,
}

impl Driver {
    fn new(settings: ShipSettings, recorder: Arc<Recorder>) -> Self {
        Self {
            documents: Arc::new(settings.documents.clone()),
            settings,
            recorder,
            started: Instant::now(),
            jobs: FuturesUnordered::new(),
            sequence: 0,
        }
    }

    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    fn start(&mut self, action: Action) {
        let client = self.settings.client.clone();
        match action {
            Action::PutTemplate => {
                let put = async move { client.put_template(Template::Records).await.map_err(|error| fault(&error)) };
                self.jobs.push(put.map(Input::Template).boxed());
            }
            Action::Send { bulk, body, documents } => self.jobs.push(
                async move {
                    Input::Answer { bulk, answer: client.bulk(body, documents).await.map_err(|error| fault(&error)) }
                }
                .boxed(),
            ),
            Action::Take { records_max } => self.take(records_max),
            Action::Tell(notice) => self.tell(&notice),
        }
    }

    fn take(&mut self, records_max: usize) {
        let chunks = self.recorder.take(records_max);
        let records: usize = chunks.iter().map(Vec::len).sum();
        let (first, count) = (self.sequence, u64::try_from(records).unwrap_or(u64::MAX));
        self.sequence += count;
        let documents = self.documents.clone();
        // Some milliseconds of work: not on a thread that others share.
        let written = tokio::task::spawn_blocking(move || write(&documents, &chunks, first));
        self.jobs.push(
            async move {
                let documents = written.await.unwrap_or_default();
                let unwritable = count.saturating_sub(u64::try_from(documents.len()).unwrap_or(u64::MAX));
                Input::Taken { documents, unwritable, more: records >= records_max }
            }
            .boxed(),
        );
    }

    fn tell(&self, notice: &Notice) {
        match notice {
            Notice::Down(reason) => {
                tracing::warn!(
                    elasticsearch.address = self.settings.client.address(),
                    "records are not taken, they wait and are sent again: {reason}"
                );
            }
            Notice::Up => {
                tracing::info!(elasticsearch.address = self.settings.client.address(), "records are taken again");
            }
            Notice::Refused(documents, reason) => {
                tracing::warn!(
                    elasticsearch.address = self.settings.client.address(),
                    "{documents} records were refused and are dropped; one of them: {reason}"
                );
            }
        }
    }

    /// Counts all that was not shipped.
    fn finish(self, mut machine: ShipMachine) {
        drop(self.recorder.take(usize::MAX));
        let counts = self.recorder.counts();
        let held = u64::try_from(machine.held()).unwrap_or(u64::MAX);
        machine.give_up(counts.queued.saturating_sub(held));
        let tally = machine.tally();
        self.recorder.book(tally);
        if tally.shutdown > 0 {
            tracing::warn!(
                elasticsearch.address = self.settings.client.address(),
                "{} records are dropped: the server did not take them before the end",
                tally.shutdown
            );
        }
    }
}

/// Bytes of a document with its action line, nearly always: room for it is made once.
const USUAL_DOCUMENT_BYTES: usize = 1_024;

/// The documents of records numbered from `first`.
fn write(documents: &Documents, chunks: &[Vec<Record>], first: u64) -> Vec<Document> {
    let records = chunks.iter().map(Vec::len).sum();
    let mut lines = Vec::with_capacity(records * USUAL_DOCUMENT_BYTES);
    let mut ends = Vec::with_capacity(records);
    let mut writer = documents.writer();
    for (sequence, record) in (first..).zip(chunks.iter().flatten()) {
        writer.write(record, sequence, &mut lines);
        ends.push(lines.len());
    }
    let mut rest = Bytes::from(lines);
    let mut start = 0;
    let mut split = |end| {
        let document = Document::new(rest.split_to(end - start));
        start = end;
        document
    };
    ends.into_iter().map(&mut split).collect()
}

fn fault(error: &ElasticError) -> Fault {
    match error {
        ElasticError::Refused { status: 413, .. } => Fault::TooLarge,
        ElasticError::Refused { status: 400, .. } => Fault::Malformed(chain(error)),
        ElasticError::Refused { retry_after, .. } => Fault::Refused { reason: chain(error), retry_after: *retry_after },
        ElasticError::Unreachable { .. } | ElasticError::Unexpected { .. } => Fault::Lost(chain(error)),
    }
}
