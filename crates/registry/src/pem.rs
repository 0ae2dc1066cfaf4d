//! PEM as upstream's library reads it: blocks between lines of dashes, with anything around them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use x509_parser::prelude::FromDer;

/// What lies between `BEGIN` and `END`.
pub struct Block<'a> {
    pub label: &'a str,
    pub has_headers: bool,
    pub bytes: Vec<u8>,
}

/// The blocks that can be read; others are passed over.
pub fn blocks(text: &str) -> Vec<Block<'_>> {
    let mut blocks = Vec::new();
    let mut rest = text;
    while let Some((_, after)) = rest.split_once("-----BEGIN ") {
        rest = after;
        let Some((label, after)) = after.split_once("-----") else { break };
        let Some((inner, after)) = after.split_once(&format!("-----END {label}-----")) else { continue };
        if let Some(block) = block(label, inner) {
            blocks.push(block);
            rest = after;
        }
    }
    blocks
}

fn block<'a>(label: &'a str, inner: &str) -> Option<Block<'a>> {
    let (headers, body): (Vec<&str>, Vec<&str>) = inner.lines().partition(|line| line.contains(':'));
    let body: String = body.iter().flat_map(|line| line.chars()).filter(|letter| !letter.is_whitespace()).collect();
    Some(Block { label, has_headers: !headers.is_empty(), bytes: STANDARD.decode(body).ok()? })
}

pub fn is_certificate(der: &[u8]) -> bool {
    x509_parser::certificate::X509Certificate::from_der(der).is_ok_and(|(rest, _)| rest.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_found_between_other_text() {
        let text = "first\n-----BEGIN A-----\nAAAA\n-----END A-----\n-----BEGIN B-----\nKey: value\n\nBBBB\n-----END B-----\nlast";
        let found: Vec<(&str, bool, usize)> =
            blocks(text).iter().map(|block| (block.label, block.has_headers, block.bytes.len())).collect();
        assert_eq!(found, [("A", false, 3), ("B", true, 3)]);
        assert!(blocks("-----BEGIN A-----\nno end").is_empty());
        assert!(!is_certificate(b"none"));
    }
}
