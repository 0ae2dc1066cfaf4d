//! Commands in a container, for probes and hooks.

use container::{ContainerRuntime, ExecConfig};
use tokio::io::AsyncReadExt;

/// What is kept of a command's output.
const OUTPUT_MAX: u64 = 10 * 1024;

/// The exit code and the beginning of the output. The command is killed when this is dropped.
pub async fn run(
    runtime: &dyn ContainerRuntime,
    uid: &str,
    id: &str,
    args: Vec<String>,
) -> Result<(i32, String), String> {
    let exec = ExecConfig { args, stdout: true, stderr: true, kill_on_drop: true, ..ExecConfig::default() };
    let session = runtime.exec(uid, id, &exec).await.map_err(|error| error.full_text())?;
    let read = |stream: Option<container::Reader>| async move {
        let mut kept = Vec::new();
        if let Some(mut stream) = stream {
            let _ = (&mut stream).take(OUTPUT_MAX).read_to_end(&mut kept).await;
            // The rest is read so that the command does not stop at a full pipe.
            let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
        }
        kept
    };
    let (exit, (stdout, stderr)) = {
        let outputs = async { tokio::join!(read(session.stdout), read(session.stderr)) };
        tokio::pin!(outputs);
        let mut exit = session.exit;
        tokio::select! {
            outputs = &mut outputs => (exit.await, outputs),
            // A child in the background may hold the pipes open.
            code = &mut exit => (code, (&mut outputs).now_or_default().await),
        }
    };
    let code = exit.map_err(|_| "the command's end was not seen".to_owned())?;
    let text = [stdout, stderr].concat();
    Ok((code, String::from_utf8_lossy(&text).into_owned()))
}

/// What is there within a moment, else nothing.
trait NowOrDefault: Future + Sized
where
    Self::Output: Default,
{
    async fn now_or_default(self) -> Self::Output {
        const MOMENT: std::time::Duration = std::time::Duration::from_millis(100);
        tokio::time::timeout(MOMENT, self).await.unwrap_or_default()
    }
}

impl<F: Future> NowOrDefault for F where F::Output: Default {}
