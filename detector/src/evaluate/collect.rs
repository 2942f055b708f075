//! A stream through the line, and what is kept of every event to be measured.

use crate::pipeline::{self, Plan, RunError};
use crate::rows::{Owners, Targets};
use crate::sink::files::OutputPaths;
use crate::source::files::{Lines, SourceError};
use crate::source::labels::LabelFile;
use engine::effects::Effects;
use engine::{Engine, Wanted};
use features::config::AttributeKind;
use features::duration::parse_ms;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, DefaultHasher, Hash, Hasher};
use std::path::Path;

/// What an event is, as the labels say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Bad.
    Bad,
    /// Good, by a verdict or because nobody said otherwise for long enough.
    Good,
    /// Not known: not measured.
    Unknown,
}

/// One attribute of the measured events, by which they can be told apart.
#[derive(Clone, Debug)]
pub struct SliceColumn {
    /// `type`, or the attribute's name.
    pub name: String,
    /// How its values read.
    pub kind: SliceKind,
    /// A value per event: index, 0 or 1, or number; NaN is absent.
    pub values: Vec<f32>,
}

/// How the values of a slice column read.
#[derive(Clone, Debug, PartialEq)]
pub enum SliceKind {
    /// Indices of these names; the number of names stands for every other.
    Names(Vec<String>),
    /// 0 and 1.
    Boolean,
    /// Numbers: cut into quartiles.
    Number,
}

/// All scored events between `from` and `to`, in the order of the stream. All lists have one length.
#[derive(Clone, Debug, Default)]
pub struct Rows {
    /// Hash of event id and account.
    pub event: Vec<u64>,
    /// The account, numbered in order of appearance.
    pub account: Vec<u32>,
    /// When, epoch milliseconds.
    pub ts_ms: Vec<i64>,
    /// The score as it would have been live, 0 to 1.
    pub score: Vec<f32>,
    /// What it is.
    pub outcome: Vec<Outcome>,
    /// Whether it is of a type that is measured (`labels.types`).
    pub of_type: Vec<bool>,
    /// Whether an action that enforcement would have noticed came of it: live, and more than `observe`.
    pub acted: Vec<bool>,
    /// The attributes that were asked for.
    pub slices: Vec<SliceColumn>,
}

impl Rows {
    /// How many events.
    pub fn len(&self) -> usize {
        self.ts_ms.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.ts_ms.is_empty()
    }

    /// Whether an event is measured.
    pub fn is_measured(&self, row: usize) -> bool {
        self.of_type[row] && self.outcome[row] != Outcome::Unknown
    }
}

/// Which events to measure, and by what to tell them apart.
#[derive(Clone, Debug, Default)]
pub struct Window {
    /// Earlier events only feed history.
    pub from_ms: Option<i64>,
    /// Later events are not measured.
    pub to_ms: Option<i64>,
    /// Later events and labels do not exist.
    pub until_ms: Option<i64>,
    /// Attributes to slice by.
    pub slices: Slices,
}

/// Which attributes to slice by.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Slices {
    /// None.
    #[default]
    None,
    /// The event type and all declared attributes.
    Auto,
    /// These; `type` is the event type.
    Named(Vec<String>),
}

/// What a replay gave.
#[derive(Clone, Debug)]
pub struct Replayed {
    /// The events.
    pub rows: Rows,
    /// Labels in the file.
    pub labels: usize,
    /// Events in the window of which a label speaks.
    pub joined: u64,
    /// Lines of the stream.
    pub lines: u64,
    /// Messages that could not be read.
    pub rejects: u64,
    /// Bad events younger than `labels.maturity` that are measured, though unlabelled ones of their age are not.
    pub young_bad: u64,
    /// Where that age begins, epoch milliseconds.
    pub young_from_ms: i64,
}

