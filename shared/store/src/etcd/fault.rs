//! What an answer of etcd means for the contract. Nothing of a request is repeated in a cause: it could hold a password.

use std::error::Error;

use crate::{Position, StoreError};

// gRPC status codes, by their numbers in the gRPC specification.
const INVALID_ARGUMENT: i32 = 3;
const NOT_FOUND: i32 = 5;
const PERMISSION_DENIED: i32 = 7;
const RESOURCE_EXHAUSTED: i32 = 8;
const FAILED_PRECONDITION: i32 = 9;
const OUT_OF_RANGE: i32 = 11;
const UNAUTHENTICATED: i32 = 16;

/// Why a call failed.
#[derive(Debug)]
pub(super) enum Fault {
    /// The asked history is gone.
    Compacted,
    /// The lease is unknown.
    LeaseEnded,
    /// Who we are is refused.
    Denied(String),
    /// The token is no longer good; a new one may be.
    StaleLogin(String),
    /// It answers, and will not do it.
    Refused(String),
    /// No answer; whether the request arrived is known only when `is_unsent`.
    Lost { reason: String, is_unsent: bool },
}

impl Fault {
    pub(super) fn of(error: &etcd_client::Error) -> Self {
        let status = match error {
            etcd_client::Error::GRpcStatus(status) => status,
            etcd_client::Error::LeaseKeepAliveError(reason) if reason.contains("not found") => return Self::LeaseEnded,
            other => return Self::lost(other),
        };
        let said = status.message();
        match i32::from(status.code()) {
            UNAUTHENTICATED => Self::StaleLogin(said.to_owned()),
            INVALID_ARGUMENT if said.contains("auth store is old") => Self::StaleLogin(said.to_owned()),
            INVALID_ARGUMENT if said.contains("authentication failed") || said.contains("user name is empty") => {
                Self::Denied(said.to_owned())
            }
            PERMISSION_DENIED => Self::Denied(said.to_owned()),
            FAILED_PRECONDITION if said.contains("authentication is not enabled") => {
                Self::Denied(format!("{said}: enable it there, or remove `user=` from the store's URL"))
            }
            NOT_FOUND if said.contains("lease") => Self::LeaseEnded,
            OUT_OF_RANGE if said.contains("compacted") => Self::Compacted,
            INVALID_ARGUMENT | NOT_FOUND | RESOURCE_EXHAUSTED | FAILED_PRECONDITION | OUT_OF_RANGE => {
                Self::Refused(said.to_owned())
            }
            _ => Self::lost(status),
        }
    }

    fn lost(error: &(dyn Error + 'static)) -> Self {
        let mut chain = vec![error];
        let mut next = error.source();
        while let Some(cause) = next {
            chain.push(cause);
            next = cause.source();
        }
        let mut reason = String::new();
        for text in chain.iter().map(|error| headline(*error)) {
            if !reason.contains(&text) {
                reason = if reason.is_empty() { text } else { format!("{reason}: {text}") };
            }
        }
        if ["certificate", "UnknownIssuer", "HandshakeFailure"].iter().any(|word| reason.contains(word)) {
            return Self::Denied(reason);
        }
        let is_unsent = chain.iter().filter_map(|error| error.downcast_ref::<std::io::Error>()).any(|error| {
            use std::io::ErrorKind::{AddrNotAvailable, ConnectionRefused, HostUnreachable, NetworkUnreachable};
            matches!(error.kind(), ConnectionRefused | HostUnreachable | NetworkUnreachable | AddrNotAvailable)
        });
        Self::Lost { reason, is_unsent }
    }

    pub(super) fn timed_out(after: std::time::Duration) -> Self {
        Self::Lost { reason: format!("no answer within {} s", after.as_secs_f32()), is_unsent: false }
    }

    /// In the words of the contract.
    pub(super) fn into_error(self, address: &str) -> StoreError {
        let address = address.to_owned();
        match self {
            // Only watches ask for history; they name their position themselves.
            Self::Compacted => StoreError::Compacted { from: Position(0) },
            Self::LeaseEnded => StoreError::LeaseEnded,
            Self::Denied(reason) | Self::StaleLogin(reason) => StoreError::Denied { cause: reason.into() },
            Self::Refused(reason) => StoreError::Refused { address, cause: reason.into() },
            Self::Lost { reason, .. } => StoreError::Unreachable { address, cause: reason.into() },
        }
    }
}

/// A status prints its metadata too; its message is enough.
fn headline(error: &(dyn Error + 'static)) -> String {
    if let Some(etcd_client::Error::GRpcStatus(status)) = error.downcast_ref::<etcd_client::Error>() {
        return status.message().to_owned();
    }
    let text = error.to_string();
    text.split_once(", message: \"")
        .and_then(|(_, rest)| rest.split_once('"'))
        .map_or(text.clone(), |(said, _)| said.to_owned())
}
