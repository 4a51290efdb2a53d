//! One engine, asked with a time for every answer, and never again and again while it is silent.

use std::future::Future;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bollard::Docker;
use bollard::errors::Error;
use tokio::time::Instant;

use super::connection::{self, EngineAddress, Spoken};
use crate::causes::with_causes;
use crate::platform::PlatformError;

/// LIMIT: the part of the time for answers in which a sign of life must come.
const PING_PART: u32 = 8;

/// Times for answers.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// To answer what it knows: less than who asks has patience for the whole picture.
    pub look: Duration,
    /// To do what takes a while: make, start and remove containers.
    pub work: Duration,
    /// From one message of a stream to the next, while something must come.
    pub pause: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { look: Duration::from_secs(8), work: Duration::from_mins(1), pause: Duration::from_mins(1) }
    }
}

/// What became of a request.
#[derive(Debug)]
pub(super) enum Failure {
    /// Nothing is known of the outcome.
    Silent(String),
    /// The engine said no.
    Answered {
        /// By this status of HTTP.
        status: u16,
        /// In these words.
        message: String,
    },
}

impl Failure {
    /// Whether there is no such thing.
    pub(super) fn is_absent(&self) -> bool {
        matches!(self, Self::Answered { status: 404, .. })
    }

    /// Whether it is in use, there already, or not in the state for that.
    pub(super) fn is_conflict(&self) -> bool {
        matches!(self, Self::Answered { status: 409, .. })
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::DockerResponseServerError { status_code, message } => {
                Self::Answered { status: status_code, message }
            }
            // Part of an answer that began well.
            Error::DockerStreamError { error } => Self::Answered { status: 500, message: error },
            other => Self::Silent(with_causes(&other)),
        }
    }
}

/// One engine.
#[derive(Debug)]
pub(super) struct Engine {
    name: String,
    answers: Docker,
    streams: Docker,
    spoken: Spoken,
    pub(super) patience: Patience,
    /// Since when it is silent, and what was asked then.
    silence: Mutex<Option<(Instant, String)>>,
}

impl Engine {
    /// The engine at an address, which need not answer yet.
    pub(super) fn new(address: &EngineAddress, patience: Patience) -> Self {
        let spoken = Spoken::default();
        Self {
            name: format!("docker at {address}"),
            answers: connection::for_answers(address, &spoken),
            streams: connection::for_streams(address, &spoken),
            spoken,
            patience,
            silence: Mutex::default(),
        }
    }

    /// Agrees anew on the version of the API: another engine may answer there from now on.
    pub(super) fn forget(&self) {
        self.spoken.forget();
    }

    /// How it is called in errors.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Asks what the engine knows.
    pub(super) async fn look<'a, T, A>(&'a self, ask: impl FnOnce(&'a Docker) -> A + Send) -> Result<T, Failure>
    where
        A: Future<Output = Result<T, Error>> + Send,
    {
        self.within(self.patience.look, ask).await
    }

    /// Has something done.
    pub(super) async fn work<'a, T, A>(&'a self, ask: impl FnOnce(&'a Docker) -> A + Send) -> Result<T, Failure>
    where
        A: Future<Output = Result<T, Error>> + Send,
    {
        self.within(self.patience.work, ask).await
    }

    /// Asks about one thing that may be silent while the engine is not: nothing about the engine follows from that. Who
    /// calls bounds the time.
    pub(super) async fn ask_apart<'a, T, A>(&'a self, ask: impl FnOnce(&'a Docker) -> A + Send) -> Result<T, Failure>
    where
        A: Future<Output = Result<T, Error>> + Send,
    {
        self.spoken.agree(&self.answers).await?;
        ask(&self.answers).await.map_err(Failure::from)
    }

    /// Asks, and waits no longer than this.
    pub(super) async fn within<'a, T, A>(
        &'a self,
        patience: Duration,
        ask: impl FnOnce(&'a Docker) -> A + Send,
    ) -> Result<T, Failure>
    where
        A: Future<Output = Result<T, Error>> + Send,
    {
        let asked = async {
            self.spoken.agree(&self.answers).await?;
            ask(&self.answers).await
        };
        let Ok(answer) = tokio::time::timeout(patience, asked).await else {
            let what = format!("nothing came within {} s", patience.as_secs_f32());
            // What was asked for may be stuck alone.
            let ping = tokio::time::timeout(self.patience.look / PING_PART, self.answers.ping()).await;
            if !matches!(ping, Ok(Ok(_))) {
                self.set_silence(Some((Instant::now(), what.clone())));
                self.spoken.forget();
            }
            return Err(Failure::Silent(what));
        };
        let answer = answer.map_err(Failure::from);
        match &answer {
            Err(Failure::Silent(_)) => self.spoken.forget(),
            _ => self.set_silence(None),
        }
        answer
    }

    /// The client for answers that are read as they come; each message of them needs [`Engine::next`].
    pub(super) async fn streams(&self) -> Result<&Docker, Failure> {
        self.look(|docker| async { docker.ping().await }).await?;
        Ok(&self.streams)
    }

    /// Says at once that the engine was silent a moment ago, so that who asks often does not wait each time.
    pub(super) fn refuse_while_silent(&self) -> Result<(), Failure> {
        let silence = self.silence.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match silence {
            Some((since, what)) if since.elapsed() < self.patience.look => Err(Failure::Silent(what)),
            _ => Ok(()),
        }
    }

    /// Takes it as silent that does not list what there is, even if it gives a sign of life.
    pub(super) fn note_silence(&self, failure: &Failure) {
        if let Failure::Silent(what) = failure {
            self.set_silence(Some((Instant::now(), what.clone())));
        }
    }

    fn set_silence(&self, silence: Option<(Instant, String)>) {
        *self.silence.lock().unwrap_or_else(PoisonError::into_inner) = silence;
    }

    /// The error of a platform that follows from a failure.
    pub(super) fn error(&self, what: impl Into<String>, failure: Failure) -> PlatformError {
        match failure {
            Failure::Silent(cause) => PlatformError::Unreachable { platform: self.name.clone(), cause: cause.into() },
            Failure::Answered { message, .. } => {
                PlatformError::Refused { platform: self.name.clone(), what: what.into(), cause: message.into() }
            }
        }
    }
}
