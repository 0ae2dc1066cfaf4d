//! How a cache keeps an object: as a value while it is new, as text when others are newer.
//!
//! A value takes several times the memory of its text, most of it for fields that are absent. Text is read anew for whoever asks;
//! its labels can be asked for without reading the rest.

use std::sync::Arc;

use apimachinery::labels::Selector;
use client::Object;

/// Between the names and values of labels, none of which contains it.
const END: u8 = 0;

pub(crate) enum Kept<K> {
    Value(Arc<K>),
    Text(Text),
}

/// The labels, each name and value with an end behind it, then the JSON text of the object: one allocation.
#[derive(Clone)]
pub(crate) struct Text {
    bytes: Arc<[u8]>,
    labels: u32,
}

impl<K> Clone for Kept<K> {
    fn clone(&self) -> Self {
        match self {
            Self::Value(value) => Self::Value(value.clone()),
            Self::Text(text) => Self::Text(text.clone()),
        }
    }
}

impl<K: Object> Kept<K> {
    pub fn value(object: K) -> Self {
        Self::Value(Arc::new(object))
    }

    pub fn text(object: &K) -> Self {
        Self::Text(Text::of(object))
    }

    pub fn object(&self) -> Arc<K> {
        match self {
            Self::Value(value) => value.clone(),
            Self::Text(text) => Arc::new(text.object()),
        }
    }

    pub fn matches(&self, selector: &Selector) -> bool {
        match self {
            Self::Value(value) => {
                let labels = value.metadata().labels.as_ref();
                selector.matches_with(|name| labels.and_then(|labels| labels.get(name)).map(String::as_str))
            }
            Self::Text(text) => selector.matches_with(|name| text.label(name)),
        }
    }
}

impl Text {
    fn of<K: Object>(object: &K) -> Self {
        let mut bytes = Vec::with_capacity(1024);
        for part in object.metadata().labels.iter().flatten().flat_map(|(name, value)| [name, value]) {
            bytes.extend_from_slice(part.as_bytes());
            bytes.push(END);
        }
        let labels = u32::try_from(bytes.len()).expect("labels are shorter than an object may be");
        serde_json::to_writer(&mut bytes, object).expect("an object is JSON");
        Self { bytes: bytes.into(), labels }
    }

    fn object<K: Object>(&self) -> K {
        serde_json::from_slice(&self.bytes[self.labels as usize..]).expect("it was written from such an object")
    }

    fn label(&self, wanted: &str) -> Option<&str> {
        let mut parts = self.bytes[..self.labels as usize].split(|byte| *byte == END);
        while let (Some(name), Some(value)) = (parts.next(), parts.next()) {
            if name == wanted.as_bytes() {
                return std::str::from_utf8(value).ok();
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use api::corev1::Pod;
    use serde_json::json;

    use super::*;

    #[test]
    fn an_object_is_the_same_after_it_was_text() {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": "a", "labels": {"app": "web", "empty": ""}, "creationTimestamp": "2027-01-15T08:00:00Z"},
            "spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": "100m"}},
                "ports": [{"containerPort": 80}], "readinessProbe": {"httpGet": {"port": "http"}}}]},
            "status": {"phase": "Running"},
        }))
        .expect("a pod");
        let text = Kept::text(&pod);
        assert_eq!(*text.object(), pod);
        let matches = |selector: &str| text.matches(&Selector::parse(selector).expect("a selector"));
        assert!(matches("app=web") && matches("empty=") && matches("!other") && matches("app in (web,api)"));
        assert!(!matches("app=api") && !matches("web") && !matches("empty=x"));
    }
}
