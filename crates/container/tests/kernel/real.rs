//! What only real containers show.

use std::fs;

use container::{ContainerRuntime, ExitReason, LinuxRuntime, Resources, SandboxConfig, TerminalSize};
use rt::TaskSet;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::suite::Test;
use crate::world::{World, block_on, can_run_containers, exec, finish};

macro_rules! real {
    ($($name:ident),* $(,)?) => {
        pub fn tests() -> Vec<Test> {
            vec![$((concat!("real::", stringify!($name)).into(), Box::new(|| if can_run_containers() {
                block_on(async {
                    let world = World::real(stringify!($name)).await;
                    world.runtime.create_sandbox(&world.sandbox()).await.expect("a sandbox");
                    $name(world).await;
                });
            }) as _)),*]
        }
    };
}

real! {
    output_becomes_a_log_in_the_cri_form,
    the_exit_code_is_journaled,
    a_missing_program_is_said_by_name,
    the_pod_has_its_own_hostname_and_loopback,
    seccomp_holds_in_the_container_and_in_an_exec,
    capabilities_are_the_default_ones_also_in_an_exec,
    a_terminal_echoes_and_is_resized,
    an_exec_reads_its_input,
    an_attached_client_sees_the_output,
    too_much_memory_is_an_oom_kill,
    a_new_agent_takes_over_what_runs,
    containers_whose_monitor_died_end_with_a_reason,
    containers_of_a_shared_process_namespace_see_each_other,
    a_removed_sandbox_leaves_no_cgroup_and_no_mount,
    a_probe_that_is_dropped_is_killed,
    the_monitor_is_small_and_a_start_is_quick,
}

async fn output_becomes_a_log_in_the_cri_form(world: World) {
    let config = world.container("log", &["sh", "-c", "echo one; echo two >&2; printf three"]);
    let text = world.output_of(&config).await;
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["stderr F two", "stdout F one", "stdout P three"]);
    world.done().await;
}

async fn the_exit_code_is_journaled(world: World) {
    let config = world.container("three", &["sh", "-c", "exit 3"]);
    world.run(&config).await;
    let exit = world.exit_of(&config.id).await;
    assert_eq!((exit.code, exit.reason), (3, ExitReason::Error));
    assert!(exit.started_at.expect("it started") <= exit.finished_at);
    world.done().await;
}

async fn a_missing_program_is_said_by_name(world: World) {
    let config = world.container("missing", &["nonsense"]);
    let error = world.runtime.create_container(&config).await.expect_err("no such program");
    let text = error.full_text();
    assert!(text.contains("exec: \"nonsense\": executable file not found in $PATH"), "{text}");
    world.done().await;
}

async fn the_pod_has_its_own_hostname_and_loopback(world: World) {
    let config = world.container("names", &["sh", "-c", "hostname; cat /sys/class/net/lo/flags; ls /sys/class/net"]);
    let text = world.output_of(&config).await;
    assert_eq!(text, "stdout F a-pod\nstdout F 0x9\nstdout F lo\n");
    world.done().await;
}

async fn seccomp_holds_in_the_container_and_in_an_exec(world: World) {
    let config = world.container("confined", &["sh", "-c", "grep Seccomp: /proc/self/status; sleep 1000"]);
    world.run(&config).await;
    let session = world.runtime.exec(&world.uid, &config.id, &exec(&["grep", "Seccomp:", "/proc/self/status"])).await;
    assert_eq!(finish(session.expect("exec")).await, ("Seccomp:\t2\n".into(), 0));
    let session = world.runtime.exec(&world.uid, &config.id, &exec(&["unshare", "-m", "true"])).await.expect("exec");
    let (text, code) = finish(session).await;
    assert!(code != 0 && text.contains("Operation not permitted"), "{code} {text}");
    assert_eq!(crate::world::log_text(&config.log.path), "stdout F Seccomp:\t2\n");
    world.done().await;
}

