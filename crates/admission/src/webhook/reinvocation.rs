//! Which webhooks and policies are asked a second time: those that want to hear of what others changed after them.

use std::collections::HashSet;

use serde_json::Value;

/// State of one request on its way through the changing half of the chain.
#[derive(Default)]
pub struct Reinvocation {
    second_round: bool,
    wanted: bool,
    webhooks: Asked,
    policies: Asked,
}

/// Who was asked by one plugin.
#[derive(Default)]
struct Asked {
    /// Asked before, and wanting to be asked again after changes.
    eligible: HashSet<String>,
    /// To be asked in the second round.
    required: HashSet<String>,
    last_output: Option<Value>,
}

impl Asked {
    fn require_eligible(&mut self) {
        self.required.extend(self.eligible.drain());
    }

    /// Compares with what the plugin left behind: others of the second round may have changed it.
    fn begin(&mut self, second_round: bool, object: Option<&Value>) {
        if second_round && self.last_output.as_ref() != object {
            self.require_eligible();
        }
    }
}

impl Reinvocation {
    /// Starts the second round, if one is wanted. There is never a third.
    pub fn begin_again(&mut self) -> bool {
        let begins = self.wanted && !self.second_round;
        self.second_round |= begins;
        begins
    }

    pub fn begin_webhooks(&mut self, object: Option<&Value>) {
        self.webhooks.begin(self.second_round, object);
    }

    pub fn begin_policies(&mut self, object: Option<&Value>) {
        self.policies.begin(self.second_round, object);
    }

    pub fn end_webhooks(&mut self, object: Option<&Value>) {
        self.webhooks.last_output = object.cloned();
    }

    pub fn end_policies(&mut self, object: Option<&Value>) {
        self.policies.last_output = object.cloned();
    }

    /// In the second round nobody is asked for the first time.
    pub fn asks(&self, uid: &str) -> bool {
        !self.second_round || self.webhooks.required.contains(uid)
    }

    pub fn asks_policy(&self, key: &str) -> bool {
        !self.second_round || self.policies.required.contains(key)
    }

    pub fn changed(&mut self) {
        self.webhooks.require_eligible();
        self.wanted = true;
    }

    pub fn changed_by_policy(&mut self) {
        self.policies.require_eligible();
        self.wanted = true;
    }

    pub fn asked_if_needed(&mut self, uid: &str) {
        self.webhooks.eligible.insert(uid.to_owned());
    }

    pub fn policy_asked_if_needed(&mut self, key: &str) {
        self.policies.eligible.insert(key.to_owned());
    }

    pub fn round(&self) -> u8 {
        u8::from(self.second_round)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_those_before_a_change_are_asked_again() {
        let mut state = Reinvocation::default();
        state.asked_if_needed("first");
        state.changed();
        state.asked_if_needed("second");
        assert!(state.begin_again());
        assert!(state.asks("first") && !state.asks("second") && !state.asks("new"));
        assert!(!state.begin_again(), "there is no third round");
    }

    #[test]
    fn a_change_by_a_plugin_of_the_second_round_concerns_all_that_were_asked() {
        let mut state = Reinvocation::default();
        state.changed();
        state.asked_if_needed("second");
        state.end_webhooks(Some(&Value::from(1)));
        assert!(state.begin_again());
        state.begin_webhooks(Some(&Value::from(2)));
        assert!(state.asks("second"));
    }
}
