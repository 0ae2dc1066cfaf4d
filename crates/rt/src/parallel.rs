//! Work that waits for nothing, spread over the processor's cores.

use std::num::NonZero;
use std::thread;

/// Fewer items are not worth a thread.
const SHARE_MIN: usize = 256;

/// Maps the items on all cores, and keeps their order. Blocks the caller: for starts, not for requests.
pub fn map_parallel<T: Send, R: Send>(mut items: Vec<T>, map: impl Fn(T) -> R + Sync) -> Vec<R> {
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    let share = items.len().div_ceil(cores).max(SHARE_MIN);
    let mut shares = Vec::new();
    while items.len() > share {
        shares.push(items.split_off(items.len() - share));
    }
    let map = &map;
    thread::scope(|scope| {
        let running: Vec<_> = shares
            .into_iter()
            .map(|share| scope.spawn(move || share.into_iter().map(map).collect::<Vec<R>>()))
            .collect();
        let mut mapped: Vec<R> = items.into_iter().map(map).collect();
        // The last share was taken first.
        for share in running.into_iter().rev() {
            mapped.extend(share.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
        mapped
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_is_kept_for_any_number() {
        for count in [0, 1, SHARE_MIN, SHARE_MIN + 1, 10 * SHARE_MIN + 7] {
            let expected: Vec<usize> = (0..count).map(|n| n * 2).collect();
            assert_eq!(map_parallel((0..count).collect(), |n| n * 2), expected);
        }
    }
}
