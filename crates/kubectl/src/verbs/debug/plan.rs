//! The pods and containers that debugging adds: pure, but for the names that are drawn by lot.

use std::collections::BTreeMap;

use regex::Regex;
use serde_json::{Map, Value, json};

use super::custom;
use super::profile::{Profile, Style};
use crate::failure::{Failure, fail};
use crate::flags::Parsed;

/// What the flags ask for.
#[derive(Clone, Debug)]
pub struct Wanted {
    pub container: String,
    pub copy_to: String,
    pub image: String,
    pub set_images: BTreeMap<String, String>,
    pub env: Vec<Value>,
    pub words: Vec<String>,
    pub arguments_only: bool,
    pub pull_policy: String,
    pub stdin: bool,
    pub tty: bool,
    pub target: String,
    pub same_node: bool,
    pub share_processes: Option<bool>,
    pub profile: Profile,
    pub custom: Option<Value>,
}

impl Wanted {
    pub fn of(parsed: &Parsed, words: &[String]) -> Result<Self, Failure> {
        let own = |flag: &str| parsed.text(flag).to_owned();
        let env = pairs(parsed, "env")?;
        Ok(Self {
            container: own("container"),
            copy_to: own("copy-to"),
            image: own("image"),
            set_images: pairs(parsed, "set-image")?,
            env: env.into_iter().map(|(name, value)| json!({"name": name, "value": value})).collect(),
            words: words.to_vec(),
            arguments_only: parsed.on("arguments-only"),
            pull_policy: own("image-pull-policy"),
            stdin: parsed.on("stdin"),
            tty: parsed.on("tty"),
            target: own("target"),
            same_node: parsed.on("same-node"),
            share_processes: parsed.given("share-processes").then(|| parsed.on("share-processes")),
            profile: Profile::of(parsed)?,
            custom: parsed.some("custom").map(custom::read).transpose()?,
        })
    }

    pub fn check(&self, parsed: &Parsed) -> Result<(), Failure> {
        if parsed.given("attach") && parsed.on("attach") && self.image.is_empty() && self.container.is_empty() {
            return fail!("you must specify --container or create a new container using --image in order to attach.");
        }
        self.check_copy(parsed)?;
        if !self.image.is_empty() && !is_image(&self.image) {
            return fail!("invalid image name {:?}: invalid reference format", self.image);
        }
        Ok(())
    }

    fn check_copy(&self, parsed: &Parsed) -> Result<(), Failure> {
        let (has_image, has_words) = (!self.image.is_empty(), !self.words.is_empty());
        match self.copy_to.is_empty() {
            false if !has_image && self.set_images.is_empty() && !has_words => {
                fail!("you must specify --image, --set-image or command arguments.")
            }
            false if has_words && self.container.is_empty() && !has_image => {
                fail!("you must specify an existing container or a new image when specifying args.")
            }
            true if parsed.on("replace") => fail!("--replace may only be used with --copy-to."),
            true if self.same_node => fail!("--same-node may only be used with --copy-to."),
            true if !self.set_images.is_empty() => fail!("--set-image may only be used with --copy-to."),
            true if !has_image => fail!("you must specify --image when not using --copy-to."),
            _ => Ok(()),
        }
    }

    pub fn check_more(&self) -> Result<(), Failure> {
        if !["", "Always", "IfNotPresent", "Never"].contains(&self.pull_policy.as_str()) {
            return fail!("invalid image pull policy: {}", self.pull_policy);
        }
        for (name, image) in &self.set_images {
            if !is_image(image) {
                return fail!("invalid image name {image:?} for container {name:?}: invalid reference format");
            }
        }
        if !self.target.is_empty() && !self.copy_to.is_empty() {
            return fail!("--target is incompatible with --copy-to. Use --share-processes instead.");
        }
        Ok(())
    }

    /// What every new container has.
    fn new_container(&self, name: &str) -> Value {
        let mut container = json!({
            "name": name, "image": self.image, "resources": {}, "terminationMessagePolicy": "File",
        });
        self.fill(&mut container);
        container
    }

    fn fill(&self, container: &mut Value) {
        if !self.words.is_empty() {
            container[if self.arguments_only { "args" } else { "command" }] = json!(self.words);
        }
        if !self.env.is_empty() {
            container["env"] = json!(self.env);
        }
        if !self.pull_policy.is_empty() {
            container["imagePullPolicy"] = self.pull_policy.as_str().into();
        }
        for (field, value) in [("stdin", self.stdin), ("tty", self.tty)] {
            match (value, container.as_object_mut()) {
                (true, Some(map)) => drop(map.insert(field.into(), true.into())),
                (false, Some(map)) => drop(map.remove(field)),
                (_, None) => {}
            }
        }
    }

