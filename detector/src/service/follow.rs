//! A state that follows: it takes the messages that a live instance took, in the order of its journal, and puts back what was really
//! done about accounts. Nothing is scored and nothing published. A start follows to the committed offsets and goes live there; a
//! standby follows for as long as another instance is live.

use super::ordered::{Ordered, Taken};
use super::position::{self, Detail};
use super::published::Actions;
use super::restore::Due;
use super::{Around, Settings, Stop};
use crate::kafka::client::Trouble;
use crate::kafka::config::Delivery;
use crate::kafka::fetcher::Fetched;
use crate::kafka::journal::{Entry, Offsets, Order, Reading, Record, Run, Tp};
use crate::kafka::signature::{self, Foreign, Of, Strangers, Verifier};
use crate::kafka::source::BATCH_MESSAGES;
use crate::kafka::tail::Tail;
use crate::kafka::topics::Topics;
use crate::store::redis::Position;
use crate::telemetry::Telemetry;
use engine::effects::Effects;
use engine::{Changed, Engine, Input, Wanted};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Longest silence of the brokers while messages are to be taken again.
const PATIENCE: Duration = Duration::from_secs(30);
/// Runs that may wait to be taken; beyond, the journal is not read on.
const RUNS_MAX: usize = 100_000;
/// Records of the journal that are read before the runs in them are counted.
const RECORDS_AT_ONCE: usize = 1000;
/// Lists of changes that wait for a checkpoint to cover them; beyond, the newest two become one.
const LISTS_MAX: usize = 32;

/// Changes up to a place in the journal.
struct Since {
    journal: i64,
    changed: Changed,
    messages: u64,
}

/// A state that has followed far enough.
pub struct Finished {
    /// The state.
    pub engine: Engine,
    /// Messages since the checkpoint.
    pub messages: u64,
    /// Where it stands.
    pub at: Offsets,
    /// What is to be taken next.
    pub again: Again,
    /// The highest number of a signature that was seen.
    pub number: u64,
}

/// Messages that the journal has and that may not have been published: they are taken in its order, and published.
pub struct Again {
    /// The order.
    pub order: Order,
    /// The messages.
    pub inputs: Ordered,
}

/// The state, and where it stands.
pub struct Follower {
    engine: Engine,
    wanted: Wanted,
    /// Next offset of each partition.
    at: Offsets,
    inputs: Ordered,
    journal: Tail,
    reading: Reading,
    verifier: Verifier,
    strangers: Strangers,
    order: Order,
    /// At least once: how far outputs were committed at some time, which a publisher that was paused may set back.
    committed: Offsets,
    /// Messages that were taken of the first run.
    taken: u32,
    /// Part of the first run's entry was taken.
    inside: bool,
    actions: Actions,
    /// What changed since the last list, in messages.
    messages: u64,
    lists: VecDeque<Since>,
    /// A checkpoint at or beyond this place has all changes that are in no list.
    covered: i64,
    delivery: Delivery,
    /// See [`Detail`].
    born: u32,
}

