//! Credential plugins: programs that the kubeconfig's user names, which say who the user is.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::process::Stdio;

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::os_text;
use crate::failure::{Failure, fail};
use crate::print::to_json_in_order;

const VERSIONS: &[&str] = &["client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1"];
const KIND: &str = "ExecCredential";
/// Where a cluster keeps what its plugin wants to know.
const EXTENSION: &str = "client.authentication.k8s.io/exec";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Interaction {
    Never,
    IfAvailable,
    Always,
}

/// A plugin as it is configured.
#[derive(Clone, Debug)]
pub struct Plugin {
    command: String,
    arguments: Vec<String>,
    env: BTreeMap<String, String>,
    version: String,
    interaction: Interaction,
    hint: String,
    /// What the plugin may know of the cluster.
    cluster: Option<Value>,
}

/// What a plugin answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Credentials {
    pub token: Option<String>,
    /// Certificate and key in PEM.
    pub certificate: Option<(String, String)>,
    expires: Option<Timestamp>,
}

impl Credentials {
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.expires.is_some_and(|expires| now > expires)
    }
}

impl Plugin {
    /// The plugin of a kubeconfig's user, if there is one.
    pub fn of(
        user_name: &str,
        user: &Map<String, Value>,
        cluster: &Map<String, Value>,
    ) -> Result<Option<Self>, Failure> {
        let Some(exec) = user.get("exec").filter(|exec| exec.is_object()) else { return Ok(None) };
        check(user_name, user, exec)?;
        let version = text(exec, "apiVersion");
        if !VERSIONS.contains(&version.as_str()) {
            return fail!("exec plugin: invalid apiVersion {version:?}");
        }
        let variables = exec["env"].as_array().into_iter().flatten();
        let arguments = exec["args"].as_array().into_iter().flatten().filter_map(Value::as_str);
        Ok(Some(Self {
            command: text(exec, "command"),
            arguments: arguments.map(str::to_owned).collect(),
            env: variables.map(|variable| (text(variable, "name"), text(variable, "value"))).collect(),
            version,
            interaction: match text(exec, "interactiveMode").as_str() {
                "Never" => Interaction::Never,
                "Always" => Interaction::Always,
                _ => Interaction::IfAvailable,
            },
            hint: text(exec, "installHint"),
            cluster: (exec["provideClusterInfo"] == true).then(|| cluster_info(cluster)),
        }))
    }

    /// Whether the plugin gets the terminal.
    fn interactive(&self, has_terminal: bool) -> Result<bool, String> {
        match self.interaction {
            Interaction::Never => Ok(false),
            Interaction::Always if !has_terminal => {
                Err("exec plugin cannot support interactive mode: standard input is not a terminal".into())
            }
            _ => Ok(has_terminal),
        }
    }

    /// What the plugin is told.
    fn info(&self, interactive: bool) -> String {
        let mut spec = serde_json::json!({"interactive": interactive});
        if let Some(cluster) = &self.cluster {
            spec["cluster"] = cluster.clone();
        }
        let info = serde_json::json!({"kind": KIND, "apiVersion": self.version, "spec": spec});
        let order = ["kind", "apiVersion", "cluster", "server", "tls-server-name", "insecure-skip-tls-verify"];
        let info = to_json_in_order(&info, &order);
        // On one line: no text in it has a line end of its own.
        info.lines().map(str::trim_start).collect::<String>().replace("\": ", "\":") + "\n"
    }

    /// Runs the plugin.
    pub async fn fetch(&self) -> Result<Credentials, String> {
        let interactive = self.interactive(std::io::stdin().is_terminal())?;
        let child = tokio::process::Command::new(&self.command)
            .args(&self.arguments)
            .envs(&self.env)
            .env("KUBERNETES_EXEC_INFO", self.info(interactive))
            .stdin(if interactive { Stdio::inherit() } else { Stdio::null() })
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| self.not_run(&error))?;
        let output = child.wait_with_output().await.map_err(|error| format!("exec: {}", os_text(&error)))?;
        match output.status.code() {
            Some(0) => decode(&output.stdout, &self.version),
            Some(code) => Err(format!("exec: executable {} failed with exit code {code}", self.command)),
            None => Err(format!("exec: executable {} was ended by a signal", self.command)),
        }
    }

    fn not_run(&self, error: &std::io::Error) -> String {
        if self.command.contains('/') || error.kind() != std::io::ErrorKind::NotFound {
            return format!("exec: fork/exec {}: {}", self.command, os_text(error));
        }
        let hint = if self.hint.is_empty() { String::new() } else { format!("\n\n{}", self.hint) };
        format!(
            "exec: executable {} not found\n\nIt looks like you are trying to use a client-go credential plugin that is \
             not installed.\n\nTo learn more about this feature, consult the documentation available \
             at:\n      https://kubernetes.io/docs/reference/access-authn-authz/authentication/#client-go-credential-plugins{hint}",
            self.command
        )
    }
}

