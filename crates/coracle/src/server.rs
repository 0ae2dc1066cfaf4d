//! A server: API, controllers and scheduler in one process, and a node beside them.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use api::corev1::Node;
use apiserver::{Ipv4Cidr, Server, Storage};
use auth::UserInfo;
use auth::join::JoinToken;
use auth::pki::{ClientTrust, Names, Pki, Profile, ServerIdentity};
use clap::Args;
use client::kubeconfig::Kubeconfig;
use client::{Api, Client, Endpoint, Identity, Patch};
use controller_runtime::{Informers, Selection};
use kubelet::certificates::renew;
use load_balancer::{AddressController, Pool};
use rt::{SystemClock, TaskSet};

use crate::agent::{Membership, NodeArguments};
use crate::in_process::InProcess;
use crate::join::{random_secret, write_private};
use crate::signing::ClusterSigner;
use crate::{addons, agent, components, logging, system_pods};

/// Names take k3s' words where they mean the same.
#[derive(Args)]
pub struct Arguments {
    /// Where the API listens
    #[arg(long, default_value = "0.0.0.0")]
    bind_address: IpAddr,
    #[arg(long, default_value_t = 6443)]
    https_listen_port: u16,
    /// The address that other machines reach the API at [default: the node's]
    #[arg(long)]
    advertise_address: Option<IpAddr>,
    /// More names and addresses for the API's certificate
    #[arg(long)]
    tls_san: Vec<String>,
    /// Run no node here
    #[arg(long)]
    disable_agent: bool,
    /// Leave out a part: `network-agent`, `dns`, `load-balancer`, `controllers`, `scheduler`
    #[arg(long, value_delimiter = ',')]
    disable: Vec<String>,
    /// Where to write the administrator's kubeconfig
    #[arg(short = 'o', long)]
    write_kubeconfig: Option<PathBuf>,
    #[arg(long, default_value = "10.244.0.0/16")]
    cluster_cidr: Ipv4Cidr,
    #[arg(long, default_value = "10.96.0.0/12")]
    service_cidr: Ipv4Cidr,
    /// The secret with which nodes join [default: a random one, kept]
    #[arg(short, long, env = "CORACLE_TOKEN")]
    token: Option<JoinToken>,
    /// Addresses for services of type LoadBalancer: ranges, networks, addresses
    #[arg(long, default_value = "")]
    load_balancer_pool: String,
    #[command(flatten)]
    api: crate::api_flags::ApiFlags,
    #[command(flatten)]
    service_accounts: crate::service_account_flags::ServiceAccountFlags,
    /// Also serve on the listening socket that is standard input, as inetd hands it over
    #[arg(long, hide = true)]
    listen_on_stdin: bool,
    #[command(flatten)]
    node: NodeArguments,
}

pub async fn run(arguments: Arguments) -> anyhow::Result<()> {
    logging::start();
    if !arguments.disable_agent {
        agent::require_root()?;
    }
    let pool: Pool = arguments.load_balancer_pool.parse()?;
    let tasks = TaskSet::new();
    let tls = tls_dir(&arguments.node.data_dir);
    let mut pki = Pki::open(&tls).context("open the certificates")?;
    arguments.service_accounts.configure(&mut pki, &tls.join("sa.key"))?;
    let pki = Arc::new(pki);
    let server = open_api(&arguments, &pki, &tasks).await?;
    write_credentials(&arguments, &pki, &server)?;
    server.listen(&tasks).context("serve the API")?;
    start_controllers(&arguments, &server, &pki, pool, &tasks)?;
    let master = Client::new(Arc::new(InProcess::new(server.clone(), UserInfo::master("coracle:addons"))), "coracle");
    let settings = addons::Settings {
        api_host: arguments.advertised()?,
        api_port: server.address().map_or(arguments.https_listen_port, |address| address.port()),
        cluster_cidr: arguments.cluster_cidr.to_string(),
        cluster_dns: arguments.node.cluster_dns,
        cluster_domain: arguments.node.cluster_domain.clone(),
        load_balancer_pool: arguments.load_balancer_pool.clone(),
    };
    addons::start(master, settings, &arguments.disable, &tasks);
    if !arguments.disable_agent {
        start_node(&arguments, &server, &pki, &tasks).await?;
    }
    let store = server.store().clone();
    let token = tasks.token();
    let stopped = tokio::select! {
        stopped = system_pods::until_stopped(&token) => stopped,
        () = store.failed() => Err(anyhow::anyhow!("the storage is lost; a new start recovers what is durable")),
    };
    tasks.shutdown().await;
    store.close();
    stopped
}

pub fn tls_dir(data_dir: &Path) -> PathBuf {
    data_dir.join("server/tls")
}

