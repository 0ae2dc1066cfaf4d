//! `autoscale`: lets the number of pods follow what they use.

use apimachinery::quantity::Quantity;
use http::Method;
use serde_json::{Value, json};

use super::apply::set_last_applied;
use super::create::SAVE_CONFIG;
use super::writing::{self, DryRun, Writing};
use crate::command::{Command, runs};
use crate::failure::{Failure, fail};
use crate::flags::{Flag, Parsed};
use crate::objects::{Asked, Call, FILENAME_FLAGS, Info, Selection};
use crate::print::OUTPUT_FLAGS;
use crate::session::Session;

pub const COMMAND: Command = Command {
    name: "autoscale",
    about: "Auto-scale a deployment, replica set, stateful set, or replication controller",
    usage: "(-f FILENAME | TYPE NAME | TYPE/NAME) [--min=MINPODS] --max=MAXPODS [--cpu=CPU] [--memory=MEMORY] [options]",
    flags: &[OUTPUT_FLAGS, FILENAME_FLAGS, writing::FLAGS, SAVE_CONFIG, FLAGS],
    run: runs!(run),
    ..Command::EMPTY
};

const FLAGS: &[Flag] = &[
    Flag::text("cpu", "Target CPU utilization over all the pods, as a percentage or as a quantity."),
    Flag::number("cpu-percent", "-1", "Deprecated: use --cpu."),
    Flag::number("max", "-1", "The upper limit for the number of pods that can be set by the autoscaler. Required."),
    Flag::text("memory", "Target memory utilization over all the pods, as a percentage or as a quantity."),
    Flag::number("min", "-1", "The lower limit for the number of pods that can be set by the autoscaler."),
    Flag::text("name", "The name for the newly created object."),
];

async fn run(session: &Session, parsed: Parsed) -> Result<(), Failure> {
    if parsed.given("cpu-percent") {
        session.streams.note(
            "Flag --cpu-percent has been deprecated, Use --cpu with percentage or resource quantity format (e.g., \
             '70%' for utilization or '500m' for milliCPU).",
        );
    }
    if !parsed.given("max") {
        return fail!("required flag(s) \"max\" not set");
    }
    let mut writing = Writing::of(session, &parsed, "kubectl-autoscale")?;
    let wanted = Wanted::of(&parsed)?;
    let asked = Asked::of(session, &parsed)?;
    let selection = asked.select(session).await?;
    let (infos, mut failures) = match selection {
        // What a file describes need not be there yet.
        Selection::Written { .. } => selection.infos(session.client()?).await?,
        _ => selection.fetched(session.client()?).await?,
    };
    let mut count = 0;
    for info in infos {
        match autoscale(session, &parsed, &mut writing, &wanted, &info).await {
            Ok(()) => count += 1,
            Err(failure) => failures.push(failure),
        }
    }
    if count == 0 && failures.is_empty() {
        return fail!("no objects passed to autoscale");
    }
    Failure::all(failures)
}

/// A target: so much of what was requested, or so much for each pod.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Target {
    Utilization(i64),
    AverageValue(String),
}

impl Target {
    /// `70%`, `500m`; a bare number is in the given unit.
    fn parse(input: &str, resource: &str, unit: &str) -> Result<Self, Failure> {
        let input = input.trim();
        if input.is_empty() {
            return fail!("empty input");
        }
        if let Some(percent) = input.strip_suffix('%') {
            return match percent.parse::<i32>() {
                Ok(value) if value >= 0 => Ok(Self::Utilization(value.into())),
                _ => fail!("invalid percentage value: {percent}"),
            };
        }
        let with_unit = input.parse::<f64>().ok().map(|number| format!("{number}{unit}"));
        match with_unit.as_deref().unwrap_or(input).parse::<Quantity>() {
            Ok(quantity) => Ok(Self::AverageValue(quantity.to_string())),
            Err(error) if with_unit.is_some() => fail!("{error}"),
            Err(_) => fail!("invalid resource {resource} value: {input}"),
        }
    }

    fn metric(&self, resource: &str) -> Value {
        let target = match self {
            Self::Utilization(percent) => json!({"type": "Utilization", "averageUtilization": percent}),
            Self::AverageValue(quantity) => json!({"type": "AverageValue", "averageValue": quantity}),
        };
        json!({"type": "Resource", "resource": {"name": resource, "target": target}})
    }
}

/// What the command line wants of every autoscaler.
#[derive(Debug)]
struct Wanted {
    min: i64,
    max: i64,
    cpu_percent: i64,
    cpu: Option<Target>,
    memory: Option<Target>,
}

