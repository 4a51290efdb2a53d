//! What is asked of the core, and what it answers.

use std::sync::Arc;

use vamp_model::{Artifact, Kind, Violation};
use vamp_routing::wire::Generation;

use crate::deploy::DeployRequest;
use crate::persist::{Cause, PersistError};
use crate::plan::{Finding, Warning};

/// What a write does with what is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// It must not be there.
    Create,
    /// Made when it is not there, replaced when it is.
    Replace,
    /// It must be there, and goes.
    Delete,
}

/// One artifact that a change writes or deletes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct WriteRequest {
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// Its new content; `None` for [`Mode::Delete`].
    pub artifact: Option<Artifact>,
    /// What the write does with what is there.
    pub mode: Mode,
    /// The version that must be there (`If-Match`); `None`: any.
    pub expected: Option<u64>,
}

impl WriteRequest {
    /// Makes an artifact that must not be there.
    pub(crate) fn create(artifact: Artifact) -> Self {
        Self::write(artifact, Mode::Create, None)
    }

    /// Makes or replaces an artifact.
    pub(crate) fn replace(artifact: Artifact, expected: Option<u64>) -> Self {
        Self::write(artifact, Mode::Replace, expected)
    }

    /// Deletes an artifact.
    pub(crate) fn delete(kind: Kind, name: &str, expected: Option<u64>) -> Self {
        Self { kind, name: name.to_owned(), artifact: None, mode: Mode::Delete, expected }
    }

    fn write(artifact: Artifact, mode: Mode, expected: Option<u64>) -> Self {
        Self { kind: artifact.kind(), name: artifact.name().to_owned(), artifact: Some(artifact), mode, expected }
    }
}

/// Something stored that decided how a document was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Premise {
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// The version that was seen; `None`: it was not there.
    pub version: Option<u64>,
}

/// One API call: all of it happens, or nothing.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ChangeRequest {
    /// What is written, in order; an artifact occurs once.
    pub writes: Vec<WriteRequest>,
    /// What is to happen to deployments after that, in order.
    pub deploys: Vec<DeployRequest>,
    /// What the documents import, as it was when they were read: it must be so still.
    pub premises: Vec<Premise>,
    /// Everything is checked, nothing is kept.
    pub validate_only: bool,
    /// What happened, by whom and why.
    pub cause: Cause,
}

/// What became of one write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// Kind of the artifact.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// Its version after the write: the one that was there when the write changed nothing, and with `validate_only`
    /// (0 when there was none). A deletion takes a version too.
    pub version: u64,
    /// It was not there before.
    pub created: bool,
    /// It is what it was: nothing was written.
    pub unchanged: bool,
    /// It is not there any more.
    pub removed: bool,
    /// The content that was written, or that was removed, in canonical JSON.
    pub document: String,
    /// The port of a gateway that is there now.
    pub port: Option<u16>,
}

/// What a change became.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Changed {
    /// One for each write, in order.
    pub outcomes: Vec<Outcome>,
    /// What works, but most likely not as meant: of the gateways that the change touches.
    pub warnings: Vec<Warning>,
    /// Which table follows from what is stored now, or would with `validate_only`: to wait for with
    /// [`super::Core::wait_applied`].
    pub generation: Generation,
}

/// An artifact that was to be deleted, and those that need it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct InUse {
    /// Kind of the artifact.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// Who needs it: kind and name, sorted.
    pub users: Vec<(Kind, String)>,
}

