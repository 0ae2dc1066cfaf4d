//! Which webhooks are asked a second time: those that want to hear of what others changed after them.

use std::collections::HashSet;

use serde_json::Value;

/// State of one request on its way through the changing half of the chain.
#[derive(Default)]
pub struct Reinvocation {
    second_round: bool,
    wanted: bool,
    /// Asked before, and wanting to be asked again after changes.
    eligible: HashSet<String>,
    /// To be asked in the second round.
    required: HashSet<String>,
    last_output: Option<Value>,
}

impl Reinvocation {
    /// Starts the second round, if one is wanted. There is never a third.
    pub fn begin_again(&mut self) -> bool {
        let begins = self.wanted && !self.second_round;
        self.second_round |= begins;
        begins
    }

    /// Compares with what the webhooks left behind: plugins of the second round may have changed it.
    pub fn begin_webhooks(&mut self, object: Option<&Value>) {
        if self.second_round && self.last_output.as_ref() != object {
            self.require_eligible();
        }
    }

    pub fn end_webhooks(&mut self, object: Option<&Value>) {
        self.last_output = object.cloned();
    }

    /// In the second round nobody is asked for the first time.
    pub fn asks(&self, uid: &str) -> bool {
        !self.second_round || self.required.contains(uid)
    }

    pub fn changed(&mut self) {
        self.require_eligible();
        self.wanted = true;
    }

    pub fn asked_if_needed(&mut self, uid: &str) {
        self.eligible.insert(uid.to_owned());
    }

    pub fn round(&self) -> u8 {
        u8::from(self.second_round)
    }

    fn require_eligible(&mut self) {
        self.required.extend(self.eligible.drain());
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