    /// The container to add to a running pod.
    pub fn ephemeral_container(&self, pod: &Value, name: &str) -> Result<Value, Failure> {
        let known = pod["spec"]["ephemeralContainers"].as_array().into_iter().flatten();
        let mut container = match known.into_iter().find(|known| known["name"] == name) {
            // The server says that it cannot be changed.
            Some(known) => known.clone(),
            None => self.new_container(name),
        };
        if !self.target.is_empty() {
            container["targetContainerName"] = self.target.as_str().into();
        }
        let mut pod = json!({"metadata": pod["metadata"], "spec": {"ephemeralContainers": [container]}});
        self.profile.apply(&mut pod, name, Style::Ephemeral);
        let mut container = pod["spec"]["ephemeralContainers"][0].take();
        if let Some(custom) = &self.custom {
            custom::merge(&mut container, custom);
        }
        Ok(container)
    }

    /// A pod on a node, in the node's own namespaces.
    pub fn node_pod(&self, node: &str, name: &str, container: &str) -> Result<Value, Failure> {
        let mut pod = json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "labels": {"app.kubernetes.io/managed-by": "kubectl-debug"}},
            "spec": {
                "containers": [self.new_container(container)],
                "nodeName": node,
                "restartPolicy": "Never",
                "tolerations": [{"operator": "Exists"}],
            },
        });
        self.profile.apply(&mut pod, container, Style::Node);
        self.customize(&mut pod, container)?;
        Ok(pod)
    }

    /// A copy of a pod, and which container in it is the debugging one, if one is.
    pub fn copy(&self, pod: &Value, draw: impl FnOnce() -> String) -> Result<(Value, Option<String>), Failure> {
        let mut copied = self.bare_copy(pod);
        let mut name = self.container.clone();
        if !has_container(&copied, &name) {
            if self.image.is_empty() && !self.set_images.is_empty() {
                return Ok((copied, None));
            }
            if self.image.is_empty() {
                return fail!("you must specify image when creating new container");
            }
            if name.is_empty() {
                name = draw();
            }
            let new = json!({"name": name, "resources": {}, "terminationMessagePolicy": "File"});
            copied["spec"]["containers"].as_array_mut().ok_or("the pod has no containers")?.push(new);
        }
        let container = find_container(&mut copied, &name).ok_or("the container is gone")?;
        if !self.words.is_empty() && !self.arguments_only {
            container.as_object_mut().map(|map: &mut Map<String, Value>| map.remove("args"));
        }
        if !self.image.is_empty() {
            container["image"] = self.image.as_str().into();
        }
        self.fill(container);
        self.profile.apply(&mut copied, &name, Style::Copy);
        self.customize(&mut copied, &name)?;
        Ok((copied, Some(name)))
    }

    fn bare_copy(&self, pod: &Value) -> Value {
        let mut metadata = json!({"name": self.copy_to, "namespace": pod["metadata"]["namespace"]});
        for field in ["annotations", "labels"] {
            if pod["metadata"][field].is_object() {
                metadata[field] = pod["metadata"][field].clone();
            }
        }
        let mut spec = pod["spec"].clone();
        if let Some(map) = spec.as_object_mut() {
            map.remove("ephemeralContainers");
            if !self.same_node {
                map.remove("nodeName");
            }
            if let Some(shares) = self.share_processes {
                map.insert("shareProcessNamespace".into(), shares.into());
            }
        }
        for container in spec["containers"].as_array_mut().into_iter().flatten() {
            let name = container["name"].as_str().unwrap_or_default();
            if let Some(image) = self.set_images.get(name).or(self.set_images.get("*")) {
                container["image"] = image.as_str().into();
            }
        }
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
    }

    fn customize(&self, pod: &mut Value, name: &str) -> Result<(), Failure> {
        let Some(custom) = &self.custom else { return Ok(()) };
        let pod_name = apimachinery::object::name(pod).to_owned();
        let containers = pod["spec"]["containers"].as_array_mut().into_iter().flatten();
        match containers.into_iter().find(|one| one["name"] == name) {
            Some(container) => custom::merge(container, custom),
            None => return fail!("unable to find the {name} container in the pod {pod_name}"),
        }
        Ok(())
    }
}

const LISTS: [&str; 3] = ["containers", "initContainers", "ephemeralContainers"];

pub fn has_container(pod: &Value, name: &str) -> bool {
    let mut all = LISTS.iter().filter_map(|list| pod["spec"][list].as_array()).flatten();
    all.any(|one| one["name"] == name)
}

