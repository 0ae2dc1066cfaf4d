//! Nodes that are emptied, objects that are edited, and what else changes a thing in place.

use super::compare::{OURS, REAL, Release, compare_with, ours, ours_with, real_kubectl, release};
use super::server::Cluster;

const OBJECTS: &str = r#"apiVersion: v1
kind: ServiceAccount
metadata: {name: default}
---
apiVersion: v1
kind: Node
metadata: {name: "{ns}", labels: {of: "{ns}"}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 3
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      initContainers: [{name: first, image: busybox}]
      containers:
      - name: web
        image: nginx
        env:
        - {name: A, value: "1"}
        - {name: FROM, valueFrom: {configMapKeyRef: {name: settings, key: some.key}}}
        - {name: SECRET, valueFrom: {secretKeyRef: {name: hidden, key: word}}}
        - {name: NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
        - {name: CPU, valueFrom: {resourceFieldRef: {resource: limits.cpu}}}
        - {name: NONE, valueFrom: {configMapKeyRef: {name: missing, key: x}}}
      - {name: side, image: envoy}
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: daemon}
spec:
  selector: {matchLabels: {app: daemon}}
  template:
    metadata: {labels: {app: daemon}}
    spec: {containers: [{name: c, image: i}]}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80}]}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {some.key: value, OTHER: x}
---
apiVersion: v1
kind: Secret
metadata: {name: hidden}
stringData: {word: secret}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: bound}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: r}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: a}]
---
apiVersion: certificates.k8s.io/v1
kind: CertificateSigningRequest
metadata: {name: "{ns}"}
spec:
  signerName: example.com/x
  usages: [digital signature]
  request: {request}
---
apiVersion: v1
kind: Event
metadata: {name: one}
involvedObject: {apiVersion: apps/v1, kind: Deployment, name: web, namespace: "{ns}"}
type: Normal
reason: Scaled
message: "scaled up\r"
firstTimestamp: "2020-01-01T00:00:00Z"
lastTimestamp: "2020-01-02T00:00:00Z"
count: 3
---
apiVersion: v1
kind: Event
metadata: {name: two}
involvedObject: {apiVersion: v1, kind: Pod, name: bare, namespace: "{ns}"}
type: Warning
reason: Failed
message: "it broke"
firstTimestamp: "2020-01-01T12:00:00Z"
lastTimestamp: "2020-01-01T12:00:00Z"
count: 1
"#;

const PODS: &str = r#"apiVersion: v1
kind: Pod
metadata: {name: bare, labels: {which: bare}}
spec: {nodeName: "{ns}", containers: [{name: c, image: i}]}
---
apiVersion: v1
kind: Pod
metadata:
  name: local
  labels: {which: local}
  ownerReferences: [{apiVersion: apps/v1, kind: ReplicaSet, name: o, uid: u, controller: true}]
spec:
  nodeName: "{ns}"
  containers: [{name: c, image: i}]
  volumes: [{name: v, emptyDir: {}}]
---
apiVersion: v1
kind: Pod
metadata:
  name: daemon
  labels: {which: daemon}
  ownerReferences: [{apiVersion: apps/v1, kind: DaemonSet, name: daemon, uid: u, controller: true}]
spec: {nodeName: "{ns}", containers: [{name: c, image: i}]}
"#;

/// Applied, so that it has the annotation.
const APPLIED: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: applied}\ndata: {a: '<x>', b: y}\n";

const LOCAL: &str = "apiVersion: v1
kind: List
items:
- apiVersion: apps/v1
  kind: Deployment
  metadata: {name: local}
  spec: {template: {spec: {containers: [{name: c, image: i}]}}}
- apiVersion: batch/v1
  kind: CronJob
  metadata: {name: local}
  spec: {jobTemplate: {spec: {template: {spec: {containers: [{name: c, image: i}]}}}}}
";

const BINDING: &str = "apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: b}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: r}
";

