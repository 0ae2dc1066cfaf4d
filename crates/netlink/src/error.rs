use std::io;
use std::path::PathBuf;

/// What the kernel refused, and what was asked of it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel understood the request and refused it; `detail` is its own explanation, often empty.
    #[error("{operation}{}", detail_suffix(.detail))]
    Refused {
        operation: String,
        detail: String,
        #[source]
        source: io::Error,
    },
    #[error("open a netlink socket")]
    Open(#[source] io::Error),
    #[error("{operation}: exchange with the kernel")]
    Exchange {
        operation: String,
        #[source]
        source: io::Error,
    },
    #[error("{operation}: the kernel's answer cannot be decoded: {detail}")]
    Decode { operation: String, detail: String },
    #[error("no link named {0:?}")]
    NoLink(String),
    #[error("network namespace {path}: {action}", path = path.display())]
    Namespace {
        path: PathBuf,
        action: &'static str,
        #[source]
        source: io::Error,
    },
    #[error("set {key} to {value}")]
    Sysctl {
        key: String,
        value: String,
        #[source]
        source: io::Error,
    },
}

fn detail_suffix(detail: &str) -> String {
    match detail {
        "" => String::new(),
        detail => format!(" ({detail})"),
    }
}

impl Error {
    /// The errno behind the error, where there is one.
    pub fn errno(&self) -> Option<i32> {
        match self {
            Self::Refused { source, .. } | Self::Exchange { source, .. } | Self::Open(source) => source.raw_os_error(),
            Self::Namespace { source, .. } | Self::Sysctl { source, .. } => source.raw_os_error(),
            Self::Decode { .. } | Self::NoLink(_) => None,
        }
    }

    /// The thing to be made is there already.
    pub fn is_exists(&self) -> bool {
        self.errno() == Some(libc::EEXIST)
    }

    /// The thing to be changed or removed is not there.
    pub fn is_absent(&self) -> bool {
        const ABSENT: [i32; 5] = [libc::ENOENT, libc::ESRCH, libc::ENODEV, libc::EADDRNOTAVAIL, libc::ENXIO];
        matches!(self, Self::NoLink(_)) || self.errno().is_some_and(|errno| ABSENT.contains(&errno))
    }
}

/// Makes removal idempotent: what is gone already counts as removed.
pub(crate) fn absent_is_done(result: Result<(), Error>) -> Result<(), Error> {
    match result {
        Err(error) if error.is_absent() => Ok(()),
        other => other,
    }
}
