//! `describe`: all that is to be known of an object.

use crate::command::{Command, runs};
use crate::describe::Describer;
use crate::failure::{Failure, fail};
use crate::flags::{Flag, Parsed};
use crate::objects::{Asked, FILENAME_FLAGS, Info};
use crate::session::Session;

pub const COMMAND: Command = Command {
    name: "describe",
    about: "Show details of a specific resource or group of resources",
    usage: "(-f FILENAME | TYPE [NAME_PREFIX | -l label] | TYPE/NAME) [options]",
    flags: &[FILENAME_FLAGS, FLAGS],
    run: runs!(run),
    ..Command::EMPTY
};

const FLAGS: &[Flag] = &[
    Flag::switch("all-namespaces", "If present, list the requested object(s) across all namespaces.").short('A'),
    Flag::number("chunk-size", "500", "Accepted for compatibility."),
    Flag::text("selector", "Selector (label query) to filter on.").short('l'),
    Flag::switch("show-events", "If true, display events related to the described object.").or("true"),
];

async fn run(session: &Session, parsed: Parsed) -> Result<(), Failure> {
    if parsed.arguments.is_empty() && !parsed.given("filename") {
        return fail!(
            "You must specify the type of resource to describe. Use \"kubectl api-resources\" for a complete list of \
             supported resources."
        );
    }
    let asked = Asked { type_is_enough: true, ..Asked::of(session, &parsed)? };
    let client = session.client()?;
    let now = jiff::Timestamp::now().as_second();
    let (infos, mut failures) = asked.select(session).await?.fetched(client).await?;
    if let ([kind, prefix], true) = (parsed.arguments.as_slice(), failures.iter().any(Failure::is_not_found)) {
        let matching =
            if kind.contains('/') { Vec::new() } else { beginning_with(session, &asked, kind, prefix).await? };
        if matching.is_empty() {
            return Failure::all(failures);
        }
        let describer =
            Describer { session, show_events: parsed.given("show-events") && parsed.on("show-events"), now };
        for info in &matching {
            session.streams.line(describer.describe(info).await?)?;
        }
        return Ok(());
    }
    let many = infos.len() > 1 || !failures.is_empty();
    let show_events = parsed.on("show-events") && (!many || parsed.given("show-events"));
    let describer = Describer { session, show_events, now };
    for (index, info) in infos.iter().enumerate() {
        match describer.describe(info).await {
            Ok(page) => session.streams.print(format!("{}{page}", if index > 0 { "\n\n" } else { "" }))?,
            Err(failure) => failures.push(failure),
        }
    }
    if infos.is_empty() && failures.is_empty() {
        session.streams.note(if asked.all_namespaces {
            "No resources found".into()
        } else {
            format!("No resources found in {} namespace.", asked.namespace)
        });
    }
    Failure::all(failures)
}

/// Objects whose names begin so.
async fn beginning_with(session: &Session, asked: &Asked, kind: &str, prefix: &str) -> Result<Vec<Info>, Failure> {
    let all = Asked { arguments: vec![kind.to_owned()], ..asked.clone() };
    let (mut infos, failures) = all.select(session).await?.infos(session.client()?).await?;
    Failure::all(failures)?;
    infos.retain(|info| info.name.starts_with(prefix));
    Ok(infos)
}
