//! `coracle kubectl`: what a user types at a cluster, printed byte for byte as kubectl prints it.
//!
//! [`main`] reads the command line against the tables of [`command::ROOT`], opens a [`session::Session`] (kubeconfig, client,
//! discovery) and runs one verb. A verb is one file in `verbs/` and one line in [`verbs`]; it finds its objects through
//! `objects/`, and what it shows goes through `print/` or `describe/`. Objects are JSON values throughout; typed views
//! appear in `describe/` alone.
//!
//! Must not know: how the API is served, or that the server is Coracle. Start at `verbs/get.rs`.

mod command;
mod config;
mod describe;
mod duration;
mod failure;
mod flags;
mod objects;
mod print;
mod remote;
mod session;
mod streams;
mod verbs;

use std::process::ExitCode;

pub use streams::Streams;

/// Runs one command line (without the program's name), as the process's whole purpose.
pub fn main(arguments: Vec<String>) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: start the runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    let code = runtime.block_on(run(arguments, Streams::process()));
    // A read of standard input that nobody waits for any more must not hold the process.
    runtime.shutdown_background();
    ExitCode::from(code)
}

/// Runs one command line on the given streams. The answer is the exit code.
pub async fn run(arguments: Vec<String>, streams: Streams) -> u8 {
    match command::run(&arguments, &streams).await {
        Ok(()) => 0,
        Err(failure) => {
            let (message, code) = failure.report();
            streams.complain(&message);
            code
        }
    }
}
