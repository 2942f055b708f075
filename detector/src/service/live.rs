//! The live line: batches in, effects out, checkpoints behind. One thread, which owns the state.

use super::again;
use super::checkpoints::{Checkpoints, Job, Outcome};
use super::copies::Copies;
use super::cut::{Cutting, TURN};
use super::ends::{Ends, locked, watch};
use super::halts::Halts;
use super::layout::Layout;
use super::memory::{Ahead, Memory};
use super::position::Detail;
use super::pulse::Pulse;
use super::reload::{Reload, Reloaded};
use super::start::Ready;
use super::{Around, Settings, Stop};
use crate::health::State;
use crate::kafka::client::{self, Trouble};
use crate::kafka::fetcher::Fetcher;
use crate::kafka::journal::{Offsets, Run};
use crate::kafka::publish::{Beginning, Outputs, Publisher};
use crate::kafka::signature::Signing;
use crate::kafka::source::{Batch, Change, FromSource, Source};
use crate::store::redis::Shards;
use crate::telemetry::{CheckpointDone, Queue, Stage};
use crossbeam_channel::{Receiver, RecvTimeoutError, TryRecvError};
use engine::wire::{Fault, Field};
use engine::{Engine, Wanted};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// The line looks around at least this often.
const LOOK_AROUND: Duration = Duration::from_millis(50);
/// Without a durable checkpoint for so long, or for so many messages, the line waits: a restart must stay short.
pub(super) const REPLAY_TIME_MAX: Duration = Duration::from_secs(600);
const REPLAY_MESSAGES_MAX: u64 = 20_000_000;
/// A standby that loads may keep checkpoints back for so long.
pub(super) const READ_TIME_MAX: Duration = Duration::from_secs(120);
/// A publisher or a store that does not end by itself is left behind after this.
const DRAIN_MAX: Duration = Duration::from_secs(60);

pub(super) struct Line<'a> {
    pub(super) settings: &'a Settings,
    pub(super) around: &'a Around,
    /// When size and lag were last told.
    told: Instant,
    pub(super) ends: Ends,
    pulse: Pulse,
    reload: &'a mut Reload,
    engine: Engine,
    pub(super) publisher: Publisher,
    checkpoints: Checkpoints,
    pub(super) source: Option<Source>,
    topics: Vec<String>,
    /// Next offset to take.
    pub(super) at: Offsets,
    /// Partitions that cannot be read on.
    pub(super) halts: Halts,
    /// The next checkpoint's cut, while it is being made.
    cutting: Option<Cutting>,
    /// Memory of the last one.
    spare: Copies,
    /// Memory for the next one.
    ahead: Ahead,
    /// A checkpoint is under way.
    writing: bool,
    /// The last one left something to be put in order.
    untidy: bool,
    /// Fields that could not be read, and why: each is logged once.
    faults: BTreeSet<(Field, Fault)>,
    /// Accounts erased before the newest cut.
    erased: u64,
    /// See [`Detail`].
    born: u32,
    /// See [`Detail`].
    signing: Signing,
    writer: String,
    /// When the last durable one was cut.
    last_cut: Instant,
    cut: Instant,
    /// Event time at the newest cut.
    cut_ts_ms: i64,
    /// Messages taken since the last durable cut, and since the newest cut.
    since_durable: u64,
    since_cut: u64,
}

