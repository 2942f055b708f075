//! Who lives on the platform: honest households, crowds that look guilty, and the victims of thieves.

use super::chance::{Chance, mix2};
use super::kinds::ActorKind;
use super::names::NONE;
use super::places::{COUNTRIES, Map, Network, Place};
use super::plan::Plan;
use super::{DAY_MS, HOUR_MS};

/// All that is remembered of one account.
pub(super) struct Account {
    pub(super) kind: ActorKind,
    /// Ring it belongs to, or whose victim it is to become.
    pub(super) ring: u32,
    pub(super) country: u8,
    pub(super) carrier: u8,
    pub(super) campus: u16,
    pub(super) household: u32,
    /// Sessions a day, before the pace of the platform.
    pub(super) rate: f32,
    pub(super) signup_ms: i64,
    pub(super) leaves_ms: i64,
    /// When it began to act badly; `i64::MAX` until then.
    pub(super) started_ms: i64,
    /// From when its ring wants it to attack.
    pub(super) attack_ms: i64,
    /// Attacks left to do.
    pub(super) quota: u32,
    pub(super) device: u32,
    /// A second device, shared with others.
    pub(super) shared_device: u32,
    pub(super) card: u32,
    pub(super) payout: u32,
    pub(super) phone: u32,
    pub(super) contacts: [u32; 6],
    pub(super) met: u8,
    /// Where the current or last session is.
    pub(super) place: Place,
    /// What is left of the current session.
    pub(super) left: u16,
    pub(super) fails: u8,
    pub(super) login: bool,
    pub(super) declines: u8,
    pub(super) due_target: u32,
    pub(super) due_cents: u32,
    /// Text of an announcement being sent, if this session is one.
    pub(super) announcement: u32,
    pub(super) reports: u8,
    pub(super) events: u32,
    /// Honest: labelled bad by mistake at this event of its own; 0: never.
    pub(super) accused_at: u16,
    pub(super) verified: bool,
    pub(super) signed_up: bool,
    pub(super) harmed: bool,
    pub(super) missed: bool,
    pub(super) labelled: bool,
    pub(super) suspended: bool,
    /// No task of its own waits.
    pub(super) idle: bool,
    /// The second-hand phone is in use.
    pub(super) switched: bool,
    /// A thief got in.
    pub(super) entered: bool,
    /// Its report for the brigade is sent.
    pub(super) brigaded: bool,
}

/// Numbers of new devices, cards and the like.
#[derive(Default)]
pub(super) struct Mint {
    next: u32,
}

impl Mint {
    pub(super) fn make(&mut self) -> u32 {
        self.next += 1;
        self.next
    }
}

/// Everything that exists before the first event.
pub(super) struct World {
    pub(super) accounts: Vec<Account>,
    pub(super) map: Map,
    pub(super) mint: Mint,
    /// Creators and sellers, most famous first.
    pub(super) famous: Vec<u32>,
    /// Those who sell, most famous first.
    pub(super) sellers: Vec<u32>,
    pub(super) by_country: Vec<Vec<u32>>,
}

/// Shares of the honest crowds; families come out of households, the rest is ordinary.
const CROWDS: [(ActorKind, f64); 11] = [
    (ActorKind::Student, 0.07),
    (ActorKind::MobileOnly, 0.13),
    (ActorKind::SharedTablet, 0.025),
    (ActorKind::Creator, 0.012),
    (ActorKind::PowerSeller, 0.015),
    (ActorKind::NightWorker, 0.03),
    (ActorKind::Traveller, 0.035),
    (ActorKind::SecondHand, 0.025),
    (ActorKind::FastStarter, 0.045),
    (ActorKind::Clumsy, 0.025),
    (ActorKind::JoeJob, 0.01),
];

/// Share of households of two and more whose members join within days of one another.
const JOINS_TOGETHER: f64 = 0.6;

/// Which wrong labels are likelier: those who look guilty.
fn suspicion(kind: ActorKind) -> f64 {
    match kind {
        ActorKind::Creator | ActorKind::FastStarter | ActorKind::SecondHand => 4.0,
        ActorKind::PowerSeller | ActorKind::Traveller | ActorKind::SharedTablet => 2.5,
        ActorKind::Clumsy | ActorKind::NightWorker => 1.5,
        _ => 0.8,
    }
}

