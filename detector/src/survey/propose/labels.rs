//! How labels are to be read: of what, how long after, and whether they may feed features.

use crate::survey::durations::{D, H, at_least, nearest, rough, text};
use crate::survey::labels::LabelsReport;
use crate::survey::report::Report;
use serde::Serialize;

/// Events that the index for joining labels should remember, at least and at most.
const INDEX_EVENTS: [u64; 2] = [100_000, 20_000_000];

/// What a label speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LabelUnit {
    /// One event.
    Event,
    /// An account.
    Account,
}

/// How labels are to be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LabelProposal {
    /// What most labels speak of.
    pub unit: LabelUnit,
    /// Types whose events are labelled, when labels name events of some types only; empty: all.
    pub score_types: Vec<String>,
    /// For labels of accounts: how long before its first bad label an account's events count as bad.
    pub lookback_ms: u64,
    /// How old an event must be before the absence of a label says something.
    pub maturity_ms: u64,
    /// Good ones are labelled too: what has no label is not known, and not good.
    pub covers_all: bool,
    /// Labels are targets only and must not feed features.
    pub no_feedback: bool,
    /// From event to label: 99 in 100 are not later.
    pub lag_p99_ms: u64,
    /// How long the index of recent events must remember them for labels that name events.
    pub index_age_ms: u64,
    /// How many events that index must hold.
    pub index_events_max: u64,
}

/// Reads labels as they were seen; without any, as moderators usually give them.
pub fn propose(report: &Report, longest_ms: u64, notes: &mut Vec<String>) -> LabelProposal {
    let Some(labels) = &report.labels else {
        notes.push(
            "No labels were given: the score is the built-in one, and learning needs labels."
                .into(),
        );
        return LabelProposal {
            unit: LabelUnit::Account,
            score_types: Vec::new(),
            lookback_ms: 30 * D,
            maturity_ms: 30 * D,
            covers_all: false,
            no_feedback: false,
            lag_p99_ms: 0,
            index_age_ms: 30 * D,
            index_events_max: index_events(report, 30 * D),
        };
    };
    notes.push(format!("{} labels, {} of them bad.", labels.labels, labels.bad));
    if labels.bad == 0 {
        notes.push("No label says bad: there is nothing to learn from yet.".into());
    } else if labels.bad == labels.labels {
        notes.push("All labels say bad: what has none, and is old enough, counts as good.".into());
    }
    if labels.known_ms[0] == labels.known_ms[1] && labels.labels > 1 {
        notes.push("All labels became known at one moment: no history can be learned from them as they came.".into());
    }
    // Bad labels decide; when there are none, all do.
    let of_events = if labels.bad > 0 {
        labels.bad_with_event * 2 >= labels.bad
    } else {
        labels.with_event * 2 >= labels.labels
    };
    if labels.with_event > 0 && labels.joined_share < 0.5 {
        notes.push(format!(
            "Only {:.0} % of the labels that name an event name one that was seen: check `event_id` on both sides.",
            labels.joined_share * 100.0
        ));
    }
    let mut proposal = if of_events {
        events(labels, notes)
    } else {
        accounts(labels, report.clock.span_ms, longest_ms, notes)
    };
    proposal.index_events_max = index_events(report, proposal.index_age_ms);
    proposal
}

