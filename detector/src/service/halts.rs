//! Partitions that cannot be read on. The others are; this one waits for a person, for its broker, or for a schema, and everybody can
//! see it. `--skip` leads past what cannot be read.

use super::ends::locked;
use super::live::Line;
use super::stalls::Stalls;
use crate::kafka::client::{self, Trouble};
use crate::kafka::config::KafkaSection;
use crate::kafka::fetcher::FetchError;
use crate::kafka::journal::{Offsets, Run, Tp};
use crate::kafka::outcome::Outcome;
use crate::kafka::passage::{self, Found};
use crate::kafka::skip::{self, Skip};
use crate::kafka::source::{Batch, Change, Stop, Why};
use crate::kafka::topics::Topics;
use crossbeam_channel::{Receiver, TryRecvError, bounded};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// A partition that its broker does not give is tried again this often.
const RETRY_EVERY: Duration = Duration::from_secs(10);
/// Questions to the brokers under way, each with a client.
const QUESTIONS_MAX: usize = 4;
/// Partitions of which nothing comes are looked for this often.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A partition whose end is not known counts as stopped after this.
const UNKNOWN_MAX: Duration = Duration::from_secs(60);

/// A partition that is not read.
struct Halt {
    /// The offset that cannot be read.
    at: i64,
    /// When it is tried again; none: a person or a schema is waited for, or the answer to the last try.
    retry: Option<Instant>,
}

/// What a thread was asked about a partition, beside all others.
struct Question {
    tp: Tp,
    at: i64,
    answer: Answer,
}

enum Answer {
    /// Where it can be read again behind what is to be passed over.
    Behind(Receiver<Result<i64, Trouble>>),
    /// Whether it can be read by now.
    Readable(Receiver<Result<Found, Trouble>>),
    /// What is there, if its end is right and nothing comes of it.
    Silent(i64, Receiver<Result<Found, Trouble>>),
}

/// All of them.
#[derive(Default)]
pub(super) struct Halts {
    halted: BTreeMap<Tp, Halt>,
    skips: Vec<Skip>,
    questions: Vec<Question>,
    /// Partitions of which these offsets, from the first to before the second, are passed over once nothing of them is on its way.
    dropping: BTreeMap<Tp, (i64, i64)>,
    stalls: Stalls,
    looked: Option<Instant>,
}

impl Halts {
    /// Keeps the skips that are not before these positions.
    pub(super) fn new(skips: &[Skip], at: &Offsets) -> Self {
        let is_ahead = |skip: &&Skip| {
            let next = at.get(&skip.tp).copied();
            let is_ahead = next.is_none_or(|next| next <= skip.at);
            if !is_ahead {
                tracing::info!(
                    event = "skip_not_needed",
                    skip = %skip,
                    next,
                    "partition is past this offset already; --skip has no effect"
                );
            }
            is_ahead
        };
        let skips = skips.iter().filter(is_ahead).cloned().collect();
        Self { skips, ..Self::default() }
    }

    pub(super) fn has(&self, tp: &Tp) -> bool {
        self.halted.contains_key(tp)
    }

    /// Messages were taken: where they could be read, nothing is passed over.
    pub(super) fn took(&mut self, run: &Run) {
        if self.skips.is_empty() || run.is_passed_over() {
            return;
        }
        self.skips.retain(|skip| {
            let was_read =
                run.p == skip.tp.partition && run.t == skip.tp.topic && run.to >= skip.at;
            if was_read {
                tracing::warn!(
                    event = "skip_not_needed",
                    skip = %skip,
                    "partition is not stopped at this offset; --skip has no effect"
                );
            }
            !was_read
        });
    }

    /// Whether a person said to pass over this place. A word counts once.
    fn take_skip(&mut self, tp: &Tp, at: i64) -> bool {
        let found = self.skips.iter().position(|skip| skip.tp == *tp && skip.at == at);
        found.map(|found| self.skips.remove(found)).is_some()
    }
}

