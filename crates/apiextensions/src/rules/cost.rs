//! What rules may cost, by their estimates.

use apimachinery::field::{ErrorList, Path};
use expressions::limits::{ESTIMATED_CRD_LIMIT, ESTIMATED_RULE_LIMIT};
use serde_json::Value;

use super::Compiled;
use crate::json::{field, int, text};

/// What all rules of one schema cost together.
#[derive(Default)]
pub struct Budget {
    /// The schema was accepted before: single rules may cost what they cost.
    accepted_before: bool,
    total: u64,
    /// At most four, the dearest first.
    most_expensive: Vec<(u64, Path)>,
}

impl Budget {
    pub fn new(accepted_before: bool) -> Self {
        Self { accepted_before, ..Self::default() }
    }

    pub(super) fn spend(&mut self, compiled: &Compiled, often: u64, at: &Path, errors: &mut ErrorList) {
        let cost = compiled.rule.cost_estimate().max.saturating_mul(often);
        self.observe(cost, "estimated rule cost", &at.child("rule"), errors);
        if let Some(message) = &compiled.message {
            let cost = message.cost_estimate().max;
            self.observe(cost, "estimated messageExpression cost", &at.child("messageExpression"), errors);
        }
    }

    fn observe(&mut self, cost: u64, name: &str, at: &Path, errors: &mut ErrorList) {
        if !self.accepted_before && cost > ESTIMATED_RULE_LIMIT {
            errors.forbidden(at, exceeded(name, cost, ESTIMATED_RULE_LIMIT));
        }
        self.total = self.total.saturating_add(cost);
        if cost >= ESTIMATED_CRD_LIMIT / 100 {
            self.most_expensive.push((cost, at.clone()));
            self.most_expensive.sort_by_key(|(cost, _)| std::cmp::Reverse(*cost));
            self.most_expensive.truncate(4);
        }
    }

    /// Complaints about the sum.
    pub fn exceeded(self, schema: &Path) -> ErrorList {
        let mut errors = ErrorList::new();
        if self.total <= ESTIMATED_CRD_LIMIT {
            return errors;
        }
        for (_, at) in &self.most_expensive {
            let detail = "contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema";
            errors.forbidden(at, detail);
        }
        let name = "x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema";
        errors.forbidden(schema, exceeded(name, self.total, ESTIMATED_CRD_LIMIT));
        errors
    }
}

#[expect(clippy::cast_precision_loss, reason = "the factor is told with one digit")]
fn exceeded(name: &str, cost: u64, limit: u64) -> String {
    let factor = cost as f64 / limit as f64;
    let factor = match factor {
        100.0.. if factor > 100.0 => "more than 100x".into(),
        1.5.. => format!("{factor:.1}x"),
        _ => format!("{factor:.6}x"),
    };
    format!(
        "{name} exceeds budget by factor of {factor} (try simplifying the rule, or adding maxItems, maxProperties, and \
         maxLength where arrays, maps, and strings are declared)"
    )
}

/// How often what lies below a place can occur at most; `None` if nothing says it.
pub fn cardinality_below(schema: &Value, cardinality: Option<u64>) -> Option<u64> {
    let limit = |name: &str| int(schema, name).map(|limit| u64::try_from(limit).unwrap_or_default());
    let elements = match text(schema, "type") {
        "object" if field(schema, "additionalProperties").is_some() => limit("maxProperties")?,
        "array" => limit("maxItems")?,
        _ => 1,
    };
    Some(cardinality?.saturating_mul(elements))
}