impl Arguments {
    /// The address that other machines reach this one at.
    fn advertised(&self) -> anyhow::Result<IpAddr> {
        if let Some(address) = self.advertise_address.or(self.node.node_ip) {
            return Ok(address);
        }
        if !self.bind_address.is_unspecified() {
            return Ok(self.bind_address);
        }
        // Which address this machine has towards others; where it has no way out, it is alone.
        let elsewhere = SocketAddr::from(([192, 0, 2, 1], 9));
        Ok(crate::agent::source_address(&[elsewhere]).unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)))
    }
}

async fn open_api(arguments: &Arguments, pki: &Arc<Pki>, tasks: &TaskSet) -> anyhow::Result<Server> {
    let directory = arguments.node.data_dir.join("server");
    std::fs::create_dir_all(&directory).with_context(|| format!("make {}", directory.display()))?;
    let config = apiserver::Config {
        storage: Storage::File(directory.join("state.db")),
        pki: Some(pki.clone()),
        listeners: listeners(arguments)?,
        advertise_address: arguments.advertised()?,
        service_cidr: arguments.service_cidr,
        tls_sans: arguments.tls_san.clone(),
        join_password: Some(join_password(arguments, &directory)?),
        audit: arguments.api.audit(),
        audit_delivery: arguments.api.audit_delivery()?,
        oidc_issuers: arguments.api.oidc_issuers()?,
        authentication_config: arguments.api.authentication_config(),
        request_header: arguments.api.request_header()?,
        admission: arguments.api.admission()?,
        more_metrics: vec![controller_runtime::write_metrics, client::write_metrics],
        mutating_in_flight_max: arguments.api.max_mutating_requests_inflight,
        readonly_in_flight_max: arguments.api.max_requests_inflight,
        ..apiserver::Config::default()
    };
    Server::open(config, tasks).await.context("start the API server")
}

fn listeners(arguments: &Arguments) -> anyhow::Result<Vec<Arc<TcpListener>>> {
    use std::os::fd::AsFd;
    let address = SocketAddr::new(arguments.bind_address, arguments.https_listen_port);
    let mut listeners = vec![Arc::new(TcpListener::bind(address).with_context(|| format!("listen on {address}"))?)];
    if arguments.listen_on_stdin {
        let socket = std::io::stdin().as_fd().try_clone_to_owned().context("take over standard input")?;
        listeners.push(Arc::new(TcpListener::from(socket)));
    }
    Ok(listeners)
}

/// The given secret, or the one of the last start, or a new one.
fn join_password(arguments: &Arguments, directory: &Path) -> anyhow::Result<String> {
    if let Some(token) = &arguments.token {
        return Ok(token.password.clone());
    }
    let path = directory.join("token");
    if let Ok(text) = std::fs::read_to_string(&path) {
        return Ok(text.parse::<JoinToken>().with_context(|| format!("read {}", path.display()))?.password);
    }
    Ok(random_secret())
}

/// The join token and the administrator's kubeconfig, for people.
fn write_credentials(arguments: &Arguments, pki: &Pki, server: &Server) -> anyhow::Result<()> {
    let directory = arguments.node.data_dir.join("server");
    if let Some(token) = server.join_token() {
        write_private(&directory.join("token"), format!("{token}\n").as_bytes())?;
    }
    let port = server.address().map_or(arguments.https_listen_port, |address| address.port());
    let endpoint = admin_endpoint(pki, &format!("https://127.0.0.1:{port}"))?;
    let kubeconfig = Kubeconfig::single("default", &endpoint);
    kubeconfig.write(&directory.join("admin.kubeconfig"))?;
    if let Some(path) = &arguments.write_kubeconfig {
        kubeconfig.write(path)?;
    }
    for component in ["controller-manager", "scheduler"] {
        let endpoint = component_endpoint(pki, component, &endpoint)?;
        Kubeconfig::single("default", &endpoint).write(&directory.join(format!("{component}.kubeconfig")))?;
    }
    Ok(())
}

/// What a component that runs elsewhere speaks to the API with, under the user that upstream's roles name.
fn component_endpoint(pki: &Pki, component: &str, admin: &Endpoint) -> anyhow::Result<Endpoint> {
    let made = pki.client(component, &format!("system:kube-{component}"), None);
    let made = made.with_context(|| format!("issue the certificate of the {component}"))?;
    let identity = Identity::Certificate { cert_pem: made.cert_pem.into(), key_pem: made.key_pem.into() };
    Ok(Endpoint { identity, ..admin.clone() })
}

/// What an administrator speaks to the API with.
pub fn admin_endpoint(pki: &Pki, server: &str) -> anyhow::Result<Endpoint> {
    let admin = pki.admin().context("issue the administrator's certificate")?;
    let identity = Identity::Certificate { cert_pem: admin.cert_pem.into(), key_pem: admin.key_pem.into() };
    Ok(Endpoint { server: server.into(), ca_pem: pki.ca_pem().into(), identity })
}

