//! The built-in image: a root file system that holds our own binary and nothing else.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde_json::json;

use crate::content::Content;
use crate::digest;
use crate::manifest::architecture;

/// Directories that a container mounts over, and a place for temporary files.
const DIRECTORIES: [&str; 6] = ["dev", "etc", "proc", "sys", "tmp", "var"];
const PASSWD: &str = "root:x:0:0:root:/:/coracle\nnonroot:x:65532:65532:nonroot:/:/coracle\n";
const GROUP: &str = "root:x:0:\nnonroot:x:65532:\n";

/// Enters the image under `tag`, its file `/coracle` sharing its pages with `binary` where the file system can link.
pub(crate) fn enter(content: &Content, tag: &str, binary: &Path) -> io::Result<String> {
    let stat = fs::metadata(binary)?;
    let identity = format!("{}:{}:{}:{}", stat.dev(), stat.ino(), stat.size(), stat.mtime_nsec());
    let layer = digest::of(identity.as_bytes());
    if !content.has_layer(&layer) {
        place(content, &layer, binary)?;
    }
    let config = json!({
        "architecture": architecture(),
        "os": "linux",
        "config": {"Entrypoint": ["/coracle"], "WorkingDir": "/", "Env": ["PATH=/"]},
        "rootfs": {"type": "layers", "diff_ids": [layer]},
    });
    content.enter(config.to_string().as_bytes(), Some(tag), None)
}

fn place(content: &Content, layer: &str, binary: &Path) -> io::Result<()> {
    let directory = content.temporary();
    fs::create_dir(&directory)?;
    for name in DIRECTORIES {
        fs::create_dir(directory.join(name))?;
    }
    fs::write(directory.join("etc/passwd"), PASSWD)?;
    fs::write(directory.join("etc/group"), GROUP)?;
    if fs::hard_link(binary, directory.join("coracle")).is_err() {
        fs::copy(binary, directory.join("coracle"))?;
    }
    match fs::rename(&directory, content.layer(layer)) {
        Err(_) if content.has_layer(layer) => fs::remove_dir_all(&directory),
        result => result,
    }
}
