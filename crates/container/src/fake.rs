//! A runtime in memory, for tests of what stands above: containers run until they are told to end.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::io::AsyncWriteExt;
use tokio::sync::{broadcast, mpsc, oneshot};

use crate::config::{ContainerConfig, SandboxConfig};
use crate::runtime::{
    ContainerRuntime, ContainerState, ContainerStats, ContainerStatus, ExecConfig, Exit, ExitReason, RuntimeError,
    RuntimeEvent, Sandbox, SandboxStatus, Session,
};

const EVENTS_MAX: usize = 1024;
const ECHO_BUFFER: usize = 64 * 1024;

/// Cloning shares the state.
#[derive(Clone)]
pub struct FakeRuntime {
    state: Arc<Mutex<State>>,
    events: broadcast::Sender<RuntimeEvent>,
}

#[derive(Default)]
struct State {
    sandboxes: BTreeMap<String, SandboxStatus>,
    /// What an exec answers, by its first argument; anything else echoes its arguments and ends with 0.
    exec_codes: BTreeMap<String, i32>,
    /// Containers by name that end by themselves as soon as they start.
    exits_at_start: BTreeMap<String, i32>,
    /// Containers by name whose creation is refused.
    refused: BTreeMap<String, String>,
    ignores_term: bool,
}

impl Default for FakeRuntime {
    fn default() -> Self {
        FakeRuntime { state: Arc::default(), events: broadcast::channel(EVENTS_MAX).0 }
    }
}

impl FakeRuntime {
    pub fn new() -> Self {
        Self::default()
    }

    /// The exit code of an exec whose first argument is `program`.
    pub fn set_exec_code(&self, program: &str, code: i32) {
        self.state.lock().exec_codes.insert(program.to_owned(), code);
    }

    /// Containers of this name end with `code` as soon as they start.
    pub fn exit_at_start(&self, name: &str, code: i32) {
        self.state.lock().exits_at_start.insert(name.to_owned(), code);
    }

    /// Creating a container of this name fails.
    pub fn refuse(&self, name: &str, message: &str) {
        self.state.lock().refused.insert(name.to_owned(), message.to_owned());
    }

    /// Containers end by SIGKILL only.
    pub fn ignore_term(&self) {
        self.state.lock().ignores_term = true;
    }

    /// Ends the running container of this name.
    pub fn exit(&self, uid: &str, name: &str, code: i32) {
        let id = self.find(uid, |container| container.config.name == name && container.state.is_running());
        if let Some(id) = id {
            self.end(uid, &id, code, None);
        }
    }

    fn find(&self, uid: &str, wanted: impl Fn(&ContainerStatus) -> bool) -> Option<String> {
        let state = self.state.lock();
        let found = state.sandboxes.get(uid)?.containers.iter().rev().find(|container| wanted(container));
        found.map(|container| container.config.id.clone())
    }

    fn end(&self, uid: &str, id: &str, code: i32, signal: Option<i32>) {
        let ended = self.change(uid, id, |container| {
            let ContainerState::Running { started_at, .. } = container.state else {
                return;
            };
            let reason = if code == 0 { ExitReason::Completed } else { ExitReason::Error };
            let finished_at = Timestamp::now();
            let exit = Exit { code, signal, reason, message: String::new(), started_at: Some(started_at), finished_at };
            container.state = ContainerState::Exited(exit);
        });
        if ended.is_ok() {
            let event = RuntimeEvent { sandbox: uid.to_owned(), container: id.to_owned(), exit_code: Some(code) };
            let _ = self.events.send(event);
        }
    }

    fn change<T>(&self, uid: &str, id: &str, f: impl FnOnce(&mut ContainerStatus) -> T) -> Result<T, RuntimeError> {
        let mut state = self.state.lock();
        let sandbox = state.sandboxes.get_mut(uid).ok_or_else(|| RuntimeError::NoSandbox { uid: uid.to_owned() })?;
        let container = sandbox.containers.iter_mut().find(|container| container.config.id == id);
        container.map(f).ok_or_else(|| RuntimeError::NoContainer { id: id.to_owned() })
    }

    fn is_running(&self, uid: &str, id: &str) -> Result<bool, RuntimeError> {
        self.change(uid, id, |container| container.state.is_running())
    }
}

