//! What is counted of the stored objects, once a minute.

use std::fmt::Write;

use crate::config::Storage;
use crate::flow::ResourceStats;
use crate::server::Inner;
use rt::exposition::head;

pub fn write(server: &Inner, out: &mut String) {
    let stats = server.flow.stats.load();
    let mut all: Vec<(&str, &str, ResourceStats)> = stats.iter().collect();
    all.sort_by_key(|(group, resource, _)| (*group, *resource));
    let name = "apiserver_resource_objects";
    head(out, name, "gauge", "Number of stored objects at the time of last check split by kind.");
    for (group, resource, stats) in &all {
        let _ = writeln!(out, "{name}{{group=\"{group}\",resource=\"{resource}\"}} {}", stats.objects);
    }
    let name = "apiserver_resource_size_estimate_bytes";
    head(out, name, "gauge", "Size of stored objects at the time of last check split by kind.");
    for (group, resource, stats) in &all {
        let _ = writeln!(out, "{name}{{group=\"{group}\",resource=\"{resource}\"}} {}", stats.bytes);
    }
    let name = "apiserver_storage_objects";
    head(out, name, "gauge", "Number of stored objects at the time of last check split by kind.");
    for (group, resource, stats) in &all {
        let dot = if group.is_empty() { "" } else { "." };
        let _ = writeln!(out, "{name}{{resource=\"{resource}{dot}{group}\"}} {}", stats.objects);
    }
    size(server, out);
}

/// Of the file, where there is one.
fn size(server: &Inner, out: &mut String) {
    let Storage::File(path) = &server.config.storage else { return };
    let Ok(file) = std::fs::metadata(path) else { return };
    let name = "apiserver_storage_size_bytes";
    head(out, name, "gauge", "Size of the storage database file physically allocated in bytes.");
    let _ = writeln!(out, "{name}{{storage_cluster_id=\"etcd-0\"}} {}", file.len());
}
