//! Names that came at run time.

use std::collections::HashSet;
use std::sync::LazyLock;

use parking_lot::Mutex;

static NAMES: LazyLock<Mutex<HashSet<&'static str>>> = LazyLock::new(Mutex::default);

/// The text as one that lives as long as the process. Each text is kept once, so a definition that comes and goes a
/// thousand times costs its names once; only groups, versions, kinds, resource names and the paths of selectable fields
/// are kept here, all of them short.
pub fn intern(text: &str) -> &'static str {
    let mut names = NAMES.lock();
    if let Some(known) = names.get(text) {
        return known;
    }
    let kept: &'static str = Box::leak(text.into());
    names.insert(kept);
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_text_is_kept_once() {
        assert!(std::ptr::eq(intern("widgets"), intern(&String::from("widgets"))));
    }
}
