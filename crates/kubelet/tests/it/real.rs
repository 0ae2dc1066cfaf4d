//! Pods of real containers.

use std::path::Path;

use std::sync::Arc;

use futures::StreamExt;
use http_body_util::BodyExt;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use crate::Test;
use crate::world::{World, block_on, is_ready};

macro_rules! tests {
    ($($name:ident),* $(,)?) => {
        pub fn tests() -> Vec<Test> {
            vec![$((concat!("real::", stringify!($name)), Box::new(|| if able() {
                block_on(async { $name(World::real(stringify!($name)).await).await });
            }) as _)),*]
        }
    };
}

fn able() -> bool {
    let able = rustix::process::geteuid().is_root() && Path::new("/bin/busybox").exists();
    if !able {
        eprintln!("SKIPPED: needs root and /bin/busybox (Debian: busybox-static)");
    }
    able
}

tests! {
    a_pod_has_its_environment_volumes_and_files,
    a_probe_makes_a_pod_ready_and_another_restarts_it,
    a_stopped_pod_leaves_nothing,
    exec_and_logs_through_the_server,
    a_pod_whose_monitor_died_runs_again,
}

fn log(world: &World, name: &str) -> String {
    let path = world.directory.path().join(format!("data/logs/pods/default_{name}_uid-{name}/main/0.log"));
    let text = std::fs::read_to_string(path).expect("a log");
    text.lines().map(|line| line.splitn(4, ' ').nth(3).unwrap_or_default().to_owned() + "\n").collect()
}

async fn a_pod_has_its_environment_volumes_and_files(world: World) {
    world.api.put(
        "/api/v1/namespaces/default/configmaps",
        json!({ "metadata": { "name": "cm", "namespace": "default" }, "data": { "key": "value" } }),
    );
    let script = "echo $GREETING $FROM $POD $(hostname); cat /cm/key; echo; cat /token/token; echo; ls /empty; cat /etc/hostname; id -u; grep -c . /etc/resolv.conf >/dev/null; echo said > /dev/termination-log";
    let spec = json!({
        "restartPolicy": "Never",
        "securityContext": { "runAsUser": 1000 },
        "containers": [{
            "name": "main", "image": "app", "command": ["sh", "-c", script],
            "env": [
                { "name": "WHO", "value": "you" },
                { "name": "GREETING", "value": "hello-$(WHO)" },
                { "name": "FROM", "valueFrom": { "configMapKeyRef": { "name": "cm", "key": "key" } } },
                { "name": "POD", "valueFrom": { "fieldRef": { "fieldPath": "status.podIP" } } },
            ],
            "volumeMounts": [
                { "name": "cm", "mountPath": "/cm" }, { "name": "token", "mountPath": "/token" },
                { "name": "empty", "mountPath": "/empty" },
            ],
        }],
        "volumes": [
            { "name": "cm", "configMap": { "name": "cm" } },
            { "name": "token", "projected": { "sources": [{ "serviceAccountToken": { "path": "token" } }] } },
            { "name": "empty", "emptyDir": {} },
        ],
    });
    let path = world.create("env", spec);
    let pod = world
        .api
        .wait(&path, |pod| {
            pod.is_some_and(|pod| pod["status"]["phase"] == "Succeeded" || pod["status"]["phase"] == "Failed")
        })
        .await
        .expect("a pod");
    assert_eq!(
        log(&world, "env"),
        "hello-you value 127.0.0.2 env\nvalue\na-token\nenv\n1000\n",
        "{:?}",
        world.api.events()
    );
    assert_eq!(pod["status"]["containerStatuses"][0]["state"]["terminated"]["message"], "said\n");
    world.done().await;
}

async fn a_probe_makes_a_pod_ready_and_another_restarts_it(world: World) {
    let probe = |file: &str, failures: i32| json!({ "exec": { "command": ["cat", file] }, "periodSeconds": 1, "failureThreshold": failures });
    let spec = json!({
        "terminationGracePeriodSeconds": 1,
        "containers": [{
            "name": "main", "image": "app", "command": ["sh", "-c", "echo > /tmp/ready; sleep 1000"],
            "readinessProbe": probe("/tmp/ready", 1), "livenessProbe": probe("/tmp/never", 2),
        }],
    });
    let path = world.create("probed", spec);
    world.api.wait(&path, is_ready).await;
    let restarted = |pod: Option<&serde_json::Value>| {
        pod.is_some_and(|pod| pod["status"]["containerStatuses"][0]["restartCount"] == 1)
    };
    world.api.wait(&path, restarted).await;
    let events = world.api.events().join("\n");
    assert!(events.contains("Unhealthy: Liveness probe failed: cat: can't open '/tmp/never'"), "{events}");
    assert!(events.contains("Killing: Container main failed liveness probe, will be restarted"), "{events}");
    world.done().await;
}

