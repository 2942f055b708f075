//! What follows from events: answers, complaints, discoveries, and the labels that become of them.

use super::event::{LabelSource, SimEvent, SimEventRef, SimLabel};
use super::kinds::{ActorKind, EventType};
use super::names::NONE;
use super::queue::{Task, Verdict};
use super::{DAY_MS, HOUR_MS, MINUTE_MS, Simulator};

/// Longest chain of answers to one message.
const DEPTH_MAX: u8 = 30;

impl Simulator {
    /// Takes note of an event that was just produced. `depth`: how many answers led to it.
    pub(super) fn note(&mut self, event: &SimEvent, depth: u8) {
        let account = &mut self.world.accounts[event.account as usize];
        account.events += 1;
        if event.truth.is_bad() {
            account.started_ms = account.started_ms.min(event.ts_ms);
        }
        let reference = SimEventRef { serial: event.serial, ts_ms: event.ts_ms, card: event.card };
        if event.harmful && !account.harmed {
            account.harmed = true;
            if !account.missed {
                self.discover(event);
            }
        }
        let account = &self.world.accounts[event.account as usize];
        if account.accused_at > 0 && account.events == u32::from(account.accused_at) {
            let wait = self.label_wait_ms(30.0);
            let verdict = self.verdict();
            self.later(event.ts_ms + wait, event.account, Task::Verdict(verdict));
        }
        match event.event_type {
            EventType::Message | EventType::Reply => self.deliver(event, depth),
            EventType::Payment => self.dispute(event, reference),
            EventType::Report => self.count_report(event),
            _ => {}
        }
    }

    /// Time until a label is known, half of them within `median_h`; never less than ten minutes.
    fn label_wait_ms(&mut self, median_h: f64) -> i64 {
        let hours = self.chance.skewed(median_h * self.plan.label_delay_scale, 1.5);
        (hours.min(24.0 * 365.0) * HOUR_MS as f64) as i64 + 10 * MINUTE_MS
    }

    /// What a label about an account says; the same for right and wrong ones.
    fn verdict(&mut self) -> Verdict {
        let (source, confidence_percent) = match self.chance.weighted(&[0.5, 0.15, 0.35]) {
            0 => (LabelSource::Moderator, 100),
            1 => (LabelSource::Moderator, 80),
            _ => (LabelSource::Report, 70),
        };
        Verdict { event: None, bad: true, source, confidence_percent }
    }

    /// The first harm sets the clock of discovery.
    fn discover(&mut self, event: &SimEvent) {
        let median_h = match event.truth {
            ActorKind::SpamRing => 20.0,
            ActorKind::Takeover => 36.0,
            ActorKind::CardTester => 70.0,
            ActorKind::AccountFarm => 110.0,
            ActorKind::ReviewRing => 15.0 * 24.0,
            _ => 18.0 * 24.0,
        };
        let wait = self.label_wait_ms(median_h);
        let verdict = self.verdict();
        self.later(event.ts_ms + wait, event.account, Task::Verdict(verdict));
    }

    /// A message reaches its reader, who may answer, report or block.
    fn deliver(&mut self, event: &SimEvent, depth: u8) {
        let Some(reader) = event.target() else { return };
        let (sender_kind, reader_kind) = (event.truth, self.world.accounts[reader as usize].kind);
        let known = self.world.accounts[reader as usize].contacts.contains(&event.account);
        let announced = self.world.accounts[event.account as usize].announcement != NONE;
        let answers = match (sender_kind, reader_kind) {
            (_, ActorKind::RomanceScam) => 0.85,
            (_, kind) if kind.is_bad() => 0.12,
            (ActorKind::RomanceScam, _) => 0.68,
            (ActorKind::Takeover, _) if known => 0.2,
            _ if event.harmful => 0.05,
            _ if announced => 0.03,
            _ if known => 0.45,
            _ => 0.14,
        };
        if depth < DEPTH_MAX && self.chance.yes(answers) {
            let minutes = self.chance.skewed(11.0, 2.0).min(3_000.0);
            let at = event.ts_ms + (minutes * MINUTE_MS as f64) as i64 + 1_500;
            self.later(at, reader, Task::Answer { to: event.account, depth: depth + 1 });
        }
        let (reports, blocks) = match sender_kind {
            ActorKind::RomanceScam if event.harmful => (0.003, 0.006),
            _ if event.harmful => (0.03, 0.04),
            _ if known => (0.0002, 0.0008),
            _ => (0.0016, 0.005),
        };
        for (p, block) in [(reports, false), (blocks, true)] {
            if !reader_kind.is_bad() && self.chance.yes(p) {
                let hours = self.chance.skewed(1.5, 2.0).min(200.0);
                let at = event.ts_ms + (hours * HOUR_MS as f64) as i64 + 4_000;
                self.later(at, reader, Task::Complain { about: event.account, block });
            }
        }
        if event.event_type == EventType::Reply {
            self.befriend(event.account, reader);
            self.befriend(reader, event.account);
        }
    }

