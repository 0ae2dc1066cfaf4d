//! Terminals, pipes, logs and tunnels into containers, with every generation of kubectl and with our own.
//!
//! One cluster for all. `CORACLE_TERMINALS=text,text` runs only the steps whose name has one of the texts.
#![allow(clippy::disallowed_methods, reason = "black-box tests run programs")]

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::PathBuf;
use std::process::{ChildStdout, Command, Output, Stdio};

use anyhow::{Context, Result, bail, ensure};
use e2e::kubectl::Background;
use e2e::terminal::Modes;
use e2e::{Cluster, Kubectl, Terminal, cluster, eventually, kubectl};

const MIB: usize = 1 << 20;
const IMAGE: &str = "yanbin/python-web:latest";

#[test]
fn terminals_pipes_logs_and_tunnels_work_with_every_kubectl() {
    if !cluster::is_root() {
        eprintln!("SKIPPED: a dev cluster needs root");
        return;
    }
    let cluster = Cluster::start("e2e-terminals").unwrap();
    let own = User::new(&cluster, "own", cluster::binary(), true);
    own.kubectl.with_input(&["apply", "-f", "-"], BOX).unwrap();
    own.kubectl.line("wait pod/box --for=condition=Ready --timeout=60s").unwrap();
    let mut failures = own.run_all();
    // 1.27 speaks SPDY, 1.30 WebSockets to processes and SPDY to ports, 1.36 WebSockets alone.
    for version in ["1.27", "1.30", "1.36"] {
        match kubectl::of_version(version) {
            Some(path) => failures.extend(User::new(&cluster, &version.replace('.', "-"), path, false).run_all()),
            None => eprintln!("SKIPPED: kubectl {version} is not on this machine"),
        }
    }
    assert!(failures.is_empty(), "{} steps failed:\n{}", failures.len(), failures.join("\n"));
}

/// Somebody with one kubectl.
struct User<'a> {
    cluster: &'a Cluster,
    kubectl: Kubectl,
    program: PathBuf,
    is_own: bool,
    /// What its pods' names end in.
    suffix: String,
}

impl<'a> User<'a> {
    fn new(cluster: &'a Cluster, suffix: &str, program: PathBuf, is_own: bool) -> Self {
        let path = program.to_str().expect("a path is text");
        let words: &[&str] = if is_own { &[path, "kubectl"] } else { &[path] };
        let kubectl = cluster.kubectl(words);
        Self { cluster, kubectl, program, is_own, suffix: suffix.to_owned() }
    }

    fn run_all(&self) -> Vec<String> {
        type Step<'a> = fn(&User<'a>) -> Result<()>;
        let steps: [(&str, Step<'a>); 12] = [
            ("exec -it: a shell in a terminal", Self::shell),
            ("exec -i: what goes in comes out, and its end is the end", Self::echoed_bytes),
            ("exec: exit code, and stderr apart from stdout", Self::exit_code),
            ("exec: what cannot run says so", Self::missing_program),
            ("attach -it: a shell that runs already", Self::attached_shell),
            ("attach -i: the end of the input ends the container", Self::attached_pipe),
            ("run -it --rm: prints, tells the exit code, removes the pod", Self::run_and_remove),
            ("logs -f: lines as they are written, and the end with the container", Self::followed_logs),
            ("logs -f: across files that are put aside", Self::rotated_logs),
            ("logs: --previous, --tail, --since, --timestamps, -c", Self::logs),
            ("port-forward: many connections at once, and much data", Self::port_forward),
            ("cp: there and back", Self::copied_file),
        ];
        eprintln!("with {}", self.kubectl.name());
        let wanted = std::env::var("CORACLE_TERMINALS").unwrap_or_default();
        let mut failures = Vec::new();
        for (what, step) in steps.into_iter().filter(|(what, _)| wanted.split(',').any(|text| what.contains(text))) {
            match step(self) {
                Ok(()) => eprintln!("  \u{2713} {what}"),
                Err(error) => {
                    eprintln!("  \u{2717} {what}\n    {error:#}");
                    failures.push(format!("{}: {what}: {error:#}", self.kubectl.name()));
                }
            }
        }
        failures
    }

