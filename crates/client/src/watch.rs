//! A watch's answer: one JSON document a line.

use std::collections::VecDeque;

use apimachinery::Status;
use bytes::{Buf, Bytes, BytesMut};
use futures::{Stream, stream};
use http_body_util::BodyExt;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{Body, Error, Object};

#[derive(Clone, Debug)]
pub enum WatchEvent<K> {
    Added(K),
    Modified(K),
    Deleted(K),
    /// Everything up to this version has been seen.
    Bookmark {
        resource_version: String,
    },
}

#[derive(Deserialize)]
struct WireEvent<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(borrow)]
    object: &'a RawValue,
}

#[derive(Deserialize)]
struct WireBookmark {
    metadata: WireBookmarkMeta,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireBookmarkMeta {
    resource_version: String,
}

struct Lines {
    body: Body,
    buffer: BytesMut,
    ready: VecDeque<Bytes>,
}

impl Lines {
    /// The next line. `None` at the end of the body; half a line at the end is dropped, a reconnect repeats it.
    async fn next(&mut self) -> Option<Result<Bytes, Error>> {
        loop {
            if let Some(line) = self.ready.pop_front() {
                return Some(Ok(line));
            }
            match self.body.frame().await? {
                Ok(frame) => self.take(frame.into_data().unwrap_or_default()),
                Err(error) => return Some(Err(Error::Body(error))),
            }
        }
    }

    fn take(&mut self, data: Bytes) {
        let seen = self.buffer.len();
        self.buffer.extend_from_slice(&data);
        let mut from = seen;
        while let Some(at) = self.buffer[from..].iter().position(|byte| *byte == b'\n') {
            let line = self.buffer.split_to(from + at).freeze();
            self.buffer.advance(1);
            from = 0;
            if !line.is_empty() {
                self.ready.push_back(line);
            }
        }
    }
}

/// The events of a watch. An ERROR event ends it with [`Error::Api`].
pub(crate) fn decode<K: Object>(body: Body) -> impl Stream<Item = Result<WatchEvent<K>, Error>> + Send + Unpin {
    let lines = Lines { body, buffer: BytesMut::new(), ready: VecDeque::new() };
    Box::pin(stream::unfold(Some(lines), |lines| async {
        let mut lines = lines?;
        let event = lines.next().await?.and_then(|line| decode_line(&line));
        let go_on = event.is_ok().then_some(lines);
        Some((event, go_on))
    }))
}

fn decode_line<K: Object>(line: &[u8]) -> Result<WatchEvent<K>, Error> {
    let event: WireEvent<'_> = serde_json::from_slice(line).map_err(Error::Decode)?;
    let object = || serde_json::from_slice(event.object.get().as_bytes()).map_err(Error::Decode);
    match event.kind {
        "ADDED" => Ok(WatchEvent::Added(object()?)),
        "MODIFIED" => Ok(WatchEvent::Modified(object()?)),
        "DELETED" => Ok(WatchEvent::Deleted(object()?)),
        "BOOKMARK" => {
            let bookmark: WireBookmark =
                serde_json::from_slice(event.object.get().as_bytes()).map_err(Error::Decode)?;
            Ok(WatchEvent::Bookmark { resource_version: bookmark.metadata.resource_version })
        }
        _ => {
            let status: Status = serde_json::from_slice(event.object.get().as_bytes()).map_err(Error::Decode)?;
            Err(Error::Api(Box::new(status)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::corev1::Pod;
    use futures::StreamExt;

    #[tokio::test]
    async fn events_are_read_from_any_cut_of_the_body() {
        let text = concat!(
            r#"{"type":"ADDED","object":{"apiVersion":"v1","kind":"Pod","metadata":{"name":"a"}}}"#,
            "\n",
            r#"{"type":"BOOKMARK","object":{"apiVersion":"v1","kind":"Pod","metadata":{"resourceVersion":"7"}}}"#,
            "\n",
            r#"{"type":"ERROR","object":{"kind":"Status","apiVersion":"v1","code":410,"reason":"Expired","message":"old"}}"#,
            "\n",
        );
        for size in [1, 7, 100, 1000] {
            let frames = text
                .as_bytes()
                .chunks(size)
                .map(|chunk| Ok::<_, crate::BoxError>(http_body::Frame::data(Bytes::copy_from_slice(chunk))));
            let frames: Vec<_> = frames.collect();
            let body = http_body_util::StreamBody::new(stream::iter(frames)).boxed_unsync();
            let mut events = decode::<Pod>(body);
            assert!(matches!(events.next().await, Some(Ok(WatchEvent::Added(pod))) if pod.name() == "a"));
            assert!(
                matches!(events.next().await, Some(Ok(WatchEvent::Bookmark { resource_version })) if resource_version == "7")
            );
            assert!(matches!(events.next().await, Some(Err(error)) if error.is_gone()));
            assert!(events.next().await.is_none());
        }
    }
}