/// Runs until asked to stop; then everything taken is published and in a checkpoint.
///
/// # Errors
/// What ended it otherwise.
pub fn run<S: Shards + Send + 'static>(
    settings: &Settings,
    ready: Ready<S>,
    reload: &mut Reload,
    around: &Around,
    stop: &Stop,
) -> Result<(), Trouble> {
    let Ready {
        mut engine,
        mut store,
        producer,
        at,
        again,
        outputs,
        epoch,
        replayed,
        pulse,
        anew,
        unread,
        erased,
        born,
        signing,
    } = ready;
    engine.want(Wanted { scores: settings.kafka.scores.is_some(), ..Wanted::default() });
    let interval = Duration::from_millis(settings.times.commit_interval_ms.max(1) as u64);
    let writer = producer.writer().to_owned();
    let leads_to = again.as_ref().map_or_else(|| at.clone(), |a| a.order.leads_to(at.clone()));
    let beginning = Beginning { anew, start: at.clone(), at: &leads_to, committed: &outputs };
    let telemetry = around.telemetry.clone();
    let publisher = producer.start(engine.finisher(), beginning, interval, telemetry)?;
    let layout = Layout::of(&engine);
    store.publish_layout(&layout.features, &layout.to_json())?;
    let checkpoints = Checkpoints::start(store, unread)
        .map_err(|e| Trouble::Fatal(format!("cannot start a thread: {e}")))?;
    let reader = settings.reader(&engine);
    let topics = reader.topics.clone();
    let ends = Ends::default();
    let newcomers = watch(settings, &leads_to, &ends, stop)?;
    let (memory, _) =
        Memory::start().map_err(|e| Trouble::Fatal(format!("cannot start a thread: {e}")))?;
    let mut line = Line {
        settings,
        around,
        told: Instant::now(),
        ends,
        pulse,
        reload,
        engine,
        publisher,
        checkpoints,
        source: None,
        topics,
        halts: Halts::default(),
        at,
        cutting: None,
        spare: Copies::within(memory.clone()),
        ahead: Ahead::new(memory),
        writing: false,
        untidy: false,
        faults: BTreeSet::new(),
        erased,
        born,
        signing,
        writer,
        last_cut: Instant::now(),
        cut: Instant::now(),
        cut_ts_ms: 0,
        since_durable: replayed,
        since_cut: replayed,
    };
    if let Some(again) = again {
        again::take(&mut line, again, stop)?;
    }
    line.halts = Halts::new(&settings.skips, &line.at);
    let fetcher = Fetcher::new(&client::consumer(&settings.kafka))?;
    line.source = Some(Source::start(fetcher, reader, &line.at, around.telemetry.clone())?);
    tracing::info!(
        epoch,
        replayed,
        partitions = line.at.len(),
        model = line.engine.versions().model,
        policy = line.engine.versions().policy,
        "live"
    );
    around.telemetry.engine_counts(&line.engine.counts());
    around.health.none_stopped();
    around.health.assigned(line.at.keys().map(|tp| (tp.topic.clone(), tp.partition)));
    around.health.checkpoint_durable(line.engine.watermark_ms());
    around.health.source_up(true);
    around.health.store_up(true);
    around.health.set_state(State::Live);
    while !stop.asked() {
        line.reload(stop)?;
        line.turn(&newcomers)?;
    }
    line.drain()
}

