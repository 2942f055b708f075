//! What bad actors do.

use super::chance::mix2;
use super::event::SimEvent;
use super::honest::OWN_OPENINGS;
use super::kinds::{ActorKind, EventType};
use super::names::NONE;
use super::places::Place;
use super::queue::{Crowd, Task};
use super::rings::{Purpose, Ring};
use super::{DAY_MS, HOUR_MS, MINUTE_MS, Simulator};

impl Simulator {
    /// Begins a session of a ring's account.
    pub(super) fn begin_bad(&mut self, who: u32, now_ms: i64) {
        self.hide(who, now_ms);
        let chance = &mut self.chance;
        let account = &mut self.world.accounts[who as usize];
        let Some(ring) = self.rings.get(account.ring as usize) else { return };
        let e = ring.evasion;
        let attacks = now_ms >= account.attack_ms && account.quota > 0;
        let median = match ring.kind {
            _ if !attacks => 2.0 + 2.0 * e,
            ActorKind::SpamRing => 18.0 * (1.0 - e) * (1.0 - e) + 3.0,
            ActorKind::AccountFarm => 12.0 * (1.0 - e) + 3.0,
            ActorKind::CardTester => 10.0 * (1.0 - e) + 2.0,
            _ => 4.0,
        };
        account.left = 1 + chance.skewed(median, 0.9).min(150.0) as u16;
        account.login = chance.yes(0.5);
    }

    /// How long until its next session, and whether there is one.
    pub(super) fn bad_gap_ms(&mut self, who: u32, now_ms: i64) -> Option<i64> {
        let account = &self.world.accounts[who as usize];
        let ring = self.rings.get(account.ring as usize)?;
        let e = ring.evasion;
        if account.quota == 0 && self.chance.yes(0.5 + 0.4 * (1.0 - e)) {
            return None;
        }
        let waiting = now_ms < account.attack_ms;
        let hours = match ring.kind {
            ActorKind::AccountFarm if waiting => 120.0,
            _ if waiting => 18.0,
            ActorKind::SpamRing => 2.0 + 22.0 * e,
            ActorKind::AccountFarm => 2.0 + 16.0 * e,
            ActorKind::CardTester => 0.7 + 14.0 * e,
            ActorKind::RomanceScam => 11.0,
            _ => 22.0,
        };
        let pace = (f64::from(self.plan.days) / 30.0).min(1.0);
        let gap = (self.chance.waiting(hours * pace) * HOUR_MS as f64) as i64 + MINUTE_MS;
        // Wake in time for the attack.
        let left = account.attack_ms - now_ms;
        Some(if waiting && gap > left { left.max(MINUTE_MS) } else { gap })
    }

    /// Milliseconds between two steps of a session.
    pub(super) fn bad_step_ms(&mut self, who: u32, now_ms: i64) -> i64 {
        let account = &self.world.accounts[who as usize];
        let e = self.rings.get(account.ring as usize).map_or(0.5, |ring| ring.evasion);
        let seconds = match account.kind {
            _ if now_ms < account.attack_ms => 25.0,
            ActorKind::SpamRing | ActorKind::AccountFarm => 4.0 + 55.0 * e,
            ActorKind::CardTester => 8.0 + 60.0 * e,
            _ => 35.0,
        };
        (self.chance.skewed(seconds, 1.1) * 1000.0) as i64 + 150
    }

