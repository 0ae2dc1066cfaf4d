//! Which server, as whom, in which namespace: from the kubeconfig files and the flags.

mod access;
mod settings;
mod system_roots;
mod transport;

use std::path::Path;

use client::kubeconfig::{Kubeconfig, KubeconfigError, Named};
use client::{Endpoint, Identity};
use serde_json::{Map, Value};

use crate::failure::{Failure, fail};
use crate::flags::Parsed;

pub use access::{Access, directory_of};
pub use settings::{KEY_ORDER, Settings, Stanza};
pub use transport::{Manners, transport};

const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// What the flags say about the connection.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    kubeconfig: Option<String>,
    context: Option<String>,
    cluster: Option<String>,
    user: Option<String>,
    namespace: Option<String>,
    server: Option<String>,
    token: Option<String>,
    certificate_authority: Option<String>,
    client_certificate: Option<String>,
    client_key: Option<String>,
    insecure: bool,
}

impl Overrides {
    pub fn of(parsed: &Parsed) -> Self {
        let text = |name: &str| parsed.global(name).map(str::to_owned);
        Self {
            kubeconfig: text("kubeconfig"),
            context: text("context"),
            cluster: text("cluster"),
            user: text("user"),
            namespace: text("namespace"),
            server: text("server"),
            token: text("token"),
            certificate_authority: text("certificate-authority"),
            client_certificate: text("client-certificate"),
            client_key: text("client-key"),
            insecure: parsed.on("insecure-skip-tls-verify"),
        }
    }
}

/// The merged kubeconfig with the flags laid over it.
pub struct Config {
    pub kubeconfig: Kubeconfig,
    overrides: Overrides,
}

impl Config {
    pub fn load(overrides: Overrides) -> Result<Self, Failure> {
        let explicit = overrides.kubeconfig.is_some();
        let files = Access::new(overrides.kubeconfig.as_deref()).files();
        let mut kubeconfig = Kubeconfig::default();
        // The first file has the last word.
        for path in files.iter().rev() {
            match Kubeconfig::read(path) {
                Ok(read) => kubeconfig.merge(absolute(read, path)),
                Err(KubeconfigError::Read { source, .. })
                    if source.kind() == std::io::ErrorKind::NotFound && !explicit => {}
                Err(KubeconfigError::Read { path, source }) => {
                    return fail!("stat {}: {}", path.display(), os_text(&source));
                }
                Err(error) => return Err(unreadable(path, &error)),
            }
        }
        Ok(Self { kubeconfig, overrides })
    }

    /// Nothing but the flags.
    pub fn empty(overrides: Overrides) -> Self {
        Self { kubeconfig: Kubeconfig::default(), overrides }
    }

    /// The kubeconfig files as `config` shows and changes them.
    pub fn access(&self) -> Access {
        Access::new(self.overrides.kubeconfig.as_deref())
    }

    pub fn context_name(&self) -> &str {
        self.overrides.context.as_deref().unwrap_or(&self.kubeconfig.current_context)
    }

    /// The namespace, and whether it was asked for by flag.
    pub fn namespace(&self) -> (String, bool) {
        if let Some(namespace) = &self.overrides.namespace {
            return (namespace.clone(), true);
        }
        let of_context = self.kubeconfig.namespace(Some(self.context_name())).filter(|name| !name.is_empty());
        let of_pod = || std::fs::read_to_string(Path::new(SERVICE_ACCOUNT).join("namespace")).ok();
        let namespace = of_context.map(str::to_owned).or_else(|| if self.is_bare() { of_pod() } else { None });
        (namespace.map_or("default".into(), |name| name.trim().to_owned()), false)
    }

    /// Nothing is configured: no file, no flag.
    fn is_bare(&self) -> bool {
        self.kubeconfig.is_empty() && self.overrides.server.is_none()
    }

