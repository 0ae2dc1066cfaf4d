//! What the kernel says of this process, for `/metrics`.

use std::fmt::Write;

use rt::exposition::head;

/// Ticks of `/proc/self/stat` in a second: fixed for programs on Linux.
const TICKS: f64 = 100.0;

pub fn write(out: &mut String) {
    let read = |name: &str| std::fs::read_to_string(format!("/proc/{name}")).unwrap_or_default();
    let descriptors = std::fs::read_dir("/proc/self/fd").map(Iterator::count).unwrap_or(0);
    for (name, kind, help, value) in
        facts(&read("self/stat"), &read("self/status"), &read("self/limits"), &read("stat"))
    {
        head(out, name, kind, help);
        let _ = writeln!(out, "{name} {value}");
    }
    head(out, "process_open_fds", "gauge", "Number of open file descriptors.");
    let _ = writeln!(out, "process_open_fds {descriptors}");
}

type Fact = (&'static str, &'static str, &'static str, f64);

fn facts(stat: &str, status: &str, limits: &str, system: &str) -> Vec<Fact> {
    // The name of the program may hold spaces: fields are counted from behind it.
    let fields: Vec<f64> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().map(number).collect();
    let field = |index: usize| fields.get(index).copied().unwrap_or(0.0);
    let kilobytes = |key: &str| line(status, key).split_whitespace().next().map_or(0.0, number) * 1024.0;
    let boot = line(system, "btime ").trim().parse().unwrap_or(0.0);
    let descriptors = line(limits, "Max open files").split_whitespace().next().map_or(0.0, number);
    let cpu = (field(11) + field(12)) / TICKS;
    vec![
        ("process_cpu_seconds_total", "counter", "Total user and system CPU time spent in seconds.", cpu),
        ("process_resident_memory_bytes", "gauge", "Resident memory size in bytes.", kilobytes("VmRSS:")),
        ("process_virtual_memory_bytes", "gauge", "Virtual memory size in bytes.", kilobytes("VmSize:")),
        ("process_max_fds", "gauge", "Maximum number of open file descriptors.", descriptors),
        ("process_start_time_seconds", "gauge", "Start time since the epoch in seconds.", boot + field(19) / TICKS),
    ]
}

fn number(text: &str) -> f64 {
    text.parse().unwrap_or(0.0)
}

fn line<'a>(text: &'a str, key: &str) -> &'a str {
    text.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_are_found_in_the_kernels_files() {
        let stat = "7 (a (b) c) S 1 7 7 0 -1 4 9 0 1 0 150 50 0 0 20 0 8 0 1000 5 6";
        let facts =
            facts(stat, "VmSize:\t 20 kB\nVmRSS:\t 10 kB\n", "Max open files   1024   4096 files", "btime 70\n");
        let values: Vec<f64> = facts.iter().map(|(.., value)| *value).collect();
        assert_eq!(values, [2.0, 10240.0, 20480.0, 1024.0, 80.0]);
    }
}
