//! Where images come from: Debian's registry as a process of the test, what is pushed to it, and a proxy before it that
//! counts, cuts and lies. All on loopback.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::{Value, json};

use crate::tarball::{Layer, sha256};

const PROGRAM: &str = "/usr/bin/docker-registry";
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// Whether this machine has the registry; says so when it has not.
pub fn installed(test: &str) -> bool {
    let installed = Path::new(PROGRAM).exists();
    if !installed {
        eprintln!("SKIPPED: {test} needs {PROGRAM}; Debian's package docker-registry has it");
    }
    installed
}

/// An address of the loopback where nothing listens.
pub fn free_address() -> SocketAddr {
    let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    socket.local_addr().expect("bound")
}

/// A registry that runs until this value is dropped.
pub struct Registry {
    pub address: SocketAddr,
    process: Child,
}

impl Registry {
    /// One that anybody may read and write, with its content in `directory`.
    pub async fn start(directory: &Path) -> Self {
        Self::configured(directory, "", "").await
    }

    /// `http` and `auth` are lines of these sections of its configuration.
    #[expect(clippy::disallowed_methods, reason = "the test runs a real registry")]
    pub async fn configured(directory: &Path, http: &str, auth: &str) -> Self {
        let address = free_address();
        let root = directory.join("registry");
        let text = format!(
            "version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\n\
             storage: {{filesystem: {{rootdirectory: {}}}}}\nhttp:\n  addr: {address}\n  secret: test\n{http}{auth}",
            root.display()
        );
        let file = directory.join(format!("registry-{}.yml", address.port()));
        std::fs::write(&file, text).expect("written");
        let mut command = Command::new(PROGRAM);
        let log = file.with_extension("log");
        command.arg("serve").arg(&file).env_clear().stdin(Stdio::null()).stdout(Stdio::null());
        command.stderr(std::fs::File::create(&log).expect("created"));
        let mut registry = Self { address, process: command.spawn().expect("the registry starts") };
        while TcpStream::connect(address).is_err() {
            let ended = registry.process.try_wait().expect("a child");
            assert!(ended.is_none(), "the registry ended: {ended:?}: {}", std::fs::read_to_string(log).expect("read"));
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        registry
    }

    /// Pushes an image of one manifest, under a tag if it is to have one.
    pub fn push(&self, repository: &str, tag: Option<&str>, image: &Image) -> String {
        for blob in image.layers.iter().chain([&image.config]) {
            self.push_blob(repository, blob);
        }
        self.push_manifest(repository, tag, OCI_MANIFEST, image.manifest().to_string().as_bytes())
    }

    fn push_blob(&self, repository: &str, blob: &[u8]) {
        let begun = exchange(self.address, "POST", &format!("/v2/{repository}/blobs/uploads/"), "", b"");
        let location = begun.lines().find_map(|line| line.strip_prefix("Location: ")).expect("an upload").trim();
        let path = location.split_once("//").and_then(|(_, rest)| rest.find('/').map(|at| &rest[at..]));
        let path = format!("{}&digest={}", path.expect("a URL"), digest(blob));
        let done = exchange(self.address, "PUT", &path, "application/octet-stream", blob);
        assert!(done.starts_with("HTTP/1.1 201"), "{done}");
    }

    pub fn push_manifest(&self, repository: &str, tag: Option<&str>, media_type: &str, manifest: &[u8]) -> String {
        let digest = digest(manifest);
        let path = format!("/v2/{repository}/manifests/{}", tag.unwrap_or(&digest));
        let done = exchange(self.address, "PUT", &path, media_type, manifest);
        assert!(done.starts_with("HTTP/1.1 201"), "{done}");
        digest
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// One request on a connection of its own; the answer with its head.
fn exchange(address: SocketAddr, method: &str, path: &str, media_type: &str, body: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).expect("the registry listens");
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Type: {media_type}\r\n\
         Content-Length: {length}\r\n\r\n"
    );
    stream.write_all(&[head.as_bytes(), body].concat()).expect("sent");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("answered");
    String::from_utf8_lossy(&answer).into_owned()
}

pub fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", sha256(bytes))
}

/// An image as it is pushed.
pub struct Image {
    pub config: Vec<u8>,
    /// Compressed.
    pub layers: Vec<Vec<u8>>,
}

impl Image {
    pub fn new(layers: &[Layer]) -> Self {
        let diff_ids: Vec<String> = layers.iter().map(|layer| digest(&layer.bytes())).collect();
        let config = json!({"os": "linux", "config": {"Cmd": ["/bin/sh"]}, "rootfs": {"diff_ids": diff_ids}});
        Self {
            config: config.to_string().into_bytes(),
            layers: layers.iter().map(|layer| compressed(&layer.bytes())).collect(),
        }
    }