    /// A command line of this kubectl, without the program.
    fn line(&self, arguments: &[&str]) -> Vec<OsString> {
        let mut line: Vec<OsString> = self.is_own.then(|| "kubectl".into()).into_iter().collect();
        line.extend(["--kubeconfig".into(), self.cluster.kubeconfig.clone().into()]);
        line.extend(["--context".into(), self.cluster.context().into()]);
        line.extend(arguments.iter().map(|&word| word.into()));
        line
    }

    fn terminal(&self, arguments: &[&str], size: (u16, u16)) -> Result<(Terminal, Modes)> {
        let line = self.line(arguments);
        let words: Vec<&str> = line.iter().filter_map(|word| word.to_str()).collect();
        Terminal::start(&self.program, &words, size)
    }

    fn fed(&self, arguments: &[&str], input: Vec<u8>) -> Result<Output> {
        let mut command = Command::new(&self.program);
        command.args(self.line(arguments)).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        let mut stdin = child.stdin.take().context("its input is piped")?;
        let feeding = std::thread::spawn(move || stdin.write_all(&input));
        let output = child.wait_with_output()?;
        feeding.join().map_err(|_| anyhow::anyhow!("the feeder panicked"))?.context("feed it")?;
        Ok(output)
    }

    fn pod(&self, name: &str) -> String {
        format!("{name}-{}", self.suffix)
    }

    /// Makes a pod of this user's, and waits for it to run.
    fn start(&self, name: &str, manifest: &str) -> Result<String> {
        let pod = self.pod(name);
        self.kubectl.with_input(&["apply", "-f", "-"], &manifest.replace("NAME", &pod))?;
        let running = "--for=jsonpath={.status.phase}=Running";
        self.kubectl.run(&["wait", &format!("pod/{pod}"), running, "--timeout=60s"])?;
        Ok(pod)
    }

    fn ends_as(&self, pod: &str, phase: &str) -> Result<()> {
        let ended = format!("--for=jsonpath={{.status.phase}}={phase}");
        self.kubectl.run(&["wait", &format!("pod/{pod}"), &ended, "--timeout=60s"]).map(drop)
    }

