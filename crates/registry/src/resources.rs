//! The ordered slice of everything that is served.

use std::sync::{Arc, LazyLock};

use crate::strategy::{Resource, Schema, Strategy, StrategyRef, Subresource};
use crate::{
    admissionregistration, apiextensions, apps, autoscaling, batch, coordination, core, discovery, events, networking,
    node, others, policy, rbac, resource as dynamic, scheduling, storage,
};

type Entry = (&'static str, &'static str, &'static str, &'static dyn Strategy);

/// Group, version, resource and strategy. Facts of discovery are joined by these names.
const ENTRIES: &[Entry] = &[
    ("", "v1", "bindings", &others::Review),
    ("", "v1", "componentstatuses", &others::ComponentStatus),
    ("", "v1", "configmaps", &core::ConfigMap),
    ("", "v1", "endpoints", &core::Endpoints),
    ("", "v1", "events", &events::CoreEvent),
    ("", "v1", "limitranges", &core::LimitRange),
    ("", "v1", "namespaces", &core::Namespace),
    ("", "v1", "nodes", &core::Node),
    ("", "v1", "persistentvolumeclaims", &core::PersistentVolumeClaim),
    ("", "v1", "persistentvolumes", &core::PersistentVolume),
    ("", "v1", "pods", &core::Pod),
    ("", "v1", "podtemplates", &core::PodTemplate),
    ("", "v1", "replicationcontrollers", &core::ReplicationController),
    ("", "v1", "resourcequotas", &core::ResourceQuota),
    ("", "v1", "secrets", &core::Secret),
    ("", "v1", "serviceaccounts", &core::ServiceAccount),
    ("", "v1", "services", &core::Service),
    ("apiregistration.k8s.io", "v1", "apiservices", &others::ApiService),
    ("apps", "v1", "controllerrevisions", &apps::ControllerRevision),
    ("apps", "v1", "daemonsets", &apps::DaemonSet),
    ("apps", "v1", "deployments", &apps::Deployment),
    ("apps", "v1", "replicasets", &apps::ReplicaSet),
    ("apps", "v1", "statefulsets", &apps::StatefulSet),
    ("events.k8s.io", "v1", "events", &events::Event),
    ("authentication.k8s.io", "v1", "selfsubjectreviews", &others::Review),
    ("authentication.k8s.io", "v1", "tokenreviews", &others::Review),
    ("authorization.k8s.io", "v1", "localsubjectaccessreviews", &others::Review),
    ("authorization.k8s.io", "v1", "selfsubjectaccessreviews", &others::Review),
    ("authorization.k8s.io", "v1", "selfsubjectrulesreviews", &others::Review),
    ("authorization.k8s.io", "v1", "subjectaccessreviews", &others::Review),
    ("autoscaling", "v2", "horizontalpodautoscalers", &autoscaling::HorizontalPodAutoscaler),
    ("autoscaling", "v1", "horizontalpodautoscalers", &autoscaling::HorizontalPodAutoscalerV1),
    ("batch", "v1", "cronjobs", &batch::CronJob),
    ("batch", "v1", "jobs", &batch::Job),
    ("certificates.k8s.io", "v1", "certificatesigningrequests", &others::CertificateSigningRequest),
    ("networking.k8s.io", "v1", "ingressclasses", &networking::IngressClass),
    ("networking.k8s.io", "v1", "ingresses", &networking::Ingress),
    ("networking.k8s.io", "v1", "ipaddresses", &networking::IpAddress),
    ("networking.k8s.io", "v1", "networkpolicies", &networking::NetworkPolicy),
    ("networking.k8s.io", "v1", "servicecidrs", &networking::ServiceCidr),
    ("policy", "v1", "poddisruptionbudgets", &policy::PodDisruptionBudget),
    ("rbac.authorization.k8s.io", "v1", "clusterrolebindings", &rbac::ClusterRoleBinding),
    ("rbac.authorization.k8s.io", "v1", "clusterroles", &rbac::ClusterRole),
    ("rbac.authorization.k8s.io", "v1", "rolebindings", &rbac::RoleBinding),
    ("rbac.authorization.k8s.io", "v1", "roles", &rbac::Role),
    ("storage.k8s.io", "v1", "csidrivers", &storage::CsiDriver),
    ("storage.k8s.io", "v1", "csinodes", &storage::CsiNode),
    ("storage.k8s.io", "v1", "csistoragecapacities", &storage::CsiStorageCapacity),
    ("storage.k8s.io", "v1", "storageclasses", &storage::StorageClass),
    ("storage.k8s.io", "v1", "volumeattachments", &storage::VolumeAttachment),
    ("storage.k8s.io", "v1", "volumeattributesclasses", &storage::VolumeAttributesClass),
    (
        "admissionregistration.k8s.io",
        "v1",
        "mutatingadmissionpolicies",
        &admissionregistration::MutatingAdmissionPolicy,
    ),
    (
        "admissionregistration.k8s.io",
        "v1",
        "mutatingadmissionpolicybindings",
        &admissionregistration::MutatingAdmissionPolicyBinding,
    ),
    (
        "admissionregistration.k8s.io",
        "v1",
        "mutatingwebhookconfigurations",
        &admissionregistration::MutatingWebhookConfiguration,
    ),
    (
        "admissionregistration.k8s.io",
        "v1",
        "validatingadmissionpolicies",
        &admissionregistration::ValidatingAdmissionPolicy,
    ),
    (
        "admissionregistration.k8s.io",
        "v1",
        "validatingadmissionpolicybindings",
        &admissionregistration::ValidatingAdmissionPolicyBinding,
    ),
    (
        "admissionregistration.k8s.io",
        "v1",
        "validatingwebhookconfigurations",
        &admissionregistration::ValidatingWebhookConfiguration,
    ),
    ("apiextensions.k8s.io", "v1", "customresourcedefinitions", &apiextensions::CustomResourceDefinition),
    ("scheduling.k8s.io", "v1", "priorityclasses", &scheduling::PriorityClass),
    ("coordination.k8s.io", "v1", "leases", &coordination::Lease),
    ("node.k8s.io", "v1", "runtimeclasses", &node::RuntimeClass),
    ("discovery.k8s.io", "v1", "endpointslices", &discovery::EndpointSlice),
    ("resource.k8s.io", "v1", "deviceclasses", &dynamic::DeviceClass),
    ("resource.k8s.io", "v1", "resourceclaims", &dynamic::ResourceClaim),
    ("resource.k8s.io", "v1", "resourceclaimtemplates", &dynamic::ResourceClaimTemplate),
    ("resource.k8s.io", "v1", "resourceslices", &dynamic::ResourceSlice),
    ("flowcontrol.apiserver.k8s.io", "v1", "flowschemas", &others::FlowSchema),
    ("flowcontrol.apiserver.k8s.io", "v1", "prioritylevelconfigurations", &others::PriorityLevelConfiguration),
];