    fn befriend(&mut self, who: u32, friend: u32) {
        let account = &mut self.world.accounts[who as usize];
        if !account.contacts.contains(&friend) {
            let slot = usize::from(account.met) % account.contacts.len();
            account.contacts[slot] = friend;
            account.met = account.met.saturating_add(1);
        }
    }

    /// A payment may be charged back: with stolen cards often, else hardly ever.
    fn dispute(&mut self, event: &SimEvent, reference: SimEventRef) {
        let stolen =
            event.harmful && matches!(event.truth, ActorKind::CardTester | ActorKind::Takeover);
        // Honest people who forgot what they bought: a twentieth of the planned wrong labels.
        let p = if stolen { 0.65 } else { self.plan.label_wrong_share * 0.05 };
        if (stolen || !event.truth.is_bad()) && self.chance.yes(p) {
            let wait = self.label_wait_ms(18.0 * 24.0);
            let verdict = Verdict {
                event: Some(reference),
                bad: true,
                source: LabelSource::Chargeback,
                confidence_percent: 90,
            };
            self.later(event.ts_ms + wait, event.account, Task::Verdict(verdict));
        }
    }

    /// Three reports bring a moderator soon.
    fn count_report(&mut self, event: &SimEvent) {
        let Some(about) = event.target() else { return };
        let account = &mut self.world.accounts[about as usize];
        account.reports = account.reports.saturating_add(1);
        if account.reports == 3 && account.harmed && !account.missed {
            let wait = self.label_wait_ms(5.0);
            let verdict = Verdict {
                event: None,
                bad: true,
                source: LabelSource::Report,
                confidence_percent: 70,
            };
            self.later(event.ts_ms + wait, about, Task::Verdict(verdict));
        }
    }

    /// A label becomes known.
    pub(super) fn announce(&mut self, who: u32, verdict: Verdict, now_ms: i64) {
        let account = &mut self.world.accounts[who as usize];
        let truly = account.harmed;
        // Known already; or cleared too late, as meanwhile it fell into bad hands.
        if (verdict.event.is_none() && verdict.bad && account.labelled) || (!verdict.bad && truly) {
            return;
        }
        let names_account = verdict.event.is_none() || !self.chance.yes(self.plan.event_only_share);
        self.labels.push(SimLabel {
            names: self.names,
            ts_ms: now_ms,
            account: who,
            names_account,
            event: verdict.event,
            bad: verdict.bad,
            source: verdict.source,
            confidence_percent: verdict.confidence_percent,
        });
        if !verdict.bad {
            account.labelled = false;
            account.suspended = false;
            if std::mem::take(&mut account.idle) {
                self.later(now_ms + HOUR_MS, who, Task::Wake);
            }
            return;
        }
        if verdict.event.is_none() {
            account.labelled = true;
        }
        // A chargeback alone closes few accounts.
        let closes = if verdict.event.is_none() { 1.0 } else { 0.3 };
        account.suspended |= self.chance.yes(self.plan.suspend_share * closes);
        if truly {
            self.sweep(who, now_ms);
        } else if self.chance.yes(self.plan.appeal_share) {
            let wait = self.label_wait_ms(90.0);
            let verdict = Verdict {
                event: verdict.event,
                bad: false,
                source: LabelSource::Appeal,
                confidence_percent: 100,
            };
            self.later(now_ms + wait, who, Task::Verdict(verdict));
        }
    }

    /// At times one find leads to the rest of the ring that is already at work.
    fn sweep(&mut self, who: u32, now_ms: i64) {
        let number = self.world.accounts[who as usize].ring as usize;
        let Some(ring) = self.rings.get_mut(number) else { return };
        if ring.swept || ring.kind == ActorKind::Takeover {
            return;
        }
        // Careful rings leave fewer traces; one chance per found account.
        if !self.chance.yes(0.12 * (1.0 - ring.evasion)) {
            return;
        }
        ring.swept = true;
        for member in ring.members.clone() {
            let account = &self.world.accounts[member as usize];
            if account.harmed && !account.labelled && !account.missed {
                let wait = self.label_wait_ms(14.0).min(6 * DAY_MS);
                let verdict = Verdict {
                    event: None,
                    bad: true,
                    source: LabelSource::Moderator,
                    confidence_percent: 100,
                };
                self.later(now_ms + wait, member, Task::Verdict(verdict));
            }
        }
    }
}