    /// Chooses device and address of a ring's account: shared and rented when careless, rotated and
    /// borrowed from households and carriers when not.
    pub(super) fn hide(&mut self, who: u32, now_ms: i64) {
        let account = &self.world.accounts[who as usize];
        let Some(ring) = self.rings.get(account.ring as usize) else { return };
        let chance = &mut self.chance;
        let map = &self.world.map;
        let e = ring.evasion;
        let mut device = account.device;
        if chance.yes(0.12) {
            device = chance.pick(&ring.devices).unwrap_or(device);
        } else if chance.yes(0.06 * e) {
            // Emulators can be wiped.
            device = self.world.mint.make();
        }
        // Own base, servers, borrowed homes, carrier.
        let weights = [0.45 - 0.33 * e, 0.4 * (1.0 - e) + 0.04, 0.08 + 0.42 * e, 0.1 + 0.2 * e];
        let (ip, network) = match chance.weighted(&weights) {
            0 => map.home(ring.country, ring.household, now_ms),
            1 => map.hosting(ring.country, chance),
            2 => map.any_home(ring.country, chance),
            _ => map.carrier(ring.country, account.carrier, chance),
        };
        let place = Place { device, ip, country: ring.country, network };
        self.world.accounts[who as usize].place = place;
    }

    /// One act of a ring's account: harm when its time has come, pretence else.
    pub(super) fn act_bad(&mut self, who: u32, now_ms: i64) -> Option<SimEvent> {
        let account = &self.world.accounts[who as usize];
        let ring = account.ring as usize;
        let pretend = 0.1 + 0.5 * self.rings.get(ring)?.evasion;
        if now_ms < account.attack_ms || account.quota == 0 || self.chance.yes(pretend) {
            return self.act_honest(who, now_ms);
        }
        self.world.accounts[who as usize].quota -= 1;
        let mut event = match account_purpose(self.rings.get(ring)?) {
            Harm::Spam => self.spam(who, now_ms)?,
            Harm::Boost => self.boost(who, now_ms)?,
            Harm::Brigade => self.brigade(who, now_ms)?,
            Harm::Cards => self.test_card(who, now_ms)?,
            Harm::Romance => self.court(who, now_ms)?,
            Harm::Reviews => self.praise(who, now_ms)?,
        };
        event.harmful = event.event_type != EventType::View;
        Some(event)
    }

    fn spam(&mut self, who: u32, now_ms: i64) -> Option<SimEvent> {
        let act = [EventType::Message, EventType::Follow, EventType::Like]
            [self.chance.weighted(&[0.84, 0.09, 0.07])];
        let mut event = self.event(who, now_ms, act);
        event.target = self.stranger_to(who, now_ms)?;
        if act == EventType::Message {
            let ring = self.rings.get(self.world.accounts[who as usize].ring as usize)?;
            let e = ring.evasion;
            let chance = &mut self.chance;
            event.content = if chance.yes(0.6 * e) {
                // Rewritten each time.
                if chance.yes(0.5) { self.world.mint.make() } else { NONE }
            } else {
                chance.pick(&ring.contents).unwrap_or(NONE)
            };
            event.text_length = 40 + mix2(3, u64::from(event.content)) as u32 % 160;
            event.has_url = chance.yes(0.6 - 0.4 * e);
            event.has_contact = chance.yes(0.2);
        }
        self.hide_behind(who, &mut event);
        Some(event)
    }

    /// At times a ring that hides behind honest accounts sends the key of one's device, and quotes its text.
    fn hide_behind(&mut self, who: u32, event: &mut SimEvent) {
        let ring = self.rings.get(self.world.accounts[who as usize].ring as usize);
        let Some(frames) = ring.map(|ring| &ring.frames).filter(|frames| !frames.is_empty()) else {
            return;
        };
        if !self.chance.yes(0.35) {
            return;
        }
        if let Some(framed) = self.chance.pick(frames) {
            event.place.device = self.world.accounts[framed as usize].device;
            if event.event_type == EventType::Message {
                event.content = OWN_OPENINGS | framed;
            }
        }
    }

    fn boost(&mut self, who: u32, now_ms: i64) -> Option<SimEvent> {
        let act = [EventType::Like, EventType::Follow, EventType::View]
            [self.chance.weighted(&[0.5, 0.35, 0.15])];
        let mut event = self.event(who, now_ms, act);
        let ring = self.rings.get(self.world.accounts[who as usize].ring as usize)?;
        let known = self.chance.pick(&ring.targets);
        event.target = match known {
            Some(target) if target != who && self.is_there(target, now_ms) => target,
            _ => self.somebody(who, now_ms)?,
        };
        Some(event)
    }

