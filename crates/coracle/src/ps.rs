//! `coracle ps`: the containers of a node, from its run directory; no agent is needed.

use std::path::PathBuf;

use clap::Args;

#[derive(Args)]
pub struct Arguments {
    /// Also those that have ended
    #[arg(short, long)]
    all: bool,
    #[arg(long, default_value = "/run/coracle")]
    run_dir: PathBuf,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let mut rows = vec![["CONTAINER ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "POD", "NAMES"].map(str::to_owned)];
    for sandbox in container::list_run_dir(&arguments.run_dir)? {
        for container in &sandbox.containers {
            rows.extend(row(&sandbox, container, arguments.all));
        }
    }
    print(&rows);
    Ok(())
}

fn row(sandbox: &container::SandboxStatus, container: &container::ContainerStatus, all: bool) -> Option<[String; 7]> {
    if !all && !container.state.is_running() {
        return None;
    }
    let config = &container.config;
    let mut command = format!("\"{}\"", config.args.join(" "));
    if command.chars().count() > 22 {
        command = format!("{}…\"", command.chars().take(20).collect::<String>());
    }
    let name = format!("{}_{}_{}", config.name, sandbox.config.name, sandbox.config.namespace);
    Some([
        config.id.chars().take(12).collect(),
        config.image.clone(),
        command,
        format!("{} ago", age(container.created_at)),
        status(&container.state),
        sandbox.config.name.clone(),
        name,
    ])
}

fn status(state: &container::ContainerState) -> String {
    match state {
        container::ContainerState::Created => "Created".into(),
        container::ContainerState::Running { started_at, .. } => format!("Up {}", age(*started_at)),
        container::ContainerState::Exited(exit) => format!("Exited ({}) {} ago", exit.code, age(exit.finished_at)),
    }
}

/// In words, as `docker ps` says it.
fn age(since: jiff::Timestamp) -> String {
    let seconds = jiff::Timestamp::now().as_second() - since.as_second();
    match seconds {
        ..1 => "Less than a second".into(),
        1 => "1 second".into(),
        2..60 => format!("{seconds} seconds"),
        60..120 => "About a minute".into(),
        120..3600 => format!("{} minutes", seconds / 60),
        3600..7200 => "About an hour".into(),
        7200..172_800 => format!("{} hours", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

fn print(rows: &[[String; 7]]) {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    for row in rows {
        let cells = row.iter().enumerate().map(|(column, cell)| format!("{cell:<width$}", width = width(column)));
        println!("{}", cells.collect::<Vec<_>>().join("   ").trim_end());
    }
}
