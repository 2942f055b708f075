//! What honest people do, and bad ones when they pretend.

use super::chance::mix2;
use super::event::SimEvent;
use super::kinds::{ActorKind, EventType};
use super::names::NONE;
use super::places::{COUNTRIES, Map};
use super::queue::{Crowd, Task};
use super::{DAY_MS, HOUR_MS, MINUTE_MS, Simulator};

/// The order of the weights below.
const ACTS: [EventType; 12] = [
    EventType::View,
    EventType::Like,
    EventType::Message,
    EventType::Follow,
    EventType::ProfileEdit,
    EventType::Listing,
    EventType::Payment,
    EventType::Review,
    EventType::Report,
    EventType::Block,
    EventType::PayoutEdit,
    EventType::Withdraw,
];
const ORDINARY: [f64; 12] = [46.0, 15.0, 14.0, 5.0, 2.0, 1.2, 4.0, 1.5, 0.1, 0.25, 0.2, 0.3];
const CREATOR: [f64; 12] = [25.0, 15.0, 30.0, 6.0, 4.0, 4.0, 1.5, 0.5, 0.2, 0.6, 0.2, 1.2];
const SELLER: [f64; 12] = [22.0, 3.0, 18.0, 1.0, 3.0, 22.0, 3.0, 1.0, 0.1, 0.2, 0.3, 3.0];
const EAGER: [f64; 12] = [25.0, 22.0, 24.0, 16.0, 5.0, 1.0, 2.0, 0.5, 0.05, 0.2, 0.1, 0.0];
const PRETENDER: [f64; 12] = [44.0, 20.0, 9.0, 9.0, 4.0, 0.5, 0.6, 0.3, 0.1, 0.1, 0.1, 0.0];

/// Content numbers above all that are minted.
pub(super) const OWN_OPENINGS: u32 = 0xC000_0000;
const BORROWED_LINES: u32 = 0xE000_0000;
const VIRAL: u32 = 0xF000_0000;

impl Simulator {
    /// Begins an honest session: where, on what, and how long.
    pub(super) fn begin_honest(&mut self, who: u32, now_ms: i64) {
        self.change_device(who, now_ms);
        self.go_somewhere(who, now_ms);
        let chance = &mut self.chance;
        let account = &mut self.world.accounts[who as usize];
        let new = now_ms - account.signup_ms < 2 * DAY_MS;
        let clumsy = account.kind == ActorKind::Clumsy;
        let median = if account.kind == ActorKind::FastStarter && new { 26.0 } else { 3.2 };
        let median = median * self.plan.busyness().min(1.0);
        account.left = 1 + chance.skewed(median, 1.2).min(120.0) as u16;
        account.login = chance.yes(0.35) || account.events == 0;
        account.announcement = NONE;
        if account.login && chance.yes(if clumsy { 0.45 } else { 0.05 }) {
            account.fails = chance.whole(1, if clumsy { 4 } else { 2 }) as u8;
        }
        match account.kind {
            // A show: followers are told, and come.
            ActorKind::Creator if chance.yes(0.12) => {
                account.left = chance.whole(15, 45) as u16;
                account.announcement = self.world.mint.make();
                let crowd = self.crowd_size(60.0);
                self.gather(who, now_ms, crowd, 90 * MINUTE_MS);
            }
            // A sale: buyers come and rate.
            ActorKind::PowerSeller if chance.yes(0.04) => {
                let crowd = self.crowd_size(20.0);
                self.gather(who, now_ms, crowd, 2 * DAY_MS);
            }
            _ => {}
        }
    }

    /// Crowds are never larger than a fiftieth of the platform.
    fn crowd_size(&mut self, median: f64) -> u32 {
        let cap = (self.plan.accounts / 50).max(1);
        (self.chance.skewed(median, 0.8) as u32).clamp(1, cap)
    }

