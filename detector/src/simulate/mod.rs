//! A believable platform, made up: people who meet, talk, sell and pay; crowds that look guilty and are not;
//! and rings that are. Events come out in order of time, labels when they become known.
//!
//! ```
//! use detector::simulate::{Plan, Simulator};
//! let mut simulator = Simulator::new(&Plan { accounts: 200, events: 1_000, ..Plan::default() })?;
//! let mut line = Vec::new();
//! for event in simulator.by_ref() {
//!     line.clear();
//!     event.write_json(&mut line);
//! }
//! assert!(simulator.labels().iter().all(|label| label.ts_ms > 0));
//! # Ok::<(), detector::simulate::PlanError>(())
//! ```
//!
//! Nothing here reads a clock or the platform's mathematics library: one plan gives the same bytes everywhere.
//! All parameters are made up too. They are chosen so that no single number gives a bad actor away, not
//! fitted to any real platform; results on this data rank methods and promise nothing.

mod aftermath;
mod attack;
mod chance;
mod event;
mod honest;
mod kinds;
mod names;
mod places;
mod plan;
mod queue;
mod rings;
mod stream;
#[cfg(test)]
mod tests;
mod world;

pub use event::{LabelSource, SimEvent, SimEventRef, SimLabel};
pub use kinds::{ActorKind, EventType};
pub use plan::{BadMix, Plan, PlanError};
pub use stream::{Summary, write_stream};

use chance::Chance;
use names::{NONE, Names};
use places::next_session;
use queue::{Pace, Queue, Task};
use rings::Ring;
use world::World;

const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;
const DAY_MS: i64 = 24 * HOUR_MS;

/// What an account really is, as far as the events so far show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Truth {
    /// Its kind. A stolen account is [`ActorKind::Takeover`] once the thief is in.
    pub kind: ActorKind,
    /// Its first event as a bad actor; for those made to be bad that is the first event of all. None for the
    /// honest.
    pub started_ms: Option<i64>,
    /// Its first event that did harm itself.
    pub harmed: bool,
    /// Number of its ring, if it is bad.
    pub ring: Option<u32>,
    /// Events it produced so far.
    pub events: u32,
}

/// The platform at one moment; as an iterator, its next events. Time per event 1-3 us, memory about 250 bytes
/// per account.
pub struct Simulator {
    plan: Plan,
    names: Names,
    chance: Chance,
    world: World,
    rings: Vec<Ring>,
    queue: Queue,
    pace: Pace,
    labels: Vec<SimLabel>,
    serial: u64,
    now_ms: i64,
    finished: bool,
}

impl Simulator {
    /// Peoples the platform.
    ///
    /// # Errors
    /// A field of the plan out of range.
    pub fn new(plan: &Plan) -> Result<Self, PlanError> {
        plan.check()?;
        let mut chance = Chance::new(plan.seed);
        let honest = plan.accounts - rings::bad_from_birth(plan);
        let mut world = world::populate(plan, honest, &mut chance);
        let mut rings = rings::conspire(plan, &mut world, &mut chance);
        world.index(plan.seed);
        rings::choose_targets(plan, &mut rings, &world, &mut chance);
        let pace = Pace::new(plan.start_ms, plan.days, plan.events, &world.accounts);
        let mut simulator = Self {
            plan: plan.clone(),
            names: Names::new(plan.seed),
            chance,
            world,
            rings,
            queue: Queue::default(),
            pace,
            labels: Vec::new(),
            serial: 0,
            now_ms: plan.start_ms,
            finished: false,
        };
        simulator.begin();
        Ok(simulator)
    }

    /// Labels known so far, in order of `ts_ms`. Once the iterator has ended, all of them: also those that
    /// become known long after the last event.
    pub fn labels(&self) -> &[SimLabel] {
        &self.labels
    }

    /// Number of accounts; indices of accounts lie below it.
    pub fn accounts(&self) -> u32 {
        self.world.accounts.len() as u32
    }

    /// The truth about an account as of the events so far. None for an index that is none.
    pub fn truth(&self, account: u32) -> Option<Truth> {
        let known = self.world.accounts.get(account as usize)?;
        let stolen = known.started_ms < i64::MAX && !known.kind.is_bad();
        let kind = if stolen { ActorKind::Takeover } else { known.kind };
        Some(Truth {
            kind,
            started_ms: (known.started_ms < i64::MAX).then_some(known.started_ms),
            harmed: known.harmed,
            ring: kind.is_bad().then_some(known.ring),
            events: known.events,
        })
    }

    /// The name of an account on the wire.
    pub fn account_id(&self, account: u32) -> String {
        let mut out = Vec::with_capacity(12);
        self.names.account(&mut out, account);
        String::from_utf8_lossy(&out).into_owned()
    }

    /// The index behind an account's name; None if this plan has no such account.
    pub fn account_index(&self, id: &str) -> Option<u32> {
        self.names.account_index(id).filter(|&index| index < self.accounts())
    }