    pub fn manifest(&self) -> Value {
        let layers: Vec<Value> =
            self.layers.iter().map(|layer| descriptor("application/vnd.oci.image.layer.v1.tar+gzip", layer)).collect();
        let config = descriptor("application/vnd.oci.image.config.v1+json", &self.config);
        json!({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": layers})
    }
}

pub fn descriptor(media_type: &str, content: &[u8]) -> Value {
    json!({"mediaType": media_type, "digest": digest(content), "size": content.len()})
}

fn compressed(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).expect("to memory");
    encoder.finish().expect("to memory")
}

/// A layer that does not get small: `words` words of eight digits, the same for the same seed.
pub fn large_layer(seed: u64, words: usize) -> Layer {
    let mut state = seed;
    let mut text = String::new();
    for _ in 0..words {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        text.push_str(&format!("{:08x}", state >> 32));
    }
    Layer::new().file("large", &text)
}

/// A request, as the proxy sees it.
#[derive(Clone, Debug)]
pub struct Request {
    /// `GET /v2/…`.
    pub line: String,
    head: String,
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        let named = |line: &'_ &str| line.split(':').next().is_some_and(|found| found.eq_ignore_ascii_case(name));
        self.head.lines().find(named).and_then(|line| line.split_once(": ")).map(|(_, value)| value)
    }

    pub fn is_blob(&self) -> bool {
        self.line.contains("/blobs/")
    }

    pub fn names(&self, blob: &[u8]) -> bool {
        self.line.contains(&digest(blob))
    }
}

/// What becomes of a request.
pub enum Verdict {
    Forward,
    /// As if the registry could not send parts.
    ForwardWithoutRange,
    /// The connection ends after so many bytes of the answer's body.
    Cut(usize),
    /// The proxy answers itself, with these bytes.
    Say(Vec<u8>),
}

/// An answer of status 200 or another, in full.
pub fn answer(status: &str, headers: &str, body: &str) -> Verdict {
    let length = body.len();
    Verdict::Say(format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n{headers}\r\n{body}").into_bytes())
}

/// Stands before a registry, until it is dropped.
pub struct Proxy {
    pub address: SocketAddr,
    seen: Arc<Mutex<Vec<Request>>>,
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Proxy {
    /// `judge` gets each request, and those that came before it.
    pub fn start(
        upstream: SocketAddr,
        judge: impl Fn(&Request, &[Request]) -> Verdict + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("bound");
        let (seen, ended) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let (log, end, judge) = (seen.clone(), ended.clone(), Arc::new(judge));
        let thread = std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if end.load(Ordering::SeqCst) {
                    return;
                }
                let (log, judge) = (log.clone(), judge.clone());
                std::thread::spawn(move || {
                    let _ = serve(client, upstream, &log, &*judge);
                });
            }
        });
        Self { address, seen, ended, thread: Some(thread) }
    }

    /// The requests so far.
    pub fn requests(&self) -> Vec<Request> {
        self.seen.lock().expect("no thread panicked").clone()
    }

    pub fn count(&self, wanted: impl Fn(&Request) -> bool) -> usize {
        self.requests().iter().filter(|request| wanted(request)).count()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

fn serve(
    mut client: TcpStream,
    upstream: SocketAddr,
    seen: &Mutex<Vec<Request>>,
    judge: &dyn Fn(&Request, &[Request]) -> Verdict,
) -> std::io::Result<()> {
    let request = read_request(&mut client)?;
    let verdict = {
        let mut seen = seen.lock().expect("no thread panicked");
        let verdict = judge(&request, &seen);
        seen.push(request.clone());
        verdict
    };
    match verdict {
        Verdict::Say(bytes) => client.write_all(&bytes),
        Verdict::Forward => forward(&mut client, upstream, &request.head, usize::MAX),
        Verdict::Cut(length) => forward(&mut client, upstream, &request.head, length),
        Verdict::ForwardWithoutRange => {
            let others: Vec<&str> = request.head.split("\r\n").filter(|line| !line.starts_with("range")).collect();
            forward(&mut client, upstream, &others.join("\r\n"), usize::MAX)
        }
    }
}

fn read_request(client: &mut TcpStream) -> std::io::Result<Request> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        client.read_exact(&mut byte)?;
        head.extend(byte);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    Ok(Request { line: head.lines().next().unwrap_or_default().to_owned(), head })
}

/// Hands on the request, and of the answer its head and so much of its body.
fn forward(client: &mut TcpStream, upstream: SocketAddr, head: &str, body_max: usize) -> std::io::Result<()> {
    let mut origin = TcpStream::connect(upstream)?;
    origin.write_all(head.replacen("\r\n", "\r\nConnection: close\r\n", 1).as_bytes())?;
    let mut answer = Vec::new();
    origin.read_to_end(&mut answer)?;
    let body = answer.windows(4).position(|window| window == b"\r\n\r\n").map_or(answer.len(), |at| at + 4);
    let end = body.saturating_add(body_max).min(answer.len());
    client.write_all(&answer[..end])?;
    client.shutdown(Shutdown::Both)
}

/// A file of users for [`Registry::configured`]: `ali`, whose password is `sesame`.
pub fn htpasswd(directory: &Path) -> PathBuf {
    let path = directory.join("htpasswd");
    std::fs::write(&path, "ali:$2y$05$abcdefghijklmnopqrstuuKcS.CYWVYVaLiiCKrrc0A5s3mGesJ9O\n").expect("written");
    path
}
