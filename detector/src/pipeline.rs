//! A stream of files through the line: decoding ahead of the engine, writing behind it.

use crate::sink::files::{Dead, FileSink, OnAction, OutputPaths};
use crate::source::files::{LineBatch, Lines, Place, SourceError};
use crate::source::labels::LabelFile;
use crate::store::embedded::{Begun, Embedded, Position, StoreError};
use crossbeam_channel::{Receiver, bounded};
use engine::effects::{Effects, SourceRef};
use engine::wire::{Decoder, Faults, Reject, RejectCode};
use engine::{Clock, Engine, Input, OPENING_EVENTS};
use features::event::{Event, Verdict};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Lines read, decoded and stepped together.
pub(crate) const BATCH_LINES: usize = 512;
/// Decoded batches that may wait for the engine.
const DECODED_BATCHES_MAX: usize = 16;

/// Why a run ended early.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The input.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The outputs.
    #[error("{0}")]
    Output(#[from] std::io::Error),
    /// The state.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Something that does not fit together.
    #[error("{0}")]
    Refused(String),
    /// The input has lines, and none of them is an event.
    #[error(
        "not one of {lines} lines of events could be read:\n  {}\nhint: is it the right file? other shapes of events are read through [mapping] (docs/configuration.md)",
        .reasons.join("\n  ")
    )]
    NothingRead {
        /// Lines that are not empty.
        lines: u64,
        /// Each reason, with the first line it was given for.
        reasons: Vec<String>,
    },
}

/// What to run.
pub struct Plan<'a> {
    /// Events.
    pub input: Lines,
    /// Labels, merged in by the time at which they became known.
    pub labels: LabelFile,
    /// Outputs.
    pub outputs: OutputPaths,
    /// The store and the checkpoint to begin from, if state is to outlive the run.
    pub store: Option<(&'a Embedded, Position)>,
    /// Events between checkpoints.
    pub checkpoint_events: u64,
    /// Events later than this do not exist.
    pub until_ms: Option<i64>,
    /// Called with every action.
    pub on_action: Option<OnAction>,
    /// Called on the engine's thread with the effects of every batch, before they are written.
    pub on_effects: Option<&'a mut dyn FnMut(&Effects)>,
    /// Told how far the input was read (bytes on disk), now and then.
    pub progress: &'a mut dyn FnMut(u64),
}

/// What a run did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Lines read, empty ones included.
    pub lines: u64,
    /// Messages that could not be read or taken.
    pub rejects: u64,
    /// What could not be read of events that were taken, and of labels; places are lines.
    pub faults: [Faults; 2],
    /// Checkpoints written.
    pub checkpoints: u64,
    /// Lengths of actions, scores and dead letters.
    pub outputs: [u64; 3],
    /// Rejects of this run by stream and code.
    pub reasons: Reasons,
    /// Bytes of the last line, if it had no end yet and is left for the run that follows.
    pub unfinished: u64,
}

/// Why messages were rejected: by stream (`events`, `labels`) and code.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reasons(BTreeMap<(&'static str, &'static str), Reason>);

/// One reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// How many messages.
    pub count: u64,
    /// Line of the first of them.
    pub line: u64,
    /// What was said of the first; it names no content.
    pub detail: String,
}

impl Reasons {
    fn note(&mut self, dead: &Dead) {
        let reject = &dead.reject;
        let key = (dead.stream, reject.code.as_str());
        let reason = self.0.entry(key).or_insert_with(|| Reason {
            count: 0,
            line: dead.source.offset.max(0) as u64,
            detail: reject.detail.to_string(),
        });
        reason.count += 1;
    }

    /// Stream, code and reason, in that order.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &'static str, &Reason)> {
        self.0.iter().map(|((stream, code), reason)| (*stream, *code, reason))
    }

    /// A line for people for each of them.
    pub fn lines(&self) -> Vec<String> {
        let line = |(stream, code, reason): (&str, &str, &Reason)| {
            let Reason { count, line, detail } = reason;
            format!("{stream}: {count} {code}; the first is line {line}: {detail}")
        };
        self.iter().map(line).collect()
    }
}

#[expect(clippy::large_enum_variant, reason = "nearly all are events")]
enum Decoded {
    Event(Event, SourceRef),
    Reject(Dead),
}

struct DecodedBatch {
    items: Vec<Decoded>,
    faults: Faults,
    end: Place,
    raw_read: u64,
    /// The lines, for the original bytes of what the engine rejects.
    lines: LineBatch,
}

