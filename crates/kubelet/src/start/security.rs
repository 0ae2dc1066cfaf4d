//! The security context of a container, from its own and its pod's.

use api::corev1::{Container, Pod, SeccompProfile};
use container::{Seccomp, Security};

use crate::context::Context;
use crate::pods::model::spec;

pub fn security(context: &Context, pod: &Pod, container: &Container) -> Result<Security, String> {
    let own = container.security_context.clone().unwrap_or_default();
    let of_pod = spec(pod).security_context.as_ref();
    let capabilities = own.capabilities.unwrap_or_default();
    let profile = own.seccomp_profile.or(of_pod.and_then(|pod| pod.seccomp_profile.clone()));
    Ok(Security {
        privileged: own.privileged.unwrap_or(false),
        read_only_rootfs: own.read_only_root_filesystem.unwrap_or(false),
        no_new_privileges: own.allow_privilege_escalation == Some(false),
        capabilities_add: capabilities.add.unwrap_or_default(),
        capabilities_drop: capabilities.drop.unwrap_or_default(),
        seccomp: seccomp(context, profile.as_ref())?,
        unmasked: own.proc_mount.as_deref() == Some("Unmasked"),
    })
}

/// Nothing said means the runtime's default: secure from the first start.
fn seccomp(context: &Context, profile: Option<&SeccompProfile>) -> Result<Seccomp, String> {
    let Some(profile) = profile else { return Ok(Seccomp::RuntimeDefault) };
    match profile.type_.as_str() {
        "Unconfined" => Ok(Seccomp::Unconfined),
        "Localhost" => {
            let name = profile.localhost_profile.as_deref().unwrap_or_default();
            if name.split('/').any(|part| part == "..") || name.starts_with('/') {
                return Err(format!("seccomp profile {name:?} is not below the profile directory"));
            }
            let path = context.config.data_dir.join("seccomp").join(name);
            let text = std::fs::read(&path).map_err(|error| format!("read seccomp profile {name:?}: {error}"))?;
            let profile =
                serde_json::from_slice(&text).map_err(|error| format!("seccomp profile {name:?}: {error}"))?;
            Ok(Seccomp::Profile(profile))
        }
        _ => Ok(Seccomp::RuntimeDefault),
    }
}