fn text(value: &Value, field: &str) -> String {
    value[field].as_str().unwrap_or_default().to_owned()
}

/// All that is wrong with how a plugin is configured.
fn check(name: &str, user: &Map<String, Value>, exec: &Value) -> Result<(), Failure> {
    let mut wrong = Vec::new();
    if user.get("auth-provider").is_some_and(Value::is_object) {
        wrong.push(format!("authProvider cannot be provided in combination with an exec plugin for {name}"));
    }
    if text(exec, "command").is_empty() {
        wrong.push(format!("command must be specified for {name} to use exec authentication plugin"));
    }
    let version = text(exec, "apiVersion");
    if version.is_empty() {
        wrong.push(format!("apiVersion must be specified for {name} to use exec authentication plugin"));
    }
    if exec["env"].as_array().into_iter().flatten().any(|variable| text(variable, "name").is_empty()) {
        wrong.push(format!("env variable name must be specified for {name} to use exec authentication plugin"));
    }
    match text(exec, "interactiveMode").as_str() {
        "" if version.ends_with("/v1beta1") => {}
        "" => wrong.push(format!("interactiveMode must be specified for {name} to use exec authentication plugin")),
        "Never" | "IfAvailable" | "Always" => {}
        other => wrong.push(format!("invalid interactiveMode for {name}: {other:?}")),
    }
    match wrong.as_slice() {
        [] => Ok(()),
        [one] => fail!("{one}"),
        many => {
            let list: String = many.iter().map(|one| format!("* {one}\n")).collect();
            Err(Failure::Verbatim(format!("Error in configuration: \n{}", list.trim_end())))
        }
    }
}

fn cluster_info(cluster: &Map<String, Value>) -> Value {
    let fields = [
        "server",
        "tls-server-name",
        "insecure-skip-tls-verify",
        "certificate-authority-data",
        "proxy-url",
        "disable-compression",
    ];
    let mut info: Map<String, Value> =
        fields.iter().filter_map(|field| Some(((*field).to_owned(), cluster.get(*field)?.clone()))).collect();
    if let Some(Value::String(path)) = cluster.get("certificate-authority")
        && let Ok(bytes) = std::fs::read(path)
    {
        use base64::Engine;
        let encoded = base64::engine::general_purpose::STANDARD.encode(bytes);
        info.insert("certificate-authority-data".into(), encoded.into());
    }
    let extensions = cluster.get("extensions").and_then(Value::as_array).into_iter().flatten();
    let mut own =
        extensions.filter(|extension| extension["name"] == EXTENSION).map(|extension| extension["extension"].clone());
    info.insert("config".into(), own.next_back().unwrap_or(Value::Null));
    Value::Object(info)
}

/// What a plugin's output says.
fn decode(output: &[u8], version: &str) -> Result<Credentials, String> {
    let answer: Value = serde_json::from_slice(output)
        .or_else(|_| serde_saphyr::from_str(&String::from_utf8_lossy(output)))
        .map_err(|error| format!("decoding stdout: couldn't get version/kind; json parse error: {error}"))?;
    if !answer.is_object() && !answer.is_null() {
        return Err(
            "decoding stdout: couldn't get version/kind; json parse error: json: cannot unmarshal string into Go \
                    value of type struct { APIVersion string \"json:\\\"apiVersion,omitempty\\\"\"; Kind string \
                    \"json:\\\"kind,omitempty\\\"\" }"
                .into(),
        );
    }
    let returned = match text(&answer, "apiVersion") {
        none if none.is_empty() => "client.authentication.k8s.io/__internal".to_owned(),
        returned => returned,
    };
    let kind = text(&answer, "kind");
    if ![KIND, ""].contains(&kind.as_str()) || !returned.starts_with("client.authentication.k8s.io/") {
        return Err(format!(
            "decoding stdout: no kind {kind:?} is registered for version {returned:?} in scheme \
             \"pkg/client/auth/exec/exec.go:64\""
        ));
    }
    if returned != version {
        return Err(format!(
            "exec plugin is configured to use API version {version}, plugin returned version {returned}"
        ));
    }
    credentials(&answer["status"])
}

