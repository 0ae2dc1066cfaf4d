//! Webhooks that only say yes or no: all asked at the same time.

use std::time::Instant;

use apimachinery::Status;
use async_trait::async_trait;
use futures::future::join_all;

use super::ask::{ask, count, failing_open};
use super::hook::Hook;
use crate::matching::{Target, is_exempt};
use crate::{Plugin, Request};

pub struct ValidatingAdmissionWebhook;

#[async_trait]
impl Plugin for ValidatingAdmissionWebhook {
    fn name(&self) -> &'static str {
        "ValidatingAdmissionWebhook"
    }

    async fn validate(&self, request: &Request<'_>) -> Result<(), Status> {
        let hooks = request.services.validating.list();
        if hooks.is_empty() || is_exempt(request) {
            return Ok(());
        }
        let mut concerned = Vec::new();
        for (order, hook) in hooks.iter().enumerate() {
            if let Some(target) = hook.concerns(request)? {
                concerned.push((order, hook, target));
            }
        }
        let asked = concerned.iter().map(|(order, hook, target)| consult(hook, *order, request, target));
        join_all(asked).await.into_iter().collect()
    }
}

async fn consult(hook: &Hook, order: usize, request: &Request<'_>, target: &Target) -> Result<(), Status> {
    let began = Instant::now();
    let answer = ask(hook, request, target, false).await;
    count(hook, request, "validating", began, answer.as_ref().err());
    match answer {
        Ok(_) => Ok(()),
        Err(error) if failing_open(hook, &error) => {
            let key = format!("failed-open.validating.webhook.admission.k8s.io/round_0_index_{order}");
            request.annotate(&key, hook.name.as_str());
            Ok(())
        }
        Err(error) => Err(error.to_status()),
    }
}