async fn a_stopped_pod_leaves_nothing(world: World) {
    // Ready once the trap is set: the first process of a pod does not end of a signal that it does not handle.
    let script = "trap 'exit 0' TERM; echo > /tmp/trapped; while true; do sleep 0.1; done";
    let spec = json!({
        "containers": [{ "name": "main", "image": "app", "command": ["sh", "-c", script],
            "readinessProbe": { "exec": { "command": ["cat", "/tmp/trapped"] }, "periodSeconds": 1 },
            "volumeMounts": [{ "name": "memory", "mountPath": "/m" }] }],
        "volumes": [{ "name": "memory", "emptyDir": { "medium": "Memory" } }],
    });
    let begin = std::time::Instant::now();
    let path = world.create("short", spec);
    world.wait_phase(&path, "Running").await;
    println!("  create to Running: {:?}", begin.elapsed());
    world.api.wait(&path, is_ready).await;
    let begin = std::time::Instant::now();
    world.api.mark_deleted(&path, 30);
    world.wait_gone(&path).await;
    println!("  delete to gone: {:?}", begin.elapsed());
    let left = |below: &str| std::fs::read_dir(world.directory.path().join(below)).expect("a directory").count();
    assert_eq!((left("run/pods"), left("data/pods"), left("images")), (0, 0, 0));
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").expect("mounts");
    assert!(!mounts.contains(world.directory.path().to_str().expect("a path")));
    world.done().await;
}

/// A server's and a client's TLS for a certificate made here.
fn tls() -> (Arc<rustls::ServerConfig>, TlsConnector) {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
    let certificate = made.cert.der().clone();
    let key = rustls_pki_types::PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    let server = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .expect("a server");
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate).expect("a root");
    let client = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    (Arc::new(server), TlsConnector::from(Arc::new(client)))
}

async fn exec_and_logs_through_the_server(world: World) {
    let spec =
        json!({ "containers": [{ "name": "main", "image": "app", "command": ["sh", "-c", "echo up; sleep 1000"] }] });
    let path = world.create("shell", spec);
    world.wait_phase(&path, "Running").await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
    let address = listener.local_addr().expect("an address");
    let (server, connector) = tls();
    // The fake API allows nobody anything; administrators are not asked about.
    let group = Arc::new(std::sync::Mutex::new(Some("system:masters")));
    let now = Arc::clone(&group);
    let identify = Box::new(move |_: &[_]| {
        let groups = vec![now.lock().expect("a group").map(str::to_owned)?];
        Some(kubelet::Caller { name: "somebody".to_owned(), groups, ..kubelet::Caller::default() })
    });
    world.tasks.spawn_until_cancelled("kubelet server", world.server.clone().serve(listener, server, identify));
    let connect = || async {
        let stream = TcpStream::connect(address).await.expect("a connection");
        connector.connect("localhost".try_into().expect("a name"), stream).await.expect("TLS")
    };

    let command = "command=sh&command=-c&command=echo+out;echo+err+>%262;exit+3";
    let mut request = format!("wss://localhost/exec/default/shell/main?{command}&output=1&error=1")
        .replace('>', "%3E")
        .into_client_request()
        .expect("a request");
    request.headers_mut().insert("sec-websocket-protocol", "v5.channel.k8s.io".parse().expect("a header"));
    let (mut socket, _) = tokio_tungstenite::client_async(request, connect().await).await.expect("an upgrade");
    let mut channels = std::collections::BTreeMap::<u8, String>::new();
    while let Some(Ok(message)) = socket.next().await {
        if let [channel, text @ ..] = message.into_data().as_ref()
            && *channel < 5
        {
            channels.entry(*channel).or_default().push_str(&String::from_utf8_lossy(text));
        }
    }
    assert_eq!((channels[&1].as_str(), channels[&2].as_str()), ("out\n", "err\n"));
    let status: serde_json::Value = serde_json::from_str(&channels[&3]).expect("a status");
    assert_eq!(status["details"]["causes"][0]["message"], "3");

    let masters = Some("system:masters");
    let forbidden = "Forbidden (user=somebody, verb=get, resource=nodes, subresource(s)=[pods proxy])\n";
    for (caller, path, code, expected) in [
        (masters, "/containerLogs/default/shell/main?tailLines=1", 200, "up\n"),
        (Some("others"), "/pods", 403, forbidden),
        (None, "/pods", 401, "Unauthorized"),
        (masters, "/containerLogs/default/shell/none", 404, "container \"none\" not found in pod \"shell\"\n"),
    ] {
        *group.lock().expect("a group") = caller;
        let stream = hyper_util::rt::TokioIo::new(connect().await);
        let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await.expect("HTTP");
        world.tasks.spawn_until_cancelled("client connection", async move { drop(connection.await) });
        let request = hyper::Request::get(path).header("host", "localhost").body(String::new()).expect("a request");
        let answer = sender.send_request(request).await.expect("an answer");
        assert_eq!(answer.status().as_u16(), code, "{path}");
        let text = answer.into_body().collect().await.expect("a body").to_bytes();
        assert_eq!(String::from_utf8_lossy(&text), expected);
    }
    world.done().await;
}

async fn a_pod_whose_monitor_died_runs_again(world: World) {
    let path = world
        .create("phoenix", json!({ "containers": [{ "name": "main", "image": "app", "command": ["sleep", "1000"] }] }));
    world.wait_phase(&path, "Running").await;
    let status = world.runtime.status("uid-phoenix").await.expect("a status").expect("a sandbox");
    let container::ContainerState::Running { pid, .. } = status.containers[0].state else { panic!("not running") };
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("the container's process");
    let monitor: i32 = stat.split(' ').nth(3).expect("a parent").parse().expect("a pid");
    let monitor = rustix::process::Pid::from_raw(monitor).expect("a pid");
    rustix::process::kill_process(monitor, rustix::process::Signal::KILL).expect("kill the monitor");
    let again = |pod: Option<&serde_json::Value>| {
        pod.is_some_and(|pod| {
            let status = &pod["status"]["containerStatuses"][0];
            status["restartCount"] == 1 && status["state"]["running"].is_object()
        })
    };
    world.api.wait(&path, again).await;
    world.done().await;
}