    fn gather(&mut self, around: u32, now_ms: i64, crowd: u32, within_ms: i64) {
        let sale = self.world.accounts[around as usize].kind == ActorKind::PowerSeller;
        let weights = if sale { [4.0, 1.0, 1.0, 2.5, 3.0] } else { [5.0, 5.0, 2.0, 0.1, 0.3] };
        let hows = [Crowd::View, Crowd::Like, Crowd::Follow, Crowd::Review, Crowd::Pay];
        let country = usize::from(self.world.accounts[around as usize].country);
        for _ in 0..crowd {
            let Some(who) = self.chance.pick(&self.world.by_country[country]) else { return };
            let how = hows[self.chance.weighted(&weights)];
            let at = now_ms + (self.chance.unit() * within_ms as f64) as i64;
            self.later(at, who, Task::Join { around, how });
        }
    }

    /// New phones, at times second-hand ones, with the password trouble that follows.
    fn change_device(&mut self, who: u32, now_ms: i64) {
        let start_ms = self.plan.start_ms;
        let span_ms = self.plan.end_ms() - start_ms;
        let account = &self.world.accounts[who as usize];
        let used = account.kind == ActorKind::SecondHand && !account.switched && {
            let due = mix2(u64::from(who), 0x0055_5345_4400) % 700;
            now_ms - start_ms > span_ms / 1000 * (50 + due as i64)
        };
        if used {
            let device = self.used_device(who, now_ms);
            let account = &mut self.world.accounts[who as usize];
            account.switched = true;
            account.device = device;
        } else if self.chance.yes(0.004) {
            let device = self.world.mint.make();
            self.world.accounts[who as usize].device = device;
        } else {
            return;
        }
        let account = &mut self.world.accounts[who as usize];
        account.login = true;
        if self.chance.yes(0.35) {
            account.fails = self.chance.whole(1, 3) as u8;
        }
    }

    /// A device that had another owner: a finished ring, or somebody who buys a new one.
    fn used_device(&mut self, who: u32, now_ms: i64) -> u32 {
        if self.chance.yes(0.4) {
            for _ in 0..8 {
                let ring = self.chance.below(self.rings.len() as u32) as usize;
                if let Some(ring) = self.rings.get(ring).filter(|ring| ring.end_ms < now_ms)
                    && let Some(device) = self.chance.pick(&ring.devices)
                {
                    return device;
                }
            }
        }
        let fresh = self.world.mint.make();
        let donor = self.chance.below(self.world.accounts.len() as u32);
        let account = &mut self.world.accounts[donor as usize];
        if donor == who || account.kind.is_bad() {
            return fresh;
        }
        std::mem::replace(&mut account.device, fresh)
    }

    /// Chooses device and network for the session.
    pub(super) fn go_somewhere(&mut self, who: u32, now_ms: i64) {
        let account = &self.world.accounts[who as usize];
        let chance = &mut self.chance;
        let map: &Map = &self.world.map;
        let tablet = match account.kind {
            ActorKind::SharedTablet => 0.55,
            ActorKind::Family => 0.4,
            _ => 0.2,
        };
        let mut device = account.device;
        if account.shared_device != NONE && chance.yes(tablet) {
            device = account.shared_device;
        }
        let mut country = account.country;
        let tours =
            account.kind == ActorKind::Traveller || mix2(u64::from(who), 7).is_multiple_of(14);
        let (period, length) = if account.kind == ActorKind::Traveller { (15, 5) } else { (75, 8) };
        let day = now_ms / DAY_MS + i64::from(who % 97);
        let abroad = tours && day % period < length;
        if abroad {
            let trip = mix2(u64::from(who), (day / period) as u64);
            country = (trip % COUNTRIES.len() as u64) as u8;
            if chance.yes(0.12) {
                device = self.world.mint.make();
            }
        }
        // Home, carrier, campus, café, VPN.
        let weights = match account.kind {
            _ if abroad => [0.0, 0.5, 0.0, 0.45, 0.05],
            ActorKind::Student => [0.15, 0.25, 0.57, 0.02, 0.01],
            ActorKind::MobileOnly => [0.03, 0.94, 0.0, 0.03, 0.0],
            _ => [0.6, 0.28, 0.0, 0.1, 0.02],
        };
        let (ip, network) = match chance.weighted(&weights) {
            0 => map.home(country, account.household, now_ms),
            1 => map.carrier(country, account.carrier, chance),
            2 => map.campus(country, account.campus, chance),
            3 => map.public(country, chance),
            _ => map.hosting(country, chance),
        };
        let place = super::places::Place { device, ip, country, network };
        self.world.accounts[who as usize].place = place;
    }