async fn capabilities_are_the_default_ones_also_in_an_exec(world: World) {
    let show = ["grep", "-E", "Cap(Bnd|Eff|Prm)", "/proc/self/status"];
    let config = world.container("caps", &["sleep", "1000"]);
    world.run(&config).await;
    let session = world.runtime.exec(&world.uid, &config.id, &exec(&show)).await.expect("exec");
    let mask = "00000000a80425fb";
    let expected = format!("CapPrm:\t{mask}\nCapEff:\t{mask}\nCapBnd:\t{mask}\n");
    assert_eq!(finish(session).await, (expected, 0));
    world.done().await;
}

async fn a_terminal_echoes_and_is_resized(world: World) {
    let config = world.container("shell", &["sleep", "1000"]);
    world.run(&config).await;
    let mut exec = exec(&["sh", "-c", "read go; stty size; exit 7"]);
    (exec.tty, exec.stdin) = (true, true);
    let mut session = world.runtime.exec(&world.uid, &config.id, &exec).await.expect("exec");
    session.resize.send(TerminalSize { width: 100, height: 40 }).await.expect("resize");
    let mut stdin = session.stdin.take().expect("input");
    // The size is applied by a task of its own; the echo of this first line comes after it was sent.
    tokio::task::yield_now().await;
    stdin.write_all(b"go\n").await.expect("write");
    let mut text = String::new();
    session.stdout.take().expect("output").read_to_string(&mut text).await.expect("read");
    assert!(text.starts_with("go\r\n"), "{text:?}");
    assert!(text.contains("40 100"), "{text:?}");
    assert_eq!(session.exit.await.expect("a code"), 7);
    world.done().await;
}

async fn an_exec_reads_its_input(world: World) {
    let config = world.container("main", &["sleep", "1000"]);
    world.run(&config).await;
    let mut exec = exec(&["cat"]);
    exec.stdin = true;
    let mut session = world.runtime.exec(&world.uid, &config.id, &exec).await.expect("exec");
    let mut stdin = session.stdin.take().expect("input");
    stdin.write_all(b"through").await.expect("write");
    drop(stdin);
    assert_eq!(finish(session).await, ("through".into(), 0));
    world.done().await;
}

async fn an_attached_client_sees_the_output(world: World) {
    let mut config = world.container("talks", &["sh", "-c", "read line; echo got $line"]);
    config.stdin = true;
    world.run(&config).await;
    let mut exec = exec(&[]);
    exec.stdin = true;
    let mut session = world.runtime.attach(&world.uid, &config.id, &exec).await.expect("attach");
    session.stdin.as_mut().expect("input").write_all(b"it\n").await.expect("write");
    assert_eq!(finish(session).await, ("got it\n".into(), 0));
    world.done().await;
}

async fn too_much_memory_is_an_oom_kill(world: World) {
    let mut config = world.container("eats", &["sh", "-c", "exec head -c 200m /dev/zero | tail | tr a b"]);
    config.args = ["sh", "-c", "x=$(yes | head -c 60000000); echo $x | head -c 1"].map(str::to_owned).to_vec();
    config.resources = Resources { memory_limit: Some(8 << 20), ..Default::default() };
    world.run(&config).await;
    let exit = world.exit_of(&config.id).await;
    assert_eq!((exit.code, exit.reason), (137, ExitReason::OomKilled));
    world.done().await;
}

async fn a_new_agent_takes_over_what_runs(world: World) {
    let config = world.container("lives", &["sh", "-c", "read line; exit 5"]);
    let mut config = config;
    config.stdin = true;
    world.run(&config).await;
    world.tasks.shutdown().await;
    let tasks = TaskSet::new();
    let next = LinuxRuntime::new(world.directory.path().join("run"), tasks.clone()).await.expect("a second agent");
    let mut events = next.subscribe();
    assert!(world.state_of(&config.id).await.is_running());
    let mut exec = exec(&[]);
    exec.stdin = true;
    let mut session = next.attach(&world.uid, &config.id, &exec).await.expect("attach");
    session.stdin.as_mut().expect("input").write_all(b"\n").await.expect("write");
    let code = loop {
        if let Some(code) = events.recv().await.expect("an event").exit_code {
            break code;
        }
    };
    assert_eq!(code, 5);
    tasks.shutdown().await;
    world.done().await;
}