    /// Puts everybody's first task.
    fn begin(&mut self) {
        let start_ms = self.plan.start_ms;
        for who in 0..self.accounts() {
            let account = &self.world.accounts[who as usize];
            if !account.signed_up {
                let at = account.signup_ms;
                self.later(at, who, Task::Wake);
            } else if account.kind.is_bad() {
                let ring = self.rings.get(account.ring as usize);
                let at = ring.map_or(start_ms, |ring| ring.start_ms);
                let wait = self.chance.unit() * 2.0 * DAY_MS as f64;
                self.later(at + wait as i64, who, Task::Wake);
            } else {
                self.sleep(who, start_ms);
            }
        }
        for number in 0..self.rings.len() {
            if self.rings[number].kind != ActorKind::Takeover {
                continue;
            }
            for member in self.rings[number].members.clone() {
                let at = self.world.accounts[member as usize].attack_ms;
                self.later(at, member, Task::Intrude);
            }
            let left = self.chance.whole(2, 3 + self.plan.accounts.min(4_000) / 100) as u16;
            let at = self.rings[number].start_ms;
            self.later(at, 0, Task::Probe { ring: number as u32, left });
        }
    }

    fn later(&mut self, ts_ms: i64, who: u32, task: Task) {
        if !self.finished || matches!(task, Task::Verdict(_)) {
            self.queue.put(ts_ms.max(self.now_ms), who, task);
        }
    }

    fn event(&self, who: u32, ts_ms: i64, event_type: EventType) -> SimEvent {
        let account = &self.world.accounts[who as usize];
        let mut event = SimEvent::new(self.names, ts_ms, event_type, who, account.place);
        event.truth = account.kind;
        event.verified = account.verified;
        event
    }

    /// Schedules the account's next session.
    fn sleep(&mut self, who: u32, now_ms: i64) {
        let account = &self.world.accounts[who as usize];
        if account.kind.is_bad() {
            if let Some(gap_ms) = self.bad_gap_ms(who, now_ms) {
                self.later(now_ms + gap_ms, who, Task::Wake);
            }
            return;
        }
        let shift_h = if account.kind == ActorKind::NightWorker { -6 } else { 0 };
        let rate = (f64::from(account.rate) * self.pace.factor).min(400.0);
        let at = next_session(&mut self.chance, now_ms, rate, account.country, shift_h);
        // Waiting has no memory: deciding again later changes nothing but the pace it is decided by.
        let rest_ms = now_ms + 3 * DAY_MS;
        let (at, task) = if at > rest_ms { (rest_ms, Task::Rest) } else { (at, Task::Wake) };
        self.later(at, who, task);
    }

    fn wake(&mut self, who: u32, now_ms: i64) -> Option<SimEvent> {
        let account = &mut self.world.accounts[who as usize];
        if account.suspended {
            account.idle = true;
            return None;
        }
        if now_ms > account.leaves_ms {
            return None;
        }
        let new = !account.signed_up;
        account.signed_up = true;
        if account.kind.is_bad() {
            self.begin_bad(who, now_ms);
        } else {
            self.begin_honest(who, now_ms);
        }
        let account = &mut self.world.accounts[who as usize];
        if new {
            (account.fails, account.login) = (0, false);
            let phone = account.phone;
            self.later(now_ms + 20_000, who, Task::Step);
            let mut event = self.event(who, now_ms, EventType::Signup);
            event.phone = if self.chance.yes(0.85) { phone } else { NONE };
            return Some(event);
        }
        if account.entered {
            // Locked out by the thief: the owner tries, fails, and tells the platform.
            account.fails = self.chance.whole(1, 4) as u8;
            account.left = 0;
            account.login = false;
        }
        self.step(who, now_ms)
    }

    fn step(&mut self, who: u32, now_ms: i64) -> Option<SimEvent> {
        let account = &mut self.world.accounts[who as usize];
        if account.suspended {
            account.idle = true;
            account.left = 0;
            return None;
        }
        let bad = account.kind.is_bad();
        let mut seconds = 22.0;
        let event = if account.fails > 0 {
            account.fails -= 1;
            Some(self.event(who, now_ms, EventType::LoginFailed))
        } else if account.login {
            account.login = false;
            seconds = 8.0;
            Some(self.event(who, now_ms, EventType::Login))
        } else if account.due_target != NONE {
            Some(self.settle_due(who, now_ms))
        } else if account.left > 0 {
            account.left -= 1;
            if account.announcement != NONE {
                seconds = 7.0;
            }
            if bad { self.act_bad(who, now_ms) } else { self.act_honest(who, now_ms) }
        } else {
            None
        };
        let account = &self.world.accounts[who as usize];
        if account.left > 0 || account.fails > 0 || account.login || account.due_target != NONE {
            let wait_ms = if bad {
                self.bad_step_ms(who, now_ms)
            } else {
                (self.chance.skewed(seconds, 1.3).min(1_200.0) * 1000.0) as i64 + 400
            };
            self.later(now_ms + wait_ms, who, Task::Step);
        } else {
            self.sleep(who, now_ms);
        }
        event
    }