    /// One honest act of a session. None when nobody suitable was found.
    pub(super) fn act_honest(&mut self, who: u32, now_ms: i64) -> Option<SimEvent> {
        let account = &self.world.accounts[who as usize];
        let weights = match account.kind {
            kind if kind.is_bad() => &PRETENDER,
            ActorKind::Creator => &CREATOR,
            ActorKind::PowerSeller => &SELLER,
            ActorKind::FastStarter if now_ms - account.signup_ms < 3 * DAY_MS => &EAGER,
            _ => &ORDINARY,
        };
        let mut act = ACTS[self.chance.weighted(weights)];
        if account.announcement != NONE && self.chance.yes(0.85) {
            act = EventType::Message;
        }
        let mut event = self.event(who, now_ms, act);
        match act {
            EventType::View | EventType::Like | EventType::Follow => {
                event.target = self.somebody(who, now_ms)?;
            }
            EventType::Block => event.target = self.somebody(who, now_ms)?,
            EventType::Report => {
                event.target = self.somebody(who, now_ms)?;
                event.field = self.chance.pick(&["spam", "rude", "fake", "other"])?;
            }
            EventType::Message => self.fill_message(&mut event)?,
            EventType::ProfileEdit => self.fill_edit(&mut event),
            EventType::Listing => {
                event.amount_cents = self.amount(2_500.0, 1.6);
                event.content = self.photo(0.03);
            }
            EventType::Payment => return self.pay(who, now_ms),
            EventType::Review => {
                event.target = self.seller(who, now_ms)?;
                event.stars = [5, 4, 3, 2, 1][self.chance.weighted(&[55.0, 22.0, 8.0, 5.0, 10.0])];
                event.text_length = self.chance.skewed(45.0, 1.5).min(2_000.0) as u32;
                event.content = self.text_content(event.text_length);
            }
            EventType::PayoutEdit => {
                if self.chance.yes(0.5) {
                    let fresh = self.world.mint.make();
                    self.world.accounts[who as usize].payout = fresh;
                }
                event.payout = self.world.accounts[who as usize].payout;
            }
            EventType::Withdraw => {
                event.payout = self.world.accounts[who as usize].payout;
                event.amount_cents = self.amount(9_000.0, 1.3);
            }
            _ => {}
        }
        Some(event)
    }

    fn fill_message(&mut self, event: &mut SimEvent) -> Option<()> {
        let who = event.account;
        event.target = self.somebody(who, event.ts_ms)?;
        let account = &self.world.accounts[who as usize];
        let (kind, announcement) = (account.kind, account.announcement);
        let chance = &mut self.chance;
        event.text_length = 1 + chance.skewed(32.0, 1.3).min(2_000.0) as u32;
        let outward = matches!(kind, ActorKind::Creator | ActorKind::PowerSeller);
        event.has_url = chance.yes(if outward { 0.22 } else { 0.035 });
        event.has_contact = chance.yes(if outward { 0.06 } else { 0.03 });
        if announcement != NONE {
            event.content = announcement;
            event.text_length = 60 + mix2(1, u64::from(announcement)) as u32 % 200;
            event.has_url = mix2(2, u64::from(announcement)) % 10 < 6;
        } else if matches!(kind, ActorKind::FastStarter | ActorKind::JoeJob) && chance.yes(0.3) {
            event.content = OWN_OPENINGS | who;
        } else {
            event.content = self.text_content(event.text_length);
        }
        Some(())
    }

    /// The content entity of an honest text: short ones have none; some go round the platform.
    fn text_content(&mut self, length: u32) -> u32 {
        let own = if length > 70 { 0.4 } else { 0.0 };
        match self.chance.weighted(&[0.02, 0.02, own, 0.9]) {
            0 => {
                // What goes round changes every three days.
                let day = (self.now_ms - self.plan.start_ms) / DAY_MS;
                VIRAL | (((day / 3) as u32 * 4 + self.chance.below(4)) & 0x0FFF_FFFF)
            }
            1 => {
                // Lines that everybody copies, some far more than others.
                let u = self.chance.unit();
                BORROWED_LINES | (u * u * 40.0) as u32
            }
            2 => self.world.mint.make(),
            _ => NONE,
        }
    }

