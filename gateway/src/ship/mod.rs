//! Records on their way to Elasticsearch: bounded buffers that a request never waits for, and the task that empties
//! them.

mod queue;

pub use queue::{Recorder, RecorderCounts};
