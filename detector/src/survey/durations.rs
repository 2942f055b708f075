//! Durations as a person would write them.

/// Lengths that read well, in milliseconds, shortest first.
const READABLE_MS: &[u64] = &[
    1,
    2,
    5,
    10,
    20,
    50,
    100,
    200,
    500,
    S,
    2 * S,
    5 * S,
    10 * S,
    15 * S,
    30 * S,
    M,
    2 * M,
    5 * M,
    10 * M,
    15 * M,
    20 * M,
    30 * M,
    45 * M,
    H,
    2 * H,
    3 * H,
    4 * H,
    6 * H,
    8 * H,
    12 * H,
    D,
    2 * D,
    3 * D,
    5 * D,
    7 * D,
    10 * D,
    14 * D,
    21 * D,
    30 * D,
    45 * D,
    60 * D,
    90 * D,
    120 * D,
    180 * D,
    270 * D,
    365 * D,
    400 * D,
    730 * D,
    1095 * D,
    1825 * D,
    3650 * D,
    7300 * D,
    18_250 * D,
    36_500 * D,
];

/// A second, in milliseconds.
pub const S: u64 = 1000;
/// A minute, in milliseconds.
pub const M: u64 = 60 * S;
/// An hour, in milliseconds.
pub const H: u64 = 60 * M;
/// A day, in milliseconds.
pub const D: u64 = 24 * H;

/// The readable length that is nearest by ratio.
pub fn nearest(ms: u64) -> u64 {
    let mut best = READABLE_MS[0];
    for candidate in READABLE_MS {
        // candidate/ms < ms/best, in whole numbers: the geometric middle decides.
        if u128::from(*candidate) * u128::from(best) <= u128::from(ms) * u128::from(ms) {
            best = *candidate;
        }
    }
    best
}

/// The shortest readable length that is not shorter.
pub fn at_least(ms: u64) -> u64 {
    READABLE_MS.iter().copied().find(|candidate| *candidate >= ms).unwrap_or(36_500 * D)
}

/// The next longer readable length.
pub fn longer(ms: u64) -> u64 {
    at_least(ms.saturating_add(1))
}

/// Writes a length in the largest unit that divides it: `10m`, `36h`, `500ms`.
pub fn text(ms: u64) -> String {
    for (unit, name) in [(D, "d"), (H, "h"), (M, "m"), (S, "s")] {
        if ms >= unit && ms.is_multiple_of(unit) {
            return format!("{}{name}", ms / unit);
        }
    }
    format!("{ms}ms")
}

/// Writes a length for people, rounded to two digits: `6.5 h`.
pub fn rough(ms: u64) -> String {
    for (unit, name) in
        [(365 * D, "years"), (D, "days"), (H, "hours"), (M, "minutes"), (S, "seconds")]
    {
        if ms >= unit {
            let value = ms as f64 / unit as f64;
            return if value < 10.0 {
                format!("{value:.1} {name}")
            } else {
                format!("{value:.0} {name}")
            };
        }
    }
    format!("{ms} ms")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding() {
        let cases = [
            (0, "1ms", "1ms"),
            (7, "5ms", "10ms"),
            (S + 1, "1s", "2s"),
            (50 * M, "45m", "1h"),
            (9 * H, "8h", "12h"),
            (26 * D, "30d", "30d"),
            (u64::MAX / 2, "36500d", "36500d"),
        ];
        for (ms, near, least) in cases {
            assert_eq!(
                (text(nearest(ms)).as_str(), text(at_least(ms)).as_str()),
                (near, least),
                "{ms}"
            );
        }
        assert!(READABLE_MS.windows(2).all(|pair| pair[0] < pair[1]));
        assert_eq!(text(longer(10 * M)), "15m");
    }
}
