//! Point-in-time rows of a replay, with the labels that they are learned with.

use crate::source::labels::LabelFile;
use engine::config::{LabelUnit, LabelsConfig, Unlabelled};
use engine::effects::{Effects, ScoreOut};
use engine::wire::Decoder;
use features::duration::parse_ms;
use features::event::{Event, Label, Verdict};
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, DefaultHasher, Hash, Hasher};
use training::Table;

type Map<K, V> = HashMap<K, V, BuildHasherDefault<DefaultHasher>>;

/// A verdict and when it became known.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Known {
    bad: bool,
    ts_ms: i64,
}

/// What every event is, as the labels say. Built once; asked per event.
#[derive(Debug, Default)]
pub struct Targets {
    unlabelled_is_good: bool,
    lookback_ms: i64,
    maturity_ms: i64,
    by_event: Map<u64, Known>,
    by_account: Map<u64, Known>,
}

fn hash(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

impl Targets {
    /// Reads the labels that are known. `owner` says whose an event is, where a label names the event alone.
    pub fn new(
        config: &LabelsConfig,
        labels: impl Iterator<Item = Label>,
        owner: impl Fn(&str) -> Option<u64>,
    ) -> Self {
        let mut targets = Self {
            unlabelled_is_good: config.unlabelled == Unlabelled::Good,
            lookback_ms: parse_ms(&config.lookback).unwrap_or(0),
            maturity_ms: parse_ms(&config.maturity).unwrap_or(0),
            ..Self::default()
        };
        for label in labels {
            if label.verdict == Verdict::Erase || label.confidence < config.confidence_min {
                continue;
            }
            let known = Known { bad: label.verdict == Verdict::Bad, ts_ms: label.ts_ms };
            let newest = |map: &mut Map<u64, Known>, key: u64| {
                let entry = map.entry(key).or_insert(known);
                if known.ts_ms >= entry.ts_ms {
                    *entry = known;
                }
            };
            if let Some(event_id) = &label.event_id {
                newest(&mut targets.by_event, hash(event_id));
            }
            if config.unit == LabelUnit::Account {
                let account = label.account.as_ref().map(|a| hash(a));
                let account = account.or_else(|| label.event_id.as_ref().and_then(|id| owner(id)));
                if let Some(account) = account {
                    newest(&mut targets.by_account, account);
                }
            }
        }
        targets
    }

    /// How many events and accounts have a verdict.
    pub fn len(&self) -> (usize, usize) {
        (self.by_event.len(), self.by_account.len())
    }

    /// Whether there is no verdict at all.
    pub fn is_empty(&self) -> bool {
        self.by_event.is_empty() && self.by_account.is_empty()
    }

    /// What labels say of an event; `None`: nothing, or nothing that an event of that time can be judged by.
    pub fn said(&self, event_id: &str, account: &str, ts_ms: i64) -> Option<bool> {
        if let Some(known) = self.by_event.get(&hash(event_id)) {
            return Some(known.bad);
        }
        let known = self.by_account.get(&hash(account))?;
        // What came long before may have been honest; what came after is no news.
        let within = ts_ms <= known.ts_ms && known.ts_ms - ts_ms <= self.lookback_ms;
        (!known.bad || within).then_some(known.bad)
    }

    /// Whether an event of which labels say nothing is good, once it is old enough.
    pub fn good_if_unlabelled(&self, account: &str) -> bool {
        self.unlabelled_is_good && !self.by_account.contains_key(&hash(account))
    }

    /// How old an event must be: the configured maturity, but no more than a quarter of a short history.
    pub fn maturity_ms(&self, history_ms: i64) -> i64 {
        self.maturity_ms.min(history_ms.max(0) / 4)
    }

    /// What an event is to be learned as, when it is `age_ms` old. `None`: it is not to be learned from.
    ///
    /// Where bad is what somebody noticed, the newest events are not judged yet: keeping only the bad ones of them
    /// would make the end of history look far worse than it is. So they are left out, bad ones too.
    pub fn learned(
        &self,
        event_id: &str,
        account: &str,
        ts_ms: i64,
        age_ms: i64,
        maturity_ms: i64,
    ) -> Option<bool> {
        if self.unlabelled_is_good && age_ms < maturity_ms {
            return None;
        }
        let said = self.said(event_id, account, ts_ms);
        said.or_else(|| self.good_if_unlabelled(account).then_some(false))
    }
}

/// Rows as they come out of a replay.
#[derive(Debug)]
pub struct Collector {
    /// Only these types; empty: all.
    types: Vec<u16>,
    from_ms: i64,
    rows_max: usize,
    known_bad_weight: f32,
    skip_known_bad: bool,
    width: usize,
    /// One of 2^halvings rows that are not bad is kept.
    halvings: u32,
    table: Table,
    keys: Vec<(String, String)>,
}

impl Collector {
    /// Collects rows of `columns`, of whose attributes `categories` are indices of names; beyond `rows_max`, rows of what is not known to be bad are thinned.
    pub fn new(
        columns: &[String],
        categories: &[String],
        config: &LabelsConfig,
        types: Vec<u16>,
        from_ms: Option<i64>,
        rows_max: usize,
    ) -> Self {
        Self {
            types,
            from_ms: from_ms.unwrap_or(i64::MIN),
            rows_max: rows_max.max(1000),
            known_bad_weight: config.known_bad_weight,
            skip_known_bad: config.unit == LabelUnit::Account,
            width: columns.len(),
            halvings: 0,
            table: Table {
                categorical: columns.iter().map(|c| is_category(c, categories)).collect(),
                columns: columns.to_vec(),
                ..Table::default()
            },
            keys: Vec::new(),
        }
    }

    /// Takes the rows of a batch. `target` says what an event is, as far as labels go; `None` for now is not known.
    pub fn take(&mut self, effects: &Effects, target: impl Fn(&ScoreOut) -> Option<bool>) {
        for (i, (row, score)) in effects.rows.iter().zip(&effects.scores).enumerate() {
            let wanted = self.types.is_empty() || self.types.contains(&row.type_id);
            if !wanted || score.ts_ms < self.from_ms {
                continue;
            }
            let mut weight = 1.0;
            if self.skip_known_bad && row.known_bad {
                weight = self.known_bad_weight;
                if weight == 0.0 {
                    continue;
                }
            }
            let label = target(score);
            if label.is_none() {
                continue;
            }
            if label == Some(false) {
                if !self.kept(&score.event_id) {
                    continue;
                }
                weight *= (1u64 << self.halvings) as f32;
            }
            self.table
                .rows
                .extend_from_slice(&effects.row_values[i * self.width..(i + 1) * self.width]);
            self.table.ts_ms.push(score.ts_ms);
            self.table.account.push(row.account);
            self.table.label.push(label);
            self.table.weight.push(weight);
            self.keys.push((score.event_id.to_string(), score.account.to_string()));
        }
        while self.table.len() > self.rows_max && self.halvings < 20 {
            self.halve();
        }
    }

    fn kept(&self, event_id: &str) -> bool {
        hash(event_id).trailing_zeros() >= self.halvings
    }

    fn halve(&mut self) {
        self.halvings += 1;
        let keep: Vec<bool> = (0..self.table.len())
            .map(|i| self.table.label[i] != Some(false) || self.kept(&self.keys[i].0))
            .collect();
        for i in 0..self.table.len() {
            if self.table.label[i] == Some(false) {
                self.table.weight[i] *= 2.0;
            }
        }
        self.retain(&keep);
    }

    fn retain(&mut self, keep: &[bool]) {
        let width = self.width;
        let mut to = 0;
        for (from, _) in keep.iter().enumerate().filter(|(_, keep)| **keep) {
            self.table.rows.copy_within(from * width..(from + 1) * width, to * width);
            self.table.ts_ms[to] = self.table.ts_ms[from];
            self.table.account[to] = self.table.account[from];
            self.table.label[to] = self.table.label[from];
            self.table.weight[to] = self.table.weight[from];
            self.keys.swap(to, from);
            to += 1;
        }
        self.table.rows.truncate(to * width);
        self.table.ts_ms.truncate(to);
        self.table.account.truncate(to);
        self.table.label.truncate(to);
        self.table.weight.truncate(to);
        self.keys.truncate(to);
    }

    /// The table in order of time, with labels as of the moment of training.
    pub fn finish(mut self, target: impl Fn(&str, &str, i64) -> Option<bool>) -> Table {
        for (i, (event_id, account)) in self.keys.iter().enumerate() {
            self.table.label[i] = target(event_id, account, self.table.ts_ms[i]);
        }
        let keep: Vec<bool> = self.table.label.iter().map(Option::is_some).collect();
        self.retain(&keep);
        self.table.rows.shrink_to_fit();
        if self.table.ts_ms.is_sorted() { self.table } else { sorted(self.table) }
    }
}

/// Late events came after their time: training needs the order of time.
fn sorted(table: Table) -> Table {
    let mut order: Vec<usize> = (0..table.len()).collect();
    order.sort_by_key(|i| table.ts_ms[*i]);
    Table {
        rows: order.iter().flat_map(|i| table.row(*i).iter().copied()).collect(),
        ts_ms: order.iter().map(|i| table.ts_ms[*i]).collect(),
        account: order.iter().map(|i| table.account[*i]).collect(),
        label: order.iter().map(|i| table.label[*i]).collect(),
        weight: order.iter().map(|i| table.weight[*i]).collect(),
        columns: table.columns,
        categorical: table.categorical,
    }
}

/// Columns whose values are indices of names.
pub(crate) fn is_category(column: &str, attributes: &[String]) -> bool {
    let attribute = column.strip_prefix("event.");
    column == "event.type"
        || column.ends_with(".last_type")
        || attribute.is_some_and(|a| attributes.iter().any(|name| name == a))
}

/// Whose events are: for labels that name the event alone.
#[derive(Debug, Default)]
pub struct Owners(Map<u64, u64>);

impl Owners {
    /// Reads a stream once for the events that labels name without an account.
    ///
    /// # Errors
    /// When the stream cannot be read.
    pub fn read(
        events: &std::path::Path,
        decoder: &Decoder,
        labels: &LabelFile,
    ) -> Result<Self, crate::source::files::SourceError> {
        let mut wanted: Map<u64, u64> = Map::default();
        for label in labels.each(decoder).filter(|l| l.account.is_none()) {
            if let Some(id) = &label.event_id {
                wanted.insert(hash(id), 0);
            }
        }
        if wanted.is_empty() {
            return Ok(Self(wanted));
        }
        let mut lines = crate::source::files::Lines::open(events)?;
        while let Some(batch) = lines.next_batch(4096)? {
            for (i, &(start, end, _)) in batch.lines.iter().enumerate() {
                let line = batch.first_line + i as u64;
                let id = || compact_str::format_compact!("line-{line}");
                let read: Result<Event, _> = decoder.event(&batch.bytes[start..end], id);
                if let Ok(event) = read
                    && let Some(owner) = wanted.get_mut(&hash(&event.event_id))
                {
                    *owner = hash(&event.account);
                }
            }
        }
        wanted.retain(|_, owner| *owner != 0);
        Ok(Self(wanted))
    }

    /// The account of an event, hashed.
    pub fn of(&self, event_id: &str) -> Option<u64> {
        self.0.get(&hash(event_id)).copied()
    }
}
