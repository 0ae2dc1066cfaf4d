//! What a path and a method ask for.

use http::Method;

use crate::query::{Query, decode_segment};

/// A request, taken apart. For what is not a resource only `path` and `verb` are set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestInfo {
    pub is_resource: bool,
    pub path: String,
    pub verb: &'static str,
    pub group: String,
    pub version: String,
    pub namespace: String,
    pub resource: String,
    pub subresource: String,
    pub name: String,
    /// What follows the subresource: the path behind `proxy`.
    pub rest: String,
}

impl RequestInfo {
    pub fn parse(method: &Method, path: &str, query: &Query) -> RequestInfo {
        let mut info = RequestInfo { path: path.to_string(), verb: plain_verb(method), ..RequestInfo::default() };
        let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
        let Some(rest) = info.take_group(&segments) else { return info };
        info.is_resource = true;
        info.verb = resource_verb(method);
        let rest = info.take_watch_prefix(rest);
        let rest = info.take_namespace(rest);
        info.take_resource(rest, path);
        info.settle_verb(query);
        info
    }

    /// Reads the prefix; `None` when no resource follows.
    fn take_group<'a>(&mut self, segments: &'a [&'a str]) -> Option<&'a [&'a str]> {
        match segments {
            ["api", version, rest @ ..] if !rest.is_empty() => {
                self.version = (*version).to_string();
                Some(rest)
            }
            ["apis", group, version, rest @ ..] if !rest.is_empty() => {
                self.group = (*group).to_string();
                self.version = (*version).to_string();
                Some(rest)
            }
            _ => None,
        }
    }

    fn take_watch_prefix<'a>(&mut self, rest: &'a [&'a str]) -> &'a [&'a str] {
        match rest {
            ["watch", rest @ ..] if !rest.is_empty() => {
                self.verb = "watch";
                rest
            }
            _ => rest,
        }
    }

    fn take_namespace<'a>(&mut self, rest: &'a [&'a str]) -> &'a [&'a str] {
        let ["namespaces", namespace, behind @ ..] = rest else { return rest };
        self.namespace = decode_segment(namespace);
        match behind.first() {
            Some(&("status" | "finalize")) | None => rest,
            Some(_) => behind,
        }
    }

    fn take_resource(&mut self, rest: &[&str], path: &str) {
        let at = |index: usize| rest.get(index).map(|segment| decode_segment(segment)).unwrap_or_default();
        self.resource = at(0);
        self.name = at(1);
        self.subresource = at(2);
        if rest.len() > 3 {
            self.rest = rest[3..].join("/");
        }
        if !self.rest.is_empty() && path.ends_with('/') {
            self.rest.push('/');
        }
    }

    fn settle_verb(&mut self, query: &Query) {
        let selected_name = query.get("fieldSelector").and_then(name_of_selector);
        match self.verb {
            "get" if self.name.is_empty() => {
                self.verb = if query.is_true("watch") { "watch" } else { "list" };
            }
            "delete" if self.name.is_empty() => self.verb = "deletecollection",
            _ => {}
        }
        if matches!(self.verb, "list" | "watch" | "deletecollection") && self.name.is_empty() {
            self.name = selected_name.unwrap_or_default();
        }
    }

    /// Whether the request stays open: it is not counted against the limit of requests in flight.
    pub fn long_running(&self) -> bool {
        let streams = ["attach", "exec", "proxy", "log", "portforward"];
        self.verb == "watch" || streams.contains(&self.subresource.as_str())
    }

    pub fn is_mutating(&self) -> bool {
        !matches!(self.verb, "get" | "list" | "watch")
    }
}

/// The name that a field selector pins.
fn name_of_selector(selector: &str) -> Option<String> {
    let selector = apimachinery::fields::Selector::parse(selector).ok()?;
    selector.exact("metadata.name").map(str::to_string)
}

fn resource_verb(method: &Method) -> &'static str {
    match method.as_str() {
        "POST" => "create",
        "PUT" => "update",
        "PATCH" => "patch",
        "DELETE" => "delete",
        "GET" | "HEAD" => "get",
        _ => "",
    }
}

fn plain_verb(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "get",
        "HEAD" => "head",
        "POST" => "post",
        "PUT" => "put",
        "PATCH" => "patch",
        "DELETE" => "delete",
        "OPTIONS" => "options",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn check(method: Method, uri: &str, want: Expect) {
        let (path, query) = uri.split_once('?').unwrap_or((uri, ""));
        let info = RequestInfo::parse(&method, path, &Query::parse(query));
        let RequestInfo { verb, group, version, namespace, resource, subresource, name, rest, .. } = info;
        let text = format!("{verb} {group}/{version} ns={namespace} {resource}/{name}/{subresource} rest={rest}");
        want.assert_eq(if info.is_resource { &text } else { verb });
    }

    #[test]
    fn paths_are_taken_apart_as_upstream_does() {
        check(Method::GET, "/api/v1/pods", expect!["list /v1 ns= pods// rest="]);
        check(Method::GET, "/api/v1/namespaces/a/pods?watch=1", expect!["watch /v1 ns=a pods// rest="]);
        check(Method::GET, "/api/v1/namespaces/a", expect!["get /v1 ns=a namespaces/a/ rest="]);
        check(Method::PUT, "/api/v1/namespaces/a/finalize", expect!["update /v1 ns=a namespaces/a/finalize rest="]);
        check(
            Method::GET,
            "/api/v1/namespaces/a/services/http:web:80/proxy/x/y/",
            expect!["get /v1 ns=a services/http:web:80/proxy rest=x/y/"],
        );
        check(
            Method::DELETE,
            "/apis/apps/v1/namespaces/a/deployments",
            expect!["deletecollection apps/v1 ns=a deployments// rest="],
        );
        check(Method::GET, "/api/v1/secrets?fieldSelector=metadata.name%3Dx", expect!["list /v1 ns= secrets/x/ rest="]);
        check(Method::GET, "/version", expect!["get"]);
        check(Method::GET, "/apis/apps/v1", expect!["get"]);
    }
}
