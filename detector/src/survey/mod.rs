//! Looks at a stream, and at its labels, and proposes a configuration that fits it.
//!
//! [`Survey`] takes events and labels one by one in bounded memory, [`Survey::finish`] gives a
//! [`Report`], and [`Proposal::for_report`] turns that into declarations with the reason for each. Nothing
//! here knows a particular platform: every choice follows from what was seen. The same input gives the
//! same proposal, and nothing after the moment `until` has a part in it.

pub mod accounts;
pub mod attributes;
pub mod clock;
pub mod durations;
pub mod ids;
pub mod keys;
pub mod labels;
pub mod moments;
pub mod propose;
pub mod report;
pub mod sketch;

pub use propose::{LabelProposal, LabelUnit, Proposal, ProposeError};
pub use report::Report;

use accounts::Accounts;
use attributes::Attribute;
use clock::Clock;
use engine::wire::{Form, MappingConfig, RawEvent, RawLabel, Reject, RejectCode};
use features::event::Verdict;
use ids::Ids;
use keys::Keys;
use labels::Labels;
use report::{TargetReport, TypeReport};
use sketch::{Members, Names, fingerprint};
use std::collections::BTreeMap;
use std::io::{self, BufRead};

/// Types that are counted by name, at most.
const TYPES_MAX: usize = 512;
/// Kinds that are followed, at most.
const KINDS_MAX: usize = 64;
/// Attributes that are followed, at most.
const ATTRIBUTES_MAX: usize = 256;
/// Pairs of accounts that are followed for targets, and for each kind, at most.
const PAIRS_MAX: usize = 16_384;
/// Longer lines are not read.
const LINE_BYTES_MAX: usize = engine::limits::MESSAGE_BYTES_MAX;

/// How much a survey may remember. With the defaults it stays below 500 MB on any stream.
#[derive(Clone, Debug)]
pub struct SurveyLimits {
    /// Events and labels after this moment do not exist.
    pub until_ms: Option<i64>,
    /// Accounts that are followed.
    pub accounts_max: usize,
    /// Keys that are followed, per kind while there are up to eight; fewer when there are more.
    pub keys_max: usize,
    /// Events that are remembered for labels to be joined to.
    pub marks_max: usize,
}

impl Default for SurveyLimits {
    fn default() -> Self {
        Self { until_ms: None, accounts_max: 1 << 15, keys_max: 1 << 17, marks_max: 1 << 19 }
    }
}

/// Lines that could not be taken for one reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unread {
    /// How many.
    pub lines: u64,
    /// Number of the first.
    pub first: u64,
    /// What is wrong with the first.
    pub detail: String,
}

/// What became of the lines of a file. It counts what is after `until` too, and is no part of the report.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LinesRead {
    /// Lines that are not empty.
    pub lines: u64,
    /// Lines taken, or left out because they are after `until`.
    pub taken: u64,
    /// Lines that could not be taken, by reason.
    pub unread: BTreeMap<RejectCode, Unread>,
}

/// Collects what a stream is like, in one pass. Costs one to five microseconds per event.
#[derive(Clone, Debug)]
pub struct Survey {
    limits: SurveyLimits,
    form: Form,
    events: u64,
    clock: Clock,
    ids: Ids,
    type_names: Names,
    types: Vec<Type>,
    accounts: Accounts,
    targets: Option<Box<Keys>>,
    kind_names: Names,
    kinds: Vec<Keys>,
    attribute_names: Names,
    attributes: Vec<Attribute>,
    labels: Labels,
}

#[derive(Clone, Debug, Default)]
struct Type {
    events: u64,
    targets: u64,
    accounts: Members,
}

impl Survey {
    /// A survey that has seen nothing.
    pub fn new(limits: SurveyLimits) -> Self {
        Self {
            events: 0,
            clock: Clock::default(),
            ids: Ids::default(),
            type_names: Names::new(TYPES_MAX),
            types: Vec::new(),
            accounts: Accounts::new(limits.accounts_max),
            targets: None,
            kind_names: Names::new(KINDS_MAX),
            kinds: Vec::new(),
            attribute_names: Names::new(ATTRIBUTES_MAX),
            attributes: Vec::new(),
            labels: Labels::new(limits.marks_max),
            form: Form::new(&MappingConfig::default(), None),
            limits,
        }
    }

    /// Reads messages of another form than the contract's own.
    #[must_use]
    pub fn of_form(self, form: Form) -> Self {
        Self { form, ..self }
    }

