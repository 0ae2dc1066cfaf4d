//! Exec and attach: descriptors made here, handed to the monitor, and followed to the exit code.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use rt::TaskSet;
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::unix::pipe;
use tokio::sync::{mpsc, oneshot};

use super::connection::Connection;
use crate::layout::SandboxDir;
use crate::monitor::protocol::{Reply, Request};
use crate::runtime::{ExecConfig, Reader, RuntimeError, Session, TerminalSize, Writer};

/// Sizes in flight; a terminal is resized by hand, so few are enough.
const RESIZES_MAX: usize = 4;
/// What a slow attached client may lag behind before it loses the stream.
const ATTACH_BUFFER: usize = 1 << 20;

/// Our ends and the monitor's ends of the pipes.
#[derive(Default)]
struct Pipes {
    stdin: Option<Writer>,
    stdout: Option<Reader>,
    stderr: Option<Reader>,
    theirs: Vec<OwnedFd>,
}

fn pipes(exec: &ExecConfig, buffer: Option<usize>) -> io::Result<Pipes> {
    let mut pipes = Pipes::default();
    if exec.stdin {
        let (read, write) = pipe_pair()?;
        pipes.theirs.push(read);
        pipes.stdin = Some(Box::pin(pipe::Sender::from_owned_fd(write)?));
    }
    for (wanted, slot) in [(exec.stdout, &mut pipes.stdout), (exec.stderr, &mut pipes.stderr)] {
        if wanted {
            let (read, write) = pipe_pair()?;
            if let Some(size) = buffer {
                let _ = rustix::pipe::fcntl_setpipe_size(&write, size);
            }
            pipes.theirs.push(write);
            *slot = Some(Box::pin(pipe::Receiver::from_owned_fd(read)?));
        }
    }
    Ok(pipes)
}

fn pipe_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?)
}

pub async fn exec(
    dir: &SandboxDir,
    uid: &str,
    id: &str,
    exec: &ExecConfig,
    tasks: &TaskSet,
) -> Result<Session, RuntimeError> {
    let wanted = if exec.tty { ExecConfig::default() } else { exec.clone() };
    let pipes = pipes(&wanted, None).map_err(RuntimeError::io("make pipes for", id))?;
    let request = Request::Exec { id: id.to_owned(), exec: exec.clone() };
    let (connection, terminal) = begin(dir, uid, &request, &pipes.theirs).await?;
    match terminal {
        Some(terminal) => {
            terminal_session(connection, terminal, exec, tasks).map_err(RuntimeError::io("open the terminal of", id))
        }
        None => Ok(pipe_session(connection, pipes, tasks, None)),
    }
}

pub async fn attach(
    dir: &SandboxDir,
    uid: &str,
    id: &str,
    exec: &ExecConfig,
    tasks: &TaskSet,
) -> Result<Session, RuntimeError> {
    let pipes = pipes(exec, Some(ATTACH_BUFFER)).map_err(RuntimeError::io("make pipes for", id))?;
    let request = Request::Attach { id: id.to_owned(), exec: exec.clone() };
    let (connection, _) = begin(dir, uid, &request, &pipes.theirs).await?;
    Ok(pipe_session(connection, pipes, tasks, Some((dir.clone(), id.to_owned()))))
}

async fn begin(
    dir: &SandboxDir,
    uid: &str,
    request: &Request,
    theirs: &[OwnedFd],
) -> Result<(Connection, Option<OwnedFd>), RuntimeError> {
    let mut connection = Connection::open(dir, uid).await?;
    let descriptors: Vec<BorrowedFd> = theirs.iter().map(AsFd::as_fd).collect();
    connection.send(request, &descriptors).await?;
    match connection.next().await? {
        (Reply::Began { .. }, terminal) => Ok((connection, terminal)),
        (Reply::Refused { message }, _) => Err(RuntimeError::Refused { message }),
        (other, _) => Err(RuntimeError::Refused { message: format!("an answer out of order: {other:?}") }),
    }
}

