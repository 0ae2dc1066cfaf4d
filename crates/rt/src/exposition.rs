//! Numbers in Prometheus' text format 0.0.4: the head of a family, and histograms.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What a family is called, what it is, and what it says.
pub fn head(out: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

/// Counts values by bucket, without a lock.
pub struct Histogram {
    bounds: &'static [f64],
    /// One more than bounds.
    counts: Box<[AtomicU64]>,
    /// The bits of a float.
    sum: AtomicU64,
}

impl Histogram {
    pub fn new(bounds: &'static [f64]) -> Histogram {
        Histogram { bounds, counts: (0..=bounds.len()).map(|_| AtomicU64::default()).collect(), sum: AtomicU64::new(0) }
    }

    pub fn observe(&self, value: f64) {
        let bucket = self.bounds.iter().position(|bound| value <= *bound).unwrap_or(self.bounds.len());
        self.counts[bucket].fetch_add(1, Relaxed);
        let add = |bits| Some((f64::from_bits(bits) + value).to_bits());
        self.sum.fetch_update(Relaxed, Relaxed, add).expect("there is always a next value");
    }

    /// The lines of one combination of labels; none before the first observation.
    pub fn write(&self, name: &str, labels: &str, out: &mut String) {
        let counts: Vec<u64> = self.counts.iter().map(|count| count.load(Relaxed)).collect();
        let sum = f64::from_bits(self.sum.load(Relaxed));
        histogram(self.bounds, &counts, sum, name, labels, out);
    }
}

/// The lines of a histogram whose counts are kept elsewhere; none when nothing was counted.
pub fn histogram(bounds: &[f64], counts: &[u64], sum: f64, name: &str, labels: &str, out: &mut String) {
    let total: u64 = counts.iter().sum();
    if total == 0 {
        return;
    }
    let comma = if labels.is_empty() { "" } else { "," };
    let mut below = 0;
    for (bound, count) in bounds.iter().zip(counts) {
        below += count;
        let _ = writeln!(out, "{name}_bucket{{{labels}{comma}le=\"{}\"}} {below}", text(*bound));
    }
    let _ = writeln!(out, "{name}_bucket{{{labels}{comma}le=\"+Inf\"}} {total}");
    let braced = if labels.is_empty() { String::new() } else { format!("{{{labels}}}") };
    let _ = writeln!(out, "{name}_sum{braced} {sum}\n{name}_count{braced} {total}");
}

/// As Go writes it: very small and very large numbers with an exponent.
fn text(bound: f64) -> String {
    let written = format!("{bound:e}");
    let (digits, exponent) = written.split_once('e').expect("it is written with an exponent");
    match exponent.parse::<i32>() {
        Ok(exponent @ 6..) => format!("{digits}e+{exponent:02}"),
        Ok(exponent @ ..-4) => format!("{digits}e-{:02}", -exponent),
        _ => bound.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_count_what_lies_below_them() {
        let histogram = Histogram::new(&[0.5, 1.0]);
        [0.1, 0.5, 0.7, 3.0].iter().for_each(|value| histogram.observe(*value));
        let mut out = String::new();
        histogram.write("x", "a=\"b\"", &mut out);
        let lines: Vec<&str> = out.lines().collect();
        let wanted = [
            "x_bucket{a=\"b\",le=\"0.5\"} 2",
            "x_bucket{a=\"b\",le=\"1\"} 3",
            "x_bucket{a=\"b\",le=\"+Inf\"} 4",
            "x_sum{a=\"b\"} 4.3",
            "x_count{a=\"b\"} 4",
        ];
        assert_eq!(lines, wanted);
    }

    #[test]
    fn very_small_and_very_large_bounds_have_exponents() {
        let texts: Vec<String> = [0.0, 1e-6, 1e-4, 0.005, 5.0, 1e5, 1e6, 1e9].into_iter().map(text).collect();
        assert_eq!(texts, ["0", "1e-06", "0.0001", "0.005", "5", "100000", "1e+06", "1e+09"]);
    }
}
