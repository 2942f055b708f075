//! What a survey found, as one value.

use super::accounts::AccountsReport;
use super::attributes::AttributeReport;
use super::clock::ClockReport;
use super::durations::rough;
use super::ids::IdsReport;
use super::keys::{KeysReport, PairReport};
use super::labels::LabelsReport;
use serde::Serialize;
use std::fmt;

/// One type of event.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct TypeReport {
    /// Its name.
    pub name: String,
    /// How many events have it.
    pub events: u64,
    /// Share of them that name a target.
    pub target_share: f64,
    /// Accounts that have such an event, about.
    pub accounts: u64,
}

/// Who is acted upon.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct TargetReport {
    /// Events that name a target.
    pub events: u64,
    /// Share of all events.
    pub share: f64,
    /// How pairs of accounts meet.
    pub pairs: PairReport,
    /// Events that name a target, per target: half, 90 and 99 of 100 have no more; then the most.
    pub events_per_target: [u64; 4],
    /// Share of the targets that act themselves.
    pub acting_share: f64,
}

/// What a survey found. The same stream gives the same report.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// Events taken.
    pub events: u64,
    /// How time runs.
    pub clock: ClockReport,
    /// Whether ids of events name one event each.
    pub ids: IdsReport,
    /// Types, most frequent first.
    pub types: Vec<TypeReport>,
    /// Events of types beyond those that are counted by name.
    pub types_beyond: u64,
    /// Accounts.
    pub accounts: AccountsReport,
    /// Who is acted upon, when anybody is.
    pub target: Option<TargetReport>,
    /// Kinds of entities, most used first.
    pub kinds: Vec<KeysReport>,
    /// Uses of kinds beyond those that are followed.
    pub kinds_beyond: u64,
    /// Attributes, in as many events as possible first.
    pub attributes: Vec<AttributeReport>,
    /// Uses of attributes beyond those that are followed.
    pub attributes_beyond: u64,
    /// Labels, when there are any.
    pub labels: Option<LabelsReport>,
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = |share: f64| format!("{:.1} %", share * 100.0);
        writeln!(
            out,
            "events       {} of {} accounts over {}",
            self.events,
            self.accounts.distinct,
            rough(self.clock.span_ms)
        )?;
        writeln!(
            out,
            "clock        grain {}, tied {}, late {}{}{}",
            rough(self.clock.grain_ms),
            percent(self.clock.tied_share),
            percent(self.clock.late_share),
            if self.clock.metronome { ", equal steps" } else { "" },
            if self.clock.daily { ", follows the day" } else { "" },
        )?;
        if self.ids.redelivered + self.ids.conflicts > 0 {
            writeln!(
                out,
                "event ids    {} repeat their account's with the same content, {} with other",
                self.ids.redelivered, self.ids.conflicts
            )?;
        }
        writeln!(
            out,
            "per account  {:?} events (p50 p90 p99 max), {} between them (median)",
            self.accounts.events_per_account,
            rough(self.accounts.gap_ms[1])
        )?;
        for seen in &self.types {
            writeln!(
                out,
                "type         {}: {} events, with target {}",
                seen.name,
                seen.events,
                percent(seen.target_share)
            )?;
        }
        for kind in &self.kinds {
            writeln!(
                out,
                "kind         {}: {} keys, accounts per key {:?}, keys per account {:?}, shared {}, accounts themselves {}{}",
                kind.name,
                kind.distinct,
                kind.accounts_per_key,
                kind.keys_per_account,
                percent(kind.shared_share),
                percent(kind.account_overlap),
                match kind.placeholders.len() {
                    0 => String::new(),
                    placeholders => format!(", placeholders {placeholders}"),
                }
            )?;
        }
        for attribute in &self.attributes {
            writeln!(
                out,
                "attribute    {}: {:?} in {}, quantiles {:?}, changes {}",
                attribute.name,
                attribute.reading,
                percent(attribute.present_share),
                attribute.quantiles,
                percent(attribute.change_share)
            )?;
        }
        if let Some(labels) = &self.labels {
            writeln!(
                out,
                "labels       {} ({} bad), {} name events, {} after the event (median)",
                labels.labels,
                labels.bad,
                labels.with_event,
                rough(labels.lag_ms[0])
            )?;
        }
        Ok(())
    }
}
