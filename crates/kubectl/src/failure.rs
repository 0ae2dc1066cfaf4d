//! Why a command failed, and how kubectl words it.

use apimachinery::Status;
use client::Error as ClientError;

#[derive(Debug)]
pub enum Failure {
    /// `error: …`
    Plain(String),
    /// Printed as it is.
    Verbatim(String),
    /// The command line is wrong; with the command to ask for help.
    Usage { message: String, command: String },
    /// The server refused.
    Server(Box<Status>),
    /// The server was not reached, or not understood.
    Client(Box<ClientError>),
    /// Several at once.
    Many(Vec<Failure>),
    /// A message of its own with an exit code of its own: what a remote command left.
    Code(String, u8),
    /// All has been said.
    Exit(u8),
}

/// `Err` with a formatted [`Failure::Plain`].
macro_rules! fail {
    ($($text:tt)*) => { Err($crate::failure::Failure::Plain(format!($($text)*))) };
}
pub(crate) use fail;

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Api(status) => Self::Server(status),
            other => Self::Client(Box::new(other)),
        }
    }
}

impl From<String> for Failure {
    fn from(message: String) -> Self {
        Self::Plain(message)
    }
}

impl From<&str> for Failure {
    fn from(message: &str) -> Self {
        Self::Plain(message.to_owned())
    }
}

impl Failure {
    pub fn status(&self) -> Option<&Status> {
        match self {
            Self::Server(status) => Some(status),
            _ => None,
        }
    }

    pub fn has_reason(&self, reason: &str) -> bool {
        self.status().is_some_and(|status| status.reason == reason)
    }

    pub fn is_not_found(&self) -> bool {
        self.has_reason("NotFound")
    }

    /// Names the file that the object came from.
    #[must_use]
    pub fn with_source(self, doing: &str, source: Option<&str>) -> Self {
        let Some(source) = source else { return self };
        match self {
            Self::Server(mut status) => {
                status.message = format!("error when {doing} {source:?}: {}", status.message);
                Self::Server(status)
            }
            other => Self::Plain(format!("error when {doing} {source:?}: {}", other.text())),
        }
    }

    /// Nothing, the one, or all of them.
    pub fn all(mut failures: Vec<Failure>) -> Result<(), Failure> {
        match failures.len() {
            0 => Ok(()),
            1 => Err(failures.remove(0)),
            _ => Err(Self::Many(failures)),
        }
    }

    /// The message for standard error, and the exit code.
    pub fn report(&self) -> (String, u8) {
        match self {
            Self::Exit(code) => (String::new(), *code),
            Self::Code(message, code) => (message.clone(), *code),
            Self::Many(failures) => (failures.iter().map(|failure| failure.text() + "\n").collect(), 1),
            Self::Server(status) if status.reason == "Invalid" => (invalid(status), 1),
            Self::Plain(message) if !message.starts_with("error: ") => (format!("error: {message}"), 1),
            other => (other.text(), 1),
        }
    }

    /// As it stands in another message: a refusal without who refused.
    pub fn bare(&self) -> String {
        match self {
            Self::Server(status) => status.message.clone(),
            Self::Many(failures) if failures.len() > 1 => {
                format!("[{}]", failures.iter().map(Self::bare).collect::<Vec<_>>().join(", "))
            }
            other => other.text(),
        }
    }

    /// Without the prefix that a lone message gets.
    pub fn text(&self) -> String {
        match self {
            Self::Plain(message) | Self::Verbatim(message) | Self::Code(message, _) => message.clone(),
            Self::Usage { message, command } => {
                format!("error: {message}\nSee '{command} -h' for help and examples")
            }
            Self::Server(status) => refused(status),
            Self::Client(error) => unreached(error),
            Self::Many(failures) if failures.len() == 1 => failures[0].text(),
            Self::Many(failures) => {
                format!("[{}]", failures.iter().map(Self::text).collect::<Vec<_>>().join(", "))
            }
            Self::Exit(_) => String::new(),
        }
    }
}

fn refused(status: &Status) -> String {
    match status.reason.as_str() {
        "Unauthorized" => format!("error: You must be logged in to the server ({})", status.message),
        "" => format!("Error from server: {}", status.message),
        reason => format!("Error from server ({reason}): {}", status.message),
    }
}

fn unreached(error: &ClientError) -> String {
    let root = root_cause(error);
    match error {
        ClientError::Transport(client::TransportError::Connect { server, .. }) if root.contains("refused") => {
            let host = server.split("://").last().unwrap_or(server).trim_end_matches('/');
            format!("The connection to the server {host} was refused - did you specify the right host or port?")
        }
        ClientError::Transport(_) => format!("Unable to connect to the server: {root}"),
        _ => format!("error: {error}: {root}"),
    }
}

fn root_cause(error: &ClientError) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

fn invalid(status: &Status) -> String {
    let Some(details) = &status.details else {
        return format!("The request is invalid: {}", status.message);
    };
    let mut causes: Vec<String> = Vec::new();
    for cause in &details.causes {
        let text = format!("{}: {}", cause.field, cause.message);
        if !causes.contains(&text) {
            causes.push(text);
        }
    }
    let mut message = String::from("The request is invalid");
    if !details.kind.is_empty() || !details.name.is_empty() {
        message = format!("The {} {:?} is invalid", details.kind, details.name);
    } else if causes.is_empty() && !status.message.is_empty() {
        message = format!("The request is invalid: {}", status.message);
    }
    match causes.as_slice() {
        [] => message,
        // Some causes end their own line; upstream ends it once more.
        [one] => format!("{message}: {one}\n"),
        many => format!("{message}: \n{}", many.iter().map(|cause| format!("* {cause}\n")).collect::<String>()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_worded_as_by_kubectl() {
        let missing = Failure::Server(Box::new(Status::failure(404, "NotFound", "pods \"x\" not found")));
        assert_eq!(missing.report().0, "Error from server (NotFound): pods \"x\" not found");
        let sourced = missing.with_source("creating", Some("a.yaml"));
        assert_eq!(
            sourced.report().0,
            "Error from server (NotFound): error when creating \"a.yaml\": pods \"x\" not found"
        );
        let many = Failure::Many(vec!["a".into(), "b".into()]);
        assert_eq!(many.report(), ("a\nb\n".into(), 1));
        assert_eq!(Failure::from("no").report().0, "error: no");
    }
}