    /// Takes an event.
    ///
    /// # Errors
    /// When its `ts` jumps too far; nothing is counted then.
    pub fn observe_event(&mut self, event: &RawEvent<'_>) -> Result<(), Reject> {
        let ts_ms = event.ts_ms;
        if self.limits.until_ms.is_some_and(|until_ms| ts_ms > until_ms) {
            return Ok(());
        }
        if !self.clock.observe(ts_ms) {
            return Err(Reject::new(RejectCode::TsJump, "ts jumps more than ten years ahead"));
        }
        let account = fingerprint(&event.account);
        self.events += 1;
        self.ids.observe(event, account);
        let mut followed = self.accounts.observe(account, ts_ms);
        // A type that is absent or cannot be read is an undeclared one.
        let kind = event.event_type.as_deref();
        let type_place = kind.and_then(|kind| self.type_names.place(kind, 0));
        if let Some(place) = type_place {
            if place == self.types.len() {
                self.types.push(Type::default());
            }
            let seen = &mut self.types[place];
            seen.events += 1;
            seen.targets += u64::from(event.target.is_some());
            seen.accounts.add(account);
        }
        if let Some(target) = &event.target {
            let keys_max = self.limits.keys_max / 2;
            let keys = self.targets.get_or_insert_with(|| Box::new(Keys::new(keys_max, PAIRS_MAX)));
            keys.count_event(1);
            keys.observe(target, account, ts_ms);
        }
        for (at, (name, listed)) in event.entities.iter().enumerate() {
            let Some(place) = self.kind_names.place(name, at) else { continue };
            if place == self.kinds.len() {
                let keys_max = kind_cap(self.limits.keys_max, place + 1);
                self.kinds.push(Keys::new(keys_max, PAIRS_MAX).with_texts());
                let keys_max = kind_cap(self.limits.keys_max, self.kinds.len());
                for other in &mut self.kinds {
                    other.lower_cap(keys_max);
                }
            }
            self.kinds[place].count_event(listed.len());
            for key in listed {
                let hash = self.kinds[place].observe(key, account, ts_ms);
                if let Some(followed) = followed.as_deref_mut() {
                    followed.use_key(place, hash);
                }
            }
        }
        for (at, (name, value)) in event.attributes.iter().enumerate() {
            let Some(place) = self.attribute_names.place(name, at) else { continue };
            if place == self.attributes.len() {
                self.attributes.push(Attribute::default());
            }
            if let Some(hash) = self.attributes[place].observe(value, account, ts_ms)
                && let Some(followed) = followed.as_deref_mut()
            {
                followed.use_value(place, hash);
            }
        }
        if let Some(id) = &event.event_id {
            self.labels.mark(fingerprint(id), ts_ms, account, type_place.unwrap_or(usize::MAX));
        }
        Ok(())
    }

    /// Takes a label. Labels may come before, between or after the events. Erasures are not labels and are left out.
    pub fn observe_label(&mut self, label: &RawLabel) {
        let bad = match label.verdict {
            Verdict::Bad => true,
            Verdict::Good => false,
            Verdict::Erase => return,
        };
        if self.limits.until_ms.is_none_or(|until_ms| label.ts_ms <= until_ms) {
            let event_id = label.event_id.as_deref().map(fingerprint);
            let account = label.account.as_deref().map(fingerprint);
            self.labels.observe(event_id, account, bad, label.ts_ms);
        }
    }

    /// What was seen.
    pub fn finish(&self) -> Report {
        let sample = &self.accounts.sample;
        let mut types: Vec<TypeReport> = self
            .types
            .iter()
            .zip(self.type_names.list())
            .map(|(seen, name)| TypeReport {
                name: name.clone(),
                events: seen.events,
                target_share: seen.targets as f64 / seen.events.max(1) as f64,
                accounts: seen.accounts.count(),
            })
            .collect();
        types.sort_by(|a, b| b.events.cmp(&a.events).then_with(|| a.name.cmp(&b.name)));
        let mut kinds: Vec<_> = self
            .kinds
            .iter()
            .zip(self.kind_names.list())
            .enumerate()
            .map(|(place, (keys, name))| {
                let users = self.accounts.users(place);
                let mut report = keys.report_without(keys.placeholders(users), name, sample);
                report.accounts = users;
                (report.keys_per_account, report.change_share) = self.accounts.kind(place);
                report
            })
            .collect();
        kinds.sort_by(|a, b| b.uses.cmp(&a.uses).then_with(|| a.name.cmp(&b.name)));
        let mut attributes: Vec<_> = self
            .attributes
            .iter()
            .zip(self.attribute_names.list())
            .enumerate()
            .map(|(place, (attribute, name))| {
                attribute.report(name, self.events, self.accounts.attribute(place), sample)
            })
            .collect();
        attributes.sort_by(|a, b| b.present.cmp(&a.present).then_with(|| a.name.cmp(&b.name)));
        let target = self.targets.as_ref().map(|keys| {
            let seen = keys.report("target", sample);
            TargetReport {
                events: seen.events,
                share: seen.events as f64 / self.events.max(1) as f64,
                pairs: seen.pairs,
                events_per_target: seen.uses_per_key,
                acting_share: seen.account_overlap,
            }
        });
        Report {
            events: self.events,
            clock: self.clock.report(),
            ids: self.ids.report(),
            types,
            types_beyond: self.type_names.beyond(),
            accounts: self.accounts.report(),
            target,
            kinds,
            kinds_beyond: self.kind_names.beyond(),
            attributes,
            attributes_beyond: self.attribute_names.beyond(),
            labels: self.labels.report(sample, self.type_names.list()),
        }
    }

