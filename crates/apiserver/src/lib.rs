//! The Kubernetes API over HTTP: one pipeline for every resource
