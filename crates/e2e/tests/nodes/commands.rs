//! Commands that only a node can answer, with each kubectl alike.

use std::io::{BufRead, BufReader, Read};

use anyhow::{Context, Result, ensure};
use e2e::eventually;

use crate::user::{IMAGE, PULL, User};
use crate::{Step, copies, debugging};

const STEPS: &[Step] = &[
    ("run --attach and -i --rm: output, exit code, nothing left", run),
    ("run -it --rm: a shell in a terminal", run_in_a_terminal),
    ("rollout: status, restart, history, undo, one that does not end", rollout),
    ("port-forward to a service and to a deployment", port_forward),
    ("delete: waits, and lets dependents live on request", delete),
    ("top without a metrics API", top),
    ("drain waits for what a budget allows", drain),
];

pub fn steps() -> Vec<Step> {
    [debugging::STEPS, copies::STEPS, STEPS].concat()
}

fn run(user: &User<'_>) -> Result<()> {
    let line = ["run", "once", "--restart=Never", IMAGE, PULL];
    let script = |flags: &[&'static str], script: &'static str| {
        [&line[..], flags, &["--command", "--", "sh", "-c", script]].concat()
    };
    let said = user.fed(&script(&["--rm", "-i"], "cat; sleep 1; exit 7"), "in\nout\n")?;
    let gone = format!("in\nout\npod \"once\" deleted from {} namespace\n", user.namespace);
    said.is(7, &gone)?;
    ensure!(said.err.ends_with(&format!("pod {}/once terminated (Error)\n", user.namespace)), "{said:?}");
    eventually("the pod is gone", || Ok(user.says(&["get", "pod", "once"])?.err.contains("NotFound").then_some(())))?;
    let said = user.says(&script(&["--attach", "-q"], "echo early; sleep 1; echo late"))?;
    said.is(0, "early\nlate\n")?;
    user.until("get pod once -o jsonpath={.status.phase}", "Succeeded")?;
    user.says(&script(&[], "true"))?.refuses("pods \"once\" already exists")?;
    user.remove("pod once")?;
    user.says(&["run", "x", IMAGE, "--rm"])?.refuses("--rm should only be used for attached containers")?;
    let never = ["run", "never", "--rm", "--attach", "--restart=Never", "--image=127.0.0.1:9/lost:v1"];
    let said = user.says(&[&never[..], &["--pod-running-timeout=2s"]].concat())?;
    said.refuses("timed out waiting for the condition")?;
    ensure!(said.out.contains("pod \"never\" deleted"), "{said:?}");
    Ok(())
}

fn run_in_a_terminal(user: &User<'_>) -> Result<()> {
    let line = ["run", "shell", "-it", "--rm", "--restart=Never", IMAGE, PULL, "--command", "--", "/bin/sh"];
    let (mut terminal, before) = user.terminal(&line)?;
    terminal.sees("try pressing enter")?;
    // On attaching, kubectl tells a size that is one larger first, so that the screen is drawn anew.
    terminal.enter("until stty size | grep '24 80'; do :; done; echo ru$((1+1))n")?;
    terminal.sees("24 80")?;
    terminal.sees("ru2n")?;
    terminal.enter("exit 4")?;
    let (shown, status) = terminal.ends()?;
    ensure!(shown.contains("pod \"shell\" deleted") && status.code() == Some(4), "{status}: {shown:?}");
    ensure!(terminal.modes()? == before, "the terminal is not as it was");
    Ok(())
}

const WEB: &str = "apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: web
        image: yanbin/python-web:latest
        imagePullPolicy: IfNotPresent
        readinessProbe: {tcpSocket: {port: 80}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 8080, targetPort: 80}]}
";

fn rollout(user: &User<'_>) -> Result<()> {
    let rolled = |timeout: &str| user.says_line(&format!("rollout status deployment/web --timeout={timeout}"));
    let done = "deployment \"web\" successfully rolled out\n";
    user.apply(WEB)?;
    rolled("60s")?.tells(&[done])?;
    user.says_line("rollout restart deployment/web")?.is(0, "deployment.apps/web restarted\n")?;
    rolled("60s")?.tells(&["Waiting for deployment \"web\" rollout to finish", done])?;
    user.kubectl.line("set image deployment/web web=127.0.0.1:9/lost:v1")?;
    let stuck = rolled("2s")?;
    stuck.refuses("error: timed out waiting for the condition")?;
    let history =
        "deployment.apps/web \nREVISION  CHANGE-CAUSE\n1         <none>\n2         <none>\n3         <none>\n\n";
    user.says_line("rollout history deployment/web")?.is(0, history)?;
    user.says_line("rollout undo deployment/web")?.is(0, "deployment.apps/web rolled back\n")?;
    rolled("60s")?.tells(&[done])?;
    let restarted = "jsonpath={.spec.template.metadata.annotations.kubectl\\.kubernetes\\.io/restartedAt}";
    ensure!(!user.kubectl.run(&["get", "deployment", "web", "-o", restarted])?.is_empty(), "revision 2 is back");
    user.says_line("rollout undo deployment/web --to-revision=9")?.refuses("unable to find specified revision 9")
}

