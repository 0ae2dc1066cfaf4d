//! What people write into files: settings, manifests, templates, images.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use auth::oidc::AuthenticationConfiguration;
use image::{Images, Registries};
use tempfile::TempDir;

use crate::pipeline::block_on;

const OBJECT: &str = r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"p"},"spec":{"x":null,"f":1.5,
    "containers":[{"name":"c","image":"i","ports":[{"containerPort":80}]},{"name":"d"}]}}"#;

/// A file with this content, in a directory of the process.
fn file(name: &str, content: &[u8]) -> PathBuf {
    static DIRECTORY: OnceLock<TempDir> = OnceLock::new();
    let directory = DIRECTORY.get_or_init(|| tempfile::tempdir().expect("there is a place for temporary files"));
    let path = directory.path().join(name);
    std::fs::write(&path, content).expect("a temporary file can be written");
    path
}

/// Whatever it is given, it ends with a word, not with a panic.
fn kubectl(words: &[&str], file: &Path) {
    let streams = kubectl::Streams::new(std::io::sink(), std::io::sink());
    let path = file.display().to_string();
    let line = words.iter().map(|word| word.replace("{file}", &path)).collect();
    block_on(kubectl::run(line, streams));
}

fn annotate(output: &str) {
    kubectl(
        &["--kubeconfig=/dev/null", "annotate", "--local", "a=b", "-f={file}", output],
        &file("object", OBJECT.as_bytes()),
    );
}

/// What counts to a million takes its time, as it should.
fn counts_far(text: &str) -> bool {
    let is_long = |digits: &str| digits.len() > 3 || digits.contains(['x', 'e', 'E']);
    text.contains("range")
        && text
            .split(|next: char| !next.is_ascii_alphanumeric())
            .any(|word| word.starts_with(|first: char| first.is_ascii_digit()) && is_long(word))
}

pub fn go_template(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    if !counts_far(text) {
        annotate(&format!("-o=go-template={text}"));
    }
}

pub fn json_path(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    annotate(&format!("-o=jsonpath={text}"));
}

pub fn manifest(input: &[u8]) {
    kubectl(&["--kubeconfig=/dev/null", "label", "--local", "a=b", "-f={file}", "-o=yaml"], &file("manifest", input));
}

pub fn kubeconfig(input: &[u8]) {
    let file = file("kubeconfig", input);
    kubectl(&["--kubeconfig={file}", "config", "view", "--flatten", "--minify"], &file);
    kubectl(&["--kubeconfig={file}", "config", "get-contexts"], &file);
}

pub fn admission_configuration(input: &[u8]) {
    let _ = admission::Configuration::load(Some(&file("admission", input)), &[], &[]);
}

pub fn authentication_configuration(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let Ok(configuration) = serde_saphyr::from_str::<AuthenticationConfiguration>(text) else { return };
    let _ = configuration.compile(&["https://kubernetes.default.svc".to_owned()]);
}

/// A manifest, a configuration and a layer, with zeros between them. What is refused leaves nothing.
pub fn image_archive(input: &[u8]) {
    let mut archive = tar::Builder::new(Vec::new());
    for (name, content) in ["manifest.json", "config.json", "layer.tar"].iter().zip(input.splitn(3, |byte| *byte == 0))
    {
        let mut header = tar::Header::new_gnu();
        header.set_size(u64::try_from(content.len()).expect("it is short"));
        header.set_mode(0o644);
        archive.append_data(&mut header, name, content).expect("memory takes all");
    }
    let path = file("archive", &archive.into_inner().expect("memory takes all"));
    let directory = tempfile::tempdir().expect("there is a place for temporary files");
    let part = |name: &str| directory.path().join(name);
    let config =
        image::Config { content: part("content"), snapshots: part("snapshots"), registries: Registries::default() };
    let images = Images::open(config).expect("an empty directory can be used");
    let _ = block_on(images.import(&path));
}
