"""Python's client: typed, custom and dynamic objects. Reads KUBECONFIG; an assertion that fails ends it."""

from kubernetes import client, config, dynamic, watch
from kubernetes.client import ApiException

GROUP, VERSION, NAMESPACE, PLURAL = "python.example.org", "v1", "default", "crates"
LABELS = {"app": "python"}

DEFINITION = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": f"{PLURAL}.{GROUP}"},
    "spec": {
        "group": GROUP,
        "scope": "Namespaced",
        "names": {"plural": PLURAL, "singular": "crate", "kind": "Crate", "listKind": "CrateList"},
        "versions": [
            {
                "name": VERSION,
                "served": True,
                "storage": True,
                "subresources": {
                    "status": {},
                    "scale": {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"},
                },
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "properties": {
                            "spec": {
                                "type": "object",
                                "properties": {
                                    "size": {"type": "integer", "minimum": 1},
                                    "replicas": {"type": "integer", "default": 1},
                                },
                            },
                            "status": {"type": "object", "properties": {"replicas": {"type": "integer"}}},
                        },
                    }
                },
            }
        ],
    },
}


def refused(status, call, *arguments, **options):
    try:
        call(*arguments, **options)
    except ApiException as error:
        assert error.status == status, error
        return error
    raise AssertionError(f"not refused with {status}")


def core():
    api = client.CoreV1Api()
    body = client.V1ConfigMap(metadata=client.V1ObjectMeta(name="one", labels=LABELS), data={"key": "value"})
    made = api.create_namespaced_config_map(NAMESPACE, body)
    assert made.metadata.uid and made.data == {"key": "value"}
    assert "already exists" in refused(409, api.create_namespaced_config_map, NAMESPACE, body).body
    patched = api.patch_namespaced_config_map("one", NAMESPACE, {"data": {"more": "text", "key": None}})
    assert patched.data == {"more": "text"}, patched.data
    made.data = {"late": "write"}
    refused(409, api.replace_namespaced_config_map, "one", NAMESPACE, made)
    listed = api.list_namespaced_config_map(NAMESPACE, label_selector="app=python")
    assert [item.metadata.name for item in listed.items] == ["one"]
    secret = client.V1Secret(metadata=client.V1ObjectMeta(name="one"), string_data={"password": "x"})
    assert api.create_namespaced_secret(NAMESPACE, secret).data == {"password": "eA=="}
    watched(api, listed.metadata.resource_version)
    api.delete_namespaced_config_map("one", NAMESPACE)
    refused(404, api.read_namespaced_config_map, "one", NAMESPACE)


def watched(api, version):
    events = []
    api.create_namespaced_config_map(NAMESPACE, {"metadata": {"name": "two", "labels": LABELS}})
    api.patch_namespaced_config_map("two", NAMESPACE, {"metadata": {"labels": {"app": "other"}}})
    stream = watch.Watch().stream(
        api.list_namespaced_config_map,
        NAMESPACE,
        label_selector="app=python",
        resource_version=version,
        timeout_seconds=10,
    )
    for event in stream:
        events.append((event["type"], event["object"].metadata.name))
        if len(events) == 2:
            break
    assert events == [("ADDED", "two"), ("DELETED", "two")], events


