//! Which capabilities a container gets.

use crate::config::Security;

/// In the kernel's order: the index is the bit.
const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

const DEFAULT: [&str; 14] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "FSETID",
    "FOWNER",
    "MKNOD",
    "NET_RAW",
    "SETGID",
    "SETUID",
    "SETFCAP",
    "SETPCAP",
    "NET_BIND_SERVICE",
    "SYS_CHROOT",
    "KILL",
    "AUDIT_WRITE",
];

pub(crate) fn names_of_mask(mask: u64) -> Vec<String> {
    let bits = NAMES.iter().enumerate().filter(|(bit, _)| mask >> bit & 1 == 1);
    bits.map(|(_, name)| format!("CAP_{name}")).collect()
}

/// The container's set, never more than the host can give.
pub(super) fn effective(security: &Security, host: &[String]) -> Vec<String> {
    let wanted = |name: &str| security.privileged || asked_for(security, name);
    NAMES
        .iter()
        .filter(|name| wanted(name))
        .map(|name| format!("CAP_{name}"))
        .filter(|name| host.contains(name))
        .collect()
}

fn asked_for(security: &Security, name: &str) -> bool {
    let mentions = |list: &[String], name: &str| list.iter().any(|entry| normal(entry) == name);
    let added = mentions(&security.capabilities_add, name);
    let dropped = mentions(&security.capabilities_drop, name);
    let base = match (mentions(&security.capabilities_add, "ALL"), mentions(&security.capabilities_drop, "ALL")) {
        (true, _) => true,
        (false, true) => false,
        (false, false) => DEFAULT.contains(&name),
    };
    (base && !dropped) || added
}

fn normal(name: &str) -> String {
    let upper = name.to_ascii_uppercase();
    upper.strip_prefix("CAP_").map_or(upper.clone(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(add: &[&str], drop: &[&str]) -> Vec<String> {
        let own = |list: &[&str]| list.iter().map(|name| (*name).to_owned()).collect();
        let security = Security { capabilities_add: own(add), capabilities_drop: own(drop), ..Default::default() };
        effective(&security, &names_of_mask(u64::MAX))
    }

    #[test]
    fn all_dropped_and_one_added_is_one() {
        assert_eq!(check(&["NET_ADMIN"], &["ALL"]), ["CAP_NET_ADMIN"]);
    }

    #[test]
    fn all_added_but_one() {
        assert_eq!(check(&["ALL"], &["CAP_SYS_ADMIN"]).len(), 40);
    }

    #[test]
    fn the_default_has_fourteen() {
        assert_eq!(check(&[], &[]).len(), 14);
    }

    #[test]
    fn what_the_host_lacks_is_not_given() {
        let security = Security { privileged: true, ..Default::default() };
        assert_eq!(effective(&security, &["CAP_CHOWN".into()]), ["CAP_CHOWN"]);
    }
}