    fn brigade(&mut self, who: u32, now_ms: i64) -> Option<SimEvent> {
        // Each account reports once.
        if std::mem::replace(&mut self.world.accounts[who as usize].brigaded, true) {
            return self.boost(who, now_ms);
        }
        let ring = self.rings.get(self.world.accounts[who as usize].ring as usize)?;
        let target = ring.targets.first().copied().filter(|&target| target != who)?;
        let mut event = self.event(who, now_ms, EventType::Report);
        event.target = target;
        event.field = self.chance.pick(&["spam", "rude", "fake"])?;
        Some(event)
    }

    fn test_card(&mut self, who: u32, now_ms: i64) -> Option<SimEvent> {
        let target = self.seller(who, now_ms)?;
        let account = &self.world.accounts[who as usize];
        let ring = self.rings.get(account.ring as usize)?;
        let harvest = account.quota < 6 && self.chance.yes(0.6);
        let card = self.chance.pick(&ring.cards)?;
        // Whether a stolen card still works is a property of the card.
        let works = mix2(0xCA4D, u64::from(card)) % 100 < 25;
        let act = if works { EventType::Payment } else { EventType::PaymentDeclined };
        let mut event = self.event(who, now_ms, act);
        (event.target, event.card) = (target, card);
        event.amount_cents =
            if harvest { self.amount(18_000.0, 0.8) } else { self.amount(250.0, 1.0) };
        Some(event)
    }

    fn court(&mut self, who: u32, now_ms: i64) -> Option<SimEvent> {
        let account = &self.world.accounts[who as usize];
        let pace = (f64::from(self.plan.days) / 30.0).min(1.0);
        let age_days = (now_ms - account.signup_ms.max(self.plan.start_ms)) as f64 / DAY_MS as f64;
        let ripe = age_days > 6.0 * pace;
        let met = account.met;
        let ring = self.rings.get(account.ring as usize)?;
        let mut event = self.event(who, now_ms, EventType::Message);
        if ripe && self.chance.yes(0.06) {
            let edit = self.chance.yes(0.35);
            event.event_type = if edit { EventType::PayoutEdit } else { EventType::Withdraw };
            event.payout = self.world.accounts[who as usize].payout;
            if !edit {
                event.amount_cents = self.amount(22_000.0, 1.0);
            }
            return Some(event);
        }
        if self.chance.yes(0.05) {
            event.event_type = EventType::ProfileEdit;
            event.field = "photo";
            event.content = self.chance.pick(&ring.contents).unwrap_or(NONE);
            return Some(event);
        }
        let wanted = 2 + (mix2(5, u64::from(who)) % 5) as u8;
        let victim = if met < wanted || self.chance.yes(0.04) {
            self.stranger_to(who, now_ms)
        } else {
            self.friend(who, now_ms).or_else(|| self.stranger_to(who, now_ms))
        }?;
        event.target = victim;
        event.text_length = 20 + self.chance.skewed(70.0, 1.0).min(1_500.0) as u32;
        event.has_contact = self.chance.yes(if ripe { 0.07 } else { 0.025 });
        event.has_url = self.chance.yes(0.02);
        if ripe && self.chance.yes(0.07) {
            let wait = (self.chance.waiting(20.0) * HOUR_MS as f64) as i64;
            self.later(now_ms + wait, victim, Task::Join { around: who, how: Crowd::Pay });
            if self.chance.yes(0.25) {
                let wait = (self.chance.waiting(12.0) * DAY_MS as f64) as i64;
                self.later(now_ms + wait, victim, Task::Complain { about: who, block: false });
            }
        }
        Some(event)
    }

