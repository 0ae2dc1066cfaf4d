//! Every kubectl that this machine has: one transcript on a bare control plane.

use e2e::{Kubectl, eventually};
use serde_json::Value;

use crate::bare::{Bare, kubectl_of};

const VERSIONS: std::ops::RangeInclusive<u32> = 27..=36;

const DEPLOYMENT: &str = "apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  replicas: 1
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: 'example.org/web:1'}]}
";

const DEFINITION: &str = "apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: rafts.example.org}
spec:
  group: example.org
  scope: Namespaced
  names: {plural: rafts, singular: raft, kind: Raft, listKind: RaftList, shortNames: [rf], categories: [all]}
  versions:
  - name: v1
    served: true
    storage: true
    subresources: {status: {}, scale: {specReplicasPath: .spec.logs, statusReplicasPath: .status.logs}}
    additionalPrinterColumns: [{name: Logs, type: integer, jsonPath: .spec.logs}]
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            properties:
              logs: {type: integer, minimum: 1, description: How many logs it has.}
              wood: {type: string, enum: [oak, fir], default: fir}
          status: {type: object, properties: {logs: {type: integer}}}
";

const RAFT: &str = "apiVersion: example.org/v1
kind: Raft
metadata: {name: one}
spec: {logs: 3}
";

#[test]
fn every_kubectl_gets_through_the_transcript() {
    let installed = VERSIONS.filter_map(|minor| kubectl_of(&format!("1.{minor}")).map(|path| (minor, path)));
    for (minor, program) in installed {
        let bare = Bare::start(&format!("kubectl-{minor}"));
        let kubectl = bare.kubectl(&program);
        println!("kubectl 1.{minor}");
        reads(&kubectl);
        objects(&kubectl);
        workloads(&kubectl);
        definitions(&kubectl);
        access(&kubectl);
    }
}

/// That a command line prints this text.
fn prints(kubectl: &Kubectl, line: &str, text: &str) {
    let printed = kubectl.line(line).unwrap();
    assert!(printed.contains(text), "kubectl {line} lacks {text:?}:\n{printed}");
}

/// The same for a manifest on its standard input.
fn takes(kubectl: &Kubectl, line: &str, manifest: &str, text: &str) {
    let printed = kubectl.with_input(&line.split_whitespace().collect::<Vec<_>>(), manifest).unwrap();
    assert!(printed.contains(text), "kubectl {line} lacks {text:?}:\n{printed}");
}

/// That a command line fails with this text.
fn refuses(kubectl: &Kubectl, line: &str, text: &str) {
    let error = kubectl.line(line).unwrap_err().to_string();
    assert!(error.contains(text), "kubectl {line} lacks {text:?}:\n{error}");
}

fn reads(kubectl: &Kubectl) {
    prints(kubectl, "version --output=json", "\"minor\": \"36\"");
    prints(kubectl, "cluster-info", "Kubernetes control plane");
    prints(kubectl, "api-versions", "rbac.authorization.k8s.io/v1\n");
    prints(kubectl, "api-resources --api-group=apps --verbs=list,create -o name", "deployments.apps\n");
    prints(kubectl, "api-resources --namespaced=false", "clusterroles");
    prints(kubectl, "get --raw /readyz", "ok");
    prints(kubectl, "explain deployment.spec.strategy.rollingUpdate", "maxSurge");
    prints(kubectl, "explain pod.spec --recursive", "automountServiceAccountToken");
    prints(kubectl, "get namespaces", "kube-system");
    prints(kubectl, "get all", "service/kubernetes");
    prints(kubectl, "describe service kubernetes", "443/TCP");
    refuses(kubectl, "get pod nothing", "Error from server (NotFound): pods \"nothing\" not found");
    refuses(kubectl, "get nothings", "the server doesn't have a resource type \"nothings\"");
}

fn objects(kubectl: &Kubectl) {
    prints(kubectl, "create namespace harbour", "namespace/harbour created");
    prints(kubectl, "create configmap one --from-literal=key=value", "configmap/one created");
    refuses(kubectl, "create configmap one", "configmaps \"one\" already exists");
    prints(kubectl, "create secret generic one --from-literal=password=x", "secret/one created");
    prints(kubectl, "label configmap one app=one", "configmap/one labeled");
    prints(kubectl, "annotate configmap one note=text", "configmap/one annotate");
    refuses(kubectl, "label configmap one app=two", "already has a value");
    prints(kubectl, "patch configmap one -p {\"data\":{\"more\":\"text\"}}", "configmap/one patched");
    prints(kubectl, "patch configmap one --type=merge -p {\"data\":{\"key\":null}}", "configmap/one patched");
    let pointer = "patch configmap one --type=json -p [{\"op\":\"test\",\"path\":\"/data/more\",\"value\":\"text\"}]";
    prints(kubectl, pointer, "configmap/one patched (no change)");
    assert_eq!(kubectl.line("get configmap one -o jsonpath={.data}").unwrap(), "{\"more\":\"text\"}");
    assert_eq!(kubectl.line("get configmap -l app=one -o name").unwrap(), "configmap/one\n");
    assert_eq!(kubectl.line("get configmap one -o custom-columns=N:.metadata.name --no-headers").unwrap(), "one\n");
    prints(kubectl, "get configmap one -o yaml --show-managed-fields", "manager: kubectl-create");
    prints(kubectl, "get configmap one --show-labels", "app=one");
    prints(kubectl, "wait configmap/one --for=jsonpath={.data.more}=text --timeout=10s", "condition met");
    replaced(kubectl);
    prints(kubectl, "delete configmap one", "configmap \"one\" deleted");
    prints(kubectl, "delete namespace harbour --timeout=60s", "namespace \"harbour\" deleted");
    refuses(kubectl, "get namespace harbour", "NotFound");
}

