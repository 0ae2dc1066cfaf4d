//! Containers: a sandbox per pod, its monitor process, and the OCI runtime in re-executed processes.
//!
//! The seam is [`ContainerRuntime`]; [`LinuxRuntime`] does it with namespaces and cgroups, [`FakeRuntime`] in memory.
//! Must not know: Kubernetes objects, images, networks. The agent's side is `linux`, the monitor's side `monitor`
//! (entered by [`dispatch`]); they meet in `monitor::protocol` and in the records on disk. Start at [`ContainerRuntime`].
#![expect(unsafe_code, reason = "forks of the single-threaded monitor, and one ioctl")]

mod cgroup;
mod config;
mod fake;
mod layout;
mod linux;
mod monitor;
mod processes;
mod records;
mod runtime;
mod spec;

pub use config::{ContainerConfig, LogConfig, Mount, Propagation, Resources, SandboxConfig, Seccomp, Security, User};
pub use fake::FakeRuntime;
pub use linux::{LinuxRuntime, list_run_dir};
pub use monitor::{VERB, dispatch};
pub use processes::process_ended;
pub use runtime::{
    ContainerRuntime, ContainerState, ContainerStats, ContainerStatus, ExecConfig, Exit, ExitReason, Reader,
    RuntimeError, RuntimeEvent, Sandbox, SandboxStatus, Session, TerminalSize, Writer,
};
pub use spec::{DeviceNode, HostFacts, NamespacePaths, oci_spec};
