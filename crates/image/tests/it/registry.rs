//! Pulls from a real registry, through proxies that break what they can. Nothing leaves the loopback.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use base64::Engine;
use image::{Config, ImageService, Images, Registries, RegistryAuth};
use serde_json::json;

use crate::origin::{
    Image, OCI_INDEX, OCI_MANIFEST, Proxy, Registry, Request, Verdict, answer, descriptor, digest, free_address,
    htpasswd, installed, large_layer,
};
use crate::privileged;
use crate::tarball::Layer;

/// A node's store with this `registries.yaml`.
fn open(directory: &Path, registries: &str) -> Images {
    let file = directory.join("registries.yaml");
    std::fs::write(&file, registries).expect("written");
    let registries = Registries::read(&file).expect("valid");
    let (content, snapshots) = (directory.join("content"), directory.join("snapshots"));
    Images::open(Config { content, snapshots, registries }).expect("the store opens")
}

fn ready(test: &str) -> bool {
    installed(test) && privileged(test)
}

async fn refused(images: &Images, name: &str) -> String {
    refused_with(images, name, &[]).await
}

async fn refused_with(images: &Images, name: &str, auth: &[RegistryAuth]) -> String {
    let error = images.pull(name, auth).await.expect_err("the pull fails");
    error.to_string()
}

fn entries(directory: &Path, part: &str) -> usize {
    std::fs::read_dir(directory.join("content").join(part)).expect("there").count()
}

fn auth(registry: impl ToString, username: &str, password: &str) -> RegistryAuth {
    RegistryAuth { registry: registry.to_string(), username: username.into(), password: password.into() }
}

fn one_layer() -> Image {
    Image::new(&[Layer::new().file("motd", "hello")])
}

