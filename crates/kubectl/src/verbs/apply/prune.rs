//! `apply --prune`: deletes what was applied before and is no longer in the files.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::LAST_APPLIED;
use crate::failure::{Failure, fail};
use crate::flags::Parsed;
use crate::objects::{Catalog, Info, Mapping, Matching, members};
use crate::session::Session;
use crate::verbs::delete::Removal;
use crate::verbs::writing::DryRun;

/// What is pruned unless `--prune-allowlist` says otherwise: group, version, kind.
const DEFAULT: &[(&str, &str, &str)] = &[
    ("", "v1", "ConfigMap"),
    ("", "v1", "Endpoints"),
    ("", "v1", "Namespace"),
    ("", "v1", "PersistentVolumeClaim"),
    ("", "v1", "PersistentVolume"),
    ("", "v1", "Pod"),
    ("", "v1", "ReplicationController"),
    ("", "v1", "Secret"),
    ("", "v1", "Service"),
    ("batch", "v1", "Job"),
    ("batch", "v1", "CronJob"),
    ("networking.k8s.io", "v1", "Ingress"),
    ("apps", "v1", "DaemonSet"),
    ("apps", "v1", "Deployment"),
    ("apps", "v1", "ReplicaSet"),
    ("apps", "v1", "StatefulSet"),
];

pub fn check(parsed: &Parsed) -> Result<(), Failure> {
    if !parsed.on("prune") {
        return Ok(());
    }
    if !parsed.on("all") && parsed.some("selector").is_none() {
        return fail!(
            "all resources selected for prune without explicitly passing --all. To prune all resources, pass the --all flag. If you did not mean to prune all resources, specify a label selector"
        );
    }
    Ok(())
}

/// What the files named.
#[derive(Default)]
pub struct Visited {
    paths: BTreeSet<String>,
    namespaces: BTreeSet<String>,
}

impl Visited {
    pub fn see(&mut self, info: &Info) {
        self.paths.insert(info.path());
        if !info.namespace.is_empty() {
            self.namespaces.insert(info.namespace.clone());
        }
    }
}

fn kinds(catalog: &Catalog, parsed: &Parsed) -> Result<Vec<Arc<Mapping>>, Failure> {
    let allowed = parsed.texts("prune-allowlist");
    if allowed.is_empty() {
        return Ok(DEFAULT.iter().filter_map(|(group, version, kind)| catalog.kind(group, version, kind)).collect());
    }
    let named = |text: &String| match text.split('/').collect::<Vec<_>>().as_slice() {
        [group, version, kind] => {
            let group = if *group == "core" { "" } else { group };
            let found = catalog.kind(group, version, kind);
            found
                .ok_or_else(|| Failure::Plain(format!("no matches for kind {kind:?} in version \"{group}/{version}\"")))
        }
        _ => fail!("invalid GroupVersionKind format: {text}, please follow <group/version/kind>"),
    };
    allowed.iter().map(named).collect()
}

pub async fn prune(session: &Session, parsed: &Parsed, dry_run: DryRun, visited: &Visited) -> Result<(), Failure> {
    let removal = Removal::of(parsed)?;
    for mapping in kinds(session.catalog().await?, parsed)? {
        let everywhere = BTreeSet::from([String::new()]);
        let namespaces = if mapping.namespaced { &visited.namespaces } else { &everywhere };
        for namespace in namespaces {
            for info in applied_before(session, parsed, &mapping, namespace).await? {
                if !visited.paths.contains(&info.path()) {
                    remove(session, &removal, dry_run, &info).await?;
                }
            }
        }
    }
    Ok(())
}

/// What was not applied is not ours to delete.
async fn applied_before(
    session: &Session,
    parsed: &Parsed,
    mapping: &Arc<Mapping>,
    namespace: &str,
) -> Result<Vec<Info>, Failure> {
    let matching = Matching {
        mappings: vec![mapping.clone()],
        namespace: namespace.to_owned(),
        labels: parsed.text("selector").to_owned(),
        fields: String::new(),
    };
    let pages = matching.pages(session.client()?, mapping, 500, |call| call).await?;
    let mut infos: Vec<Info> = pages.into_iter().flat_map(|page| members(mapping, page)).collect();
    infos.retain(|info| {
        apimachinery::object::annotation(&info.object, LAST_APPLIED).is_some()
            && apimachinery::object::deletion_timestamp(&info.object).is_none()
    });
    Ok(infos)
}

async fn remove(session: &Session, removal: &Removal, dry_run: DryRun, info: &Info) -> Result<(), Failure> {
    if dry_run != DryRun::Client {
        removal.start(session, info, dry_run).await?;
    }
    session.streams.line(format!("{} pruned{}", info.title(), dry_run.suffix()))
}