fn credentials(status: &Value) -> Result<Credentials, String> {
    if !status.is_object() {
        return Err("exec plugin didn't return a status field".into());
    }
    let some = |field: &str| Some(text(status, field)).filter(|text| !text.is_empty());
    let (token, certificate, key) = (some("token"), some("clientCertificateData"), some("clientKeyData"));
    let certificate = match (certificate, key) {
        (None, None) if token.is_none() => return Err("exec plugin didn't return a token or cert/key pair".into()),
        (None, None) => None,
        (Some(certificate), Some(key)) => Some((certificate, key)),
        _ => return Err("exec plugin returned only certificate or key, not both".into()),
    };
    for (what, pem) in certificate.iter().flat_map(|(certificate, key)| [("certificate", certificate), ("key", key)]) {
        if !pem.contains("-----BEGIN ") {
            return Err(format!(
                "failed parsing client key/certificate: tls: failed to find any PEM data in {what} input"
            ));
        }
    }
    let expires = match some("expirationTimestamp").map(|text| text.parse::<Timestamp>()) {
        Some(Err(error)) => return Err(format!("decoding stdout: {error}")),
        Some(Ok(expires)) => Some(expires),
        None => None,
    };
    Ok(Credentials { token, certificate, expires })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn plugin(exec: Value) -> Result<Plugin, String> {
        let user = json!({"exec": exec});
        let cluster = json!({"server": "https://c", "extensions": [{"name": EXTENSION, "extension": {"a": "b"}}]});
        let user = user.as_object().expect("an object");
        match Plugin::of("u", user, cluster.as_object().expect("an object")) {
            Ok(plugin) => Ok(plugin.expect("there is one")),
            Err(failure) => Err(failure.report().0),
        }
    }

    #[test]
    fn a_plugin_must_be_described_in_full() {
        let suffix = "for u to use exec authentication plugin";
        let why = |exec: Value| plugin(exec).expect_err("incomplete");
        assert_eq!(why(json!({"apiVersion": VERSIONS[1]})), format!("error: command must be specified {suffix}"));
        assert_eq!(
            why(json!({"command": "x"})),
            format!(
                "Error in configuration: \n* apiVersion must be specified {suffix}\n* interactiveMode must be specified {suffix}"
            )
        );
        let mode = json!({"command": "x", "apiVersion": VERSIONS[0], "interactiveMode": "Maybe"});
        assert_eq!(why(mode), "error: invalid interactiveMode for u: \"Maybe\"");
        let old =
            json!({"command": "x", "apiVersion": "client.authentication.k8s.io/v1alpha1", "interactiveMode": "Never"});
        assert_eq!(why(old), "error: exec plugin: invalid apiVersion \"client.authentication.k8s.io/v1alpha1\"");
    }

    #[test]
    fn a_plugin_is_told_what_it_may_know() {
        let exec = json!({"command": "x", "apiVersion": VERSIONS[1], "provideClusterInfo": true});
        let info = plugin(exec).expect("complete").info(false);
        assert_eq!(
            info,
            "{\"kind\":\"ExecCredential\",\"apiVersion\":\"client.authentication.k8s.io/v1beta1\",\"spec\":{\"cluster\":\
             {\"server\":\"https://c\",\"config\":{\"a\":\"b\"}},\"interactive\":false}}\n"
        );
    }

    #[test]
    fn answers_are_judged() {
        let judged = |status: Value| {
            let answer = json!({"apiVersion": VERSIONS[0], "kind": KIND, "status": status});
            decode(answer.to_string().as_bytes(), VERSIONS[0])
        };
        let token = judged(json!({"token": "t", "expirationTimestamp": "2026-01-01T00:00:00Z"})).expect("credentials");
        let at = |text: &str| text.parse::<Timestamp>().expect("a time");
        assert!(token.is_expired(at("2026-01-01T00:00:01Z")) && !token.is_expired(at("2025-12-31T23:59:59Z")));
        assert_eq!(judged(json!({})), Err("exec plugin didn't return a token or cert/key pair".into()));
        assert_eq!(judged(Value::Null), Err("exec plugin didn't return a status field".into()));
        assert_eq!(
            judged(json!({"clientKeyData": "x"})),
            Err("exec plugin returned only certificate or key, not both".into())
        );
        assert!(decode(b"{\"apiVersion\": \"v1\", \"kind\": \"Pod\"}", VERSIONS[0]).is_err());
    }
}
