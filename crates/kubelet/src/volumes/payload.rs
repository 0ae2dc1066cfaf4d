//! The files of the volumes that the kubelet writes: config maps, secrets, the downward API, tokens.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use api::corev1::{DownwardAPIVolumeFile, KeyToPath, Volume, VolumeProjection};

use super::atomic::{self, FileContent, Files};
use super::token;
use crate::context::Context;
use crate::pods::model::spec;
use crate::start::{Place, env};

const PATIENCE: Duration = Duration::from_secs(60);
const DEFAULT_MODE: i32 = 0o644;

pub fn is_written_by_us(volume: &Volume) -> bool {
    volume.config_map.is_some()
        || volume.secret.is_some()
        || volume.projected.is_some()
        || volume.downward_api.is_some()
}

pub async fn write(context: &Context, place: &Place, volume: &Volume, path: &Path) -> Result<(), String> {
    let files = files(context, place, volume).await?;
    let group = super::fs_group(&place.pod);
    let path = path.to_owned();
    let in_memory = volume.secret.is_some() || volume.projected.is_some();
    let write = move || {
        // Secrets are kept off the disk.
        if in_memory && !super::is_tmpfs(&path) {
            std::fs::create_dir_all(&path)?;
            super::mount_tmpfs(&path, Some("mode=0755"))?;
        }
        atomic::write(&path, &files, group)
    };
    let written = tokio::task::spawn_blocking(write).await.expect("writing files does not panic");
    written.map_err(|error| error.to_string())
}

async fn files(context: &Context, place: &Place, volume: &Volume) -> Result<Files, String> {
    let namespace = place.pod.metadata.namespace.as_deref().unwrap_or_default();
    if let Some(source) = &volume.config_map {
        let data = config_map(context, namespace, &source.name, source.optional).await?;
        return select(data, source.items.as_deref(), source.default_mode, source.optional);
    }
    if let Some(source) = &volume.secret {
        let name = source.secret_name.as_deref().unwrap_or_default();
        let data = secret(context, namespace, name, source.optional).await?;
        return select(data, source.items.as_deref(), source.default_mode, source.optional);
    }
    if let Some(source) = &volume.downward_api {
        return downward(context, place, source.items.as_deref(), source.default_mode);
    }
    let Some(projected) = &volume.projected else { return Ok(Files::new()) };
    let mut files = Files::new();
    for source in projected.sources.iter().flatten() {
        files.extend(projection(context, place, source, projected.default_mode).await?);
    }
    Ok(files)
}

async fn projection(
    context: &Context,
    place: &Place,
    source: &VolumeProjection,
    mode: Option<i32>,
) -> Result<Files, String> {
    let namespace = place.pod.metadata.namespace.as_deref().unwrap_or_default();
    if let Some(source) = &source.config_map {
        let data = config_map(context, namespace, &source.name, source.optional).await?;
        return select(data, source.items.as_deref(), mode, source.optional);
    }
    if let Some(source) = &source.secret {
        let data = secret(context, namespace, &source.name, source.optional).await?;
        return select(data, source.items.as_deref(), mode, source.optional);
    }
    if let Some(source) = &source.downward_api {
        return downward(context, place, source.items.as_deref(), mode);
    }
    let Some(source) = &source.service_account_token else {
        return Err("this kind of projected source is not supported by this node yet".to_owned());
    };
    let token = token::get(context, &place.pod, source).await?;
    let mut content = content(token.into_bytes(), mode);
    if let Some(owner) = single_user(place) {
        (content.owner, content.mode) = (Some(owner), 0o600);
    }
    Ok(Files::from([(source.path.clone(), content)]))
}

/// The user that all containers of the pod run as, if they say so and agree.
fn single_user(place: &Place) -> Option<u32> {
    let spec = spec(&place.pod);
    let of_pod = spec.security_context.as_ref().and_then(|context| context.run_as_user);
    let inits = spec.init_containers.iter().flatten();
    let users = inits
        .chain(&spec.containers)
        .map(|container| container.security_context.as_ref().and_then(|context| context.run_as_user).or(of_pod));
    let users: Option<Vec<i64>> = users.collect();
    let users = users?;
    let first = *users.first()?;
    users.iter().all(|user| *user == first).then(|| u32::try_from(first).ok()).flatten()
}