impl Line<'_> {
    /// The source does not read a partition on.
    pub(super) fn halt(&mut self, stop: Stop) -> Result<(), Trouble> {
        let Stop { tp, at, why } = stop;
        match why {
            Why::Kafka(error) if error.outcome() == Outcome::OutOfRange => self.out_of_range(&tp),
            Why::Kafka(error) => {
                let is_unusable = error.outcome() == Outcome::Unusable;
                let retry = is_unusable.then(|| Instant::now() + RETRY_EVERY);
                let why = said(&error, at);
                self.halted(&tp, at, retry, &why, hint(&error, &tp, at));
                if is_unusable { Ok(()) } else { self.look_behind(&tp, at) }
            }
            Why::Schema(why) => {
                let hint = format!(
                    "it is read once the schema registry answers; `--skip {}` passes over this message",
                    Skip { tp: tp.clone(), at }
                );
                self.halted(&tp, at, None, &format!("offset {at}: {why}"), hint);
                if self.halts.take_skip(&tp, at) {
                    self.drop_and_pass_over(tp, at, at + 1);
                }
                Ok(())
            }
        }
    }

    /// Says that a partition is not read on.
    pub(super) fn halted(
        &mut self,
        tp: &Tp,
        at: i64,
        retry: Option<Instant>,
        why: &str,
        hint: String,
    ) {
        let halt = Halt { at, retry };
        // Of one that is tried again and again, once.
        if self.halts.halted.insert(tp.clone(), halt).is_none_or(|before| before.at != at) {
            tracing::error!(
                event = "partition_stopped",
                partition = %tp,
                offset = at,
                why,
                hint,
                "partition stopped; the others continue"
            );
        }
        self.around.health.stopped(&tp.topic, tp.partition, why);
    }

    /// The offset to be read next does not exist: the brokers know what does.
    fn out_of_range(&mut self, tp: &Tp) -> Result<(), Trouble> {
        let Some(at) = self.at.get(tp).copied() else { return Ok(()) };
        let bounds = match self.bounds(tp) {
            Ok(bounds) => bounds,
            Err(trouble) => {
                let retry = Some(Instant::now() + RETRY_EVERY);
                self.halted(tp, at, retry, &trouble.to_string(), "it is tried again".into());
                return Ok(());
            }
        };
        match gone(at, bounds, false) {
            Some(why) => {
                self.halted(tp, at, None, &why, GONE_HINT.into());
                self.look_behind(tp, at)
            }
            // Leaders that change do not know at the same time what there is.
            None => {
                self.read_from(tp, at);
                Ok(())
            }
        }
    }

    fn bounds(&self, tp: &Tp) -> Result<(i64, i64), Trouble> {
        Topics::new(&self.settings.kafka)?.bounds(tp)
    }

    /// Partitions that end earlier than before: their broker has lost messages.
    pub(super) fn shrunk(&mut self, shrunk: BTreeSet<Tp>) {
        for tp in shrunk {
            let next = self.at.get(&tp).copied().filter(|_| !self.halts.has(&tp));
            let Some(at) = next else { continue };
            // A broker that has just lost messages may not answer.
            let bounds = self.bounds(&tp).unwrap_or((0, at));
            if let Some(why) = gone(at, bounds, true) {
                self.halted(&tp, at, None, &why, GONE_HINT.into());
                self.change(Change::Drop(vec![tp]));
            }
        }
    }

    /// Nothing of these partitions is on its way any more.
    pub(super) fn dropped(&mut self, gone: &[Tp]) -> Result<(), Trouble> {
        for tp in gone {
            let Some((from, to)) = self.halts.dropping.remove(tp) else { continue };
            match self.at.get(tp).copied() {
                // It could be read at the last moment.
                Some(next) if next > from => {
                    self.read_from(tp, next);
                    self.resumed(tp);
                }
                _ => self.pass_over(tp, from, to)?,
            }
        }
        Ok(())
    }

    /// A partition is read again.
    pub(super) fn resumed(&mut self, tp: &Tp) {
        if self.halts.halted.remove(tp).is_some() {
            self.around.health.resumed(&tp.topic, tp.partition);
            tracing::info!(event = "partition_resumed", partition = %tp, "partition is read again");
        }
    }

    fn change(&self, change: Change) {
        if let Some(source) = &self.source {
            let _ = source.change.send(change);
        }
    }

    fn read_from(&self, tp: &Tp, at: i64) {
        self.change(Change::Add([(tp.clone(), at)].into()));
    }

    /// Looks for where a partition can be read behind what cannot be, if a person said to pass over that.
    fn look_behind(&mut self, tp: &Tp, at: i64) -> Result<(), Trouble> {
        if !self.halts.take_skip(tp, at) {
            for other in self.halts.skips.iter().filter(|skip| skip.tp == *tp) {
                tracing::warn!(
                    event = "skip_elsewhere",
                    skip = %other,
                    stopped_at = at,
                    "--skip names another offset than the partition is stopped at"
                );
            }
            return Ok(());
        }
        let answer = Answer::Behind(self.ask(tp, at, passage::behind)?);
        self.halts.questions.push(Question { tp: tp.clone(), at, answer });
        Ok(())
    }

    /// Asks the brokers by a thread: an answer may take seconds.
    fn ask<T: Send + 'static>(
        &self,
        tp: &Tp,
        at: i64,
        what: fn(&KafkaSection, &Tp, i64) -> Result<T, Trouble>,
    ) -> Result<Receiver<Result<T, Trouble>>, Trouble> {
        let (found, answer) = bounded(1);
        let (section, tp) = (self.settings.kafka.clone(), tp.clone());
        let asks = move || drop(found.send(what(&section, &tp, at)));
        let thread = std::thread::Builder::new().name("partition".into()).spawn(asks);
        thread.map_err(|e| Trouble::Fatal(format!("cannot start a thread: {e}")))?;
        Ok(answer)
    }

    /// What is due: answers about partitions, and questions whether one can be read by now.
    pub(super) fn tend_halts(&mut self) -> Result<(), Trouble> {
        let mut open = Vec::new();
        for Question { tp, at, answer } in std::mem::take(&mut self.halts.questions) {
            match answer {
                Answer::Behind(receiver) => match receiver.try_recv() {
                    Ok(Ok(to)) => self.drop_and_pass_over(tp, at, to),
                    Ok(Err(trouble)) => self.skip_later(tp, at, &trouble.to_string()),
                    Err(TryRecvError::Disconnected) => self.skip_later(tp, at, "its thread ended"),
                    Err(TryRecvError::Empty) => {
                        open.push(Question { tp, at, answer: Answer::Behind(receiver) });
                    }
                },
                Answer::Readable(receiver) => match receiver.try_recv() {
                    Ok(Ok(Found::Message | Found::End)) => {
                        let next = self.at.get(&tp).copied().unwrap_or(at);
                        self.read_from(&tp, next);
                        self.resumed(&tp);
                    }
                    Err(TryRecvError::Empty) => {
                        open.push(Question { tp, at, answer: Answer::Readable(receiver) });
                    }
                    Ok(_) | Err(TryRecvError::Disconnected) => self.later(&tp),
                },
                Answer::Silent(end, receiver) => match receiver.try_recv() {
                    Ok(Ok(found)) => self.was_silent(&tp, at, end, found),
                    Err(TryRecvError::Empty) => {
                        open.push(Question { tp, at, answer: Answer::Silent(end, receiver) });
                    }
                    // It is looked into again after a while.
                    Ok(Err(_)) | Err(TryRecvError::Disconnected) => {}
                },
            }
        }
        self.halts.questions.extend(open);
        self.look_for_stalls()?;
        let now = Instant::now();
        let mut due = Vec::new();
        for (tp, halt) in &mut self.halts.halted {
            if halt.retry.take_if(|retry| *retry <= now).is_some() {
                due.push((tp.clone(), halt.at));
            }
        }
        for (tp, at) in due {
            if self.halts.questions.len() >= QUESTIONS_MAX {
                self.later(&tp);
            } else if self.halts.skips.iter().any(|skip| skip.tp == tp && skip.at == at) {
                self.look_behind(&tp, at)?;
            } else if let Some(next) = self.at.get(&tp).copied() {
                let answer = Answer::Readable(self.ask(&tp, next, passage::look)?);
                self.halts.questions.push(Question { tp, at: next, answer });
            }
        }
        Ok(())
    }

    /// Looks for partitions that have messages of which none comes.
    fn look_for_stalls(&mut self) -> Result<(), Trouble> {
        let now = Instant::now();
        if self.halts.looked.is_some_and(|looked| now.duration_since(looked) < LOOK_EVERY) {
            return Ok(());
        }
        self.halts.looked = Some(now);
        let (ends, unknown) = {
            let seen = locked(&self.ends);
            (seen.ends.clone(), seen.unknown_for(UNKNOWN_MAX, now))
        };
        // With none known it is about the brokers, which `source` and the log say.
        let unknown = if unknown.len() < self.at.len() { unknown } else { Vec::new() };
        for tp in unknown {
            if let Some(at) = self.at.get(&tp).copied().filter(|_| !self.halts.has(&tp)) {
                let why = "the brokers do not say where it ends: does it have a leader?";
                let retry = Some(now + RETRY_EVERY);
                self.halted(&tp, at, retry, why, "it is tried again".into());
            }
        }
        // A pending message has arrived.
        if self.source.as_ref().is_some_and(|source| source.waiting() > 0) {
            return Ok(());
        }
        for (tp, at) in self.halts.stalls.look(&self.at, &ends, now) {
            if !self.halts.has(&tp) && self.halts.questions.len() < QUESTIONS_MAX {
                let end = ends.get(&tp).copied().unwrap_or_default();
                let answer = Answer::Silent(end, self.ask(&tp, at, passage::look)?);
                self.halts.questions.push(Question { tp, at, answer });
            }
        }
        Ok(())
    }

    /// What a new client found where nothing came.
    fn was_silent(&mut self, tp: &Tp, at: i64, end: i64, found: Found) {
        if self.at.get(tp) != Some(&at) || self.halts.has(tp) {
            return;
        }
        match found {
            Found::End => self.halts.stalls.nothing_before(tp, end),
            Found::Message => {
                tracing::warn!(
                    event = "partition_silent",
                    partition = %tp,
                    offset = at,
                    "partition has messages and none came; reading it again"
                );
                self.read_from(tp, at);
            }
            Found::Failed(why) => {
                let why =
                    format!("offset {at} cannot be read, and the partition ends at {end}: {why}");
                let retry = Some(Instant::now() + RETRY_EVERY);
                let hint = format!(
                    "it is tried again; if it stays, --skip {}",
                    Skip { tp: tp.clone(), at }
                );
                self.halted(tp, at, retry, &why, hint);
            }
        }
    }

    fn later(&mut self, tp: &Tp) {
        if let Some(halt) = self.halts.halted.get_mut(tp) {
            halt.retry = Some(Instant::now() + RETRY_EVERY);
        }
    }

    fn skip_later(&mut self, tp: Tp, at: i64, why: &str) {
        tracing::error!(
            event = "skip_failed",
            partition = %tp,
            offset = at,
            error = why,
            "cannot find the end of what is to be skipped; trying again"
        );
        self.later(&tp);
        self.halts.skips.push(Skip { tp, at });
    }

    /// Passes over offsets once nothing of their partition is on its way.
    fn drop_and_pass_over(&mut self, tp: Tp, from: i64, to: i64) {
        self.change(Change::Drop(vec![tp.clone()]));
        self.halts.dropping.insert(tp, (from, to));
    }

    /// Passes over offsets `from` to before `to`: a dead letter, a place in the order, and on with what follows.
    fn pass_over(&mut self, tp: &Tp, from: i64, to: i64) -> Result<(), Trouble> {
        tracing::warn!(
            event = "partition_skipped",
            partition = %tp,
            from,
            to = to - 1,
            offsets = to - from,
            "offsets passed over by --skip; a dead letter names them"
        );
        let mut batch = Batch::default();
        batch.dead.push(skip::letter(tp, from, to));
        batch.runs.push(Run::passed_over(tp, from, to));
        self.step(batch)?;
        self.read_from(tp, to);
        self.resumed(tp);
        Ok(())
    }
}

