//! The environment of a container: the image's, the services', and the pod's own.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::time::Duration;

use api::corev1::{Container, EnvVarSource, Pod, Service};
use apimachinery::Quantity;

use super::Place;
use crate::context::Context;
use crate::pods::ephemeral::find_container;
use crate::pods::model::{host_network, spec};
use crate::pods::qos::{limit, request};

/// How long to wait for the API to say whether a referenced object exists.
const PATIENCE: Duration = Duration::from_secs(60);

/// In the order of definition; a later one of the same name has replaced the earlier.
pub type Environment = Vec<(String, String)>;

pub async fn environment(
    context: &Context,
    place: &Place,
    container: &Container,
    image_env: &[String],
) -> Result<Environment, String> {
    let mut result = Builder::default();
    for entry in image_env {
        let (name, value) = entry.split_once('=').unwrap_or((entry, ""));
        result.set(name, value);
    }
    result.set("HOSTNAME", &super::files::hostname(&place.pod, &context.config.node_name));
    context.services.synced().await;
    let namespace = place.pod.metadata.namespace.as_deref().unwrap_or_default();
    let links = spec(&place.pod).enable_service_links.unwrap_or(true);
    for (name, value) in service_variables(&context.services.list(), namespace, links) {
        result.set(&name, &value);
    }
    env_from(context, namespace, container, &mut result).await?;
    for variable in container.env.iter().flatten() {
        let value = match &variable.value_from {
            None => Some(expand(variable.value.as_deref().unwrap_or_default(), &result.list)),
            Some(source) => value_from(context, place, container, source).await?,
        };
        if let Some(value) = value {
            result.set(&variable.name, &value);
        }
    }
    Ok(result.list)
}

#[derive(Default)]
struct Builder {
    list: Environment,
    places: HashMap<String, usize>,
}

impl Builder {
    fn set(&mut self, name: &str, value: &str) {
        match self.places.get(name) {
            Some(place) => value.clone_into(&mut self.list[*place].1),
            None => {
                self.places.insert(name.to_owned(), self.list.len());
                self.list.push((name.to_owned(), value.to_owned()));
            }
        }
    }
}

/// `$(NAME)` is replaced if the name is known, `$$` is a dollar.
pub fn expand(text: &str, env: &[(String, String)]) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        let tail = &rest[at + 1..];
        if let Some(after) = tail.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some((name, after)) = tail.strip_prefix('(').and_then(|inner| inner.split_once(')')) {
            match env.iter().find(|(known, _)| known == name) {
                Some((_, value)) => out.push_str(value),
                None => out.push_str(&format!("$({name})")),
            }
            rest = after;
        } else {
            out.push('$');
            rest = tail;
        }
    }
    out.push_str(rest);
    out
}

/// `NAME_SERVICE_HOST` and its kin, for the services of the namespace; `kubernetes` always.
pub fn service_variables(
    services: &[std::sync::Arc<Service>],
    namespace: &str,
    links: bool,
) -> BTreeMap<String, String> {
    let mut variables = BTreeMap::new();
    for service in services {
        let name = service.metadata.name.as_deref().unwrap_or_default();
        let own = service.metadata.namespace.as_deref().unwrap_or_default();
        let master = own == "default" && name == "kubernetes";
        if master || (links && own == namespace) {
            one_service(name, service, &mut variables);
        }
    }
    variables
}

fn one_service(name: &str, service: &Service, variables: &mut BTreeMap<String, String>) {
    let Some(spec) = &service.spec else { return };
    let ip = spec.cluster_ip.as_deref().unwrap_or_default();
    if ip.is_empty() || ip == "None" {
        return;
    }
    let ports = spec.ports.as_deref().unwrap_or_default();
    let Some(first) = ports.first() else { return };
    let name = shell_name(name);
    let host = if ip.contains(':') { format!("[{ip}]") } else { ip.to_owned() };
    variables.insert(format!("{name}_SERVICE_HOST"), ip.to_owned());
    variables.insert(format!("{name}_SERVICE_PORT"), first.port.to_string());
    for (index, port) in ports.iter().enumerate() {
        let protocol = port.protocol.clone().unwrap_or_else(|| "TCP".to_owned());
        let url = format!("{}://{host}:{}", protocol.to_lowercase(), port.port);
        let prefix = format!("{name}_PORT_{}_{protocol}", port.port);
        if let Some(port_name) = port.name.as_deref().filter(|name| !name.is_empty()) {
            variables.insert(format!("{name}_SERVICE_PORT_{}", shell_name(port_name)), port.port.to_string());
        }
        if index == 0 {
            variables.insert(format!("{name}_PORT"), url.clone());
        }
        variables.insert(prefix.clone(), url);
        variables.insert(format!("{prefix}_PROTO"), protocol.to_lowercase());
        variables.insert(format!("{prefix}_PORT"), port.port.to_string());
        variables.insert(format!("{prefix}_ADDR"), ip.to_owned());
    }
}

