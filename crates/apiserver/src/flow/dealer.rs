//! Shuffle sharding: deals each flow a small hand of queues, so that two flows rarely share all of theirs.

use sha2::{Digest, Sha256};

/// A hand of `hand` different cards of a deck of `deck`, drawn by a hash.
pub fn deal(mut hash: u64, deck: usize, hand: usize) -> Hand {
    let mut cards = Hand { cards: [0; HAND_MAX], size: hand.min(deck).min(HAND_MAX) };
    let mut remainders = [0usize; HAND_MAX];
    for (dealt, remainder) in remainders.iter_mut().enumerate().take(cards.size) {
        let left = (deck - dealt) as u64;
        *remainder = usize::try_from(hash % left).unwrap_or(0);
        hash /= left;
    }
    for dealt in 0..cards.size {
        let mut card = remainders[dealt];
        // A card stands for the place among those that are not dealt yet.
        for earlier in (0..dealt).rev() {
            if card >= remainders[earlier] {
                card += 1;
            }
        }
        cards.cards[dealt] = card;
    }
    cards
}

/// The hash is sixty bits wide: a deck of two cards or more gives no larger hand.
const HAND_MAX: usize = 60;

pub struct Hand {
    cards: [usize; HAND_MAX],
    size: usize,
}

impl Hand {
    pub fn cards(&self) -> &[usize] {
        &self.cards[..self.size]
    }
}

/// The hash of a flow: the requests of one schema that its distinguisher does not tell apart.
pub fn hash(schema: &str, distinguisher: &str) -> u64 {
    let mut digest = Sha256::new();
    digest.update(schema.as_bytes());
    digest.update([0]);
    digest.update(distinguisher.as_bytes());
    let sum: [u8; 32] = digest.finalize().into();
    u64::from_le_bytes([sum[0], sum[1], sum[2], sum[3], sum[4], sum[5], sum[6], sum[7]])
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_hand_has_different_cards_of_the_deck() {
        for seed in 0..500_u64 {
            let hand = deal(hash("schema", &seed.to_string()), 64, 8);
            let cards: BTreeSet<_> = hand.cards().iter().copied().collect();
            assert_eq!(cards.len(), 8);
            assert!(cards.iter().all(|card| *card < 64));
        }
    }

    #[test]
    fn every_card_comes_up() {
        let seen: BTreeSet<_> =
            (0..500_u64).flat_map(|seed| deal(hash("s", &seed.to_string()), 16, 4).cards().to_vec()).collect();
        assert_eq!(seen.len(), 16);
    }

    #[test]
    fn a_small_deck_is_dealt_whole() {
        let mut cards = deal(u64::MAX, 3, 3).cards().to_vec();
        cards.sort_unstable();
        assert_eq!(cards, [0, 1, 2]);
    }
}
