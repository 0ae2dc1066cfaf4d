//! What agent and monitor say to each other: one JSON line per message, descriptors beside the first byte.

use serde::{Deserialize, Serialize};

use crate::runtime::{ExecConfig, TerminalSize};

/// One request a connection. `Exec` and `Attach` bring descriptors: stdin, stdout, stderr, those that are asked for.
#[derive(Debug, Serialize, Deserialize)]
pub enum Request {
    Create {
        id: String,
    },
    Start {
        id: String,
    },
    Kill {
        id: String,
        signal: i32,
    },
    Forget {
        id: String,
    },
    Exec {
        id: String,
        exec: ExecConfig,
    },
    Attach {
        id: String,
        exec: ExecConfig,
    },
    Resize {
        id: String,
        size: TerminalSize,
    },
    /// The connection stays open for [`Reply::Ended`].
    Subscribe,
    Shutdown,
}

#[derive(Debug, Serialize, Deserialize)]
pub enum Reply {
    Done,
    Refused {
        message: String,
    },
    /// An exec began; with a terminal, its descriptor is beside this message.
    Began {
        pid: i32,
    },
    /// The exec'd process, or the attached container, ended.
    Finished {
        code: i32,
    },
    /// A container ended (to subscribers).
    Ended {
        id: String,
        code: i32,
    },
}

pub fn to_line<T: Serialize>(message: &T) -> Vec<u8> {
    let mut line = serde_json::to_vec(message).expect("messages are plain data");
    line.push(b'\n');
    line
}

/// A request beyond this is nobody's.
pub const REQUEST_SIZE_MAX: usize = 4 << 20;
/// stdin, stdout, stderr.
pub const DESCRIPTORS_MAX: usize = 3;
