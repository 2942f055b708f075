//! The live line: batches in, effects out, checkpoints behind. One thread, which owns the state.

use super::checkpoints::{Checkpoints, Job, Outcome};
use super::start::Ready;
use super::{Settings, Stop, names};
use crate::kafka::client::{self, Trouble};
use crate::kafka::journal::{Offsets, Tp};
use crate::kafka::publish::{Outputs, Publisher};
use crate::kafka::source::{Batch, FromSource, Source};
use crate::kafka::topics::Topics;
use crate::store::redis::Shards;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use engine::{Engine, Wanted};
use std::time::{Duration, Instant};

/// The line looks around at least this often.
const LOOK_AROUND: Duration = Duration::from_millis(50);
/// Redis gets at most this share of a core for checkpoints: the pause is so many times the work.
const PAUSE_PER_WORK: u32 = 5;
/// Without a durable checkpoint for so long, or for so many messages, the line waits: a restart must stay short.
const REPLAY_TIME_MAX: Duration = Duration::from_secs(600);
const REPLAY_MESSAGES_MAX: u64 = 20_000_000;
/// A publisher or a store that does not end by itself is left behind after this.
const DRAIN_MAX: Duration = Duration::from_secs(60);

struct Line<'a> {
    settings: &'a Settings,
    engine: Engine,
    publisher: Publisher,
    checkpoints: Checkpoints,
    source: Option<Source>,
    topics: Vec<String>,
    /// Next offset to take.
    at: Offsets,
    /// A checkpoint is under way.
    writing: bool,
    /// When the last durable one was cut, and how long it took to write.
    last_cut: Instant,
    cut: Instant,
    took: Duration,
    /// Messages taken since the last durable cut, and since the newest cut.
    since_durable: u64,
    since_cut: u64,
}

/// Runs until asked to stop; then everything taken is published and in a checkpoint.
///
/// # Errors
/// What ended it otherwise.
pub fn run<S: Shards + Send + 'static>(settings: &Settings, ready: Ready<S>, stop: &Stop) -> Result<(), Trouble> {
    let Ready { mut engine, store, producer, at, outputs, epoch, replayed } = ready;
    engine.want(Wanted { scores: settings.kafka.scores.is_some(), ..Wanted::default() });
    let interval = Duration::from_millis(settings.times.commit_interval_ms.max(1) as u64);
    let publisher = producer.start(engine.finisher(), u64::from(epoch), at.clone(), &outputs, interval)?;
    let checkpoints = Checkpoints::start(store, settings.redis.lease_ttl())
        .map_err(|e| Trouble::Fatal(format!("cannot start a thread: {e}")))?;
    let reader = settings.reader(&engine);
    let topics = reader.topics.clone();
    let consumer = client::make(&client::consumer(&settings.kafka))?;
    let source = Source::start(consumer, reader, &at)?;
    let newcomers = watch_partitions(settings, &at, stop)?;
    tracing::info!(epoch, replayed, partitions = at.len(), model = engine.versions().model, policy = engine.versions().policy, "live");
    let mut line = Line {
        settings,
        engine,
        publisher,
        checkpoints,
        source: Some(source),
        topics,
        at,
        writing: false,
        last_cut: Instant::now(),
        cut: Instant::now(),
        took: Duration::ZERO,
        since_durable: replayed,
        since_cut: replayed,
    };
    while !stop.asked() {
        line.turn(&newcomers)?;
    }
    line.drain()
}

