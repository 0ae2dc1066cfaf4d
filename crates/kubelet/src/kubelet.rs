//! Puts the parts together and runs them.

use std::sync::Arc;

use api::corev1::{Node, Pod, Service};
use client::Client;
use client::events::EventRecorder;
use container::ContainerRuntime;
use controller_runtime::{Informers, Selection};
use image::ImageService;
use rt::{Clock, SystemClock, TaskSet};

use crate::config::Config;
use crate::context::Context;
use crate::images::Puller;
use crate::network::PodNetwork;
use crate::node::{keep, machine};
use crate::pods::manager::Manager;
use crate::references::References;
use crate::server::Server;
use crate::volumes::token::Tokens;

/// What a kubelet is made of.
pub struct Dependencies {
    pub config: Config,
    pub client: Client,
    pub runtime: Arc<dyn ContainerRuntime>,
    pub images: Arc<dyn ImageService>,
    pub network: Arc<dyn PodNetwork>,
}

pub struct Kubelet {
    context: Arc<Context>,
    manager: Arc<Manager>,
}

impl Kubelet {
    /// Nothing is written before [`Kubelet::run`]; the caches begin to fill.
    pub fn new(dependencies: Dependencies, tasks: &TaskSet) -> Kubelet {
        let Dependencies { config, client, runtime, images, network } = dependencies;
        let tasks = tasks.child();
        let client = client.as_agent("kubelet");
        let informers = Informers::new(&client, &tasks);
        let recorder = EventRecorder::new(&client, "kubelet", &config.node_name, &tasks);
        let by_field = |field_selector: String| Selection { field_selector, ..Selection::default() };
        let pods = informers.lister_for::<Pod>(by_field(format!("spec.nodeName={}", config.node_name)));
        let memory = machine::observe(&config.data_dir).memory_bytes;
        let context = Arc::new(Context {
            puller: Puller::new(Arc::clone(&images), client.clone(), recorder.clone()),
            nodes: informers.lister_for::<Node>(by_field(format!("metadata.name={}", config.node_name))),
            services: informers.lister::<Service>(),
            references: References::new(client.clone(), tasks.clone()),
            clock: Arc::new(SystemClock) as Arc<dyn Clock>,
            tokens: Tokens::default(),
            memory_capacity: i64::try_from(memory).unwrap_or(i64::MAX),
            config,
            client,
            runtime,
            images,
            network,
            recorder,
            tasks,
        });
        let manager = Manager::new(Arc::clone(&context), pods);
        Kubelet { context, manager }
    }

    /// The HTTP side, to be served by whoever has the listener and the certificates.
    pub fn server(&self) -> Server {
        Server::new(Arc::clone(&self.context), Arc::clone(&self.manager))
    }

    /// Registers the node, then keeps it and its pods until the task set is cancelled. The containers go on after that.
    pub async fn run(self) {
        let context = self.context;
        let token = context.tasks.token();
        if let Err(error) = prepare_directories(&context.config) {
            tracing::error!(%error, "the kubelet's directories were not made");
        }
        let Some(node) = token.run_until_cancelled(keep::register(&context)).await else { return };
        tracing::info!(node = context.config.node_name, "node registered");
        context.tasks.spawn_until_cancelled("node lease", keep::keep_lease(Arc::clone(&context), node.clone()));
        context.tasks.spawn_until_cancelled("node status", keep::keep_status(Arc::clone(&context), node.clone()));
        self.manager.run(node).await;
    }
}

fn prepare_directories(config: &Config) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    for name in ["pods", "logs/pods", "seccomp"] {
        std::fs::create_dir_all(config.data_dir.join(name))?;
    }
    // Secrets and logs are nobody else's business.
    std::fs::set_permissions(config.data_dir.join("pods"), std::fs::Permissions::from_mode(0o750))?;
    std::fs::set_permissions(config.data_dir.join("logs"), std::fs::Permissions::from_mode(0o750))
}