fn shell_name(name: &str) -> String {
    name.to_uppercase().replace('-', "_")
}

async fn env_from(
    context: &Context,
    namespace: &str,
    container: &Container,
    result: &mut Builder,
) -> Result<(), String> {
    for source in container.env_from.iter().flatten() {
        let prefix = source.prefix.as_deref().unwrap_or_default();
        let data = if let Some(reference) = &source.config_map_ref {
            config_map_data(context, namespace, &reference.name, reference.optional).await?
        } else if let Some(reference) = &source.secret_ref {
            secret_data(context, namespace, &reference.name, reference.optional).await?
        } else {
            continue;
        };
        for (key, value) in data {
            result.set(&format!("{prefix}{key}"), &value);
        }
    }
    Ok(())
}

async fn config_map_data(
    context: &Context,
    namespace: &str,
    name: &str,
    optional: Option<bool>,
) -> Result<BTreeMap<String, String>, String> {
    let found = context.references.config_map(namespace, name).get(PATIENCE).await?;
    match found {
        Some(map) => Ok(map.data.clone().unwrap_or_default()),
        None if optional == Some(true) => Ok(BTreeMap::new()),
        None => Err(format!("configmap {name:?} not found")),
    }
}

async fn secret_data(
    context: &Context,
    namespace: &str,
    name: &str,
    optional: Option<bool>,
) -> Result<BTreeMap<String, String>, String> {
    let found = context.references.secret(namespace, name).get(PATIENCE).await?;
    match found {
        Some(secret) => {
            let data = secret.data.clone().unwrap_or_default();
            Ok(data.into_iter().map(|(key, value)| (key, String::from_utf8_lossy(&value.0).into_owned())).collect())
        }
        None if optional == Some(true) => Ok(BTreeMap::new()),
        None => Err(format!("secret {name:?} not found")),
    }
}

async fn value_from(
    context: &Context,
    place: &Place,
    container: &Container,
    source: &EnvVarSource,
) -> Result<Option<String>, String> {
    let namespace = place.pod.metadata.namespace.as_deref().unwrap_or_default();
    if let Some(field) = &source.field_ref {
        return field_value(place, &context.config.node_name, &field.field_path).map(Some);
    }
    if let Some(resource) = &source.resource_field_ref {
        let name = resource.container_name.as_deref().unwrap_or(&container.name);
        let divisor = resource.divisor.as_ref().map(|divisor| divisor.0.as_str());
        return resource_value(&place.pod, name, &resource.resource, divisor, &allocatable(context)).map(Some);
    }
    let (kind, name, key, optional, data) = if let Some(reference) = &source.config_map_key_ref {
        let data = config_map_data(context, namespace, &reference.name, reference.optional).await?;
        ("ConfigMap", &reference.name, &reference.key, reference.optional, data)
    } else if let Some(reference) = &source.secret_key_ref {
        let data = secret_data(context, namespace, &reference.name, reference.optional).await?;
        ("Secret", &reference.name, &reference.key, reference.optional, data)
    } else {
        return Ok(Some(String::new()));
    };
    match data.get(key) {
        Some(value) => Ok(Some(value.clone())),
        None if optional == Some(true) => Ok(None),
        None => Err(format!("couldn't find key {key} in {kind} {namespace}/{name}")),
    }
}

/// What the node can give at most; a limit that is not set means all of it.
pub fn allocatable(context: &Context) -> BTreeMap<String, String> {
    let node = context.nodes.list().into_iter().next();
    let map = node.and_then(|node| node.status.as_ref()?.allocatable.clone()).unwrap_or_default();
    map.into_iter().map(|(name, quantity)| (name, quantity.0)).collect()
}

pub fn field_value(place: &Place, node_name: &str, path: &str) -> Result<String, String> {
    let pod = &place.pod;
    let metadata = &pod.metadata;
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    if let Some((map, key)) = path.split_once("['").and_then(|(map, rest)| Some((map, rest.strip_suffix("']")?))) {
        let values = match map {
            "metadata.labels" => &metadata.labels,
            "metadata.annotations" => &metadata.annotations,
            _ => return Err(format!("fieldPath {path:?} does not support subscript")),
        };
        return Ok(values.as_ref().and_then(|values| values.get(key)).cloned().unwrap_or_default());
    }
    let ips = if host_network(pod) { &place.host_ips } else { &place.ips };
    let join = |ips: &[IpAddr]| ips.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    Ok(match path {
        "metadata.name" => text(&metadata.name),
        "metadata.namespace" => text(&metadata.namespace),
        "metadata.uid" => text(&metadata.uid),
        "metadata.labels" => lines(metadata.labels.as_ref()),
        "metadata.annotations" => lines(metadata.annotations.as_ref()),
        "spec.nodeName" => node_name.to_owned(),
        "spec.serviceAccountName" => text(&spec(pod).service_account_name),
        "status.podIP" => ips.first().map(ToString::to_string).unwrap_or_default(),
        "status.podIPs" => join(ips),
        "status.hostIP" => place.host_ips.first().map(ToString::to_string).unwrap_or_default(),
        "status.hostIPs" => join(&place.host_ips),
        _ => return Err(format!("unsupported fieldPath: {path}")),
    })
}

