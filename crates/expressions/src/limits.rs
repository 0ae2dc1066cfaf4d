//! The limits of Kubernetes, and ours where upstream leaves it to the machine.

/// What one evaluation may cost at run time.
pub const PER_CALL_LIMIT: u64 = 1_000_000;
/// What all rules of one object may cost at run time, and all conditions of one policy.
pub const RUNTIME_BUDGET: u64 = 10_000_000;
/// What one policy's match conditions may cost at run time.
pub const MATCH_CONDITIONS_BUDGET: u64 = RUNTIME_BUDGET / 4;
/// What one rule of a CustomResourceDefinition may cost by its estimate.
pub const ESTIMATED_RULE_LIMIT: u64 = 10_000_000;
/// What all rules of a CustomResourceDefinition may cost by their estimates.
pub const ESTIMATED_CRD_LIMIT: u64 = 100_000_000;
/// The largest request; sizes that a schema leaves open are derived from it.
pub const MAX_REQUEST_BYTES: u64 = 3 * 1024 * 1024;

/// Characters of one expression.
pub const MAX_EXPRESSION_CHARS: usize = 100_000;
/// Nesting of one expression, after macros are expanded.
pub const MAX_DEPTH: usize = 250;
/// How many errors a compilation reports.
pub(crate) const MAX_ISSUES: usize = 100;
/// Bytes of one compiled regular expression.
pub(crate) const MAX_REGEX_BYTES: usize = 10 << 20;
/// Bytes of one that is computed by the expression, so that it is compiled in every evaluation.
pub(crate) const MAX_COMPUTED_REGEX_BYTES: usize = 1 << 20;
/// How many computed regular expressions one evaluation may compile.
pub(crate) const MAX_COMPUTED_REGEXES: usize = 100;
/// How many items a list may have that is not charged while it is built.
pub(crate) const MAX_RANGE: i64 = 1_000_000;
/// How deep values may nest when they are compared or converted.
pub(crate) const MAX_VALUE_DEPTH: usize = 200;