async fn containers_whose_monitor_died_end_with_a_reason(world: World) {
    let config = world.container("orphan", &["sleep", "1000"]);
    world.run(&config).await;
    let container::ContainerState::Running { pid, .. } = world.state_of(&config.id).await else {
        panic!("not running")
    };
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("the container's process");
    let parent: i32 = stat.split(' ').nth(3).expect("a parent").parse().expect("a pid");
    let parent = rustix::process::Pid::from_raw(parent).expect("a parent");
    rustix::process::kill_process(parent, rustix::process::Signal::KILL).expect("kill the monitor");
    let exit = world.exit_of(&config.id).await;
    assert_eq!((exit.code, exit.reason), (137, ExitReason::Unknown));
    world.done().await;
}

async fn containers_of_a_shared_process_namespace_see_each_other(world: World) {
    let shared = World::real("shared").await;
    let sandbox = SandboxConfig { share_process_namespace: true, ..shared.sandbox() };
    shared.runtime.create_sandbox(&sandbox).await.expect("a sandbox");
    let first = shared.container("first", &["sleep", "1234"]);
    shared.run(&first).await;
    let second = shared.container("second", &["sh", "-c", "cat /proc/[0-9]*/cmdline | tr '\\0' ' '"]);
    let text = shared.output_of(&second).await;
    assert!(text.contains("sleep 1234"), "{text}");
    shared.done().await;
    world.done().await;
}

async fn a_removed_sandbox_leaves_no_cgroup_and_no_mount(world: World) {
    let config = world.container("main", &["sleep", "1000"]);
    world.run(&config).await;
    world.runtime.remove_sandbox(&world.uid).await.expect("remove");
    let mounts = fs::read_to_string("/proc/self/mountinfo").expect("mounts");
    let mine = world.directory.path().join("run");
    assert!(!mounts.contains(mine.to_str().expect("text")), "{mounts}");
    let controllers = fs::read_dir("/sys/fs/cgroup").expect("cgroups");
    for controller in controllers.flatten() {
        assert!(!controller.path().join(world.cgroup().trim_start_matches('/')).exists());
    }
    world.done().await;
}

async fn a_probe_that_is_dropped_is_killed(world: World) {
    let config = world.container("main", &["sleep", "1000"]);
    world.run(&config).await;
    let mut probe = exec(&["sh", "-c", "echo on; exec sleep 777"]);
    probe.kill_on_drop = true;
    let mut session = world.runtime.exec(&world.uid, &config.id, &probe).await.expect("exec");
    let mut stdout = session.stdout.take().expect("output");
    let mut line = [0; 3];
    stdout.read_exact(&mut line).await.expect("it runs");
    drop(session);
    // The pipe ends when the process is gone.
    assert_eq!(stdout.read(&mut line).await.expect("the end"), 0);
    world.done().await;
}

async fn the_monitor_is_small_and_a_start_is_quick(world: World) {
    let config = world.container("timed", &["sleep", "1000"]);
    let begin = std::time::Instant::now();
    world.run(&config).await;
    println!("  create and start: {:?}", begin.elapsed());
    let container::ContainerState::Running { pid, .. } = world.state_of(&config.id).await else {
        panic!("not running")
    };
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("the container's process");
    let parent = stat.split(' ').nth(3).expect("a parent").to_owned();
    let status = fs::read_to_string(format!("/proc/{parent}/status")).expect("the monitor");
    for line in status.lines().filter(|line| line.starts_with("Name") || line.contains("Rss")) {
        println!("  monitor {line}");
    }
    let begin = std::time::Instant::now();
    let session = world.runtime.exec(&world.uid, &config.id, &exec(&["true"])).await.expect("exec");
    finish(session).await;
    println!("  exec: {:?}", begin.elapsed());
    world.done().await;
}