    /// A new photo, or with this probability one that others use too.
    fn photo(&mut self, stock: f64) -> u32 {
        if self.chance.yes(stock) {
            BORROWED_LINES | (1_000 + self.chance.below(30))
        } else {
            self.world.mint.make()
        }
    }

    pub(super) fn fill_edit(&mut self, event: &mut SimEvent) {
        match self.chance.weighted(&[0.4, 0.35, 0.15, 0.1]) {
            0 => {
                event.field = "photo";
                event.content = self.photo(0.04);
            }
            1 => event.field = "bio",
            2 => event.field = "password",
            _ => event.field = "email",
        }
    }

    /// A purchase; those who mistype see it declined first.
    fn pay(&mut self, who: u32, now_ms: i64) -> Option<SimEvent> {
        let target = self.seller(who, now_ms)?;
        let cents = self.amount(2_200.0, 1.3);
        let clumsy = self.world.accounts[who as usize].kind == ActorKind::Clumsy;
        let declines = if self.chance.yes(if clumsy { 0.4 } else { 0.035 }) {
            self.chance.whole(1, 3)
        } else {
            0
        };
        let account = &mut self.world.accounts[who as usize];
        account.due_target = target;
        account.due_cents = cents;
        account.declines = declines as u8;
        Some(self.settle_due(who, now_ms))
    }

    /// The next attempt at the payment that is due.
    pub(super) fn settle_due(&mut self, who: u32, now_ms: i64) -> SimEvent {
        let account = &mut self.world.accounts[who as usize];
        let declined = account.declines > 0;
        account.declines = account.declines.saturating_sub(1);
        let (target, cents, card) = (account.due_target, account.due_cents, account.card);
        if !declined {
            account.due_target = NONE;
        }
        let act = if declined { EventType::PaymentDeclined } else { EventType::Payment };
        let mut event = self.event(who, now_ms, act);
        (event.target, event.amount_cents, event.card) = (target, cents, card);
        // After a refusal some reach for another card.
        if declined && self.chance.yes(0.2) {
            self.world.accounts[who as usize].card = self.world.mint.make();
        }
        event
    }

    /// An amount of cents, half of them below `median`.
    pub(super) fn amount(&mut self, median: f64, spread: f64) -> u32 {
        self.chance.skewed(median, spread).clamp(50.0, 2_000_000.0) as u32
    }

    /// Does what the crowd does.
    pub(super) fn join(
        &mut self,
        who: u32,
        around: u32,
        how: Crowd,
        now_ms: i64,
    ) -> Option<SimEvent> {
        if who == around || !self.is_there(who, now_ms) {
            return None;
        }
        if self.world.accounts[who as usize].kind.is_bad() {
            return None;
        }
        self.freshen(who, now_ms);
        let act = match how {
            Crowd::View => EventType::View,
            Crowd::Like => EventType::Like,
            Crowd::Follow => EventType::Follow,
            Crowd::Review => EventType::Review,
            Crowd::Pay => EventType::Payment,
        };
        let mut event = self.event(who, now_ms, act);
        event.target = around;
        match how {
            Crowd::Review => {
                event.stars = if self.chance.yes(0.8) { 5 } else { 4 };
                event.text_length = self.chance.skewed(25.0, 1.2).min(800.0) as u32;
            }
            Crowd::Pay => {
                event.card = self.world.accounts[who as usize].card;
                let scam = self.world.accounts[around as usize].kind == ActorKind::RomanceScam;
                event.amount_cents = self.amount(if scam { 16_000.0 } else { 2_200.0 }, 1.2);
            }
            _ => {}
        }
        Some(event)
    }

    /// Moves an account that was away for hours to where it is now.
    pub(super) fn freshen(&mut self, who: u32, now_ms: i64) {
        // A cheap stand-in for "last session": people are elsewhere every few hours.
        let account = &self.world.accounts[who as usize];
        if account.left > 0 && account.place.ip != 0 {
            return;
        }
        if account.kind.is_bad() {
            self.hide(who, now_ms);
        } else if account.place.ip == 0
            || mix2(u64::from(who), (now_ms / (3 * HOUR_MS)) as u64) & 1 == 0
        {
            self.go_somewhere(who, now_ms);
        }
    }
}
