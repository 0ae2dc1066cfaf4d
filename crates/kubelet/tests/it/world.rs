//! A kubelet with everything around it.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use container::{ContainerRuntime, FakeRuntime, LinuxRuntime};
use image::{FilesystemUsage, ImageError, ImageInfo, ImageService, RegistryAuth};
use kubelet::{Config, Dependencies, HostPort, Kubelet, NetworkError, PodAddresses, PodNetwork, PodRef, Server};
use rt::TaskSet;
use serde_json::{Value, json};
use testkit::FakeApi;

const PATIENCE: Duration = Duration::from_secs(30);
pub const NODE: &str = "node1";
const PODS: &str = "/api/v1/namespaces/default/pods";
/// Of every pod: on loopback, so that nothing that asks for it leaves the machine.
pub const POD_IP: &str = "127.0.0.2";

pub struct World {
    pub api: FakeApi,
    pub fake: FakeRuntime,
    pub runtime: Arc<dyn ContainerRuntime>,
    pub directory: tempfile::TempDir,
    pub tasks: TaskSet,
    pub server: Server,
}

pub fn block_on(test: impl Future<Output = ()>) {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    runtime.block_on(async { tokio::time::timeout(PATIENCE, test).await.expect("the test takes too long") });
}

pub fn is_ready(pod: Option<&Value>) -> bool {
    pod.is_some_and(|pod| pod["status"]["containerStatuses"][0]["ready"] == true)
}

/// One image for every name but `missing`; its root is a plain directory.
struct Images(PathBuf);

#[async_trait]
impl ImageService for Images {
    async fn status(&self, reference: &str) -> Result<Option<ImageInfo>, ImageError> {
        let config = image::ImageConfig { cmd: vec!["sh".into()], ..image::ImageConfig::default() };
        let info = ImageInfo {
            id: "sha256:1".into(),
            repo_tags: vec![reference.to_owned()],
            repo_digests: Vec::new(),
            size: 1,
            config,
        };
        Ok((reference != "missing").then_some(info))
    }

    async fn pull(&self, reference: &str, _: &[RegistryAuth]) -> Result<ImageInfo, ImageError> {
        self.status(reference).await?.ok_or_else(|| ImageError::NotFound { reference: reference.to_owned() })
    }

    async fn prepare(&self, _: &str, snapshot: &str) -> Result<PathBuf, ImageError> {
        let root = self.0.join(snapshot);
        make_root(&root);
        Ok(root)
    }

    async fn remove_snapshot(&self, snapshot: &str) -> Result<(), ImageError> {
        let _ = fs::remove_dir_all(self.0.join(snapshot));
        Ok(())
    }

    async fn list(&self) -> Result<Vec<ImageInfo>, ImageError> {
        Ok(Vec::new())
    }

    async fn remove(&self, _: &str) -> Result<(), ImageError> {
        Ok(())
    }

    async fn filesystem_usage(&self) -> Result<FilesystemUsage, ImageError> {
        Ok(FilesystemUsage::default())
    }
}

fn make_root(root: &Path) {
    for directory in ["bin", "proc", "sys", "dev", "tmp", "etc", "var"] {
        fs::create_dir_all(root.join(directory)).expect("a directory");
    }
    if Path::new("/bin/busybox").exists() {
        fs::copy("/bin/busybox", root.join("bin/busybox")).expect("busybox");
        for applet in ["sh", "echo", "cat", "sleep", "hostname", "env", "id", "ls", "nc", "true", "stty"] {
            let _ = std::os::unix::fs::symlink("busybox", root.join("bin").join(applet));
        }
    }
}

struct Network;

#[async_trait]
impl PodNetwork for Network {
    async fn attach(&self, _: &PodRef, _: &Path, _: &[HostPort]) -> Result<PodAddresses, NetworkError> {
        Ok(PodAddresses { ips: vec![POD_IP.parse().expect("an address")] })
    }

    async fn detach(&self, _: &PodRef, _: Option<&Path>) -> Result<(), NetworkError> {
        Ok(())
    }

    async fn ready(&self) -> Result<(), NetworkError> {
        Ok(())
    }
}

