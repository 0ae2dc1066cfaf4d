//! CSIDrivers.

use std::collections::HashSet;

use apimachinery::field::{ErrorList, Path};
use apimachinery::table;
use serde_json::{Value, json};

use crate::at::At;
use crate::cells::{list, name, or, text};
use crate::defaults::{lacks, object, set, set_pointer};
use crate::strategy::{Column, Strategy};

pub struct CsiDriver;

const MODES: [&str; 2] = ["Persistent", "Ephemeral"];
const PERIOD_MIN: i64 = 10;
const EXPIRATION_MIN: i64 = 600;
const EXPIRATION_MAX: i64 = 1 << 32;

impl Strategy for CsiDriver {
    fn allows_unconditional_update(&self) -> bool {
        false
    }

    fn warnings(&self, new: &Value, old: Option<&Value>) -> Vec<String> {
        let requests = |driver: &Value| list(driver, "/spec/tokenRequests").to_vec();
        let asked = requests(new);
        let is_said = new["spec"]["serviceAccountTokenInSecrets"].is_boolean();
        let moved = old.is_none_or(|old| requests(old) != asked);
        let warning = "spec.serviceAccountTokenInSecrets is unset; if supported by this CSI driver, set to true to prevent possible \
                       logging of tokens in volume attributes";
        (moved && !asked.is_empty() && !is_said).then(|| warning.to_owned()).into_iter().collect()
    }

    fn default(&self, driver: &mut Value) {
        let Some(spec) = object(driver, "spec") else { return };
        set(spec, "attachRequired", true);
        for flag in ["podInfoOnMount", "storageCapacity", "requiresRepublish", "seLinuxMount"] {
            set(spec, flag, false);
        }
        set_pointer(spec, "fsGroupPolicy", "ReadWriteOnceWithFSType");
        if lacks(spec, "volumeLifecycleModes") {
            spec["volumeLifecycleModes"] = json!(["Persistent"]);
        }
    }

    fn has_generation(&self) -> bool {
        true
    }

    fn generation_at_create(&self) -> bool {
        false
    }

    fn validate(&self, driver: &Value) -> ErrorList {
        let mut errors = ErrorList::new();
        let spec = At::root(driver).at("spec");
        spec.at("fsGroupPolicy").one_of(&mut errors, &["File", "None", "ReadWriteOnceWithFSType"]);
        token_requests(&spec.at("tokenRequests"), &mut errors);
        let modes = spec.at("volumeLifecycleModes");
        for mode in modes.items().iter().filter(|mode| !MODES.contains(&mode.text())) {
            errors.not_supported(&modes.path, mode.text(), &MODES);
        }
        let period = spec.at("nodeAllocatableUpdatePeriodSeconds");
        if period.int().is_some_and(|seconds| seconds < PERIOD_MIN) {
            period.invalid(&mut errors, &format!("must be greater than or equal to {PERIOD_MIN} seconds"));
        }
        let secrets = spec.at("serviceAccountTokenInSecrets");
        if secrets.present() && spec.at("tokenRequests").empty() {
            secrets.invalid(&mut errors, "serviceAccountTokenInSecrets is set but no tokenRequests are specified");
        }
        errors
    }

    fn validate_update(&self, new: &Value, old: &Value) -> ErrorList {
        let mut errors = self.validate(new);
        // The name of the first is misspelled upstream, and clients see it.
        for (field, shown) in [("attachRequired", "attachedRequired"), ("volumeLifecycleModes", "volumeLifecycleModes")]
        {
            let at = At { value: &new["spec"][field], path: Path::new("spec").child(shown) };
            at.immutable(&mut errors, &old["spec"][field]);
        }
        errors
    }

    fn columns(&self) -> &[Column] {
        const {
            &[
                Column::NAME,
                Column::of("AttachRequired", "boolean"),
                Column::of("PodInfoOnMount", "boolean"),
                Column::of("StorageCapacity", "boolean"),
                Column::text("TokenRequests"),
                Column::of("RequiresRepublish", "boolean"),
                Column::text("Modes"),
                Column::AGE,
            ]
        }
    }

    fn row(&self, driver: &Value, now: i64) -> Vec<Value> {
        let flag = |field: &str, otherwise: bool| driver["spec"][field].as_bool().unwrap_or(otherwise);
        let join = |pointer: &str, field: &str| -> String {
            let items = list(driver, pointer).iter();
            items.map(|item| item.as_str().unwrap_or_else(|| text(item, field))).collect::<Vec<_>>().join(",")
        };
        let tokens = match driver["spec"]["tokenRequests"].is_array() {
            true => join("/spec/tokenRequests", "/audience"),
            false => "<unset>".to_owned(),
        };
        vec![
            name(driver),
            flag("attachRequired", true).into(),
            flag("podInfoOnMount", false).into(),
            flag("storageCapacity", false).into(),
            tokens.into(),
            flag("requiresRepublish", false).into(),
            or(&join("/spec/volumeLifecycleModes", ""), "<none>").into(),
            table::age(driver, now),
        ]
    }
}

/// Tokens for distinct audiences, neither too short nor too long of life.
fn token_requests(requests: &At<'_>, errors: &mut ErrorList) {
    let mut audiences = HashSet::new();
    for request in requests.items() {
        let audience = request.at("audience");
        if !audiences.insert(audience.text()) {
            errors.duplicate(&audience.path, audience.text());
            continue;
        }
        let expiration = request.at("expirationSeconds");
        match expiration.int() {
            Some(..EXPIRATION_MIN) => expiration.invalid(errors, "may not specify a duration less than 10 minutes"),
            Some(seconds) if seconds > EXPIRATION_MAX => {
                expiration.invalid(errors, "may not specify a duration larger than 2^32 seconds");
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn causes(errors: &ErrorList) -> Vec<String> {
        errors.iter().map(|error| format!("{} {}", error.kind.reason(), error.field)).collect()
    }

    #[test]
    fn what_a_driver_asks_for_is_judged() {
        let driver = json!({"spec": {"fsGroupPolicy": "x", "volumeLifecycleModes": ["Never"],
            "nodeAllocatableUpdatePeriodSeconds": 9, "tokenRequests": [
                {"audience": "a", "expirationSeconds": 1}, {"audience": "a"}, {"expirationSeconds": 1_i64 << 33}]}});
        let expected = [
            "FieldValueNotSupported spec.fsGroupPolicy",
            "FieldValueInvalid spec.tokenRequests[0].expirationSeconds",
            "FieldValueDuplicate spec.tokenRequests[1].audience",
            "FieldValueInvalid spec.tokenRequests[2].expirationSeconds",
            "FieldValueNotSupported spec.volumeLifecycleModes",
            "FieldValueInvalid spec.nodeAllocatableUpdatePeriodSeconds",
        ];
        assert_eq!(causes(&CsiDriver.validate(&driver)), expected);
    }

    #[test]
    fn how_volumes_are_attached_stays() {
        let driver = |attach: bool| json!({"spec": {"attachRequired": attach}});
        let changed = CsiDriver.validate_update(&driver(true), &driver(false));
        assert_eq!(causes(&changed), ["FieldValueInvalid spec.attachedRequired"]);
    }
}
