//! A histogram of `/metrics`.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

pub struct Histogram {
    bounds: &'static [f64],
    /// One more than bounds.
    counts: Box<[AtomicU64]>,
    /// In millionths: an atomic addition needs a whole number.
    sum: AtomicU64,
}

impl Histogram {
    pub fn new(bounds: &'static [f64]) -> Histogram {
        Histogram { bounds, counts: (0..=bounds.len()).map(|_| AtomicU64::default()).collect(), sum: AtomicU64::new(0) }
    }

    pub fn observe(&self, value: f64) {
        let bucket = self.bounds.iter().position(|bound| value <= *bound).unwrap_or(self.bounds.len());
        self.counts[bucket].fetch_add(1, Relaxed);
        // Negative values and fractions of a millionth are cut off: neither is ever observed.
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the cast saturates")]
        self.sum.fetch_add((value * 1e6) as u64, Relaxed);
    }

    /// The lines of one combination of labels; none before the first observation.
    pub fn write(&self, name: &str, labels: &str, out: &mut String) {
        let counts: Vec<u64> = self.counts.iter().map(|count| count.load(Relaxed)).collect();
        let total: u64 = counts.iter().sum();
        if total == 0 {
            return;
        }
        let comma = if labels.is_empty() { "" } else { "," };
        let mut below = 0;
        for (bound, count) in self.bounds.iter().zip(&counts) {
            below += count;
            let _ = writeln!(out, "{name}_bucket{{{labels}{comma}le=\"{bound}\"}} {below}");
        }
        let _ = writeln!(out, "{name}_bucket{{{labels}{comma}le=\"+Inf\"}} {total}");
        #[expect(clippy::cast_precision_loss, reason = "a sum of seconds needs no more digits")]
        let sum = self.sum.load(Relaxed) as f64 / 1e6;
        let _ = writeln!(out, "{name}_sum{{{labels}}} {sum}\n{name}_count{{{labels}}} {total}");
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn buckets_count_what_lies_below_them() {
        let histogram = Histogram::new(&[0.5, 1.0]);
        [0.1, 0.5, 0.7, 3.0].iter().for_each(|value| histogram.observe(*value));
        let mut out = String::new();
        histogram.write("x", "a=\"b\"", &mut out);
        expect![[r#"
            x_bucket{a="b",le="0.5"} 2
            x_bucket{a="b",le="1"} 3
            x_bucket{a="b",le="+Inf"} 4
            x_sum{a="b"} 4.3
            x_count{a="b"} 4
        "#]]
        .assert_eq(&out);
    }
}