    pub fn endpoint(&self) -> Result<Endpoint, Failure> {
        if self.is_bare() {
            return Ok(in_cluster().unwrap_or_else(default_endpoint));
        }
        let name = self.context_name();
        let known = self.kubeconfig.contexts.iter().any(|entry| entry.name == name);
        if self.overrides.context.is_some() && !known {
            let message = format!("Error in configuration: context was not found for specified context: {name}");
            return Err(Failure::Verbatim(message));
        }
        let effective = effective(&self.kubeconfig, name, &self.overrides)?;
        let mut endpoint = effective.endpoint(Some(EFFECTIVE), Path::new(".")).map_err(misconfigured)?;
        if !endpoint.server.contains("://") {
            endpoint.server.insert_str(0, "https://");
        }
        let insecure = self.overrides.insecure || wants_insecure(&effective);
        if insecure {
            endpoint.ca_pem.clear();
        } else if endpoint.ca_pem.is_empty() && endpoint.server.starts_with("https://") {
            endpoint.ca_pem = system_roots::pem()?;
        }
        Ok(endpoint)
    }
}

const EFFECTIVE: &str = "effective";

/// The kubeconfig as it would be written had the flags been in it: one context, one cluster, one user.
fn effective(config: &Kubeconfig, context: &str, overrides: &Overrides) -> Result<Kubeconfig, Failure> {
    let context = config.contexts.iter().find(|entry| entry.name == context);
    let of_context = |field: &str| context.and_then(|entry| entry.content.get("context")?.get(field)?.as_str());
    let cluster_name = overrides.cluster.as_deref().or(of_context("cluster"));
    let user_name = overrides.user.as_deref().or(of_context("user"));
    let mut cluster = part(&config.clusters, "cluster", cluster_name, overrides.cluster.is_some())?;
    let mut user = part(&config.users, "user", user_name, overrides.user.is_some())?;
    if let Some(server) = &overrides.server {
        cluster.insert("server".into(), server.as_str().into());
    }
    cluster.entry("server").or_insert("http://localhost:8080".into());
    if let Some(path) = &overrides.certificate_authority {
        cluster.remove("certificate-authority-data");
        cluster.insert("certificate-authority".into(), path.as_str().into());
    }
    if let Some(token) = &overrides.token {
        user.remove("tokenFile");
        user.insert("token".into(), token.as_str().into());
    }
    for (field, path) in [("client-certificate", &overrides.client_certificate), ("client-key", &overrides.client_key)]
    {
        if let Some(path) = path {
            user.remove(&format!("{field}-data"));
            user.insert(field.into(), path.as_str().into());
        }
    }
    if user.contains_key("exec") || user.contains_key("auth-provider") {
        return fail!("credential plugins of a kubeconfig's user are not supported");
    }
    Ok(single(cluster, user))
}

fn single(cluster: Map<String, Value>, user: Map<String, Value>) -> Kubeconfig {
    let named = |part: &str, content: Map<String, Value>| Named {
        name: EFFECTIVE.into(),
        content: Map::from_iter([(part.to_owned(), Value::Object(content))]),
    };
    let context = serde_json::json!({"cluster": EFFECTIVE, "user": EFFECTIVE});
    Kubeconfig {
        clusters: vec![named("cluster", cluster)],
        users: vec![named("user", user)],
        contexts: vec![named("context", context.as_object().cloned().unwrap_or_default())],
        current_context: EFFECTIVE.into(),
        ..Kubeconfig::default()
    }
}

/// The content of a named entry. One that a flag names must be there.
fn part(entries: &[Named], part: &str, name: Option<&str>, must: bool) -> Result<Map<String, Value>, Failure> {
    let found = entries.iter().find(|entry| Some(entry.name.as_str()) == name);
    if let (None, Some(name), true) = (found, name, must) {
        return match part {
            "user" => fail!("auth info {name:?} does not exist"),
            _ => fail!("no server found for {part} {name:?}"),
        };
    }
    let content = found.and_then(|entry| entry.content.get(part)?.as_object());
    Ok(content.cloned().unwrap_or_default())
}

fn wants_insecure(config: &Kubeconfig) -> bool {
    let cluster = config.clusters.first().and_then(|entry| entry.content.get("cluster"));
    cluster.and_then(|cluster| cluster.get("insecure-skip-tls-verify")).and_then(Value::as_bool).unwrap_or(false)
}

