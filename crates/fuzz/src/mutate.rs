//! New inputs of old ones. The same seed makes the same inputs, so that what was found can be found again.

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

/// Inputs longer than that find nothing that shorter ones do not.
const BYTES_MAX: usize = 4096;

/// What parsers treat in a way of its own.
const TOKENS: [&[u8]; 24] = [
    b"\0",
    b"\xff",
    b"\n",
    b"\"",
    b"\\",
    b"{",
    b"}",
    b"[",
    b"]",
    b"(",
    b")",
    b",",
    b":",
    b"-",
    b"0",
    b"9223372036854775808",
    b"1e999",
    b"null",
    b"~",
    b"*",
    b"$",
    b"/",
    b"\xc0\x80",
    b"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01",
];

pub struct Mutator {
    chance: StdRng,
    corpus: Vec<Vec<u8>>,
}

impl Mutator {
    pub fn new(seed: u64, seeds: &[&[u8]]) -> Self {
        let corpus = seeds.iter().map(|seed| seed.to_vec()).chain([Vec::new()]).collect();
        Self { chance: StdRng::seed_from_u64(seed), corpus }
    }

    /// One of the corpus, changed in a few places.
    pub fn input(&mut self) -> Vec<u8> {
        let mut input = self.any().clone();
        for _ in 0..self.chance.random_range(1..=4) {
            self.change(&mut input);
        }
        input.truncate(BYTES_MAX);
        input
    }

    fn any(&mut self) -> &Vec<u8> {
        self.corpus.choose(&mut self.chance).expect("the empty input is always there")
    }

    fn change(&mut self, input: &mut Vec<u8>) {
        let at = self.chance.random_range(0..=input.len());
        match self.chance.random_range(0..6) {
            0 if at < input.len() => input[at] ^= 1 << self.chance.random_range(0..8),
            1 if at < input.len() => drop(input.remove(at)),
            2 => input.truncate(at),
            3 => {
                let token = *TOKENS.choose(&mut self.chance).expect("there are tokens");
                input.splice(at..at, token.iter().copied());
            }
            4 => {
                let other = self.any().clone();
                let from = self.chance.random_range(0..=other.len());
                input.splice(at.., other[from..].iter().copied());
            }
            _ => {
                let part = input[at..].iter().copied().take(16).collect::<Vec<_>>();
                let times = self.chance.random_range(1..=8);
                input.splice(at..at, part.repeat(times));
            }
        }
    }
}
