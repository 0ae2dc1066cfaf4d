//! Runs targets for a time: `cargo run --release --package fuzz -- --seconds 3600 [TARGET…]`.

use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use clap::Parser;
use fuzz::{Mutator, Target};

#[derive(Parser)]
struct Arguments {
    /// For each target
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// The same seed makes the same inputs
    #[arg(long)]
    seed: Option<u64>,
    /// All, if none is named
    targets: Vec<String>,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let seed = arguments.seed.unwrap_or_else(rand::random);
    let wanted =
        |target: &Target| arguments.targets.is_empty() || arguments.targets.iter().any(|name| name == target.name);
    for target in fuzz::all().into_iter().filter(wanted) {
        let count = run(&target, seed, Duration::from_secs(arguments.seconds))?;
        writeln!(std::io::stdout(), "{}: {count} inputs of seed {seed}, nothing found", target.name)?;
    }
    Ok(())
}

/// Until the time is over, or an input is found that must not panic and does.
fn run(target: &Target, seed: u64, time: Duration) -> Result<u64> {
    let (mut mutator, began, mut count) = (Mutator::new(seed, target.seeds), Instant::now(), 0);
    while began.elapsed() < time {
        let input = mutator.input();
        if catch_unwind(AssertUnwindSafe(|| (target.run)(&input))).is_err() {
            bail!("{} fails on {}", target.name, input.escape_ascii());
        }
        count += 1;
    }
    Ok(count)
}