fn find_container<'a>(pod: &'a mut Value, name: &str) -> Option<&'a mut Value> {
    let spec = pod["spec"].as_object_mut()?;
    let lists = spec.into_iter().filter(|(key, _)| LISTS.contains(&key.as_str()));
    lists.filter_map(|(_, list)| list.as_array_mut()).flatten().find(|one| one["name"] == name)
}

/// Whether the pod's user is not root and the container hopes for capabilities all the same.
pub fn lacks_capabilities(pod: &Value, container: &Value) -> bool {
    let (of_pod, of_container) = (&pod["spec"]["securityContext"]["runAsUser"], &container["securityContext"]);
    let is_user = |value: &Value| value.as_i64().is_some_and(|user| user != 0);
    let has_more = of_container["privileged"] == true
        || of_container["capabilities"]["add"].as_array().is_some_and(|add| !add.is_empty());
    is_user(of_pod) && has_more && of_container["runAsUser"] != 0
}

fn pairs(parsed: &Parsed, flag: &str) -> Result<BTreeMap<String, String>, Failure> {
    let pair = |word: String| match word.split_once('=') {
        Some((key, value)) => Ok((key.to_owned(), value.to_owned())),
        None => fail!("invalid argument {word:?} for \"--{flag}\" flag: {word} must be formatted as key=value"),
    };
    parsed.list(flag).into_iter().map(pair).collect()
}

/// Whether the text names an image: a registry's host, a path, a tag, a digest.
fn is_image(text: &str) -> bool {
    let label = "(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])";
    let host = format!(r"(?:{label}(?:\.{label})*|\[(?:[a-fA-F0-9:]+)\])(?::[0-9]+)?");
    let part = "[a-z0-9]+(?:(?:[._]|__|[-]+)[a-z0-9]+)*";
    let digest = "[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}";
    let whole = format!(r"^(?:{host}/)?{part}(?:/{part})*(?::[A-Za-z0-9_][A-Za-z0-9_.-]{{0,127}})?(?:@{digest})?$");
    Regex::new(&whole).expect("a fixed expression").is_match(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(line: &str) -> Wanted {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let parsed = crate::flags::parse(&[super::super::FLAGS], &words).expect("good flags");
        let at = parsed.before_dash.unwrap_or(parsed.arguments.len());
        Wanted::of(&parsed, &parsed.arguments[at..]).expect("good values")
    }

    fn pod() -> Value {
        json!({
            "metadata": {"name": "p", "namespace": "n", "uid": "u", "labels": {"a": "b"}},
            "spec": {"nodeName": "node", "containers": [{"name": "web", "image": "w", "args": ["x"]}, {"name": "side", "image": "s"}]},
            "status": {},
        })
    }

    #[test]
    fn a_copy_has_a_container_more() {
        let (copy, name) = wanted("--copy-to=c --image=i -it").copy(&pod(), || "debugger-x".into()).expect("a copy");
        assert_eq!(name.as_deref(), Some("debugger-x"));
        assert_eq!(copy["metadata"], json!({"name": "c", "namespace": "n"}));
        assert_eq!(copy["spec"]["nodeName"], Value::Null);
        assert_eq!(copy["spec"]["shareProcessNamespace"], true);
        let added = json!({
            "name": "debugger-x", "image": "i", "resources": {}, "terminationMessagePolicy": "File", "stdin": true,
            "tty": true, "securityContext": {"capabilities": {"add": ["SYS_PTRACE"]}},
        });
        assert_eq!(copy["spec"]["containers"][2], added);
    }

    #[test]
    fn a_copy_may_have_other_images_and_words() {
        let line = "--copy-to=c --set-image=*=new,side=other --same-node --share-processes=false";
        let (copy, name) = wanted(line).copy(&pod(), String::new).expect("a copy");
        assert_eq!((name, copy["spec"]["nodeName"].as_str()), (None, Some("node")));
        assert_eq!(
            (&copy["spec"]["containers"][0]["image"], &copy["spec"]["containers"][1]["image"]),
            (&json!("new"), &json!("other"))
        );
        assert_eq!(copy["spec"]["shareProcessNamespace"], false);
        let (copy, _) = wanted("--copy-to=c -c web -- sh").copy(&pod(), String::new).expect("a copy");
        assert_eq!(copy["spec"]["containers"][0]["command"], json!(["sh"]));
        assert_eq!(copy["spec"]["containers"][0]["args"], Value::Null);
    }

    #[test]
    fn images_are_named_well() {
        for good in ["busybox", "r.io:5000/a/b:1.2", "[::1]:80/a", "a/b__c@sha256:0123456789abcdef0123456789abcdef"] {
            assert!(is_image(good), "{good}");
        }
        for bad in ["Busy", "a b", "a:", "-a", ""] {
            assert!(!is_image(bad), "{bad}");
        }
    }
}
