//! Images from a registry on the LAN: there, missing, behind a password, and while the registry is down.
#![allow(clippy::disallowed_methods, reason = "black-box tests run programs")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use e2e::cluster::succeeded;
use e2e::{Cluster, Kubectl, cluster, eventually, kubectl};
use serde_json::{Value, json};

const NAME: &str = "e2e-registry";
const PROGRAM: &str = "/usr/bin/docker-registry";
/// The machine of the LAN that is not in the cluster.
const CLIENT: &str = "172.28.128.1";
/// What images are called by; only `registries.yaml` knows where that is.
const REGISTRY: &str = "registry.lan:5000";
const GUARDED: &str = "guarded.lan:5001";
const REGISTRIES: &str = "mirrors:
  registry.lan:5000: {endpoint: [\"http://172.28.128.1:5000\"]}
  guarded.lan:5001: {endpoint: [\"http://172.28.128.1:5001\"]}
";
/// `ali`, whose password is `sesame`.
const USERS: &str = "ali:$2y$05$abcdefghijklmnopqrstuuKcS.CYWVYVaLiiCKrrc0A5s3mGesJ9O\n";
const LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar";
const CONFIG: &str = "application/vnd.docker.container.image.v1+json";
const MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";

#[test]
fn pods_run_images_of_a_registry() {
    if !cluster::is_root() {
        eprintln!("SKIPPED: a dev cluster needs root");
        return;
    }
    if !Path::new(PROGRAM).exists() {
        eprintln!("SKIPPED: {PROGRAM} is missing; Debian's package docker-registry has it");
        return;
    }
    let place = Place::make().unwrap();
    let lan = Lan::start(&place).unwrap();
    let shop = Shop::open(&place, &lan).unwrap();
    shop.run().unwrap();
}

/// The directory of the test; it goes with this value.
struct Place(PathBuf);

impl Place {
    fn make() -> Result<Self> {
        let place = Self(std::env::temp_dir().join(format!("coracle-{NAME}")));
        let _ = fs::remove_dir_all(&place.0);
        fs::create_dir_all(&place.0)?;
        Ok(place)
    }

    fn file(&self, name: &str, text: &str) -> Result<String> {
        let path = self.0.join(name);
        fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
        Ok(path.to_string_lossy().into_owned())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A cluster without any image, whose nodes know the registries. It ends with this value.
struct Lan(Cluster);

impl Lan {
    fn start(place: &Place) -> Result<Self> {
        let config = place.0.join("kubeconfig");
        let registries = place.file("registries.yaml", REGISTRIES)?;
        // What a killed run left.
        let _ = Command::new(cluster::binary()).args(["dev", "down", "--name", NAME]).output();
        let mut up = Command::new(cluster::binary());
        up.args(["dev", "up", "--name", NAME, "--registries", &registries, "--kubeconfig"]).arg(&config);
        succeeded("dev up", &up.output().with_context(|| format!("run {}", cluster::binary().display()))?)?;
        Ok(Self(Cluster::existing(NAME, config)))
    }
}

impl Drop for Lan {
    fn drop(&mut self) {
        if let Err(error) = self.0.dev("down", &[]) {
            eprintln!("the cluster was not removed: {error:#}");
        }
    }
}

/// A registry on the client's machine; it ends with this value.
struct Registry(Child);

impl Registry {
    fn start(lan: &Lan, place: &Place, port: u16, auth: &str) -> Result<Self> {
        let text = format!(
            "version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\n\
             storage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: \"{CLIENT}:{port}\", secret: test}}\n{auth}",
            place.0.join("registry").display()
        );
        let config = place.file(&format!("registry-{port}.yml"), &text)?;
        let log = fs::File::create(place.0.join(format!("registry-{port}.log")))?;
        let network = format!("--net=/run/coracle/dev/{NAME}/netns/client");
        let mut command = Command::new("nsenter");
        command.args([&network, PROGRAM, "serve", &config]).env_clear().stdin(Stdio::null()).stdout(Stdio::null());
        let registry = Self(command.stderr(log).spawn().context("run nsenter")?);
        let url = format!("http://{CLIENT}:{port}/v2/");
        eventually("the registry listens", || Ok(lan.0.client(&["curl", "-sS", "-m", "2", &url]).ok()))?;
        Ok(registry)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

struct Shop<'a> {
    place: &'a Place,
    lan: &'a Lan,
    kubectl: Kubectl,
}

impl<'a> Shop<'a> {
    fn open(place: &'a Place, lan: &'a Lan) -> Result<Self> {
        let own = cluster::binary();
        let program = match kubectl::of_version("1.36") {
            Some(real) => vec![real],
            None => vec![own, "kubectl".into()],
        };
        let program: Vec<_> = program.iter().filter_map(|word| word.to_str()).collect();
        Ok(Self { place, lan, kubectl: lan.0.kubectl(&program) })
    }

    fn run(&self) -> Result<()> {
        let registry = Registry::start(self.lan, self.place, 5000, "")?;
        self.push(&["v1", "v2"])?;
        self.step("an image is pulled, and its events say so", self.image_is_pulled())?;
        self.step("a tag that the registry lacks: ErrImagePull, then ImagePullBackOff", self.tag_is_missing())?;
        self.step("a registry with a password opens to a pull secret", self.password())?;
        drop(registry);
        self.step("the registry is down: what is cached starts, what is not says why", self.registry_is_down())?;
        let _registry = Registry::start(self.lan, self.place, 5000, "")?;
        self.step("the registry is back: the pod that waited runs", self.runs("uncached"))
    }

    fn step(&self, what: &str, outcome: Result<()>) -> Result<()> {
        let outcome = outcome.with_context(|| {
            let show = |line| self.kubectl.line(line).unwrap_or_default();
            format!("{what}\n{}{}", show("get pods -o wide"), show("get events"))
        });
        outcome.map(|()| eprintln!("  \u{2713} {what}"))
    }

    fn image_is_pulled(&self) -> Result<()> {
        let image = format!("{REGISTRY}/shop/web:v1");
        self.kubectl.line(&format!("run always --image={image} --image-pull-policy=Always"))?;
        self.runs("always")?;
        self.says("always", &format!("Pulling image \"{image}\""))?;
        self.says("always", &format!("Successfully pulled image \"{image}\" in "))
    }

    fn tag_is_missing(&self) -> Result<()> {
        let image = format!("{REGISTRY}/shop/web:v9");
        self.kubectl.line(&format!("run lost --image={image}"))?;
        self.waits_with("lost", "ErrImagePull")?;
        self.waits_with("lost", "ImagePullBackOff")?;
        self.says("lost", &format!("Failed to pull image \"{image}\": failed to pull and unpack image \"{image}\": "))?;
        self.says("lost", &format!("{image}: not found"))?;
        self.kubectl.line("delete pod lost").map(drop)
    }

    fn password(&self) -> Result<()> {
        let users = self.place.file("htpasswd", USERS)?;
        let auth = format!("auth: {{htpasswd: {{realm: shop, path: {users}}}}}\n");
        let _guarded = Registry::start(self.lan, self.place, 5001, &auth)?;
        let image = format!("{GUARDED}/shop/web:v1");
        self.kubectl.line(&format!("run stranger --image={image}"))?;
        self.says("stranger", "pull access denied, repository does not exist or may require authorization")?;
        self.kubectl.line("delete pod stranger")?;
        self.kubectl.line(&format!(
            "create secret docker-registry shop --docker-server={GUARDED} --docker-username=ali --docker-password=sesame"
        ))?;
        let secrets = json!({"spec": {"imagePullSecrets": [{"name": "shop"}]}}).to_string();
        let overrides = format!("--overrides={secrets}");
        self.kubectl.run(&["run", "friend", &format!("--image={image}"), &overrides])?;
        self.runs("friend")
    }

    fn registry_is_down(&self) -> Result<()> {
        let policy = "--image-pull-policy=IfNotPresent";
        self.kubectl.line(&format!("run cached --image={REGISTRY}/shop/web:v1 {policy}"))?;
        self.runs("cached")?;
        self.kubectl.line(&format!("run uncached --image={REGISTRY}/shop/web:v2 {policy}"))?;
        self.says("uncached", &format!("dial tcp {CLIENT}:5000: connect: connection refused"))?;
        self.waits_with("uncached", "ImagePullBackOff")
    }

    fn runs(&self, pod: &str) -> Result<()> {
        self.kubectl.line(&format!("wait pod/{pod} --for=condition=Ready --timeout=120s")).map(drop)
    }

    fn waits_with(&self, pod: &str, reason: &str) -> Result<()> {
        let path = format!("--for=jsonpath={{.status.containerStatuses[0].state.waiting.reason}}={reason}");
        self.kubectl.run(&["wait", &format!("pod/{pod}"), &path, "--timeout=90s"]).map(drop)
    }

    /// One of the pod's events has this in its message.
    fn says(&self, pod: &str, text: &str) -> Result<()> {
        eventually(&format!("an event of {pod} says {text:?}"), || {
            let line = format!("get events --field-selector involvedObject.name={pod} -o json");
            let list: Value = serde_json::from_str(&self.kubectl.line(&line)?)?;
            let messages: Vec<_> =
                list["items"].as_array().into_iter().flatten().map(|event| &event["message"]).collect();
            let said = messages.iter().any(|message| message.as_str().is_some_and(|message| message.contains(text)));
            ensure!(said, "they say {messages:?}");
            Ok(Some(()))
        })
    }
}

/// The image of the archive, into the registry.
impl Shop<'_> {
    fn push(&self, tags: &[&str]) -> Result<()> {
        let archive = self.place.0.join("archive");
        fs::create_dir_all(&archive)?;
        let mut unpack = Command::new("tar");
        unpack.arg("-xf").arg(cluster::image()).arg("-C").arg(&archive);
        succeeded("unpack the archive", &unpack.output()?)?;
        let images: Value = serde_json::from_slice(&fs::read(archive.join("manifest.json"))?)?;
        let part = |name: &Value| -> Result<PathBuf> { Ok(archive.join(name.as_str().context("a file's name")?)) };
        let config = self.push_blob(CONFIG, &part(&images[0]["Config"])?)?;
        let names = images[0]["Layers"].as_array().context("layers")?;
        let layers = names.iter().map(|name| self.push_blob(LAYER, &part(name)?)).collect::<Result<Vec<_>>>()?;
        let manifest = json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers});
        let file = self.place.file("pushed.json", &manifest.to_string())?;
        tags.iter()
            .try_for_each(|tag| self.put(&format!("http://{CLIENT}:5000/v2/shop/web/manifests/{tag}"), MANIFEST, &file))
    }

    /// Returns its descriptor.
    fn push_blob(&self, media_type: &str, file: &Path) -> Result<Value> {
        let path = file.to_str().context("a path in text")?;
        let sum = succeeded("sha256sum", &Command::new("sha256sum").arg(path).output()?)?;
        let digest = format!("sha256:{}", sum.split_whitespace().next().context("a sum")?);
        let begin = format!("http://{CLIENT}:5000/v2/shop/web/blobs/uploads/");
        let head = self.lan.0.client(&["curl", "-sSf", "-X", "POST", "-D", "-", "-o", "/dev/null", &begin])?;
        let location = head.lines().find_map(|line| line.strip_prefix("Location: ")).context("an upload")?;
        self.put(&format!("{}&digest={digest}", location.trim()), "application/octet-stream", path)?;
        Ok(json!({"mediaType": media_type, "digest": digest, "size": fs::metadata(file)?.len()}))
    }

    fn put(&self, url: &str, media_type: &str, file: &str) -> Result<()> {
        let kind = format!("Content-Type: {media_type}");
        self.lan.0.client(&["curl", "-sSf", "-T", file, "-H", &kind, url]).map(drop)
    }
}
