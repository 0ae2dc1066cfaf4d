//! CSIDrivers.

use apimachinery::field::ErrorList;
use apimachinery::table;
use serde_json::{Value, json};

use crate::at::At;
use crate::cells::{list, name, or, text};
use crate::defaults::{lacks, object, set};
use crate::strategy::{Column, Strategy};

pub struct CsiDriver;

impl Strategy for CsiDriver {
    fn allows_unconditional_update(&self) -> bool {
        false
    }

    fn warnings(&self, new: &Value, _old: Option<&Value>) -> Vec<String> {
        const PROFILE: &str = "security.kubernetes.io/csi-ephemeral-volume-profile";
        let ephemeral = list(new, "/spec/volumeLifecycleModes").iter().any(|mode| mode == "Ephemeral");
        let labelled = apimachinery::object::label(new, PROFILE).is_some();
        let warning = format!("missing label {PROFILE:?}; defaulting to \"privileged\"");
        (ephemeral && !labelled).then_some(warning).into_iter().collect()
    }

    fn default(&self, driver: &mut Value) {
        let Some(spec) = object(driver, "spec") else { return };
        set(spec, "attachRequired", true);
        for flag in ["podInfoOnMount", "storageCapacity", "requiresRepublish", "seLinuxMount"] {
            set(spec, flag, false);
        }
        set(spec, "fsGroupPolicy", "ReadWriteOnceWithFSType");
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
        spec.at("attachRequired").required(&mut errors, "");
        spec.at("fsGroupPolicy").one_of(&mut errors, &["File", "None", "ReadWriteOnceWithFSType"]);
        for mode in spec.at("volumeLifecycleModes").items() {
            mode.one_of(&mut errors, &["Ephemeral", "Persistent"]);
        }
        errors
    }

    fn validate_update(&self, new: &Value, old: &Value) -> ErrorList {
        let mut errors = self.validate(new);
        let spec = At::root(new).at("spec");
        for field in ["attachRequired", "volumeLifecycleModes"] {
            spec.at(field).immutable(&mut errors, &old["spec"][field]);
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
        vec![
            name(driver),
            flag("attachRequired", true).into(),
            flag("podInfoOnMount", false).into(),
            flag("storageCapacity", false).into(),
            or(&join("/spec/tokenRequests", "/audience"), "<unset>").into(),
            flag("requiresRepublish", false).into(),
            or(&join("/spec/volumeLifecycleModes", ""), "<none>").into(),
            table::age(driver, now),
        ]
    }
}