    fn remove(&self, pod: &str) -> Result<()> {
        self.kubectl.run(&["delete", "pod", pod, "--grace-period=1"]).map(drop)
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Not twice the same in a row, and every byte.
fn bytes(length: usize) -> Vec<u8> {
    let mut state = 1u32;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    std::iter::repeat_with(next).take(length).collect()
}

fn ensure_same(what: &str, sent: &[u8], received: &[u8]) -> Result<()> {
    let differs = sent.iter().zip(received).position(|(one, other)| one != other);
    ensure!(sent == received, "{what}: {} of {} bytes, the first wrong one at {differs:?}", received.len(), sent.len());
    Ok(())
}

/// Asks the shell until the answer is right: a new size is on its way while the question is typed.
fn has_size(terminal: &mut Terminal, rows: u16, columns: u16) -> Result<()> {
    let wanted = format!("<{rows} {columns}>");
    for _ in 0..50 {
        terminal.enter("echo \"<$(stty size)>\"; echo done$((1+1))")?;
        let shown = terminal.sees_until("done2")?;
        if shown.contains(&wanted) {
            return Ok(());
        }
    }
    bail!("the size does not become {wanted}")
}

/// Terminals and pipes.
impl User<'_> {
    fn shell(&self) -> Result<()> {
        let (mut terminal, before) = self.terminal(&["exec", "-it", "box", "-c", "main", "--", "/bin/sh"], (24, 80))?;
        terminal.sees("# ")?;
        ensure!(terminal.modes()? != before, "the terminal is raw while the shell has it");
        terminal.enter("tty")?;
        terminal.sees("/dev/pts/")?;
        has_size(&mut terminal, 24, 80)?;
        terminal.resize((40, 132))?;
        has_size(&mut terminal, 40, 132)?;
        terminal.enter("echo be$((1+1))gin; sleep 100")?;
        terminal.sees("be2gin")?;
        terminal.type_in("\x03")?;
        terminal.sees("# ")?;
        terminal.enter("echo ali$((1+1))ve")?;
        terminal.sees("ali2ve")?;
        terminal.enter("exit 3")?;
        let (shown, status) = terminal.ends()?;
        ensure!(status.code() == Some(3), "{status}; the terminal shows {shown:?}");
        ensure!(terminal.modes()? == before, "the terminal is not as it was: {:?}, {before:?}", terminal.modes()?);
        Ok(())
    }

    fn echoed_bytes(&self) -> Result<()> {
        let sent = bytes(MIB);
        let output = self.fed(&["exec", "-i", "box", "-c", "main", "--", "cat"], sent.clone())?;
        ensure!(output.status.success(), "{}: {}", output.status, text(&output.stderr));
        ensure_same("through cat", &sent, &output.stdout)?;
        let output = self.fed(&["exec", "-i", "box", "-c", "main", "--", "wc", "-c"], Vec::new())?;
        ensure!(text(&output.stdout).trim() == "0", "no input at all: {output:?}");
        Ok(())
    }

    fn exit_code(&self) -> Result<()> {
        let script = "echo out; echo err >&2; exit 7";
        let output = self.kubectl.output(&["exec", "box", "-c", "main", "--", "sh", "-c", script])?;
        ensure!(output.status.code() == Some(7), "{output:?}");
        ensure!(output.stdout == b"out\n", "{output:?}");
        let errors = text(&output.stderr);
        ensure!(errors == "err\ncommand terminated with exit code 7\n", "{errors}");
        let killed = self.kubectl.output(&["exec", "box", "-c", "main", "--", "sh", "-c", "kill -9 $$"])?;
        ensure!(killed.status.code() == Some(137), "{killed:?}");
        let quiet = self.kubectl.output(&["exec", "box", "-c", "main", "--", "true"])?;
        ensure!(quiet.status.success() && quiet.stdout.is_empty() && quiet.stderr.is_empty(), "{quiet:?}");
        Ok(())
    }

    fn missing_program(&self) -> Result<()> {
        let output = self.kubectl.output(&["exec", "box", "-c", "main", "--", "no-such-program"])?;
        let errors = text(&output.stderr);
        ensure!(!output.status.success() && errors.contains("no-such-program"), "{}: {errors}", output.status);
        let output = self.kubectl.output(&["exec", "box", "-c", "nobody", "--", "true"])?;
        let errors = text(&output.stderr);
        ensure!(!output.status.success() && errors.contains("nobody"), "{}: {errors}", output.status);
        Ok(())
    }

    fn attached_shell(&self) -> Result<()> {
        let pod = self.start("joined", SHELL)?;
        let (mut terminal, before) = self.terminal(&["attach", "-it", &pod], (30, 100))?;
        terminal.sees("try pressing enter")?;
        terminal.enter("echo jo$((1+1))ined")?;
        terminal.sees("jo2ined")?;
        has_size(&mut terminal, 30, 100)?;
        terminal.resize((31, 101))?;
        has_size(&mut terminal, 31, 101)?;
        terminal.enter("exit 0")?;
        let (shown, status) = terminal.ends()?;
        ensure!(status.success(), "{status}; the terminal shows {shown:?}");
        ensure!(terminal.modes()? == before, "the terminal is not as it was");
        self.ends_as(&pod, "Succeeded")?;
        self.remove(&pod)
    }

    fn attached_pipe(&self) -> Result<()> {
        let pod = self.start("fed", CAT)?;
        let sent = b"one\ntwo\n".to_vec();
        let output = self.fed(&["attach", "-i", &pod], sent.clone())?;
        ensure!(output.status.success(), "{}: {}", output.status, text(&output.stderr));
        ensure_same("through the container", &sent, &output.stdout)?;
        self.ends_as(&pod, "Succeeded")?;
        let logs = self.kubectl.run(&["logs", &pod])?;
        ensure!(logs.as_bytes() == sent, "its log: {logs:?}");
        self.remove(&pod)
    }

    fn run_and_remove(&self) -> Result<()> {
        let (pod, image) = (self.pod("once"), format!("--image={IMAGE}"));
        let line = ["run", &pod, "-it", "--rm", "--restart=Never", &image, "--image-pull-policy=IfNotPresent"];
        let (mut terminal, before) = self.terminal(&[&line[..], &["--command", "--", "/bin/sh"]].concat(), (24, 80))?;
        terminal.sees("try pressing enter")?;
        terminal.enter("echo ru$((1+1))n")?;
        terminal.sees("ru2n")?;
        terminal.enter("exit 4")?;
        let (shown, status) = terminal.ends()?;
        ensure!(shown.contains(&format!("pod \"{pod}\" deleted")), "{shown:?}");
        ensure!(!shown.contains("couldn't attach"), "{shown:?}");
        ensure!(status.code() == Some(4), "{status}; the terminal shows {shown:?}");
        ensure!(terminal.modes()? == before, "the terminal is not as it was");
        let left = self.kubectl.output(&["get", "pod", &pod])?;
        ensure!(text(&left.stderr).contains("NotFound"), "{left:?}");
        Ok(())
    }
}

/// The output of something that goes on.
struct Followed {
    /// Ends it.
    _program: Background,
    lines: BufReader<ChildStdout>,
}

impl Followed {
    fn start(kubectl: &Kubectl, arguments: &[&str]) -> Result<Self> {
        let mut program = kubectl.background(arguments)?;
        let lines = BufReader::new(program.0.stdout.take().context("its output is piped")?);
        Ok(Self { _program: program, lines })
    }

