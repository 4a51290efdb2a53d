//! Why a platform did not do it.

use std::path::PathBuf;

use super::SpecError;

/// What a driver was told by the product behind it.
pub(super) type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Why a platform did not do it. No variant repeats a value of an environment variable.
#[derive(Debug, thiserror::Error)]
pub enum PlatformError {
    /// It can't be asked now: nothing is known of its instances, and nothing of the outcome.
    #[error("platform {platform} does not answer: its instances are unknown until it does; is it running?")]
    Unreachable {
        /// Driver and address, without credentials.
        platform: String,
        /// What happened.
        #[source]
        cause: Cause,
    },
    /// It answers, and will not do it.
    #[error("platform {platform} refuses to {what}")]
    Refused {
        /// Driver and address, without credentials.
        platform: String,
        /// What it was asked.
        what: String,
        /// What it said.
        #[source]
        cause: Cause,
    },
    /// The order makes no sense.
    #[error("instance `{id}` can't be started")]
    Spec {
        /// Which.
        id: String,
        /// What is wrong, and the mend.
        #[source]
        cause: SpecError,
    },
    /// Another driver runs such a thing.
    #[error("platform {platform} does not run {what}: use one of {known}")]
    Unsupported {
        /// Driver and address, without credentials.
        platform: String,
        /// The type of deployable.
        what: String,
        /// What it runs.
        known: &'static str,
    },
    /// No such program.
    #[error("command `{command}` of instance `{id}` is not a program on its platform: correct the name, or install it")]
    UnknownCommand {
        /// Which.
        id: String,
        /// The program.
        command: String,
    },
    /// Nobody knows whether there is such a program.
    #[error(
        "command `{command}` of instance `{id}` could not be looked up within {seconds} s: see whether the file systems of \
         its folder, its program and `PATH` answer"
    )]
    Unseen {
        /// Which.
        id: String,
        /// The program.
        command: String,
        /// How long was waited, in seconds.
        seconds: u64,
    },
    /// No such image.
    #[error("image `{image}` can't be fetched: correct the name, or give access to its registry (`--docker-config`)")]
    UnknownImage {
        /// The image.
        image: String,
        /// What the platform said.
        #[source]
        cause: Cause,
    },
    /// The image is not there, and its registry can't be asked.
    #[error("image `{image}` can't be fetched now: is its registry running, and reached from the platform?")]
    NotFetched {
        /// The image.
        image: String,
        /// What the platform said.
        #[source]
        cause: Cause,
    },
    /// A port of the host that is wanted has another owner.
    #[error("port {port} of the host is taken by {owner}: choose another one, or let the platform choose")]
    PortTaken {
        /// The port.
        port: u16,
        /// Who has it.
        owner: String,
    },
    /// No port of the range is free.
    #[error("no port from {first} to {last} is free: remove instances, or widen the range")]
    NoPort {
        /// First of the range.
        first: u16,
        /// Last of the range.
        last: u16,
    },
    /// It runs by another order than this one.
    #[error("instance `{id}` runs by another specification: remove it first, or give the new one another id")]
    Changed {
        /// Which.
        id: String,
    },
    /// Something that is not ours has its name.
    #[error("`{name}` on platform {platform} does not belong to this namespace: rename it, or remove it by hand")]
    NotOurs {
        /// Its name there.
        name: String,
        /// Driver and address, without credentials.
        platform: String,
    },
    /// No such instance.
    #[error("there is no instance `{id}`")]
    NotFound {
        /// Which.
        id: String,
    },
    /// It is there and does not run, so that nothing can be run beside it.
    #[error("instance `{id}` does not run")]
    NotRunning {
        /// Which.
        id: String,
    },
    /// It did not do what it does within a bounded time.
    #[error("instance `{id}` did not {what} within {seconds} s")]
    Late {
        /// Which.
        id: String,
        /// What was waited for.
        what: &'static str,
        /// How long, in seconds.
        seconds: u64,
    },
    /// What is kept of an instance can't be read or written.
    #[error("`{}` can't be used: check its permissions and the space on its disk", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the system said.
        #[source]
        cause: std::io::Error,
    },
    /// Another program uses the folder of instances.
    #[error("`{}` is used by another control plane: give each its own folder", path.display())]
    InUse {
        /// Which.
        path: PathBuf,
    },
}
