//! How many seats each level has: its share, less what it lends, more what it borrows.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Config;
use super::allocate::{Item, allocate};
use super::level::{Level, Limits, Spec};
use super::queues::Discipline;

/// No request takes more than this part of its level.
const REQUEST_SHARE_MAX: f64 = 0.15;

/// Divides the server's seats by shares.
pub fn set_limits(config: &Config, seats: u32) {
    let shares: u32 = config.levels.values().map(|level| level.spec.lock().shares).sum();
    for level in config.levels.values() {
        let spec = level.spec.lock().clone();
        let limits = limits(&spec, seats, shares.max(1));
        level.request_max.store(request_max(&spec, limits.nominal), Ordering::Relaxed);
        let mut own = level.limits.lock();
        let first = *own == Limits::default();
        // A new level begins with half of what it may lend.
        let current = if first { limits.nominal - (limits.nominal - limits.min) / 2 } else { own.current };
        *own = Limits { current, ..limits };
    }
}

fn limits(spec: &Spec, seats: u32, shares: u32) -> Limits {
    let nominal =
        u32::try_from((u64::from(seats) * u64::from(spec.shares)).div_ceil(u64::from(shares))).unwrap_or(seats);
    let percent = |percent: u32| whole((f64::from(nominal) * f64::from(percent) / 100.0).round());
    let borrowed = spec.borrowing_percent.map_or(seats, percent);
    Limits { nominal, min: nominal - percent(spec.lendable_percent).min(nominal), max: nominal + borrowed, current: 0 }
}

fn request_max(spec: &Spec, nominal: u32) -> u32 {
    let Discipline::Queue { hand, .. } = spec.discipline else { return 0 };
    let share = whole((f64::from(nominal) * REQUEST_SHARE_MAX).ceil());
    let of_hand = nominal / u32::try_from(hand).unwrap_or(u32::MAX).max(1);
    share.min(of_hand).max(1)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "seats, rounded; the cast saturates")]
fn whole(seats: f64) -> u32 {
    seats as u32
}

/// What one level asks for.
struct Claim<'a> {
    level: &'a Arc<Level>,
    limits: Limits,
    min_current: u32,
    smoothed: f64,
}

/// Sets the current limit of every level by its demand since the last time. Returns the part of its target that a level
/// without bounds gets; 0 where there is too little to divide by targets.
pub fn adjust(config: &Config, seats: u32) -> f64 {
    let sum: u32 = config.levels.values().map(|level| level.limits.lock().nominal).sum();
    let measure_min = (seats.saturating_add(5) / 10).max(1);
    let mut left = i64::from(sum);
    let mut claims = Vec::new();
    for level in config.levels.values() {
        let claim = claim(level);
        if level.is_exempt() {
            left -= i64::from(claim.min_current);
            level.set_current(claim.min_current, measure_min);
        } else {
            claims.push(claim);
        }
    }
    let (currents, fraction) = divide(&claims, left, sum);
    for (claim, current) in claims.iter().zip(currents) {
        claim.level.demand.lock().target = item(claim).target;
        claim.level.set_current(current.min(seats.max(claim.limits.max)), measure_min);
    }
    fraction
}

fn claim(level: &Arc<Level>) -> Claim<'_> {
    let period = level.take_period();
    let mut demand = level.demand.lock();
    demand.update(period);
    let limits = *level.limits.lock();
    let watermark = whole(demand.high_watermark);
    let wanted = if level.is_exempt() { watermark } else { watermark.min(limits.nominal) };
    Claim { level, limits, min_current: limits.min.max(wanted), smoothed: demand.smoothed }
}

/// The current limits, in order: minimums where even those are too much, demand in proportion otherwise. Then the fraction.
fn divide(claims: &[Claim<'_>], left: i64, sum: u32) -> (Vec<u32>, f64) {
    let total = |pick: fn(&Claim<'_>) -> u32| claims.iter().map(pick).map(i64::from).sum::<i64>();
    let (minimum, wanted) = (total(|claim| claim.limits.min), total(|claim| claim.min_current));
    if left <= minimum {
        return (claims.iter().map(|claim| claim.limits.min).collect(), 0.0);
    }
    if left <= wanted {
        #[expect(clippy::cast_precision_loss, reason = "numbers of seats are small")]
        let share = (left - minimum) as f64 / (wanted - minimum) as f64;
        let above = |claim: &Claim<'_>| whole((f64::from(claim.min_current - claim.limits.min) * share).round());
        return (claims.iter().map(|claim| claim.limits.min + above(claim)).collect(), 0.0);
    }
    let items: Vec<Item> = claims.iter().map(item).collect();
    match allocate(f64::from(sum), &items) {
        Some((seats, fraction)) => (seats.into_iter().map(|seats| whole(seats.round())).collect(), fraction),
        None => (claims.iter().map(|claim| claim.limits.current).collect(), 0.0),
    }
}

fn item(claim: &Claim<'_>) -> Item {
    let lower = f64::from(claim.min_current);
    Item { target: lower.max(claim.smoothed), lower, upper: claim.limits.max.into() }
}
