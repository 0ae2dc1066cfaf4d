//! Logs: to standard error, one line an event.

use tracing_subscriber::EnvFilter;

/// `CORACLE_LOG` chooses what is logged, in the form of `RUST_LOG`.
pub fn start() {
    let filter = EnvFilter::try_from_env("CORACLE_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(terminal)
        .with_target(false)
        .init();
}
