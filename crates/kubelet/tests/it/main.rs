//! The kubelet against an API in memory: with the fake runtime, and with real containers of busybox.
//!
//! The test program is also the containers' monitor: it re-executes itself.

mod lifecycle;
mod real;
mod world;

use std::process::ExitCode;

pub type Test = (&'static str, Box<dyn FnOnce() + std::panic::UnwindSafe>);

fn main() -> ExitCode {
    if let Some(code) = container::dispatch(std::env::args_os()) {
        return code;
    }
    if std::env::args().any(|arg| arg == "--list") {
        return ExitCode::SUCCESS;
    }
    let wanted: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let mut failed = 0;
    for (name, test) in lifecycle::tests().into_iter().chain(real::tests()) {
        if !wanted.is_empty() && !wanted.iter().any(|word| name.contains(word.as_str())) {
            continue;
        }
        let result = std::panic::catch_unwind(test);
        println!("test {name} ... {}", if result.is_ok() { "ok" } else { "FAILED" });
        failed += usize::from(result.is_err());
    }
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
