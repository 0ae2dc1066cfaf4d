//! Where a command reads and writes.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::failure::Failure;

type Sink = Arc<Mutex<dyn Write + Send>>;

/// Standard output and error of a command, and its environment. Cheap to clone.
#[derive(Clone)]
pub struct Streams {
    out: Sink,
    err: Sink,
    /// What the environment is to say in place of the process's own.
    variables: Arc<BTreeMap<String, String>>,
}

impl Streams {
    /// The process's own.
    pub fn process() -> Self {
        Self::new(std::io::stdout(), std::io::stderr())
    }

    pub fn new(out: impl Write + Send + 'static, err: impl Write + Send + 'static) -> Self {
        Self { out: Arc::new(Mutex::new(out)), err: Arc::new(Mutex::new(err)), variables: Arc::default() }
    }

    /// With these variables in the environment.
    #[must_use]
    pub fn with_variables(self, variables: BTreeMap<String, String>) -> Self {
        Self { variables: Arc::new(variables), ..self }
    }

    /// A variable of the environment, unless it is empty.
    pub fn variable(&self, name: &str) -> Option<String> {
        let own = || std::env::var(name).ok();
        self.variables.get(name).cloned().or_else(own).filter(|value| !value.is_empty())
    }

    /// With errors told among the output.
    pub(crate) fn errors_in_output(&self) -> Self {
        Self { err: self.out.clone(), ..self.clone() }
    }

    /// Writes at once. A reader that went away ends the command silently.
    pub fn print(&self, bytes: impl AsRef<[u8]>) -> Result<(), Failure> {
        let mut out = self.out.lock();
        out.write_all(bytes.as_ref()).and_then(|()| out.flush()).map_err(|_| Failure::Exit(1))
    }

    /// One line.
    pub fn line(&self, line: impl AsRef<str>) -> Result<(), Failure> {
        self.print(format!("{}\n", line.as_ref()))
    }

    pub fn print_error(&self, bytes: impl AsRef<[u8]>) {
        let mut err = self.err.lock();
        // There is nobody left to tell.
        let _ = err.write_all(bytes.as_ref()).and_then(|()| err.flush());
    }

    /// One line to standard error.
    pub fn note(&self, line: impl AsRef<str>) {
        self.print_error(format!("{}\n", line.as_ref()));
    }

    /// A message that ends in exactly one line end, unless it is empty.
    pub(crate) fn complain(&self, message: &str) {
        if !message.is_empty() {
            self.print_error(if message.ends_with('\n') { message.to_owned() } else { format!("{message}\n") });
        }
    }
}
