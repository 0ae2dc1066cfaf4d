//! Authentication, RBAC authorization, PKI and service-account tokens
