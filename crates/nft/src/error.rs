/// Why a transaction was refused, or a table could not be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel refused the transaction because of this operation (in nft's syntax).
    #[error("{operation}{}", suffix(.detail))]
    Refused {
        operation: String,
        detail: String,
        #[source]
        source: std::io::Error,
    },
    /// The fake refused it: the kernel would have done so too.
    #[error("{operation}: {reason}")]
    Invalid { operation: String, reason: String },
    /// Others changed the rules again and again while the table was read.
    #[error("list table {table}: it changes faster than it can be read")]
    Disturbed { table: String },
    #[error(transparent)]
    Netlink(#[from] netlink::Error),
}

fn suffix(detail: &str) -> String {
    match detail {
        "" => String::new(),
        detail => format!(" ({detail})"),
    }
}

impl Error {
    /// Something that the transaction names is not there.
    pub fn is_absent(&self) -> bool {
        match self {
            Self::Refused { source, .. } => source.raw_os_error() == Some(libc::ENOENT),
            Self::Invalid { reason, .. } => reason.starts_with("no such"),
            Self::Disturbed { .. } => false,
            Self::Netlink(error) => error.is_absent(),
        }
    }
}
