//! The Kubernetes objects: schema tables generated from the published schema, and typed views