    fn perform(&mut self, who: u32, task: Task, now_ms: i64) -> Option<SimEvent> {
        match task {
            Task::Wake => self.wake(who, now_ms),
            Task::Rest => {
                self.sleep(who, now_ms);
                None
            }
            Task::Step => self.step(who, now_ms),
            Task::Answer { to, .. } => self.answer(who, to, now_ms),
            Task::Complain { about, block } => {
                if !self.is_there(who, now_ms) {
                    return None;
                }
                self.freshen(who, now_ms);
                let act = if block { EventType::Block } else { EventType::Report };
                let mut event = self.event(who, now_ms, act);
                event.target = about;
                event.field = self.chance.pick(&["spam", "scam", "rude", "fake"])?;
                Some(event)
            }
            Task::Join { around, how } => self.join(who, around, how, now_ms),
            Task::Intrude => self.intrude(who, now_ms),
            Task::Probe { ring, left } => self.probe(ring, left, now_ms),
            Task::Verdict(verdict) => {
                self.announce(who, verdict, now_ms);
                None
            }
        }
    }

    fn answer(&mut self, who: u32, to: u32, now_ms: i64) -> Option<SimEvent> {
        let locked_out = self.world.accounts[who as usize].entered;
        if locked_out || !self.is_there(who, now_ms) || !self.is_there(to, now_ms) {
            return None;
        }
        self.freshen(who, now_ms);
        let mut event = self.event(who, now_ms, EventType::Reply);
        event.target = to;
        event.text_length = 1 + self.chance.skewed(24.0, 1.4).min(2_000.0) as u32;
        event.has_url = self.chance.yes(0.015);
        let courting = event.truth == ActorKind::RomanceScam;
        event.has_contact = self.chance.yes(if courting { 0.035 } else { 0.025 });
        event.harmful = courting;
        Some(event)
    }

    /// Signed up, not suspended, not gone.
    fn is_there(&self, who: u32, now_ms: i64) -> bool {
        self.world.accounts.get(who as usize).is_some_and(|account| {
            account.signed_up && !account.suspended && account.leaves_ms > now_ms
        })
    }

    /// Somebody to act on: a friend, somebody famous, or somebody from the same country.
    fn somebody(&mut self, who: u32, now_ms: i64) -> Option<u32> {
        match self.chance.weighted(&[0.5, 0.28, 0.22]) {
            0 => self.friend(who, now_ms).or_else(|| self.stranger_to(who, now_ms)),
            1 => {
                let famous = self.chance.pick_famous(&self.world.famous);
                famous.filter(|&one| one != who && self.is_there(one, now_ms))
            }
            _ => None,
        }
        .or_else(|| self.stranger_to(who, now_ms))
    }

    fn friend(&mut self, who: u32, now_ms: i64) -> Option<u32> {
        let contacts = self.world.accounts[who as usize].contacts;
        let known = contacts.iter().filter(|&&friend| friend != NONE).count();
        let friend = self.chance.pick(contacts.get(..known)?)?;
        self.is_there(friend, now_ms).then_some(friend)
    }

    fn stranger_to(&mut self, who: u32, now_ms: i64) -> Option<u32> {
        let country = usize::from(self.world.accounts[who as usize].place.country);
        for attempt in 0..12 {
            let near = attempt < 6 && self.chance.yes(0.8);
            let found = if near {
                self.chance.pick(&self.world.by_country[country])
            } else {
                Some(self.chance.below(self.accounts()))
            };
            if let Some(found) = found.filter(|&one| one != who && self.is_there(one, now_ms)) {
                return Some(found);
            }
        }
        None
    }

    fn seller(&mut self, who: u32, now_ms: i64) -> Option<u32> {
        for _ in 0..6 {
            let found = self.chance.pick_famous(&self.world.sellers);
            if let Some(found) = found.filter(|&one| one != who && self.is_there(one, now_ms)) {
                return Some(found);
            }
        }
        None
    }

    /// Lets the labels that are still on their way become known.
    fn finish(&mut self) {
        self.finished = true;
        while let Some(item) = self.queue.take() {
            if let Task::Verdict(verdict) = item.task {
                self.now_ms = item.ts_ms;
                self.announce(item.who, verdict, item.ts_ms);
            }
        }
    }
}

impl Iterator for Simulator {
    type Item = SimEvent;

    /// The next event; None after [`Plan::events`], or (only on tiny platforms) when everybody has left.
    fn next(&mut self) -> Option<SimEvent> {
        while !self.finished {
            let item = if self.serial < self.plan.events { self.queue.take() } else { None };
            let Some(item) = item else {
                self.finish();
                break;
            };
            self.now_ms = item.ts_ms;
            self.pace.check(item.ts_ms, self.serial);
            let Some(mut event) = self.perform(item.who, item.task, item.ts_ms) else { continue };
            self.serial += 1;
            event.serial = self.serial;
            let depth = if let Task::Answer { depth, .. } = item.task { depth } else { 0 };
            self.note(&event, depth);
            return Some(event);
        }
        None
    }
}