/// `key="value"`, a line each, as the downward API writes maps.
fn lines(map: Option<&BTreeMap<String, String>>) -> String {
    let entries = map.into_iter().flatten().map(|(key, value)| format!("{key}={value:?}"));
    entries.collect::<Vec<_>>().join("\n")
}

pub fn resource_value(
    pod: &Pod,
    container: &str,
    resource: &str,
    divisor: Option<&str>,
    allocatable: &BTreeMap<String, String>,
) -> Result<String, String> {
    let (_, container) = find_container(pod, container).ok_or_else(|| format!("container {container} not found"))?;
    let (kind, name) =
        resource.split_once('.').ok_or_else(|| format!("unsupported container resource : {resource}"))?;
    let whole = || allocatable.get(name).and_then(|text| text.parse::<Quantity>().ok());
    let quantity = match kind {
        "limits" => limit(&container, name).filter(|quantity| !quantity.is_zero()).or_else(whole),
        "requests" => request(&container, name),
        _ => return Err(format!("unsupported container resource : {resource}")),
    };
    let quantity = quantity.unwrap_or_default();
    let divisor = divisor.and_then(|text| text.parse::<Quantity>().ok()).filter(|divisor| !divisor.is_zero());
    Ok(divided(name, quantity, divisor).to_string())
}

/// Rounded up, as upstream does.
fn divided(name: &str, quantity: Quantity, divisor: Option<Quantity>) -> i64 {
    let ceiling = |value: i64, by: i64| value.div_euclid(by) + i64::from(value.rem_euclid(by) > 0);
    if name == "cpu" {
        ceiling(quantity.milli_value(), divisor.map_or(1000, Quantity::milli_value).max(1))
    } else {
        ceiling(quantity.value(), divisor.map_or(1, Quantity::value).max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::sync::Arc;

    #[test]
    fn names_are_expanded_and_dollars_escaped() {
        let env = vec![("A".to_owned(), "1".to_owned())];
        let check = |text| expand(text, &env);
        assert_eq!(check("$(A)-$(B)-$$(A)-$A-$"), "1-$(B)-$(A)-$A-$");
        assert_eq!(check("$(A"), "$(A");
    }

    #[test]
    fn a_service_has_its_variables() {
        let service: Service = serde_json::from_value(json!({
            "metadata": { "name": "my-db", "namespace": "ns" },
            "spec": { "clusterIP": "10.0.0.1", "ports": [{ "name": "sql", "port": 5432, "protocol": "TCP" }] },
        }))
        .expect("a service");
        let list = [Arc::new(service)];
        let variables = service_variables(&list, "ns", true);
        let text: Vec<String> = variables.iter().map(|(name, value)| format!("{name}={value}")).collect();
        expect_test::expect![[r#"
            MY_DB_PORT=tcp://10.0.0.1:5432
            MY_DB_PORT_5432_TCP=tcp://10.0.0.1:5432
            MY_DB_PORT_5432_TCP_ADDR=10.0.0.1
            MY_DB_PORT_5432_TCP_PORT=5432
            MY_DB_PORT_5432_TCP_PROTO=tcp
            MY_DB_SERVICE_HOST=10.0.0.1
            MY_DB_SERVICE_PORT=5432
            MY_DB_SERVICE_PORT_SQL=5432"#]]
        .assert_eq(&text.join("\n"));
        assert!(service_variables(&list, "other", true).is_empty());
        assert!(service_variables(&list, "ns", false).is_empty());
    }

    #[test]
    fn resources_are_divided_and_rounded_up() {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {}, "spec": { "containers": [{ "name": "c", "resources": { "limits": { "cpu": "1500m", "memory": "65Mi" } } }] },
        }))
        .expect("a pod");
        let check =
            |resource, divisor| resource_value(&pod, "c", resource, divisor, &BTreeMap::new()).expect("a value");
        assert_eq!([check("limits.cpu", None), check("limits.cpu", Some("1m"))], ["2", "1500"]);
        assert_eq!([check("limits.memory", Some("1Mi")), check("requests.cpu", None)], ["65", "0"]);
    }
}