/// Reads and decodes on a thread of its own.
fn decode_ahead(
    mut lines: Lines,
    decoder: Arc<Decoder>,
    until_ms: Option<i64>,
) -> std::io::Result<Receiver<Result<DecodedBatch, SourceError>>> {
    let (send, receive) = bounded(DECODED_BATCHES_MAX);
    std::thread::Builder::new().name("decoder".into()).spawn(move || {
        let raw = lines.progress();
        loop {
            let batch = match lines.next_batch(BATCH_LINES) {
                Ok(Some(batch)) => batch,
                Ok(None) => return,
                Err(e) => {
                    let _ = send.send(Err(e));
                    return;
                }
            };
            let mut items = Vec::with_capacity(batch.lines.len());
            let mut faults = Faults::default();
            for (i, &(start, end, size)) in batch.lines.iter().enumerate() {
                let message = &batch.bytes[start..end];
                let line = batch.first_line + i as u64;
                let source = SourceRef { offset: line as i64, ..SourceRef::default() };
                if message.iter().all(u8::is_ascii_whitespace) {
                    continue;
                }
                let read = if let Some(reject) = batch.refused(i) {
                    Err(reject)
                } else if size > message.len() as u64 {
                    let detail = format!(
                        "{size} bytes; at most {} are read",
                        engine::limits::MESSAGE_BYTES_MAX
                    );
                    Err(Reject::new(RejectCode::TooLarge, detail))
                } else {
                    let id = || compact_str::format_compact!("line-{line}");
                    faults.begin(line);
                    decoder.count_event(message, id, &mut faults)
                };
                match read {
                    Ok(event) if until_ms.is_some_and(|until| event.ts_ms > until) => {}
                    Ok(event) => items.push(Decoded::Event(event, source)),
                    Err(reject) => {
                        items.push(Decoded::Reject(Dead::new(reject, "events", source, &batch, i)));
                    }
                }
            }
            let decoded = DecodedBatch {
                items,
                faults,
                end: batch.end,
                raw_read: raw.load(std::sync::atomic::Ordering::Relaxed),
                lines: batch,
            };
            if send.send(Ok(decoded)).is_err() {
                return;
            }
        }
    })?;
    Ok(receive)
}

/// When a stream begins, and how many of its first events come before the one that says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Opening {
    pub(crate) ts_ms: i64,
    left: usize,
}

impl Opening {
    /// Whether the time of the next event is known to be wrong: it is later than the beginning, and comes before it.
    pub(crate) fn next_is_ahead(&mut self, ts_ms: i64) -> bool {
        let comes_before = self.left > 0;
        self.left = self.left.saturating_sub(1);
        comes_before && ts_ms > self.ts_ms
    }
}

/// When a stream begins, by its first events; `None` without any, or when it has begun.
pub(crate) fn opening<'a>(
    engine: &Engine,
    clock: &Clock,
    events: impl Iterator<Item = (&'a str, i64)>,
) -> Option<Opening> {
    if clock.is_set() {
        return None;
    }
    let events = events.take(OPENING_EVENTS);
    let head: Vec<(u64, i64)> = events.map(|(who, ts_ms)| (engine.voice(who), ts_ms)).collect();
    // In time is what comes within an hour, for events that may be a day late.
    let late_max_ms = engine.schema().time().lateness_max_ms / 24;
    let left = clock.opening(&head, late_max_ms);
    head.get(left).map(|(_, ts_ms)| Opening { ts_ms: *ts_ms, left })
}

/// The clock that labels are merged in by: it hears the events before the engine takes them.
fn merge_clock(engine: &Engine, position: &Position) -> Result<Clock, RunError> {
    let mut clock = engine.clock();
    if let (Some(newest_ms), Some(saved)) = (position.newest_ms, &position.clock) {
        clock.restore(newest_ms, saved).ok_or_else(|| {
            RunError::Refused(
                "the clock in this state does not fit its time: the record is damaged\nhint: run again with another --state folder".into(),
            )
        })?;
    }
    Ok(clock)
}

