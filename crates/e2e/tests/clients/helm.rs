//! Helm 4: releases with hooks, notes and definitions, applied server-side.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use e2e::cluster::succeeded;
use serde_json::Value;

use crate::bare::{Bare, tool};

const SETTINGS: &str = "apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ .Release.Name }}-settings
  labels: {app: {{ .Release.Name }}}
data:
  greeting: {{ .Values.greeting | quote }}
";

const WEB: &str = "apiVersion: v1
kind: Service
metadata:
  name: {{ .Release.Name }}
spec:
  selector: {app: {{ .Release.Name }}}
  ports: [{port: 80, targetPort: 8080}]
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ .Release.Name }}
spec:
  replicas: {{ .Values.replicas }}
  selector: {matchLabels: {app: {{ .Release.Name }}}}
  template:
    metadata: {labels: {app: {{ .Release.Name }}}}
    spec:
      containers: [{name: web, image: example.org/web:1}]
";

const HOOK: &str = "apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ .Release.Name }}-hook
  annotations:
    helm.sh/hook: pre-install,pre-upgrade
    helm.sh/hook-delete-policy: before-hook-creation
data: {revision: '{{ .Release.Revision }}'}
";

const DEFINITION: &str = "apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  name: greetings.example.org
spec:
  group: example.org
  scope: Namespaced
  names: {plural: greetings, singular: greeting, kind: Greeting, listKind: GreetingList}
  versions:
  - name: v1
    served: true
    storage: true
    additionalPrinterColumns: [{name: Text, type: string, jsonPath: .spec.text}]
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec: {type: object, required: [text], properties: {text: {type: string, minLength: 1}}}
";

const CUSTOM: &str = "apiVersion: example.org/v1
kind: Greeting
metadata:
  name: {{ .Release.Name }}
spec: {text: {{ .Values.greeting }}}
";

/// A chart of these files.
fn chart(directory: &Path, files: &[(&str, &str)]) -> PathBuf {
    let chart = directory.join("chart");
    let common = [
        ("Chart.yaml", "apiVersion: v2\nname: greeter\nversion: 0.1.0\nappVersion: '1'\n"),
        ("values.yaml", "greeting: hello\nreplicas: 1\n"),
    ];
    for (name, text) in common.iter().chain(files) {
        let path = chart.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    chart
}

struct Helm<'a> {
    bare: &'a Bare,
    program: PathBuf,
    chart: PathBuf,
}

impl Helm<'_> {
    fn command(&self, line: &str) -> Command {
        let mut command = self.bare.command(&self.program);
        command.args(line.split_whitespace().map(|word| word.replace("CHART", &self.chart.to_string_lossy())));
        command
    }

    fn run(&self, line: &str) -> String {
        succeeded(&format!("helm {line}"), &self.command(line).output().unwrap()).unwrap()
    }

    /// What it says when it refuses.
    fn refused(&self, line: &str) -> String {
        succeeded(line, &self.command(line).output().unwrap()).unwrap_err().to_string()
    }

    fn statuses(&self, release: &str) -> Vec<String> {
        let history: Value = serde_json::from_str(&self.run(&format!("history {release} -o json"))).unwrap();
        history.as_array().unwrap().iter().map(|one| one["status"].as_str().unwrap().to_owned()).collect()
    }
}

const RELEASE: &[(&str, &str)] = &[
    ("templates/settings.yaml", SETTINGS),
    ("templates/web.yaml", WEB),
    ("templates/hook.yaml", HOOK),
    ("templates/NOTES.txt", "Say {{ .Values.greeting }} to {{ .Release.Name }}.\n"),
];

