//! ServiceCIDRs.

use apimachinery::field::ErrorList;
use apimachinery::table;
use apimachinery::validation::{parse_cidr, validate_cidr};
use serde_json::Value;

use crate::at::At;
use crate::cells::{list, name, or};
use crate::strategy::{Column, Strategy, keep_all_but_the_status};

pub struct ServiceCidr;

const RANGES_MAX: usize = 2;
const IMMUTABLE: &str = "field is immutable";

impl Strategy for ServiceCidr {
    fn prepare_for_status_update(&self, new: &mut Value, old: &Value) {
        keep_all_but_the_status(new, old);
    }

    fn reset_fields(&self, subresource: &str) -> &'static [&'static str] {
        match subresource {
            "" => &["status"],
            _ => &["metadata", "spec"],
        }
    }

    fn validate(&self, cidr: &Value) -> ErrorList {
        let mut errors = ErrorList::new();
        ranges(&At::root(cidr).to("spec.cidrs"), &mut errors);
        errors
    }

    /// A range stays; one of the other family may join it.
    fn validate_update(&self, new: &Value, old: &Value) -> ErrorList {
        let mut errors = ErrorList::new();
        let cidrs = At::root(new).to("spec.cidrs");
        let (before, after) = (list(old, "/spec/cidrs"), cidrs.items());
        match (before.len(), after.len()) {
            (1, 2) => {
                changed(&after, before, &mut errors);
                ranges(&cidrs, &mut errors);
            }
            (known, now) if known == now => changed(&after, before, &mut errors),
            _ => cidrs.invalid(&mut errors, IMMUTABLE),
        }
        errors
    }

    fn columns(&self) -> &[Column] {
        const { &[Column::NAME, Column::text("CIDRs"), Column::AGE] }
    }

    fn row(&self, cidr: &Value, now: i64) -> Vec<Value> {
        let all: Vec<&str> = list(cidr, "/spec/cidrs").iter().filter_map(Value::as_str).collect();
        vec![name(cidr), or(&all.join(","), "<none>").into(), table::age(cidr, now)]
    }
}

fn changed(after: &[At<'_>], before: &[Value], errors: &mut ErrorList) {
    for (cidr, _) in after.iter().zip(before).filter(|(cidr, before)| cidr.value != *before) {
        cidr.invalid(errors, IMMUTABLE);
    }
}

fn range(cidr: &At<'_>, errors: &mut ErrorList) {
    let wrong = validate_cidr(&cidr.path, cidr.text());
    let canonical = parse_cidr(cidr.text()).map(|(address, length)| format!("{address}/{length}"));
    match canonical {
        Some(canonical) if wrong.is_empty() && canonical != cidr.text() => {
            cidr.invalid(errors, &format!("must be in canonical form ({canonical:?})"));
        }
        _ => errors.append(wrong),
    }
}

/// One range, or one of each family.
fn ranges(cidrs: &At<'_>, errors: &mut ErrorList) {
    if !cidrs.required(errors, "at least one CIDR required") {
        return;
    }
    let all = cidrs.items();
    if all.len() > RANGES_MAX {
        return cidrs.invalid(errors, "may only hold up to 2 values");
    }
    all.iter().for_each(|cidr| range(cidr, errors));
    let families: Vec<bool> =
        all.iter().filter_map(|cidr| parse_cidr(cidr.text())).map(|(address, _)| address.is_ipv4()).collect();
    if let [first, second] = families[..]
        && first == second
    {
        let detail = "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64";
        cidrs.invalid(errors, detail);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn cidr(cidrs: &[&str]) -> Value {
        json!({"spec": {"cidrs": cidrs}})
    }

    fn causes(errors: &ErrorList) -> Vec<String> {
        errors.iter().map(|error| format!("{} {}", error.kind.reason(), error.field)).collect()
    }

    #[test]
    fn a_second_range_is_of_the_other_family() {
        for (ranges, expected) in [
            (&["10.0.0.0/16", "fd00::/112"][..], vec![]),
            (&["10.0.0.0/16", "10.1.0.0/16"], vec!["FieldValueInvalid spec.cidrs"]),
            (&["10.0.0.0/16", "10.1.0.0/16", "x"], vec!["FieldValueInvalid spec.cidrs"]),
            (&["FD00::/112"], vec!["FieldValueInvalid spec.cidrs[0]"]),
            (&[], vec!["FieldValueRequired spec.cidrs"]),
        ] {
            assert_eq!(causes(&ServiceCidr.validate(&cidr(ranges))), expected);
        }
    }

    #[test]
    fn a_range_stays_and_one_may_join_it() {
        for (new, old, expected) in [
            (&["10.0.0.0/16", "fd00::/112"][..], &["10.0.0.0/16"][..], vec![]),
            (&["10.1.0.0/16"], &["10.0.0.0/16"], vec!["FieldValueInvalid spec.cidrs[0]"]),
            (&["10.0.0.0/16"], &["10.0.0.0/16", "fd00::/112"], vec!["FieldValueInvalid spec.cidrs"]),
        ] {
            assert_eq!(causes(&ServiceCidr.validate_update(&cidr(new), &cidr(old))), expected);
        }
    }
}
