//! kube-rs: a controller with a derived definition, a finalizer, streamed lists and server-side apply; discovery.

use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::GroupVersionKind;
use kube::discovery::{Discovery, Scope, pinned_kind};
use kube::runtime::controller::Action;
use kube::runtime::finalizer::{Error as FinalizerError, Event, finalizer};
use kube::runtime::wait::{await_condition, conditions};
use kube::runtime::{Controller, WatchStreamExt, reflector, watcher};
use kube::{Api, Client, Config, CustomResource, CustomResourceExt, ResourceExt};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::bare::Bare;

const MANAGER: &str = "notes.example.org";
const PATIENCE: Duration = Duration::from_secs(60);

/// Copied into a config map.
#[derive(CustomResource, Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[kube(group = "example.org", version = "v1", kind = "Note", namespaced, status = "NoteStatus", shortname = "nt")]
struct NoteSpec {
    #[schemars(length(min = 1))]
    text: String,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
struct NoteStatus {
    length: usize,
}

async fn connect(bare: &Bare) -> Client {
    let kubeconfig = Kubeconfig::read_from(&bare.server.kubeconfig).unwrap();
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
    Client::try_from(config).unwrap()
}

async fn define(client: &Client) {
    let definitions = Api::<CustomResourceDefinition>::all(client.clone());
    let apply = PatchParams::apply(MANAGER);
    definitions.patch(Note::crd_name(), &apply, &Patch::Apply(Note::crd())).await.unwrap();
    let established = await_condition(definitions, Note::crd_name(), conditions::is_crd_established());
    tokio::time::timeout(PATIENCE, established).await.expect("the definition is established").unwrap();
}

async fn reconcile(note: Arc<Note>, client: Arc<Client>) -> Result<Action, FinalizerError<kube::Error>> {
    let notes = Api::<Note>::default_namespaced((*client).clone());
    let copies = Api::<ConfigMap>::default_namespaced((*client).clone());
    finalizer(&notes, "example.org/copies", note, |event| async {
        match event {
            Event::Apply(note) => copy(&notes, &copies, &note).await?,
            Event::Cleanup(note) => drop(copies.delete(&note.name_any(), &DeleteParams::default()).await?),
        }
        Ok(Action::await_change())
    })
    .await
}

async fn copy(notes: &Api<Note>, copies: &Api<ConfigMap>, note: &Note) -> kube::Result<()> {
    let (name, text) = (note.name_any(), &note.spec.text);
    let body = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"text": text}});
    copies.patch(&name, &PatchParams::apply(MANAGER).force(), &Patch::Apply(body)).await?;
    let status = json!({"status": {"length": text.len()}});
    notes.patch_status(&name, &PatchParams::default(), &Patch::Merge(status)).await.map(drop)
}

/// For the output of a test that fails.
async fn report<T, E: std::fmt::Display>(ended: Result<T, E>) {
    if let Err(error) = ended {
        println!("the controller tries again: {error}");
    }
}

async fn run_controller(client: Client) {
    let notes = Api::<Note>::default_namespaced(client.clone());
    let again = |_: Arc<Note>, _: &_, _: Arc<Client>| Action::requeue(Duration::from_secs(1));
    let controller = Controller::new(notes, watcher::Config::default().streaming_lists());
    controller.run(reconcile, again, Arc::new(client)).for_each(report).await;
}

async fn follow_a_note(client: Client) {
    let notes = Api::<Note>::default_namespaced(client.clone());
    let copies = Api::<ConfigMap>::default_namespaced(client);
    let note = notes.create(&PostParams::default(), &Note::new("a", NoteSpec { text: "one".into() })).await.unwrap();
    let of_length = |length| {
        move |note: Option<&Note>| note.and_then(|note| note.status.as_ref()).is_some_and(|it| it.length == length)
    };
    await_condition(notes.clone(), "a", of_length(3)).await.unwrap();
    assert_eq!(copies.get("a").await.unwrap().data.unwrap()["text"], "one");
    let change = Patch::Merge(json!({"spec": {"text": "three"}}));
    notes.patch("a", &PatchParams::default(), &change).await.unwrap();
    await_condition(notes.clone(), "a", of_length(5)).await.unwrap();
    assert_eq!(copies.get("a").await.unwrap().data.unwrap()["text"], "three");
    notes.delete("a", &DeleteParams::default()).await.unwrap();
    let uid = note.uid().unwrap();
    await_condition(notes, "a", conditions::is_deleted(&uid)).await.unwrap();
    assert!(copies.get_opt("a").await.unwrap().is_none(), "the finalizer cleaned up first");
}

#[tokio::test]
async fn a_controller_of_kube_rs_follows_objects_of_a_derived_definition() {
    let bare = Bare::start("kube-rs-controller");
    let client = connect(&bare).await;
    define(&client).await;
    tokio::select! {
        () = run_controller(client.clone()) => panic!("the controller ended"),
        ended = tokio::time::timeout(PATIENCE, follow_a_note(client.clone())) => ended.expect("the note is followed"),
    }
}

#[tokio::test]
async fn a_reflector_of_kube_rs_starts_from_a_streamed_list_and_follows() {
    let bare = Bare::start("kube-rs-reflector");
    let client = connect(&bare).await;
    let maps = Api::<ConfigMap>::default_namespaced(client.clone());
    let make = async |name: &str| {
        let body = json!({"metadata": {"name": name, "labels": {"app": "kube-rs"}}});
        maps.create(&PostParams::default(), &serde_json::from_value(body).unwrap()).await.unwrap()
    };
    make("before").await;
    let (store, writer) = reflector::store::<ConfigMap>();
    let config = watcher::Config::default().streaming_lists().labels("app=kube-rs");
    let mut events = Box::pin(watcher(maps.clone(), config).reflect(writer).applied_objects());
    let first = tokio::time::timeout(PATIENCE, events.try_next()).await.unwrap().unwrap().unwrap();
    assert_eq!(first.name_any(), "before");
    make("after").await;
    let second = tokio::time::timeout(PATIENCE, events.try_next()).await.unwrap().unwrap().unwrap();
    assert_eq!(second.name_any(), "after");
    assert_eq!(store.len(), 2);
}

#[tokio::test]
async fn discovery_of_kube_rs_finds_kinds_both_ways() {
    let bare = Bare::start("kube-rs-discovery");
    let client = connect(&bare).await;
    define(&client).await;
    let version = client.apiserver_version().await.unwrap();
    assert_eq!((version.major.as_str(), version.minor.as_str()), ("1", "36"));
    for found in [
        Discovery::new(client.clone()).run().await.unwrap(),
        Discovery::new(client.clone()).run_aggregated().await.unwrap(),
    ] {
        let (kind, abilities) = found.resolve_gvk(&GroupVersionKind::gvk("apps", "v1", "Deployment")).unwrap();
        assert_eq!((kind.plural.as_str(), abilities.scope), ("deployments", Scope::Namespaced));
        assert!(found.has_group("example.org"));
    }
    let (kind, abilities) = pinned_kind(&client, &GroupVersionKind::gvk("example.org", "v1", "Note")).await.unwrap();
    assert!(abilities.supports_operation("watch") && abilities.subresources.len() == 1);
    let any = Api::<DynamicObject>::default_namespaced_with(client, &kind);
    assert!(any.list(&Default::default()).await.unwrap().items.is_empty());
}
