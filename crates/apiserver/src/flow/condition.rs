//! Says of every FlowSchema whether its priority level exists: the condition `Dangling`.

use std::collections::HashMap;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use apimachinery::object;
use futures::future::join_all;
use http::Method;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::keep::{RESOURCES, all, path, whole, write};
use crate::server::Inner;

const CONSUMER: &str = "api-priority-and-fairness-config-consumer-v1";
/// Servers that disagree about a schema do not write it for ever.
const WRITES_MAX: usize = 5;
const WRITES_PERIOD: Duration = Duration::from_secs(60);

/// When the conditions of which schemas were written lately.
#[derive(Default)]
pub struct Written(Mutex<HashMap<String, VecDeque<Instant>>>);

impl Written {
    /// Whether a schema may be written now; if so, it counts as written.
    fn may_write(&self, name: &str, now: Instant) -> bool {
        let mut written = self.0.lock();
        written.retain(|_, times| {
            times.retain(|time| now.duration_since(*time) <= WRITES_PERIOD);
            !times.is_empty()
        });
        let times = written.entry(name.to_string()).or_default();
        let may = times.len() <= WRITES_MAX;
        if may {
            times.push_back(now);
        }
        may
    }
}

/// Writes the conditions that are not as they should be. Returns when to come again for those that were written too
/// often.
pub async fn write_all(server: &Arc<Inner>, written: &Written) -> Option<Instant> {
    let snapshot = server.store.snapshot();
    let config = server.flow.config.load_full();
    let now = Instant::now();
    let mut delayed = false;
    let mut writes = Vec::new();
    for schema in all(&snapshot, RESOURCES[0]) {
        let level = schema.pointer("/spec/priorityLevelConfiguration/name").and_then(Value::as_str).unwrap_or_default();
        let exists = config.levels.get(level).is_some_and(|level| !level.is_quiescing());
        let Some(condition) = condition(&schema, level, exists) else { continue };
        if written.may_write(object::name(&schema), now) {
            writes.push(apply(server, object::name(&schema).to_string(), condition));
        } else {
            delayed = true;
        }
    }
    join_all(writes).await;
    delayed.then(|| now + Duration::from_secs(rand::random_range(30..75)))
}

/// The condition, if the stored one differs.
fn condition(schema: &Value, level: &str, exists: bool) -> Option<Value> {
    let what = format!("This FlowSchema references the PriorityLevelConfiguration object named {level:?}");
    let (status, reason, message) = match exists {
        true => ("False", "Found", format!("{what} and it exists")),
        false => ("True", "NotFound", format!("{what} but there is no such object")),
    };
    let wanted = json!({"type": "Dangling", "status": status, "reason": reason, "message": message});
    let conditions = schema.pointer("/status/conditions").and_then(Value::as_array).into_iter().flatten();
    let stored = conditions.into_iter().find(|condition| condition["type"] == "Dangling");
    let same = stored.is_some_and(|stored| {
        ["status", "reason", "message"].iter().all(|field| stored.get(field) == wanted.get(field))
    });
    (!same).then_some(wanted)
}

async fn apply(server: &Arc<Inner>, name: String, mut condition: Value) {
    condition["lastTransitionTime"] = apimachinery::time::format(jiff::Timestamp::now()).into();
    let body = whole(RESOURCES[0], json!({"metadata": {"name": name}, "status": {"conditions": [condition]}}));
    let path = format!("{}/status", path(RESOURCES[0], &name));
    write(server, Method::PATCH, &path, CONSUMER, &body).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_are_written_once() {
        let mut schema = json!({"metadata": {"name": "x"}});
        let dangling = condition(&schema, "gone", false).unwrap();
        assert_eq!((&dangling["status"], &dangling["reason"]), (&"True".into(), &"NotFound".into()));
        schema["status"] = json!({"conditions": [dangling]});
        assert_eq!(condition(&schema, "gone", false), None);
        assert!(condition(&schema, "gone", true).is_some());
    }

    #[tokio::test]
    async fn whoever_undoes_a_condition_slows_it_down() {
        let (written, now) = (Written::default(), Instant::now());
        let may: Vec<bool> = (0..8).map(|_| written.may_write("x", now)).collect();
        assert_eq!(may, [true, true, true, true, true, true, false, false]);
        assert!(written.may_write("y", now));
        assert!(written.may_write("x", now + WRITES_PERIOD + Duration::from_secs(1)));
    }
}