/// Runs a whole input through an engine.
///
/// # Errors
/// When input, output or store fail; what was written up to then stands.
pub fn run(engine: &mut Engine, plan: Plan<'_>) -> Result<Summary, RunError> {
    let Plan {
        input,
        mut labels,
        outputs,
        store,
        checkpoint_events,
        until_ms,
        on_action,
        mut on_effects,
        progress,
    } = plan;
    let decoder = Arc::new(engine.decoder());
    let (lengths, labels_from) =
        store.as_ref().map_or(([0; 3], 0), |(_, position)| (position.outputs, position.labels));
    let mut position = store.as_ref().map(|(_, p)| p.clone()).unwrap_or_default();
    let mut sink = FileSink::open(&outputs, lengths, engine.finisher(), on_action)?;
    let mut summary =
        Summary { rejects: position.rejects, lines: position.place.line, ..Summary::default() };
    let mut dead = Vec::new();
    let label_rejects = labels.take_rejects();
    summary.faults[1] = labels.faults().clone();
    // Written once: a resumed run has them already.
    if position.place == Place::default() && labels_from == 0 && !position.finished {
        summary.rejects += label_rejects.len() as u64;
        dead.extend(label_rejects);
    }
    for letter in &dead {
        summary.reasons.note(letter);
    }
    position.finished = false;
    if !labels.seek(labels_from, position.labels_sha256) {
        return Err(RunError::Refused(format!(
            "the {labels_from} labels that the run in this state had taken are not the first ones of the file any more: its outputs would not be one piece\nhint: put labels that are new behind them in time, or use another --state folder"
        )));
    }
    let strict = engine.strict_ties();
    let unfinished = input.unfinished();
    let (mut events_read, mut events_rejected) = (0u64, 0u64);
    let batches = decode_ahead(input, decoder.clone(), until_ms)?;
    let mut inputs = Vec::with_capacity(2 * BATCH_LINES);
    let mut clock = merge_clock(engine, &position)?;
    let mut since_checkpoint = 0u64;
    let mut failed = None;
    for batch in batches {
        let batch = match batch {
            Ok(batch) => batch,
            Err(e) => {
                failed = Some(e);
                break;
            }
        };
        summary.faults[0].merge(&batch.faults);
        let mut effects = sink.effects();
        let events = batch.items.iter().filter_map(|item| match item {
            Decoded::Event(event, _) => Some((event.account.as_str(), event.ts_ms)),
            Decoded::Reject(_) => None,
        });
        let mut opening = opening(engine, &clock, events);
        if let Some(opening) = opening {
            engine.begin_at(opening.ts_ms);
            clock.begin(opening.ts_ms);
        }
        for item in batch.items {
            match item {
                Decoded::Event(event, source) => {
                    let ahead = opening.as_mut().is_some_and(|o| o.next_is_ahead(event.ts_ms));
                    if !ahead {
                        clock.hear(engine.voice(&event.account), event.ts_ms);
                    }
                    while let Some(label) = labels.next_until(clock.now_ms(), strict, &decoder) {
                        if label.verdict == Verdict::Erase
                            && let Some(account) = &label.account
                        {
                            clock.forget(engine.voice(account));
                        }
                        inputs.push(Input::Label(label));
                    }
                    inputs.push(match ahead {
                        true => Input::Ahead(event, source),
                        false => Input::Event(event, source),
                    });
                    since_checkpoint += 1;
                    events_read += 1;
                }
                Decoded::Reject(letter) => {
                    summary.rejects += 1;
                    events_rejected += 1;
                    dead.push(letter);
                }
            }
        }
        engine.step(inputs.drain(..), &mut effects);
        for (source, reject) in effects.rejects.drain(..) {
            summary.rejects += 1;
            let at = (source.offset as u64).saturating_sub(batch.lines.first_line) as usize;
            dead.push(Dead::new(reject, "events", source, &batch.lines, at));
        }
        dead.sort_by_key(|d| (d.stream == "events", d.source.offset));
        // Labels were noted before the first batch.
        for letter in dead.iter().filter(|letter| letter.stream == "events") {
            summary.reasons.note(letter);
        }
        if let Some(on_effects) = &mut on_effects {
            on_effects(&effects);
        }
        sink.write(effects, std::mem::take(&mut dead))?;
        summary.lines = batch.end.line;
        progress(batch.raw_read);
        position.place = batch.end;
        if let Some((store, _)) = &store
            && since_checkpoint >= checkpoint_events.max(1)
        {
            since_checkpoint = 0;
            position.labels = labels.position();
            position.labels_sha256 = labels.taken_sha256();
            position.rejects = summary.rejects;
            position.newest_ms = Some(clock.now_ms());
            position.clock = Some(clock.saved());
            position.outputs = sink.flush()?;
            store.checkpoint(engine, &position)?;
            summary.checkpoints += 1;
        }
    }
    summary.unfinished = unfinished.load(Ordering::Relaxed);
    // Labels that became known after the last event still clear and feed what comes next. A stream that continues takes them when
    // their time has come, as if it had never been interrupted.
    let mut effects = sink.effects();
    if failed.is_none() && summary.unfinished == 0 {
        while let Some(label) = labels.next_until(i64::MAX, false, &decoder) {
            inputs.push(Input::Label(label));
            if inputs.len() >= BATCH_LINES {
                engine.step(inputs.drain(..), &mut effects);
            }
        }
        engine.step(inputs.drain(..), &mut effects);
        engine.finish(&mut effects);
    }
    if let Some(on_effects) = &mut on_effects {
        on_effects(&effects);
    }
    sink.write(effects, std::mem::take(&mut dead))?;
    summary.outputs = sink.flush()?;
    if let Some((store, _)) = &store {
        position.labels = labels.position();
        position.labels_sha256 = labels.taken_sha256();
        position.rejects = summary.rejects;
        position.newest_ms = Some(clock.now_ms());
        position.clock = Some(clock.saved());
        position.outputs = summary.outputs;
        position.finished = failed.is_none() && summary.unfinished == 0;
        store.checkpoint(engine, &position)?;
        summary.checkpoints += 1;
    }
    match failed {
        Some(e) => Err(e.into()),
        None if events_read == 0 && events_rejected > 0 => {
            Err(RunError::NothingRead { lines: events_rejected, reasons: summary.reasons.lines() })
        }
        None => Ok(summary),
    }
}

