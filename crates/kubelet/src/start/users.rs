//! Who a container runs as: the pod's numbers, or the image's name looked up in the image.

use std::fs::OpenOptions;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use api::corev1::{Container, Pod};
use container::User;

use crate::pods::model::spec;

/// A passwd or group file beyond this is not one.
const FILE_MAX: u64 = 4 << 20;

pub fn user(pod: &Pod, container: &Container, image_user: &str, rootfs: &Path) -> Result<User, String> {
    let of_pod = spec(pod).security_context.as_ref();
    let own = container.security_context.as_ref();
    let run_as_user = own.and_then(|own| own.run_as_user).or(of_pod.and_then(|pod| pod.run_as_user));
    let run_as_group = own.and_then(|own| own.run_as_group).or(of_pod.and_then(|pod| pod.run_as_group));
    let non_root = own.and_then(|own| own.run_as_non_root).or(of_pod.and_then(|pod| pod.run_as_non_root));
    let files = Files { passwd: read_inside(rootfs, "etc/passwd"), group: read_inside(rootfs, "etc/group") };
    check_non_root(non_root, run_as_user, image_user)?;
    let mut user = match run_as_user {
        Some(uid) => files.by_number(number(uid)?),
        None => files.by_image(image_user)?,
    };
    if let Some(gid) = run_as_group {
        user.gid = number(gid)?;
    }
    if non_root == Some(true) && user.uid == 0 {
        return Err("container has runAsNonRoot and image will run as root".to_owned());
    }
    let supplemental = of_pod.and_then(|pod| pod.supplemental_groups.as_deref()).unwrap_or_default();
    for gid in supplemental.iter().chain(of_pod.and_then(|pod| pod.fs_group.as_ref())) {
        user.additional_gids.push(number(*gid)?);
    }
    if of_pod.and_then(|pod| pod.supplemental_groups_policy.as_deref()) == Some("Strict") {
        let given = supplemental.len() + usize::from(of_pod.is_some_and(|pod| pod.fs_group.is_some()));
        user.additional_gids.drain(..user.additional_gids.len() - given);
    }
    Ok(user)
}

fn number(id: i64) -> Result<u32, String> {
    u32::try_from(id).map_err(|_| format!("{id} is no user or group id"))
}

fn check_non_root(non_root: Option<bool>, run_as_user: Option<i64>, image_user: &str) -> Result<(), String> {
    if non_root != Some(true) {
        return Ok(());
    }
    let name = image_user.split(':').next().unwrap_or_default();
    match run_as_user {
        Some(0) => Err("container's runAsUser breaks non-root policy".to_owned()),
        None if !name.is_empty() && name.parse::<u32>().is_err() => Err(format!(
            "container has runAsNonRoot and image has non-numeric user ({name}), cannot verify user is non-root"
        )),
        _ => Ok(()),
    }
}

/// Reads a file of the image; no link may lead out of it.
fn read_inside(rootfs: &Path, path: &str) -> String {
    let open = || -> std::io::Result<String> {
        let root = OpenOptions::new().read(true).custom_flags(libc::O_PATH | libc::O_DIRECTORY).open(rootfs)?;
        let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::CLOEXEC;
        let resolve = rustix::fs::ResolveFlags::IN_ROOT;
        let file = rustix::fs::openat2(&root, path, flags, rustix::fs::Mode::empty(), resolve)?;
        let mut text = String::new();
        std::fs::File::from(file).take(FILE_MAX).read_to_string(&mut text)?;
        Ok(text)
    };
    open().unwrap_or_default()
}

struct Files {
    passwd: String,
    group: String,
}

struct PasswdEntry<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
}

impl Files {
    fn entries(&self) -> impl Iterator<Item = PasswdEntry<'_>> {
        self.passwd.lines().filter_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next()?;
            let uid = fields.nth(1)?.parse().ok()?;
            let gid = fields.next()?.parse().ok()?;
            Some(PasswdEntry { name, uid, gid })
        })
    }

    /// The groups that list a user as their member.
    fn groups_of(&self, name: &str) -> Vec<u32> {
        let member = |line: &str| {
            let mut fields = line.split(':');
            let gid = fields.nth(2)?.parse().ok()?;
            fields.next()?.split(',').any(|member| member.trim() == name).then_some(gid)
        };
        self.group.lines().filter_map(member).collect()
    }

    fn with_groups(&self, entry: &PasswdEntry<'_>) -> User {
        User { uid: entry.uid, gid: entry.gid, additional_gids: self.groups_of(entry.name) }
    }

    fn by_number(&self, uid: u32) -> User {
        let known = self.entries().find(|entry| entry.uid == uid);
        known.map_or(User { uid, gid: 0, additional_gids: Vec::new() }, |entry| self.with_groups(&entry))
    }

    /// `name`, `name:group`, `1000`, `1000:1000`.
    fn by_image(&self, text: &str) -> Result<User, String> {
        let (name, group) = text.split_once(':').map_or((text, None), |(name, group)| (name, Some(group)));
        let mut user = match name {
            "" => self.by_number(0),
            name => match (self.entries().find(|entry| entry.name == name), name.parse()) {
                (Some(entry), _) => self.with_groups(&entry),
                (None, Ok(uid)) => self.by_number(uid),
                (None, Err(_)) => {
                    return Err(format!("unable to find user {name}: no matching entries in passwd file"));
                }
            },
        };
        if let Some(group) = group.filter(|group| !group.is_empty()) {
            user.gid = self.group_id(group)?;
        }
        Ok(user)
    }

    fn group_id(&self, group: &str) -> Result<u32, String> {
        let named = self.group.lines().find_map(|line| {
            let mut fields = line.split(':');
            (fields.next()? == group).then(|| fields.nth(1)?.parse().ok()).flatten()
        });
        let id = named.or_else(|| group.parse().ok());
        id.ok_or_else(|| format!("unable to find group {group}: no matching entries in group file"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> String {
        let files = Files {
            passwd: "root:x:0:0::/:/bin/sh\nweb:x:33:34::/:/bin/sh\n".into(),
            group: "root:x:0:\nwww:x:34:\nextra:x:40:web,other\n".into(),
        };
        match files.by_image(text) {
            Ok(user) => format!("{}:{} {:?}", user.uid, user.gid, user.additional_gids),
            Err(error) => error,
        }
    }

    #[test]
    fn the_images_user_is_a_name_or_a_number() {
        assert_eq!([check(""), check("web"), check("33")], ["0:0 []", "33:34 [40]", "33:34 [40]"]);
        assert_eq!([check("1000"), check("1000:www"), check("web:7")], ["1000:0 []", "1000:34 []", "33:7 [40]"]);
        assert_eq!(check("nobody"), "unable to find user nobody: no matching entries in passwd file");
    }

    #[test]
    fn root_is_refused_where_it_must_not_be() {
        assert!(check_non_root(Some(true), Some(0), "").is_err());
        assert!(check_non_root(Some(true), None, "web").is_err());
        assert!(check_non_root(Some(true), Some(5), "web").is_ok());
    }
}