const GONE_HINT: &str = "look at the broker first; --skip passes over what retention removed, and --rebuild-from earliest begins again with what is left";

/// What is wrong with where a partition is to be read next, if anything is.
fn gone(at: i64, (low, high): (i64, i64), has_shrunk: bool) -> Option<String> {
    if at < low {
        Some(format!(
            "offset {at} is to be read next, and the first one that is left is {low}: retention has removed messages that were never taken"
        ))
    } else if at > high || has_shrunk {
        Some(format!(
            "offset {at} is to be read next, and the partition ends at {high}: the broker has lost messages that were taken"
        ))
    } else {
        None
    }
}

/// What the client says is wrong.
fn said(error: &FetchError, at: i64) -> String {
    format!("offset {at} cannot be read: {error}")
}

fn hint(error: &FetchError, tp: &Tp, at: i64) -> String {
    match error.outcome() {
        Outcome::Unusable => {
            let known = client::hint(error.code).unwrap_or_default();
            format!("it is tried again every {} s{known}", RETRY_EVERY.as_secs())
        }
        _ => format!(
            "look at the message and at the broker's disk; then start with --skip {}, which writes a dead letter and continues behind it",
            Skip { tp: tp.clone(), at }
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tp(partition: i32) -> Tp {
        Tp { topic: "events".into(), partition }
    }

    fn skips(texts: &[&str]) -> Vec<Skip> {
        texts.iter().map(|text| text.parse().expect("a place")).collect()
    }

    #[test]
    fn a_skip_applies_once_and_only_where_the_partition_is_stopped() {
        let at = [(tp(0), 10), (tp(1), 10)].into();
        let mut halts = Halts::new(&skips(&["events/0@10", "events/1@9", "events/2@4"]), &at);
        // The second is behind what was taken already.
        assert_eq!(halts.skips, skips(&["events/0@10", "events/2@4"]));
        for (partition, offset, applies) in
            [(0, 9, false), (0, 11, false), (1, 10, false), (0, 10, true), (0, 10, false)]
        {
            let found = halts.take_skip(&tp(partition), offset);
            assert_eq!(found, applies, "events/{partition}@{offset}");
        }
        // What could be read is not passed over later.
        let run = |from, to, n| Run { t: "events".into(), p: 2, from, to, n };
        halts.took(&run(0, 3, 4));
        assert_eq!(halts.skips, skips(&["events/2@4"]));
        halts.took(&run(4, 4, 0));
        assert_eq!(halts.skips, skips(&["events/2@4"]));
        halts.took(&run(4, 7, 2));
        assert_eq!(halts.skips, []);
    }

    #[test]
    fn what_is_gone_is_told_from_what_is_there() {
        let table = [
            (5, (5, 9), false, None),
            (9, (5, 9), false, None),
            (4, (5, 9), false, Some("retention")),
            (10, (5, 9), false, Some("lost")),
            (7, (5, 9), true, Some("lost")),
        ];
        for (at, bounds, has_shrunk, expected) in table {
            let found = gone(at, bounds, has_shrunk);
            let fits = match (&found, expected) {
                (None, None) => true,
                (Some(why), Some(word)) => why.contains(word),
                _ => false,
            };
            assert!(fits, "{at} {bounds:?} {has_shrunk}: {found:?}");
        }
    }
}
