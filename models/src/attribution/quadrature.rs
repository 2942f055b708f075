//! Gauss-Legendre rules on [0, 1].

/// Points that are worked on side by side.
pub(super) const LANES: usize = 8;

/// One number per point, in a cache line of its own: one that lies across two costs twice to load and to store.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
#[repr(align(64))]
pub(super) struct Lanes(pub [f64; LANES]);

/// Some points of a rule.
#[derive(Debug, Clone)]
pub(super) struct Points {
    /// Where they lie, `t`.
    pub at: Lanes,
    /// `1 - t`.
    pub rest: Lanes,
    /// What they count for.
    pub weight: Lanes,
}

/// The rule of `LANES * groups` points: exact for polynomials of a degree below twice their number. Newton's method from Tricomi's
/// approximation of the roots (Press et al., "Numerical Recipes", section 4.6). Cost: quadratic in the points.
pub(super) fn rule(groups: usize) -> Vec<Points> {
    let order = LANES * groups;
    let mut points = Vec::with_capacity(order);
    for root in 0..order / 2 {
        let mut x = (std::f64::consts::PI * (root as f64 + 0.75) / (order as f64 + 0.5)).cos();
        let mut slope = 1.0;
        // It doubles the right digits each time; five times are enough, and the last one changes nothing.
        for _ in 0..8 {
            let value;
            (value, slope) = legendre(order, x);
            x -= value / slope;
        }
        let weight = 1.0 / ((1.0 - x * x) * slope * slope);
        let (near, far) = ((1.0 - x) / 2.0, (1.0 + x) / 2.0);
        points.extend([(near, far, weight), (far, near, weight)]);
    }
    let lanes = |of: &dyn Fn(&(f64, f64, f64)) -> f64, part: &[(f64, f64, f64)]| {
        Lanes(std::array::from_fn(|lane| part.get(lane).map_or(0.0, of)))
    };
    let group = |part: &[(f64, f64, f64)]| Points {
        at: lanes(&|p| p.0, part),
        rest: lanes(&|p| p.1, part),
        weight: lanes(&|p| p.2, part),
    };
    points.chunks(LANES).map(group).collect()
}

/// Legendre's polynomial of a degree at `x`, and its slope there.
fn legendre(degree: usize, x: f64) -> (f64, f64) {
    let (mut before, mut value) = (1.0, x);
    for k in 2..=degree {
        let k = k as f64;
        (before, value) = (value, ((2.0 * k - 1.0) * x * value - (k - 1.0) * before) / k);
    }
    (value, degree as f64 * (x * value - before) / (x * x - 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn powers_are_integrated_exactly() {
        for groups in [1, 2, 5, 32] {
            let rule = rule(groups);
            assert_eq!(rule.len(), groups);
            for degree in [0, 1, 2, 7, 15, 2 * LANES * groups - 1] {
                let mut sum = 0.0;
                for points in &rule {
                    for lane in 0..LANES {
                        assert!((points.at.0[lane] + points.rest.0[lane] - 1.0).abs() < 1e-15);
                        sum += points.weight.0[lane] * points.at.0[lane].powi(degree as i32);
                    }
                }
                let expected = 1.0 / (degree as f64 + 1.0);
                assert!((sum - expected).abs() < 1e-14, "{groups} groups, t^{degree}: {sum}");
            }
        }
    }
}
