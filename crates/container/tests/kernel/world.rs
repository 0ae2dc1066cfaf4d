//! What a test needs: a runtime, a root file system of busybox, and the removal of both.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use container::{
    ContainerConfig, ContainerRuntime, ContainerState, ExecConfig, Exit, FakeRuntime, LinuxRuntime, LogConfig,
    SandboxConfig, Session,
};
use rt::TaskSet;
use tokio::io::AsyncReadExt;

/// Beyond this the test has failed; nothing waits for it when all is well.
const PATIENCE: Duration = Duration::from_secs(20);

pub struct World {
    pub runtime: Arc<dyn ContainerRuntime>,
    pub uid: String,
    pub directory: tempfile::TempDir,
    pub tasks: TaskSet,
    real: bool,
}

pub fn can_run_containers() -> bool {
    let able = nix_is_root() && Path::new("/bin/busybox").exists();
    if !able {
        eprintln!("SKIPPED: needs root and /bin/busybox (Debian: busybox-static)");
    }
    able
}

fn nix_is_root() -> bool {
    rustix::process::geteuid().is_root()
}

pub fn block_on(test: impl Future<Output = ()>) {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    runtime.block_on(async { tokio::time::timeout(PATIENCE, test).await.expect("the test takes too long") });
}

impl World {
    pub async fn real(name: &str) -> World {
        let directory = tempfile::Builder::new().prefix(name).tempdir().expect("a directory");
        let tasks = TaskSet::new();
        let runtime = LinuxRuntime::new(directory.path().join("run"), tasks.clone()).await.expect("a runtime");
        World { runtime: Arc::new(runtime), uid: name.to_owned(), directory, tasks, real: true }
    }

    pub fn fake(name: &str) -> World {
        let directory = tempfile::tempdir().expect("a directory");
        World {
            runtime: Arc::new(FakeRuntime::new()),
            uid: name.to_owned(),
            directory,
            tasks: TaskSet::new(),
            real: false,
        }
    }

    pub fn sandbox(&self) -> SandboxConfig {
        SandboxConfig {
            uid: self.uid.clone(),
            namespace: "default".into(),
            name: self.uid.clone(),
            hostname: "a-pod".into(),
            cgroup: self.cgroup(),
            ..Default::default()
        }
    }

    pub fn cgroup(&self) -> String {
        format!("/coracle-test-{}/{}", std::process::id(), self.uid)
    }

    pub fn container(&self, name: &str, args: &[&str]) -> ContainerConfig {
        ContainerConfig {
            id: format!("{name}-0123456789abcdef"),
            sandbox: self.uid.clone(),
            name: name.into(),
            rootfs: if self.real { self.rootfs() } else { PathBuf::from("/") },
            args: args.iter().map(|arg| (*arg).to_owned()).collect(),
            cwd: "/".into(),
            cgroup: format!("{}/{name}", self.cgroup()),
            log: LogConfig { path: self.log(name), ..Default::default() },
            ..Default::default()
        }
    }

    pub fn log(&self, name: &str) -> PathBuf {
        self.directory.path().join(format!("logs/{name}/0.log"))
    }

    fn rootfs(&self) -> PathBuf {
        let root = self.directory.path().join("rootfs");
        if !root.exists() {
            for directory in ["bin", "proc", "sys", "dev", "tmp", "etc"] {
                fs::create_dir_all(root.join(directory)).expect("a directory");
            }
            fs::copy("/bin/busybox", root.join("bin/busybox")).expect("busybox");
            for applet in [
                "sh", "echo", "cat", "sleep", "hostname", "true", "false", "stty", "grep", "id", "mount", "mknod",
                "ls", "head", "tr", "yes", "unshare",
            ] {
                symlink("busybox", root.join("bin").join(applet)).expect("an applet");
            }
        }
        root
    }

    pub async fn run(&self, config: &ContainerConfig) {
        self.runtime.create_container(config).await.expect("create");
        self.runtime.start_container(&self.uid, &config.id).await.expect("start");
    }

    pub async fn exit_of(&self, id: &str) -> Exit {
        let mut events = self.runtime.subscribe();
        loop {
            if let ContainerState::Exited(exit) = self.state_of(id).await {
                return exit;
            }
            let _ = events.recv().await;
        }
    }

    pub async fn state_of(&self, id: &str) -> ContainerState {
        let status = self.runtime.status(&self.uid).await.expect("a status").expect("a sandbox");
        status.containers.into_iter().find(|c| c.config.id == id).expect("a container").state
    }

    /// Runs to the end and gives the text of the log without its times.
    pub async fn output_of(&self, config: &ContainerConfig) -> String {
        self.run(config).await;
        self.exit_of(&config.id).await;
        log_text(&config.log.path)
    }

    pub async fn done(self) {
        self.runtime.remove_sandbox(&self.uid).await.expect("remove the sandbox");
        self.tasks.shutdown().await;
        remove_test_cgroup();
    }
}

/// The group above the pods' groups is the test's own; it goes with the last of them.
fn remove_test_cgroup() {
    let name = format!("coracle-test-{}", std::process::id());
    let Ok(controllers) = fs::read_dir("/sys/fs/cgroup") else { return };
    for controller in controllers.flatten() {
        let _ = fs::remove_dir(controller.path().join(&name));
    }
    let _ = fs::remove_dir(Path::new("/sys/fs/cgroup").join(&name));
}

impl Drop for World {
    /// After a failure as well, nothing stays.
    fn drop(&mut self) {
        if self.real && std::thread::panicking() {
            let runtime = Arc::clone(&self.runtime);
            let uid = self.uid.clone();
            let removal = std::thread::spawn(move || block_on(async move { drop(runtime.remove_sandbox(&uid).await) }));
            let _ = removal.join();
        }
    }
}

pub fn log_text(path: &Path) -> String {
    let text = fs::read_to_string(path).expect("a log");
    text.lines().map(|line| line.split_once(' ').expect("a time").1.to_owned() + "\n").collect()
}

pub fn exec(args: &[&str]) -> ExecConfig {
    let args = args.iter().map(|arg| (*arg).to_owned()).collect();
    ExecConfig { args, stdout: true, stderr: true, ..Default::default() }
}

/// All output, then the exit code.
pub async fn finish(session: Session) -> (String, i32) {
    let mut text = String::new();
    for mut stream in [session.stdout, session.stderr].into_iter().flatten() {
        stream.read_to_string(&mut text).await.expect("output");
    }
    (text, session.exit.await.expect("an exit code"))
}