impl Follower {
    /// Begins with the state of a checkpoint, which `load` fills into an empty engine.
    ///
    /// # Errors
    /// When the checkpoint cannot be loaded or followed.
    pub fn begin(
        settings: &Settings,
        topics: &Topics,
        base: &Position,
        mut engine: Engine,
        telemetry: &Telemetry,
        load: impl FnOnce(&mut Engine) -> Result<(), Trouble>,
    ) -> Result<Self, Trouble> {
        let detail = position::read(base)?;
        position::look_up_as(&detail, &mut engine)?;
        load(&mut engine)?;
        engine.name_forgotten();
        let wanted = engine.wanted();
        engine.want(Wanted { state_only: true, ..Wanted::default() });
        let at = position::offsets(&base.offsets);
        let tp = Tp { topic: settings.kafka.journal.clone(), partition: 0 };
        let delivery = settings.kafka.delivery;
        let signing = detail.signing.as_ref();
        let of_actions = Verifier::behind(Of::Actions, signing, &detail.actions);
        let of_journal = Verifier::behind(Of::Journal, signing, &[(0, detail.journal)].into());
        let order = if delivery == Delivery::AtLeastOnce && detail.writer.is_some() {
            Order::begun_at(detail.actions.clone().into_iter().collect())
        } else {
            Order::default()
        };
        Ok(Self {
            inputs: Ordered::start(settings, &engine)?,
            journal: Tail::start(&settings.kafka, topics, [(tp, detail.journal)].into())?,
            reading: Reading::after(detail.writer),
            actions: Actions::start(
                settings,
                topics,
                &detail.actions,
                at.clone(),
                (of_actions, telemetry),
            )?,
            verifier: of_journal,
            strangers: Strangers::new(&settings.kafka.journal, telemetry.clone()),
            engine,
            wanted,
            committed: at.clone(),
            at,
            order,
            taken: 0,
            inside: false,
            messages: 0,
            lists: VecDeque::new(),
            covered: detail.journal,
            delivery,
            born: detail.born,
        })
    }

    /// The state, for questions.
    pub fn engine(&mut self) -> &mut Engine {
        &mut self.engine
    }

    /// Messages that the journal names and that were not taken yet.
    pub fn behind(&self) -> u64 {
        self.order.messages().saturating_sub(self.taken.into())
    }

    /// Next offset of the journal: everything before it was taken.
    pub fn place(&self) -> i64 {
        let read = self.journal.next().values().next().copied().unwrap_or_default();
        self.order.entry().unwrap_or(read)
    }

    /// Follows for about as long as `wait`.
    ///
    /// # Errors
    /// When it cannot go on: then this state is of no use any more, and another one is to be loaded.
    pub fn turn(&mut self, topics: &Topics, wait: Duration) -> Result<(), Trouble> {
        let deadline = Instant::now() + wait;
        // Without transactions the journal is ahead of what is committed, and whoever takes over publishes again what lies in between. What
        // is committed now was in the journal before.
        let known = match self.delivery {
            Delivery::ExactlyOnce => None,
            Delivery::AtLeastOnce => match topics.inputs().and_then(|all| topics.committed(&all)) {
                Ok(committed) => {
                    raise(&mut self.committed, &committed);
                    Some(self.committed.clone())
                }
                // Brokers that do not answer now do so later.
                Err(Trouble::StartOver(_)) => return Ok(()),
                Err(trouble) => return Err(trouble),
            },
        };
        let (mut entries, verifier) = (Vec::new(), &self.verifier);
        let mut each = |_: &Tp, message: &Fetched<'_>| entries.push(read(verifier, message));
        let all_read = match known {
            Some(_) => self.journal.to_end(topics, &mut each),
            None => {
                let most = RUNS_MAX.saturating_sub(self.order.len()).min(RECORDS_AT_ONCE);
                // With messages to be taken there is no time to wait for more.
                let wait = if self.order.is_empty() { wait } else { Duration::ZERO };
                self.journal.poll(wait, most, &mut each).map(|_| ())
            }
        };
        self.note(entries)?;
        match all_read {
            Ok(()) => {}
            Err(Trouble::StartOver(_)) if known.is_some() => return Ok(()),
            Err(trouble) => return Err(trouble),
        }
        // Before the messages: an action is restored right behind the one that led to it.
        self.actions.read()?;
        self.take(known.as_ref(), deadline)?;
        self.restore();
        Ok(())
    }

    /// Restores the actions that were led to by what was taken.
    fn restore(&mut self) {
        let due = match self.order.stood() {
            Some(stood) => Due::Before(stood),
            None => Due::Taken(&self.at),
        };
        self.actions.restore(&mut self.engine, due);
    }

    /// See [`Actions::look_for_partitions`].
    ///
    /// # Errors
    /// When the brokers do not answer.
    pub fn look_for_partitions(&mut self, topics: &Topics) -> Result<(), Trouble> {
        self.actions.look_for_partitions(topics)
    }