type Data = BTreeMap<String, Vec<u8>>;

async fn config_map(context: &Context, namespace: &str, name: &str, optional: Option<bool>) -> Result<Data, String> {
    let found = context.references.config_map(namespace, name).get(PATIENCE).await?;
    let Some(map) = found else { return missing("configmap", name, optional) };
    let texts = map.data.clone().unwrap_or_default().into_iter().map(|(key, text)| (key, text.into_bytes()));
    let binary = map.binary_data.clone().unwrap_or_default().into_iter().map(|(key, data)| (key, data.0));
    Ok(texts.chain(binary).collect())
}

async fn secret(context: &Context, namespace: &str, name: &str, optional: Option<bool>) -> Result<Data, String> {
    let found = context.references.secret(namespace, name).get(PATIENCE).await?;
    let Some(secret) = found else { return missing("secret", name, optional) };
    Ok(secret.data.clone().unwrap_or_default().into_iter().map(|(key, data)| (key, data.0)).collect())
}

fn missing(kind: &str, name: &str, optional: Option<bool>) -> Result<Data, String> {
    if optional == Some(true) { Ok(Data::new()) } else { Err(format!("{kind} {name:?} not found")) }
}

fn content(data: Vec<u8>, mode: Option<i32>) -> FileContent {
    let mode = u32::try_from(mode.unwrap_or(DEFAULT_MODE)).unwrap_or(0o644) & 0o777;
    FileContent { data, mode, owner: None }
}

/// All keys as files, or those chosen, under the names given.
fn select(data: Data, items: Option<&[KeyToPath]>, mode: Option<i32>, optional: Option<bool>) -> Result<Files, String> {
    let Some(items) = items.filter(|items| !items.is_empty()) else {
        return Ok(data.into_iter().map(|(key, data)| (key, content(data, mode))).collect());
    };
    let mut files = Files::new();
    for item in items {
        match data.get(&item.key) {
            Some(data) => drop(files.insert(item.path.clone(), content(data.clone(), item.mode.or(mode)))),
            None if optional == Some(true) => {}
            None => return Err(format!("references non-existent config key: {}", item.key)),
        }
    }
    Ok(files)
}

fn downward(
    context: &Context,
    place: &Place,
    items: Option<&[DownwardAPIVolumeFile]>,
    mode: Option<i32>,
) -> Result<Files, String> {
    let mut files = Files::new();
    for item in items.unwrap_or_default() {
        let text = if let Some(field) = &item.field_ref {
            env::field_value(place, &context.config.node_name, &field.field_path)?
        } else if let Some(resource) = &item.resource_field_ref {
            let name = resource.container_name.as_deref().unwrap_or_default();
            let divisor = resource.divisor.as_ref().map(|divisor| divisor.0.as_str());
            env::resource_value(&place.pod, name, &resource.resource, divisor, &env::allocatable(context))?
        } else {
            String::new()
        };
        files.insert(item.path.clone(), content(text.into_bytes(), item.mode.or(mode)));
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data() -> Data {
        Data::from([("a".into(), b"1".to_vec()), ("b".into(), b"2".to_vec())])
    }

    #[test]
    fn keys_are_chosen_and_renamed() {
        let item = |key: &str| KeyToPath { key: key.into(), path: format!("d/{key}"), mode: Some(0o400) };
        let files = select(data(), Some(&[item("a")]), None, None).expect("files");
        assert_eq!(files.keys().collect::<Vec<_>>(), ["d/a"]);
        assert_eq!(files["d/a"].mode, 0o400);
        assert!(select(data(), Some(&[item("c")]), None, None).is_err());
        assert!(select(data(), Some(&[item("c")]), None, Some(true)).expect("none").is_empty());
        assert_eq!(select(data(), None, None, None).expect("files").len(), 2);
    }
}