def apps():
    api = client.AppsV1Api()
    container = client.V1Container(name="web", image="example.org/web:1", ports=[client.V1ContainerPort(container_port=80)])
    template = client.V1PodTemplateSpec(
        metadata=client.V1ObjectMeta(labels=LABELS), spec=client.V1PodSpec(containers=[container])
    )
    spec = client.V1DeploymentSpec(replicas=1, selector=client.V1LabelSelector(match_labels=LABELS), template=template)
    body = client.V1Deployment(metadata=client.V1ObjectMeta(name="web"), spec=spec)
    made = api.create_namespaced_deployment(NAMESPACE, body)
    assert made.spec.strategy.rolling_update.max_surge == "25%"
    api.patch_namespaced_deployment_scale("web", NAMESPACE, {"spec": {"replicas": 2}})
    assert api.read_namespaced_deployment("web", NAMESPACE).spec.replicas == 2
    # Lists are merged by their keys: the other container stays.
    more = {"spec": {"template": {"spec": {"containers": [{"name": "sidecar", "image": "example.org/side:1"}]}}}}
    merged = api.patch_namespaced_deployment("web", NAMESPACE, more)
    assert [one.name for one in merged.spec.template.spec.containers] == ["sidecar", "web"]
    wait(lambda: len(api.list_namespaced_replica_set(NAMESPACE, label_selector="app=python").items) == 2)
    api.delete_namespaced_deployment("web", NAMESPACE, propagation_policy="Foreground")
    wait(lambda: not api.list_namespaced_deployment(NAMESPACE).items)
    assert not api.list_namespaced_replica_set(NAMESPACE).items


def wait(condition, timeout_seconds=30):
    """Asks again at each event of the cluster, of which there are some."""
    if condition():
        return
    core_api = client.CoreV1Api()
    stream = watch.Watch().stream(core_api.list_event_for_all_namespaces, timeout_seconds=timeout_seconds)
    for _ in stream:
        if condition():
            return
    assert condition()


def custom():
    client.ApiextensionsV1Api().create_custom_resource_definition(DEFINITION)
    name = DEFINITION["metadata"]["name"]
    for event in watch.Watch().stream(
        client.ApiextensionsV1Api().list_custom_resource_definition, field_selector=f"metadata.name={name}", timeout_seconds=30
    ):
        conditions = event["object"].status.conditions or []
        if any(one.type == "Established" and one.status == "True" for one in conditions):
            break
    api, where = client.CustomObjectsApi(), (GROUP, VERSION, NAMESPACE, PLURAL)
    body = {"apiVersion": f"{GROUP}/{VERSION}", "kind": "Crate", "metadata": {"name": "a"}, "spec": {"size": 3}}
    made = api.create_namespaced_custom_object(*where, body)
    assert made["spec"] == {"size": 3, "replicas": 1}, made
    refused(422, api.patch_namespaced_custom_object, *where, "a", {"spec": {"size": 0}})
    api.patch_namespaced_custom_object_status(*where, "a", {"status": {"replicas": 1}})
    api.patch_namespaced_custom_object_scale(*where, "a", {"spec": {"replicas": 4}})
    scale = api.get_namespaced_custom_object_scale(*where, "a")
    assert scale["spec"] == {"replicas": 4} and scale["status"]["replicas"] == 1, scale
    made = api.get_namespaced_custom_object(*where, "a")
    made["spec"]["size"] = 5
    assert api.replace_namespaced_custom_object(*where, "a", made)["metadata"]["generation"] == 3
    assert [one["metadata"]["name"] for one in api.list_namespaced_custom_object(*where)["items"]] == ["a"]


def any_kind():
    any_client = dynamic.DynamicClient(client.ApiClient())
    crates = any_client.resources.get(api_version=f"{GROUP}/{VERSION}", kind="Crate")
    applied = crates.server_side_apply(
        name="b",
        namespace=NAMESPACE,
        field_manager="python",
        body={"apiVersion": f"{GROUP}/{VERSION}", "kind": "Crate", "metadata": {"name": "b"}, "spec": {"size": 2}},
    )
    assert applied.metadata.managedFields[0].operation == "Apply"
    assert sorted(one.metadata.name for one in crates.get(namespace=NAMESPACE).items) == ["a", "b"]
    for event in crates.watch(namespace=NAMESPACE, timeout=10):
        assert event["type"] == "ADDED"
        break
    crates.delete(namespace=NAMESPACE, label_selector="!none")
    assert crates.get(namespace=NAMESPACE).items == []
    node = any_client.resources.get(api_version="v1", kind="Node")
    assert not node.namespaced and node.get().items == []


if __name__ == "__main__":
    config.load_kube_config()
    for part in (core, apps, custom, any_kind):
        part()
        print(f"{part.__name__}: as expected")
