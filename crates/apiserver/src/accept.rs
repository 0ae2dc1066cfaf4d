//! The `Accept` header as the Go library that Kubernetes uses understands it, its peculiar order included.

/// One media range with its parameters.
#[derive(Debug, PartialEq)]
pub struct Clause<'a> {
    kind: &'a str,
    subtype: &'a str,
    parameters: Vec<(&'a str, &'a str)>,
    quality: f32,
}

impl<'a> Clause<'a> {
    /// All clauses, the preferred first; what is no media range is left out.
    pub fn parse_all(header: &'a str) -> Vec<Clause<'a>> {
        let mut clauses: Vec<Clause<'a>> = header.split(',').filter_map(Clause::parse).collect();
        // The order is no total one: a precise clause comes before a wildcard of a higher quality. So the result depends
        // on the way of sorting, which is by insertion for a header of usual length.
        for end in 1..clauses.len() {
            let mut at = end;
            while at > 0 && clauses[at].precedes(&clauses[at - 1]) {
                clauses.swap(at, at - 1);
                at -= 1;
            }
        }
        clauses
    }

    fn parse(text: &'a str) -> Option<Clause<'a>> {
        let mut parts = text.trim().split(';');
        let range = parts.next().unwrap_or_default();
        let (kind, subtype) = match range.split_once('/') {
            Some((kind, subtype)) if !subtype.is_empty() => (kind.trim(), subtype.trim()),
            _ if range.trim_end_matches('/').trim() == "*" => ("*", "*"),
            _ => return None,
        };
        if subtype.contains('/') {
            return None;
        }
        let mut clause = Clause { kind, subtype, parameters: Vec::new(), quality: 1.0 };
        for (key, value) in parts.filter_map(|part| part.split_once('=')) {
            match key.trim() {
                _ if value.is_empty() || value.contains('=') => {}
                "q" => clause.quality = value.parse().unwrap_or(0.0),
                key => clause.parameters.push((key, value.trim())),
            }
        }
        Some(clause)
    }

    fn precedes(&self, other: &Clause<'_>) -> bool {
        self.quality > other.quality
            || (self.kind != "*" && other.kind == "*")
            || (self.subtype != "*" && other.subtype == "*")
    }

    pub fn matches(&self, kind: &str, subtype: &str) -> bool {
        match (self.kind, self.subtype) {
            ("*", own) => own == "*",
            (own, "*") => own == kind,
            own => own == (kind, subtype),
        }
    }

    pub fn is(&self, kind: &str, subtype: &str) -> bool {
        (self.kind, self.subtype) == (kind, subtype)
    }

    pub fn has(&self, key: &str) -> bool {
        self.parameters.iter().any(|(own, _)| *own == key)
    }

    /// Empty when there is none. Of several the last counts.
    pub fn parameter(&self, key: &str) -> &'a str {
        self.parameters.iter().rfind(|(own, _)| *own == key).map(|(_, value)| *value).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(header: &str) -> Vec<String> {
        Clause::parse_all(header).iter().map(|clause| format!("{}/{}", clause.kind, clause.subtype)).collect()
    }

    #[test]
    fn quality_orders_and_wildcards_come_last() {
        assert_eq!(order("a/b;q=0.1, c/d"), ["c/d", "a/b"]);
        assert_eq!(order("*/*, a/*, a/b;q=0.1"), ["a/b", "a/*", "*/*"]);
        assert_eq!(order("a/b, c/d"), ["a/b", "c/d"]);
    }

    #[test]
    fn what_is_no_media_range_is_left_out() {
        assert_eq!(order("a, *, a/b/c, , a/"), ["*/*"]);
        assert_eq!(order("a/b;q=x, c/d"), ["c/d", "a/b"]);
    }

    #[test]
    fn wildcards_match() {
        let clause = |text| Clause::parse(text).unwrap();
        assert!(clause("*/*").matches("application", "json"));
        assert!(clause("application/*").matches("application", "json"));
        assert!(!clause("text/*").matches("application", "json"));
        assert_eq!(clause("a/b; as = Table ;x=1=2").parameter("as"), "Table");
        assert!(!clause("a/b;x=1=2").has("x"));
    }
}