    fn praise(&mut self, who: u32, now_ms: i64) -> Option<SimEvent> {
        let account = &self.world.accounts[who as usize];
        let ring = self.rings.get(account.ring as usize)?;
        let e = ring.evasion;
        let act = [EventType::Review, EventType::Payment, EventType::View]
            [self.chance.weighted(&[0.6, 0.1 + 0.2 * e, 0.2])];
        let target = self.chance.pick(&ring.targets).filter(|&target| target != who);
        let card = account.card;
        let mut event = self.event(who, now_ms, act);
        event.target = target.filter(|&target| self.is_there(target, now_ms))?;
        match act {
            EventType::Review => {
                let ring = self.rings.get(self.world.accounts[who as usize].ring as usize)?;
                event.stars = if self.chance.yes(0.92) { 5 } else { 4 };
                event.text_length = 10 + self.chance.skewed(35.0, 0.9).min(600.0) as u32;
                event.content = if self.chance.yes(0.45 * (1.0 - e)) {
                    self.chance.pick(&ring.contents).unwrap_or(NONE)
                } else {
                    NONE
                };
            }
            EventType::Payment => {
                event.card = card;
                event.amount_cents = self.amount(700.0, 0.8);
            }
            _ => {}
        }
        Some(event)
    }

    /// The thief's next step in a stolen account: try, enter, lock the owner out, take.
    pub(super) fn intrude(&mut self, who: u32, now_ms: i64) -> Option<SimEvent> {
        let account = &self.world.accounts[who as usize];
        let stopped = account.suspended || !account.signed_up || account.quota == 0;
        let ring = self.rings.get(account.ring as usize)?;
        if stopped || (account.leaves_ms <= now_ms && !account.entered) {
            return None;
        }
        let e = ring.evasion;
        let place = thief_place(self, who, now_ms)?;
        let account = &mut self.world.accounts[who as usize];
        let mode = mix2(0x7EEF, u64::from(who)) % 20;
        let first = !account.entered;
        let chance = &mut self.chance;
        // Some know the password; others guess, and are heard.
        let guesses = mix2(0x6E55, u64::from(who)).is_multiple_of(3);
        let fails = if guesses { 0.8 } else { 0.35 * (1.0 - e) };
        let act = if first && chance.yes(fails) {
            EventType::LoginFailed
        } else if first {
            account.entered = true;
            EventType::Login
        } else {
            account.quota -= 1;
            let weights = match mode {
                // Drain the balance, shop with the stored card, or spam the friends.
                0..=9 => [0.12, 0.3, 0.2, 0.33, 0.0, 0.05],
                10..=14 => [0.1, 0.35, 0.0, 0.0, 0.55, 0.0],
                _ => [0.1, 0.15, 0.0, 0.0, 0.0, 0.75],
            };
            [
                EventType::ProfileEdit,
                EventType::View,
                EventType::PayoutEdit,
                EventType::Withdraw,
                EventType::Payment,
                EventType::Message,
            ][chance.weighted(&weights)]
        };
        let wait = chance.skewed(25.0 + 200.0 * e, 1.8).min(80_000.0) * 1000.0;
        let verified = account.verified;
        let card = account.card;
        self.later(now_ms + wait as i64 + 500, who, Task::Intrude);
        let mut event = self.event(who, now_ms, act);
        event.place = place;
        event.verified = verified;
        event.truth = ActorKind::Takeover;
        event.harmful = true;
        let ring = self.rings.get(self.world.accounts[who as usize].ring as usize)?;
        let (payout, copy) = (ring.payouts.first().copied(), self.chance.pick(&ring.contents));
        match act {
            EventType::LoginFailed => {
                // Not in yet: what the thief tried is no deed of the account.
                event.truth = self.world.accounts[who as usize].kind;
                event.harmful = false;
            }
            EventType::ProfileEdit => {
                event.field = if self.chance.yes(0.7) { "password" } else { "email" };
            }
            EventType::View => event.target = self.somebody(who, now_ms)?,
            EventType::PayoutEdit => event.payout = payout?,
            EventType::Withdraw => {
                event.payout = payout?;
                event.amount_cents = self.amount(25_000.0, 1.0);
            }
            EventType::Payment => {
                event.target = self.seller(who, now_ms)?;
                event.card = card;
                event.amount_cents = self.amount(12_000.0, 1.0);
            }
            EventType::Message => {
                event.target =
                    self.friend(who, now_ms).or_else(|| self.stranger_to(who, now_ms))?;
                event.content = copy.unwrap_or(NONE);
                event.text_length = 40 + mix2(3, u64::from(event.content)) as u32 % 160;
                event.has_url = self.chance.yes(0.6);
            }
            _ => {}
        }
        Some(event)
    }

