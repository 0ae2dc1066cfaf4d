//! Which table speaks of which definitions.

pub(super) const SHARED: &str = include_str!("../../docs/shared.txt");

/// The texts by the beginning of the definitions' names.
pub(super) const TABLES: [(&str, &[&str]); 24] = [
    ("io.k8s.api.admissionregistration.", &[include_str!("../../docs/admissionregistration.txt")]),
    ("io.k8s.api.apiserverinternal.", &[include_str!("../../docs/apiserverinternal.txt")]),
    ("io.k8s.api.apps.", &[include_str!("../../docs/apps.txt")]),
    ("io.k8s.api.authentication.", &[include_str!("../../docs/authentication.txt")]),
    ("io.k8s.api.authorization.", &[include_str!("../../docs/authorization.txt")]),
    ("io.k8s.api.autoscaling.", &[include_str!("../../docs/autoscaling.txt")]),
    ("io.k8s.api.batch.", &[include_str!("../../docs/batch.txt")]),
    ("io.k8s.api.certificates.", &[include_str!("../../docs/certificates.txt")]),
    ("io.k8s.api.coordination.", &[include_str!("../../docs/coordination.txt")]),
    (
        "io.k8s.api.core.",
        &[
            include_str!("../../docs/core.txt"),
            include_str!("../../docs/core-pods.txt"),
            include_str!("../../docs/core-storage.txt"),
        ],
    ),
    ("io.k8s.api.discovery.", &[include_str!("../../docs/discovery.txt")]),
    ("io.k8s.api.events.", &[include_str!("../../docs/events.txt")]),
    ("io.k8s.api.flowcontrol.", &[include_str!("../../docs/flowcontrol.txt")]),
    ("io.k8s.api.networking.", &[include_str!("../../docs/networking.txt")]),
    ("io.k8s.api.node.", &[include_str!("../../docs/node.txt")]),
    ("io.k8s.api.policy.", &[include_str!("../../docs/policy.txt")]),
    ("io.k8s.api.rbac.", &[include_str!("../../docs/rbac.txt")]),
    ("io.k8s.api.resource.", &[include_str!("../../docs/resource.txt")]),
    ("io.k8s.api.scheduling.", &[include_str!("../../docs/scheduling.txt")]),
    ("io.k8s.api.storage.", &[include_str!("../../docs/storage.txt")]),
    ("io.k8s.api.storagemigration.", &[include_str!("../../docs/storagemigration.txt")]),
    ("io.k8s.apiextensions-apiserver.", &[include_str!("../../docs/apiextensions.txt")]),
    ("io.k8s.apimachinery.", &[include_str!("../../docs/meta.txt")]),
    ("io.k8s.kube-aggregator.", &[include_str!("../../docs/apiregistration.txt")]),
];
