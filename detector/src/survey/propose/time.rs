//! Half-lives, lifetimes, sessions and the day, from how time runs in the stream.

use crate::survey::durations::{D, H, M, at_least, longer, nearest, rough, text};
use crate::survey::report::Report;
use features::config::TimeConfig;

/// Below so many events, durations are not worth fitting.
const EVENTS_MIN: u64 = 50;
/// Up to so many accounts, nobody needs to be forgotten within the time that was seen.
const ACCOUNTS_KEPT: u64 = 2_000_000;

/// The time section, and what the clock is good for.
pub struct Time {
    /// To be written down.
    pub config: TimeConfig,
    /// Half-lives in milliseconds, shortest first.
    pub half_lives_ms: [u64; 4],
    /// Times between events mean something.
    pub rhythm: bool,
    /// The hour of the day means something.
    pub hours: bool,
    /// Accounts have sessions.
    pub sessions: bool,
    /// Windows that people ask about, in milliseconds, shortest first, at most three.
    pub windows_ms: Vec<u64>,
}

/// Fits the time section.
pub fn propose(report: &Report, notes: &mut Vec<String>) -> Time {
    let clock = &report.clock;
    let accounts = &report.accounts;
    let mut config = TimeConfig::default();
    let half_lives_ms = half_lives(report, notes);
    config.half_lives = half_lives_ms.map(text);

    let kept_ms =
        if accounts.distinct <= ACCOUNTS_KEPT { clock.span_ms.saturating_mul(2) } else { 0 };
    let idle_ms = accounts.gap_max_ms.saturating_mul(2).max(kept_ms).max(half_lives_ms[3] * 8);
    config.account_ttl = text(at_least(idle_ms.clamp(400 * D, 7300 * D)));
    config.lateness_max = text(at_least(clock.late_max_ms.saturating_mul(2).clamp(D, 30 * D)));
    if clock.late_share > 0.0 {
        notes.push(format!(
            "{:.2} % of the events are earlier than one before them, by up to {} (99 % by less than {}): `lateness_max` = {}.",
            clock.late_share * 100.0,
            rough(clock.late_max_ms),
            rough(clock.late_p99_ms),
            config.lateness_max
        ));
    }
    if clock.jumps_refused > 0 {
        notes.push(format!(
            "{} events were left out: their `ts` jumps more than ten years ahead of all before.",
            clock.jumps_refused
        ));
    }
    if (100_000_000..20_000_000_000).contains(&clock.first_ms)
        && clock.last_ms < 20_000_000_000
        && clock.span_ms * 5 < clock.first_ms.unsigned_abs()
    {
        notes.push(
            "Moments look like seconds since 1970, but are read as milliseconds: multiply `ts` by 1000 if so."
                .into(),
        );
    }

    // A mean pause that the clock can hardly tell from none says nothing.
    let told_apart = clock.grain_ms > 0 && accounts.gap_ms[1] >= clock.grain_ms.saturating_mul(4);
    let rhythm = !clock.metronome && told_apart && accounts.regular_share >= 0.2;
    // Accounts have days of their own, even where they are spread over the world and the whole has none.
    let hours = !clock.metronome
        && clock.span_ms >= 3 * D
        && clock.grain_ms <= H
        && accounts.events_per_account[1] >= 5;
    let valley_ms = accounts
        .session_gap_ms
        .filter(|gap_ms| !clock.metronome && *gap_ms >= clock.grain_ms.saturating_mul(8));
    let gap_ms = valley_ms.map_or(30 * M, nearest);
    let sessions = !clock.metronome
        && clock.grain_ms.saturating_mul(8) <= gap_ms
        && (0.3..0.995).contains(&accounts.within_session_share);
    config.session_gap = text(gap_ms);
    if clock.metronome {
        notes.push(
            "Events come at equal steps, so the clock numbers them more than it times them: no rhythm, hours or sessions."
                .into(),
        );
    } else {
        notes.push(format!(
            "Rhythm is {}, sessions are {} ({}).",
            if rhythm {
                "kept"
            } else {
                "left out: the clock is too coarse, or accounts act too seldom"
            },
            if sessions { "kept" } else { "left out: few events follow one another closely" },
            match valley_ms {
                Some(_) =>
                    format!("pauses part into short and long ones near {}", config.session_gap),
                None => format!("`session_gap` = {}, pauses show no valley", config.session_gap),
            },
        ));
    }
    if clock.daily {
        let quiet = i64::from(clock.quiet_hour);
        let offset = if quiet <= 12 { -quiet } else { 24 - quiet };
        config.utc_offset = if offset > 0 { format!("+{offset}h") } else { format!("{offset}h") };
        notes.push(format!(
            "Activity follows the day; its quietest six hours start at {quiet}:00 UTC, so `utc_offset` = {} makes them the night.",
            config.utc_offset
        ));
    }
    Time { config, half_lives_ms, rhythm, hours, sessions, windows_ms: windows(&half_lives_ms) }
}

