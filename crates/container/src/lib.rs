//! Containers: sandboxes, the per-pod monitor and the OCI runtime in a re-executed process