impl std::fmt::Display for InUse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} `{}` is in use by ", self.kind, self.name)?;
        for (index, (kind, name)) in self.users.iter().enumerate() {
            write!(f, "{}{kind} `{name}`", if index == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

/// Why a change was not made. Nothing of it was kept.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ChangeError {
    /// Nothing is asked.
    #[error("the change has no artifact: send at least one")]
    Empty,
    /// More than one call may carry.
    #[error("the change has {count} artifacts: send at most {limit} in one call")]
    TooMany {
        /// How many.
        count: usize,
        /// How many there may be.
        limit: usize,
    },
    /// Which of the two is meant?
    #[error("the change has {kind} `{name}` twice: keep one of them")]
    Twice {
        /// Kind of the artifact.
        kind: Kind,
        /// Its name.
        name: String,
    },
    /// It was to be created.
    #[error("{kind} `{name}` exists already: replace it with PUT, or choose another name")]
    Exists {
        /// Kind of the artifact.
        kind: Kind,
        /// Its name.
        name: String,
        /// The version that is there.
        version: u64,
    },
    /// It was to be deleted, or restored.
    #[error("there is no {kind} `{name}`")]
    Missing {
        /// Kind of the artifact.
        kind: Kind,
        /// Its name.
        name: String,
    },
    /// A deployment has no such part.
    #[error("{0}")]
    NoSuchPart(String),
    /// The version that was to be restored is not there, or is a deletion.
    #[error("{kind} `{name}` has no content of version {version}: choose one from its history")]
    NoSuchVersion {
        /// Kind of the artifact.
        kind: Kind,
        /// Its name.
        name: String,
        /// The version that was asked for.
        version: u64,
    },
    /// Somebody else wrote it meanwhile.
    #[error("{kind} `{name}` is not at version {expected}, {}: read it again, and write what is still meant", found_version(*.found))]
    VersionMismatch {
        /// Kind of the artifact.
        kind: Kind,
        /// Its name.
        name: String,
        /// The version that the caller saw.
        expected: u64,
        /// The version that is there; `None` when it is not there.
        found: Option<u64>,
    },
    /// What would be stored gives no table.
    #[error("the change does not fit: {}", first_of(.0))]
    Findings(Vec<Finding>),
    /// An old version that this build no longer reads.
    #[error("version {version} of {kind} `{name}` can no longer be read: write it anew")]
    Unreadable {
        /// Kind of the artifact.
        kind: Kind,
        /// Its name.
        name: String,
        /// Its version.
        version: u64,
        /// What is wrong with it now.
        violations: Vec<Violation>,
    },
    /// An old version that is not what was written.
    #[error("version {version} of {kind} `{name}` is not what was written: {damage}")]
    Damaged {
        /// Kind of the artifact.
        kind: Kind,
        /// Its name.
        name: String,
        /// Its version.
        version: u64,
        /// What shows that.
        damage: String,
    },
    /// What others need was to be deleted.
    #[error("{}: change or delete these first, or in the same call", in_words(.0))]
    InUse(Vec<InUse>),
    /// What a document imports is not what it was when the document was read.
    #[error("{kind} `{name}` was changed while a document that imports it was read: try again")]
    Outdated {
        /// Kind of what is imported.
        kind: Kind,
        /// Its name.
        name: String,
    },
    /// Other writers were always faster.
    #[error("the database is busy with other changes, the change was tried {tries} times: try again")]
    Busy {
        /// How often it was tried.
        tries: u32,
    },
    /// What it would deploy was another each time when it had been looked up.
    #[error("others changed what is deployed while it was looked up, {tries} times: try again")]
    Overtaken {
        /// How often it was looked up.
        tries: u32,
    },
    /// The database did not do it.
    #[error(transparent)]
    Persist(Arc<PersistError>),
    /// The control plane is going down, or a fault of its own stopped the work.
    #[error("the change was not finished: the control plane is stopping")]
    Stopped,
}

impl From<PersistError> for ChangeError {
    fn from(error: PersistError) -> Self {
        Self::Persist(Arc::new(error))
    }
}

fn found_version(found: Option<u64>) -> String {
    found.map_or_else(|| "it does not exist".to_owned(), |found| format!("its version is {found}"))
}

fn first_of(findings: &[Finding]) -> String {
    let Some(first) = findings.first() else { return "no reason is known".to_owned() };
    match findings.len() {
        1 => first.violation.to_string(),
        count => format!("{} (and {} more)", first.violation, count.saturating_sub(1)),
    }
}

fn in_words(items: &[InUse]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}
