//! Credential plugins: both run them, and take what they say.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::compare::{Outcome, our_line, real_kubectl, real_line};
use super::server::Cluster;

/// Notes each run, and answers what stands in a file.
const PLUGIN: &str = "#!/bin/sh
cd \"$(dirname \"$0\")\" || exit 1
echo run >> runs
cat answer
exit \"${CODE:-0}\"
";

/// A directory with a plugin and a kubeconfig that names it.
struct Place {
    directory: tempfile::TempDir,
}

impl Place {
    fn new(cluster: &Value, exec: &Value, status: &Value) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).expect("written");
        write("plugin", PLUGIN);
        let plugin = directory.path().join("plugin");
        std::fs::set_permissions(plugin, std::fs::Permissions::from_mode(0o755)).expect("made executable");
        let version = "client.authentication.k8s.io/v1";
        write("answer", &json!({"apiVersion": version, "kind": "ExecCredential", "status": status}).to_string());
        // A relative command is meant from where the kubeconfig lies.
        let mut user = json!({"apiVersion": version, "command": "./plugin", "interactiveMode": "Never"});
        user.as_object_mut().expect("an object").extend(exec.as_object().expect("an object").clone());
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "it",
            "clusters": [{"name": "it", "cluster": cluster}],
            "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}],
            "users": [{"name": "it", "user": {"exec": user}}],
        });
        write("config", &config.to_string());
        Self { directory }
    }

    fn line(&self, words: &[&str]) -> Vec<String> {
        let config = self.directory.path().join("config").display().to_string();
        let mut line = vec!["--kubeconfig".to_owned(), config];
        line.extend(words.iter().map(|word| (*word).to_owned()));
        line
    }

    fn runs(&self) -> usize {
        std::fs::read_to_string(self.directory.path().join("runs")).unwrap_or_default().lines().count()
    }

    fn hidden(&self, outcome: Outcome) -> Outcome {
        let directory = self.directory.path().display().to_string();
        Outcome { out: outcome.out, err: outcome.err.replace(&directory, "DIR"), code: outcome.code }
    }
}

/// The administrator's certificate and key, and the cluster, of a test's kubeconfig.
fn known(kubeconfig: &Path) -> (Value, Value) {
    let config = client::kubeconfig::Kubeconfig::read(kubeconfig).expect("readable");
    let user = &config.users[0].content["user"];
    let pem = |field: &str| {
        let bytes = STANDARD.decode(user[field].as_str().expect("text")).expect("base64");
        String::from_utf8(bytes).expect("PEM")
    };
    let status =
        json!({"clientCertificateData": pem("client-certificate-data"), "clientKeyData": pem("client-key-data")});
    (config.clusters[0].content["cluster"].clone(), status)
}

/// The cluster, what is special about the plugin, what it answers, what is run, and how often the plugin is then run.
type Case<'a> = (&'a Value, Value, &'a Value, &'a [&'a str], usize);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plugins_say_who_the_user_is() {
    let cluster = Cluster::start().await;
    let (address, certificate) = known(&cluster.kubeconfig);
    let mut renamed = address.clone();
    renamed["tls-server-name"] = "kubernetes.default".into();
    let mut wrong = address.clone();
    wrong["tls-server-name"] = "example.com".into();
    let wrong_token = json!({"token": "wrong"});
    let none = json!({});
    // How often the plugin runs: once is enough, but for what the server refuses.
    let cases: [Case<'_>; 6] = [
        (&address, json!({}), &certificate, &["get", "namespaces", "default", "-o", "name"], 1),
        (&renamed, json!({}), &certificate, &["auth", "whoami", "-o", "jsonpath={.status.userInfo.username}"], 1),
        (&address, json!({}), &wrong_token, &["get", "--raw", "/api"], 2),
        (&address, json!({}), &none, &["get", "--raw", "/api"], 1),
        (&address, json!({"env": [{"name": "CODE", "value": "5"}]}), &certificate, &["get", "--raw", "/api"], 1),
        (&address, json!({"interactiveMode": "Sometimes"}), &certificate, &["get", "--raw", "/api"], 0),
    ];
    let kubectl = real_kubectl();
    for (address, exec, status, words, runs) in cases {
        let place = Place::new(address, &exec, status);
        let ours = place.hidden(our_line(place.line(words)).await);
        assert_eq!(place.runs(), runs, "{ours:?}");
        match &kubectl {
            Some(kubectl) => {
                let place = Place::new(address, &exec, status);
                assert_eq!(ours, place.hidden(real_line(kubectl, place.line(words)).await));
            }
            None => eprintln!("SKIPPED: there is no kubectl to compare with; set KUBECTL or put one on the path"),
        }
    }
    let place = Place::new(&wrong, &json!({}), &certificate);
    let refused = our_line(place.line(&["get", "--raw", "/api"])).await;
    assert!(refused.code == 1 && refused.err.starts_with("Unable to connect to the server: "), "{refused:?}");
    cluster.stop().await;
}