    /// Takes all events of a file with one JSON object per line. `progress` hears the bytes read, now and then.
    ///
    /// # Errors
    /// Only when reading fails; lines that are no events are counted.
    pub fn survey_events(
        &mut self,
        reader: impl BufRead,
        progress: &mut dyn FnMut(u64),
    ) -> io::Result<LinesRead> {
        let form = self.form.clone();
        survey_lines(reader, progress, &mut |line| {
            form.event(line, |event| self.observe_event(event)).flatten()
        })
    }

    /// Takes all labels of a file with one JSON object per line, as [`Self::survey_events`] does.
    ///
    /// # Errors
    /// Only when reading fails; lines that are no labels are counted.
    pub fn survey_labels(
        &mut self,
        reader: impl BufRead,
        progress: &mut dyn FnMut(u64),
    ) -> io::Result<LinesRead> {
        let form = self.form.clone();
        survey_lines(reader, progress, &mut |line| {
            form.label(line).map(|label| self.observe_label(&label))
        })
    }
}

/// Keys per kind, so that all kinds together stay within eight times `keys_max`.
fn kind_cap(keys_max: usize, kinds: usize) -> usize {
    (keys_max * 8 / kinds.max(8).next_power_of_two()).max(64)
}

/// Hands every line that is not empty to `take`, and counts what became of it.
fn survey_lines(
    mut reader: impl BufRead,
    progress: &mut dyn FnMut(u64),
    take: &mut dyn FnMut(&[u8]) -> Result<(), Reject>,
) -> io::Result<LinesRead> {
    let mut read = LinesRead::default();
    let mut line = Vec::with_capacity(4096);
    let (mut number, mut bytes, mut told) = (0_u64, 0_u64, 0_u64);
    loop {
        line.clear();
        let taken =
            io::Read::take(&mut reader, LINE_BYTES_MAX as u64 + 1).read_until(b'\n', &mut line)?;
        if taken == 0 {
            progress(bytes);
            return Ok(read);
        }
        number += 1;
        bytes += taken as u64;
        let mut outcome = Ok(());
        if line.len() > LINE_BYTES_MAX && line.last() != Some(&b'\n') {
            bytes += skip_line(&mut reader)?;
            let detail = format!("more than {LINE_BYTES_MAX} bytes; at most these are read");
            outcome = Err(Reject::new(RejectCode::TooLarge, detail));
        }
        let text = line.trim_ascii();
        if text.is_empty() {
            continue;
        }
        read.lines += 1;
        match outcome.and_then(|()| take(text)) {
            Ok(()) => read.taken += 1,
            Err(reject) => {
                let first = || Unread { lines: 0, first: number, detail: reject.detail };
                read.unread.entry(reject.code).or_insert_with(first).lines += 1;
            }
        }
        if bytes - told >= 1 << 20 {
            told = bytes;
            progress(bytes);
        }
    }
}

/// Reads to the end of a line without keeping it.
fn skip_line(reader: &mut impl BufRead) -> io::Result<u64> {
    let mut bytes = 0;
    loop {
        let buffer = reader.fill_buf()?;
        if buffer.is_empty() {
            return Ok(bytes);
        }
        let (used, ended) = match buffer.iter().position(|byte| *byte == b'\n') {
            Some(at) => (at + 1, true),
            None => (buffer.len(), false),
        };
        reader.consume(used);
        bytes += used as u64;
        if ended {
            return Ok(bytes);
        }
    }
}

#[cfg(test)]
mod tests;