/// An editor, and a line. Lines run in order.
const LINES: &[(&str, &str)] = &[
    ("", "cordon"),
    ("", "cordon missing"),
    ("", "cordon {ns} -l a=b"),
    ("", "cordon {ns} --dry-run=client"),
    ("", "cordon {ns} --dry-run=server"),
    ("", "cordon {ns}"),
    ("", "cordon node/{ns}"),
    ("", "cordon deploy/web"),
    ("", "cordon {ns} missing"),
    ("", "uncordon -l of={ns}"),
    ("", "uncordon -l of=nothing"),
    ("", "uncordon {ns}"),
    ("", "taint"),
    ("", "taint nodes {ns}"),
    ("", "taint nodes a=b:NoSchedule"),
    ("", "taint pods x a=b:NoSchedule"),
    ("", "taint nonsense x a=b:NoSchedule"),
    ("", "taint nodes {ns} a=b:Never"),
    ("", "taint nodes {ns} a=b"),
    ("", "taint nodes {ns} a:b:c"),
    ("", "taint nodes {ns} -a:NoSchedule-x"),
    ("", "taint nodes {ns} a=b:NoSchedule a=c:NoSchedule"),
    ("", "taint nodes {ns} a=b:NoSchedule a-"),
    ("", "taint nodes {ns} a=b:NoSchedule x"),
    ("", "taint nodes {ns} a=b:NoSchedule --all -l a=b"),
    ("", "taint nodes {ns} a=b:NoSchedule --dry-run=client"),
    ("", "taint nodes {ns} a=b:NoSchedule"),
    ("", "taint nodes {ns} a=c:NoSchedule"),
    ("", "taint nodes {ns} a=c:NoSchedule --overwrite"),
    ("", "taint nodes {ns} b:NoExecute a-"),
    ("", "taint nodes {ns} c- d:NoExecute-"),
    ("", "taint nodes {ns} b:PreferNoSchedule-"),
    ("", "taint node -l of={ns} b:PreferNoSchedule --dry-run=server -o name"),
    ("", "taint nodes missing b:NoExecute"),
    ("", "get node {ns} -o jsonpath={.spec}"),
    ("", "drain"),
    ("", "drain {ns} --pod-selector=!"),
    ("", "drain {ns} --dry-run=client --pod-selector=which=daemon"),
    ("", "drain {ns} --dry-run=client --pod-selector=which=local"),
    ("", "drain {ns} --ignore-daemonsets --delete-emptydir-data --dry-run=client --pod-selector=which!=bare"),
    ("", "drain {ns} --force --delete-emptydir-data --dry-run=client --pod-selector=which!=daemon"),
    ("", "drain {ns} --force --ignore-daemonsets --delete-emptydir-data --dry-run=server --pod-selector=which=bare"),
    ("", "drain {ns} --pod-selector=which=bare"),
    ("", "drain {ns} --force --grace-period=0 --pod-selector=which=bare"),
    ("", "drain {ns} --ignore-daemonsets --delete-emptydir-data --disable-eviction --grace-period=0"),
    ("", "drain {ns} --ignore-daemonsets"),
    ("", "get pods -o name"),
    ("", "get node {ns} -o jsonpath={.spec}"),
    ("", "set image"),
    ("", "set image deploy/web"),
    ("", "set image deploy/web web=nginx:2 *=x"),
    ("", "set image deploy/web web=nginx:2 svc/web"),
    ("", "set image deploy/web none=x"),
    ("", "set image deploy/missing web=x"),
    ("", "set image svc/web web=x"),
    ("", "set image deploy/web web=nginx:2 first=busybox:2 --dry-run=client"),
    ("", "set image deploy/web web=nginx:2 first=busybox:2 --dry-run=server"),
    ("", "set image deploy/web web=nginx:2 first=busybox:2"),
    ("", "set image deploy/web web=nginx:2 first=busybox:2"),
    ("", "set image deploy,ds *=all --all"),
    ("", "set image deploy *=all --all -l a=b"),
    ("", "set image -f {local} c=new --local -o yaml"),
    ("", "set image -f {local} d=new --local -o yaml"),
    ("", "set image -f {create} d=new --local"),
    ("", "set image -f {foreign} c=new --local"),
    ("", "set image deploy/x c=new --local"),
    ("", "set image --local c=new"),
    ("", "set image -f {local} c=new --local --dry-run=server"),
    ("", "set env"),
    ("", "set env deploy/web --list"),
    ("", "set env deploy/web --list --resolve"),
    ("", "set env deploy/web --list -o yaml"),
    ("", "set env deploy/web A=2 --overwrite=false"),
    ("", "set env deploy/web A=2 B=3 FROM- -c we*"),
    ("", "set env deploy/web 1A=2"),
    ("", "set env deploy/web A=2 A-"),
    ("", "set env deploy/web -e A"),
    ("", "set env deploy/web A=2 -c none"),
    ("", "set env deploy/web A=1 svc/web"),
    ("", "set env svc/web A=1"),
    ("", "set env deploy/web --keys=a"),
    ("", "set env deploy/web --from=svc/web"),
    // Of several keys the real one takes the order that Go's maps happen to have.
    ("", "set env deploy/web --from=configmap/settings --keys=some.key --prefix=P_"),
    ("", "set env deploy/web --from=secret/hidden -c side"),
    ("", "set env deploy/web --from=configmap/settings --keys=OTHER --dry-run=client"),
    ("", "set env deploy/web -e A-"),
    ("", "get deploy web -o jsonpath={.spec.template.spec.containers}"),
    ("", "set resources deploy web"),
    ("", "set resources deploy web --limits=cpu"),
    ("", "set resources deploy web --limits=cpu=x"),
    ("", "set resources deploy web --limits=cpu=0.5,memory=1024Mi --requests=cpu=250m -c web"),
    ("", "set resources deploy web --limits=cpu=1 -c none"),
    ("", "set resources svc web --limits=cpu=1"),
    ("", "set resources -f {local} --requests=cpu=1000m --local -o yaml"),
    ("", "set selector svc web"),
    ("", "set selector"),
    ("", "set selector svc web a=b,c=d --dry-run=client"),
    ("", "set selector svc web a=b,c=d"),
    ("", "set selector svc web a=b --resource-version=1"),
    ("", "set selector svc web b,!c"),
    ("", "set selector svc web a=="),
    ("", "set selector deploy web a=b"),
    ("", "get svc web -o jsonpath={.spec.selector}"),
    ("", "set serviceaccount"),
    ("", "set sa deploy web runner"),
    ("", "set sa deploy web runner --dry-run=client"),
    ("", "set sa svc web runner"),
    ("", "set sa runner -f {local} --local -o yaml"),
    ("", "set subject rolebinding bound"),
    ("", "set subject rolebinding bound --user=a"),
    ("", "set subject rolebinding bound --user=b --group=g --serviceaccount=:s --serviceaccount=n:t"),
    ("", "set subject rolebinding bound --serviceaccount=s"),
    ("", "set subject deploy web --user=a"),
    ("", "set subject -f {binding} --user=b --local -o yaml"),
    ("", "get rolebinding bound -o jsonpath={.subjects}"),
    ("sed -i \"s/replicas: 3/replicas: 4/\"", "edit deploy/web"),
    ("true", "edit deploy/web"),
    ("false", "edit deploy/web"),
    ("no-such-editor", "edit deploy/web"),
    ("no-such editor", "edit deploy/web"),
    ("sed -i d", "edit deploy/web"),
    ("cp /dev/null", "edit deploy/web"),
    ("sed -i \"s/replicas: 4/replicas: -1/\"", "edit deploy/web"),
    ("sed -i \"s/replicas: 4/replicas: x/\"", "edit deploy/web"),
    ("sed -i s/replicas:/replicax:/", "edit deploy/web"),
    ("sed -i \"s/kind: Deployment/kind: Nonsense/\"", "edit deploy/web"),
    ("sed -i \"s/^  name: web/  name: other/\"", "edit deploy/web"),
    ("sed -i s/^metadata/[/", "edit deploy/web"),
    ("sed -i s/uid:/uidx:/", "edit cm/settings"),
    ("sed -i s/value/new/", "edit cm/settings svc/web"),
    ("sed -i s/new/newer/", "edit cm/settings --output-patch -o json"),
    ("sed -i s/newer/newest/", "edit cm/settings --save-config --windows-line-endings"),
    ("sed -i s/x/y/", "edit cm/settings -o name"),
    ("sed -i \"s/newest/last one/\"", "edit cm settings"),
    ("true", "edit cm missing"),
    ("true", "edit"),
    ("sed -i \"s/replicas: 4/replicas: 5/\"", "edit deploy/web --subresource=status"),
    ("", "get cm settings -o jsonpath={.data}{.metadata.annotations}"),
    ("sed -i \"s/name: x$/name: x2/\"", "create -f {create} --edit"),
    ("sed -i \"s/name: x$/name: x3/\"", "create -f {create} --edit --save-config"),
    ("true", "create -f {create} --edit"),
    ("", "apply -f {applied}"),
    ("", "apply view-last-applied cm/applied"),
    ("", "apply view-last-applied cm applied -o json"),
    ("", "apply view-last-applied cm/applied -o wide"),
    ("", "apply view-last-applied cm/settings2"),
    ("", "apply view-last-applied svc/web"),
    ("", "apply view-last-applied -f {create2}"),
    ("", "apply view-last-applied"),
    ("sed -i \"s/: y/: z/\"", "apply edit-last-applied cm/applied"),
    ("true", "apply edit-last-applied cm/applied"),
    ("true", "apply edit-last-applied svc/web"),
    ("", "apply view-last-applied cm/applied"),
    ("", "apply set-last-applied -f {applied} --dry-run=client"),
    ("", "apply set-last-applied -f {applied}"),
    ("", "apply set-last-applied -f {applied}"),
    ("", "apply set-last-applied -f {create2}"),
    ("", "apply set-last-applied -f {create2} --create-annotation"),
    ("", "apply set-last-applied -f {create}"),
    ("", "apply set-last-applied"),
    ("", "get cm applied -o yaml"),
    ("", "autoscale deploy web"),
    ("", "autoscale deploy web --max=0"),
    ("", "autoscale deploy web --max=1 --min=2"),
    ("", "autoscale deploy web --max=2 --cpu=x%"),
    ("", "autoscale deploy web --max=2 --cpu=x"),
    ("", "autoscale deploy web --max=2 --cpu=10% --cpu-percent=5"),
    ("", "autoscale deploy web --max=5 --min=2 --cpu=70% --memory=200 --dry-run=client -o yaml"),
    ("", "autoscale deploy web --max=5 --cpu=500m --dry-run=server -o yaml"),
    ("", "autoscale deploy web --max=5 --cpu-percent=50 --name=other"),
    ("", "autoscale deploy web --max=5"),
    ("", "autoscale deploy web --max=5"),
    ("", "autoscale deploy web --max=5 --cpu=70%"),
    ("", "autoscale deploy web --max=5 --cpu=70"),
    ("", "autoscale ds daemon --max=5"),
    ("", "autoscale deploy missing --max=5"),
    ("", "get hpa -o jsonpath={.items[*].spec}"),
    ("", "certificate approve"),
    ("", "certificate approve missing"),
    ("", "certificate approve {ns}"),
    ("", "certificate approve {ns}"),
    ("", "certificate approve {ns} --force -o name"),
    ("", "certificate deny {ns}"),
    ("", "certificate deny deploy/web"),
    ("", "events"),
    ("", "events --for deploy/web"),
    ("", "events --for web"),
    ("", "events --for nonsense/web"),
    ("", "events --for a/b/c"),
    ("", "events --types=warning"),
    ("", "events --types=None"),
    ("", "events --no-headers"),
    ("", "events --for cm/none"),
    ("", "events -o yaml"),
    ("", "events -o name"),
    ("", "events -o wide"),
    ("", "top node"),
    ("", "top pod"),
    ("", "top pod --sort-by=x"),
    ("", "top pod a -l b=c"),
    ("", "top node a b"),
];