    /// The next line; empty at the end.
    fn next(&mut self) -> Result<String> {
        let mut line = String::new();
        self.lines.read_line(&mut line)?;
        Ok(line.trim_end().to_owned())
    }

    fn shows(&mut self, wanted: &str) -> Result<()> {
        let line = self.next()?;
        ensure!(line == wanted, "{line:?} rather than {wanted:?}");
        Ok(())
    }

    fn ends(mut self) -> Result<()> {
        let line = self.next()?;
        ensure!(line.is_empty(), "{line:?} rather than the end");
        let status = self._program.0.wait()?;
        ensure!(status.success(), "{status}");
        Ok(())
    }
}

/// Logs.
impl User<'_> {
    fn say(&self, pod: &str, words: &str) -> Result<()> {
        self.kubectl
            .run(&["exec", pod, "-c", "main", "--", "sh", "-c", &format!("echo {words} > /words/now")])
            .map(drop)
    }

    /// Says a word that ends the container, which may end the one who says it: what follows shows whether it was heard.
    fn say_last(&self, pod: &str, word: &str) {
        drop(self.say(pod, word));
    }

    fn followed_logs(&self) -> Result<()> {
        let pod = self.start("talker", TALKER)?;
        let mut logs = Followed::start(&self.kubectl, &["logs", "-f", &pod])?;
        logs.shows("ready")?;
        for words in ["first", "second", "third"] {
            self.say(&pod, words)?;
            logs.shows(words)?;
        }
        let mut tail = Followed::start(&self.kubectl, &["logs", "-f", "--tail=1", &pod])?;
        tail.shows("third")?;
        self.say_last(&pod, "end");
        logs.shows("the end")?;
        logs.ends()?;
        tail.shows("the end")?;
        tail.ends()?;
        self.remove(&pod)
    }

    fn rotated_logs(&self) -> Result<()> {
        let pod = self.start("flood", TALKER)?;
        let mut logs = Followed::start(&self.kubectl, &["logs", "-f", &pod])?;
        logs.shows("ready")?;
        self.say_last(&pod, "flood");
        for number in 1..=FLOOD {
            logs.shows(&number.to_string())?;
        }
        logs.shows("the end")?;
        logs.ends()?;
        self.remove(&pod)
    }