impl World {
    pub async fn fake() -> World {
        let fake = FakeRuntime::new();
        World::with(
            Arc::new(fake.clone()),
            fake,
            TaskSet::new(),
            tempfile::tempdir().expect("a directory"),
            FakeApi::new(),
        )
    }

    pub async fn real(name: &str) -> World {
        let directory = tempfile::Builder::new().prefix(name).tempdir().expect("a directory");
        let tasks = TaskSet::new();
        let runtime = LinuxRuntime::new(directory.path().join("run"), tasks.clone()).await.expect("a runtime");
        World::with(Arc::new(runtime), FakeRuntime::new(), tasks, directory, FakeApi::new())
    }

    fn with(
        runtime: Arc<dyn ContainerRuntime>,
        fake: FakeRuntime,
        tasks: TaskSet,
        directory: tempfile::TempDir,
        api: FakeApi,
    ) -> World {
        let server = start(&api, &runtime, directory.path(), &tasks);
        World { api, fake, runtime, directory, tasks, server }
    }

    /// A new kubelet takes over from this one.
    pub async fn restart(&mut self) {
        self.tasks.shutdown().await;
        self.tasks = TaskSet::new();
        self.server = start(&self.api, &self.runtime, self.directory.path(), &self.tasks);
    }

    pub fn path(name: &str) -> String {
        format!("{PODS}/{name}")
    }

    pub fn create(&self, name: &str, mut spec: Value) -> String {
        spec["nodeName"] = json!(NODE);
        let metadata = json!({ "name": name, "namespace": "default", "uid": format!("uid-{name}"), "generation": 1 });
        self.api.put(PODS, json!({ "apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec, "status": { "phase": "Pending" } }));
        World::path(name)
    }

    pub async fn wait_phase(&self, path: &str, phase: &str) -> Value {
        self.api.wait(path, |pod| pod.is_some_and(|pod| pod["status"]["phase"] == phase)).await.expect("a pod")
    }

    pub async fn wait_gone(&self, path: &str) {
        self.api.wait(path, |pod| pod.is_none()).await;
    }

    /// Stops, then deletes what is left of all pods: a kubelet that runs would start them again meanwhile.
    pub async fn done(self) {
        clean_up(&self.tasks, &self.runtime, self.directory.path()).await;
    }
}

impl Drop for World {
    /// After a failure as well, nothing stays.
    fn drop(&mut self) {
        if std::thread::panicking() {
            let (tasks, runtime) = (self.tasks.clone(), Arc::clone(&self.runtime));
            let directory = self.directory.path().to_owned();
            let end = move || block_on(async move { clean_up(&tasks, &runtime, &directory).await });
            let _ = std::thread::spawn(end).join();
        }
    }
}

fn start(api: &FakeApi, runtime: &Arc<dyn ContainerRuntime>, path: &Path, tasks: &TaskSet) -> Server {
    let mut config = Config::new(NODE, IpAddr::from([192, 0, 2, 1]), path.join("data"), path.join("run"));
    config.cgroup_root = format!("/coracle-test-{}", std::process::id());
    let kubelet = Kubelet::new(
        Dependencies {
            config,
            client: api.client(),
            runtime: Arc::clone(runtime),
            images: Arc::new(Images(path.join("images"))),
            network: Arc::new(Network),
        },
        tasks,
    );
    let server = kubelet.server();
    tasks.spawn("kubelet", kubelet.run());
    server
}

async fn clean_up(tasks: &TaskSet, runtime: &Arc<dyn ContainerRuntime>, directory: &Path) {
    tasks.shutdown().await;
    for sandbox in runtime.list().await.expect("a list") {
        runtime.remove_sandbox(&sandbox.config.uid).await.expect("remove");
    }
    for controller in fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten() {
        let root = controller.path().join(format!("coracle-test-{}", std::process::id()));
        for below in ["burstable", "besteffort", ""] {
            let _ = fs::remove_dir(root.join(below));
        }
    }
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    for mount in mounts.lines().filter_map(|line| line.split(' ').nth(4)) {
        if Path::new(mount).starts_with(directory) {
            let _ = nix::mount::umount2(mount, nix::mount::MntFlags::MNT_DETACH);
        }
    }
}
