//! Divides the server's seats among levels: in proportion to what each could use, within its bounds.

/// One level's part in the problem.
#[derive(Clone, Copy, Debug)]
pub struct Item {
    pub target: f64,
    pub lower: f64,
    pub upper: f64,
}

/// A level that wants nothing is counted as wanting this, so that proportions exist.
const TARGET_MIN: f64 = 0.001;
const EPSILON: f64 = 1e-7;

/// Seats for each item, and the fraction of its target that an unbounded item gets; none when bounds contradict.
pub fn allocate(sum: f64, items: &[Item]) -> Option<(Vec<f64>, f64)> {
    let items: Vec<Item> = items.iter().map(|item| Item { target: item.target.max(TARGET_MIN), ..*item }).collect();
    if items.iter().any(|item| item.lower < 0.0 || item.upper < item.lower || item.lower > item.target + EPSILON) {
        return None;
    }
    let total = |pick: fn(&Item) -> f64| items.iter().map(pick).sum::<f64>();
    let (low, high) = (total(|item| item.lower), total(|item| item.upper));
    if low - sum > EPSILON || sum - high > EPSILON {
        return None;
    }
    let fraction = fair_fraction(sum, &items);
    let seats = items.iter().map(|item| (fraction * item.target).clamp(item.lower, item.upper)).collect();
    Some((seats, fraction))
}

/// The fraction at which the bounded parts make up the sum. What they make up grows with it, straight between the
/// fractions at which some item meets a bound: walk those in order, then interpolate.
fn fair_fraction(sum: f64, items: &[Item]) -> f64 {
    let made_up =
        |fraction: f64| items.iter().map(|item| (fraction * item.target).clamp(item.lower, item.upper)).sum::<f64>();
    let mut corners: Vec<f64> =
        items.iter().flat_map(|item| [item.lower / item.target, item.upper / item.target]).collect();
    corners.sort_by(f64::total_cmp);
    let (mut below, mut reached) = (0.0, made_up(0.0));
    for corner in corners {
        let here = made_up(corner);
        if here >= sum {
            let rise = here - reached;
            return if rise <= EPSILON { corner } else { below + (corner - below) * (sum - reached) / rise };
        }
        (below, reached) = (corner, here);
    }
    below
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(sum: f64, items: &[(f64, f64, f64)], want: Option<&[f64]>) {
        let items: Vec<Item> = items.iter().map(|&(target, lower, upper)| Item { target, lower, upper }).collect();
        let got = allocate(sum, &items).map(|(seats, _)| seats);
        let rounded = got.map(|seats| seats.iter().map(|seat| (seat * 100.0).round() / 100.0).collect::<Vec<_>>());
        assert_eq!(rounded.as_deref(), want);
    }

    #[test]
    fn in_proportion_where_no_bound_matters() {
        check(10.0, &[(4.0, 0.0, 20.0), (1.0, 0.0, 20.0)], Some(&[8.0, 2.0]));
    }

    #[test]
    fn bounds_are_kept_and_the_rest_is_shared() {
        check(10.0, &[(4.0, 0.0, 5.0), (1.0, 0.0, 20.0)], Some(&[5.0, 5.0]));
        check(10.0, &[(9.0, 0.0, 20.0), (4.0, 4.0, 20.0)], Some(&[6.0, 4.0]));
        check(10.0, &[(1.0, 0.0, 1.0), (1.0, 0.0, 9.0)], Some(&[1.0, 9.0]));
    }

    #[test]
    fn a_level_that_wants_nothing_still_takes_what_nobody_wants() {
        check(10.0, &[(0.0, 0.0, 10.0), (0.0, 0.0, 10.0)], Some(&[5.0, 5.0]));
    }

    #[test]
    fn contradictions_have_no_answer() {
        check(10.0, &[(1.0, 0.0, 4.0)], None);
        check(1.0, &[(2.0, 2.0, 4.0)], None);
        check(4.0, &[(1.0, 2.0, 4.0)], None);
    }
}