    /// Takes note of entries that are ours.
    fn note(&mut self, records: Vec<Read>) -> Result<(), Trouble> {
        for Read { offset, record } in records {
            let (record, number) = match record {
                Ok((record, _)) if !self.reading.may_count(&record) => continue,
                Ok((record, number)) if self.verifier.is_newer(0, number) => (record, number),
                Ok(_) => {
                    self.strangers.found(0, offset, Foreign::Repeated);
                    continue;
                }
                Err(why) => {
                    self.strangers.found(0, offset, why);
                    continue;
                }
            };
            self.verifier.accept(0, number);
            if !self.reading.counts(&record) {
                continue;
            }
            match record.entry {
                Entry::Took(took) => {
                    if !record.actions.is_empty() {
                        self.order.stood_before(offset, record.actions);
                    }
                    self.order.push(offset, took);
                }
                Entry::Begins { .. } | Entry::Decides { .. } => {}
                // The mark of this very state, when it was young, is a mark like others.
                Entry::Live { anew: true, epoch, .. } if epoch != u64::from(self.born) => {
                    return Err(Trouble::StartOver("another instance made the state anew".into()));
                }
                Entry::Live { at, .. } => {
                    let at: Offsets = at
                        .into_iter()
                        .map(|(t, p, o)| (Tp { topic: t, partition: p }, o))
                        .collect();
                    let beyond =
                        |(tp, stands): (&Tp, &i64)| at.get(tp).is_some_and(|next| stands > next);
                    if self.at.iter().any(beyond) {
                        return Err(Trouble::StartOver(
                            "messages were taken that were never committed".into(),
                        ));
                    }
                    self.order.cut(&at);
                }
            }
        }
        Ok(())
    }

    /// Takes what the order names, not beyond `until`, until it is at its end or the time is over.
    fn take(&mut self, until: Option<&Offsets>, deadline: Instant) -> Result<(), Trouble> {
        let mut effects = Effects::default();
        let mut batch: Vec<Input> = Vec::new();
        while let (Some(run), Some(entry)) = (self.order.front().cloned(), self.order.entry()) {
            let tp = run.tp();
            if until.is_some_and(|until| !is_before(&run, until)) {
                break;
            }
            let stands = *self.at.entry(tp.clone()).or_insert(run.from);
            if self.taken == 0 && run.from < stands {
                return Err(no_order(&format!(
                    "{tp} is taken from {} on, but stood at {stands} already",
                    run.from
                )));
            }
            if run.is_passed_over() {
                self.inputs.pass_over(&tp, run.to + 1)?;
                self.at.insert(tp.clone(), run.to + 1);
            } else {
                self.inputs.add(&tp, stands)?;
            }
            while self.taken < run.n {
                let wait = deadline.saturating_duration_since(Instant::now());
                let Some(Taken { offset, input, .. }) = self.inputs.take(&tp, wait)? else {
                    self.step(&mut batch, &mut effects);
                    return Ok(());
                };
                is_of(&run, self.taken, offset)?;
                batch.extend(input);
                self.at.insert(tp.clone(), offset + 1);
                self.taken += 1;
                self.messages += 1;
                if batch.len() >= BATCH_MESSAGES || self.actions.wait_for(&tp, offset) {
                    self.step(&mut batch, &mut effects);
                    self.restore();
                }
            }
            self.order.pop();
            self.taken = 0;
            self.inside = self.order.entry() == Some(entry);
            if Instant::now() >= deadline {
                break;
            }
        }
        self.step(&mut batch, &mut effects);
        Ok(())
    }

    fn step(&mut self, batch: &mut Vec<Input>, effects: &mut Effects) {
        self.engine.step(batch.drain(..), effects);
        // Whoever takes over goes on at once.
        self.engine.gather_changed();
        effects.clear();
    }

