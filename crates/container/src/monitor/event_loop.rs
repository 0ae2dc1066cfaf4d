//! The monitor's loop: one thread, one `poll`, everything that can wake it in [`Source`].

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::Path;

use jiff::Timestamp;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::Pid;

use super::clients::{Client, Received, Role, receive};
use super::container::{Attachment, Container};
use super::job::{self, Job, JobKind, Outcome, Streams, fork_work, read_outcome};
use super::log::Stream;
use super::protocol::{Reply, Request};
use super::reap::{self, Ended};
use crate::cgroup::Hierarchy;
use crate::config::SandboxConfig;
use crate::layout::SandboxDir;
use crate::records::{self, ContainerRecord, StartedRecord};
use crate::runtime::ExecConfig;

/// All that can wake the loop.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Source {
    Listener,
    Signals,
    Client(u64),
    Job(u64),
    Output(String, Stream),
    Input(String),
    AttachedInput(String, usize),
}

struct Monitor {
    dir: SandboxDir,
    hierarchy: Option<Hierarchy>,
    listener: UnixListener,
    signals: SignalFd,
    containers: BTreeMap<String, Container>,
    clients: BTreeMap<u64, Client>,
    jobs: BTreeMap<u64, Job>,
    /// Ends of processes whose job has not told us their pid yet.
    unclaimed: HashMap<i32, Ended>,
    next: u64,
    /// The client that asked for the end.
    closing: Option<u64>,
}

pub fn run(dir: SandboxDir, _config: &SandboxConfig, listener: UnixListener) -> io::Result<()> {
    let mask = SigSet::from(Signal::SIGCHLD);
    mask.thread_block()?;
    let signals = SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
    listener.set_nonblocking(true)?;
    let mut monitor = Monitor {
        dir,
        hierarchy: Hierarchy::detect().ok(),
        listener,
        signals,
        containers: BTreeMap::new(),
        clients: BTreeMap::new(),
        jobs: BTreeMap::new(),
        unclaimed: HashMap::new(),
        next: 0,
        closing: None,
    };
    while !monitor.finished() {
        for source in monitor.wait()? {
            monitor.handle(source);
        }
    }
    Ok(())
}

impl Monitor {
    fn finished(&self) -> bool {
        let Some(client) = self.closing else {
            return false;
        };
        let idle = self.jobs.is_empty()
            && self.containers.values().all(|container| container.ended || container.pid.is_none());
        if idle {
            self.reply(client, &Reply::Done, None);
        }
        idle
    }