fn events(labels: &LabelsReport, notes: &mut Vec<String>) -> LabelProposal {
    let no_feedback = labels.at_once_share >= 0.5 && labels.joined_share > 0.0;
    let all: u64 = labels.types.iter().map(|seen| seen.labelled).sum();
    let scored = labels.types.iter().filter(|seen| seen.labelled * 200 >= all);
    let score_types: Vec<String> = scored.clone().map(|seen| seen.name.clone()).collect();
    let (events, labelled) = scored
        .fold((0, 0), |(events, labelled), seen| (events + seen.events, labelled + seen.labelled));
    let covered = labelled as f64 / events.max(1) as f64;
    let good = labels.labels - labels.bad;
    let covers_all = good > 0 && (covered >= 0.9 || good >= labels.bad * 3);
    let lag_p99_ms = labels.lag_ms[2];
    notes.push(format!(
        "Labels name events{}; they come {} after them (median; 99 % within {}).",
        if labels.mixed_share > 0.05 { ", and one account has both good and bad ones" } else { "" },
        rough(labels.lag_ms[0]),
        rough(lag_p99_ms)
    ));
    if no_feedback {
        notes.push(format!(
            "{:.0} % of the labels carry the moment of their event (or an earlier one), which no platform can know: they are taken \
             for targets only and do not feed features (`no_feedback`).",
            labels.at_once_share * 100.0
        ));
    }
    notes.push(if covers_all {
        format!("{:.0} % of the events that could have a label have one, good ones too: an event without one is not yet known.", covered * 100.0)
    } else {
        format!("{:.1} % of the events that could have a label have one: what has none, and is old enough, counts as good.", covered * 100.0)
    });
    LabelProposal {
        unit: LabelUnit::Event,
        score_types,
        lookback_ms: 0,
        maturity_ms: if no_feedback {
            0
        } else {
            round(labels.lag_ms[2].max(labels.bad_lag_ms[1]))
        },
        covers_all,
        no_feedback,
        lag_p99_ms,
        index_age_ms: index_age(labels),
        index_events_max: 0,
    }
}

fn accounts(
    labels: &LabelsReport,
    span_ms: u64,
    longest_ms: u64,
    notes: &mut Vec<String>,
) -> LabelProposal {
    let no_feedback = labels.accounts_at_once_share >= 0.5;
    let good = labels.labels - labels.bad;
    let covers_all = good > 0 && (labels.accounts_labelled_share >= 0.9 || good >= labels.bad * 3);
    let [half_ms, most_ms] = labels.bad_age_ms;
    // Most of a bad account's life before it is found, but not the years of one that was taken over.
    let lookback_ms = round(most_ms).clamp(H, round(longest_ms.max(30 * D)));
    // Waiting longer than a quarter of the stream would leave too little to learn from.
    let maturity_ms = if most_ms == 0 { 0 } else { nearest(most_ms.min(span_ms / 4)) };
    notes.push(format!(
        "Labels name accounts; a bad one is found {} after its first event (median; 90 % within {}): its events count as bad from {} before.",
        rough(half_ms),
        rough(most_ms),
        text(lookback_ms)
    ));
    if no_feedback {
        notes.push(format!(
            "{:.0} % of the labels are known at the account's first event or before it, which no platform can know: they are taken \
             for targets only and do not feed features (`no_feedback`).",
            labels.accounts_at_once_share * 100.0
        ));
    }
    if covers_all {
        notes.push(
            "Good accounts are labelled too: an account without a label is not yet known.".into(),
        );
    } else if good > 0 {
        notes.push("Few labels say good, so they retract earlier ones: what has no label, and is old enough, counts as good.".into());
    }
    let index_age_ms = if labels.with_event > 0 { index_age(labels) } else { H };
    LabelProposal {
        unit: LabelUnit::Account,
        score_types: Vec::new(),
        lookback_ms,
        maturity_ms: if no_feedback { 0 } else { maturity_ms },
        covers_all,
        no_feedback,
        lag_p99_ms: labels.lag_ms[2],
        index_age_ms,
        index_events_max: 0,
    }
}

/// Longer than nearly all labels take; the few that come half a year later are counted as misses.
fn index_age(labels: &LabelsReport) -> u64 {
    round(labels.lag_ms[3].saturating_mul(3) / 2).clamp(H, 180 * D)
}

fn round(ms: u64) -> u64 {
    if ms == 0 { 0 } else { at_least(ms) }
}

/// How many events come within an age, at one and a half times the mean rate.
fn index_events(report: &Report, age_ms: u64) -> u64 {
    let span_ms = report.clock.span_ms.max(1) as f64;
    let share = (age_ms as f64 / span_ms).min(1.0);
    ((report.events as f64 * share * 1.5).ceil() as u64).clamp(INDEX_EVENTS[0], INDEX_EVENTS[1])
}
