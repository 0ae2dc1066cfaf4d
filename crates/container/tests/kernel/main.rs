//! One suite for the seam, on the fake runtime and on the real one; and what only the real one can show.
//!
//! The test program is also the monitor: it re-executes itself.

mod real;
mod suite;
mod world;

use std::process::ExitCode;

fn main() -> ExitCode {
    if let Some(code) = container::dispatch(std::env::args_os()) {
        return code;
    }
    let wanted: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    if std::env::args().any(|arg| arg == "--list") {
        return ExitCode::SUCCESS;
    }
    let mut failed = 0;
    let tests = suite::tests().into_iter().chain(real::tests());
    for (name, test) in tests.filter(|(name, _)| wanted.is_empty() || wanted.iter().any(|w| name.contains(w.as_str())))
    {
        let result = std::panic::catch_unwind(test);
        println!("test {name} ... {}", if result.is_ok() { "ok" } else { "FAILED" });
        failed += usize::from(result.is_err());
    }
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
