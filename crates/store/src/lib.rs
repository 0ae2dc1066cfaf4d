//! A revisioned key-value store with watch: one commit log, one read model