/// File names in a kubeconfig are meant from where it lies.
fn absolute(mut config: Kubeconfig, path: &Path) -> Kubeconfig {
    let base = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let base = base.parent().unwrap_or(Path::new("/")).to_owned();
    let fields = ["certificate-authority", "client-certificate", "client-key", "tokenFile"];
    for entry in config.clusters.iter_mut().chain(&mut config.users) {
        for (_, content) in &mut entry.content {
            for field in fields {
                if let Some(Value::String(name)) = content.get_mut(field)
                    && !name.is_empty()
                {
                    *name = base.join(&*name).display().to_string();
                }
            }
        }
    }
    config
}

fn in_cluster() -> Option<Endpoint> {
    let host = std::env::var("KUBERNETES_SERVICE_HOST").ok()?;
    let port = std::env::var("KUBERNETES_SERVICE_PORT").ok()?;
    let host = if host.contains(':') { format!("[{host}]") } else { host };
    let directory = Path::new(SERVICE_ACCOUNT);
    let token = directory.join("token");
    let ca_pem = std::fs::read(directory.join("ca.crt")).ok().filter(|_| token.exists())?;
    Some(Endpoint { server: format!("https://{host}:{port}"), ca_pem, identity: Identity::TokenFile(token) })
}

fn default_endpoint() -> Endpoint {
    Endpoint { server: "http://localhost:8080".into(), ca_pem: Vec::new(), identity: Identity::None }
}

fn unreadable(path: &Path, error: &KubeconfigError) -> Failure {
    let cause = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
    Failure::Plain(format!("error loading config file {:?}: {cause}", path.display().to_string()))
}

fn misconfigured(error: KubeconfigError) -> Failure {
    match error {
        KubeconfigError::Read { path, source } => {
            Failure::Plain(format!("unable to read {} due to {}", path.display(), os_text(&source)))
        }
        other => {
            let cause = std::error::Error::source(&other).map(|cause| format!(": {cause}")).unwrap_or_default();
            Failure::Plain(format!("{other}{cause}"))
        }
    }
}

/// What the system says, without Rust's number behind it, in Go's lower case.
pub fn os_text(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> Kubeconfig {
        serde_json::from_value(serde_json::json!({
            "current-context": "a",
            "clusters": [{"name": "one", "cluster": {"server": "https://one:1", "certificate-authority-data": "Y2E="}},
                         {"name": "two", "cluster": {"server": "https://two:2", "insecure-skip-tls-verify": true}}],
            "users": [{"name": "me", "user": {"token": "secret"}}],
            "contexts": [{"name": "a", "context": {"cluster": "one", "user": "me", "namespace": "prod"}}],
        }))
        .expect("a kubeconfig")
    }

    fn with(overrides: Overrides) -> Config {
        Config { kubeconfig: config(), overrides }
    }

    #[test]
    fn flags_lie_over_the_file() {
        let plain = with(Overrides::default());
        assert_eq!(plain.namespace(), ("prod".into(), false));
        let endpoint = plain.endpoint().expect("complete");
        assert_eq!((endpoint.server.as_str(), endpoint.ca_pem.as_slice()), ("https://one:1", &b"ca"[..]));
        let other = with(Overrides {
            cluster: Some("two".into()),
            token: Some("other".into()),
            namespace: Some("x".into()),
            ..Overrides::default()
        });
        let endpoint = other.endpoint().expect("complete");
        assert_eq!((endpoint.server.as_str(), endpoint.ca_pem.len()), ("https://two:2", 0));
        assert!(matches!(endpoint.identity, Identity::Token(token) if token == "other"));
        assert_eq!(other.namespace(), ("x".into(), true));
    }

    #[test]
    fn what_a_flag_names_must_exist() {
        let missing = with(Overrides { context: Some("b".into()), ..Overrides::default() });
        let message = missing.endpoint().expect_err("unknown").report().0;
        assert_eq!(message, "Error in configuration: context was not found for specified context: b");
    }
}