    fn wait(&self) -> io::Result<Vec<Source>> {
        let watched = self.watched();
        let mut fds: Vec<PollFd> = watched.iter().map(|(fd, flags, _)| PollFd::new(*fd, *flags)).collect();
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) => {}
            Err(nix::errno::Errno::EINTR) => return Ok(Vec::new()),
            Err(error) => return Err(error.into()),
        }
        let woken = fds.iter().zip(&watched).filter(|(fd, _)| fd.any().unwrap_or(true));
        Ok(woken.map(|(_, (_, _, source))| source.clone()).collect())
    }

    fn watched(&self) -> Vec<(BorrowedFd<'_>, PollFlags, Source)> {
        let read = PollFlags::POLLIN;
        let mut list =
            vec![(self.listener.as_fd(), read, Source::Listener), (self.signals.as_fd(), read, Source::Signals)];
        list.extend(self.clients.iter().map(|(key, client)| (client.fd(), read, Source::Client(*key))));
        list.extend(self.jobs.iter().map(|(key, job)| (job.pipe.as_fd(), read, Source::Job(*key))));
        for (id, container) in &self.containers {
            watch_container(&mut list, id, container);
        }
        list
    }

    fn handle(&mut self, source: Source) {
        match source {
            Source::Listener => self.accept(),
            Source::Signals => self.reap(),
            Source::Client(key) => self.read_client(key),
            Source::Job(key) => self.finish_job(key, None),
            Source::Output(id, stream) => {
                if let Some(container) = self.containers.get_mut(&id)
                    && !container.pump_output(stream)
                {
                    container.close_output(stream);
                }
            }
            Source::Input(id) => self.containers.get_mut(&id).into_iter().for_each(Container::give_input),
            Source::AttachedInput(id, index) => {
                self.containers.get_mut(&id).into_iter().for_each(|container| container.take_input(index));
            }
        }
    }

    fn accept(&mut self) {
        if let Ok((stream, _)) = self.listener.accept()
            && let Ok(client) = Client::new(stream)
        {
            self.next += 1;
            self.clients.insert(self.next, client);
        }
    }

    fn read_client(&mut self, key: u64) {
        let Some(client) = self.clients.get_mut(&key) else {
            return;
        };
        match client.receive() {
            Received::Nothing => {}
            Received::Closed => self.drop_client(key),
            Received::Request(request, descriptors) => self.serve(key, request, descriptors),
        }
    }

    fn drop_client(&mut self, key: u64) {
        let Some(client) = self.clients.remove(&key) else {
            return;
        };
        match client.role {
            Role::Exec { pid, kill_on_drop: true } => send_signal(pid, libc::SIGKILL),
            Role::Attached { id } => {
                if let Some(container) = self.containers.get_mut(&id) {
                    container.attachments.retain(|attachment| attachment.client != key);
                }
            }
            _ => {}
        }
    }

    fn reply(&self, key: u64, reply: &Reply, descriptor: Option<BorrowedFd<'_>>) {
        if let Some(client) = self.clients.get(&key) {
            // A lost client shows at its next read.
            let _ = client.reply(reply, descriptor);
        }
    }

    fn answer(&self, key: u64, result: Result<(), String>) {
        let reply = match result {
            Ok(()) => Reply::Done,
            Err(message) => Reply::Refused { message },
        };
        self.reply(key, &reply, None);
    }

    fn serve(&mut self, key: u64, request: Request, descriptors: Vec<OwnedFd>) {
        let result = match request {
            Request::Create { id } => self.create(key, &id),
            Request::Start { id } => self.start(key, &id),
            Request::Exec { id, exec } => self.exec(key, &id, exec, descriptors),
            Request::Attach { id, exec } => self.attach(key, &id, &exec, descriptors),
            Request::Kill { id, signal } => return self.answer(key, self.kill(&id, signal)),
            Request::Resize { id, size } => {
                let container = self.containers.get(&id).ok_or_else(|| not_running(&id));
                return self.answer(key, container.and_then(|c| c.resize(size).map_err(|error| error.to_string())));
            }
            Request::Forget { id } => {
                let forgotten = self.forget(&id);
                return self.answer(key, forgotten);
            }
            Request::Subscribe => {
                self.set_role(key, Role::Subscriber);
                return self.answer(key, Ok(()));
            }
            Request::Shutdown => return self.shut_down(key),
        };
        if let Err(message) = result {
            self.answer(key, Err(message));
        }
    }

    fn set_role(&mut self, key: u64, role: Role) {
        if let Some(client) = self.clients.get_mut(&key) {
            client.role = role;
        }
    }

    fn create(&mut self, key: u64, id: &str) -> Result<(), String> {
        if self.closing.is_some() {
            return Err("the sandbox is being removed".to_owned());
        }
        let dir = self.dir.container(id);
        let record: ContainerRecord =
            records::read(&dir.record()).map_err(text)?.ok_or_else(|| format!("no record of container {id:?}"))?;
        let mut container = Container::new(&record.config).map_err(|error| format!("open the log: {error}"))?;
        let streams = make_streams(&mut container, &record.config).map_err(text)?;
        let console = self.console(&dir.console("console.sock"), record.config.tty)?;
        let path = console.is_some().then(|| dir.console("console.sock"));
        let score = record.config.oom_score_adj;
        let work = || job::create(&dir, id, score, streams, path.as_deref());
        self.begin(key, JobKind::Create, id, console, work)?;
        self.containers.insert(id.to_owned(), container);
        Ok(())
    }

    /// The socket where libcontainer leaves the terminal. Bound by a relative path, as the full one may be too long.
    fn console(&self, path: &Path, tty: bool) -> Result<Option<UnixListener>, String> {
        if !tty {
            return Ok(None);
        }
        let _ = std::fs::remove_file(path);
        let relative = path.strip_prefix(self.dir.path()).unwrap_or(path);
        UnixListener::bind(relative).map(Some).map_err(|error| format!("make the console socket: {error}"))
    }

    fn begin(
        &mut self,
        client: u64,
        kind: JobKind,
        id: &str,
        console: Option<UnixListener>,
        work: impl FnOnce() -> Outcome,
    ) -> Result<(), String> {
        let (pid, pipe) = fork_work(work).map_err(|error| format!("fork: {error}"))?;
        self.next += 1;
        self.jobs.insert(self.next, Job { pid, pipe, kind, client, container: id.to_owned(), console });
        Ok(())
    }

    fn start(&mut self, key: u64, id: &str) -> Result<(), String> {
        let dir = self.dir.container(id);
        let container = self.containers.get_mut(id).ok_or_else(|| not_running(id))?;
        let pid = container.pid.filter(|_| !container.ended).ok_or_else(|| not_running(id))?;
        let started_at = Timestamp::now();
        container.started_at = Some(started_at);
        records::write_durably(&dir.started(), &StartedRecord { pid, started_at }).map_err(text)?;
        self.begin(key, JobKind::Start, id, None, || job::start(&dir, id))
    }

    fn exec(&mut self, key: u64, id: &str, exec: ExecConfig, descriptors: Vec<OwnedFd>) -> Result<(), String> {
        let running =
            self.containers.get(id).is_some_and(|container| container.started_at.is_some() && !container.ended);
        if !running {
            return Err(not_running(id));
        }
        let dir = self.dir.container(id);
        let path = dir.console(&format!("exec-{key}.sock"));
        let console = self.console(&path, exec.tty)?;
        let path = console.is_some().then_some(path);
        let streams = exec_streams(&exec, descriptors).map_err(text)?;
        let kind = JobKind::Exec { kill_on_drop: exec.kill_on_drop };
        self.begin(key, kind, id, console, || job::exec(&dir, id, &exec, streams, path.as_deref()))
    }

    fn attach(&mut self, key: u64, id: &str, exec: &ExecConfig, descriptors: Vec<OwnedFd>) -> Result<(), String> {
        let container =
            self.containers.get_mut(id).filter(|container| !container.ended).ok_or_else(|| not_running(id))?;
        let mut given = descriptors.into_iter();
        let stdin = exec.stdin.then(|| given.next()).flatten();
        let stdout = exec.stdout.then(|| given.next()).flatten();
        let stderr = exec.stderr.then(|| given.next()).flatten();
        for fd in [&stdin, &stdout, &stderr].into_iter().flatten() {
            rustix::io::ioctl_fionbio(fd, true).map_err(|error| error.to_string())?;
        }
        container.attachments.push(Attachment { client: key, stdin, stdout, stderr });
        let pid = container.pid.unwrap_or_default();
        self.set_role(key, Role::Attached { id: id.to_owned() });
        self.reply(key, &Reply::Began { pid }, None);
        Ok(())
    }

    fn kill(&self, id: &str, signal: i32) -> Result<(), String> {
        let container = self.containers.get(id).ok_or_else(|| not_running(id))?;
        if let Some(pid) = container.pid.filter(|_| !container.ended) {
            // Before its start it is our own code that waits, and as process 1 that hears nothing else.
            send_signal(pid, if container.started_at.is_some() { signal } else { libc::SIGKILL });
        }
        Ok(())
    }

    /// One that was made but never started ends with this: nothing of it has run yet.
    fn forget(&mut self, id: &str) -> Result<(), String> {
        let Some(container) = self.containers.get(id) else { return Ok(()) };
        if let Some(pid) = container.pid.filter(|_| !container.ended) {
            if container.started_at.is_some() {
                return Err(format!("container {id:?} is running"));
            }
            send_signal(pid, libc::SIGKILL);
        }
        self.containers.remove(id);
        Ok(())
    }

    fn shut_down(&mut self, key: u64) {
        self.closing = Some(key);
        for container in self.containers.values().filter(|container| !container.ended) {
            container.pid.into_iter().for_each(|pid| send_signal(pid, libc::SIGKILL));
        }
    }

    fn finish_job(&mut self, key: u64, crash: Option<Ended>) {
        let Some(mut job) = self.jobs.remove(&key) else {
            return;
        };
        let outcome = match crash {
            None => read_outcome(&mut job.pipe),
            Some(ended) => Err(format!("the runtime process ended with code {}", ended.code)),
        };
        let outcome = outcome.and_then(|pid| Ok((pid, take_terminal(job.console.take())?)));
        match (job.kind, outcome) {
            (JobKind::Create, Ok((pid, terminal))) => self.created(&job, pid, terminal),
            (JobKind::Create, Err(message)) => {
                self.containers.remove(&job.container);
                self.answer(job.client, Err(message));
            }
            (JobKind::Start, Ok(_)) => self.answer(job.client, Ok(())),
            (JobKind::Start, Err(message)) => self.start_failed(&job, message),
            (JobKind::Exec { kill_on_drop }, Ok((pid, terminal))) => self.exec_began(&job, pid, kill_on_drop, terminal),
            (JobKind::Exec { .. }, Err(message)) => self.answer(job.client, Err(message)),
        }
        if self.jobs.is_empty() {
            self.unclaimed.clear();
        }
    }

    fn created(&mut self, job: &Job, pid: i32, terminal: Option<OwnedFd>) {
        let container = self.containers.get_mut(&job.container);
        if container.is_none() || self.closing.is_some() {
            // Its end was asked for while it was being made.
            send_signal(pid, libc::SIGKILL);
        }
        if let Some(container) = container {
            container.pid = Some(pid);
            container.terminal = terminal.filter(|fd| rustix::io::ioctl_fionbio(fd, true).is_ok());
        }
        self.answer(job.client, Ok(()));
        if let Some(ended) = self.unclaimed.remove(&pid) {
            self.container_ended(&job.container, ended);
        }
    }

    fn start_failed(&mut self, job: &Job, message: String) {
        let _ = std::fs::remove_file(self.dir.container(&job.container).started());
        if let Some(container) = self.containers.get_mut(&job.container) {
            container.started_at = None;
            container.pid.into_iter().for_each(|pid| send_signal(pid, libc::SIGKILL));
        }
        self.answer(job.client, Err(message));
    }

    fn exec_began(&mut self, job: &Job, pid: i32, kill_on_drop: bool, terminal: Option<OwnedFd>) {
        self.set_role(job.client, Role::Exec { pid, kill_on_drop });
        self.reply(job.client, &Reply::Began { pid }, terminal.as_ref().map(AsFd::as_fd));
        if let Some(ended) = self.unclaimed.remove(&pid) {
            self.process_ended(ended);
        } else if kill_on_drop && !self.clients.contains_key(&job.client) {
            send_signal(pid, libc::SIGKILL);
        }
    }

    fn reap(&mut self) {
        while let Ok(Some(_)) = self.signals.read_signal() {}
        for ended in reap::collect() {
            self.process_ended(ended);
        }
    }

    fn process_ended(&mut self, ended: Ended) {
        let container =
            self.containers.iter().find(|(_, container)| container.pid == Some(ended.pid) && !container.ended);
        if let Some(id) = container.map(|(id, _)| id.clone()) {
            return self.container_ended(&id, ended);
        }
        let exec =
            self.clients.iter().find(|(_, client)| matches!(client.role, Role::Exec { pid, .. } if pid == ended.pid));
        if let Some(key) = exec.map(|(key, _)| *key) {
            self.set_role(key, Role::Waiting);
            return self.reply(key, &Reply::Finished { code: ended.code }, None);
        }
        let job = self.jobs.iter().find(|(_, job)| job.pid == ended.pid).map(|(key, _)| *key);
        match job {
            // It ended without an answer: the pipe may be held open by what it started.
            Some(key) if ended.code != 0 => self.finish_job(key, Some(ended)),
            Some(_) => {}
            None if self.jobs.is_empty() => {}
            None => drop(self.unclaimed.insert(ended.pid, ended)),
        }
    }

    fn container_ended(&mut self, id: &str, ended: Ended) {
        let Some(container) = self.containers.get_mut(id) else {
            return;
        };
        container.ended = true;
        container.drain();
        let exit = reap::exit_of(container, ended, self.hierarchy.as_ref());
        if let Err(error) = records::write_durably(&self.dir.container(id).exit(), &exit) {
            eprintln!("journal the end of {id}: {error}");
        }
        let attached: Vec<u64> = container.attachments.drain(..).map(|attachment| attachment.client).collect();
        for key in attached {
            self.reply(key, &Reply::Finished { code: ended.code }, None);
        }
        let event = Reply::Ended { id: id.to_owned(), code: ended.code };
        for client in self.clients.values().filter(|client| client.role == Role::Subscriber) {
            let _ = client.reply(&event, None);
        }
    }
}

