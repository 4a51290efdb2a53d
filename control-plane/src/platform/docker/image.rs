//! Fetches images, and says how far that is.

use std::collections::BTreeMap;

use bollard::auth::DockerCredentials;
use bollard::models::CreateImageInfo;
use bollard::query_parameters::CreateImageOptions;
use futures_util::StreamExt as _;

use super::credentials::CredentialsFile;
use super::engine::{Engine, Failure};
use crate::platform::PlatformError;

/// LIMIT: layers of one image whose progress is counted; the engine takes 127.
const LAYERS_MAX: usize = 512;
/// What engine and registries say of an image that is not there, or not for everybody.
const UNKNOWN: [&str; 7] = [
    "not found",
    "manifest unknown",
    "name unknown",
    "pull access denied",
    "unauthorized",
    "no basic auth credentials",
    "invalid reference format",
];

/// Fetches an image, unless the engine has it; `tell` hears how far that is.
pub(super) async fn have(
    engine: &Engine,
    image: &str,
    credentials: Option<&CredentialsFile>,
    tell: impl Fn(String),
) -> Result<(), PlatformError> {
    match engine.look(|docker| docker.inspect_image(image)).await {
        Ok(_) => return Ok(()),
        Err(failure) if failure.is_absent() => {}
        Err(failure) => return Err(engine.error(format!("look for image `{image}`"), failure)),
    }
    tell(format!("image {image} is being fetched"));
    tracing::info!("image {image} is being fetched");
    let credentials = credentials
        .map(|file| file.of(image))
        .transpose()
        .map_err(|cause| PlatformError::NotFetched { image: image.to_owned(), cause: cause.into() })?;
    fetch(engine, image, credentials.flatten(), tell).await.map_err(|failure| match failure {
        Failure::Answered { message, .. } if is_unknown(&message) => {
            PlatformError::UnknownImage { image: image.to_owned(), cause: message.into() }
        }
        Failure::Answered { message, .. } => {
            PlatformError::NotFetched { image: image.to_owned(), cause: message.into() }
        }
        silent @ Failure::Silent(_) => engine.error(format!("fetch image `{image}`"), silent),
    })
}

async fn fetch(
    engine: &Engine,
    image: &str,
    credentials: Option<DockerCredentials>,
    tell: impl Fn(String),
) -> Result<(), Failure> {
    let options = CreateImageOptions { from_image: Some(image.to_owned()), ..CreateImageOptions::default() };
    let mut messages = engine.streams().await?.create_image(Some(options), None, credentials).boxed();
    let mut progress = Progress::default();
    loop {
        let message = tokio::time::timeout(engine.patience.pause, messages.next()).await;
        match message.map_err(|_| Failure::Silent("the image stopped coming".to_owned()))? {
            Some(message) => {
                if progress.take(message?) {
                    tell(progress.in_words(image));
                }
            }
            None => return Ok(()),
        }
    }
}

fn is_unknown(message: &str) -> bool {
    let message = message.to_lowercase();
    // A host that is not found is another thing.
    !message.contains("dial tcp") && UNKNOWN.iter().any(|words| message.contains(words))
}

/// What the engine told of the layers of an image.
#[derive(Debug, Default)]
struct Progress {
    layers: BTreeMap<String, Layer>,
    told: (usize, u64),
}

#[derive(Debug, Default)]
struct Layer {
    is_done: bool,
    bytes: i64,
    of_bytes: i64,
}

