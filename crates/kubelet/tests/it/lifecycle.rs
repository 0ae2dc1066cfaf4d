//! Pods from their binding to their end, on the fake runtime.

use serde_json::json;
use tokio::net::TcpListener;

use crate::Test;
use crate::world::{NODE, POD_IP, World, block_on, is_ready};

macro_rules! tests {
    ($($name:ident),* $(,)?) => {
        pub fn tests() -> Vec<Test> {
            vec![$((stringify!($name), Box::new(|| block_on(async { $name(World::fake().await).await })) as _)),*]
        }
    };
}

tests! {
    the_node_registers_and_renews_its_lease,
    a_pod_runs_and_is_deleted_when_it_has_stopped,
    a_pod_that_never_restarts_succeeds,
    an_init_container_runs_first,
    a_crashed_container_is_restarted_and_counted,
    a_missing_image_is_said_in_the_status,
    a_missing_config_map_is_said_in_the_status,
    a_pod_that_does_not_fit_fails,
    a_new_kubelet_goes_on_probing_and_the_pod_stays_ready,
    a_pod_deleted_by_force_is_stopped_here_as_well,
}

async fn the_node_registers_and_renews_its_lease(world: World) {
    let node = world.api.wait(&format!("/api/v1/nodes/{NODE}"), |node| node.is_some()).await.expect("a node");
    assert_eq!(node["metadata"]["labels"]["kubernetes.io/hostname"], NODE);
    assert!(node["status"]["capacity"]["cpu"].is_string());
    let lease = format!("/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/{NODE}");
    let lease = world.api.wait(&lease, |lease| lease.is_some()).await.expect("a lease");
    assert_eq!(lease["spec"]["leaseDurationSeconds"], 40);
    world.done().await;
}

async fn a_pod_runs_and_is_deleted_when_it_has_stopped(world: World) {
    let path = world.create("web", json!({ "containers": [{ "name": "main", "image": "app" }] }));
    let pod = world.wait_phase(&path, "Running").await;
    assert_eq!(pod["status"]["podIP"], "127.0.0.2");
    assert_eq!(pod["status"]["hostIP"], "192.0.2.1");
    assert_eq!(pod["status"]["containerStatuses"][0]["ready"], true);
    world.api.mark_deleted(&path, 30);
    world.wait_gone(&path).await;
    assert!(world.runtime.list().await.expect("a list").is_empty());
    world.done().await;
}

async fn a_pod_that_never_restarts_succeeds(world: World) {
    world.fake.exit_at_start("main", 0);
    let path =
        world.create("job", json!({ "restartPolicy": "Never", "containers": [{ "name": "main", "image": "app" }] }));
    let pod = world.wait_phase(&path, "Succeeded").await;
    assert_eq!(pod["status"]["containerStatuses"][0]["state"]["terminated"]["reason"], "Completed");
    world.done().await;
}

async fn an_init_container_runs_first(world: World) {
    world.fake.exit_at_start("init", 0);
    let spec = json!({ "initContainers": [{ "name": "init", "image": "app" }], "containers": [{ "name": "main", "image": "app" }] });
    let path = world.create("two", spec);
    let pod = world.wait_phase(&path, "Running").await;
    assert_eq!(pod["status"]["initContainerStatuses"][0]["state"]["terminated"]["exitCode"], 0);
    world.done().await;
}

async fn a_crashed_container_is_restarted_and_counted(world: World) {
    let path = world.create("crash", json!({ "containers": [{ "name": "main", "image": "app" }] }));
    world.wait_phase(&path, "Running").await;
    world.fake.exit("uid-crash", "main", 3);
    let restarted = |pod: Option<&serde_json::Value>| {
        pod.is_some_and(|pod| {
            let status = &pod["status"]["containerStatuses"][0];
            status["restartCount"] == 1 && status["state"]["running"].is_object()
        })
    };
    let pod = world.api.wait(&path, restarted).await.expect("a pod");
    assert_eq!(pod["status"]["containerStatuses"][0]["lastState"]["terminated"]["exitCode"], 3);
    world.fake.exit("uid-crash", "main", 3);
    let waiting = |pod: Option<&serde_json::Value>| {
        pod.is_some_and(|pod| pod["status"]["containerStatuses"][0]["state"]["waiting"]["reason"] == "CrashLoopBackOff")
    };
    world.api.wait(&path, waiting).await;
    world.done().await;
}

fn waits_for(reason: &'static str) -> impl Fn(Option<&serde_json::Value>) -> bool {
    move |pod| pod.is_some_and(|pod| pod["status"]["containerStatuses"][0]["state"]["waiting"]["reason"] == reason)
}

async fn a_missing_image_is_said_in_the_status(world: World) {
    let path = world.create("none", json!({ "containers": [{ "name": "main", "image": "missing" }] }));
    world.api.wait(&path, waits_for("ErrImagePull")).await;
    world.api.wait(&path, waits_for("ImagePullBackOff")).await;
    world.done().await;
}

async fn a_missing_config_map_is_said_in_the_status(world: World) {
    let env = json!([{ "name": "A", "valueFrom": { "configMapKeyRef": { "name": "cm", "key": "a" } } }]);
    let path = world.create("env", json!({ "containers": [{ "name": "main", "image": "app", "env": env }] }));
    let pod = world.api.wait(&path, waits_for("CreateContainerConfigError")).await.expect("a pod");
    assert_eq!(pod["status"]["containerStatuses"][0]["state"]["waiting"]["message"], "configmap \"cm\" not found");
    world.done().await;
}

async fn a_pod_that_does_not_fit_fails(world: World) {
    let resources = json!({ "requests": { "cpu": "100000" } });
    let path =
        world.create("big", json!({ "containers": [{ "name": "main", "image": "app", "resources": resources }] }));
    let pod = world.wait_phase(&path, "Failed").await;
    assert_eq!(pod["status"]["reason"], "OutOfcpu");
    world.done().await;
}

async fn a_new_kubelet_goes_on_probing_and_the_pod_stays_ready(mut world: World) {
    let listener = TcpListener::bind((POD_IP, 0)).await.expect("a port of the pod");
    let port = listener.local_addr().expect("its address").port();
    let probe = json!({ "tcpSocket": { "port": port }, "periodSeconds": 1 });
    let path =
        world.create("kept", json!({ "containers": [{ "name": "main", "image": "app", "readinessProbe": probe }] }));
    let (_, ready) = tokio::join!(listener.accept(), world.api.wait(&path, is_ready));
    let before = world.api.revision();
    world.restart().await;
    for _ in 0..2 {
        listener.accept().await.expect("a probe of the new kubelet");
    }
    for state in world.api.since(before, &path) {
        assert_eq!(state["status"]["podIP"], POD_IP);
        assert!(is_ready(Some(&state)), "{state}");
    }
    assert_eq!(ready.expect("a pod")["status"]["podIP"], POD_IP);
    assert!(!world.api.events().join("\n").contains("Unhealthy"), "{:?}", world.api.events());
    world.done().await;
}

async fn a_pod_deleted_by_force_is_stopped_here_as_well(world: World) {
    let path = world.create("forced", json!({ "containers": [{ "name": "main", "image": "app" }] }));
    world.wait_phase(&path, "Running").await;
    let mut events = world.runtime.subscribe();
    world.api.remove(&path);
    events.recv().await.expect("the container ends");
    world.done().await;
}
