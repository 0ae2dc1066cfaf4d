//! Where a webhook listens: its URL, or a service that is looked up in the store for each connection.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use base64::Engine as _;
use serde_json::Value;
use store::{Key, Store};

#[derive(Clone, Debug)]
pub struct Endpoint {
    /// `https://…`, without the query.
    pub url: String,
    pub service: Option<Service>,
    /// The authorities that are trusted, as PEM; those of the system where there are none.
    pub ca_bundle: Arc<[u8]>,
}

#[derive(Clone, Debug)]
pub struct Service {
    pub namespace: String,
    pub name: String,
    pub port: u16,
}

impl Endpoint {
    pub fn of(config: &Value) -> Endpoint {
        let text = config["caBundle"].as_str().unwrap_or_default();
        let ca_bundle = base64::engine::general_purpose::STANDARD.decode(text).unwrap_or_default().into();
        let service = Service::of(&config["service"]);
        let url = match &service {
            Some(service) => {
                let path = config.pointer("/service/path").and_then(Value::as_str).unwrap_or_default();
                format!("https://{}:{}/{}", service.host(), service.port, path.trim_start_matches('/'))
            }
            None => config["url"].as_str().unwrap_or_default().to_owned(),
        };
        Endpoint { url, service, ca_bundle }
    }
}

impl Service {
    fn of(service: &Value) -> Option<Service> {
        let text = |field: &str| service[field].as_str().unwrap_or_default().to_owned();
        let port = service["port"].as_u64().and_then(|port| u16::try_from(port).ok()).unwrap_or(443);
        service.is_object().then(|| Service { namespace: text("namespace"), name: text("name"), port })
    }

    /// The name that its certificate must have.
    pub fn host(&self) -> String {
        format!("{}.{}.svc", self.name, self.namespace)
    }

    /// The addresses behind the service, which this host reaches even where it cannot reach service addresses.
    pub fn resolve(&self, store: &Store) -> Result<Destination, String> {
        let stored = store.get(&Key::new("", "services", &self.namespace, &self.name));
        let service = stored.ok_or_else(|| format!("service {:?} not found", self.name))?.value();
        let kind = service.pointer("/spec/type").and_then(Value::as_str).unwrap_or("ClusterIP");
        if kind == "ExternalName" {
            let name = service.pointer("/spec/externalName").and_then(Value::as_str).unwrap_or_default();
            return Ok(Destination::Name(name.to_owned(), self.port));
        }
        let ports = service.pointer("/spec/ports").and_then(Value::as_array);
        let port = ports.into_iter().flatten().find(|port| port["port"] == self.port);
        let port = port.ok_or_else(|| format!("no service port {} found for service {:?}", self.port, self.name))?;
        let addresses = self.endpoints(store, port["name"].as_str().unwrap_or_default());
        if addresses.is_empty() {
            return Err(format!("no endpoints available for service {:?}", self.name));
        }
        Ok(Destination::Addresses(addresses))
    }

    fn endpoints(&self, store: &Store, port: &str) -> Vec<SocketAddr> {
        let prefix = Key::prefix("discovery.k8s.io", "endpointslices", Some(&self.namespace));
        let snapshot = store.snapshot();
        let slices = snapshot.range(&prefix, None).map(|(_, slice)| slice);
        let own = slices.filter(|slice| slice.header.label("kubernetes.io/service-name") == Some(self.name.as_str()));
        own.flat_map(|slice| ready_addresses(&slice.value(), port)).collect()
    }
}

fn ready_addresses(slice: &Value, port: &str) -> Vec<SocketAddr> {
    let ports = slice["ports"].as_array().into_iter().flatten();
    let number = ports
        .filter(|one| one["name"].as_str().unwrap_or_default() == port)
        .find_map(|one| u16::try_from(one["port"].as_u64()?).ok());
    let ready = |endpoint: &&Value| endpoint.pointer("/conditions/ready") != Some(&Value::Bool(false));
    let endpoints = slice["endpoints"].as_array().into_iter().flatten().filter(ready);
    let texts = endpoints.filter_map(|endpoint| endpoint["addresses"].as_array()).flatten().filter_map(Value::as_str);
    texts.filter_map(|text| Some(SocketAddr::new(text.parse::<IpAddr>().ok()?, number?))).collect()
}

/// What is dialled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    Name(String, u16),
    /// Any of them will do.
    Addresses(Vec<SocketAddr>),
}