    fn logs(&self) -> Result<()> {
        let pod = self.start("reborn", REBORN)?;
        let logs = |flags: &[&str]| self.kubectl.run(&[&["logs", &pod][..], flags].concat());
        eventually("the second life", || Ok(logs(&["-c", "main"])?.contains("second life").then_some(())))?;
        let is = |flags: &[&str], wanted: &str| {
            let shown = logs(flags)?;
            ensure!(shown == wanted, "logs {flags:?}: {shown:?}");
            Ok(())
        };
        is(&["-c", "main", "--previous"], "first life\n")?;
        is(&["-c", "side"], "a\nb\nc\n")?;
        is(&["-c", "side", "--tail=2"], "b\nc\n")?;
        is(&["-c", "side", "--tail=0"], "")?;
        is(&["-c", "side", "--since=1h"], "a\nb\nc\n")?;
        is(&["-c", "side", "--limit-bytes=3"], "a\nb")?;
        eventually("lines that are old", || Ok(logs(&["-c", "side", "--since=1s"])?.is_empty().then_some(())))?;
        let stamped = logs(&["-c", "side", "--timestamps", "--tail=1"])?;
        let (time, line) = stamped.split_once(' ').context("a time")?;
        ensure!(line == "c\n" && time.ends_with('Z') && time.contains('T') && time.len() == 30, "{stamped:?}");
        let wrong = self.kubectl.output(&["logs", &pod, "-c", "nobody"])?;
        let errors = text(&wrong.stderr);
        let wanted = format!("error: container nobody is not valid for pod {pod}");
        ensure!(wrong.status.code() == Some(1) && errors.starts_with(&wanted), "{errors}");
        let never = self.kubectl.output(&["logs", &pod, "-c", "side", "--previous"])?;
        ensure!(text(&never.stderr).contains("previous terminated container \"side\""), "{never:?}");
        self.remove(&pod)
    }
}

/// Tunnels.
impl User<'_> {
    fn port_forward(&self) -> Result<()> {
        let mut forward = Followed::start(&self.kubectl, &["port-forward", "pod/box", ":7000", ":9"])?;
        let port = forwarded_port(&forward.next()?, 7000)?;
        let mut closed = forward.next()?;
        while !closed.ends_with("-> 9") {
            closed = forward.next()?;
        }
        let closed = forwarded_port(&closed, 9)?;
        // Its notes on each connection must not fill the pipe.
        let Followed { _program, lines } = forward;
        std::thread::spawn(move || lines.lines().map_while(Result::ok).count());
        let sizes = [1, 1000, 5 * MIB, 64 * 1024, MIB, 17, 5 * MIB, 3 * MIB];
        let talks: Vec<_> = sizes.map(|size| std::thread::spawn(move || echo(port, size))).into_iter().collect();
        for talk in talks {
            talk.join().map_err(|_| anyhow::anyhow!("a connection panicked"))??;
        }
        let mut answer = Vec::new();
        let _ = TcpStream::connect(("127.0.0.1", closed))?.read_to_end(&mut answer);
        ensure!(answer.is_empty(), "a port that nobody listens on answers {answer:?}");
        Ok(())
    }

    fn copied_file(&self) -> Result<()> {
        let here = std::env::temp_dir().join(format!("coracle-e2e-cp-{}", self.suffix));
        let back = here.with_extension("back");
        let sent = bytes(3 * MIB);
        std::fs::write(&here, &sent)?;
        let (from, to) = (here.to_str().context("text")?, back.to_str().context("text")?);
        let there = format!("box:/files/{}", self.suffix);
        self.kubectl.run(&["cp", "-c", "main", from, &there])?;
        self.kubectl.run(&["cp", "-c", "main", &there, to])?;
        let received = std::fs::read(&back)?;
        std::fs::remove_file(&here)?;
        std::fs::remove_file(&back)?;
        ensure_same("copied there and back", &sent, &received)
    }
}