impl Line<'_> {
    fn turn(&mut self, newcomers: &Receiver<Offsets>) -> Result<(), Trouble> {
        if let Some(trouble) = self.publisher.has_failed() {
            return Err(trouble);
        }
        self.hear()?;
        if let (Ok(new), Some(source)) = (newcomers.try_recv(), &self.source) {
            let new: Offsets = new.into_iter().filter(|(tp, _)| !self.at.contains_key(tp)).collect();
            if !new.is_empty() {
                tracing::info!(partitions = new.len(), "taking up new partitions");
                self.at.extend(new.clone());
                let _ = source.add.send(new);
            }
        }
        let behind = self.since_durable > REPLAY_MESSAGES_MAX || self.last_cut.elapsed() > REPLAY_TIME_MAX;
        if behind && self.writing {
            // The input waits where it is; nothing is lost.
            std::thread::sleep(LOOK_AROUND);
            return Ok(());
        }
        let received = self.source.as_ref().map(|source| source.out.recv_timeout(LOOK_AROUND));
        match received {
            Some(Ok(FromSource::Batch(batch))) => self.step(batch)?,
            Some(Ok(FromSource::Lost { tp, why })) => self.lost(&tp, &why)?,
            Some(Ok(FromSource::Failed(trouble))) => return Err(trouble),
            Some(Err(RecvTimeoutError::Timeout)) => {}
            Some(Err(RecvTimeoutError::Disconnected)) | None => {
                return Err(Trouble::StartOver("the source ended".into()));
            }
        }
        let pause = self.settings.checkpoint_every.max(self.took * PAUSE_PER_WORK);
        if !self.writing && self.since_cut > 0 && self.cut.elapsed() >= pause {
            self.checkpoint()?;
        }
        Ok(())
    }

    fn step(&mut self, batch: Batch) -> Result<(), Trouble> {
        let Batch { inputs, mut dead, runs, mut originals, .. } = batch;
        for run in &runs {
            self.at.insert(run.tp(), run.to + 1);
            self.since_cut += u64::from(run.n);
            self.since_durable += u64::from(run.n);
        }
        let mut effects = self.publisher.effects();
        self.engine.step(inputs, &mut effects);
        for (source, reject) in effects.rejects.drain(..) {
            let found = originals.iter().position(|o| o.partition == source.partition && o.offset == source.offset);
            if let Some(found) = found {
                dead.push(originals.swap_remove(found).dead(&self.topics, reject));
            }
        }
        self.publisher.publish(Outputs { effects, dead, runs })
    }

    /// Which partition it is that cannot be read on, the brokers know.
    fn lost(&self, tp: &Tp, why: &str) -> Result<(), Trouble> {
        let topics = Topics::new(&self.settings.kafka)?;
        for (tp, at) in &self.at {
            let (low, high) = topics.bounds(tp)?;
            if *at < low || *at > high {
                return Err(Trouble::Fatal(format!(
                    "{tp} is to be read from offset {at}, and holds {low} to {high}: {why}\nhint: if these messages are gone for good, `--rebuild-from earliest` makes the state anew from what is left"
                )));
            }
        }
        tracing::warn!(partition = %tp, "an offset was said to be out of range, and none is; reading on");
        Ok(())
    }

    /// Cuts the state here, at a batch's end.
    fn checkpoint(&mut self) -> Result<(), Trouble> {
        let outputs = self.publisher.cut()?;
        let mut records = Vec::new();
        self.engine.save_named(&mut |name, value| records.push((names::of_store(&name), value)));
        let engine = &self.engine;
        self.checkpoints.write(Job {
            records,
            at: self.at.clone(),
            outputs,
            versions: engine.versions_shared(),
            privacy: engine.privacy_fingerprint(),
        });
        (self.writing, self.cut, self.since_cut) = (true, Instant::now(), 0);
        Ok(())
    }

    /// What became of checkpoints.
    fn hear(&mut self) -> Result<(), Trouble> {
        while let Ok(outcome) = self.checkpoints.out.try_recv() {
            match outcome {
                Outcome::Done { took, records, bytes } => {
                    tracing::debug!(records, bytes, seconds = took.as_secs_f64(), "checkpoint");
                    (self.writing, self.took, self.last_cut) = (false, took, self.cut);
                    self.since_durable = self.since_cut;
                }
                Outcome::Waiting(why) => tracing::warn!("checkpoints wait, events go on: {why}"),
                Outcome::Failed(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// No more input; what was taken is published, and its state durable.
    fn drain(mut self) -> Result<(), Trouble> {
        self.source = None;
        let until = Instant::now() + DRAIN_MAX;
        let mut last = false;
        loop {
            if let Some(trouble) = self.publisher.has_failed() {
                return Err(trouble);
            }
            self.hear()?;
            if !self.writing {
                if last || self.since_cut == 0 {
                    tracing::info!("everything taken is published and in a checkpoint");
                    return Ok(());
                }
                last = true;
                self.checkpoint()?;
            }
            if Instant::now() > until {
                tracing::warn!("Redis did not take the last checkpoint in time; the next start replays a little more");
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Asks now and then whether there are new partitions, by a thread of its own.
fn watch_partitions(settings: &Settings, at: &Offsets, stop: &Stop) -> Result<Receiver<Offsets>, Trouble> {
    let (send, receive): (Sender<Offsets>, _) = bounded(1);
    let topics = Topics::new(&settings.kafka)?;
    let every = Duration::from_millis(settings.times.partitions_every_ms.max(1000) as u64);
    let mut known: Vec<Tp> = at.keys().cloned().collect();
    let stop = stop.clone();
    let body = move || {
        let mut asked = Instant::now();
        while !stop.asked() {
            std::thread::sleep(Duration::from_millis(100));
            if asked.elapsed() < every {
                continue;
            }
            asked = Instant::now();
            let Ok(now) = topics.inputs() else { continue };
            let mut new = Offsets::new();
            for tp in now {
                if !known.contains(&tp)
                    && let Ok((low, _)) = topics.bounds(&tp)
                {
                    known.push(tp.clone());
                    new.insert(tp, low);
                }
            }
            if !new.is_empty() && send.send(new).is_err() {
                return;
            }
        }
    };
    let thread = std::thread::Builder::new().name("partitions".into()).spawn(body);
    thread.map(|_| receive).map_err(|e| Trouble::Fatal(format!("cannot start a thread: {e}")))
}
