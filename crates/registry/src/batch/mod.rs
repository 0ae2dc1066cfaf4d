//! The group `batch`.

mod cron_job;
mod indexes;
mod job;
mod policies;
mod status;
mod template_change;

pub use cron_job::CronJob;
pub use job::Job;

#[cfg(test)]
mod tests;