#[test]
fn helm_installs_upgrades_rolls_back_and_uninstalls_a_release() {
    let Some(program) = tool("helm-4") else { return };
    let bare = Bare::start("helm");
    let helm = Helm { chart: chart(bare.scratch.path(), RELEASE), bare: &bare, program };
    let kubectl = bare.newest_kubectl();
    let greeting = || kubectl.line("get configmap web-settings -o jsonpath={.data.greeting}").unwrap();
    let hook = || kubectl.line("get configmap web-hook -o jsonpath={.data.revision}").unwrap();

    let installed = helm.run("install web CHART");
    assert!(installed.contains("Say hello to web."), "{installed}");
    assert_eq!((greeting().as_str(), hook().as_str()), ("hello", "1"));
    assert!(helm.run("list").contains("deployed"));
    let status = helm.run("status web");
    assert!(status.contains("==> v1/Deployment"), "the status shows the server's tables: {status}");
    assert!(helm.run("get manifest web").contains("name: web-settings"));

    helm.run("upgrade web CHART --set greeting=bye --set replicas=2");
    assert_eq!((greeting().as_str(), hook().as_str()), ("bye", "2"));
    assert_eq!(kubectl.line("get deployment web -o jsonpath={.spec.replicas}").unwrap(), "2");
    helm.run("rollback web 1");
    assert_eq!(greeting(), "hello");
    assert_eq!(helm.statuses("web"), ["superseded", "superseded", "deployed"]);

    helm.run("uninstall web");
    assert_eq!(kubectl.line("get configmap,service,deployment -l app=web -o name").unwrap(), "");
    assert_eq!(helm.run("list -q"), "");
}

#[test]
fn an_upgrade_does_not_take_a_field_of_another_manager_unless_forced() {
    let Some(program) = tool("helm-4") else { return };
    let bare = Bare::start("helm-conflict");
    let helm = Helm { chart: chart(bare.scratch.path(), RELEASE), bare: &bare, program };
    let kubectl = bare.newest_kubectl();
    helm.run("install web CHART");
    let theirs = "{apiVersion: v1, kind: ConfigMap, metadata: {name: web-settings}, data: {greeting: mine}}";
    let apply = ["apply", "--server-side", "--force-conflicts", "--field-manager=other", "-f", "-"];
    kubectl.with_input(&apply, theirs).unwrap();
    let refused = helm.refused("upgrade web CHART --set greeting=third");
    assert!(refused.contains("Apply failed with 1 conflict: conflict with \"other\": .data.greeting"), "{refused}");
    assert_eq!(helm.statuses("web"), ["deployed", "failed"]);
    helm.run("upgrade web CHART --set greeting=third --force-conflicts");
    assert_eq!(kubectl.line("get configmap web-settings -o jsonpath={.data.greeting}").unwrap(), "third");
}

#[test]
fn a_chart_brings_its_definitions_and_objects_of_them() {
    let Some(program) = tool("helm-4") else { return };
    let bare = Bare::start("helm-definitions");
    let files =
        [("crds/greetings.yaml", DEFINITION), ("templates/custom.yaml", CUSTOM), ("templates/settings.yaml", SETTINGS)];
    let helm = Helm { chart: chart(bare.scratch.path(), &files), bare: &bare, program };
    let kubectl = bare.newest_kubectl();
    helm.run("install web CHART");
    assert!(kubectl.line("get greetings").unwrap().contains("web    hello"));
    let refused = helm.refused("upgrade web CHART --set greeting=");
    assert!(refused.contains("Greeting.example.org \"web\" is invalid"), "{refused}");
    helm.run("upgrade web CHART --set greeting=bye");
    assert_eq!(kubectl.line("get greetings web -o jsonpath={.spec.text}").unwrap(), "bye");
    helm.run("uninstall web");
    assert_eq!(kubectl.line("get greetings -o name").unwrap(), "");

    let rendered = helm.run("template web CHART");
    kubectl.with_input(&["apply", "--server-side", "-f", "-"], &rendered).unwrap();
    kubectl.with_input(&["diff", "--server-side", "-f", "-"], &rendered).expect("nothing differs");
    kubectl.with_input(&["delete", "-f", "-"], &rendered).unwrap();
}
