//! Flags of how audit events are delivered, under kube-apiserver's names.

use std::time::Duration;

use anyhow::Context;
use apiserver::{AuditDelivery, Batching, Delivery, Throttle, Truncation};
use clap::{Args, ValueEnum};

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum LogMode {
    Batch,
    Blocking,
}

#[derive(Args)]
pub struct AuditFlags {
    /// Whether a request waits until its event is in the log
    #[arg(long, value_enum, default_value_t = LogMode::Blocking)]
    audit_log_mode: LogMode,
    /// Events that may wait for the log; more are dropped
    #[arg(long, default_value_t = 10_000)]
    audit_log_batch_buffer_size: usize,
    #[arg(long, default_value_t = 1)]
    audit_log_batch_max_size: usize,
    #[arg(long, default_value = "0s")]
    audit_log_batch_max_wait: String,
    #[arg(long)]
    audit_log_batch_throttle_enable: bool,
    #[arg(long, default_value_t = 0.0)]
    audit_log_batch_throttle_qps: f64,
    #[arg(long, default_value_t = 0)]
    audit_log_batch_throttle_burst: u32,
    /// Leave objects out of events that are too large
    #[arg(long)]
    audit_log_truncate_enabled: bool,
    #[arg(long, default_value_t = 10 << 20)]
    audit_log_truncate_max_batch_size: usize,
    #[arg(long, default_value_t = 100 << 10)]
    audit_log_truncate_max_event_size: usize,
    /// Events that may wait for the webhook; more are dropped
    #[arg(long, default_value_t = 10_000)]
    audit_webhook_batch_buffer_size: usize,
    #[arg(long, default_value_t = 400)]
    audit_webhook_batch_max_size: usize,
    #[arg(long, default_value = "30s")]
    audit_webhook_batch_max_wait: String,
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1, default_missing_value = "true")]
    audit_webhook_batch_throttle_enable: bool,
    #[arg(long, default_value_t = 10.0)]
    audit_webhook_batch_throttle_qps: f64,
    #[arg(long, default_value_t = 15)]
    audit_webhook_batch_throttle_burst: u32,
    /// Leave objects out of events that are too large
    #[arg(long)]
    audit_webhook_truncate_enabled: bool,
    #[arg(long, default_value_t = 10 << 20)]
    audit_webhook_truncate_max_batch_size: usize,
    #[arg(long, default_value_t = 100 << 10)]
    audit_webhook_truncate_max_event_size: usize,
}

impl AuditFlags {
    pub fn delivery(&self) -> anyhow::Result<AuditDelivery> {
        let log = Batching {
            buffer_size: self.audit_log_batch_buffer_size,
            size_max: self.audit_log_batch_max_size.max(1),
            wait_max: duration(&self.audit_log_batch_max_wait)?,
            throttle: throttle(
                self.audit_log_batch_throttle_enable,
                self.audit_log_batch_throttle_qps,
                self.audit_log_batch_throttle_burst,
            )?,
        };
        let webhook = Batching {
            buffer_size: self.audit_webhook_batch_buffer_size,
            size_max: self.audit_webhook_batch_max_size.max(1),
            wait_max: duration(&self.audit_webhook_batch_max_wait)?,
            throttle: throttle(
                self.audit_webhook_batch_throttle_enable,
                self.audit_webhook_batch_throttle_qps,
                self.audit_webhook_batch_throttle_burst,
            )?,
        };
        let log_truncation = Truncation {
            event_bytes_max: self.audit_log_truncate_max_event_size,
            batch_bytes_max: self.audit_log_truncate_max_batch_size,
        };
        let webhook_truncation = Truncation {
            event_bytes_max: self.audit_webhook_truncate_max_event_size,
            batch_bytes_max: self.audit_webhook_truncate_max_batch_size,
        };
        Ok(AuditDelivery {
            log: Delivery {
                batching: (self.audit_log_mode == LogMode::Batch).then_some(log),
                truncation: self.audit_log_truncate_enabled.then_some(log_truncation),
            },
            webhook,
            webhook_truncation: self.audit_webhook_truncate_enabled.then_some(webhook_truncation),
        })
    }
}

fn throttle(enabled: bool, qps: f64, burst: u32) -> anyhow::Result<Option<Throttle>> {
    if enabled {
        anyhow::ensure!(qps > 0.0, "invalid audit batch throttle QPS {qps}, must be a positive number");
        anyhow::ensure!(burst > 0, "invalid audit batch throttle burst {burst}, must be a positive number");
    }
    Ok(enabled.then_some(Throttle { qps, burst }))
}

/// As Go writes it: `30s`, `1m30s`, `500ms`.
fn duration(text: &str) -> anyhow::Result<Duration> {
    let span: jiff::SignedDuration = text.parse().with_context(|| format!("{text:?} is no duration"))?;
    Duration::try_from(span).with_context(|| format!("{text:?} lies in the past"))
}
