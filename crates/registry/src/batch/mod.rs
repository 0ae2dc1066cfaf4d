//! The group `batch`.

mod cron_job;
mod job;
mod policies;

pub use cron_job::CronJob;
pub use job::Job;
