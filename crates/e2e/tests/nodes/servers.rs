//! AdmissionWebhook and Aggregator: their servers are pods of the cluster, reached through a Service.

use anyhow::{Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use e2e::eventually;
use rcgen::{CertificateParams, KeyPair};
use serde_json::json;

use crate::Step;
use crate::user::User;

pub const STEPS: &[Step] = &[
    ("AdmissionWebhook: a pod behind a Service changes, refuses, and is missed when it is gone", webhook),
    ("Aggregator: a pod behind a Service serves a group of its own, and kubectl finds it", aggregator),
];

/// Changes and refuses ConfigMaps, and serves `flunders`.
const PROGRAM: &str = r#"
import base64, http.server, json, ssl
GROUP = "wardle.example.com/v1alpha1"
flunder = {"apiVersion": GROUP, "kind": "Flunder", "metadata": {"name": "pod-made", "namespace": "NAMESPACE", "uid": "1"}}
class Handler(http.server.BaseHTTPRequestHandler):
    def answer(self, code, body):
        data = json.dumps(body).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
    def do_GET(self):
        path = self.path.split("?")[0]
        if path == "/apis/" + GROUP:
            verbs = ["get", "list"]
            resource = {"name": "flunders", "singularName": "flunder", "kind": "Flunder", "namespaced": True, "verbs": verbs}
            return self.answer(200, {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": GROUP, "resources": [resource]})
        if path == "/apis/" + GROUP + "/namespaces/NAMESPACE/flunders":
            return self.answer(200, {"apiVersion": GROUP, "kind": "FlunderList", "metadata": {}, "items": [flunder]})
        if path == "/apis/" + GROUP + "/namespaces/NAMESPACE/flunders/pod-made":
            return self.answer(200, dict(flunder, user=self.headers["X-Remote-User"]))
        reason = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404}
        self.answer(404, reason)
    def do_POST(self):
        review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        request = review["request"]
        response = {"uid": request["uid"], "allowed": True}
        if request["object"].get("data", {}).get("word") == "bad":
            response.update(allowed=False, status={"message": "a bad word", "code": 403})
        else:
            patch = [{"op": "add", "path": "/data/from", "value": "a pod"}]
            response.update(patchType="JSONPatch", patch=base64.b64encode(json.dumps(patch).encode()).decode())
        self.answer(200, {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response})
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain("/tls/tls.crt", "/tls/tls.key")
server = http.server.ThreadingHTTPServer(("", 8443), Handler)
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
"#;

/// A Deployment and a Service of it; the certificate that its clients are to trust.
fn start(user: &User<'_>, name: &str) -> Result<String> {
    let key = KeyPair::generate()?;
    let dns = format!("{name}.{}.svc", user.namespace);
    let certificate = CertificateParams::new(vec![dns])?.self_signed(&key)?.pem();
    let program = PROGRAM.replace("NAMESPACE", &user.namespace);
    let container = json!({
        "name": "c", "image": "yanbin/python-web:latest", "imagePullPolicy": "IfNotPresent",
        "command": ["python3", "-c", program], "readinessProbe": {"tcpSocket": {"port": 8443}, "periodSeconds": 1},
        "volumeMounts": [{"name": "tls", "mountPath": "/tls"}],
    });
    let template = json!({"metadata": {"labels": {"app": name}}, "spec": {
        "terminationGracePeriodSeconds": 1, "containers": [container],
        "volumes": [{"name": "tls", "secret": {"secretName": name}}],
    }});
    let list = json!({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls", "metadata": {"name": name},
            "stringData": {"tls.crt": certificate, "tls.key": key.serialize_pem()}},
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
            "spec": {"selector": {"matchLabels": {"app": name}}, "template": template}},
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
            "spec": {"selector": {"app": name}, "ports": [{"port": 443, "targetPort": 8443}]}},
    ]});
    user.apply(&list.to_string())?;
    user.kubectl.line(&format!("rollout status deployment/{name} --timeout=60s"))?;
    Ok(STANDARD.encode(certificate))
}

fn webhook(user: &User<'_>) -> Result<()> {
    let bundle = start(user, "judge")?;
    let configuration = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": "judge"},
        "webhooks": [{
            "name": "judge.example.com", "sideEffects": "None", "admissionReviewVersions": ["v1"], "timeoutSeconds": 5,
            "clientConfig": {"caBundle": bundle, "service": {"namespace": user.namespace, "name": "judge", "path": "/"}},
            "objectSelector": {"matchLabels": {"judged": "yes"}},
            "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]}],
        }],
    });
    user.apply(&configuration.to_string())?;
    let create = |name: &str, word: &str| {
        let map = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": {"judged": "yes"}},
            "data": {"word": word},
        });
        user.fed(&["create", "-f", "-"], &map.to_string())
    };
    eventually("the webhook changes what is made", || {
        create("good", "fine")?;
        let from = user.kubectl.line("get configmap good -o jsonpath={.data.from}")?;
        user.kubectl.line("delete configmap good")?;
        Ok((from == "a pod").then_some(()))
    })?;
    create("bad", "bad")?.refuses("admission webhook \"judge.example.com\" denied the request: a bad word")?;
    user.kubectl.line("scale deployment judge --replicas=0")?;
    user.until("get pods -l app=judge -o name", "")?;
    create("lost", "fine")?.refuses("failed calling webhook \"judge.example.com\"")?;
    user.kubectl.line("delete mutatingwebhookconfiguration judge")?;
    eventually("nobody is asked any more", || Ok((create("free", "bad")?.code == Some(0)).then_some(())))?;
    user.remove("configmap -l judged=yes")?;
    user.remove("deployment,service,secret judge")
}

fn aggregator(user: &User<'_>) -> Result<()> {
    let bundle = start(user, "wardle")?;
    let service = json!({
        "apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService",
        "metadata": {"name": "v1alpha1.wardle.example.com"},
        "spec": {
            "group": "wardle.example.com", "version": "v1alpha1", "groupPriorityMinimum": 2000, "versionPriority": 200,
            "caBundle": bundle, "service": {"namespace": user.namespace, "name": "wardle"},
        },
    });
    user.apply(&service.to_string())?;
    user.kubectl.line("wait apiservice/v1alpha1.wardle.example.com --for=condition=Available --timeout=60s")?;
    let flunders = eventually("kubectl finds it", || user.kubectl.line("get flunders -o name").map(Some))?;
    ensure!(flunders == "flunder.wardle.example.com/pod-made\n", "{flunders:?}");
    let asked_by = user.kubectl.line("get flunder pod-made -o jsonpath={.user}")?;
    ensure!(asked_by == "system:admin", "{asked_by:?}");
    user.kubectl.line("scale deployment wardle --replicas=0")?;
    user.kubectl.line("wait apiservice/v1alpha1.wardle.example.com --for=condition=Available=False --timeout=60s")?;
    user.kubectl.line("delete apiservice v1alpha1.wardle.example.com")?;
    user.remove("deployment,service,secret wardle")
}
