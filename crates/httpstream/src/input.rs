//! What has come for each stream and waits to be read.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::mpsc;

/// Pieces that may wait in one direction: enough to keep a link busy, little enough to push back.
pub const PIECES_MAX: usize = 32;

/// By stream. Neither protocol has flow control that is used: a stream that is not read holds up the others.
#[derive(Clone)]
pub struct Inputs<K>(Arc<Mutex<HashMap<K, mpsc::Sender<Bytes>>>>);

impl<K: Hash + Eq> Inputs<K> {
    pub fn new() -> Self {
        Self(Arc::default())
    }

    pub fn open(&self, key: K) -> mpsc::Receiver<Bytes> {
        let (input, data) = mpsc::channel(PIECES_MAX);
        self.0.lock().insert(key, input);
        data
    }

    /// Waits while the stream is full. What nobody reads any more is dropped.
    pub async fn give(&self, key: &K, data: Bytes) {
        let input = self.0.lock().get(key).cloned();
        if let (Some(input), false) = (input, data.is_empty()) {
            let _ = input.send(data).await;
        }
    }

    pub fn close(&self, key: &K) {
        self.0.lock().remove(key);
    }

    pub fn close_all(&self) {
        self.0.lock().clear();
    }
}