fn start_controllers(
    arguments: &Arguments,
    server: &Server,
    pki: &Arc<Pki>,
    pool: Pool,
    tasks: &TaskSet,
) -> anyhow::Result<()> {
    let as_user = |user: UserInfo, agent: &str| Client::new(Arc::new(InProcess::new(server.clone(), user)), agent);
    let manager = as_user(UserInfo::new("system:kube-controller-manager", &[]), "kube-controller-manager");
    let informers = controllers::informers(&manager, tasks);
    let signer = Arc::new(ClusterSigner(pki.clone()));
    let disabled = |part: &str| arguments.disable.iter().any(|disabled| disabled == part);
    let own = server.clone();
    let client_for = move |name: &str| {
        let user = UserInfo::service_account("kube-system", name, "");
        Client::new(Arc::new(InProcess::new(own.clone(), user)), &format!("kube-controller-manager/{name}"))
    };
    if !disabled("controllers") {
        controllers::start(&controllers::Context {
            informers: informers.clone(),
            client_for: Arc::new(client_for),
            tasks: tasks.clone(),
            clock: Arc::new(SystemClock),
            config: Arc::new(controllers::Config {
                cluster_cidr: components::range(arguments.cluster_cidr)?,
                ca_pem: pki.ca_pem().to_owned(),
                certificate_signer: Some(signer.clone()),
                token_signer: Some(signer),
                ..controllers::Config::default()
            }),
        });
    }
    if !disabled("load-balancer") {
        let client = as_user(
            UserInfo::service_account("kube-system", "load-balancer-controller", ""),
            "load-balancer-controller",
        );
        let controller = AddressController::new(&client, &informers, pool);
        tasks.spawn("load-balancer-controller", controller.run(tasks.token()));
    }
    if !disabled("scheduler") {
        let client = as_user(UserInfo::new("system:kube-scheduler", &[]), "kube-scheduler");
        scheduler::start(&client, &informers, tasks);
    }
    Ok(())
}

/// The node beside the server: the same parts as any node, its requests without a detour over the network.
async fn start_node(arguments: &Arguments, server: &Server, pki: &Arc<Pki>, tasks: &TaskSet) -> anyhow::Result<()> {
    let name = arguments.node.name()?;
    let address = arguments.advertised()?;
    let names = Names::from_texts([name.as_str(), &address.to_string()]);
    let profile = Profile::KubeletServing { node: name.clone(), names };
    let first = pki.ca.issue(&profile).context("issue the kubelet's certificate")?;
    let serving = ServerIdentity::new(&first)?;
    let (authority, shown) = (pki.clone(), serving.clone());
    let next = async move || {
        let renewed = authority.ca.issue(&profile)?;
        shown.replace(&renewed)?;
        Ok(renewed.cert_pem)
    };
    tasks.spawn_until_cancelled("node certificate", renew("serving", Some(first.cert_pem), next));
    let user = UserInfo::new(format!("system:node:{name}"), &["system:nodes"]);
    let client = Client::new(Arc::new(InProcess::new(server.clone(), user)), "coracle-agent");
    let membership = Membership { client, serving, callers: ClientTrust::new(&pki.ca)? };
    agent::start(&arguments.node, &name, address, membership, tasks).await?;
    let master = Client::new(Arc::new(InProcess::new(server.clone(), UserInfo::master("coracle:server"))), "coracle");
    tasks.spawn_until_cancelled("control-plane label", label_control_plane(master, name, tasks.clone()));
    Ok(())
}

/// Says that this node is the control plane's. A kubelet may not say that of itself.
async fn label_control_plane(client: Client, name: String, tasks: TaskSet) {
    const ROLE: &str = "node-role.kubernetes.io/control-plane";
    let selection = Selection { field_selector: format!("metadata.name={name}"), ..Selection::default() };
    let nodes = Informers::new(&client, &tasks).lister_for::<Node>(selection);
    let (registered, wait) = tokio::sync::watch::channel(());
    nodes.subscribe(move |_| registered.send_modify(|()| {}));
    let mut wait = wait;
    loop {
        let node = nodes.list().pop();
        let labels = node.as_ref().and_then(|node| node.metadata.labels.as_ref());
        if node.is_some() && labels.is_none_or(|labels| !labels.contains_key(ROLE)) {
            let patch = Patch::Merge(serde_json::json!({"metadata": {"labels": {ROLE: ""}}}));
            if let Err(error) = Api::<Node>::all(&client).patch(&name, &patch).await {
                tracing::warn!(error = &error as &dyn std::error::Error, "the control plane's node was not labelled");
            }
        }
        if wait.changed().await.is_err() {
            return;
        }
    }
}