    /// A thief's wrong password at some account: the account's owner has done nothing.
    pub(super) fn probe(&mut self, ring: u32, left: u16, now_ms: i64) -> Option<SimEvent> {
        let evasion = self.rings.get(ring as usize)?.evasion;
        if left > 0 {
            let wait = self.chance.skewed(5.0 + 900.0 * evasion, 1.0) * 1000.0;
            self.later(now_ms + wait as i64 + 200, 0, Task::Probe { ring, left: left - 1 });
        }
        let who = self.chance.below(self.world.accounts.len() as u32);
        if !self.is_there(who, now_ms) || self.world.accounts[who as usize].kind.is_bad() {
            return None;
        }
        let saved = self.world.accounts[who as usize].ring;
        self.world.accounts[who as usize].ring = ring;
        let place = thief_place(self, who, now_ms);
        self.world.accounts[who as usize].ring = saved;
        let mut event = self.event(who, now_ms, EventType::LoginFailed);
        event.place = place?;
        Some(event)
    }
}

/// The kinds of harm a ring does.
enum Harm {
    Spam,
    Boost,
    Brigade,
    Cards,
    Romance,
    Reviews,
}

fn account_purpose(ring: &Ring) -> Harm {
    match (ring.kind, ring.purpose) {
        (ActorKind::AccountFarm, Purpose::Boost) => Harm::Boost,
        (ActorKind::AccountFarm, Purpose::Brigade) => Harm::Brigade,
        (ActorKind::CardTester, _) => Harm::Cards,
        (ActorKind::RomanceScam, _) => Harm::Romance,
        (ActorKind::ReviewRing, _) => Harm::Reviews,
        _ => Harm::Spam,
    }
}

/// Where a thief works from: careful ones borrow an address in the victim's own country, and a fresh
/// device for each victim.
fn thief_place(sim: &mut Simulator, who: u32, now_ms: i64) -> Option<Place> {
    let account = &sim.world.accounts[who as usize];
    let ring = sim.rings.get(account.ring as usize)?;
    // The same answer for the whole visit of one victim.
    let dice = mix2(u64::from(account.ring), u64::from(who));
    let careful = (dice % 1000) as f64 / 1000.0 < ring.evasion;
    let map = &sim.world.map;
    let country = if careful { account.country } else { ring.country };
    // A device that was never seen before: often for the careful, now and then for the others.
    let fresh = if careful { dice >> 20 & 1 == 0 } else { (dice >> 40).is_multiple_of(3) };
    let device = if fresh {
        0x8000_0000 | (dice >> 33) as u32
    } else {
        *ring.devices.get((dice >> 24) as usize % ring.devices.len().max(1))?
    };
    let (ip, network) = if careful {
        map.home(country, (dice >> 32) as u32, now_ms)
    } else if dice >> 21 & 1 == 0 {
        map.home(country, ring.household, now_ms)
    } else {
        map.hosting(country, &mut sim.chance)
    };
    Some(Place { device, ip, country, network })
}
