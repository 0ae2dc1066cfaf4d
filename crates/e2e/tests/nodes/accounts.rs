//! ServiceAccounts and ServiceAccountIssuerDiscovery: what a pod gets of its account, and what it can do with it.

use anyhow::{Result, ensure};
use serde_json::Value;

use crate::Step;
use crate::user::User;

pub const STEPS: &[Step] = &[
    (
        "ServiceAccounts: a token, the root certificate and the namespace are mounted, and the API knows the pod",
        mounted,
    ),
    ("ServiceAccounts: an account, and a pod over it, may opt out of the token", opted_out),
    ("ServiceAccounts: a projected token has its audience, its file mode and the pod's user", projected),
    ("ServiceAccountIssuerDiscovery: a pod finds the keys and checks its own token", discovery),
];

const MOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// Of a pod's container: what all of them have.
const CONTAINER: &str =
    "name: main, image: 'yanbin/python-web:latest', imagePullPolicy: IfNotPresent, command: [sh, -c, 'sleep 100000']";

fn pod(name: &str, more: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec:\n  terminationGracePeriodSeconds: 1\n\
         {more}  containers: [{{{CONTAINER}}}]\n"
    )
}

fn start(user: &User<'_>, name: &str, manifest: &str) -> Result<()> {
    user.apply(manifest)?;
    user.kubectl.run(&["wait", &format!("pod/{name}"), "--for=condition=Ready", "--timeout=60s"]).map(drop)
}

/// Asks the API as the pod may.
const ASK: &str = r#"
import json, ssl, sys, urllib.request
base = "/var/run/secrets/kubernetes.io/serviceaccount/"
token = open(base + "token").read()
context = ssl.create_default_context(cafile=base + "ca.crt")
def ask(url, body=None):
    headers = {"Authorization": "Bearer " + token, "Content-Type": "application/json"}
    data = json.dumps(body).encode() if body else None
    return json.load(urllib.request.urlopen(urllib.request.Request(url, data, headers), context=context, timeout=10))
api = "https://kubernetes.default.svc"
"#;

fn python(user: &User<'_>, pod: &str, script: &str) -> Result<String> {
    user.kubectl.run(&["exec", pod, "--", "python3", "-c", &format!("{ASK}{script}")])
}

fn mounted(user: &User<'_>) -> Result<()> {
    start(user, "mounted", &pod("mounted", ""))?;
    ensure!(user.shell("mounted", &format!("cat {MOUNT}/namespace"))? == user.namespace, "another namespace");
    let root = user.kubectl.line("get configmap kube-root-ca.crt -o jsonpath={.data.ca\\.crt}")?;
    ensure!(user.shell("mounted", &format!("cat {MOUNT}/ca.crt"))? == root, "another root certificate");
    let review = r#"
body = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
print(json.dumps(ask(api + "/apis/authentication.k8s.io/v1/selfsubjectreviews", body)["status"]["userInfo"]))
"#;
    let who: Value = serde_json::from_str(&python(user, "mounted", review)?)?;
    let name = format!("system:serviceaccount:{}:default", user.namespace);
    ensure!(who["username"] == name.as_str(), "{who}");
    let groups = ["system:serviceaccounts", "system:authenticated"];
    ensure!(groups.iter().all(|group| who["groups"].as_array().into_iter().flatten().any(|one| one == group)), "{who}");
    ensure!(who["extra"]["authentication.kubernetes.io/pod-name"][0] == "mounted", "{who}");
    // Its token goes with it.
    let token = user.shell("mounted", &format!("cat {MOUNT}/token"))?;
    reviewed(user, &token, true)?;
    user.remove("pod mounted")?;
    reviewed(user, &token, false)
}

fn reviewed(user: &User<'_>, token: &str, wanted: bool) -> Result<()> {
    let review = serde_json::json!({
        "apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token},
    });
    let answer = user.kubectl.with_input(&["create", "-o", "json", "-f", "-"], &review.to_string())?;
    let answer: Value = serde_json::from_str(&answer)?;
    ensure!(answer["status"]["authenticated"].as_bool().unwrap_or_default() == wanted, "{answer}");
    Ok(())
}

fn opted_out(user: &User<'_>) -> Result<()> {
    user.apply("apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: quiet}\nautomountServiceAccountToken: false\n")?;
    user.apply("apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: loud}\nautomountServiceAccountToken: true\n")?;
    let cases = [
        ("quiet", "", false),
        ("quiet", "true", true),
        ("quiet", "false", false),
        ("loud", "", true),
        ("loud", "true", true),
        ("loud", "false", false),
    ];
    for (account, said, wanted) in cases {
        let name = format!("opt-{account}-{}", if said.is_empty() { "unsaid" } else { said });
        let own = if said.is_empty() { String::new() } else { format!("  automountServiceAccountToken: {said}\n") };
        start(user, &name, &pod(&name, &format!("  serviceAccountName: {account}\n{own}")))?;
        let there = user.shell(&name, &format!("test -e {MOUNT}/token && echo there || echo absent"))?;
        ensure!((there == "there\n") == wanted, "{name}: {there}");
        user.kubectl.line(&format!("delete pod {name} --now --wait=false"))?;
    }
    user.remove("serviceaccount quiet loud")
}