    /// Reads the journal to its end, and takes nothing.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn read_journal(&mut self, topics: &Topics) -> Result<(), Trouble> {
        let (mut records, verifier) = (Vec::new(), &self.verifier);
        self.journal.to_end(topics, &mut |_, message| records.push(read(verifier, message)))?;
        self.note(records)
    }

    /// The highest number of a signature that was seen.
    pub fn number(&mut self) -> u64 {
        self.verifier.highest().max(self.actions.verifier().highest())
    }

    /// The newest checkpoint: changes before it need not be remembered any more.
    ///
    /// # Errors
    /// When it is of another state than this one.
    pub fn covered_by(&mut self, base: &Detail) -> Result<(), Trouble> {
        position::same_configuration(base, &self.engine)?;
        if base.born != self.born {
            return Err(Trouble::StartOver("another instance made the state anew".into()));
        }
        let signing = base.signing.as_ref();
        if self.verifier.is_blind() {
            self.verifier.learn(signing, &[(0, base.journal)].into());
            self.actions.verifier().learn(signing, &base.actions);
        }
        if !self.verifier.is_of(signing) {
            return Err(Trouble::StartOver(
                "the live instance signs with another secret, or not at all".into(),
            ));
        }
        while self.lists.front().is_some_and(|since| since.journal <= base.journal) {
            if let Some(since) = self.lists.pop_front() {
                self.covered = since.journal;
            }
        }
        let nothing_new = self.messages == 0;
        if nothing_new || self.inside || self.taken > 0 {
            return Ok(());
        }
        let mut changed = self.engine.take_changed();
        let mut messages = std::mem::take(&mut self.messages);
        if self.lists.len() >= LISTS_MAX
            && let Some(last) = self.lists.pop_back()
        {
            changed.add(last.changed);
            messages += last.messages;
        }
        self.lists.push_back(Since { journal: self.place(), changed, messages });
        Ok(())
    }

    /// Whether this state leads to O, and knows what changed since the checkpoint.
    pub fn fits(&self, base: &Detail, committed: &Offsets) -> bool {
        // At least once, this state is before what was committed at some time, and that is enough.
        let beyond = |(tp, at): (&Tp, &i64)| {
            self.delivery == Delivery::ExactlyOnce
                && committed.get(tp).is_some_and(|next| at > next)
        };
        base.journal >= self.covered
            && !self.verifier.is_blind()
            && self.verifier.is_of(base.signing.as_ref())
            && base.born == self.born
            && base.features == self.engine.versions().features
            && base.privacy == self.engine.privacy_fingerprint()
            && !self.at.iter().any(beyond)
    }

    /// Follows to `until` and ends there: the state, in which everything that changed since the checkpoint counts as changed. At least
    /// once, what the journal of `writer` has beyond is to be taken again in its order, and published.
    ///
    /// # Errors
    /// When the journal does not lead there, or a message is gone.
    pub fn finish(
        mut self,
        base: &Detail,
        topics: &Topics,
        until: &Offsets,
        writer: &str,
        around: &Around,
        stop: &Stop,
    ) -> Result<Finished, Trouble> {
        self.read_journal(topics)?;
        let mut until = until.clone();
        match self.delivery {
            Delivery::ExactlyOnce => self.order.cut(&until),
            Delivery::AtLeastOnce if self.reading.writer() == Some(writer) => {
                raise(&mut until, &self.committed);
            }
            Delivery::AtLeastOnce => {
                return Err(Trouble::StartOver(format!(
                    "the journal is not this instance's, but that of {}",
                    self.reading.writer().unwrap_or("an earlier version")
                )));
            }
        }
        let total = self.order.messages_before(&until).saturating_sub(self.taken.into());
        if total > 0 {
            tracing::info!(messages = total, "replaying in silence what was published already");
        }
        if self.delivery == Delivery::ExactlyOnce {
            // All of them are committed.
            self.actions.read_to_end(topics)?;
        }
        let (mut heard, mut left) = (Instant::now(), total);
        while self.order.front().is_some_and(|run| is_before(run, &until)) {
            if stop.asked() {
                return Err(Trouble::Fatal("stopped while replaying".into()));
            }
            self.actions.read()?;
            self.take(Some(&until), Instant::now() + Duration::from_millis(200))?;
            self.restore();
            let now = self.order.messages_before(&until).saturating_sub(self.taken.into());
            // A schema registry that has no answer is waited for; the log says so.
            if now < left || self.inputs.pending().is_some() {
                (heard, left) = (Instant::now(), now);
            } else if heard.elapsed() > PATIENCE {
                let tp = self.order.front().map(|run| run.tp().to_string()).unwrap_or_default();
                return Err(Trouble::StartOver(format!(
                    "the brokers sent nothing of {tp} for 30 s while it was to be replayed"
                )));
            }
            around.health.beat();
            around.telemetry.replay(total, total.saturating_sub(now));
        }
        around.telemetry.replay(total, total);
        if let (Delivery::ExactlyOnce, Some(run)) = (self.delivery, self.order.front()) {
            // The brokers do not all learn of a new partition at the same time.
            return Err(Trouble::StartOver(format!(
                "{} is in the journal, and the brokers do not know of it yet",
                run.tp()
            )));
        }
        let leads_to = self.order.leads_to(self.at.clone());
        for (tp, wanted) in &until {
            let stands = *self.at.entry(tp.clone()).or_insert(*wanted);
            let leads_to = leads_to.get(tp).copied().unwrap_or(*wanted);
            let fits = match self.delivery {
                Delivery::ExactlyOnce => stands == *wanted,
                Delivery::AtLeastOnce => leads_to >= *wanted,
            };
            if !fits {
                return Err(no_order(&format!(
                    "{tp} is committed up to {wanted}, and the journal leads to {leads_to}"
                )));
            }
        }
        let stood = if self.order.is_empty() { None } else { self.order.stood() };
        self.actions.take_all(&mut self.engine, topics, stood)?;
        let (mut messages, number) = (self.messages, self.number());
        for since in self.lists {
            if since.journal > base.journal {
                messages += since.messages;
                self.engine.still_changed(since.changed);
            }
        }
        self.engine.want(self.wanted);
        let again = Again { order: self.order, inputs: self.inputs };
        Ok(Finished { engine: self.engine, messages, at: self.at, again, number })
    }
}

