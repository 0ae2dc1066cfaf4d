//! Replaces libcontainer's last step: find the program, load what an exec would lose, become the program.

use std::ffi::CString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use libcontainer::oci_spec::runtime::{LinuxCapabilities, LinuxSeccomp, Process, Spec};
use libcontainer::syscall::syscall::create_syscall;
use libcontainer::workload::{Executor, ExecutorError, ExecutorValidationError};

/// What libcontainer drops when a process enters a running container.
#[derive(Clone, Default)]
pub struct ContainerExecutor {
    pub seccomp: Option<LinuxSeccomp>,
    /// The capabilities to end with; loading the profile needs more for a moment.
    pub capabilities: Option<LinuxCapabilities>,
}

impl Executor for ContainerExecutor {
    fn validate(&self, spec: &Spec) -> Result<(), ExecutorValidationError> {
        find_program(process(spec)?).map(|_| ()).map_err(ExecutorValidationError::ArgValidationError)
    }

    fn exec(&self, spec: &Spec) -> Result<(), ExecutorError> {
        let process = process(spec).map_err(|error| ExecutorError::Other(error.to_string()))?;
        self.confine()?;
        let program = find_program(process).map_err(ExecutorError::Other)?;
        let text = |text: &str| CString::new(text).map_err(|_| ExecutorError::InvalidArg);
        let args = process.args().iter().flatten().map(|arg| text(arg)).collect::<Result<Vec<_>, _>>()?;
        let path = text(&program.to_string_lossy())?;
        let Err(error) = nix::unistd::execv(&path, &args);
        Err(ExecutorError::Other(format!("exec {:?}: {}", args[0], error.desc())))
    }
}

impl ContainerExecutor {
    fn confine(&self) -> Result<(), ExecutorError> {
        let other = |error: &dyn std::fmt::Display| ExecutorError::Other(format!("load the seccomp profile: {error}"));
        if let Some(profile) = &self.seccomp {
            libcontainer::seccomp::initialize_seccomp(profile).map_err(|error| other(&error))?;
        }
        if let Some(capabilities) = &self.capabilities {
            libcontainer::capabilities::drop_privileges(capabilities, &*create_syscall())
                .map_err(|error| other(&error))?;
        }
        Ok(())
    }
}

fn process(spec: &Spec) -> Result<&Process, ExecutorValidationError> {
    let process = spec.process().as_ref();
    process.ok_or_else(|| ExecutorValidationError::ArgValidationError("the document has no process".to_owned()))
}

fn find_program(process: &Process) -> Result<PathBuf, String> {
    let name = process.args().iter().flatten().next().ok_or("no command specified")?;
    if name.contains('/') {
        return check_program(name, Path::new(name));
    }
    let path = process.env().iter().flatten().find_map(|entry| entry.strip_prefix("PATH=")).unwrap_or_default();
    let mut found = path.split(':').map(|directory| Path::new(directory).join(name));
    found
        .find(|candidate| is_program(candidate))
        .ok_or_else(|| format!("exec: {name:?}: executable file not found in $PATH"))
}

fn check_program(name: &str, path: &Path) -> Result<PathBuf, String> {
    match fs::metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            Err(format!("exec: {name:?}: permission denied"))
        }
        Err(_) => Err(format!("exec: {name:?}: stat {name}: no such file or directory")),
        Ok(metadata) if metadata.is_dir() => Err(format!("exec: {name:?}: is a directory")),
        Ok(_) if is_program(path) => Ok(path.to_owned()),
        Ok(_) => Err(format!("exec: {name:?}: permission denied")),
    }
}

fn is_program(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}