impl Line<'_> {
    /// Looks whether it may go on, while there is no turn yet.
    pub(super) fn look_around(&mut self, stop: &Stop) -> Result<(), Trouble> {
        if stop.asked() {
            return Err(Trouble::Fatal("stopped while replaying".into()));
        }
        self.go_on()?;
        self.around.health.beat();
        Ok(())
    }

    fn go_on(&self) -> Result<(), Trouble> {
        if let Some(trouble) = self.publisher.has_failed() {
            return Err(trouble);
        }
        if self.pulse.lost() {
            return Err(Trouble::StartOver("another instance holds the lease".into()));
        }
        Ok(())
    }

    fn turn(&mut self, newcomers: &Receiver<Offsets>) -> Result<(), Trouble> {
        self.go_on()?;
        self.hear()?;
        if let (Ok(new), Some(source)) = (newcomers.try_recv(), &self.source) {
            let new: Offsets =
                new.into_iter().filter(|(tp, _)| !self.at.contains_key(tp)).collect();
            if !new.is_empty() {
                tracing::info!(partitions = new.len(), "taking up new partitions");
                self.at.extend(new.clone());
                let all = self.at.keys().map(|tp| (tp.topic.clone(), tp.partition));
                self.around.health.assigned(all);
                let _ = source.change.send(Change::Add(new));
            }
        }
        self.tell();
        let shrunk = std::mem::take(&mut locked(&self.ends).shrunk);
        if !shrunk.is_empty() {
            self.shrunk(shrunk);
        }
        self.tend_halts()?;
        // Long before the line has to wait, the checkpoint that is being written does not rest any more.
        self.checkpoints.hurry(self.is_behind(2));
        if self.is_behind(1) && self.writing {
            // The input waits where it is; nothing is lost.
            std::thread::sleep(LOOK_AROUND);
            self.around.telemetry.back_pressure(Queue::Checkpoint, LOOK_AROUND);
            return Ok(());
        }
        let wait = if self.cutting.is_some() { TURN } else { LOOK_AROUND };
        let received = self.source.as_ref().map(|source| source.next(wait));
        let mut had_input = false;
        match received {
            Some(Ok(FromSource::Batch(batch))) => {
                self.step(batch)?;
                had_input = true;
            }
            Some(Ok(FromSource::Stopped(stop))) => self.halt(stop)?,
            Some(Ok(FromSource::Dropped(gone))) => self.dropped(&gone)?,
            Some(Ok(FromSource::Failed(trouble))) => return Err(trouble),
            Some(Err(RecvTimeoutError::Timeout)) => {}
            Some(Err(RecvTimeoutError::Disconnected)) | None => {
                return Err(Trouble::StartOver("the source ended".into()));
            }
        }
        let due = !self.writing
            && (self.since_cut > 0 || self.untidy)
            && self.cut.elapsed() >= self.settings.checkpoint_every;
        let is_read = self.pulse.is_being_read() && self.cut.elapsed() < READ_TIME_MAX;
        if due && !is_read {
            let cutting = self.cutting.take().unwrap_or_else(|| self.begin());
            self.cutting = Some(cutting);
        }
        if let Some(cutting) = &mut self.cutting {
            let waits = || self.source.as_ref().is_some_and(|source| source.waiting() > 0);
            if cutting.go_on(&mut self.engine, had_input, waits) {
                self.checkpoint()?;
            }
        }
        Ok(())
    }

    /// Whether a restart would replay more than this part of what it may.
    fn is_behind(&self, part: u32) -> bool {
        self.since_durable > REPLAY_MESSAGES_MAX / u64::from(part)
            || self.last_cut.elapsed() > REPLAY_TIME_MAX / part
    }

    pub(super) fn step(&mut self, batch: Batch) -> Result<(), Trouble> {
        self.took(&batch.runs);
        self.publish(batch)
    }

    /// Messages were taken.
    pub(super) fn took(&mut self, runs: &[Run]) {
        for run in runs {
            let tp = run.tp();
            self.halts.took(run);
            if self.halts.has(&tp) {
                self.resumed(&tp);
            }
            self.at.insert(tp, run.to + 1);
            // What was passed over is in the next checkpoint, too.
            self.since_cut += u64::from(run.n.max(1));
            self.since_durable += u64::from(run.n);
        }
    }

    /// What a batch leads to.
    pub(super) fn publish(&mut self, batch: Batch) -> Result<(), Trouble> {
        let decoded = batch.decoded();
        if !batch.faults.is_empty() {
            self.faulty(&batch);
        }
        let Batch { inputs, mut dead, runs, originals, .. } = batch;
        let telemetry = &self.around.telemetry;
        let mut effects = self.publisher.effects();
        let begun = Instant::now();
        self.engine.step(inputs, &mut effects);
        self.engine.gather_changed();
        telemetry.latency(Stage::Decode, decoded);
        telemetry.latency(Stage::Step, begun.elapsed());
        let read = dead.len();
        for letter in &dead {
            telemetry.rejected(letter.reject.code, 1);
        }
        for draft in &effects.actions {
            telemetry.action(draft.action(), draft.is_shadow());
        }
        for (source, reject) in effects.rejects.drain(..) {
            dead.extend(originals.dead(source, &self.topics, reject));
        }
        for letter in dead.iter().skip(read) {
            self.around.telemetry.rejected(letter.reject.code, 1);
        }
        let begun = self.publisher.is_full().then(Instant::now);
        let published = self.publisher.publish(Outputs { effects, dead, runs });
        if let Some(begun) = begun {
            self.around.telemetry.back_pressure(Queue::Effects, begun.elapsed());
        }
        published
    }

    /// Counts what could not be read of messages that were taken; the first of each field and reason is logged, with its place.
    fn faulty(&mut self, batch: &Batch) {
        for (field, fault, faulty) in batch.faults.iter() {
            let (name, reason) = (field.name(self.engine.words()), fault.as_str());
            self.around.telemetry.field_fault(&name, reason, faulty.messages);
            if self.faults.insert((field, fault))
                && let Some((run, offset)) = batch.place(faulty.first)
            {
                tracing::warn!(
                    event = "field_unreadable",
                    field = name.as_str(),
                    reason,
                    topic = &*run.t,
                    partition = run.p,
                    offset,
                    "field left out of a message; later ones are only counted"
                );
            }
        }
    }

    /// Takes another policy and model, between two batches.
    fn reload(&mut self, stop: &Stop) -> Result<(), Trouble> {
        let reloaded = self.reload.look(self.settings, stop, &mut self.engine);
        self.around.reloaded(&reloaded, &self.engine);
        match reloaded {
            Reloaded::Taken => self.publisher.decide_by(self.engine.finisher()),
            Reloaded::Nothing | Reloaded::Refused => Ok(()),
        }
    }

    /// What is seen from outside.
    fn tell(&mut self) {
        let Around { telemetry, health, queries, .. } = self.around;
        queries.answer(&mut self.engine);
        health.beat();
        health.applied(self.engine.watermark_ms());
        telemetry.engine_counts(&self.engine.counts());
        // The key may be personal: it is not named.
        for (kind, accounts) in self.engine.take_suspected_placeholders() {
            tracing::warn!(
                event = "placeholder_suspected",
                kind = kind.as_str(),
                accounts,
                hint = "`detector init` on recent events names such keys, for [kinds.NAME] ignore",
                "key on far more accounts than its kind"
            );
        }
        telemetry.queue_depth(Queue::Decoded, self.source.as_ref().map_or(0, Source::waiting));
        telemetry.queue_depth(Queue::Effects, self.publisher.waiting());
        telemetry.queue_depth(Queue::Checkpoint, usize::from(self.writing));
        if self.told.elapsed() > Duration::from_secs(1) {
            self.told = Instant::now();
            telemetry.size(&self.engine.size());
            self.around.memory(&self.engine);
            if self.cutting.is_none() {
                self.ahead.expect(self.engine.listed().len());
            }
            for (tp, end) in &locked(&self.ends).ends {
                let next = self.at.get(tp).copied().unwrap_or(0);
                health.lag(&tp.topic, tp.partition, (end - next).max(0));
            }
        }
    }

    fn begin(&mut self) -> Cutting {
        self.ahead.begins();
        Cutting::begin(&mut self.engine, std::mem::take(&mut self.spare))
    }

    /// Cuts the state here, at a batch's end.
    fn checkpoint(&mut self) -> Result<(), Trouble> {
        let outputs = self.publisher.cut()?;
        let cutting = self.cutting.take().unwrap_or_else(|| self.begin());
        let (records, stood, rounds) = cutting.cut(&mut self.engine);
        self.ahead.was(records.len(), records.bytes(), records.blocks());
        tracing::debug!(copies = records.len(), seconds = stood.as_secs_f64(), rounds, "cut");
        let mut detail = Detail::of(&self.engine);
        detail.born = self.born;
        detail.writer = Some(self.writer.clone());
        detail.signing = Some(self.signing.clone());
        detail.older_to_go = detail.erased > self.erased;
        self.erased = detail.erased;
        self.checkpoints.write(Job { records, at: self.at.clone(), outputs, detail });
        self.cut_ts_ms = self.engine.watermark_ms();
        (self.writing, self.cut, self.since_cut) = (true, Instant::now(), 0);
        Ok(())
    }

    /// What became of checkpoints.
    fn hear(&mut self) -> Result<(), Trouble> {
        loop {
            let outcome = match self.checkpoints.out.try_recv() {
                Ok(outcome) => outcome,
                Err(TryRecvError::Empty) => return Ok(()),
                Err(TryRecvError::Disconnected) => {
                    return Err(Trouble::StartOver("checkpoints are written no more".into()));
                }
            };
            match outcome {
                Outcome::Done { took, records, bytes, untidy, spare } => {
                    self.spare = spare;
                    self.untidy = untidy;
                    tracing::debug!(records, bytes, seconds = took.as_secs_f64(), "checkpoint");
                    self.around.telemetry.checkpoint_done(&CheckpointDone { took, bytes, records });
                    self.around.health.checkpoint_durable(self.cut_ts_ms);
                    self.around.health.store_up(true);
                    (self.writing, self.last_cut) = (false, self.cut);
                    self.since_durable = self.since_cut;
                }
                Outcome::Waiting(why) => {
                    self.around.health.store_up(false);
                    self.around.telemetry.checkpoint_failed();
                    tracing::warn!("checkpoints wait, events go on: {why}");
                }
                Outcome::Failed(error) => return Err(error.into()),
            }
        }
    }

    /// No more input; what was taken is published, and its state durable.
    fn drain(mut self) -> Result<(), Trouble> {
        let _span = tracing::info_span!("drain").entered();
        self.around.health.set_state(State::Draining);
        self.source = None;
        self.checkpoints.hurry(true);
        let until = Instant::now() + DRAIN_MAX;
        let mut last = false;
        loop {
            if let Some(trouble) = self.publisher.has_failed() {
                return Err(trouble);
            }
            self.hear()?;
            if !self.writing {
                if (last || self.since_cut == 0) && !self.untidy {
                    tracing::info!("everything taken is published and in a checkpoint");
                    drop(self.pulse);
                    self.checkpoints.end();
                    return Ok(());
                }
                last = true;
                self.checkpoint()?;
            }
            if Instant::now() > until {
                tracing::warn!(
                    "Redis did not take the last checkpoint in time; the next start replays a little more"
                );
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}