fn replaced(kubectl: &Kubectl) {
    let mut map: Value = serde_json::from_str(&kubectl.line("get configmap one -o json").unwrap()).unwrap();
    map["data"] = serde_json::json!({"all": "new"});
    takes(kubectl, "replace -f -", &map.to_string(), "configmap/one replaced");
    let stale = kubectl.with_input(&["replace", "-f", "-"], &map.to_string()).unwrap_err().to_string();
    assert!(stale.contains("the object has been modified; please apply your changes to the latest version"), "{stale}");
}

fn workloads(kubectl: &Kubectl) {
    takes(kubectl, "apply --dry-run=server -f -", DEPLOYMENT, "created (server dry run)");
    takes(kubectl, "apply -f -", DEPLOYMENT, "deployment.apps/web created");
    takes(kubectl, "apply -f -", DEPLOYMENT, "deployment.apps/web unchanged");
    takes(kubectl, "diff -f -", DEPLOYMENT, "");
    let two = DEPLOYMENT.replace("replicas: 1", "replicas: 2");
    let differs = kubectl.with_input(&["diff", "-f", "-"], &two).unwrap_err().to_string();
    assert!(differs.contains("-  replicas: 1\n+  replicas: 2"), "{differs}");
    takes(kubectl, "apply -f -", &two, "deployment.apps/web configured");
    takes(kubectl, "apply --server-side --force-conflicts -f -", DEPLOYMENT, "serverside-applied");
    prints(kubectl, "wait deployment/web --for=jsonpath={.status.replicas}=1 --timeout=30s", "condition met");
    prints(kubectl, "scale deployment web --replicas=3 --current-replicas=1", "scaled");
    prints(kubectl, "set image deployment/web web=example.org/web:2", "image updated");
    prints(kubectl, "rollout history deployment/web", "REVISION");
    prints(kubectl, "get deployment web -o wide", "example.org/web:2");
    prints(kubectl, "get deployments.v1.apps web -o jsonpath={.spec.replicas}", "3");
    prints(kubectl, "describe deployment web", "25% max unavailable, 25% max surge");
    prints(kubectl, "autoscale deployment web --max=3", "horizontalpodautoscaler.autoscaling/web autoscaled");
    prints(kubectl, "expose deployment web --port=80", "service/web exposed");
    prints(kubectl, "delete deployment,service,hpa web", "deployment.apps \"web\" deleted");
}

fn definitions(kubectl: &Kubectl) {
    takes(kubectl, "apply -f -", DEFINITION, "customresourcedefinition.apiextensions.k8s.io/rafts.example.org created");
    prints(kubectl, "wait crd/rafts.example.org --for=condition=Established --timeout=30s", "condition met");
    takes(kubectl, "apply --server-side -f -", RAFT, "raft.example.org/one serverside-applied");
    prints(kubectl, "get rf", "one    3");
    prints(kubectl, "get all", "raft.example.org/one");
    assert_eq!(kubectl.line("get raft one -o jsonpath={.spec.wood}").unwrap(), "fir");
    // What is published follows a definition in its own time.
    let explained = || kubectl.line("explain raft.spec.logs").map(Some);
    assert!(eventually("the schema is published", explained).unwrap().contains("How many logs it has."));
    prints(kubectl, "scale raft one --replicas=5", "raft.example.org/one scaled");
    prints(kubectl, "patch raft one --subresource=status --type=merge -p {\"status\":{\"logs\":5}}", "patched");
    refuses(
        kubectl,
        "patch raft one --type=merge -p {\"spec\":{\"wood\":\"tin\"}}",
        "spec.wood: Unsupported value: \"tin\"",
    );
    let unknown = RAFT.replace("logs: 3", "sails: 1");
    let error = kubectl.with_input(&["apply", "-f", "-"], &unknown).unwrap_err().to_string();
    assert!(error.contains("strict decoding error: unknown field \"spec.sails\""), "{error}");
    prints(kubectl, "delete crd rafts.example.org --timeout=60s", "deleted");
    refuses(kubectl, "get rafts.example.org", "the server doesn't have a resource type \"rafts\"");
}

fn access(kubectl: &Kubectl) {
    prints(kubectl, "auth can-i create pods", "yes");
    prints(kubectl, "create serviceaccount sailor", "serviceaccount/sailor created");
    prints(
        kubectl,
        "create role looks --verb=get,list --resource=pods",
        "role.rbac.authorization.k8s.io/looks created",
    );
    prints(kubectl, "create rolebinding looks --role=looks --serviceaccount=default:sailor", "created");
    let sailor = "--as=system:serviceaccount:default:sailor";
    prints(kubectl, &format!("auth can-i --list {sailor}"), "[get list]");
    prints(kubectl, &format!("get pods {sailor}"), "");
    refuses(
        kubectl,
        &format!("get secrets {sailor}"),
        "User \"system:serviceaccount:default:sailor\" cannot list resource",
    );
    assert_eq!(kubectl.line("create token sailor").unwrap().matches('.').count(), 2);
    prints(kubectl, "delete serviceaccount,role,rolebinding sailor looks --ignore-not-found", "");
}
