"""An operator on kopf with a definition of its own. Reads KUBECONFIG; an assertion that fails ends it."""

import asyncio
import threading

import kopf
from kubernetes import client, config, watch

GROUP, VERSION, NAMESPACE, PLURAL = "kopf.example.org", "v1", "default", "widgets"
WHERE = (GROUP, VERSION, NAMESPACE, PLURAL)
FINALIZER = "kopf.example.org/finalizer"
ANY = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}

DEFINITION = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": f"{PLURAL}.{GROUP}"},
    "spec": {
        "group": GROUP,
        "scope": "Namespaced",
        "names": {"plural": PLURAL, "singular": "widget", "kind": "Widget", "listKind": "WidgetList"},
        "versions": [
            {
                "name": VERSION,
                "served": True,
                "storage": True,
                "subresources": {"status": {}},
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "properties": {
                            "spec": {"type": "object", "properties": {"size": {"type": "integer"}}},
                            "status": ANY,
                        },
                    }
                },
            }
        ],
    },
}

seen = []


@kopf.on.login()
def login(**context):
    return kopf.login_with_kubeconfig(**context)


@kopf.on.startup()
def configure(settings, **_):
    settings.persistence.finalizer = FINALIZER


@kopf.on.create(GROUP, VERSION, PLURAL)
def created(spec, **_):
    seen.append("create")
    return {"size": spec["size"]}


@kopf.on.update(GROUP, VERSION, PLURAL)
def updated(spec, patch, **_):
    seen.append("update")
    patch.status["seen"] = spec["size"]


@kopf.on.resume(GROUP, VERSION, PLURAL)
def resumed(patch, **_):
    seen.append("resume")
    patch.status["resumed"] = True


@kopf.on.delete(GROUP, VERSION, PLURAL)
def deleted(**_):
    seen.append("delete")


class Operator:
    """Runs in a thread as long as the block."""

    def __enter__(self):
        self.stop, ready = threading.Event(), threading.Event()
        running = lambda: asyncio.run(
            kopf.operator(namespaces=[NAMESPACE], standalone=True, stop_flag=self.stop, ready_flag=ready)
        )
        self.thread = threading.Thread(target=running)
        self.thread.start()
        assert ready.wait(30), "the operator is ready"

    def __exit__(self, *_):
        self.stop.set()
        self.thread.join()


def until(condition):
    """The first state of the object that satisfies, or its deletion."""
    stream = watch.Watch().stream(client.CustomObjectsApi().list_namespaced_custom_object, *WHERE, timeout_seconds=30)
    for event in stream:
        if condition(event):
            return event["object"]
    raise AssertionError(f"not within 30 s; the operator saw {seen}")


def status(event):
    return event["object"].get("status", {})


def main():
    config.load_kube_config()
    client.ApiextensionsV1Api().create_custom_resource_definition(DEFINITION)
    api = client.CustomObjectsApi()
    with Operator():
        body = {"apiVersion": f"{GROUP}/{VERSION}", "kind": "Widget", "metadata": {"name": "a"}, "spec": {"size": 1}}
        api.create_namespaced_custom_object(*WHERE, body)
        made = until(lambda event: status(event).get("created") == {"size": 1})
        assert made["metadata"]["finalizers"] == [FINALIZER], made
        api.patch_namespaced_custom_object(*WHERE, "a", {"spec": {"size": 2}})
        until(lambda event: status(event).get("seen") == 2)
    with Operator():
        until(lambda event: status(event).get("resumed"))
        version = api.list_namespaced_custom_object(*WHERE)["metadata"]["resourceVersion"]
        api.delete_namespaced_custom_object(*WHERE, "a")
        gone = watch.Watch().stream(
            api.list_namespaced_custom_object, *WHERE, resource_version=version, timeout_seconds=30
        )
        assert any(event["type"] == "DELETED" for event in iter_until_deleted(gone))
    assert seen == ["create", "update", "resume", "delete"], seen
    print("the operator saw", seen)


def iter_until_deleted(stream):
    for event in stream:
        yield event
        if event["type"] == "DELETED":
            return


if __name__ == "__main__":
    main()
