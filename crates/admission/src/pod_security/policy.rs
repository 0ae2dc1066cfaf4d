//! Levels, versions, and the labels that choose them.

use std::fmt;
use std::str::FromStr;

use apimachinery::field::{ErrorList, Path};
use serde_json::{Map, Value};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    Privileged,
    Baseline,
    Restricted,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Level::Privileged => "privileged",
            Level::Baseline => "baseline",
            Level::Restricted => "restricted",
        })
    }
}

impl FromStr for Level {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "privileged" => Ok(Level::Privileged),
            "baseline" => Ok(Level::Baseline),
            "restricted" => Ok(Level::Restricted),
            _ => Err("must be one of privileged, baseline, restricted"),
        }
    }
}

/// The minor version whose rules are meant. `Latest` sorts after all numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    Minor(u32),
    Latest,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Version::Minor(minor) => write!(f, "v1.{minor}"),
            Version::Latest => f.write_str("latest"),
        }
    }
}

impl FromStr for Version {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "latest" {
            return Ok(Version::Latest);
        }
        let digits = text.strip_prefix("v1.").filter(|digits| is_number(digits));
        digits.and_then(|digits| digits.parse().ok()).map(Version::Minor).ok_or("must be \"latest\" or \"v1.x\"")
    }
}

/// Without a sign and without leading zeros.
fn is_number(digits: &str) -> bool {
    digits.bytes().all(|byte| byte.is_ascii_digit()) && (digits == "0" || !digits.starts_with('0'))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LevelVersion {
    pub level: Level,
    pub version: Version,
}

impl LevelVersion {
    pub(super) const DEFAULT: LevelVersion = LevelVersion { level: Level::Privileged, version: Version::Latest };

    #[cfg(test)]
    pub fn new(level: Level, version: Version) -> LevelVersion {
        LevelVersion { level, version }
    }
}

impl fmt::Display for LevelVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.level, self.version)
    }
}

/// What a namespace asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    pub enforce: LevelVersion,
    pub audit: LevelVersion,
    pub warn: LevelVersion,
}

const PREFIX: &str = "pod-security.kubernetes.io/";

impl Policy {
    /// Everything is taken.
    pub const PRIVILEGED: Policy =
        Policy { enforce: LevelVersion::DEFAULT, audit: LevelVersion::DEFAULT, warn: LevelVersion::DEFAULT };

    /// The policy that labels choose over the defaults, and what is wrong with them. What cannot be read is enforced as `restricted:latest`,
    /// and neither audited nor warned of.
    pub fn of(labels: Option<&Map<String, Value>>, defaults: &Policy) -> (Policy, ErrorList) {
        let mut reader = Reader { labels, errors: ErrorList::new() };
        let (enforce, enforce_given) = reader.level_version("enforce", defaults.enforce, Level::Restricted);
        let (audit, _) = reader.level_version("audit", defaults.audit, Level::Privileged);
        let (mut warn, _) = reader.level_version("warn", defaults.warn, Level::Privileged);
        // A more restrictive level that is enforced is also warned of, unless the labels say otherwise.
        if !reader.has("warn") && enforce_given && enforce.level > warn.level {
            warn.level = enforce.level;
            if !reader.has("warn-version") {
                warn.version = enforce.version;
            }
        }
        (Policy { enforce, audit, warn }, reader.errors)
    }

    /// The modes that forbid anything: `enforce=baseline:latest, warn=restricted:v1.30`.
    pub fn show(&self) -> String {
        let modes = [("enforce", self.enforce), ("audit", self.audit), ("warn", self.warn)];
        let strict = modes.iter().filter(|(_, chosen)| chosen.level != Level::Privileged);
        strict.map(|(mode, chosen)| format!("{mode}={chosen}")).collect::<Vec<_>>().join(", ")
    }

    pub fn is_privileged(&self, with_enforce: bool) -> bool {
        let levels = [self.audit.level, self.warn.level];
        levels.iter().all(|level| *level == Level::Privileged)
            && (!with_enforce || self.enforce.level == Level::Privileged)
    }
}

struct Reader<'a> {
    labels: Option<&'a Map<String, Value>>,
    errors: ErrorList,
}

impl Reader<'_> {
    fn get(&self, name: &str) -> Option<&str> {
        self.labels?.get(&format!("{PREFIX}{name}"))?.as_str()
    }

    fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// And whether a level was given that can be read.
    fn level_version(&mut self, mode: &str, default: LevelVersion, fallback: Level) -> (LevelVersion, bool) {
        let mut chosen = default;
        let mut given = false;
        match self.parse::<Level>(mode) {
            Some(Ok(level)) => (chosen.level, given) = (level, true),
            Some(Err(())) => chosen.level = fallback,
            None => {}
        }
        if let Some(version) = self.parse::<Version>(&format!("{mode}-version")) {
            chosen.version = version.unwrap_or(Version::Latest);
        }
        (chosen, given)
    }

    fn parse<T: FromStr<Err = &'static str>>(&mut self, name: &str) -> Option<Result<T, ()>> {
        let text = self.get(name)?.to_owned();
        Some(text.parse().map_err(|why| {
            let path = Path::new("metadata").child("labels").key(&format!("{PREFIX}{name}"));
            self.errors.invalid(&path, text.as_str(), why);
        }))
    }
}