#[async_trait]
impl ContainerRuntime for FakeRuntime {
    async fn create_sandbox(&self, config: &SandboxConfig) -> Result<Sandbox, RuntimeError> {
        let netns = (!config.host_network).then(|| format!("/fake/{}/net", config.uid).into());
        let mut state = self.state.lock();
        let status = state.sandboxes.entry(config.uid.clone()).or_insert_with(|| SandboxStatus {
            config: config.clone(),
            netns,
            created_at: Timestamp::now(),
            containers: Vec::new(),
        });
        Ok(Sandbox { uid: config.uid.clone(), netns: status.netns.clone() })
    }

    async fn remove_sandbox(&self, uid: &str) -> Result<(), RuntimeError> {
        self.state.lock().sandboxes.remove(uid);
        Ok(())
    }

    async fn create_container(&self, config: &ContainerConfig) -> Result<(), RuntimeError> {
        let mut state = self.state.lock();
        if let Some(message) = state.refused.get(&config.name) {
            return Err(RuntimeError::Refused { message: message.clone() });
        }
        let sandbox = state.sandboxes.get_mut(&config.sandbox);
        let sandbox = sandbox.ok_or_else(|| RuntimeError::NoSandbox { uid: config.sandbox.clone() })?;
        sandbox.containers.push(ContainerStatus {
            config: config.clone(),
            created_at: Timestamp::now(),
            state: ContainerState::Created,
        });
        Ok(())
    }

    async fn start_container(&self, uid: &str, id: &str) -> Result<(), RuntimeError> {
        let name = self.change(uid, id, |container| {
            container.state = ContainerState::Running { pid: 1, started_at: Timestamp::now() };
            container.config.name.clone()
        })?;
        let code = self.state.lock().exits_at_start.get(&name).copied();
        if let Some(code) = code {
            self.end(uid, id, code, None);
        }
        Ok(())
    }

    async fn kill_container(&self, uid: &str, id: &str, signal: i32) -> Result<(), RuntimeError> {
        let ignored = signal != libc::SIGKILL && self.state.lock().ignores_term;
        if self.is_running(uid, id)? && !ignored {
            self.end(uid, id, 128 + signal, Some(signal));
        }
        Ok(())
    }

    async fn remove_container(&self, uid: &str, id: &str) -> Result<(), RuntimeError> {
        if self.is_running(uid, id).unwrap_or(false) {
            return Err(RuntimeError::StillRunning { id: id.to_owned() });
        }
        if let Some(sandbox) = self.state.lock().sandboxes.get_mut(uid) {
            sandbox.containers.retain(|container| container.config.id != id);
        }
        Ok(())
    }

    async fn exec(&self, uid: &str, id: &str, exec: &ExecConfig) -> Result<Session, RuntimeError> {
        if !self.is_running(uid, id)? {
            return Err(RuntimeError::NotRunning { id: id.to_owned() });
        }
        let program = exec.args.first().cloned().unwrap_or_default();
        let code = self.state.lock().exec_codes.get(&program).copied().unwrap_or(0);
        let (mut stdout, reader) = tokio::io::duplex(ECHO_BUFFER);
        // The arguments fit the buffer, and a reader that left does not matter.
        let _ = stdout.write_all(format!("{}\n", exec.args.join(" ")).as_bytes()).await;
        let (sender, exit) = oneshot::channel();
        let _ = sender.send(code);
        let resize = mpsc::channel(1).0;
        let stdin = exec.stdin.then(|| Box::pin(tokio::io::sink()) as _);
        Ok(Session { stdin, stdout: exec.stdout.then(|| Box::pin(reader) as _), stderr: None, resize, exit })
    }

    async fn attach(&self, uid: &str, id: &str, exec: &ExecConfig) -> Result<Session, RuntimeError> {
        self.exec(uid, id, exec).await
    }

    async fn list(&self) -> Result<Vec<SandboxStatus>, RuntimeError> {
        Ok(self.state.lock().sandboxes.values().cloned().collect())
    }

    async fn status(&self, uid: &str) -> Result<Option<SandboxStatus>, RuntimeError> {
        Ok(self.state.lock().sandboxes.get(uid).cloned())
    }

    async fn stats(&self, uid: &str, id: &str) -> Result<ContainerStats, RuntimeError> {
        self.is_running(uid, id).map(|_| ContainerStats::default())
    }

    fn subscribe(&self) -> broadcast::Receiver<RuntimeEvent> {
        self.events.subscribe()
    }
}
