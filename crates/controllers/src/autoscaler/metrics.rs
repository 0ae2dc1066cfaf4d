//! Asks the metrics APIs, where somebody serves them.

use api::autoscalingv2::{CrossVersionObjectReference, MetricIdentifier};
use apimachinery::quantity::Quantity;
use client::{Client, Error, discover};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::calculator::{Sample, Samples};
use crate::pods::selector as parsed;

pub(super) struct Metrics {
    client: Client,
}

impl Metrics {
    pub fn new(client: &Client) -> Self {
        Metrics { client: client.clone() }
    }

    /// What the selected pods, or one container of each, use of a resource.
    pub async fn resource(
        &self,
        namespace: &str,
        selector: &str,
        resource: &str,
        container: Option<&str>,
    ) -> Result<Samples, String> {
        let path =
            format!("/apis/metrics.k8s.io/v1beta1/namespaces/{namespace}/pods?labelSelector={}", encode(selector));
        let list = self.get(&path, "resource metrics", "pods.metrics.k8s.io").await?;
        let samples: Samples =
            items(&list).iter().filter_map(|pod| resource_sample(pod, resource, container)).collect();
        if samples.is_empty() {
            return Err("no metrics returned from resource metrics API".into());
        }
        Ok(samples)
    }

    /// A metric of each of the selected pods.
    pub async fn pods(&self, namespace: &str, selector: &str, metric: &MetricIdentifier) -> Result<Samples, String> {
        let query = format!("labelSelector={}&{}", encode(selector), metric_query("metricLabelSelector", metric));
        let path = format!("/apis/custom.metrics.k8s.io/v1beta2/namespaces/{namespace}/pods/*/{}?{query}", metric.name);
        let list = self.get(&path, "custom metrics", "pods.custom.metrics.k8s.io").await?;
        let sample = |item: &Value| {
            let name = item.pointer("/describedObject/name")?.as_str()?.to_owned();
            let window = item["windowSeconds"].as_i64().unwrap_or(60);
            let sample =
                Sample { milli: milli(&item["value"])?, time: time(item), window: SignedDuration::from_secs(window) };
            Some((name, sample))
        };
        let samples: Samples = items(&list).iter().filter_map(sample).collect();
        if samples.is_empty() {
            return Err("no metrics returned from custom metrics API".into());
        }
        Ok(samples)
    }

    /// A metric of one object.
    pub async fn object(
        &self,
        namespace: &str,
        object: &CrossVersionObjectReference,
        metric: &MetricIdentifier,
    ) -> Result<i64, String> {
        let group =
            object.api_version.as_deref().and_then(|version| version.rsplit_once('/')).map_or("", |(group, _)| group);
        let kinds = discover(&self.client).await.map_err(|error| error.to_string())?;
        let kind = kinds.into_iter().find(|kind| kind.group == group && kind.kind == object.kind);
        let kind = kind.ok_or_else(|| format!("no matches for kind {:?} in group {group:?}", object.kind))?;
        let resource = if group.is_empty() { kind.name } else { format!("{}.{group}", kind.name) };
        let query = metric_query("metricLabelSelector", metric);
        let place = format!("namespaces/{namespace}/{resource}/{}/{}", object.name, metric.name);
        let path = format!("/apis/custom.metrics.k8s.io/v1beta2/{place}?{query}");
        let list = self.get(&path, "custom metrics", &format!("{resource}.custom.metrics.k8s.io")).await?;
        let value = items(&list).first().and_then(|item| milli(&item["value"]));
        value.ok_or_else(|| "no metrics returned from custom metrics API".into())
    }

    /// The sum of a metric of something outside.
    pub async fn external(&self, namespace: &str, metric: &MetricIdentifier) -> Result<i64, String> {
        let query = metric_query("labelSelector", metric);
        let path = format!("/apis/external.metrics.k8s.io/v1beta1/namespaces/{namespace}/{}?{query}", metric.name);
        let list = self.get(&path, "external metrics", &format!("{}.external.metrics.k8s.io", metric.name)).await?;
        let values: Vec<i64> = items(&list).iter().filter_map(|item| milli(&item["value"])).collect();
        if values.is_empty() {
            return Err("no metrics returned from external metrics API".into());
        }
        Ok(values.iter().sum())
    }

    async fn get(&self, path: &str, api: &str, what: &str) -> Result<Value, String> {
        self.client.get(path).await.map_err(|error: Error| {
            let why = match error.code() {
                Some(404) => format!("the server could not find the requested resource (get {what})"),
                _ => error.to_string(),
            };
            format!("unable to fetch metrics from {api} API: {why}")
        })
    }
}

fn items(list: &Value) -> &[Value] {
    list["items"].as_array().map(Vec::as_slice).unwrap_or_default()
}

fn milli(value: &Value) -> Option<i64> {
    Some(value.as_str()?.parse::<Quantity>().ok()?.milli_value())
}

fn time(item: &Value) -> Timestamp {
    item["timestamp"].as_str().and_then(|text| text.parse().ok()).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// Of a pod all of whose containers are known.
fn resource_sample(pod: &Value, resource: &str, container: Option<&str>) -> Option<(String, Sample)> {
    let name = pod.pointer("/metadata/name")?.as_str()?.to_owned();
    let containers = pod["containers"].as_array()?.iter();
    let mut wanted = containers.filter(|each| container.is_none_or(|name| each["name"] == name)).peekable();
    wanted.peek()?;
    let used: Option<Vec<i64>> = wanted.map(|each| milli(&each["usage"][resource])).collect();
    let window = pod["window"].as_str().and_then(|text| text.parse::<SignedDuration>().ok());
    Some((name, Sample { milli: used?.iter().sum(), time: time(pod), window: window.unwrap_or_default() }))
}

fn metric_query(parameter: &str, metric: &MetricIdentifier) -> String {
    let selector = metric.selector.as_ref().map(|selector| parsed(selector).to_string());
    selector.map(|selector| format!("{parameter}={}", encode(&selector))).unwrap_or_default()
}

/// Percent-encodes what a selector may hold.
fn encode(text: &str) -> String {
    let keeps = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes().map(|byte| if keeps(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_pod_is_the_sum_of_its_containers_or_one_of_them() {
        let container = |name: &str, cpu: &str| json!({"name": name, "usage": {"cpu": cpu}});
        let pod = json!({"metadata": {"name": "a"}, "window": "30s", "containers": [container("x", "100m"), container("y", "1")]});
        let used = |container| resource_sample(&pod, "cpu", container).map(|(_, sample)| sample.milli);
        assert_eq!((used(None), used(Some("y")), used(Some("z"))), (Some(1100), Some(1000), None));
        assert_eq!(resource_sample(&pod, "memory", None).map(|(name, _)| name), None);
        assert_eq!(encode("app in (a,b)"), "app%20in%20%28a%2Cb%29");
    }
}
