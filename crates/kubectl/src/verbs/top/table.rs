//! The tables of usages. Every cell ends in a tab, the last one, too.

use std::collections::BTreeMap;

use apimachinery::quantity::Quantity;
use serde_json::Value;

const UNKNOWN: &str = "<unknown>";

/// How a table is to look.
pub struct Layout<'a> {
    pub sort_by: &'a str,
    pub headers: bool,
    pub swap: bool,
    pub namespace: bool,
    pub containers: bool,
    pub sum: bool,
}

impl Layout<'_> {
    fn resources(&self) -> &'static [&'static str] {
        if self.swap { &["cpu", "memory", "swap"] } else { &["cpu", "memory"] }
    }
}

/// What something uses.
#[derive(Clone, Debug, Default)]
pub struct Usage {
    namespace: String,
    name: String,
    amounts: BTreeMap<&'static str, Quantity>,
}

const MEASURED: [&str; 3] = ["cpu", "memory", "swap"];

impl Usage {
    pub fn of_node(metrics: &Value) -> Self {
        let mut usage = Self { name: apimachinery::object::name(metrics).to_owned(), ..Self::default() };
        usage.add(&metrics["usage"]);
        usage
    }

    fn of_container(container: &Value) -> Self {
        let mut usage = Self { name: container["name"].as_str().unwrap_or_default().to_owned(), ..Self::default() };
        usage.add(&container["usage"]);
        usage
    }

    fn of_pod(metrics: &Value) -> Self {
        let mut usage = Self {
            namespace: apimachinery::object::namespace(metrics).to_owned(),
            name: apimachinery::object::name(metrics).to_owned(),
            ..Self::default()
        };
        containers(metrics).iter().for_each(|container| usage.add(&container["usage"]));
        usage
    }

    fn add(&mut self, amounts: &Value) {
        for resource in MEASURED {
            *self.amounts.entry(resource).or_default() += Quantity::of(&amounts[resource]);
        }
    }

    fn amount(&self, resource: &str) -> Quantity {
        self.amounts.get(resource).copied().unwrap_or_default()
    }

    fn cell(&self, resource: &str) -> String {
        let amount = self.amount(resource);
        if resource == "cpu" { format!("{}m\t", amount.milli_value()) } else { format!("{}Mi\t", amount.value() >> 20) }
    }

    fn cells(&self, resources: &[&str]) -> String {
        resources.iter().map(|resource| self.cell(resource)).collect()
    }
}

fn containers(metrics: &Value) -> &[Value] {
    metrics["containers"].as_array().map(Vec::as_slice).unwrap_or_default()
}

/// The greatest first, or by name.
fn sort(usages: &mut [Usage], layout: &Layout<'_>) {
    match layout.sort_by {
        "" => usages.sort_by(|one, other| {
            let places = if layout.namespace { one.namespace.cmp(&other.namespace) } else { std::cmp::Ordering::Equal };
            places.then_with(|| one.name.cmp(&other.name))
        }),
        resource => usages.sort_by_key(|usage| std::cmp::Reverse(usage.amount(resource))),
    }
}

pub fn node_table(mut usages: Vec<Usage>, mut available: BTreeMap<String, Value>, layout: &Layout<'_>) -> String {
    sort(&mut usages, layout);
    let mut text = String::new();
    if layout.headers {
        text.push_str("NAME\tCPU(cores)\tCPU(%)\tMEMORY(bytes)\tMEMORY(%)\t");
        text.push_str(if layout.swap { "SWAP(bytes)\tSWAP(%)\t\n" } else { "\n" });
    }
    for usage in &usages {
        let of_node = available.remove(&usage.name);
        text.push_str(&format!("{}\t", usage.name));
        for resource in layout.resources() {
            text.push_str(&node_cells(usage, of_node.as_ref(), resource));
        }
        text.push('\n');
    }
    for name in available.keys() {
        text.push_str(&format!("{name}\t"));
        text.push_str(&format!("{UNKNOWN}\t").repeat(2 * layout.resources().len()));
        text.push('\n');
    }
    text
}

fn node_cells(usage: &Usage, available: Option<&Value>, resource: &str) -> String {
    let has = available.map(|available| &available[resource]).filter(|has| !has.is_null());
    match has {
        None if resource == "swap" && available.is_some() => format!("{UNKNOWN}\t{UNKNOWN}\t"),
        None => usage.cell(resource),
        Some(has) => {
            format!("{}{}%\t", usage.cell(resource), percent(usage.amount(resource), Quantity::of(has)))
        }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "a percentage, cut as upstream cuts it"
)]
fn percent(used: Quantity, available: Quantity) -> i64 {
    if available.is_zero() {
        return 0;
    }
    (used.milli_value() as f64 / available.milli_value() as f64 * 100.0) as i64
}

