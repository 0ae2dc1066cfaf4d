//! `debug`: beside a pod's containers, in a copy, on a node.

use anyhow::{Result, ensure};

use crate::Step;
use crate::user::{IMAGE, PULL, User};

pub const STEPS: &[Step] = &[
    ("debug --target: sees the target's processes, and is told of in the status", beside),
    ("debug -it: a shell in an ephemeral container", in_a_terminal),
    ("debug --copy-to", in_a_copy),
    ("debug node: its files and processes", on_a_node),
];

fn beside(user: &User<'_>) -> Result<()> {
    user.sleeper("box")?;
    let before = user.kubectl.line("get pod box -o jsonpath={.status.containerStatuses[0].containerID}")?;
    let script = "read word; cat /proc/1/cmdline | tr '\\0' ' '; ls /proc/1/root/app; echo got $word; exit 6";
    let line = ["debug", "box", IMAGE, PULL, "--target=box", "-c", "look", "-q", "-i", "--", "sh", "-c", script];
    let said = user.fed(&line, "it\n")?;
    for text in ["sleep 100000", "app.py", "got it"] {
        ensure!(said.out.contains(text), "{text:?} is missing: {said:?}");
    }
    let code = "get pod box -o jsonpath={.status.ephemeralContainerStatuses[0].state.terminated.exitCode}";
    user.until(code, "6")?;
    let logs = user.kubectl.line("logs box -c look")?;
    ensure!(logs.ends_with("got it\n"), "{logs:?}");
    user.says_line("describe pod box")?.tells(&[
        "Ephemeral Containers:\n  look:",
        "Exit Code:    6",
        "spec.ephemeralContainers{look}",
    ])?;
    let after = user.kubectl.line("get pod box -o jsonpath={.status.containerStatuses[0].containerID}")?;
    ensure!(before == after, "the pod's own container was made anew");
    user.says_line(&format!("debug box {IMAGE} --target=nobody -c lost"))?
        .refuses("spec.ephemeralContainers[1].targetContainerName: Not found: \"nobody\"")
}

/// In the pod of the step before.
fn in_a_terminal(user: &User<'_>) -> Result<()> {
    let (mut terminal, before) = user.terminal(&["debug", "box", IMAGE, PULL, "-c", "shell", "-it", "--", "sh"])?;
    terminal.sees("try pressing enter")?;
    terminal.enter("echo de$((1+1))bug; ps")?;
    terminal.sees("de2bug")?;
    terminal.enter("exit 0")?;
    let (shown, status) = terminal.ends()?;
    ensure!(status.success() && !shown.contains("sleep 100000"), "not apart: {status}: {shown:?}");
    ensure!(shown.contains("the ephemeral container will not be restarted"), "{shown:?}");
    ensure!(terminal.modes()? == before, "the terminal is not as it was");
    let state = "get pod box -o jsonpath={.status.ephemeralContainerStatuses[1].state.terminated.reason}";
    user.until(state, "Completed")
}

fn in_a_copy(user: &User<'_>) -> Result<()> {
    let line = ["debug", "box", IMAGE, PULL, "--copy-to=copy", "-c", "extra", "-q", "-i", "--", "sh", "-c"];
    // They share their processes.
    let said = user.fed(&[&line[..], &["read word; ps | grep -c 'sleep 100[0]00'; echo $word"]].concat(), "here\n")?;
    ensure!(said.out.ends_with("here\n") && !said.out.starts_with('0'), "{said:?}");
    let names = user.kubectl.words("get pod copy", "{.spec.containers[*].name} {.spec.shareProcessNamespace}")?;
    ensure!(names == ["box", "extra", "true"], "{names:?}");
    user.remove("pod box copy")
}

fn on_a_node(user: &User<'_>) -> Result<()> {
    let line = ["debug", "node/k8s-node1", IMAGE, PULL, "--profile=sysadmin", "-i", "--", "sh", "-c"];
    let said =
        user.fed(&[&line[..], &["read word; hostname; ls -d /host/var/lib/coracle; echo $word"]].concat(), "end\n")?;
    said.tells(&["Creating debugging pod node-debugger-k8s-node1-", "k8s-node1\n/host/var/lib/coracle\nend\n"])?;
    user.remove("pod -l app.kubernetes.io/managed-by=kubectl-debug")
}