/// Of the deployment that the step before left.
fn port_forward(user: &User<'_>) -> Result<()> {
    user.apply(WEB)?;
    user.kubectl.line("rollout status deployment/web --timeout=60s")?;
    for (target, ports, remote) in [("service/web", ":8080", 80), ("deployment/web", ":80", 80)] {
        let mut forward = user.kubectl.background(&["port-forward", target, ports])?;
        let mut lines = BufReader::new(forward.0.stdout.take().context("its output is piped")?);
        let mut said = String::new();
        lines.read_line(&mut said)?;
        let port = said.trim().strip_prefix("Forwarding from 127.0.0.1:");
        let port = port.and_then(|rest| rest.strip_suffix(&format!(" -> {remote}")));
        let url = format!("http://127.0.0.1:{}/", port.with_context(|| format!("{target}: {said:?}"))?);
        let output = std::process::Command::new("curl").args(["-sS", "-m", "10", &url]).output()?;
        ensure!(output.stdout.starts_with(b"Served by web-"), "{target}: {output:?}");
        drop(forward);
        lines.read_to_string(&mut said)?;
        ensure!(said.contains("Handling connection for"), "{target}: {said:?}");
    }
    user.says_line("port-forward service/web :9999")?.refuses("Service web does not have a service port 9999")
}

fn delete(user: &User<'_>) -> Result<()> {
    user.says_line("delete deployment web --cascade=orphan")?.tells(&["deployment.apps \"web\" deleted"])?;
    let owners = "get replicasets -l app=web -o jsonpath={.items[*].metadata.ownerReferences}";
    user.until(owners, "")?;
    user.until("get pods -l app=web --no-headers -o custom-columns=P:.status.phase", "Running\nRunning")?;
    // The same selector: the deployment takes its own back.
    user.apply(WEB)?;
    user.kubectl.line("rollout status deployment/web --timeout=60s")?;
    user.says_line("delete deployment web --cascade=foreground --timeout=60s")?.tells(&["deleted"])?;
    user.until("get replicasets,pods -l app=web -o name", "")?;
    user.sleeper("slow")?;
    user.says_line("delete pod slow --grace-period=2 --wait")?.tells(&["pod \"slow\" deleted"])?;
    user.says_line("get pod slow")?.refuses("NotFound")
}

fn top(user: &User<'_>) -> Result<()> {
    for what in ["pod", "node"] {
        let said = user.says(&["top", what])?;
        ensure!((said.code, said.err.as_str()) == (Some(1), "error: Metrics API not available\n"), "{said:?}");
    }
    Ok(())
}

const BUDGET: &str = "
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: web}
spec: {minAvailable: 2, selector: {matchLabels: {app: web}}}
";

fn drain(user: &User<'_>) -> Result<()> {
    user.apply(&(WEB.to_owned() + BUDGET))?;
    user.kubectl.line("rollout status deployment/web --timeout=60s")?;
    user.until("get pdb web -o jsonpath={.status.currentHealthy}", "2")?;
    let node = user.kubectl.words("get pods -l app=web", "{.items[*].spec.nodeName}")?.remove(0);
    let line = format!("drain {node} --ignore-daemonsets --pod-selector=app=web");
    let held = user.says_line(&format!("{line} --timeout=1s"))?;
    held.refuses("Cannot evict pod as it would violate the pod's disruption budget.")?;
    user.kubectl.line("patch pdb web --type=merge -p {\"spec\":{\"minAvailable\":1}}")?;
    user.until("get pdb web -o jsonpath={.status.disruptionsAllowed}", "1")?;
    let drained = user.says_line(&format!("{line} --timeout=60s"))?;
    drained.tells(&[&format!("node/{node} drained")])?;
    ensure!(drained.out.contains("evicted"), "{drained:?}");
    let left = format!("get pods -l app=web --field-selector=spec.nodeName={node} -o name");
    user.until(&left, "")?;
    user.kubectl.line(&format!("uncordon {node}"))?;
    user.remove("deployment,service,pdb web")
}
