//! From what was seen to what is declared, with the reason for each choice.

mod columns;
mod counters;
mod fields;
mod kinds;
mod labels;
mod names;
mod profiles;
mod time;

pub use columns::columns;
pub use labels::{LabelProposal, LabelUnit};

use super::report::Report;
use features::config::{EventsConfig, FeatureConfig};

/// Columns of the feature vector (without those of the graph) that a proposal may have.
pub const COLUMNS_MAX: usize = 400;
/// Types that are declared, at most.
const TYPES_MAX: usize = 64;

/// A configuration that fits a stream.
#[derive(Clone, Debug, PartialEq)]
pub struct Proposal {
    /// What is counted.
    pub features: FeatureConfig,
    /// How labels are to be read.
    pub labels: LabelProposal,
    /// Events with the same `ts` should not see one another.
    pub strict_ties: bool,
    /// What was seen and what was chosen for it, in sentences.
    pub notes: Vec<String>,
}

/// Why there is no proposal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// Nothing was seen.
    #[error(
        "no event was taken, so there is nothing to fit a configuration to; give a file with one event per line \
         (`ts`, `type`, `account`), and check that `--until` is not before its first event"
    )]
    NoEvents,
}

/// How much is counted: a leaner level is taken when a richer one has too many columns.
#[derive(Clone, Copy, Debug)]
struct Level {
    attributes: usize,
    types: usize,
    types_on_kinds: bool,
    sums: usize,
    flags: usize,
    values: usize,
    numeric: usize,
    numeric_elsewhere: usize,
    neighbours: usize,
    kinds: usize,
}

/// Richest first.
#[rustfmt::skip]
const LEVELS: [Level; 7] = [
    Level { attributes: 64, types: 16, types_on_kinds: true, sums: 4, flags: 6, values: 6, numeric: 8, numeric_elsewhere: 10, neighbours: 6, kinds: 30 },
    Level { attributes: 64, types: 16, types_on_kinds: false, sums: 3, flags: 6, values: 4, numeric: 6, numeric_elsewhere: 10, neighbours: 6, kinds: 30 },
    Level { attributes: 48, types: 12, types_on_kinds: false, sums: 2, flags: 4, values: 3, numeric: 4, numeric_elsewhere: 6, neighbours: 4, kinds: 16 },
    Level { attributes: 40, types: 10, types_on_kinds: false, sums: 2, flags: 3, values: 2, numeric: 3, numeric_elsewhere: 3, neighbours: 3, kinds: 10 },
    Level { attributes: 32, types: 8, types_on_kinds: false, sums: 1, flags: 2, values: 0, numeric: 2, numeric_elsewhere: 1, neighbours: 2, kinds: 6 },
    Level { attributes: 24, types: 5, types_on_kinds: false, sums: 1, flags: 1, values: 0, numeric: 1, numeric_elsewhere: 1, neighbours: 0, kinds: 4 },
    Level { attributes: 16, types: 3, types_on_kinds: false, sums: 1, flags: 0, values: 0, numeric: 1, numeric_elsewhere: 0, neighbours: 0, kinds: 2 },
];

impl Proposal {
    /// The configuration for a stream that looks like this.
    ///
    /// # Errors
    /// When there was no event.
    pub fn for_report(report: &Report) -> Result<Proposal, ProposeError> {
        if report.events == 0 {
            return Err(ProposeError::NoEvents);
        }
        let mut notes = Vec::new();
        notes.push(format!(
            "{} events of {}{} accounts over {}, {} types, {} kinds of entities, {} attributes.",
            report.events,
            if report.accounts.complete { "" } else { "about " },
            report.accounts.distinct,
            super::durations::rough(report.clock.span_ms),
            report.types.len(),
            report.kinds.len(),
            report.attributes.len(),
        ));
        let time = time::propose(report, &mut notes);
        let labels = labels::propose(report, time.half_lives_ms[3], &mut notes);
        let kinds = kinds::propose(report, &time, &mut notes);
        let fields = fields::propose(report, &mut notes);
        let types = declared_types(report, &mut notes);

        let mut features = FeatureConfig::default();
        for (at, level) in LEVELS.iter().enumerate() {
            let seen = Seen { report, time: &time, kinds: &kinds, fields: &fields, types: &types };
            features = FeatureConfig {
                time: time.config.clone(),
                events: EventsConfig { types: types.clone() },
                attributes: fields.declared(level.attributes),
                kinds: kinds.iter().map(|kind| (kind.name.clone(), kind.config.clone())).collect(),
                counters: counters::propose(&seen, level),
                profiles: profiles::propose(&seen, level, !labels.no_feedback),
            };
            let Some(width) = columns(&features, seen.has_target()) else { continue };
            if width <= COLUMNS_MAX || at + 1 == LEVELS.len() {
                notes.push(if at == 0 {
                    format!("The feature vector has {width} columns before those of the graph.")
                } else {
                    format!(
                        "The feature vector has {width} columns before those of the graph; to stay near \
                         {COLUMNS_MAX}, the less frequent types, attributes and kinds are counted less closely."
                    )
                });
                break;
            }
        }
        let strict_ties = time::strict_ties(report, &mut notes);
        Ok(Proposal { features, labels, strict_ties, notes })
    }
}

/// What the steps of a proposal read.
struct Seen<'a> {
    report: &'a Report,
    time: &'a time::Time,
    kinds: &'a [kinds::Kind],
    fields: &'a fields::Fields,
    types: &'a [String],
}

impl Seen<'_> {
    /// Whether events have another account on their other side.
    fn meets_accounts(&self) -> bool {
        self.has_target() || self.kinds.iter().any(|kind| kind.config.is_account)
    }

    fn has_target(&self) -> bool {
        self.report.target.is_some()
    }
}

fn declared_types(report: &Report, notes: &mut Vec<String>) -> Vec<String> {
    let types: Vec<String> = report
        .types
        .iter()
        .map(|seen| seen.name.clone())
        .filter(|name| names::is_type(name))
        .take(TYPES_MAX)
        .collect();
    let others = report.types.len() - types.len();
    if others > 0 || report.types_beyond > 0 {
        notes.push(format!(
            "The {} most frequent types have names; {}{others} others share one.",
            types.len(),
            if report.types_beyond > 0 { "more than " } else { "" },
        ));
    }
    types
}