fn pipe_session(
    connection: Connection,
    pipes: Pipes,
    tasks: &TaskSet,
    attached: Option<(SandboxDir, String)>,
) -> Session {
    let Pipes { stdin, stdout, stderr, theirs } = pipes;
    drop(theirs);
    let (resize, mut sizes) = mpsc::channel::<TerminalSize>(RESIZES_MAX);
    let exit = follow(connection, tasks, async move {
        while let Some(size) = sizes.recv().await {
            if let Some((dir, id)) = &attached
                && let Ok(mut connection) = Connection::open(dir, "").await
            {
                let _ = connection.ask(&Request::Resize { id: id.clone(), size }).await;
            }
        }
    });
    Session { stdin, stdout, stderr, resize, exit }
}

fn terminal_session(
    connection: Connection,
    terminal: OwnedFd,
    exec: &ExecConfig,
    tasks: &TaskSet,
) -> io::Result<Session> {
    let copy = terminal.try_clone()?;
    let sizes_fd = terminal.try_clone()?;
    let reader: Reader = Box::pin(Terminal::new(terminal)?);
    let writer: Option<Writer> = if exec.stdin { Some(Box::pin(Terminal::new(copy)?)) } else { None };
    let (resize, mut sizes) = mpsc::channel::<TerminalSize>(RESIZES_MAX);
    let exit = follow(connection, tasks, async move {
        while let Some(size) = sizes.recv().await {
            let winsize =
                rustix::termios::Winsize { ws_row: size.height, ws_col: size.width, ws_xpixel: 0, ws_ypixel: 0 };
            let _ = rustix::termios::tcsetwinsize(&sizes_fd, winsize);
        }
    });
    Ok(Session { stdin: writer, stdout: Some(reader), stderr: None, resize, exit })
}

/// Waits for the end in a task, which also serves `resizes`. It ends, and with it the connection, when the session's
/// receiver is dropped: that is what `kill_on_drop` hears.
fn follow(
    mut connection: Connection,
    tasks: &TaskSet,
    resizes: impl Future<Output = ()> + Send + 'static,
) -> oneshot::Receiver<i32> {
    let (mut sender, receiver) = oneshot::channel();
    tasks.spawn_until_cancelled("session", async move {
        let mut resizes = Box::pin(resizes);
        let mut resizing = true;
        let code = loop {
            tokio::select! {
                reply = connection.next() => match reply {
                    Ok((Reply::Finished { code }, _)) => break Some(code),
                    Ok(_) => {}
                    Err(_) => break None,
                },
                () = sender.closed() => return,
                () = &mut resizes, if resizing => resizing = false,
            }
        };
        // Without a code the receiver sees a closed channel.
        let _ = code.map(|code| sender.send(code));
    });
    receiver
}

/// The controlling side of a terminal.
struct Terminal(AsyncFd<OwnedFd>);

impl Terminal {
    fn new(fd: OwnedFd) -> io::Result<Terminal> {
        rustix::io::ioctl_fionbio(&fd, true)?;
        // SAFETY: the descriptor is owned by the registration and is not replaced or closed while that lives.
        Ok(Terminal(unsafe { AsyncFd::register(fd) }?))
    }
}

impl AsyncRead for Terminal {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            let mut guard = ready!(self.0.poll_read_ready(context))?;
            let unfilled = buffer.initialize_unfilled();
            match guard.try_io(|fd| Ok(rustix::io::read(fd.get_ref(), &mut *unfilled)?)) {
                Ok(Ok(length)) => {
                    buffer.advance(length);
                    return Poll::Ready(Ok(()));
                }
                // The other side was closed: that is the end of the stream.
                Ok(Err(error)) if error.raw_os_error() == Some(libc::EIO) => {
                    return Poll::Ready(Ok(()));
                }
                Ok(Err(error)) => return Poll::Ready(Err(error)),
                Err(_would_block) => {}
            }
        }
    }
}

impl AsyncWrite for Terminal {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            let mut guard = ready!(self.0.poll_write_ready(context))?;
            if let Ok(result) = guard.try_io(|fd| Ok(rustix::io::write(fd.get_ref(), data)?)) {
                return Poll::Ready(result);
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