impl Progress {
    /// Takes one message; whether there is something new to tell.
    fn take(&mut self, message: CreateImageInfo) -> bool {
        let (Some(layer), Some(status)) = (message.id, message.status) else { return false };
        if self.layers.len() >= LAYERS_MAX && !self.layers.contains_key(&layer) {
            return false;
        }
        let known = self.layers.contains_key(&layer);
        let starts = ["Pulling fs layer", "Waiting", "Already exists", "Downloading"];
        if !known && !starts.contains(&status.as_str()) {
            return false;
        }
        let layer = self.layers.entry(layer).or_default();
        match (status.as_str(), message.progress_detail) {
            ("Pull complete" | "Already exists", _) => {
                layer.is_done = true;
                layer.bytes = layer.of_bytes;
            }
            ("Downloading", Some(detail)) => {
                layer.bytes = detail.current.unwrap_or(layer.bytes);
                layer.of_bytes = detail.total.unwrap_or(layer.of_bytes).max(layer.bytes);
            }
            ("Download complete", _) => layer.bytes = layer.of_bytes,
            _ => {}
        }
        let now = (self.done(), self.megabytes().0);
        let is_new = !known || now != self.told;
        self.told = now;
        is_new
    }

    fn done(&self) -> usize {
        self.layers.values().filter(|layer| layer.is_done).count()
    }

    fn megabytes(&self) -> (u64, u64) {
        let sum =
            |bytes: fn(&Layer) -> i64| self.layers.values().map(bytes).sum::<i64>().max(0).unsigned_abs() / 1_000_000;
        (sum(|layer| layer.bytes), sum(|layer| layer.of_bytes))
    }

    fn in_words(&self, image: &str) -> String {
        let (done, all) = (self.done(), self.layers.len());
        let (megabytes, of) = self.megabytes();
        format!("image {image} is being fetched: {done} of {all} layers, {megabytes} of {of} MB")
    }
}

#[cfg(test)]
mod tests {
    use bollard::models::ProgressDetail;

    use super::*;

    fn message(layer: &str, status: &str, bytes: Option<(i64, i64)>) -> CreateImageInfo {
        let detail = bytes.map(|(current, total)| ProgressDetail { current: Some(current), total: Some(total) });
        CreateImageInfo {
            id: Some(layer.to_owned()),
            status: Some(status.to_owned()),
            progress_detail: detail,
            ..CreateImageInfo::default()
        }
    }

    #[test]
    fn progress_is_told_in_layers_and_megabytes() {
        let mut progress = Progress::default();
        assert!(!progress.take(message("1.0", "Pulling from library/demo", None)), "a tag is no layer");
        assert!(progress.take(message("a", "Already exists", None)));
        assert!(progress.take(message("b", "Pulling fs layer", None)));
        assert!(progress.take(message("b", "Downloading", Some((5_000_000, 20_000_000)))));
        assert!(!progress.take(message("b", "Downloading", Some((5_000_001, 20_000_000)))), "nothing that shows");
        assert_eq!(progress.in_words("demo:1"), "image demo:1 is being fetched: 1 of 2 layers, 5 of 20 MB");
        progress.take(message("b", "Download complete", None));
        progress.take(message("b", "Extracting", Some((1, 20_000_000))));
        assert_eq!(progress.in_words("demo:1"), "image demo:1 is being fetched: 1 of 2 layers, 20 of 20 MB");
        assert!(progress.take(message("b", "Pull complete", None)));
    }

    #[test]
    fn an_image_that_is_not_there_is_told_from_a_registry_that_is_not() {
        for unknown in [
            "manifest for demo:9 not found: manifest unknown: manifest unknown",
            "pull access denied for demo, repository does not exist or may require 'docker login'",
            "invalid reference format: repository name must be lowercase",
        ] {
            assert!(is_unknown(unknown), "{unknown}");
        }
        for away in [
            "Get \"https://registry.test/v2/\": dial tcp: lookup registry.test: no such host",
            "Get \"http://127.0.0.1:9/v2/\": dial tcp 127.0.0.1:9: connect: connection refused",
            "Get \"https://registry.test/v2/\": net/http: request canceled while waiting for connection",
            "dial tcp: lookup registry.test on 1.1.1.1: server misbehaving: host not found",
            "toomanyrequests: You have reached your pull rate limit",
        ] {
            assert!(!is_unknown(away), "{away}");
        }
    }
}