impl Wanted {
    fn of(parsed: &Parsed) -> Result<Self, Failure> {
        let (min, max, cpu_percent) = (parsed.number("min"), parsed.number("max"), parsed.number("cpu-percent"));
        if max < 1 {
            return fail!("--max=MAXPODS is required and must be at least 1, max: {max}");
        }
        if max < min {
            return fail!("--max=MAXPODS must be larger or equal to --min=MINPODS, max: {max}, min: {min}");
        }
        if cpu_percent > 0 && parsed.some("cpu").is_some() {
            return fail!("--cpu-percent and --cpu are mutually exclusive");
        }
        let target =
            |name: &str, unit: &str| parsed.some(name).map(|input| Target::parse(input, name, unit)).transpose();
        Ok(Self { min, max, cpu_percent, cpu: target("cpu", "m")?, memory: target("memory", "Mi")? })
    }

    fn metrics(&self) -> Vec<Value> {
        let percent = (self.cpu_percent > 0).then_some(Target::Utilization(self.cpu_percent));
        let cpu = [percent.as_ref(), self.cpu.as_ref()].into_iter().flatten().map(|target| target.metric("cpu"));
        cpu.chain(self.memory.as_ref().map(|target| target.metric("memory"))).collect()
    }

    /// Whether the old version can say it; with what stands in its way.
    fn fits_v1(&self) -> Result<(), &'static str> {
        match &self.cpu {
            None => Err("empty input"),
            Some(Target::Utilization(_)) if self.memory.is_none() => Ok(()),
            Some(_) if self.cpu_percent >= 0 && self.memory.is_none() => Ok(()),
            Some(_) => Err("%!w(<nil>)"),
        }
    }

    fn autoscaler(&self, version: &str, name: &str, info: &Info) -> Value {
        let target = json!({"apiVersion": info.mapping.api_version(), "kind": info.mapping.kind, "name": info.name});
        let mut object = json!({
            "apiVersion": format!("autoscaling/{version}"),
            "kind": "HorizontalPodAutoscaler",
            "metadata": {"name": name},
            "spec": {"scaleTargetRef": target, "maxReplicas": self.max},
        });
        if self.min > 0 {
            object["spec"]["minReplicas"] = self.min.into();
        }
        let metrics = self.metrics();
        match version {
            "v1" if self.cpu_percent >= 0 => {
                object["spec"]["targetCPUUtilizationPercentage"] = self.cpu_percent.into();
            }
            "v2" if !metrics.is_empty() => object["spec"]["metrics"] = metrics.into(),
            _ => {}
        }
        object
    }
}

async fn autoscale(
    session: &Session,
    parsed: &Parsed,
    writing: &mut Writing<'_>,
    wanted: &Wanted,
    info: &Info,
) -> Result<(), Failure> {
    let mapping = &info.mapping;
    if !mapping.subresources.iter().any(|name| name == "scale") {
        let (group, version, resource) = (&mapping.group, &mapping.version, &mapping.resource);
        return fail!(
            "cannot autoscale a {}: could not find scale subresource for {group}/{version}, Resource={resource} in \
             discovery information",
            mapping.kind
        );
    }
    let name = parsed.some("name").unwrap_or(&info.name);
    let newest = make(session, parsed, writing, wanted.autoscaler("v2", name, info)).await;
    if newest.is_ok() {
        return Ok(());
    }
    if let Err(why) = wanted.fits_v1() {
        return fail!(
            "failed to create autoscaling/v2 HPA and the configuration is incompatible with autoscaling/v1: {why}"
        );
    }
    make(session, parsed, writing, wanted.autoscaler("v1", name, info)).await
}

async fn make(session: &Session, parsed: &Parsed, writing: &mut Writing<'_>, mut object: Value) -> Result<(), Failure> {
    let (namespace, given) = session.config.namespace();
    if given {
        apimachinery::object::set_namespace(&mut object, &namespace);
    }
    let version = apimachinery::object::api_version(&object).to_owned();
    let version = version.trim_start_matches("autoscaling/");
    let schema = api::schema::kind("autoscaling", version, "HorizontalPodAutoscaler");
    if let Some(schema) = schema {
        apimachinery::strict::normalize(&mut object, schema.node())?;
    }
    if writing.dry_run == DryRun::Client {
        return writing.report(&object, "created");
    }
    if parsed.on("save-config") {
        set_last_applied(&mut object);
    }
    let path = format!("/apis/autoscaling/{version}/namespaces/{namespace}/horizontalpodautoscalers");
    let call = writing.write().on(Call::new(Method::POST, path).json(&object));
    let made = call.value(session.client()?).await?;
    writing.report(&made, "autoscaled")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_percentages_or_quantities() {
        let cpu = |input: &str| Target::parse(input, "cpu", "m").map_err(|failure| failure.text());
        assert_eq!(cpu("70%"), Ok(Target::Utilization(70)));
        assert_eq!(cpu("500"), Ok(Target::AverageValue("500m".into())));
        assert_eq!(cpu("1.5"), Ok(Target::AverageValue("1500u".into())));
        assert_eq!(cpu("2000m"), Ok(Target::AverageValue("2".into())));
        assert_eq!(cpu("x%"), Err("invalid percentage value: x".into()));
        assert_eq!(cpu("x"), Err("invalid resource cpu value: x".into()));
    }
}
