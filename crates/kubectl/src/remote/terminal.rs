//! The user's terminal, in raw mode while a remote program has it.

use std::io::IsTerminal;

use futures::stream::{FuturesUnordered, StreamExt};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use tokio::signal::unix::{SignalKind, signal};

/// Restores the terminal when dropped.
pub struct RawTerminal {
    before: Termios,
}

impl RawTerminal {
    /// `None` when standard input is no terminal.
    pub fn enter() -> Option<Self> {
        let input = std::io::stdin();
        if !input.is_terminal() {
            return None;
        }
        let before = tcgetattr(&input).ok()?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(&input, OptionalActions::Now, &raw).ok()?;
        Some(Self { before })
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        // There is no other way to say it if even this fails.
        let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, &self.before);
    }
}

/// Resolves when this process is told to end while it has the terminal, which must be put in order first.
pub async fn ended(has_terminal: bool) {
    let kinds = [SignalKind::terminate(), SignalKind::hangup(), SignalKind::interrupt(), SignalKind::quit()];
    let mut signals: Vec<_> = kinds.into_iter().filter(|_| has_terminal).filter_map(|kind| signal(kind).ok()).collect();
    let first = signals.iter_mut().map(|signal| Box::pin(signal.recv())).collect::<FuturesUnordered<_>>();
    if first.into_future().await.0.flatten().is_none() {
        std::future::pending::<()>().await;
    }
}

/// Columns and rows of the terminal that output goes to.
pub fn size() -> Option<(u16, u16)> {
    let size = tcgetwinsize(std::io::stdout()).or_else(|_| tcgetwinsize(std::io::stdin())).ok()?;
    Some((size.ws_col, size.ws_row))
}
