//! What a signature proved once need not be proved again: verified credentials by their digest.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use sha2::{Digest, Sha256};

/// More than the credentials that a cluster of ours uses at a time; beyond it, all are verified anew once.
const REMEMBERED_MAX: usize = 4096;

/// Only what succeeded is remembered. Whatever depends on the time or on living objects is not part of the value, and is to
/// be checked at each use.
pub struct Remembered<V>(Mutex<HashMap<[u8; 32], Arc<V>>>);

impl<V> Default for Remembered<V> {
    fn default() -> Self {
        Remembered(Mutex::default())
    }
}

impl<V> Remembered<V> {
    pub fn get_or_verify<'a, E>(
        &self,
        credential: impl IntoIterator<Item = &'a [u8]>,
        verify: impl FnOnce() -> Result<V, E>,
    ) -> Result<Arc<V>, E> {
        let mut digest = Sha256::new();
        for part in credential {
            digest.update(part.len().to_le_bytes());
            digest.update(part);
        }
        let key: [u8; 32] = digest.finalize().into();
        if let Some(known) = self.0.lock().get(&key) {
            return Ok(Arc::clone(known));
        }
        let verified = Arc::new(verify()?);
        let mut known = self.0.lock();
        if known.len() >= REMEMBERED_MAX {
            known.clear();
        }
        known.insert(key, Arc::clone(&verified));
        Ok(verified)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_succeeded_is_remembered() {
        let remembered = Remembered::default();
        let parts = [&b"credential"[..]];
        assert_eq!(remembered.get_or_verify(parts, || Err("no")), Err("no"));
        assert_eq!(remembered.get_or_verify(parts, || Ok::<_, &str>(1)), Ok(Arc::new(1)));
        assert_eq!(remembered.get_or_verify(parts, || Err("not asked")), Ok(Arc::new(1)));
        assert_eq!(remembered.get_or_verify([&b"another"[..]], || Err("no")), Err("no"));
    }

    #[test]
    fn there_is_a_bound() {
        let remembered = Remembered::default();
        for number in 0..=REMEMBERED_MAX {
            remembered.get_or_verify([&number.to_le_bytes()[..]], || Ok::<_, ()>(number)).unwrap();
        }
        assert_eq!(remembered.0.lock().len(), 1);
    }
}