/// What a run reads and writes, as far as a later one must do the same.
#[derive(Clone, Copy, Debug)]
pub struct Places<'a> {
    /// Events.
    pub input: &'a Path,
    /// Labels.
    pub labels: Option<&'a Path>,
    /// Outputs.
    pub outputs: &'a OutputPaths,
    /// Events and labels later than this do not exist.
    pub until_ms: Option<i64>,
    /// Labels are targets only.
    pub no_feedback: bool,
}

/// The position from which a run begins that has no checkpoint yet.
///
/// # Errors
/// When a file cannot be read.
pub fn start(engine: &Engine, places: &Places<'_>) -> Result<Position, RunError> {
    let versions = engine.versions();
    let begun = Begun {
        labels: places.labels.is_some(),
        privacy: engine.privacy_fingerprint(),
        until_ms: places.until_ms,
        feedback: engine.config().labels.feedback && !places.no_feedback,
        strict_ties: engine.strict_ties(),
        outputs: places.outputs.given(),
    };
    Ok(Position {
        features: versions.features.clone(),
        policy: versions.policy.clone(),
        model: versions.model.clone(),
        input: Lines::identify(places.input)?,
        begun,
        ..Position::default()
    })
}

/// Opens what a run needs to go on where the last checkpoint stands.
///
/// # Errors
/// When the state belongs to other inputs, another feature set, policy, model or way of running, or the outputs
/// cannot be cut back.
pub fn resume(
    engine: &mut Engine,
    store: &Embedded,
    places: &Places<'_>,
) -> Result<(Lines, Position), RunError> {
    let Places { input, outputs, .. } = *places;
    let Some(position) = store.position()? else {
        engine.look_up_by(rand::random());
        let lines = Lines::open(input)?.leaving_unfinished();
        return Ok((lines, start(engine, places)?));
    };
    let versions = engine.versions();
    store.check(&position, &versions.features)?;
    if position.policy != versions.policy || position.model != versions.model {
        return Err(RunError::Refused(format!(
            "the run in this state was begun with policy {} and model {}, now they are {} and {}: its outputs would not be one piece\nhint: finish it with the configuration it was begun with, or use another --state folder",
            position.policy, position.model, versions.policy, versions.model
        )));
    }
    if !outputs.can_be_resumed() {
        return Err(RunError::Refused(
            "a resumed run cuts its outputs back to the last checkpoint; standard output cannot be cut\nhint: give --output FILE".into(),
        ));
    }
    let lines = Lines::open_at(input, position.place, Some(&position.input))?.leaving_unfinished();
    let (before, now) = (&position.begun, start(engine, places)?.begun);
    let differs = [
        ("labels", before.labels != now.labels),
        ("privacy.key", before.privacy != now.privacy),
        ("until", before.until_ms != now.until_ms),
        ("labels.feedback", before.feedback != now.feedback),
        ("input.strict_ties", before.strict_ties != now.strict_ties),
        // A finished run may be followed by one that writes something else.
        ("outputs", before.outputs != now.outputs && !position.finished),
    ];
    if let Some((what, _)) = differs.iter().find(|(_, differs)| *differs) {
        return Err(RunError::Refused(format!(
            "the run in this state was begun with other {what}: its outputs would not be one piece\nhint: finish it as it was begun, or use another --state folder"
        )));
    }
    let mut position = position;
    position.begun = now;
    store.load(engine, |_| {})?;
    Ok((lines, position))
}