/// `Forwarding from 127.0.0.1:1234 -> 80`.
fn forwarded_port(line: &str, remote: u16) -> Result<u16> {
    let rest =
        line.strip_prefix("Forwarding from 127.0.0.1:").and_then(|rest| rest.strip_suffix(&format!(" -> {remote}")));
    rest.with_context(|| format!("kubectl says {line:?}"))?.parse().context("a port")
}

/// Sends, closes its half, and gets the same back.
fn echo(port: u16, size: usize) -> Result<()> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(e2e::PATIENCE))?;
    let sent = bytes(size);
    let (mut sending, data) = (stream.try_clone()?, sent.clone());
    let writer = std::thread::spawn(move || sending.write_all(&data).and_then(|()| sending.shutdown(Shutdown::Write)));
    let mut received = Vec::new();
    stream.read_to_end(&mut received).context("read what comes back")?;
    writer.join().map_err(|_| anyhow::anyhow!("the writer panicked"))?.context("send")?;
    ensure_same(&format!("{size} bytes through the tunnel"), &sent, &received)
}

/// Enough for two files to be put aside.
const FLOOD: u32 = 400_000;

/// A container to work in, and one that echoes connections.
const BOX: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: box}
spec:
  terminationGracePeriodSeconds: 1
  volumes: [{name: files, emptyDir: {}}]
  containers:
  - name: main
    image: yanbin/python-web:latest
    imagePullPolicy: IfNotPresent
    volumeMounts: [{name: files, mountPath: /files}]
    command: [sleep, "100000"]
  - name: echo
    image: yanbin/python-web:latest
    imagePullPolicy: IfNotPresent
    readinessProbe: {tcpSocket: {port: 7000}, periodSeconds: 1}
    command:
    - python3
    - -c
    - |
      import socketserver
      class Echo(socketserver.BaseRequestHandler):
          def handle(self):
              while data := self.request.recv(65536):
                  self.request.sendall(data)
      class Server(socketserver.ThreadingTCPServer):
          request_queue_size = 64
      Server(("0.0.0.0", 7000), Echo).serve_forever()
"#;

const SHELL: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: NAME}
spec:
  restartPolicy: Never
  terminationGracePeriodSeconds: 1
  containers:
  - {name: main, image: "yanbin/python-web:latest", imagePullPolicy: IfNotPresent, command: [/bin/sh], stdin: true, tty: true}
"#;

const CAT: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: NAME}
spec:
  restartPolicy: Never
  terminationGracePeriodSeconds: 1
  containers:
  - {name: main, image: "yanbin/python-web:latest", imagePullPolicy: IfNotPresent, command: [cat], stdin: true, stdinOnce: true}
"#;

/// Says what is written to /words/now.
const TALKER: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: NAME}
spec:
  restartPolicy: Never
  terminationGracePeriodSeconds: 1
  volumes: [{name: words, emptyDir: {}}]
  containers:
  - name: main
    image: yanbin/python-web:latest
    imagePullPolicy: IfNotPresent
    volumeMounts: [{name: words, mountPath: /words}]
    command:
    - sh
    - -c
    - |
      mkfifo /words/now
      exec 3<>/words/now
      echo ready
      while read word <&3; do
        case $word in
          end) break;;
          flood) seq 1 400000; break;;
          *) echo $word;;
        esac
      done
      echo the end
"#;

const REBORN: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: NAME}
spec:
  terminationGracePeriodSeconds: 1
  volumes: [{name: memory, emptyDir: {}}]
  containers:
  - name: main
    image: yanbin/python-web:latest
    imagePullPolicy: IfNotPresent
    volumeMounts: [{name: memory, mountPath: /memory}]
    command: [sh, -c, "if [ -e /memory/life ]; then echo second life; exec sleep 100000; fi; touch /memory/life; echo first life; exit 1"]
  - name: side
    image: yanbin/python-web:latest
    imagePullPolicy: IfNotPresent
    command: [sh, -c, "echo a; echo b; echo c; exec sleep 100000"]
"#;
