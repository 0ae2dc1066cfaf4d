//! One object that is named by `TYPE/NAME`, or a pod by its name alone.

use crate::failure::{Failure, fail};
use crate::flags::{Flag, Kind};
use crate::objects::{Asked, Info, Selection};
use crate::session::Session;

pub const RUNNING_TIMEOUT: &[Flag] = &[Flag::new(
    "pod-running-timeout",
    Kind::Duration,
    "The length of time (like 5s, 2m, or 3h, higher than zero) to wait until at least one pod is running",
)
.or("1m0s")];

/// As it is on the server now.
pub async fn one_object(session: &Session, named: &str) -> Result<Info, Failure> {
    let arguments = match named.split_once('/') {
        Some(_) => vec![named.to_owned()],
        None => vec!["pods".to_owned(), named.to_owned()],
    };
    let asked = Asked { arguments, namespace: session.namespace(), ..Asked::default() };
    match asked.select(session).await? {
        Selection::Named { mut infos, .. } if infos.len() == 1 => {
            let mut info = infos.remove(0);
            info.refresh(session.client()?).await?;
            Ok(info)
        }
        _ => fail!("expected a resource"),
    }
}
