//! When the node is under pressure: `--eviction-hard`, in kubelet's form.

use std::str::FromStr;

use apimachinery::Quantity;

/// So much must be available.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Amount {
    Units(u64),
    Percent(f64),
}

impl Amount {
    /// Whether less than this is available of a whole.
    #[expect(clippy::cast_precision_loss, reason = "a share of a file system")]
    pub fn is_undercut(&self, available: u64, whole: u64) -> bool {
        match *self {
            Self::Units(least) => available < least,
            Self::Percent(least) => (available as f64) < whole as f64 * least / 100.0,
        }
    }
}

/// The file systems of pods and of images are one, here: of two thresholds the last one given counts.
#[derive(Clone, Debug, PartialEq)]
pub struct Thresholds {
    pub memory: Amount,
    pub disk: Amount,
    pub pids: Amount,
}

/// The disk's is k3s': a tenth, as upstream has it, is much of a laptop's disk.
impl Default for Thresholds {
    fn default() -> Self {
        Self { memory: Amount::Units(100 << 20), disk: Amount::Percent(5.0), pids: Amount::Percent(5.0) }
    }
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ThresholdError {
    #[error("{0:?} is not signal<amount, like nodefs.available<5%")]
    Shape(String),
    #[error(
        "{0:?} is no signal that this kubelet watches: memory.available, nodefs.available, imagefs.available, pid.available"
    )]
    Signal(String),
    #[error("{0:?} is neither a quantity nor a percentage from 0 to 100")]
    Amount(String),
}

impl FromStr for Thresholds {
    type Err = ThresholdError;

    /// Those that are not named stay as they are by default.
    fn from_str(text: &str) -> Result<Self, ThresholdError> {
        let mut all = Self::default();
        for part in text.split(',').filter(|part| !part.is_empty()) {
            let (signal, amount) = part.split_once('<').ok_or_else(|| ThresholdError::Shape(part.to_owned()))?;
            let target = match signal {
                "memory.available" => &mut all.memory,
                "nodefs.available" | "imagefs.available" => &mut all.disk,
                "pid.available" => &mut all.pids,
                _ => return Err(ThresholdError::Signal(signal.to_owned())),
            };
            *target = amount.parse()?;
        }
        Ok(all)
    }
}

impl FromStr for Amount {
    type Err = ThresholdError;

    fn from_str(text: &str) -> Result<Self, ThresholdError> {
        let wrong = || ThresholdError::Amount(text.to_owned());
        if let Some(number) = text.strip_suffix('%') {
            let percent = number.parse().ok().filter(|percent| (0.0..=100.0).contains(percent));
            return percent.map(Self::Percent).ok_or_else(wrong);
        }
        let quantity: Quantity = text.parse().map_err(|_| wrong())?;
        u64::try_from(quantity.value()).map(Self::Units).map_err(|_| wrong())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds_are_read_or_refused() {
        let read = |text: &str| text.parse::<Thresholds>();
        assert_eq!(read(""), Ok(Thresholds::default()));
        let given =
            read("memory.available<1Gi,nodefs.available<0%,imagefs.available<12.5%,pid.available<1k").expect("read");
        let expected =
            Thresholds { memory: Amount::Units(1 << 30), disk: Amount::Percent(12.5), pids: Amount::Units(1000) };
        assert_eq!(given, expected);
        for (text, error) in [
            ("nodefs.available", ThresholdError::Shape("nodefs.available".into())),
            ("nodefs.inodesFree<5%", ThresholdError::Signal("nodefs.inodesFree".into())),
            ("memory.available<much", ThresholdError::Amount("much".into())),
            ("memory.available<-1", ThresholdError::Amount("-1".into())),
            ("nodefs.available<101%", ThresholdError::Amount("101%".into())),
        ] {
            assert_eq!(read(text), Err(error));
        }
    }

    #[test]
    fn nothing_undercuts_nothing() {
        assert!(!Amount::Percent(0.0).is_undercut(0, 100));
        assert!(Amount::Percent(5.0).is_undercut(4, 100) && !Amount::Percent(5.0).is_undercut(5, 100));
        assert!(Amount::Units(10).is_undercut(9, 0));
    }
}
