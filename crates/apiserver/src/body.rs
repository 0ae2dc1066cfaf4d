//! Bodies of requests and responses.

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;

use apimachinery::Status;

pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
/// The body of every request and response inside the server.
pub type Body = BoxBody<Bytes, BoxError>;

/// The largest request body, and the largest that a write may have as JSON.
pub const REQUEST_BYTES_MAX: usize = 3 * 1024 * 1024;

pub fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed()
}

pub fn empty() -> Body {
    full(Bytes::new())
}

pub fn stream<S>(frames: S) -> Body
where
    S: futures::Stream<Item = Bytes> + Send + Sync + 'static,
{
    use futures::StreamExt;
    BodyExt::boxed(StreamBody::new(frames.map(|bytes| Ok(Frame::data(bytes)))))
}

/// The same body; `kept` lives as long as it.
pub fn with<K: Send + Sync + 'static>(body: Body, kept: K) -> Body {
    BodyExt::boxed(body.map_frame(move |frame| {
        let _ = &kept;
        frame
    }))
}

/// Reads a whole request body, or answers 413.
pub async fn read(mut body: Body) -> Result<Bytes, Status> {
    let mut whole = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Status::bad_request(format!("read the request body: {error}")))?;
        let Ok(data) = frame.into_data() else { continue };
        if whole.len() + data.len() > REQUEST_BYTES_MAX {
            return Err(Status::request_entity_too_large(format!("limit is {REQUEST_BYTES_MAX}")));
        }
        whole.extend_from_slice(&data);
    }
    Ok(whole.into())
}

/// How much of a body that nobody wanted is read so that the connection can go on.
const DRAIN_BYTES_MAX: usize = 256 * 1024;

/// Reads the rest of a body that nobody wanted; false when there is too much of it, or it failed.
pub async fn drain(mut body: Body) -> bool {
    let mut seen = 0;
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { return false };
        seen += frame.data_ref().map_or(0, Bytes::len);
        if seen > DRAIN_BYTES_MAX {
            return false;
        }
    }
    true
}