fn watch_container<'a>(list: &mut Vec<(BorrowedFd<'a>, PollFlags, Source)>, id: &str, container: &'a Container) {
    let outputs = [
        (container.stdout.as_ref().or(container.terminal.as_ref()), Stream::Stdout),
        (container.stderr.as_ref(), Stream::Stderr),
    ];
    for (fd, stream) in outputs {
        list.extend(fd.map(|fd| (fd.as_fd(), PollFlags::POLLIN, Source::Output(id.to_owned(), stream))));
    }
    if container.has_input() {
        let end = container.input_end().map(AsFd::as_fd);
        list.extend(end.map(|fd| (fd, PollFlags::POLLOUT, Source::Input(id.to_owned()))));
    }
    if container.wants_input() {
        for (index, attachment) in container.attachments.iter().enumerate() {
            let source = Source::AttachedInput(id.to_owned(), index);
            list.extend(attachment.stdin.as_ref().map(|fd| (fd.as_fd(), PollFlags::POLLIN, source)));
        }
    }
}

/// Pipes for a container's streams; with a terminal there are none.
fn make_streams(container: &mut Container, config: &crate::config::ContainerConfig) -> io::Result<Streams> {
    if config.tty {
        return Ok(Streams::default());
    }
    let stdin = if config.stdin {
        let (read, write) = pipe()?;
        rustix::io::ioctl_fionbio(&write, true)?;
        container.set_stdin(write);
        read
    } else {
        null()?
    };
    let (stdout_read, stdout) = pipe()?;
    let (stderr_read, stderr) = pipe()?;
    for end in [&stdout_read, &stderr_read] {
        rustix::io::ioctl_fionbio(end, true)?;
    }
    container.stdout = Some(stdout_read);
    container.stderr = Some(stderr_read);
    Ok(Streams { stdin: Some(stdin), stdout: Some(stdout), stderr: Some(stderr) })
}

