//! What is printed.

use std::fs;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use e2e::cluster::{binary, succeeded};

use crate::IDLE;

/// Clock ticks a second, in which the kernel counts a process's time for its readers: the same on every Linux.
const TICKS: f64 = 100.0;

/// The rows, printed as they come.
pub struct Table;

impl Table {
    pub fn begin() -> Result<Self> {
        let commit = Command::new("git").args(["rev-parse", "--short=12", "HEAD"]).output()?;
        let commit = succeeded("git rev-parse", &commit).unwrap_or_else(|_| "unknown".to_owned());
        println!("Commit {}, `{}`.  ", commit.trim(), binary().file_name().unwrap_or_default().to_string_lossy());
        println!("{}.\n\n| what | measured |\n|---|---|", machine()?);
        Ok(Self)
    }

    pub fn row(&mut self, what: &str, measured: &str) {
        println!("| {what} | {measured} |");
    }

    /// Rows that stand or fall together: a group that fails says so and leaves the others.
    pub fn group(&mut self, name: &str, measure: impl FnOnce(&mut Self) -> Result<()>) {
        if let Err(error) = measure(self) {
            eprintln!("FAILED: {name}: {error:#}");
            self.row(name, "failed");
        }
    }

    pub fn skip(&mut self, what: &str, why: &str) {
        eprintln!("SKIPPED: {what}: {why}");
        self.row(what, &format!("skipped: {why}"));
    }
}

fn machine() -> Result<String> {
    let value = |path: &str, name: &str| -> Result<String> {
        let text = fs::read_to_string(path).with_context(|| format!("read {path}"))?;
        let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        Ok(line.split_once(':').map_or("unknown", |(_, value)| value.trim()).to_owned())
    };
    let cores = std::thread::available_parallelism()?;
    let memory = value("/proc/meminfo", "MemTotal")?;
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    Ok(format!("{} × {cores}, {memory}, Linux {}", value("/proc/cpuinfo", "model name")?, kernel.trim()))
}

pub fn usage(memory: u64, ticks: u64) -> String {
    let share = ticks as f64 / TICKS / IDLE.as_secs_f64() * 100.0;
    format!("{:.1} MB, {share:.1} % of a core", memory as f64 / 1e6)
}

pub fn percentiles(times: &mut [Duration]) -> String {
    times.sort_unstable();
    let at = |percent: usize| {
        times.get((times.len() * percent / 100).min(times.len().saturating_sub(1))).copied().unwrap_or_default()
    };
    let text = |time: Duration| format!("{:.1} ms", time.as_secs_f64() * 1e3);
    format!("p50 {}, p99 {}", text(at(50)), text(at(99)))
}

pub fn milliseconds(duration: Duration) -> String {
    format!("{:.0} ms", duration.as_secs_f64() * 1e3)
}

pub fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}

pub fn median(mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    format!("median {:.1} ms", times.get(times.len() / 2).copied().unwrap_or_default().as_secs_f64() * 1e3)
}

pub fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}