#[tokio::test]
async fn an_image_is_pulled_by_tag_and_by_digest() {
    if !ready("an_image_is_pulled_by_tag_and_by_digest") {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let registry = Registry::start(directory.path()).await;
    let pushed = one_layer();
    let digest_of_manifest = registry.push("shop/web", Some("v1"), &pushed);
    let name = format!("{}/shop/web", registry.address);
    let images = open(directory.path(), "{}");
    let image = images.pull(&format!("{name}:v1"), &[]).await.expect("pulled");
    assert_eq!(image.id, digest(&pushed.config));
    assert_eq!(image.repo_tags, [format!("{name}:v1")]);
    assert_eq!(image.repo_digests, [format!("{name}@{digest_of_manifest}")]);
    assert_eq!(image.config.cmd, ["/bin/sh"]);
    let rootfs = images.prepare(&image.id, "one").await.expect("mounted");
    let read = std::fs::read_to_string(rootfs.join("motd"));
    images.remove_snapshot("one").await.expect("removed");
    assert_eq!(read.expect("there"), "hello");
    for by_digest in [format!("{name}@{digest_of_manifest}"), format!("{name}:v1@{digest_of_manifest}")] {
        let again = tempfile::tempdir().expect("a directory");
        let pulled = open(again.path(), "{}").pull(&by_digest, &[]).await.expect("pulled");
        assert_eq!((pulled.id.as_str(), &pulled.repo_digests), (image.id.as_str(), &image.repo_digests));
    }
}

#[tokio::test]
async fn what_the_registry_lacks_is_not_found() {
    if !ready("what_the_registry_lacks_is_not_found") {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let registry = Registry::start(directory.path()).await;
    registry.push("shop/web", Some("v1"), &one_layer());
    let images = open(directory.path(), "{}");
    let other = digest(b"never pushed");
    for name in ["shop/web:v2".to_owned(), format!("shop/web@{other}"), "shop/unknown:v1".to_owned()] {
        let name = format!("{}/{name}", registry.address);
        let want = format!(
            "failed to pull and unpack image \"{name}\": failed to resolve reference \"{name}\": {name}: not found"
        );
        assert_eq!(refused(&images, &name).await, want);
    }
    assert!(images.list().await.expect("listed").is_empty());
}

#[tokio::test]
async fn a_registry_that_is_down_refuses_the_connection() {
    let directory = tempfile::tempdir().expect("a directory");
    let address = free_address();
    let text = refused(&open(directory.path(), "{}"), &format!("{address}/shop/web:v1")).await;
    let want = format!(
        "failed to pull and unpack image \"{address}/shop/web:v1\": failed to do request: \
         Get \"http://{address}/v2/shop/web/manifests/v1\": dial tcp {address}: connect: connection refused"
    );
    assert_eq!(text, want);
}

/// A registry with an image of one large layer behind a proxy.
struct Broken {
    directory: tempfile::TempDir,
    _registry: Registry,
    proxy: Proxy,
    image: Arc<Image>,
}

impl Broken {
    /// `judge` gets the requests for the layer, and how many of them came before.
    async fn start(judge: impl Fn(usize, &Image) -> Verdict + Send + Sync + 'static) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let registry = Registry::start(directory.path()).await;
        let image = Arc::new(Image::new(&[large_layer(1, 100_000)]));
        registry.push("shop/web", Some("v1"), &image);
        let pushed = image.clone();
        let proxy = Proxy::start(registry.address, move |request, before| {
            let layer = &pushed.layers[0];
            if !request.names(layer) {
                return Verdict::Forward;
            }
            judge(before.iter().filter(|request| request.names(layer)).count(), &pushed)
        });
        Self { directory, _registry: registry, proxy, image }
    }

    async fn pull(&self) -> Result<image::ImageInfo, String> {
        let images = open(self.directory.path(), "{}");
        let name = format!("{}/shop/web:v1", self.proxy.address);
        images.pull(&name, &[]).await.map_err(|error| error.to_string())
    }

    /// Where the transfers of the layer began.
    fn ranges(&self) -> Vec<String> {
        let requests = self.proxy.requests();
        let of_layer = requests.iter().filter(|request| request.names(&self.image.layers[0]));
        of_layer.map(|request| request.header("range").unwrap_or("-").to_owned()).collect()
    }

    /// What a failed pull must leave: nothing.
    async fn fails(&self) -> String {
        let error = self.pull().await.expect_err("the pull fails");
        for part in ["tmp", "layers", "blobs"] {
            assert_eq!(entries(self.directory.path(), part), 0, "in {part} after: {error}");
        }
        assert!(open(self.directory.path(), "{}").list().await.expect("listed").is_empty());
        error
    }
}

#[tokio::test]
async fn a_transfer_that_breaks_goes_on_where_it_broke() {
    if !ready("a_transfer_that_breaks_goes_on_where_it_broke") {
        return;
    }
    let broken = Broken::start(|before, _| match before {
        0 => Verdict::Cut(1000),
        1 => Verdict::Cut(2000),
        _ => Verdict::Forward,
    })
    .await;
    broken.pull().await.expect("pulled");
    assert_eq!(broken.ranges(), ["-", "bytes=1000-", "bytes=3000-"]);
    assert_eq!((entries(broken.directory.path(), "tmp"), entries(broken.directory.path(), "layers")), (0, 1));
}

#[tokio::test]
async fn a_registry_that_cannot_resume_sends_the_layer_again() {
    if !ready("a_registry_that_cannot_resume_sends_the_layer_again") {
        return;
    }
    let broken = Broken::start(|before, _| match before {
        0 => Verdict::Cut(1000),
        _ => Verdict::ForwardWithoutRange,
    })
    .await;
    broken.pull().await.expect("pulled");
    assert_eq!(broken.ranges(), ["-", "bytes=1000-"]);
}

#[tokio::test]
async fn a_transfer_that_always_breaks_leaves_nothing() {
    if !ready("a_transfer_that_always_breaks_leaves_nothing") {
        return;
    }
    let broken = Broken::start(|_, _| Verdict::Cut(0)).await;
    let error = broken.fails().await;
    assert!(error.ends_with("unexpected EOF: the registry cut its answer"), "{error}");
    assert_eq!(broken.ranges().len(), 6, "it was tried again, but not for ever");
}

#[tokio::test]
async fn a_layer_with_other_content_than_promised_leaves_nothing() {
    if !ready("a_layer_with_other_content_than_promised_leaves_nothing") {
        return;
    }
    let zeros = Broken::start(|_, image| answer("200 OK", "", &"0".repeat(image.layers[0].len()))).await;
    let error = zeros.fails().await;
    let want = digest(&zeros.image.layers[0]);
    assert!(error.contains("the registry sent content with digest sha256:") && error.ends_with(&want), "{error}");
    let longer = Broken::start(|_, image| answer("200 OK", "", &"0".repeat(image.layers[0].len() + 1))).await;
    let error = longer.fails().await;
    assert!(error.contains("the registry sends more for sha256:"), "{error}");
    let lost = Broken::start(|_, _| answer("404 Not Found", "", "")).await;
    let error = lost.fails().await;
    assert!(error.contains("the registry lacks a part of the image: blobs/sha256:"), "{error}");
}

#[tokio::test]
async fn an_answer_that_is_no_manifest_is_said_to_be_none() {
    let directory = tempfile::tempdir().expect("a directory");
    let images = open(directory.path(), "{}");
    let errors = json!({"errors": [{"code": "TOOMANYREQUESTS", "message": "slow down"}]}).to_string();
    let old = json!({"schemaVersion": 1, "fsLayers": []}).to_string();
    let answers = [
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n<html></html>".to_owned(),
            "the answer is no image manifest: expected",
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}".to_owned(),
            "neither a configuration nor a list of manifests",
        ),
        (format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{old}", old.len()), "manifests of schema version 1"),
        ("SSH-2.0-OpenSSH_9.2\r\n\r\n".to_owned(), "malformed response"),
        (String::new(), "EOF"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n{".to_owned(), "unexpected EOF: the registry cut its answer"),
        ("HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n".to_owned(), "500 Internal Server Error"),
        (
            format!("HTTP/1.1 429 No\r\nContent-Length: {}\r\n\r\n{errors}", errors.len()),
            "429 Too Many Requests: toomanyrequests: slow down",
        ),
        ("HTTP/1.1 302 Found\r\nLocation: /v2/again\r\nContent-Length: 0\r\n\r\n".to_owned(), "too many redirects"),
    ];
    for (said, want) in answers {
        let proxy = Proxy::start(free_address(), move |_, _| Verdict::Say(said.clone().into_bytes()));
        let error = refused(&images, &format!("{}/shop/web:v1", proxy.address)).await;
        assert!(error.starts_with("failed to pull and unpack image \"127.0.0.1:"), "{error}");
        assert!(error.contains(want), "{want} is not in: {error}");
    }
    assert_eq!(entries(directory.path(), "tmp"), 0);
}

#[tokio::test]
async fn a_registry_with_passwords_is_asked_with_them() {
    if !ready("a_registry_with_passwords_is_asked_with_them") {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    Registry::start(directory.path()).await.push("shop/web", Some("v1"), &one_layer());
    let users = htpasswd(directory.path());
    let section = format!("auth: {{htpasswd: {{realm: shop, path: {}}}}}\n", users.display());
    let registry = Registry::configured(directory.path(), "", &section).await;
    let (host, name) = (registry.address, format!("{}/shop/web:v1", registry.address));
    let denied = format!(
        "failed to pull and unpack image \"{name}\": failed to resolve reference \"{name}\": pull access denied, \
         repository does not exist or may require authorization: 401 Unauthorized: unauthorized: authentication required"
    );
    let nobody = open(directory.path(), "{}");
    assert_eq!(refused(&nobody, &name).await, denied);
    assert_eq!(refused_with(&nobody, &name, &[auth(host, "ali", "wrong")]).await, denied);
    assert_eq!(refused_with(&nobody, &name, &[auth("other.example", "ali", "sesame")]).await, denied);
    let wrong = format!("configs: {{\"{host}\": {{auth: {{username: ali, password: wrong}}}}}}\n");
    assert_eq!(refused(&open(directory.path(), &wrong), &name).await, denied);
    // Of a pod's secrets, any may be the right one; they come before the node's own.
    let secrets = [auth(host, "ali", "old"), auth(host, "ali", "sesame")];
    let wrong = open(directory.path(), &wrong);
    wrong.pull(&name, &secrets).await.expect("pulled with a secret");
    let pair = base64::engine::general_purpose::STANDARD.encode("ali:sesame");
    for right in ["username: ali, password: sesame".to_owned(), format!("auth: {pair}")] {
        wrong.remove(&name).await.expect("removed");
        let yaml = format!("configs: {{\"{host}\": {{auth: {{{right}}}}}}}\n");
        open(directory.path(), &yaml).pull(&name, &[]).await.expect("pulled with the node's password");
    }
}

#[tokio::test]
async fn a_registry_with_tokens_is_asked_with_one_that_is_fetched() {
    if !ready("a_registry_with_tokens_is_asked_with_one_that_is_fetched") {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let registry = Registry::start(directory.path()).await;
    registry.push("shop/web", Some("v1"), &one_layer());
    let given = AtomicU64::new(0);
    let password = format!("Basic {}", base64::engine::general_purpose::STANDARD.encode("ali:sesame"));
    let tokens = Proxy::start(free_address(), move |request, _| {
        let wanted = "GET /token?shop=1&scope=repository:shop/web:pull&service=the%20shop HTTP/1.1";
        if request.line != wanted || request.header("authorization") != Some(&password) {
            return answer("401 Unauthorized", "", "{}");
        }
        let number = given.fetch_add(1, Ordering::SeqCst);
        answer("200 OK", "", &json!({"token": format!("t{number}")}).to_string())
    });
    let asked = format!(
        "WWW-Authenticate: Negotiate\r\nWWW-Authenticate: Bearer realm=\"http://{}/token?shop=1\",service=\"the shop\"\r\n",
        tokens.address
    );
    // The first token ends with the manifest: the next one is fetched on the way.
    let guard = Proxy::start(registry.address, move |request, _| match request.header("authorization") {
        Some("Bearer t0") if !request.is_blob() => Verdict::Forward,
        Some("Bearer t1") => Verdict::Forward,
        _ => answer("401 Unauthorized", &asked, "{}"),
    });
    let name = format!("{}/shop/web:v1", guard.address);
    let images = open(directory.path(), "{}");
    let denied = refused_with(&images, &name, &[auth(guard.address, "ali", "wrong")]).await;
    let why = format!("failed to fetch a token from http://{}/token?shop=1: 401 Unauthorized", tokens.address);
    assert!(denied.contains("pull access denied") && denied.ends_with(&why), "{denied}");
    images.pull(&name, &[auth(guard.address, "ali", "sesame")]).await.expect("pulled");
    let password_shown =
        |request: &Request| request.header("authorization").is_some_and(|text| text.starts_with("Basic"));
    assert_eq!(guard.count(password_shown), 0, "the password is for the token service");
}

#[tokio::test]
async fn credentials_do_not_follow_a_redirect_to_another_host() {
    if !ready("credentials_do_not_follow_a_redirect_to_another_host") {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let registry = Registry::start(directory.path()).await;
    registry.push("shop/web", Some("v1"), &one_layer());
    let store = Proxy::start(registry.address, |_, _| Verdict::Forward);
    let to = store.address;
    let front = Proxy::start(registry.address, move |request, _| {
        let path = request.line.split(' ').nth(1).unwrap_or_default();
        match request.header("authorization") {
            None => answer("401 Unauthorized", "WWW-Authenticate: Basic realm=\"shop\"\r\n", ""),
            Some(_) if request.is_blob() => answer("307 Moved", &format!("Location: http://{to}{path}\r\n"), ""),
            Some(_) => Verdict::Forward,
        }
    });
    let name = format!("{}/shop/web:v1", front.address);
    let secrets = [auth(front.address, "ali", "sesame")];
    open(directory.path(), "{}").pull(&name, &secrets).await.expect("pulled");
    assert_eq!(store.count(|request| request.is_blob()), 2, "configuration and layer");
    assert_eq!(store.count(|request| request.header("authorization").is_some()), 0);
}

#[tokio::test]
async fn a_certificate_is_verified_as_configured() {
    if !ready("a_certificate_is_verified_as_configured") {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let plain = Registry::start(directory.path()).await;
    plain.push("shop/web", Some("v1"), &one_layer());
    let path = |name: &str| directory.path().join(name);
    write_certificates(directory.path());
    let section =
        format!("  tls: {{certificate: {}, key: {}}}\n", path("cert.pem").display(), path("key.pem").display());
    let registry = Registry::configured(directory.path(), &section, "").await;
    let host = registry.address;
    let name = format!("{host}/shop/web:v1");
    let with = |tls: &str| {
        let mirror = format!("mirrors: {{\"{host}\": {{endpoint: [\"https://{host}\"]}}}}\n");
        open(directory.path(), &format!("{mirror}configs: {{\"{host}\": {{tls: {{{tls}}}}}}}\n"))
    };
    let strange = refused(&with(""), &name).await;
    let want = "tls: failed to verify certificate: x509: certificate signed by unknown authority";
    assert!(strange.ends_with(want), "{strange}");
    let missing = refused(&with("ca_file: /nowhere/ca.pem"), &name).await;
    assert!(missing.contains("ca_file /nowhere/ca.pem of registries.yaml: "), "{missing}");
    let ca = format!("ca_file: {}", path("ca.pem").display());
    let pulled = with(&ca).pull(&name, &[]).await.expect("pulled with the authority's certificate");
    with("").remove(&pulled.id).await.expect("removed");
    with("insecure_skip_verify: true").pull(&name, &[]).await.expect("pulled unverified");
    let other_name = format!("localhost:{}", host.port());
    let yaml = format!(
        "mirrors: {{\"{other_name}\": {{endpoint: [\"https://{other_name}\"]}}}}\nconfigs: {{\"{other_name}\": {{tls: {{{ca}}}}}}}\n"
    );
    let text = refused(&open(directory.path(), &yaml), &format!("{other_name}/shop/web:v1")).await;
    assert!(text.ends_with("x509: certificate is not valid for localhost"), "{text}");
    let host = plain.address;
    let yaml = format!("mirrors: {{\"{host}\": {{endpoint: [\"https://{host}\"]}}}}\n");
    let text = refused(&open(directory.path(), &yaml), &format!("{host}/shop/web:v1")).await;
    assert!(text.contains("http: server gave HTTP response to HTTPS client"), "{text}");
}

/// An authority, and a certificate that it signed for the loopback's address alone.
fn write_certificates(directory: &Path) {
    let mut authority = rcgen::CertificateParams::default();
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority_key = rcgen::KeyPair::generate().expect("a key");
    let ca = authority.self_signed(&authority_key).expect("signed");
    let issuer = rcgen::Issuer::new(authority, authority_key);
    let key = rcgen::KeyPair::generate().expect("a key");
    let own = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("valid");
    let certificate = own.signed_by(&key, &issuer).expect("signed");
    for (name, text) in [("ca.pem", ca.pem()), ("cert.pem", certificate.pem()), ("key.pem", key.serialize_pem())] {
        std::fs::write(directory.join(name), text).expect("written");
    }
}

#[tokio::test]
async fn mirrors_are_asked_in_order_and_by_the_name_that_they_know() {
    if !ready("mirrors_are_asked_in_order_and_by_the_name_that_they_know") {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let registry = Registry::start(directory.path()).await;
    registry.push("library/web", Some("latest"), &one_layer());
    registry.push("hub/library/web", Some("v2"), &one_layer());
    let (here, down) = (registry.address, free_address());
    let pulled = async |yaml: &str, name: &str| {
        let store = tempfile::tempdir().expect("a directory");
        open(store.path(), yaml).pull(name, &[]).await.map(|image| image.repo_tags)
    };
    let first_down = format!("mirrors: {{docker.io: {{endpoint: [\"http://{down}\", \"http://{here}/v2/\"]}}}}\n");
    assert_eq!(pulled(&first_down, "web").await.expect("pulled"), ["docker.io/library/web:latest"]);
    let rewrite = format!(
        "mirrors: {{docker.io: {{endpoint: [\"http://{here}\"], rewrite: {{\"^(library/)(.*)$\": \"hub/$1$2\"}}}}}}\n"
    );
    assert_eq!(pulled(&rewrite, "web:v2").await.expect("pulled"), ["docker.io/library/web:v2"]);
    let all = format!("mirrors: {{\"*\": {{endpoint: [\"http://{here}\"]}}}}\n");
    assert_eq!(pulled(&all, "quay.example/library/web").await.expect("pulled"), ["quay.example/library/web:latest"]);
    // Its own endpoint is down, but the mirror knows that there is no such image.
    let name = format!("{down}/library/web:v9");
    let mirrored = format!("mirrors: {{\"{down}\": {{endpoint: [\"http://{here}\"]}}}}\n");
    assert!(pulled(&mirrored, &name).await.expect_err("unknown").to_string().ends_with(&format!("{name}: not found")));
}

#[test]
fn a_rewrite_that_is_no_pattern_is_refused_with_its_file() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("registries.yaml");
    std::fs::write(&file, "mirrors: {docker.io: {rewrite: {\"^(x\": y}}}\n").expect("written");
    let error = Registries::read(&file).expect_err("invalid");
    assert!(error.contains("registries.yaml is not valid") && error.contains("no regular expression"), "{error}");
}

#[tokio::test]
async fn of_an_index_the_image_for_this_machine_is_pulled() {
    if !ready("of_an_index_the_image_for_this_machine_is_pulled") {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let registry = Registry::start(directory.path()).await;
    let foreign = Image::new(&[Layer::new().file("motd", "foreign")]);
    let own = one_layer();
    let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    let entry = |image: &Image, architecture: &str| {
        let mut entry = descriptor(OCI_MANIFEST, image.manifest().to_string().as_bytes());
        entry["platform"] = json!({"os": "linux", "architecture": architecture});
        entry
    };
    for image in [&foreign, &own] {
        registry.push("shop/web", None, image);
    }
    let index = |manifests| json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests}).to_string();
    let both = index(vec![entry(&foreign, "s390x"), entry(&own, architecture)]);
    let of_index = registry.push_manifest("shop/web", Some("both"), OCI_INDEX, both.as_bytes());
    let neither = index(vec![entry(&foreign, "s390x"), entry(&foreign, "unknown")]);
    registry.push_manifest("shop/web", Some("neither"), OCI_INDEX, neither.as_bytes());
    let images = open(directory.path(), "{}");
    let pulled = images.pull(&format!("{}/shop/web:both", registry.address), &[]).await.expect("pulled");
    assert_eq!(pulled.id, digest(&own.config));
    assert_eq!(pulled.repo_digests, [format!("{}/shop/web@{of_index}", registry.address)]);
    assert_eq!(entries(directory.path(), "layers"), 1, "the other machine's layer was not fetched");
    let none = refused(&images, &format!("{}/shop/web:neither", registry.address)).await;
    assert!(none.ends_with(&format!("no match for platform linux/{architecture} in manifest")), "{none}");
}

#[tokio::test]
async fn a_layer_is_fetched_once_for_all_who_need_it() {
    if !ready("a_layer_is_fetched_once_for_all_who_need_it") {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let registry = Registry::start(directory.path()).await;
    let shared = || large_layer(7, 200_000);
    let first = Image::new(&[shared(), Layer::new().file("one", "1")]);
    let second = Image::new(&[shared(), Layer::new().file("two", "2")]);
    registry.push("shop/one", Some("v1"), &first);
    registry.push("shop/two", Some("v1"), &second);
    let proxy = Proxy::start(registry.address, |_, _| Verdict::Forward);
    let images = open(directory.path(), "{}");
    let name = |repository: &str| format!("{}/shop/{repository}:v1", proxy.address);
    let (one, two) = (name("one"), name("two"));
    let (a, b, c) = tokio::join!(images.pull(&one, &[]), images.pull(&one, &[]), images.pull(&two, &[]));
    let (a, b, c) = (a.expect("pulled"), b.expect("pulled"), c.expect("pulled"));
    assert_eq!(a.id, b.id);
    assert_ne!(a.id, c.id);
    assert_eq!(first.layers[0], second.layers[0]);
    for layer in [&first.layers[0], &first.layers[1], &second.layers[1]] {
        assert_eq!(proxy.count(|request| request.names(layer)), 1);
    }
    images.remove(&one).await.expect("removed");
    images.pull(&one, &[]).await.expect("pulled again");
    assert_eq!(proxy.count(|request| request.names(&first.layers[0])), 1, "the other image kept the shared layer");
    assert_eq!(proxy.count(|request| request.names(&first.layers[1])), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn removing_an_image_leaves_the_layers_of_a_pull_under_way() {
    if !ready("removing_an_image_leaves_the_layers_of_a_pull_under_way") {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let registry = Registry::start(directory.path()).await;
    let image = Image::new(&[Layer::new().file("one", "1"), Layer::new().file("two", "2")]);
    registry.push("shop/web", Some("v1"), &image);
    registry.push("shop/old", Some("v1"), &Image::new(&[Layer::new().file("old", "0")]));
    let images = open(directory.path(), "{}");
    let old = format!("{}/shop/old:v1", registry.address);
    images.pull(&old, &[]).await.expect("pulled");
    let last = image.layers[1].clone();
    let (arrived, mut arrives) = tokio::sync::mpsc::channel(1);
    let (removed, removal) = std::sync::mpsc::sync_channel::<()>(1);
    let removal = std::sync::Mutex::new(removal);
    let proxy = Proxy::start(registry.address, move |request, _| {
        if request.names(&last) {
            arrived.blocking_send(()).expect("the test waits");
            removal.lock().expect("no thread panicked").recv().expect("the test removes");
        }
        Verdict::Forward
    });
    let name = format!("{}/shop/web:v1", proxy.address);
    let remove = async {
        arrives.recv().await.expect("the pull gets so far");
        images.remove(&old).await.expect("removed");
        removed.send(()).expect("the proxy waits");
    };
    let (pulled, ()) = tokio::join!(images.pull(&name, &[]), remove);
    pulled.expect("pulled");
    assert_eq!(entries(directory.path(), "layers"), 2, "the removed image's layer is gone");
}

#[tokio::test]
async fn what_a_killed_process_left_unfinished_is_swept() {
    let directory = tempfile::tempdir().expect("a directory");
    drop(open(directory.path(), "{}"));
    let place = directory.path().join("content/tmp");
    let aged = |name: &str, days: u64| {
        let file = std::fs::File::create(place.join(name)).expect("created");
        let age = std::time::Duration::from_secs(days * 24 * 60 * 60 + 60);
        file.set_modified(std::time::SystemTime::now() - age).expect("set");
    };
    aged("1-1-1", 1);
    aged("1-1-2", 0);
    std::fs::create_dir(place.join("1-1-3")).expect("created");
    drop(open(directory.path(), "{}"));
    let mut left: Vec<_> = std::fs::read_dir(place).expect("there").flatten().map(|entry| entry.file_name()).collect();
    left.sort();
    assert_eq!(left, ["1-1-2", "1-1-3"]);
}

/// Notes what pulls report.
#[derive(Clone, Default)]
struct Progress(Arc<std::sync::Mutex<Vec<(u64, u64)>>>);

impl tracing::Subscriber for Progress {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.target().starts_with("image::")
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        if let (Some(bytes), Some(size)) = (fields.bytes, fields.size) {
            self.0.lock().expect("no thread panicked").push((bytes, size));
        }
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

#[derive(Default)]
struct Fields {
    bytes: Option<u64>,
    size: Option<u64>,
}

impl tracing::field::Visit for Fields {
    fn record_u64(&mut self, field: &tracing::field::Field, value: u64) {
        match field.name() {
            "bytes" => self.bytes = Some(value),
            "size" => self.size = Some(value),
            _ => {}
        }
    }

    fn record_debug(&mut self, _: &tracing::field::Field, _: &dyn std::fmt::Debug) {}
}

#[tokio::test]
async fn progress_is_reported() {
    if !ready("progress_is_reported") {
        return;
    }
    let progress = Progress::default();
    let _reported = tracing::subscriber::set_default(progress.clone());
    let broken = Broken::start(|before, _| if before == 0 { Verdict::Cut(1000) } else { Verdict::Forward }).await;
    broken.pull().await.expect("pulled");
    let seen = progress.0.lock().expect("no thread panicked").clone();
    let size = broken.image.layers[0].len() as u64;
    assert!(seen.contains(&(1000, size)) && seen.last() == Some(&(size, size)), "{seen:?}");
    assert!(seen.is_sorted(), "{seen:?}");
}
