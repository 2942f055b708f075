//! From what was seen to what is declared, with the reason for each choice.

mod columns;
mod fields;
mod grow;
mod kinds;
mod labels;
mod names;
mod time;

pub use columns::columns;
pub use labels::{LabelProposal, LabelUnit};

use super::report::Report;
use features::config::FeatureConfig;

/// Columns of the feature vector (without those of the graph) that a proposal may have.
pub const COLUMNS_MAX: usize = 420;
/// Longer notes are cut.
const NOTE_CHARS_MAX: usize = 2000;
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
        notes.extend(report.ids.note());
        let time = time::propose(report, &mut notes);
        let labels = labels::propose(report, time.half_lives_ms[3], &mut notes);
        let kinds = kinds::propose(report, &time, labels.unit, &mut notes);
        let fields = fields::propose(report, &mut notes);
        let types = declared_types(report, &mut notes);

        let seen = Seen { report, time: &time, kinds: &kinds, fields: &fields, types: &types };
        let (features, left_out) = grow::propose(&seen, &labels);
        let width = columns(&features, seen.has_target()).unwrap_or(0);
        notes.push(if left_out == 0 {
            format!("The feature vector has {width} columns before those of the graph.")
        } else {
            format!(
                "The feature vector has {width} columns before those of the graph; {left_out} more counts and \
                 profiles would be possible, but the most telling {COLUMNS_MAX} columns come first."
            )
        });
        let strict_ties = time::strict_ties(report, &mut notes);
        for note in &mut notes {
            tidy(note);
        }
        Ok(Proposal { features, labels, strict_ties, notes })
    }
}

/// Names come from the stream: whatever they hold, a note stays one line that can be a comment.
fn tidy(note: &mut String) {
    if note.contains(char::is_control) {
        *note = note.replace(char::is_control, "?");
    }
    if let Some((at, _)) = note.char_indices().nth(NOTE_CHARS_MAX) {
        note.truncate(at);
        note.push_str(" ...");
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