/// Why a stream could not be evaluated.
#[derive(Debug, thiserror::Error)]
pub enum CollectError {
    /// Input.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The run.
    #[error(transparent)]
    Run(#[from] RunError),
    /// A slice that does not exist.
    #[error("--slices: there is no attribute {name}; known: {known}")]
    Slice {
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
    /// More accounts than can be numbered.
    #[error("the stream has more than {} accounts", u32::MAX)]
    Accounts,
}

type Map<K, V> = HashMap<K, V, BuildHasherDefault<DefaultHasher>>;

fn hash(parts: [&str; 2]) -> u64 {
    let mut hasher = DefaultHasher::new();
    parts.hash(&mut hasher);
    hasher.finish()
}

/// What time the stream's clock says behind its last event, up to `until_ms`: one reading of the stream. -1 for an empty one.
///
/// # Errors
/// When the stream cannot be read.
pub fn newest_ms(
    events: &Path,
    engine: &Engine,
    until_ms: Option<i64>,
) -> Result<i64, SourceError> {
    let decoder = engine.decoder();
    let mut clock = engine.clock();
    let mut lines = Lines::open(events)?;
    while let Some(batch) = lines.next_batch(pipeline::BATCH_LINES)? {
        let read = batch.lines.iter().filter_map(|&(start, end, _)| {
            let event = decoder.event(&batch.bytes[start..end], || "line".into()).ok()?;
            Some((event.account, event.ts_ms))
        });
        let events: Vec<_> =
            read.filter(|(_, ts_ms)| until_ms.is_none_or(|until| *ts_ms <= until)).collect();
        let head = events.iter().map(|(account, ts_ms)| (account.as_str(), *ts_ms));
        let mut opening = pipeline::opening(engine, &clock, head);
        if let Some(opening) = opening {
            clock.begin(opening.ts_ms);
        }
        for (account, ts_ms) in &events {
            if !opening.as_mut().is_some_and(|o| o.next_is_ahead(*ts_ms)) {
                clock.hear(engine.voice(account), *ts_ms);
            }
        }
    }
    Ok(clock.now_ms())
}

/// Replays `events` through an engine that has seen nothing yet; labels are fed as they became known, and are the truth.
///
/// Memory: about 40 bytes an event in the window, and 4 per slice.
///
/// # Errors
/// When a file cannot be read or a slice does not exist.
pub fn replay(
    engine: &mut Engine,
    events: &Path,
    labels: &Path,
    window: &Window,
    progress: &mut dyn FnMut(u64),
) -> Result<Replayed, CollectError> {
    let decoder = engine.decoder();
    let label_file = LabelFile::load(labels, &decoder, window.until_ms)?;
    let config = engine.config().labels.clone();
    let owners = Owners::read(events, &decoder, &label_file)?;
    let targets = Targets::new(&config, label_file.each(&decoder), |id| owners.of(id));
    drop(owners);
    let label_count = label_file.len();
    let mut slices = slice_columns(engine, &window.slices)?;
    let places: Vec<usize> = slices.iter().map(|(_, place)| *place).collect();
    let types: Vec<u16> = config.types.iter().map(|t| engine.schema().type_id(t).0).collect();
    let width = engine.columns().len();
    let mut rows =
        Rows { slices: slices.drain(..).map(|(column, _)| column).collect(), ..Rows::default() };
    let mut accounts: Map<u64, u32> = Map::default();
    // Good only if nobody says otherwise for long enough; whether that is so is known at the end.
    let mut unlabelled: Vec<u32> = Vec::new();
    let mut joined = 0u64;
    let mut newest_ms = i64::MIN;
    let mut overflow = false;
    let (from, to) = (window.from_ms.unwrap_or(i64::MIN), window.to_ms.unwrap_or(i64::MAX));
    let mut collect = |effects: &Effects| {
        let mut drafts = effects.actions.iter().filter(|d| !d.is_reversal()).peekable();
        for (at, (score, row)) in effects.scores.iter().zip(&effects.rows).enumerate() {
            newest_ms = newest_ms.max(score.ts_ms);
            let mut acted = false;
            while let Some(draft) =
                drafts.next_if(|d| d.event_id() == score.event_id && d.account() == score.account)
            {
                acted |= !draft.is_shadow() && draft.action() != "observe";
            }
            if score.ts_ms < from || score.ts_ms > to {
                continue;
            }
            let of_type = types.is_empty() || types.contains(&row.type_id);
            let said = targets.said(&score.event_id, &score.account, score.ts_ms);
            let good = targets.good_if_unlabelled(&score.account);
            let at_most = said.or_else(|| good.then_some(false));
            joined += u64::from(said.is_some() && of_type);
            if said.is_none() && at_most.is_some() {
                unlabelled.push(rows.ts_ms.len() as u32);
            }
            let next = accounts.len();
            let account = *accounts.entry(hash(["", &score.account])).or_insert(next as u32);
            overflow |= next > u32::MAX as usize;
            rows.event.push(hash([&score.event_id, &score.account]));
            rows.account.push(account);
            rows.ts_ms.push(score.ts_ms);
            rows.score.push(score.score);
            rows.outcome.push(match at_most {
                Some(true) => Outcome::Bad,
                Some(false) => Outcome::Good,
                None => Outcome::Unknown,
            });
            rows.of_type.push(of_type);
            rows.acted.push(acted);
            for (column, place) in rows.slices.iter_mut().zip(&places) {
                let value = effects.row_values.get(at * width + place);
                column.values.push(value.copied().unwrap_or(f32::NAN));
            }
        }
    };
    engine.want(Wanted { scores: true, rows: true, state_only: false });
    let summary = pipeline::run(
        engine,
        Plan {
            input: Lines::open(events)?,
            labels: label_file,
            outputs: OutputPaths::default(),
            store: None,
            checkpoint_events: u64::MAX,
            until_ms: window.until_ms,
            on_action: None,
            on_effects: Some(&mut collect),
            progress,
        },
    )?;
    if overflow {
        return Err(CollectError::Accounts);
    }
    let now_ms = window.until_ms.unwrap_or(newest_ms);
    let maturity_ms = parse_ms(&config.maturity).unwrap_or(0);
    for row in unlabelled {
        let row = row as usize;
        if now_ms.saturating_sub(rows.ts_ms[row]) < maturity_ms {
            rows.outcome[row] = Outcome::Unknown;
        }
    }
    // Among young events only those are measured of which a label speaks; that is mostly the bad ones.
    let young_from_ms = now_ms.saturating_sub(maturity_ms).saturating_add(1);
    let left_out = (0..rows.len()).any(|at| {
        rows.of_type[at] && rows.outcome[at] == Outcome::Unknown && rows.ts_ms[at] >= young_from_ms
    });
    let is_young_bad = |at: &usize| {
        rows.of_type[*at] && rows.outcome[*at] == Outcome::Bad && rows.ts_ms[*at] >= young_from_ms
    };
    let young_bad = if left_out { (0..rows.len()).filter(is_young_bad).count() as u64 } else { 0 };
    Ok(Replayed {
        young_bad,
        young_from_ms,
        rows,
        labels: label_count,
        joined,
        lines: summary.lines,
        rejects: summary.rejects,
    })
}

/// The columns to slice by, and where they stand in the feature vector.
fn slice_columns(
    engine: &Engine,
    wanted: &Slices,
) -> Result<Vec<(SliceColumn, usize)>, CollectError> {
    let config = engine.config();
    let place = |column: &str| engine.columns().iter().position(|c| c == column);
    let mut known: Vec<(SliceColumn, usize)> = Vec::new();
    if let Some(at) = place("event.type") {
        let kind = SliceKind::Names(engine.schema().types().to_vec());
        known.push((SliceColumn { name: "type".into(), kind, values: Vec::new() }, at));
    }
    for (name, attribute) in &config.attributes {
        let kind = match attribute.kind {
            AttributeKind::Category => SliceKind::Names(attribute.values.clone()),
            AttributeKind::Boolean => SliceKind::Boolean,
            AttributeKind::Number | AttributeKind::Age => SliceKind::Number,
        };
        if let Some(at) = place(&format!("event.{name}")) {
            known.push((SliceColumn { name: name.clone(), kind, values: Vec::new() }, at));
        }
    }
    match wanted {
        Slices::None => Ok(Vec::new()),
        Slices::Auto => Ok(known),
        Slices::Named(names) => names
            .iter()
            .map(|name| {
                known.iter().find(|(c, _)| c.name == *name).cloned().ok_or_else(|| {
                    let known: Vec<&str> = known.iter().map(|(c, _)| c.name.as_str()).collect();
                    CollectError::Slice { name: name.clone(), known: known.join(", ") }
                })
            })
            .collect(),
    }
}
