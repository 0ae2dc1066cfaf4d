//! Tasks of the repository. `cargo xtask help` lists them.
#![allow(clippy::disallowed_methods, reason = "a task runner runs programs")]

mod codegen;
mod image;
mod proto_tables;
mod published;
mod stats;
mod tasks;
mod tidy;
mod tools;

use std::path::PathBuf;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Tasks of the repository")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Set up this machine, build everything, start a three-node cluster and walk through it; the cluster stays
    Demo,
    /// Run every test: unit, kernel and black box (as root)
    Test,
    /// What CI runs: formatting, lints, the floors of the house, and every test
    Ci,
    /// Check the floors of the house and the licences of the dependencies
    Tidy,
    /// Build the image of examples/python-web from Debian's packages
    Image,
    /// Generate the schema tables and discovery facts from published data
    Codegen { shared: PathBuf },
    /// Fetch the clients that the tests use into target/tools
    Tools,
    /// Print the sizes of files and functions
    Stats,
    /// Measure on this machine and print a table
    Bench {
        /// Measure only the groups whose name has this text
        #[arg(long, default_value = "")]
        only: String,
    },
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().task {
        Task::Demo => tasks::demo(),
        Task::Test => tasks::test(),
        Task::Ci => tasks::ci(),
        Task::Tidy => tidy::run(),
        Task::Image => image::build().map(|path| println!("{}", path.display())),
        Task::Codegen { shared } => codegen::run(&shared),
        Task::Tools => {
            tools::all();
            Ok(())
        }
        Task::Stats => stats::run(),
        Task::Bench { only } => tasks::bench(&only),
    }
}

/// The root of the repository.
fn root() -> PathBuf {
    let own = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    own.ancestors().nth(2).expect("crates/xtask is below the root").to_path_buf()
}
