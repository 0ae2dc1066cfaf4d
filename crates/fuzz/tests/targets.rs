//! Each target on its seeds and on a fixed number of their mutations.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use fuzz::Mutator;

/// Of each target; `FUZZ_INPUTS` asks for more.
const INPUTS: usize = 1_000;

#[test]
fn no_target_finds_anything() {
    let count = std::env::var("FUZZ_INPUTS").map_or(INPUTS, |text| text.parse().unwrap());
    for target in fuzz::all() {
        let mut mutator = Mutator::new(1, target.seeds);
        let mutated = std::iter::repeat_with(|| mutator.input()).take(count);
        for input in target.seeds.iter().map(|seed| seed.to_vec()).chain(mutated) {
            let found = std::panic::catch_unwind(|| (target.run)(&input));
            assert!(found.is_ok(), "{} fails on {}", target.name, input.escape_ascii());
        }
    }
}
