//! Which server, as whom, in which namespace: from the kubeconfig files and the flags.

mod access;
mod impersonation;
mod plugin;
mod plugin_transport;
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
use plugin::Plugin;
pub use settings::{KEY_ORDER, Settings, Stanza};
use transport::Address;
pub use transport::{Manners, transport, web};

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
    tls_server_name: Option<String>,
    username: Option<String>,
    password: Option<String>,
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
            tls_server_name: text("tls-server-name"),
            username: text("username"),
            password: text("password"),
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
        Ok(self.effective()?.address()?.endpoint)
    }

    /// The kubeconfig as it would be written had the flags been in it: one context, one cluster, one user.
    pub fn effective(&self) -> Result<Effective, Failure> {
        if self.is_bare() {
            let address = in_cluster().unwrap_or_else(default_endpoint);
            return Ok(Effective { fixed: Some(address), ..Effective::default() });
        }
        let name = self.context_name();
        let context = self.kubeconfig.contexts.iter().find(|entry| entry.name == name);
        if self.overrides.context.is_some() && context.is_none() {
            let message = format!("Error in configuration: context was not found for specified context: {name}");
            return Err(Failure::Verbatim(message));
        }
        let of_context = |field: &str| context.and_then(|entry| entry.content.get("context")?.get(field)?.as_str());
        let overrides = &self.overrides;
        let cluster_name = overrides.cluster.as_deref().or(of_context("cluster"));
        let user_name = overrides.user.as_deref().or(of_context("user"));
        let mut effective = Effective {
            cluster: part(&self.kubeconfig.clusters, "cluster", cluster_name, overrides.cluster.is_some())?,
            user: part(&self.kubeconfig.users, "user", user_name, overrides.user.is_some())?,
            user_name: user_name.unwrap_or_default().to_owned(),
            fixed: None,
        };
        effective.lay_over(overrides);
        Ok(effective)
    }
}

const EFFECTIVE: &str = "effective";

/// Which server, and as whom.
#[derive(Clone, Debug, Default)]
pub struct Effective {
    pub cluster: Map<String, Value>,
    pub user: Map<String, Value>,
    pub user_name: String,
    /// Where there is no kubeconfig.
    fixed: Option<Endpoint>,
}

impl Effective {
    fn lay_over(&mut self, overrides: &Overrides) {
        let set = |map: &mut Map<String, Value>, field: &str, value: &Option<String>, instead_of: &str| {
            if let Some(value) = value {
                map.remove(instead_of);
                map.insert(field.to_owned(), value.as_str().into());
            }
        };
        set(&mut self.cluster, "server", &overrides.server, "tls-server-name");
        set(&mut self.cluster, "tls-server-name", &overrides.tls_server_name, "");
        self.cluster.entry("server").or_insert("http://localhost:8080".into());
        let authority = &overrides.certificate_authority;
        set(&mut self.cluster, "certificate-authority", authority, "certificate-authority-data");
        if overrides.insecure {
            self.cluster.insert("insecure-skip-tls-verify".into(), true.into());
        }
        if overrides.token.is_some() {
            // Who has a token needs no program to get one.
            self.user.remove("exec");
        }
        set(&mut self.user, "token", &overrides.token, "tokenFile");
        set(&mut self.user, "username", &overrides.username, "token");
        set(&mut self.user, "password", &overrides.password, "token");
        let (certificate, key) = (&overrides.client_certificate, &overrides.client_key);
        set(&mut self.user, "client-certificate", certificate, "client-certificate-data");
        set(&mut self.user, "client-key", key, "client-key-data");
    }

    /// Whether the server is spoken to over TLS: where it is not, nobody listening shall learn who the user is.
    pub fn is_secure(&self) -> bool {
        !self.cluster.get("server").and_then(Value::as_str).unwrap_or_default().starts_with("http://")
    }

    /// `name:password`, for servers that still take that.
    pub fn basic(&self) -> Option<String> {
        let text = |field: &str| self.user.get(field).and_then(Value::as_str).unwrap_or_default();
        let has_token = !text("token").is_empty() || !text("tokenFile").is_empty();
        (!text("username").is_empty() && !has_token).then(|| format!("{}:{}", text("username"), text("password")))
    }

    pub fn plugin(&self) -> Result<Option<Plugin>, Failure> {
        Plugin::of(&self.user_name, &self.user, &self.cluster)
    }

    pub fn address(&self) -> Result<Address, Failure> {
        if let Some(endpoint) = &self.fixed {
            return Ok(Address { endpoint: endpoint.clone(), server_name: None });
        }
        let kubeconfig = single(self.cluster.clone(), self.provided_user()?);
        let mut endpoint = kubeconfig.endpoint(Some(EFFECTIVE), Path::new(".")).map_err(misconfigured)?;
        if !endpoint.server.contains("://") {
            endpoint.server.insert_str(0, "https://");
        }
        if self.cluster.get("insecure-skip-tls-verify") == Some(&Value::Bool(true)) {
            endpoint.ca_pem.clear();
        } else if endpoint.ca_pem.is_empty() && endpoint.server.starts_with("https://") {
            endpoint.ca_pem = system_roots::pem()?;
        }
        let name = self.cluster.get("tls-server-name").and_then(Value::as_str).filter(|name| !name.is_empty());
        Ok(Address { endpoint, server_name: name.map(str::to_owned) })
    }

    /// The user with what an OpenID Connect provider has written down for it. The token is not renewed.
    fn provided_user(&self) -> Result<Map<String, Value>, Failure> {
        let mut user = self.user.clone();
        let Some(provider) = user.remove("auth-provider").filter(Value::is_object) else { return Ok(user) };
        if user.contains_key("exec") {
            return Ok(user);
        }
        match (provider["name"].as_str(), &provider["config"]["id-token"]) {
            (Some("oidc"), Value::String(token)) => drop(user.entry("token").or_insert(token.as_str().into())),
            (Some("oidc"), _) => return fail!("No valid id-token, and cannot refresh without refresh-token"),
            (name, _) => return fail!("no Auth Provider found for name {:?}", name.unwrap_or_default()),
        }
        Ok(user)
    }
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
                    *name = beneath(&base, name);
                }
            }
            // A command without a slash is looked for on the path.
            if let Some(Value::String(command)) = content.get_mut("exec").and_then(|exec| exec.get_mut("command"))
                && command.contains('/')
            {
                *command = beneath(&base, command);
            }
        }
    }
    config
}

fn beneath(base: &Path, name: &str) -> String {
    base.join(name).components().collect::<std::path::PathBuf>().display().to_string()
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
