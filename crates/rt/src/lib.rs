//! TaskSet, shutdown, backoff and clock: how Coracle runs tasks