/// Positions that were reached once are not given up.
pub fn raise(at: &mut Offsets, by: &Offsets) {
    for (tp, next) in by {
        let known = at.entry(tp.clone()).or_insert(*next);
        *known = (*known).max(*next);
    }
}

/// Whether a run ends before these positions.
fn is_before(run: &Run, until: &Offsets) -> bool {
    until.get(&run.tp()).is_some_and(|next| run.to < *next)
}

/// Whether this is the next message of a run, of which `taken` messages were taken.
///
/// # Errors
/// When it is not.
pub fn is_of(run: &Run, taken: u32, offset: i64) -> Result<(), Trouble> {
    if offset > run.to || (taken == 0 && offset != run.from) {
        return Err(Trouble::Fatal(format!(
            "{} has no message {} any more, and it was taken once (the next one is {offset})\nhint: its retention is shorter than the time since the last checkpoint, or the broker has lost data; `--rebuild-from earliest` makes the state anew from what is left",
            run.tp(),
            run.from
        )));
    }
    Ok(())
}

fn no_order(why: &str) -> Trouble {
    Trouble::Fatal(format!(
        "the journal does not say in which order messages were taken: {why}\nhint: was its topic changed, or is its retention shorter than the time since the last checkpoint? `--rebuild-from earliest` makes the state anew"
    ))
}

/// A record of the journal with its place.
struct Read {
    offset: i64,
    /// With its number, which may be one that was there before; or why it is not ours.
    record: Result<(Record, Option<u64>), Foreign>,
}

fn read(verifier: &Verifier, message: &Fetched<'_>) -> Read {
    let (content, signature) = signature::of(message);
    let offset = message.offset();
    let number = verifier.number(0, offset, signature, &content);
    let record = number.and_then(|number| {
        let record = Record::read(content.payload).map_err(|_| Foreign::Unreadable)?;
        Ok((record, number))
    });
    Read { offset, record }
}
