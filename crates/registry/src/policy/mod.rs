//! The group `policy`.

use apimachinery::field::ErrorList;
use apimachinery::table;
use apimachinery::validation::label_selector;
use serde_json::Value;

use crate::apps::{int_or_percent, not_over_100_percent};
use crate::at::At;

use crate::cells::{int, name};
use crate::strategy::{Column, NameRule, Strategy};
use crate::{conditions, counts};

/// PodDisruptionBudgets.
pub struct PodDisruptionBudget;

impl Strategy for PodDisruptionBudget {
    fn validate(&self, budget: &Value) -> ErrorList {
        let mut errors = ErrorList::new();
        let spec = At::root(budget).at("spec");
        let (min, max) = (spec.at("minAvailable"), spec.at("maxUnavailable"));
        if min.present() && max.present() {
            spec.invalid(&mut errors, "minAvailable and maxUnavailable cannot be both set");
        }
        for at in [&min, &max] {
            int_or_percent(at, &mut errors);
            not_over_100_percent(at, &mut errors);
        }
        errors.append(label_selector(spec.at("selector").value, &spec.path.child("selector")));
        spec.at("unhealthyPodEvictionPolicy").one_of(&mut errors, &["AlwaysAllow", "IfHealthyBudget"]);
        errors
    }

    fn validate_status_update(&self, new: &Value, _old: &Value) -> ErrorList {
        let mut errors = ErrorList::new();
        let status = At::root(new).at("status");
        let fields = ["disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods"];
        counts::not_negative(&status, &fields, &mut errors);
        conditions::validate(&status.at("conditions"), &mut errors);
        errors
    }

    fn allows_unconditional_update(&self) -> bool {
        false
    }

    /// Upstream's own rules leave metadata alone.
    fn name_rule(&self) -> NameRule {
        NameRule::PathSegment
    }

    fn has_generation(&self) -> bool {
        true
    }

    fn columns(&self) -> &[Column] {
        const {
            &[
                Column::NAME,
                Column::text("Min Available"),
                Column::text("Max Unavailable"),
                Column::of("Allowed Disruptions", "integer"),
                Column::AGE,
            ]
        }
    }

    fn row(&self, budget: &Value, now: i64) -> Vec<Value> {
        let cell = |field: &str| match &budget["spec"][field] {
            Value::Null => Value::from("N/A"),
            Value::String(text) => text.clone().into(),
            number => number.to_string().into(),
        };
        vec![
            name(budget),
            cell("minAvailable"),
            cell("maxUnavailable"),
            int(budget, "/status/disruptionsAllowed").into(),
            table::age(budget, now),
        ]
    }
}
