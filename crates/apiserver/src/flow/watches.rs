//! Who watches what: a change costs as much as it has watchers.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::query::Query;
use crate::request_info::RequestInfo;

#[derive(Clone, PartialEq, Eq, Hash)]
struct Watched {
    group: String,
    resource: String,
    namespace: String,
    name: String,
}

#[derive(Clone, Default)]
pub struct Watches(Arc<Mutex<HashMap<Watched, u32>>>);

/// One watch; ends with it.
pub struct Watching {
    watches: Watches,
    watched: Watched,
}

impl Drop for Watching {
    fn drop(&mut self) {
        let mut counts = self.watches.0.lock();
        let Some(count) = counts.get_mut(&self.watched) else { return };
        *count -= 1;
        if *count == 0 {
            counts.remove(&self.watched);
        }
    }
}

impl Watches {
    /// Counts a watch. Not one of a node's own pods: few changes concern it.
    pub fn register(&self, info: &RequestInfo, query: &Query) -> Option<Watching> {
        if info.resource == "pods" && query.get("fieldSelector").is_some_and(of_one_node) {
            return None;
        }
        let watched = Watched {
            group: info.group.clone(),
            resource: info.resource.clone(),
            namespace: info.namespace.clone(),
            name: info.name.clone(),
        };
        *self.0.lock().entry(watched.clone()).or_default() += 1;
        Some(Watching { watches: self.clone(), watched })
    }

    /// Who would hear of this change.
    pub fn interested(&self, info: &RequestInfo) -> u32 {
        let counts = self.0.lock();
        if counts.is_empty() {
            return 0;
        }
        let mut watched = Watched {
            group: info.group.clone(),
            resource: info.resource.clone(),
            namespace: String::new(),
            name: String::new(),
        };
        let mut sum = counts.get(&watched).copied().unwrap_or(0);
        if !info.namespace.is_empty() {
            watched.namespace.clone_from(&info.namespace);
            sum += counts.get(&watched).copied().unwrap_or(0);
        }
        if !info.name.is_empty() {
            watched.name.clone_from(&info.name);
            sum += counts.get(&watched).copied().unwrap_or(0);
        }
        sum
    }
}

fn of_one_node(selector: &str) -> bool {
    let selector = apimachinery::fields::Selector::parse(selector);
    selector.is_ok_and(|selector| selector.exact("spec.nodeName").is_some_and(|node| !node.is_empty()))
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;

    fn request(method: &Method, uri: &str) -> (RequestInfo, Query) {
        let (path, query) = uri.split_once('?').unwrap_or((uri, ""));
        let query = Query::parse(query);
        (RequestInfo::parse(method, path, &query), query)
    }

    #[test]
    fn a_change_is_heard_by_watches_of_all_of_its_namespace_and_of_itself() {
        let watches = Watches::default();
        let register = |uri: &str| {
            let (info, query) = request(&Method::GET, uri);
            watches.register(&info, &query)
        };
        let everywhere = register("/api/v1/pods?watch=1");
        let here = register("/api/v1/namespaces/a/pods?watch=1");
        let _there = register("/api/v1/namespaces/b/pods?watch=1");
        assert!(register("/api/v1/pods?watch=1&fieldSelector=spec.nodeName%3Dx").is_none());
        let heard = |uri: &str| watches.interested(&request(&Method::PUT, uri).0);
        assert_eq!(heard("/api/v1/namespaces/a/pods/x"), 2);
        drop((everywhere, here));
        assert_eq!(heard("/api/v1/namespaces/a/pods/x"), 0);
    }
}