/// What a wrapper of kubectl, or an older one, says in another way.
fn is_compared(release: Release) -> bool {
    release.plain && release.minor >= 36
}

fn files(cluster: &Cluster) -> Vec<(&'static str, String)> {
    let create = |name: &str| format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\n");
    vec![
        ("{local}", cluster.file("local.yaml", LOCAL)),
        ("{binding}", cluster.file("binding.yaml", BINDING)),
        ("{foreign}", cluster.file("foreign.yaml", &LOCAL.replace("name: local", "name: local, namespace: own"))),
        ("{applied}", cluster.file("applied.yaml", APPLIED)),
        ("{create}", cluster.file("create.yaml", &create("x"))),
        ("{create2}", cluster.file("create2.yaml", &create("x2"))),
    ]
}

async fn make_objects(cluster: &Cluster) {
    let request = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/request.b64"));
    let request = request.expect("a request for a certificate");
    for namespace in [REAL, OURS] {
        let made = ours(cluster, "default", &["create", "namespace", namespace]).await;
        assert_eq!(made.code, 0, "{}", made.err);
        for (name, text) in [("objects", OBJECTS), ("pods", PODS)] {
            let text = text.replace("{ns}", namespace).replace("{request}", request.trim());
            let file = cluster.file(&format!("{name}-{namespace}.yaml"), &text);
            let made = ours(cluster, namespace, &["create", "-f", &file]).await;
            assert_eq!(made.code, 0, "{}", made.err);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_change_the_same() {
    let Some(kubectl) = real_kubectl() else {
        eprintln!("SKIPPED: there is no kubectl to compare with; set KUBECTL or put one on the path");
        return;
    };
    let release = release(&kubectl).await.expect("a kubectl knows its version");
    if !is_compared(release) {
        eprintln!("SKIPPED: {release:?} is not the kubectl to compare with");
        return;
    }
    let cluster = Cluster::start().await;
    make_objects(&cluster).await;
    let files = files(&cluster);
    let mut differences = Vec::new();
    for (editor, line) in LINES {
        let line = files.iter().fold((*line).to_owned(), |line, (name, path)| line.replace(name, path));
        let words: Vec<&str> = line.split(' ').collect();
        let compared = compare_with(&kubectl, &cluster, &words, editor).await;
        differences.extend(compared.map_err(|why| format!("{editor}: kubectl {line}\n{why}")).err());
    }
    cluster.stop().await;
    assert!(differences.is_empty(), "{} of {} differ:\n{}", differences.len(), LINES.len(), differences.join("\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_is_edited_before_it_is_created() {
    let cluster = Cluster::start().await;
    let file = cluster.file("x.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\n");
    let made =
        ours_with(&cluster, "default", &["create", "-f", &file, "--edit"], "sed -i \"s/name: x$/name: x2/\"").await;
    assert_eq!((made.err.as_str(), made.out.as_str(), made.code), ("", "configmap/x2 created\n", 0));
    cluster.stop().await;
}
