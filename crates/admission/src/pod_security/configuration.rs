//! What an administrator says: policies for namespaces that say nothing, and who is exempt.

use apimachinery::field::{ErrorList, Path};
use serde::Deserialize;
use serde_json::Value;

use super::policy::{LevelVersion, Policy};
use crate::configuration::{ConfigurationError, settings};

#[derive(Clone, Debug)]
pub struct Configuration {
    pub defaults: Policy,
    exemptions: Exemptions,
}

impl Default for Configuration {
    fn default() -> Self {
        Configuration { defaults: Policy::PRIVILEGED, exemptions: Exemptions::default() }
    }
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Exemptions {
    usernames: Vec<String>,
    namespaces: Vec<String>,
    runtime_classes: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PodSecurityConfiguration {
    #[serde(rename = "apiVersion")]
    _api_version: String,
    #[serde(rename = "kind")]
    _kind: String,
    #[serde(default)]
    defaults: Defaults,
    #[serde(default)]
    exemptions: Exemptions,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
struct Defaults {
    enforce: String,
    enforce_version: String,
    audit: String,
    audit_version: String,
    warn: String,
    warn_version: String,
}

impl Configuration {
    pub fn of(value: &Value) -> Result<Self, ConfigurationError> {
        if value.is_null() {
            return Ok(Self::default());
        }
        const KIND: &str = "PodSecurityConfiguration";
        let versions =
            ["v1", "v1beta1", "v1alpha1"].map(|version| format!("pod-security.admission.config.k8s.io/{version}"));
        let kinds: Vec<(&str, &str)> = versions.iter().map(|version| (version.as_str(), KIND)).collect();
        let PodSecurityConfiguration { defaults, exemptions, .. } = settings(value, &kinds)?;
        let mut errors = ErrorList::new();
        let policy = Policy {
            enforce: chosen(&defaults.enforce, &defaults.enforce_version, "enforce", &mut errors),
            audit: chosen(&defaults.audit, &defaults.audit_version, "audit", &mut errors),
            warn: chosen(&defaults.warn, &defaults.warn_version, "warn", &mut errors),
        };
        exemptions.check(&mut errors);
        if !errors.is_empty() {
            return Err(ConfigurationError::Invalid { plugin: "PodSecurity", errors });
        }
        Ok(Configuration { defaults: policy, exemptions })
    }

    pub fn exempts_namespace(&self, namespace: &str) -> bool {
        self.exemptions.namespaces.iter().any(|own| own == namespace)
    }

    pub fn exempts_user(&self, user: &str) -> bool {
        self.exemptions.usernames.iter().any(|own| own == user)
    }

    /// By the class that a pod names.
    pub fn exempts_runtime_class(&self, pod: &Value) -> bool {
        let class = pod.pointer("/spec/runtimeClassName").and_then(Value::as_str).filter(|class| !class.is_empty());
        class.is_some_and(|class| self.exemptions.runtime_classes.iter().any(|own| own == class))
    }
}

fn chosen(level: &str, version: &str, mode: &str, errors: &mut ErrorList) -> LevelVersion {
    let path = Path::new("defaults");
    let mut chosen = LevelVersion::DEFAULT;
    if !level.is_empty() {
        match level.parse() {
            Ok(level) => chosen.level = level,
            Err(why) => errors.invalid(&path.child(mode), level, why),
        }
    }
    if !version.is_empty() {
        match version.parse() {
            Ok(version) => chosen.version = version,
            Err(why) => errors.invalid(&path.child(&format!("{mode}-version")), version, why),
        }
    }
    chosen
}

impl Exemptions {
    fn check(&self, errors: &mut ErrorList) {
        let lists = [
            ("namespaces", &self.namespaces),
            ("runtimeClasses", &self.runtime_classes),
            ("usernames", &self.usernames),
        ];
        for (field, names) in lists {
            for (index, name) in names.iter().enumerate() {
                let path = Path::new("exemptions").child(field).index(index);
                if name.is_empty() {
                    errors.invalid(&path, name.as_str(), "must not be empty");
                } else if names[..index].contains(name) {
                    errors.duplicate(&path, name.as_str());
                }
            }
        }
    }
}
