//! What an administrator says of the chain: which plugins run, and with which settings (`AdmissionConfiguration`).

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use apimachinery::field::ErrorList;
use serde::Deserialize;
use serde_json::Value;

use crate::plugins::limited::LimitedResource;
use crate::plugins::pod_node_selector::NodeSelectors;
use crate::plugins::pod_toleration_restriction::Tolerations;
use crate::pod_security;

/// The settings of the chain. The default is upstream's.
#[derive(Clone, Debug, Default)]
pub struct Configuration {
    enabled: BTreeSet<String>,
    disabled: BTreeSet<String>,
    pub(crate) pod_security: pod_security::Configuration,
    pub(crate) limited: Vec<LimitedResource>,
    pub(crate) node_selectors: NodeSelectors,
    pub(crate) tolerations: Tolerations,
}

#[derive(Debug, thiserror::Error)]
pub enum ConfigurationError {
    #[error("unable to read admission control configuration from {path:?}")]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("the configuration of admission in {path:?} cannot be decoded: {problem}")]
    Decode { path: PathBuf, problem: String },
    #[error("no kind {kind:?} is registered for version {api_version:?}")]
    Kind { kind: String, api_version: String },
    #[error("the configuration of {plugin} is invalid: {errors}")]
    Invalid { plugin: &'static str, errors: ErrorList },
    #[error("{flag} plugin {plugin:?} is unknown")]
    Unknown { flag: &'static str, plugin: String },
    #[error("{0:?} in enable-admission-plugins and disable-admission-plugins overlapped")]
    Overlapped(Vec<String>),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct AdmissionConfiguration {
    api_version: String,
    kind: String,
    #[serde(default)]
    plugins: Vec<PluginConfiguration>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PluginConfiguration {
    name: String,
    #[serde(default)]
    path: String,
    #[serde(default)]
    configuration: Value,
}

impl Configuration {
    /// From upstream's flags: a file, and names of plugins that are to run or not to run.
    pub fn load(file: Option<&Path>, enable: &[String], disable: &[String]) -> Result<Self, ConfigurationError> {
        check_names(enable, disable)?;
        let names = |names: &[String]| names.iter().cloned().collect();
        let mut configuration = Configuration { enabled: names(enable), disabled: names(disable), ..Self::default() };
        if let Some(file) = file {
            configuration.read(file)?;
        }
        Ok(configuration)
    }

    pub(crate) fn runs(&self, plugin: &str) -> bool {
        let by_default = !crate::OFF_BY_DEFAULT.contains(&plugin);
        !self.disabled.contains(plugin) && (by_default || self.enabled.contains(plugin))
    }

    fn read(&mut self, file: &Path) -> Result<(), ConfigurationError> {
        let found: AdmissionConfiguration = decode(file, &text(file)?)?;
        let versions = ["apiserver.config.k8s.io/v1", "apiserver.k8s.io/v1alpha1"];
        if found.kind != "AdmissionConfiguration" || !versions.contains(&found.api_version.as_str()) {
            return Err(ConfigurationError::Kind { kind: found.kind, api_version: found.api_version });
        }
        // The first entry of a plugin counts.
        for plugin in found.plugins.iter().rev() {
            self.configure(plugin, file)?;
        }
        Ok(())
    }

    fn configure(&mut self, plugin: &PluginConfiguration, file: &Path) -> Result<(), ConfigurationError> {
        let own = own_configuration(plugin, file)?;
        match plugin.name.as_str() {
            "PodSecurity" => self.pod_security = pod_security::Configuration::of(&own)?,
            "PodNodeSelector" => self.node_selectors = unversioned(&plugin.name, &own)?,
            "PodTolerationRestriction" => self.tolerations = Tolerations::of(&own)?,
            "ResourceQuota" => self.limited = LimitedResource::all_of(&own)?,
            _ => {}
        }
        Ok(())
    }
}

/// What stands in the file itself goes before another file, whose path is relative to the first.
fn own_configuration(plugin: &PluginConfiguration, file: &Path) -> Result<Value, ConfigurationError> {
    if !plugin.configuration.is_null() || plugin.path.is_empty() {
        return Ok(plugin.configuration.clone());
    }
    let path = file.parent().unwrap_or(Path::new(".")).join(&plugin.path);
    decode(&path, &text(&path)?)
}

fn text(path: &Path) -> Result<String, ConfigurationError> {
    std::fs::read_to_string(path).map_err(|source| ConfigurationError::Read { path: path.to_owned(), source })
}

fn decode<T: serde::de::DeserializeOwned>(path: &Path, text: &str) -> Result<T, ConfigurationError> {
    let wrong =
        |error: serde_saphyr::Error| ConfigurationError::Decode { path: path.into(), problem: error.to_string() };
    serde_saphyr::from_str(text).map_err(wrong)
}

/// A plugin's settings, which must be of one of the kinds.
pub(crate) fn settings<T: serde::de::DeserializeOwned>(
    value: &Value,
    kinds: &[(&str, &str)],
) -> Result<T, ConfigurationError> {
    let text = |field: &str| value[field].as_str().unwrap_or_default();
    let (api_version, kind) = (text("apiVersion"), text("kind"));
    if !kinds.contains(&(api_version, kind)) {
        return Err(ConfigurationError::Kind { kind: kind.into(), api_version: api_version.into() });
    }
    let wrong =
        |error: serde_json::Error| ConfigurationError::Decode { path: PathBuf::from(kind), problem: error.to_string() };
    serde_json::from_value(value.clone()).map_err(wrong)
}

/// Settings of a plugin that never had a kind.
fn unversioned<T: serde::de::DeserializeOwned + Default>(plugin: &str, value: &Value) -> Result<T, ConfigurationError> {
    if value.is_null() {
        return Ok(T::default());
    }
    let wrong =
        |error: serde_json::Error| ConfigurationError::Decode { path: plugin.into(), problem: error.to_string() };
    serde_json::from_value(value.clone()).map_err(wrong)
}

fn check_names(enable: &[String], disable: &[String]) -> Result<(), ConfigurationError> {
    let known: BTreeSet<&str> = crate::plugin_names().collect();
    for (flag, names) in [("enable-admission-plugins", enable), ("disable-admission-plugins", disable)] {
        if let Some(name) = names.iter().find(|name| !known.contains(name.as_str())) {
            return Err(ConfigurationError::Unknown { flag, plugin: name.clone() });
        }
    }
    let both: Vec<String> = enable.iter().filter(|name| disable.contains(name)).cloned().collect();
    if both.is_empty() { Ok(()) } else { Err(ConfigurationError::Overlapped(both)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Result<Configuration, String> {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("admission.yaml");
        std::fs::write(&file, text).unwrap();
        std::fs::write(directory.path().join("quota.yaml"), QUOTA).unwrap();
        let loaded = Configuration::load(Some(&file), &[], &[]);
        loaded.map_err(|error| error.to_string().replace(&directory.path().display().to_string(), "/etc"))
    }

    const QUOTA: &str = "apiVersion: apiserver.config.k8s.io/v1\nkind: ResourceQuotaConfiguration\nlimitedResources:\n\
        - resource: pods\n  matchContains: [cpu]\n";

    #[test]
    fn settings_stand_in_the_file_or_in_another_beside_it() {
        let head = "apiVersion: apiserver.config.k8s.io/v1\nkind: AdmissionConfiguration\nplugins:\n";
        let pod_security = "- name: PodSecurity\n  configuration:\n    apiVersion: pod-security.admission.config.k8s.io/v1\n    \
            kind: PodSecurityConfiguration\n    defaults: {enforce: baseline, enforce-version: v1.30}\n    \
            exemptions: {namespaces: [kube-system]}\n";
        let loaded = load(&format!("{head}{pod_security}- name: ResourceQuota\n  path: quota.yaml\n")).unwrap();
        assert_eq!(loaded.limited.len(), 1);
        assert_eq!(loaded.pod_security.defaults.enforce.to_string(), "baseline:v1.30");
        assert!(loaded.pod_security.exempts_namespace("kube-system"));
    }

    #[test]
    fn what_is_wrong_is_an_error_and_not_a_default() {
        let told = |text: &str| load(text).unwrap_err();
        assert_eq!(told("apiVersion: v1\nkind: Pod\n"), "no kind \"Pod\" is registered for version \"v1\"");
        let head =
            "apiVersion: apiserver.config.k8s.io/v1\nkind: AdmissionConfiguration\nplugins:\n- name: PodSecurity\n";
        let wrong = "  configuration: {apiVersion: pod-security.admission.config.k8s.io/v1, kind: PodSecurityConfiguration, \
            defaults: {audit: loud}}\n";
        assert_eq!(
            told(&format!("{head}{wrong}")),
            "the configuration of PodSecurity is invalid: defaults.audit: Invalid value: \"loud\": must be one of privileged, \
             baseline, restricted"
        );
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let flags = |enable: &[&str], disable: &[&str]| {
            Configuration::load(None, &names(enable), &names(disable)).map_err(|error| error.to_string())
        };
        assert_eq!(flags(&["Nope"], &[]).unwrap_err(), "enable-admission-plugins plugin \"Nope\" is unknown");
        assert!(flags(&["PodSecurity"], &["PodSecurity"]).unwrap_err().contains("overlapped"));
        assert!(!flags(&[], &["PodSecurity"]).unwrap().runs("PodSecurity"));
    }

    #[test]
    fn some_plugins_run_only_when_they_are_asked_for() {
        let known: BTreeSet<&str> = crate::plugin_names().collect();
        for plugin in crate::OFF_BY_DEFAULT {
            assert!(known.contains(plugin), "{plugin}");
            assert!(!Configuration::default().runs(plugin), "{plugin}");
            let asked = Configuration::load(None, &[(*plugin).to_owned()], &[]).unwrap();
            assert!(asked.runs(plugin) && asked.runs("PodSecurity"), "{plugin}");
        }
    }
}
