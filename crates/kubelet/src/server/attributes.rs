//! What a request to the kubelet is, in words of the API: a verb and subresources of the node. Pure.

/// A request as it is authorized: allowed if any of the subresources is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attributes {
    pub verb: &'static str,
    /// The narrow one first; `proxy` stands for all.
    pub subresources: &'static [&'static str],
}

pub fn attributes(method: &str, path: &str) -> Attributes {
    let verb = match method {
        "POST" => "create",
        "GET" => "get",
        "PUT" => "update",
        "PATCH" => "patch",
        "DELETE" => "delete",
        _ => "",
    };
    Attributes { verb, subresources: subresources(path) }
}

fn subresources(path: &str) -> &'static [&'static str] {
    match path.trim_start_matches('/').split('/').next().unwrap_or_default() {
        "stats" => &["stats"],
        "metrics" => &["metrics"],
        "logs" => &["log"],
        "checkpoint" => &["checkpoint"],
        "pods" | "runningpods" => &["pods", "proxy"],
        "healthz" => &["healthz", "proxy"],
        "configz" => &["configz", "proxy"],
        _ => &["proxy"],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_subresources_of_the_node() {
        let of = |method, path| {
            let Attributes { verb, subresources } = attributes(method, path);
            format!("{verb} {}", subresources.join(","))
        };
        for (method, path, expected) in [
            ("GET", "/stats/summary", "get stats"),
            ("GET", "/metrics", "get metrics"),
            ("GET", "/metrics/resource", "get metrics"),
            ("GET", "/metricsx", "get proxy"),
            ("GET", "/pods", "get pods,proxy"),
            ("GET", "/healthz", "get healthz,proxy"),
            ("GET", "/logs/", "get log"),
            ("POST", "/exec/default/web/c", "create proxy"),
            ("GET", "/containerLogs/default/web/c", "get proxy"),
            ("OPTIONS", "/", " proxy"),
        ] {
            assert_eq!(of(method, path), expected, "{method} {path}");
        }
    }
}
