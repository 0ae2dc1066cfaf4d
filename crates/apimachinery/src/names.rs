//! Generated names and hashes.

use rand::Rng;

/// Without vowels and look-alikes, so that no words appear.
const ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";
const SUFFIX_LEN: usize = 5;
const BASE_LEN_MAX: usize = 63 - SUFFIX_LEN;

/// `base` with a random suffix, short enough for a label.
pub fn generate(base: &str) -> String {
    let mut cut = base.len().min(BASE_LEN_MAX);
    while !base.is_char_boundary(cut) {
        cut -= 1;
    }
    format!("{}{}", &base[..cut], suffix(SUFFIX_LEN))
}

/// Random characters for a name.
pub fn suffix(length: usize) -> String {
    let mut random = rand::rng();
    (0..length).map(|_| char::from(ALPHABET[random.random_range(0..ALPHABET.len())])).collect()
}

/// The text in the alphabet of generated names.
pub fn safe_encode(text: &str) -> String {
    text.bytes().map(|byte| char::from(ALPHABET[usize::from(byte) % ALPHABET.len()])).collect()
}

/// FNV-1a, 32 bits.
pub fn fnv32a(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

/// The hash of a pod template, for names and the label `pod-template-hash`. Stable for equal templates: objects have
/// sorted keys. A collision count above none changes it.
pub fn template_hash(template: &serde_json::Value, collision_count: Option<i64>) -> String {
    let mut bytes = serde_json::to_vec(template).expect("a Value is JSON");
    if let Some(count) = collision_count {
        bytes.extend_from_slice(&count.to_le_bytes());
    }
    safe_encode(&fnv32a(&bytes).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_names_fit_a_label_and_have_no_vowels() {
        let name = generate(&"x".repeat(80));
        assert_eq!(name.len(), 63);
        let name = generate("web-");
        assert_eq!(name.len(), 9);
        assert!(name[4..].bytes().all(|byte| ALPHABET.contains(&byte)));
    }

    #[test]
    fn encodes_a_hash_as_upstream() {
        assert_eq!(fnv32a(b"a"), 0xe40c_292c);
        assert_eq!(safe_encode("0123456789"), "456789bcdf");
    }
}
