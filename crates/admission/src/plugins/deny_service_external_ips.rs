//! Services get no new external addresses; those that have some keep them.

use apimachinery::Status;
use async_trait::async_trait;
use serde_json::Value;

use crate::{Operation, Plugin, Request};

pub struct DenyServiceExternalIPs;

#[async_trait]
impl Plugin for DenyServiceExternalIPs {
    fn name(&self) -> &'static str {
        "DenyServiceExternalIPs"
    }

    async fn validate(&self, request: &Request<'_>) -> Result<(), Status> {
        let writes = matches!(request.operation, Operation::Create | Operation::Update);
        if !writes || !request.is_resource("", "services") || !request.subresource.is_empty() {
            return Ok(());
        }
        let Some(service) = request.object.as_deref() else { return Ok(()) };
        if has_new_address(service, request.old) {
            return Err(request.forbidden("Use of external IPs is denied by admission control"));
        }
        Ok(())
    }
}

fn has_new_address(service: &Value, old: Option<&Value>) -> bool {
    let known: Vec<&Value> = old.into_iter().flat_map(addresses).collect();
    addresses(service).any(|address| !known.contains(&address))
}

fn addresses(service: &Value) -> impl Iterator<Item = &Value> {
    service["spec"]["externalIPs"].as_array().into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_addresses_that_were_there_may_stay() {
        let check = |new: &[&str], old: Option<&[&str]>, expected: bool| {
            let service = |ips: &[&str]| json!({"spec": {"externalIPs": ips}});
            let stored = old.map(service);
            assert_eq!(has_new_address(&service(new), stored.as_ref()), expected, "{new:?} over {old:?}");
        };
        check(&[], None, false);
        check(&["1.1.1.1"], None, true);
        check(&[], Some(&["1.1.1.1"]), false);
        check(&["1.1.1.1"], Some(&[]), true);
        check(&["1.1.1.1", "2.2.2.2"], Some(&["2.2.2.2", "1.1.1.1"]), false);
        check(&["1.1.1.1"], Some(&["1.1.1.1", "2.2.2.2"]), false);
        check(&["1.1.1.1", "3.3.3.3"], Some(&["1.1.1.1", "2.2.2.2"]), true);
        assert!(!has_new_address(&json!({"spec": {}}), None));
    }
}
