//! Keeps a cache equal to the server's state: list once, then watch.

use std::sync::Arc;
use std::time::Duration;

use client::{Api, Error, ListParams, Object, WatchEvent};
use futures::StreamExt;
use rt::Backoff;

use crate::kept::Kept;
use crate::lister::Shared;

const PAGE: u32 = 500;
const BACKOFF_INITIAL: Duration = Duration::from_millis(50);
const BACKOFF_MAX: Duration = Duration::from_secs(2);

pub(crate) struct Reflector<K> {
    pub api: Api<K>,
    pub params: ListParams,
    /// Drops what is not kept.
    pub unread: fn(&mut K),
    pub shared: Arc<Shared<K>>,
}

/// Where a reflector stands.
enum Position {
    /// It must list.
    Unknown,
    /// It has seen everything up to this version.
    At(String),
}

enum Progress {
    Moved,
    /// A watch that ended without a word, as those of a server that stops: the next one waits.
    None,
}

impl<K: Object> Reflector<K> {
    /// Runs until it is dropped. Reconnects, and lists again only when the server has forgotten its position.
    pub async fn run(self) {
        let mut position = Position::Unknown;
        let mut backoff = Backoff::new(BACKOFF_INITIAL, BACKOFF_MAX, 2.0);
        loop {
            match self.step(&mut position, &mut backoff).await {
                Ok(Progress::Moved) => continue,
                Ok(Progress::None) => {}
                Err(error) if error.is_gone() => position = Position::Unknown,
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::debug!(kind = K::KIND, error, "list or watch failed; trying again");
                }
            }
            tokio::time::sleep(backoff.next()).await;
        }
    }

    async fn step(&self, position: &mut Position, backoff: &mut Backoff) -> Result<Progress, Error> {
        match position {
            Position::Unknown => *position = Position::At(self.list().await?),
            Position::At(version) => return self.watch(version, backoff).await,
        }
        Ok(Progress::Moved)
    }

    async fn list(&self) -> Result<String, Error> {
        let mut params = ListParams { limit: Some(PAGE), ..self.params.clone() };
        let mut objects = Vec::new();
        loop {
            let page = self.api.list(&params).await?;
            let keep = if page.continue_token.is_some() { |object| Kept::text(&object) } else { Kept::value };
            objects.extend(page.items.into_iter().map(|object| keep(self.trimmed(object))));
            match page.continue_token {
                Some(token) => params.continue_token = Some(token),
                None => {
                    self.shared.replace(objects);
                    return Ok(page.resource_version);
                }
            }
        }
    }

    /// Follows until the server ends the watch, which it does from time to time.
    async fn watch(&self, version: &mut String, backoff: &mut Backoff) -> Result<Progress, Error> {
        let mut events = self.api.watch(&self.params, version).await?;
        let mut progress = Progress::None;
        while let Some(event) = events.next().await {
            *version = self.apply(event?);
            backoff.reset();
            progress = Progress::Moved;
        }
        Ok(progress)
    }

    fn apply(&self, event: WatchEvent<K>) -> String {
        match event {
            WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                let version = object.resource_version().to_owned();
                self.shared.put(self.trimmed(object));
                version
            }
            WatchEvent::Deleted(object) => {
                self.shared.remove(&object.key());
                object.resource_version().to_owned()
            }
            WatchEvent::Bookmark { resource_version } => resource_version,
        }
    }

    /// Without what no component reads: of every object who manages its fields, and the kind's own part.
    fn trimmed(&self, mut object: K) -> K {
        object.metadata_mut().managed_fields = None;
        (self.unread)(&mut object);
        object
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use api::corev1::Pod;
    use async_trait::async_trait;
    use client::{Body, Client, Transport, TransportError, body};

    use super::*;
    use crate::lister::Lister;

    /// Lists nothing, and ends every watch at once.
    #[derive(Default)]
    struct Stopping(AtomicU32);

    #[async_trait]
    impl Transport for Stopping {
        async fn send(&self, request: http::Request<Body>) -> Result<http::Response<Body>, TransportError> {
            assert!(self.0.fetch_add(1, Ordering::Relaxed) < 100, "the reflector asks without a pause");
            let is_watch = request.uri().query().is_some_and(|query| query.contains("watch=true"));
            let list = r#"{"metadata":{"resourceVersion":"1"},"items":[]}"#;
            Ok(http::Response::new(body(if is_watch { "" } else { list })))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_watch_that_ends_at_once_is_asked_for_with_pauses() {
        let transport = Arc::new(Stopping::default());
        let client = Client::new(transport.clone(), "test");
        let shared = Lister::<Pod>::of(Vec::new()).0;
        let reflector = Reflector { api: Api::all(&client), params: ListParams::default(), unread: |_| (), shared };
        let ended = tokio::time::timeout(Duration::from_secs(60), reflector.run()).await;
        assert!(ended.is_err(), "it goes on");
        assert!(transport.0.load(Ordering::Relaxed) > 10, "it asks again");
    }
}