/// Everything that is served; within a group version in discovery's order.
pub fn resources() -> &'static [Arc<Resource>] {
    static RESOURCES: LazyLock<Vec<Arc<Resource>>> =
        LazyLock::new(|| ENTRIES.iter().map(resolve).map(Arc::new).collect());
    &RESOURCES
}

/// The resource of that plural name.
pub fn resource(group: &str, version: &str, name: &str) -> Option<&'static Arc<Resource>> {
    resources().iter().find(|resource| (resource.group, resource.version, resource.name) == (group, version, name))
}

/// The stored or reviewed resource of that kind.
pub fn by_kind(group: &str, version: &str, kind: &str) -> Option<&'static Arc<Resource>> {
    resources().iter().find(|resource| (resource.group, resource.version, resource.kind) == (group, version, kind))
}

fn resolve(entry: &Entry) -> Resource {
    let (group, version, name, strategy) = *entry;
    let facts = api::discovery::resource(group, version, name).expect("every entry is in the discovery facts");
    let schema = api::schema::kind(group, version, facts.kind).expect("every kind is in the schema tables");
    let subresources: Vec<Subresource> = facts.subresources.iter().map(subresource).collect();
    Resource {
        group,
        version,
        kind: facts.kind,
        name,
        singular: facts.singular,
        short_names: facts.short_names.to_vec(),
        categories: facts.categories.to_vec(),
        namespaced: facts.namespaced,
        verbs: facts.verbs,
        subresources,
        schema: Schema::Definition(schema.name),
        storage: storage_of(group, version, name),
        custom: None,
        strategy: StrategyRef::BuiltIn(strategy),
        storage_version_hash: facts.storage_version_hash.into(),
        deprecation: deprecation(group, name).into(),
    }
}

fn subresource(facts: &api::discovery::Subresource) -> Subresource {
    Subresource { name: facts.name, group: facts.group, version: facts.version, kind: facts.kind, verbs: facts.verbs }
}

fn deprecation(group: &str, name: &str) -> &'static str {
    match (group, name) {
        ("", "componentstatuses") => "v1 ComponentStatus is deprecated in v1.19+",
        ("", "endpoints") => "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice",
        _ => "",
    }
}

/// Resources whose objects another resource keeps.
fn storage_of(group: &str, version: &str, name: &str) -> Option<(&'static str, &'static str)> {
    match (group, version, name) {
        ("events.k8s.io", _, "events") => Some(("", "events")),
        ("autoscaling", "v1", "horizontalpodautoscalers") => Some(("autoscaling", "horizontalpodautoscalers")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_resource_resolves_and_is_there_once() {
        let mut names: Vec<_> = resources().iter().map(|r| (r.group, r.version, r.name)).collect();
        assert!(names.len() >= 60);
        names.sort_unstable();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]));
    }

    /// The object of a kind with nothing set.
    fn zero(resource: &Resource) -> serde_json::Value {
        let gvk = apimachinery::Gvk::new(resource.group, resource.version, resource.kind);
        let mut object = serde_json::json!({"apiVersion": gvk.api_version(), "kind": gvk.kind});
        let node = resource.schema.node();
        apimachinery::strict::normalize(&mut object, node).expect("fits");
        object
    }

    #[test]
    fn an_empty_object_of_every_kind_is_judged() {
        let groups = [];
        let context = crate::Context { now: "", namespace: "", user: "", user_uid: "", user_groups: &groups };
        for resource in resources() {
            let (mut object, old, strategy) = (zero(resource), zero(resource), &resource.strategy);
            strategy.default(&mut object);
            let defaulted = object.clone();
            strategy.default(&mut object);
            assert_eq!(object, defaulted, "defaults of {} are idempotent", resource.name);
            strategy.prepare_for_create(&mut object, &context);
            let _ = strategy.validate(&object);
            let mut new = object.clone();
            strategy.prepare_for_update(&mut new, &old, &context);
            let _ = (strategy.validate_update(&new, &old), strategy.warnings(&new, Some(&old)));
            strategy.prepare_for_status_update(&mut new, &object);
            let _ = (strategy.validate_status_update(&new, &object), strategy.fields(&new));
            let served = strategy.from_storage(strategy.to_storage(object.clone()));
            assert_eq!(served["kind"], object["kind"]);
        }
    }

    #[test]
    fn a_row_has_as_many_cells_as_there_are_columns() {
        for resource in resources().iter().filter(|resource| resource.verbs.contains(&"list")) {
            let cells = resource.strategy.row(&zero(resource), 0).len();
            assert_eq!(cells, resource.strategy.columns().len(), "{}", resource.name);
        }
    }
}
