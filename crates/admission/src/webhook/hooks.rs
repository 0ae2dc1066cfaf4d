//! The compiled configurations of one kind, in the order in which they are asked.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::RwLock;
use serde_json::Value;

use super::hook::Hook;

type List = Arc<[Arc<Hook>]>;

/// Compiles a configuration when it changes; a request only takes the finished list.
#[derive(Default)]
pub struct Hooks {
    state: RwLock<State>,
}

#[derive(Default)]
struct State {
    /// By configuration name, which is also their order.
    configurations: BTreeMap<String, Vec<Arc<Hook>>>,
    all: List,
}

impl Hooks {
    pub fn apply(&self, name: &str, configuration: Option<&Value>) {
        let compiled = configuration.map(|configuration| compile(name, configuration));
        let mut state = self.state.write();
        match compiled {
            Some(hooks) => state.configurations.insert(name.to_owned(), hooks),
            None => state.configurations.remove(name),
        };
        state.all = state.configurations.values().flatten().cloned().collect();
    }

    pub fn clear(&self) {
        *self.state.write() = State::default();
    }

    pub fn list(&self) -> List {
        self.state.read().all.clone()
    }
}

fn compile(name: &str, configuration: &Value) -> Vec<Arc<Hook>> {
    let webhooks = configuration["webhooks"].as_array().into_iter().flatten();
    webhooks.enumerate().map(|(place, webhook)| Arc::new(Hook::compile(name, place, webhook))).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn hooks_are_asked_by_configuration_name_and_then_by_place() {
        let hooks = Hooks::default();
        hooks.apply("b", Some(&json!({"webhooks": [{"name": "b1"}, {"name": "b0"}]})));
        hooks.apply("a", Some(&json!({"webhooks": [{"name": "a1"}]})));
        let names = || hooks.list().iter().map(|hook| hook.name.clone()).collect::<Vec<_>>();
        assert_eq!(names(), ["a1", "b1", "b0"]);
        hooks.apply("b", None);
        assert_eq!(names(), ["a1"]);
    }
}
