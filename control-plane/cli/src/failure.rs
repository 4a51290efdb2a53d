//! Why a verb did not do its work, and the exit code that tells scripts.

use std::path::PathBuf;

use serde_json::Value;

/// Why a verb did not do its work.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// A file can't be read.
    #[error("file `{}` {}", path.display(), unread(cause))]
    File {
        /// Which.
        path: PathBuf,
        #[source]
        cause: std::io::Error,
    },
    /// A file can't be written.
    #[error("file `{}` can't be written: check the path, its permissions and the disk", path.display())]
    Unwritten {
        /// Which.
        path: PathBuf,
        #[source]
        cause: std::io::Error,
    },
    /// `diff` found something, and has told it.
    #[error("there are differences")]
    Differences,
    /// An edit was refused.
    #[error("{cause}\nyour edit is kept in `{}`: mend it there, and write it with `vamp apply -f`", path.display())]
    Edit { path: PathBuf, cause: Box<Failure> },
    /// A stream that was followed is over.
    #[error("{what}")]
    StreamEnded { what: String },
    /// The editor did not do its work.
    #[error("the editor `{editor}` {what}: set VISUAL or EDITOR to one that works here")]
    Editor { editor: String, what: String },
    /// Ctrl-C.
    #[error("interrupted: what was sent before goes on")]
    Interrupted,
    /// What we are to send makes no sense.
    #[error("{what}")]
    Usage { what: String },
    /// The control plane can't be asked.
    #[error("the control plane at {host} can't be reached: is it running, and is --host (or VAMP_HOST) right?")]
    Unreachable {
        host: String,
        #[source]
        cause: reqwest::Error,
    },
    /// The control plane refuses.
    #[error("{}", problem_text(*status, problem))]
    Refused { status: u16, problem: Value },
    /// The wanted state was not reached in time; the change itself is kept.
    #[error("{what}")]
    NotInTime { what: String },
    /// The history is not what was written.
    #[error("the history is not what was written: {what}")]
    Unsound { what: String },
    /// A part of the product in this process did not start.
    #[error("{what}")]
    Start {
        what: &'static str,
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The terminal or pipe is gone.
    #[error("the output can't be written")]
    Output(#[from] std::io::Error),
}

impl Failure {
    /// Without lines and columns, of a body that no user has written.
    pub(crate) fn without_lines(mut self) -> Self {
        if let Self::Refused { problem, .. } = &mut self {
            let violations = problem.get_mut("violations").and_then(Value::as_array_mut);
            for violation in violations.into_iter().flatten().filter_map(Value::as_object_mut) {
                violation.retain(|member, _| member != "line" && member != "column");
            }
        }
        self
    }

    /// Whether the control plane was not there, or could not do its work: it may be back soon.
    pub(crate) fn may_pass(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Refused { status: 500.., .. })
    }

    /// The exit code, as `vamp --help` lists them.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Refused { status, .. } => match status {
                404 | 410 => 3,
                409 | 412 | 428 => 4,
                401 | 403 => 5,
                500.. => 8,
                _ => 9,
            },
            Self::Unreachable { .. } | Self::StreamEnded { .. } => 8,
            Self::NotInTime { .. } => 6,
            Self::File { .. } | Self::Usage { .. } => 2,
            Self::Interrupted => 130,
            Self::Edit { cause, .. } => cause.exit_code(),
            Self::Start { .. }
            | Self::Output(_)
            | Self::Unsound { .. }
            | Self::Unwritten { .. }
            | Self::Differences
            | Self::Editor { .. } => 1,
        }
    }
}

/// Why a file was not read, and the mend.
fn unread(cause: &std::io::Error) -> &'static str {
    match cause.kind() {
        std::io::ErrorKind::InvalidData => "is no text in UTF-8: save it in that encoding",
        _ => "can't be read: check the path and its permissions",
    }
}

/// A problem document (RFC 9457) in words: what is wrong, and each place of it.
fn problem_text(status: u16, problem: &Value) -> String {
    let member = |name: &str| problem.get(name).and_then(Value::as_str);
    let title = member("title").unwrap_or("the control plane refuses");
    let mut text = match member("detail").or_else(|| member("message")) {
        Some(detail) if detail != title => format!("{title} ({status}): {detail}"),
        _ => format!("{title} ({status})"),
    };
    for violation in problem.get("violations").and_then(Value::as_array).into_iter().flatten() {
        text.push_str("\n  ");
        text.push_str(&violation_text(violation));
    }
    text
}

/// One violation: place, message, hint.
fn violation_text(violation: &Value) -> String {
    let member = |name: &str| violation.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    let number = |name: &str| violation.get(name).and_then(Value::as_u64);
    let mut text = String::new();
    if let Some(file) = member("file") {
        text.push_str(file);
        text.push(':');
    }
    if let (Some(line), Some(column)) = (number("line"), number("column")) {
        text.push_str(&format!("{line}:{column}: "));
    } else if let Some(pointer) = member("pointer") {
        text.push_str(&format!("{pointer}: "));
    }
    text.push_str(member("message").unwrap_or("refused"));
    if let Some(hint) = member("hint") {
        text.push_str("; ");
        text.push_str(hint);
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_problem_is_told_with_every_place_and_mend() {
        let problem = json!({
            "title": "The document is refused", "detail": "2 violations",
            "violations": [
                {"pointer": "/routes", "line": 3, "column": 5, "message": "weights add up to 99 %", "hint": "make them 100 %"},
                {"pointer": "/port", "message": "taken by `shop`", "hint": "choose another"},
            ],
        });
        let told = Failure::Refused { status: 422, problem };
        assert_eq!(
            told.to_string(),
            "The document is refused (422): 2 violations\n  3:5: weights add up to 99 %; make them 100 %\n  /port: taken by `shop`; choose another"
        );
        assert_eq!(told.exit_code(), 9);
    }

    #[test]
    fn of_a_body_that_a_verb_wrote_no_line_is_told() {
        let violation = json!({"pointer": "/routes", "line": 1, "column": 304, "message": "weights add up to 99 %"});
        let refused = Failure::Refused { status: 400, problem: json!({"title": "no", "violations": [violation]}) };
        assert!(refused.to_string().contains("\n  1:304: weights"), "{refused}");
        assert_eq!(refused.without_lines().to_string(), "no (400)\n  /routes: weights add up to 99 %");
    }

    #[test]
    fn a_file_that_is_no_text_is_told_as_such() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.yaml");
        std::fs::write(&path, b"name: caf\xe9\n").unwrap();
        let told = |path: &std::path::Path| {
            let cause = std::fs::read_to_string(path).unwrap_err();
            Failure::File { path: path.to_owned(), cause }.to_string()
        };
        assert!(told(&path).contains("no text in UTF-8"), "{}", told(&path));
        assert!(told(folder.path()).contains("check the path"), "{}", told(folder.path()));
    }

    #[track_caller]
    fn check(status: u16, code: u8) {
        assert_eq!(Failure::Refused { status, problem: Value::Null }.exit_code(), code, "{status}");
    }

    #[test]
    fn exit_codes_follow_the_status() {
        for (status, code) in [(400, 9), (401, 5), (403, 5), (404, 3), (409, 4), (412, 4), (422, 9), (500, 8), (503, 8)]
        {
            check(status, code);
        }
    }
}