/// Builds the honest people: `honest` of them.
pub(super) fn populate(plan: &Plan, honest: u32, chance: &mut Chance) -> World {
    let mut world = World {
        accounts: Vec::with_capacity(plan.accounts as usize),
        map: Map { homes: [0; COUNTRIES.len()], people: [0; COUNTRIES.len()] },
        mint: Mint::default(),
        famous: Vec::new(),
        sellers: Vec::new(),
        by_country: vec![Vec::new(); COUNTRIES.len()],
    };
    let tablets: Vec<u32> = (0..1 + honest / 2_000).map(|_| world.mint.make()).collect();
    let campuses = 1 + honest / 6_000;
    let mut household = 0;
    while (world.accounts.len() as u32) < honest {
        let country = Map::country(chance);
        world.map.homes[usize::from(country)] += 1;
        household += 1;
        let size = 1 + chance.weighted(&[0.58, 0.22, 0.09, 0.07, 0.04]) as u32;
        let family = size >= 3;
        let (tablet, card, payout, phone) =
            (world.mint.make(), world.mint.make(), world.mint.make(), world.mint.make());
        // One brings the others: new accounts on one device and card within days, and nothing wrong with it.
        let together = size > 1 && chance.yes(JOINS_TOGETHER);
        let mut first_ms = None;
        for _ in 0..size.min(honest - world.accounts.len() as u32) {
            let mut account = stranger(plan, country, household, &mut world.mint, chance);
            if together {
                let first_ms = *first_ms.get_or_insert(account.signup_ms);
                follow(plan, &mut account, first_ms, chance);
            }
            let mut crowd = chance.unit();
            for (kind, share) in CROWDS {
                if (0.0..share).contains(&crowd) && account.kind == ActorKind::Ordinary {
                    account.kind = kind;
                }
                crowd -= share;
            }
            if family && account.kind == ActorKind::Ordinary {
                account.kind = ActorKind::Family;
            }
            if size > 1 {
                let shares = if family { 0.7 } else { 0.35 };
                if chance.yes(if together { shares + 0.15 } else { shares }) {
                    account.shared_device = tablet;
                }
                if chance.yes(0.5) {
                    account.card = card;
                }
                if chance.yes(0.25) {
                    account.payout = payout;
                }
                if chance.yes(0.12) {
                    account.phone = phone;
                }
            }
            settle_crowd(plan, &mut account, &tablets, campuses, chance);
            world.accounts.push(account);
        }
    }
    accuse(plan, &mut world.accounts, chance);
    world
}

/// A person without peculiarities, with own device, card, phone and bank account.
pub(super) fn stranger(
    plan: &Plan,
    country: u8,
    household: u32,
    mint: &mut Mint,
    chance: &mut Chance,
) -> Account {
    let span_ms = plan.end_ms() - plan.start_ms;
    let signup_ms = if chance.yes(plan.signup_share) {
        plan.start_ms + (chance.unit() * 0.97 * span_ms as f64) as i64
    } else {
        plan.start_ms - (chance.unit() * 400.0 * DAY_MS as f64) as i64 - HOUR_MS
    };
    // A third try the platform for a day or so and leave; some stay for months, some for ever.
    let stay_days = match chance.weighted(&[0.22, 0.43, 0.35]) {
        0 => chance.waiting(0.7),
        1 => chance.waiting(60.0),
        _ => f64::INFINITY,
    };
    let present_ms = signup_ms.max(plan.start_ms);
    let leaves_ms = if stay_days.is_finite() {
        present_ms + HOUR_MS + (stay_days * DAY_MS as f64) as i64
    } else {
        i64::MAX
    };
    let device = mint.make();
    Account {
        kind: ActorKind::Ordinary,
        ring: NONE,
        country,
        carrier: chance.below(3) as u8,
        campus: 0,
        household,
        rate: chance.skewed(0.25, 1.5).min(12.0) as f32,
        signup_ms,
        leaves_ms,
        started_ms: i64::MAX,
        attack_ms: i64::MAX,
        quota: 0,
        device,
        shared_device: NONE,
        card: mint.make(),
        payout: mint.make(),
        phone: mint.make(),
        contacts: [NONE; 6],
        met: 0,
        place: Place { device, ip: 0, country, network: Network::Fixed },
        left: 0,
        fails: 0,
        login: false,
        declines: 0,
        due_target: NONE,
        due_cents: 0,
        announcement: NONE,
        reports: 0,
        events: 0,
        accused_at: 0,
        verified: chance.yes(0.55),
        signed_up: signup_ms < plan.start_ms,
        harmed: false,
        missed: chance.yes(plan.label_missed_share),
        labelled: false,
        suspended: false,
        idle: false,
        switched: false,
        entered: false,
        brigaded: false,
    }
}