pub fn pod_table(metrics: Vec<Value>, layout: &Layout<'_>) -> String {
    let mut text = String::new();
    let resources = layout.resources();
    let mut columns = 1 + resources.len();
    if layout.headers {
        for (shown, name) in [(layout.namespace, "NAMESPACE\t"), (layout.containers, "POD\t")] {
            text.push_str(if shown { name } else { "" });
            columns += usize::from(shown);
        }
        text.push_str("NAME\tCPU(cores)\tMEMORY(bytes)\t");
        text.push_str(if layout.swap { "SWAP(bytes)\t\n" } else { "\n" });
    }
    let mut pods: Vec<Usage> = metrics.iter().map(Usage::of_pod).collect();
    sort(&mut pods, layout);
    for pod in &pods {
        let place = if layout.namespace { format!("{}\t", pod.namespace) } else { String::new() };
        if !layout.containers {
            text.push_str(&format!("{place}{}\t{}\n", pod.name, pod.cells(resources)));
            continue;
        }
        let own = |metrics: &&Value| {
            (apimachinery::object::namespace(metrics), apimachinery::object::name(metrics))
                == (pod.namespace.as_str(), pod.name.as_str())
        };
        let mut parts: Vec<Usage> = metrics.iter().filter(own).flat_map(containers).map(Usage::of_container).collect();
        sort(&mut parts, layout);
        for part in parts {
            text.push_str(&format!("{place}{}\t{}\t{}\n", pod.name, part.name, part.cells(resources)));
        }
    }
    if layout.sum {
        text.push_str(&sum(&pods, columns, resources));
    }
    text
}

/// A line, and what all pods use together.
fn sum(pods: &[Usage], columns: usize, resources: &[&str]) -> String {
    let mut total = Usage::default();
    for pod in pods {
        for resource in MEASURED {
            *total.amounts.entry(resource).or_default() += pod.amount(resource);
        }
    }
    let line = format!("{}________\t________\t\n", "\t".repeat(columns - 2));
    format!("{line}{}\t{}\n", "\t".repeat(columns - 3), total.cells(resources))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::print::TabWriter;
    use expect_test::{Expect, expect};
    use serde_json::json;

    fn check(text: &str, wanted: Expect) {
        let mut writer = TabWriter::table();
        writer.write(text);
        let trimmed: String = writer.flush().lines().map(|line| format!("{}\n", line.trim_end())).collect();
        wanted.assert_eq(&trimmed);
    }

    fn layout(sort_by: &str) -> Layout<'_> {
        Layout { sort_by, headers: true, swap: false, namespace: false, containers: false, sum: false }
    }

    #[test]
    fn nodes_are_measured_by_what_they_have() {
        let node =
            |name: &str, cpu: &str| json!({"metadata": {"name": name}, "usage": {"cpu": cpu, "memory": "512Mi"}});
        let usages = vec![Usage::of_node(&node("b", "250m")), Usage::of_node(&node("a", "1500000001n"))];
        let has = json!({"cpu": "2", "memory": "1Gi"});
        let available: BTreeMap<String, Value> =
            ["a", "b", "c"].map(|name| (name.to_owned(), has.clone())).into_iter().collect();
        check(
            &node_table(usages.clone(), available.clone(), &layout("")),
            expect![[r#"
            NAME   CPU(cores)   CPU(%)      MEMORY(bytes)   MEMORY(%)
            a      1501m        75%         512Mi           50%
            b      250m         12%         512Mi           50%
            c      <unknown>    <unknown>   <unknown>       <unknown>
        "#]],
        );
        let swap = Layout { swap: true, headers: false, ..layout("cpu") };
        check(
            &node_table(usages, available, &swap),
            expect![[r#"
            a     1501m       75%         512Mi       50%         <unknown>   <unknown>
            b     250m        12%         512Mi       50%         <unknown>   <unknown>
            c     <unknown>   <unknown>   <unknown>   <unknown>   <unknown>   <unknown>
        "#]],
        );
    }

    #[test]
    fn pods_are_shown_whole_or_by_container() {
        let container = |name: &str, cpu: &str| json!({"name": name, "usage": {"cpu": cpu, "memory": "10Mi"}});
        let pods = vec![
            json!({"metadata": {"name": "b", "namespace": "x"}, "containers": [container("c", "1m"), container("a", "2m")]}),
            json!({"metadata": {"name": "a", "namespace": "y"}, "containers": [container("z", "7m")]}),
        ];
        check(
            &pod_table(pods.clone(), &Layout { sum: true, ..layout("") }),
            expect![[r#"
            NAME   CPU(cores)   MEMORY(bytes)
            a      7m           10Mi
            b      3m           20Mi
                   ________     ________
                   10m          30Mi
        "#]],
        );
        let whole = Layout { namespace: true, containers: true, sum: true, ..layout("") };
        check(
            &pod_table(pods, &whole),
            expect![[r#"
            NAMESPACE   POD   NAME   CPU(cores)   MEMORY(bytes)
            x           b     a      2m           10Mi
            x           b     c      1m           10Mi
            y           a     z      7m           10Mi
                                     ________     ________
                                     10m          30Mi
        "#]],
        );
    }
}
