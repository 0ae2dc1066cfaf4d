//! How often metadata is judged on an update. Upstream tells every complaint each time.

use apimachinery::validation::object_meta::Judged;

use crate::strategy::Resource;

/// What most kinds do: their own rules judge a change, and then the whole as new.
const MOST: Judged = Judged { lists: 4, changes: 2 };
const STATUS: Judged = Judged { lists: 3, changes: 2 };

/// Group, resource, lists and changes where it is not what most kinds do.
const OTHERS: &[(&str, &str, usize, usize)] = &[
    ("", "events", 2, 1),
    ("", "limitranges", 3, 1),
    ("", "persistentvolumes", 4, 1),
    ("", "podtemplates", 3, 2),
    ("", "replicationcontrollers", 3, 2),
    ("", "resourcequotas", 3, 2),
    ("", "services", 3, 2),
    ("admissionregistration.k8s.io", "mutatingadmissionpolicies", 3, 1),
    ("admissionregistration.k8s.io", "mutatingadmissionpolicybindings", 3, 1),
    ("admissionregistration.k8s.io", "mutatingwebhookconfigurations", 3, 1),
    ("admissionregistration.k8s.io", "validatingadmissionpolicies", 3, 1),
    ("admissionregistration.k8s.io", "validatingadmissionpolicybindings", 3, 1),
    ("admissionregistration.k8s.io", "validatingwebhookconfigurations", 3, 1),
    ("apiextensions.k8s.io", "customresourcedefinitions", 3, 2),
    ("apps", "daemonsets", 3, 2),
    ("apps", "deployments", 3, 2),
    ("apps", "replicasets", 3, 2),
    ("apps", "statefulsets", 3, 2),
    ("autoscaling", "horizontalpodautoscalers", 3, 2),
    ("batch", "cronjobs", 3, 2),
    ("coordination.k8s.io", "leases", 3, 2),
    ("discovery.k8s.io", "endpointslices", 3, 1),
    ("events.k8s.io", "events", 3, 2),
    ("flowcontrol.apiserver.k8s.io", "flowschemas", 3, 1),
    ("flowcontrol.apiserver.k8s.io", "prioritylevelconfigurations", 3, 1),
    ("networking.k8s.io", "networkpolicies", 3, 2),
    ("networking.k8s.io", "servicecidrs", 3, 2),
    ("policy", "poddisruptionbudgets", 2, 1),
    ("resource.k8s.io", "resourceslices", 3, 2),
    ("scheduling.k8s.io", "priorityclasses", 3, 2),
    ("storage.k8s.io", "csidrivers", 3, 2),
    ("storage.k8s.io", "csinodes", 3, 1),
    ("storage.k8s.io", "volumeattachments", 3, 1),
];

/// The same for the endpoints of statuses.
const STATUSES: &[(&str, &str, usize, usize)] = &[
    ("admissionregistration.k8s.io", "validatingadmissionpolicies", 2, 1),
    ("batch", "cronjobs", 2, 1),
    ("certificates.k8s.io", "certificatesigningrequests", 4, 2),
    ("policy", "poddisruptionbudgets", 2, 1),
    ("storage.k8s.io", "volumeattachments", 2, 1),
];

/// How often the rules for a change of the object judge its metadata.
pub fn metadata_judged(resource: &Resource) -> Judged {
    if resource.custom.is_some() { STATUS } else { found(OTHERS, resource).unwrap_or(MOST) }
}

/// How often those for a change of its status do.
pub fn status_metadata_judged(resource: &Resource) -> Judged {
    found(STATUSES, resource).unwrap_or(STATUS)
}

fn found(table: &[(&str, &str, usize, usize)], resource: &Resource) -> Option<Judged> {
    let row = table.iter().find(|(group, name, ..)| (*group, *name) == (resource.group, resource.name));
    row.map(|(_, _, lists, changes)| Judged { lists: *lists, changes: *changes })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_the_tables_is_served() {
        for (group, name, ..) in OTHERS.iter().chain(STATUSES) {
            let served = crate::resources().iter().any(|resource| (resource.group, resource.name) == (*group, *name));
            assert!(served, "{group} {name}");
        }
    }
}