/// Lets an account join a few days after the first of its household, and stay as long as it would have.
fn follow(plan: &Plan, account: &mut Account, first_ms: i64, chance: &mut Chance) {
    let after_ms =
        if account.signup_ms == first_ms { 0.0 } else { chance.waiting(2.5) * DAY_MS as f64 };
    let latest_ms = (plan.end_ms() - HOUR_MS).max(first_ms);
    let signup_ms = first_ms.saturating_add(after_ms as i64).min(latest_ms);
    let moved_ms = signup_ms.max(plan.start_ms) - account.signup_ms.max(plan.start_ms);
    account.signup_ms = signup_ms;
    account.signed_up = signup_ms < plan.start_ms;
    account.leaves_ms = account.leaves_ms.saturating_add(moved_ms);
}

fn settle_crowd(
    plan: &Plan,
    account: &mut Account,
    tablets: &[u32],
    campuses: u32,
    chance: &mut Chance,
) {
    match account.kind {
        ActorKind::Student => account.campus = chance.below(campuses) as u16,
        ActorKind::SharedTablet => {
            account.shared_device = chance.pick(tablets).unwrap_or(account.device);
        }
        ActorKind::Creator => {
            account.rate = (account.rate * 3.0).max(0.8);
            account.leaves_ms = i64::MAX;
        }
        ActorKind::PowerSeller => {
            account.rate = (account.rate * 4.0).max(1.0);
            account.leaves_ms = i64::MAX;
        }
        // Worth hiding behind: known for long, and there all the time.
        ActorKind::JoeJob => {
            account.rate = account.rate.max(0.6);
            account.leaves_ms = i64::MAX;
            if !account.signed_up {
                account.signup_ms = plan.start_ms - 30 * DAY_MS;
                account.signed_up = true;
            }
        }
        ActorKind::FastStarter if account.signed_up => {
            // Only the new can be fast starters: make it new.
            let span_ms = (plan.end_ms() - plan.start_ms) as f64;
            account.signup_ms = plan.start_ms + (chance.unit() * 0.95 * span_ms) as i64;
            account.signed_up = false;
            account.leaves_ms = account.leaves_ms.saturating_add(account.signup_ms - plan.start_ms);
        }
        _ => {}
    }
}

/// Draws who is to be labelled by mistake, those who look guilty more often, the share as planned.
fn accuse(plan: &Plan, accounts: &mut [Account], chance: &mut Chance) {
    let total: f64 = accounts.iter().map(|account| suspicion(account.kind)).sum();
    let scale = plan.label_wrong_share * accounts.len() as f64 / total.max(1.0);
    for account in accounts {
        if chance.yes(scale * suspicion(account.kind)) {
            account.accused_at = chance.whole(1, 12) as u16;
        }
    }
}

impl World {
    /// Fills the lists that targets are chosen from; call once all accounts exist.
    pub(super) fn index(&mut self, seed: u64) {
        for (index, account) in self.accounts.iter().enumerate() {
            let index = index as u32;
            self.by_country[usize::from(account.country)].push(index);
            self.map.people[usize::from(account.country)] += 1;
            match account.kind {
                ActorKind::Creator => self.famous.push(index),
                ActorKind::PowerSeller => {
                    self.famous.push(index);
                    self.sellers.push(index);
                }
                // A few others sell now and then.
                kind if !kind.is_bad() && mix2(seed, u64::from(index)) % 100 < 5 => {
                    self.sellers.push(index);
                }
                _ => {}
            }
        }
        // Fame is not the order of creation; power sellers stay in front of the occasional ones.
        let accounts = &self.accounts;
        let fame = |&index: &u32| {
            let amateur = accounts[index as usize].kind != ActorKind::PowerSeller;
            (amateur, mix2(seed ^ 0xFA4E, u64::from(index)))
        };
        self.sellers.sort_by_key(fame);
        self.famous.sort_by_key(|&index| mix2(seed ^ 0xFA4E, u64::from(index)));
    }
}
