//! Manifests on the web, and many in a file or a directory: both read the same.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use rt::TaskSet;
use tokio::net::TcpListener;

use super::compare::{OURS, REAL, compare, ours, real_kubectl, release};
use super::server::Cluster;

const MANIFEST: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: web}\n---\n# nothing\n---\napiVersion: v1\n\
     kind: List\nitems:\n- {apiVersion: v1, kind: ConfigMap, metadata: {name: one}}\n\
     - {apiVersion: v1, kind: ConfigMap, metadata: {name: two}, data: {n: \"1\"}}\n";

/// A web server that counts who asked for what.
#[derive(Clone, Default)]
struct Web {
    asked: Arc<Mutex<BTreeMap<String, usize>>>,
}

impl Web {
    async fn start(&self, tasks: &TaskSet) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (web, connections) = (self.clone(), tasks.clone());
        tasks.spawn_until_cancelled("web", async move {
            while let Ok((stream, _)) = listener.accept().await {
                let web = web.clone();
                connections.spawn_until_cancelled("connection", async move {
                    let service = hyper::service::service_fn(|request| {
                        let answer = web.answer(&request);
                        async move { Ok::<_, Infallible>(answer) }
                    });
                    // A client may leave when it likes.
                    let connection = hyper::server::conn::http1::Builder::new();
                    let _ = connection.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        format!("http://{address}")
    }

    fn answer<B>(&self, request: &Request<B>) -> Response<Full<Bytes>> {
        let path = request.uri().path();
        let mut asked = self.asked.lock().unwrap();
        let count = asked.entry(path.to_owned()).or_default();
        *count += 1;
        let (status, location) = match path {
            // Each third request is answered.
            "/tired.yaml" if !count.is_multiple_of(3) => (503, None),
            "/broken.yaml" => (500, None),
            "/none.yaml" => (404, None),
            "/moved.yaml" => (302, Some("/good.yaml")),
            "/circle.yaml" => (301, Some("circle.yaml")),
            _ => (200, None),
        };
        let mut response = Response::builder().status(status);
        if let Some(location) = location {
            response = response.header("location", location);
        }
        response.body(Full::new(MANIFEST.into())).unwrap()
    }

    fn count(&self, path: &str) -> usize {
        self.asked.lock().unwrap().remove(path).unwrap_or_default()
    }
}

/// A directory with manifests, some deeper, some that are none, some with mistakes.
fn directory() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, content: &str| std::fs::write(directory.path().join(name), content).unwrap();
    let config = |name: &str| format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\n");
    std::fs::create_dir_all(directory.path().join("flat/deep/er")).unwrap();
    std::fs::create_dir(directory.path().join("empty")).unwrap();
    write("flat/b.yml", &config("file-b"));
    write("flat/a.json", r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"file-a"}}"#);
    write("flat/notes.txt", "nothing");
    write("flat/deep/er/c.yaml", &config("file-c"));
    write("half.yaml", &format!("{}---\nkind: ConfigMap\n---\n{}", config("before"), config("behind")));
    write("half.json", r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"first"}} {"a":"#);
    let wide: Vec<u8> =
        "\u{feff}".chars().chain(config("wide").chars()).flat_map(|c| (c as u16).to_le_bytes()).collect();
    std::fs::write(directory.path().join("wide.yaml"), wide).unwrap();
    directory
}

const LINES: &[&str] = &[
    "create -f {web}/good.yaml",
    "apply -f {web}/good.yaml",
    "apply -f {web}/moved.yaml",
    "get -f {web}/good.yaml -o name",
    "delete -f {web}/good.yaml",
    "apply -f {web}/none.yaml",
    "apply -f {web}/circle.yaml",
    "apply -f {web}/broken.yaml",
    "apply -f {web}/tired.yaml",
    "apply -f http://127.0.0.1:1/nobody.yaml",
    "apply -f {web}/none.yaml -f {web}/good.yaml",
    "delete -f {web}/good.yaml -f {web}/none.yaml",
    "apply -f {dir}/flat",
    "apply -f {dir}/flat -R",
    "get -R -f {dir}/flat -o name",
    "apply -f {dir}/flat/*.yml",
    "apply -f {dir}/flat/[ab].* -f {dir}/flat/deep/er",
    "apply -f {dir}/flat/[",
    "apply -f {dir}/flat/x*",
    "apply -f {dir}/flat/deep",
    "apply -f {dir}/empty",
    "apply -f {dir}/none",
    "create -f {dir}/half.yaml",
    "apply -f {dir}/half.yaml",
    "apply -f {dir}/wide.yaml",
    "get cm -o name",
    "delete -R -f {dir}/flat",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_read_manifests_from_the_web_and_from_directories() {
    let Some(kubectl) = real_kubectl() else {
        eprintln!("SKIPPED: there is no kubectl to compare with; set KUBECTL or put one on the path");
        return;
    };
    if release(&kubectl).await.is_none_or(|release| release.minor < 36) {
        eprintln!("SKIPPED: older kubectls word some of it differently");
        return;
    }
    let (cluster, tasks, web, directory) = (Cluster::start().await, TaskSet::new(), Web::default(), directory());
    let address = web.start(&tasks).await;
    for namespace in [REAL, OURS] {
        assert_eq!(ours(&cluster, "default", &["create", "namespace", namespace]).await.code, 0);
    }
    let mut differences = Vec::new();
    for line in LINES {
        let line = line.replace("{web}", &address).replace("{dir}", &directory.path().display().to_string());
        let words: Vec<&str> = line.split(' ').collect();
        differences.extend(compare(&kubectl, &cluster, &words).await.err());
    }
    cluster.stop().await;
    tasks.shutdown().await;
    assert!(differences.is_empty(), "{} differ:\n{}", differences.len(), differences.join("\n"));
    assert_eq!((web.count("/broken.yaml"), web.count("/tired.yaml")), (6, 6), "three attempts by each");
}

#[tokio::test]
async fn what_stands_before_a_mistake_is_created() {
    let (cluster, directory) = (Cluster::start().await, directory());
    let file = directory.path().join("half.json").display().to_string();
    let outcome = ours(&cluster, "default", &["create", "-f", &file]).await;
    assert_eq!((outcome.out.as_str(), outcome.code), ("configmap/first created\n", 1));
    assert_eq!(outcome.err, format!("error: error parsing {file}: unexpected EOF\n"));
    cluster.stop().await;
}