const PROJECTED: &str = "apiVersion: v1
kind: Pod
metadata: {name: projected}
spec:
  terminationGracePeriodSeconds: 1
  securityContext: {runAsUser: 33, runAsGroup: 33, fsGroup: 2000}
  volumes:
  - name: token
    projected: {sources: [{serviceAccountToken: {path: token, audience: harbour, expirationSeconds: 600}}]}
  containers: [{CONTAINER, volumeMounts: [{name: token, mountPath: /token}]}]
";

fn projected(user: &User<'_>) -> Result<()> {
    start(user, "projected", &PROJECTED.replace("CONTAINER", CONTAINER))?;
    let mode = user.shell("projected", "stat -L -c '%a %g' /token/token; id -u")?;
    ensure!(mode == "600 2000\n33\n" || mode == "640 2000\n33\n", "{mode:?}");
    let claims = r#"
import base64, json
part = open("/token/token").read().split(".")[1]
print(json.dumps(json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))))
"#;
    let claims: Value =
        serde_json::from_str(&user.kubectl.run(&["exec", "projected", "--", "python3", "-c", claims])?)?;
    ensure!(claims["aud"] == serde_json::json!(["harbour"]), "{claims}");
    let life = claims["exp"].as_i64().unwrap_or_default() - claims["iat"].as_i64().unwrap_or_default();
    ensure!(life == 600, "{claims}");
    ensure!(claims["kubernetes.io"]["pod"]["name"] == "projected", "{claims}");
    let refused = user.shell("projected", "cat /token/token").and_then(|token| reviewed(user, &token, false));
    refused?;
    user.remove("pod projected")
}

fn discovery(user: &User<'_>) -> Result<()> {
    let binding =
        ["create", "clusterrolebinding", "discoverer", "--clusterrole=system:service-account-issuer-discovery"];
    let subject = format!("--serviceaccount={}:default", user.namespace);
    user.kubectl.run(&[&binding[..], &[&subject]].concat())?;
    start(user, "discoverer", &pod("discoverer", ""))?;
    let script = r#"
import base64, hashlib
document = ask(api + "/.well-known/openid-configuration")
keys = ask(api + "/openid/v1/jwks")["keys"]
raw = lambda text: base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
number = lambda data: int.from_bytes(data, "big")
header, claims, signature = token.strip().split(".")
said, signature = json.loads(raw(header)), raw(signature)
key = [key for key in keys if key["kid"] == said["kid"]][0]
digest = number(hashlib.sha256((header + "." + claims).encode()).digest())
def rsa():
    return pow(number(signature), number(raw(key["e"])), number(raw(key["n"]))) & (2 ** 256 - 1) == digest
def p256():
    p = 2 ** 256 - 2 ** 224 + 2 ** 192 + 2 ** 96 - 1
    n = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551
    base = (0x6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296,
            0x4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5)
    def add(a, b):
        if a is None or b is None: return a or b
        if a[0] == b[0] and (a[1] + b[1]) % p == 0: return None
        slope = (3 * a[0] * a[0] - 3) * pow(2 * a[1], -1, p) if a == b else (b[1] - a[1]) * pow(b[0] - a[0], -1, p)
        x = (slope * slope - a[0] - b[0]) % p
        return x, (slope * (a[0] - x) - a[1]) % p
    def times(k, point):
        found = None
        while k:
            if k & 1: found = add(found, point)
            point, k = add(point, point), k >> 1
        return found
    r, s = number(signature[:32]), number(signature[32:])
    inverse, public = pow(s, -1, n), (number(raw(key["x"])), number(raw(key["y"])))
    return add(times(digest * inverse % n, base), times(r * inverse % n, public))[0] % n == r
print(document["issuer"] == json.loads(raw(claims))["iss"], document["jwks_uri"].endswith("/openid/v1/jwks"),
      said["alg"] in document["id_token_signing_alg_values_supported"], {"RS256": rsa, "ES256": p256}[said["alg"]]())
"#;
    let said = python(user, "discoverer", script)?;
    ensure!(said == "True True True True\n", "{said:?}");
    user.kubectl.line("delete clusterrolebinding discoverer")?;
    user.remove("pod discoverer")
}