/// Four half-lives in equal ratios, from a few of an account's pauses to a sixth of the stream, and at
/// least sixty apart: bursts and habits are told apart however slow accounts are.
fn half_lives(report: &Report, notes: &mut Vec<String>) -> [u64; 4] {
    let span_ms = report.clock.span_ms;
    if report.events < EVENTS_MIN || span_ms < 1000 {
        notes.push(
            "Too few events, or too short a time, to fit half-lives: the defaults stand.".into(),
        );
        return [10 * M, 2 * H, D, 14 * D];
    }
    let accounts = &report.accounts;
    let by_key =
        || report.kinds.iter().map(|kind| kind.reuse_gap_ms[0]).filter(|gap_ms| *gap_ms > 0).max();
    let pause_ms = if accounts.gap_ms[1] > 0 && accounts.regular_share >= 0.2 {
        accounts.gap_ms[1]
    } else {
        by_key().unwrap_or(accounts.gap_ms[1])
    };
    let longest_ms = (span_ms / 6).clamp(500, 120 * D);
    let shortest_ms =
        pause_ms.saturating_mul(4).clamp((longest_ms / 2000).max(1), (longest_ms / 60).max(1));
    let ratio = (longest_ms as f64 / shortest_ms as f64).cbrt();
    let mut chosen = [shortest_ms as f64, 0.0, 0.0, longest_ms as f64];
    chosen[1] = chosen[0] * ratio;
    chosen[2] = chosen[1] * ratio;
    let mut half_lives_ms = chosen.map(|ms| nearest(ms as u64));
    for at in 1..4 {
        if half_lives_ms[at] <= half_lives_ms[at - 1] {
            half_lives_ms[at] = longer(half_lives_ms[at - 1]);
        }
    }
    notes.push(format!(
        "Half-lives {}: an account's pauses have a median of {}, and the stream is {} long.",
        half_lives_ms.map(text).join(", "),
        rough(pause_ms),
        rough(span_ms)
    ));
    half_lives_ms
}

/// Spans that people quote, within the reach of the half-lives.
fn windows(half_lives_ms: &[u64; 4]) -> Vec<u64> {
    const QUOTED_MS: [u64; 9] = [1000, 10_000, M, 10 * M, H, D, 7 * D, 30 * D, 90 * D];
    let within: Vec<u64> = QUOTED_MS
        .into_iter()
        .filter(|ms| {
            ms * 3 >= half_lives_ms[0] * 2 && *ms <= half_lives_ms[3].saturating_mul(8) / 5
        })
        .collect();
    match within.len() {
        0..=3 => within,
        many => vec![within[0], within[many / 2], within[many - 1]],
    }
}

/// Whether events with one `ts` should not see one another.
pub fn strict_ties(report: &Report, notes: &mut Vec<String>) -> bool {
    let clock = &report.clock;
    if clock.tied_share == 0.0 {
        return false;
    }
    let coarse = clock.grain_ms >= 1000;
    let strict = coarse && clock.tie_share_max <= 0.1;
    notes.push(format!(
        "{:.2} % of the events have the `ts` of the event before them, on a clock with steps of {}: {}.",
        clock.tied_share * 100.0,
        rough(clock.grain_ms),
        match (strict, coarse) {
            (true, _) => "their order is not known, so they should not see one another (strict ties)",
            (false, true) => "too many share one moment, so the order of the file is taken as it is",
            (false, false) => "fine enough to take the order of the file as it is",
        }
    ));
    strict
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_lie_within_the_half_lives() {
        let cases: [([u64; 4], &[u64]); 3] = [
            ([D, 3 * D, 10 * D, 30 * D], &[D, 7 * D, 30 * D]),
            ([10 * M, 2 * H, D, 14 * D], &[10 * M, D, 7 * D]),
            ([1, 2, 5, 10], &[]),
        ];
        for (half_lives_ms, expected) in cases {
            assert_eq!(windows(&half_lives_ms), expected);
        }
    }
}
