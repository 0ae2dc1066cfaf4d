//! How often metadata is judged on an update.

use crate::strategy::Resource;

/// Most kinds judge the metadata of a change as that of a new object too.
const MOST: usize = 2;

/// Group, resource, and how often where it is not what most kinds do.
const OTHERS: &[(&str, &str, usize)] = &[
    ("", "limitranges", 1),
    ("", "resourcequotas", 1),
    ("admissionregistration.k8s.io", "mutatingadmissionpolicies", 1),
    ("admissionregistration.k8s.io", "mutatingadmissionpolicybindings", 1),
    ("admissionregistration.k8s.io", "mutatingwebhookconfigurations", 1),
    ("admissionregistration.k8s.io", "validatingadmissionpolicies", 1),
    ("admissionregistration.k8s.io", "validatingadmissionpolicybindings", 1),
    ("admissionregistration.k8s.io", "validatingwebhookconfigurations", 1),
    ("apiextensions.k8s.io", "customresourcedefinitions", 1),
    ("apps", "controllerrevisions", 1),
    ("apps", "deployments", 1),
    ("autoscaling", "horizontalpodautoscalers", 1),
    ("batch", "cronjobs", 1),
    ("coordination.k8s.io", "leases", 1),
    ("flowcontrol.apiserver.k8s.io", "flowschemas", 1),
    ("flowcontrol.apiserver.k8s.io", "prioritylevelconfigurations", 1),
    ("networking.k8s.io", "ingresses", 1),
    ("networking.k8s.io", "servicecidrs", 1),
    ("policy", "poddisruptionbudgets", 0),
    ("resource.k8s.io", "deviceclasses", 1),
    ("resource.k8s.io", "resourceclaims", 1),
    ("resource.k8s.io", "resourceclaimtemplates", 1),
    ("resource.k8s.io", "resourceslices", 1),
    ("scheduling.k8s.io", "priorityclasses", 1),
];

/// How often the kind's own rules for a change judge the lists and maps of metadata, beside those that all kinds have.
/// Upstream tells every complaint each time.
pub fn metadata_judged_again(resource: &Resource) -> usize {
    if resource.custom.is_some() {
        return 1;
    }
    let found = OTHERS.iter().find(|(group, name, _)| (*group, *name) == (resource.group, resource.name));
    found.map_or(MOST, |(_, _, times)| *times)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_the_table_is_served() {
        for (group, name, _) in OTHERS {
            let served = crate::resources().iter().any(|resource| (resource.group, resource.name) == (*group, *name));
            assert!(served, "{group} {name}");
        }
    }
}