/// The descriptors that the agent sent, and the null device for those it did not.
fn exec_streams(exec: &ExecConfig, descriptors: Vec<OwnedFd>) -> io::Result<Streams> {
    if exec.tty {
        return Ok(Streams::default());
    }
    let mut given = descriptors.into_iter();
    let mut next = |wanted: bool| match wanted.then(|| given.next()).flatten() {
        Some(fd) => Ok(fd),
        None => null(),
    };
    Ok(Streams { stdin: Some(next(exec.stdin)?), stdout: Some(next(exec.stdout)?), stderr: Some(next(exec.stderr)?) })
}

fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?)
}

fn null() -> io::Result<OwnedFd> {
    Ok(std::fs::OpenOptions::new().read(true).write(true).open("/dev/null")?.into())
}

/// libcontainer has sent it before it answered, so this does not wait.
fn take_terminal(console: Option<UnixListener>) -> Result<Option<OwnedFd>, String> {
    let Some(console) = console else {
        return Ok(None);
    };
    let (stream, address) = console.accept().map_err(|error| format!("take the terminal: {error}"))?;
    let _ = (address, console.local_addr().ok().and_then(|a| a.as_pathname().map(std::fs::remove_file)));
    let mut descriptors = Vec::new();
    receive(stream.as_fd(), &mut [0; 256], &mut descriptors).map_err(|error| format!("take the terminal: {error}"))?;
    let terminal = descriptors.pop().ok_or("no terminal came")?;
    Ok(Some(terminal))
}

fn send_signal(pid: i32, signal: i32) {
    let _ = Signal::try_from(signal).map(|signal| kill(Pid::from_raw(pid), signal));
}

fn not_running(id: &str) -> String {
    format!("container {id:?} is not running")
}

fn text(error: io::Error) -> String {
    error.to_string()
}
