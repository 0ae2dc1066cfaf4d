//! What the machine is and has, read from the kernel.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// A snapshot of the machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Machine {
    pub cpus: u64,
    pub memory_bytes: u64,
    pub memory_available: u64,
    pub disk_bytes: u64,
    pub disk_available: u64,
    pub pids_available: u64,
    pub pids_max: u64,
    /// Bytes of preallocated huge pages, by page size in kB.
    pub huge_pages: BTreeMap<u64, u64>,
    pub kernel: String,
    pub os_image: String,
    pub machine_id: String,
    pub system_uuid: String,
    pub boot_id: String,
    pub architecture: &'static str,
}

pub fn observe(data_dir: &Path) -> Machine {
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let (disk_bytes, disk_available) = disk(data_dir);
    let load = read("/proc/loadavg");
    let running: u64 = load.split(' ').nth(3).and_then(|pair| pair.split('/').nth(1)?.parse().ok()).unwrap_or(0);
    let pids_max: u64 = read("/proc/sys/kernel/pid_max").parse().unwrap_or(32_768);
    Machine {
        cpus: std::thread::available_parallelism().map_or(1, |count| count.get() as u64),
        memory_bytes: meminfo(&memory, "MemTotal"),
        memory_available: meminfo(&memory, "MemAvailable"),
        disk_bytes,
        disk_available,
        pids_available: pids_max.saturating_sub(running),
        pids_max,
        huge_pages: huge_pages(),
        kernel: read("/proc/sys/kernel/osrelease"),
        os_image: os_image(&fs::read_to_string("/etc/os-release").unwrap_or_default()),
        machine_id: read("/etc/machine-id"),
        system_uuid: read("/sys/class/dmi/id/product_uuid"),
        boot_id: read("/proc/sys/kernel/random/boot_id"),
        architecture: architecture(),
    }
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

fn meminfo(text: &str, key: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
    let kilobytes: u64 = line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0);
    kilobytes * 1024
}

fn disk(path: &Path) -> (u64, u64) {
    rustix::fs::statvfs(path).map_or((0, 0), |stat| (stat.f_blocks * stat.f_frsize, stat.f_bavail * stat.f_frsize))
}

fn huge_pages() -> BTreeMap<u64, u64> {
    let Ok(entries) = fs::read_dir("/sys/kernel/mm/hugepages") else { return BTreeMap::new() };
    let one = |entry: fs::DirEntry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        let size: u64 = name.strip_prefix("hugepages-")?.strip_suffix("kB")?.parse().ok()?;
        let count: u64 = fs::read_to_string(entry.path().join("nr_hugepages")).ok()?.trim().parse().ok()?;
        Some((size, count * size * 1024))
    };
    entries.flatten().filter_map(one).collect()
}

fn os_image(text: &str) -> String {
    let name = text.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    name.map_or_else(|| "Linux".to_owned(), |name| name.trim_matches('"').to_owned())
}

fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_texts_are_read() {
        assert_eq!(meminfo("MemTotal:       1024 kB\nMemAvailable: 512 kB\n", "MemAvailable"), 512 * 1024);
        assert_eq!(os_image("ID=debian\nPRETTY_NAME=\"Debian GNU/Linux 13\"\n"), "Debian GNU/Linux 13");
        let machine = observe(Path::new("/"));
        assert!(machine.cpus > 0 && machine.memory_bytes > 0 && machine.disk_bytes > 0);
    }
}
