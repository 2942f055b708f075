//! Who works together: rings of bad accounts, what they own, and when they strike.

use super::chance::Chance;
use super::kinds::ActorKind;
use super::places::Map;
use super::plan::Plan;
use super::world::{World, stranger};
use super::{DAY_MS, HOUR_MS};

/// What a farm was grown for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Likes and follows for customers.
    Boost,
    /// Messages to strangers.
    Spam,
    /// Reports against one honest account.
    Brigade,
}

/// One ring.
pub(super) struct Ring {
    pub(super) kind: ActorKind,
    /// How well it hides, 0 to 1.
    pub(super) evasion: f64,
    /// When the first account is made.
    pub(super) start_ms: i64,
    /// When it is over and its devices are sold.
    pub(super) end_ms: i64,
    /// Country that it claims to be in.
    pub(super) country: u8,
    /// Whose household's address it falls back to when careless.
    pub(super) household: u32,
    pub(super) members: Vec<u32>,
    pub(super) devices: Vec<u32>,
    pub(super) cards: Vec<u32>,
    /// Bank accounts that the money goes to.
    pub(super) payouts: Vec<u32>,
    /// Copies that it sends.
    pub(super) contents: Vec<u32>,
    /// Accounts that it works for, or against.
    pub(super) targets: Vec<u32>,
    /// Honest accounts whose device and text it uses.
    pub(super) frames: Vec<u32>,
    pub(super) purpose: Purpose,
    /// Moderators found the whole ring at once.
    pub(super) swept: bool,
}

/// Divides `total` by `shares` so that the parts sum to it (largest remainders get the rest).
pub(super) fn divide(total: u32, shares: &[f64; 6]) -> [u32; 6] {
    let mut parts = shares.map(|share| (share * f64::from(total)) as u32);
    let mut order: Vec<usize> = (0..6).filter(|&k| shares[k] > 0.0).collect();
    order.sort_by(|&a, &b| {
        let rest = |k: usize| shares[k] * f64::from(total) - f64::from(parts[k]);
        rest(b).total_cmp(&rest(a)).then(a.cmp(&b))
    });
    let given: u32 = parts.iter().sum();
    let mut missing = total.saturating_sub(given);
    while missing > 0 && !order.is_empty() {
        for &k in order.iter().take(missing as usize) {
            parts[k] += 1;
        }
        missing = missing.saturating_sub(order.len() as u32);
    }
    parts
}

/// How many accounts each ring of this kind has.
fn sizes(plan: &Plan, kind: ActorKind, total: u32, bad: u32, chance: &mut Chance) -> Vec<u32> {
    let [low, high] = match kind {
        ActorKind::CardTester | ActorKind::RomanceScam => {
            [plan.ring_size[0].div_ceil(4), plan.ring_size[1].div_ceil(4)]
        }
        _ => plan.ring_size,
    };
    let mut out = Vec::new();
    if plan.rings > 0 {
        // The asked number of rings, spread over kinds by their accounts.
        let share = f64::from(plan.rings) * f64::from(total) / f64::from(bad.max(1));
        let rings = ((share + 0.5) as u32).clamp(1, total.max(1));
        out.extend((0..rings).map(|k| total / rings + u32::from(k < total % rings)));
    } else {
        let mut left = total;
        while left > 0 {
            let size = chance.whole(low, high).min(left);
            out.push(size);
            left -= size;
        }
    }
    out.retain(|&size| size > 0);
    out
}

/// Makes the rings and their accounts; `victims` of the honest accounts are marked for theft.
pub(super) fn conspire(plan: &Plan, world: &mut World, chance: &mut Chance) -> Vec<Ring> {
    let bad = bad_accounts(plan);
    let parts = divide(bad, &plan.mix.shares());
    let mut rings = Vec::new();
    for (kind, total) in ActorKind::BAD.into_iter().zip(parts) {
        for size in sizes(plan, kind, total, bad, chance) {
            let mut ring = found(plan, kind, size, world, chance);
            let number = rings.len() as u32;
            if kind == ActorKind::Takeover {
                choose_victims(plan, &mut ring, number, size, world, chance);
            } else {
                recruit(plan, &mut ring, number, size, world, chance);
            }
            rings.push(ring);
        }
    }
    rings
}

/// How many accounts are to be bad, thefts included.
pub(super) fn bad_accounts(plan: &Plan) -> u32 {
    (plan.bad_share * f64::from(plan.accounts) + 0.5) as u32
}

/// How many of them exist only to be bad.
pub(super) fn bad_from_birth(plan: &Plan) -> u32 {
    if bad_accounts(plan) == 0 {
        return 0;
    }
    let parts = divide(bad_accounts(plan), &plan.mix.shares());
    parts.iter().sum::<u32>() - parts[3]
}

fn found(plan: &Plan, kind: ActorKind, size: u32, world: &mut World, chance: &mut Chance) -> Ring {
    let span_ms = (plan.end_ms() - plan.start_ms) as f64;
    let evasion = (plan.evasion + 0.28 * chance.normal()).clamp(0.0, 1.0);
    let start_ms = plan.start_ms + (span_ms * chance.between(0.01, 0.85)) as i64;
    let mint = &mut world.mint;
    let mut make = |n: u32| (0..n.max(1)).map(|_| mint.make()).collect::<Vec<u32>>();
    let sharing = 1.5 + 5.0 * (1.0 - evasion);
    let devices = make((f64::from(size) / sharing) as u32);
    let cards = match kind {
        ActorKind::CardTester => make(20 * size),
        ActorKind::Takeover => make(size),
        _ => make(size.div_ceil(3)),
    };
    let payouts = make(1 + size / 4);
    let contents = make(3 + (9.0 * evasion) as u32);
    Ring {
        kind,
        evasion,
        start_ms,
        end_ms: start_ms + (DAY_MS as f64 * (10.0 + 25.0 * evasion)) as i64,
        country: Map::country(chance),
        household: 0x8000_0000 | chance.below(1 << 30),
        members: Vec::new(),
        devices,
        cards,
        payouts,
        contents,
        targets: Vec::new(),
        frames: Vec::new(),
        purpose: [Purpose::Boost, Purpose::Spam, Purpose::Brigade]
            [chance.weighted(&[0.45, 0.4, 0.15])],
        swept: false,
    }
}

fn recruit(
    plan: &Plan,
    ring: &mut Ring,
    number: u32,
    size: u32,
    world: &mut World,
    chance: &mut Chance,
) {
    // Plans shorter than a month are lived faster.
    let pace = (f64::from(plan.days) / 30.0).min(1.0);
    let day = DAY_MS as f64 * pace;
    let e = ring.evasion;
    let (join_days, wait_days) = match ring.kind {
        ActorKind::SpamRing => (0.3 + 4.0 * e, 6.0 * e * e),
        ActorKind::AccountFarm => (4.0 + 12.0 * chance.unit(), 0.0),
        ActorKind::CardTester => (0.5 + 3.0 * e, 1.5 * e),
        ActorKind::RomanceScam => (6.0, 0.3),
        _ => (3.0 + 8.0 * e, 1.0 + 5.0 * e),
    };
    let together_ms = ring.start_ms + ((join_days + 0.5 + chance.waiting(6.0)) * day) as i64;
    // Numbers serve several accounts each.
    let phones: Vec<u32> = (0..1 + size / 3).map(|_| world.mint.make()).collect();
    for _ in 0..size {
        let index = world.accounts.len() as u32;
        let mut account = stranger(plan, ring.country, ring.household, &mut world.mint, chance);
        account.kind = ring.kind;
        account.ring = number;
        let aged = match ring.kind {
            ActorKind::ReviewRing => 0.35,
            ActorKind::AccountFarm | ActorKind::SpamRing => 0.12 * e,
            _ => 0.0,
        };
        if chance.yes(aged) {
            // Bought: made long ago, quiet since.
            account.signup_ms = plan.start_ms - (chance.unit() * 200.0 * day) as i64 - HOUR_MS;
            account.signed_up = true;
        } else {
            account.signup_ms = ring.start_ms + (chance.unit() * join_days * day) as i64;
            account.signed_up = false;
        }
        account.attack_ms = match ring.kind {
            ActorKind::AccountFarm => together_ms + (chance.unit() * 2.0 * day) as i64,
            _ => {
                account.signup_ms.max(ring.start_ms)
                    + (chance.unit() * wait_days * day) as i64
                    + HOUR_MS / 6
            }
        };
        account.leaves_ms = i64::MAX;
        account.rate = chance.between(0.15, 0.5) as f32;
        account.quota = quota(plan, ring.kind, e, chance);
        if !chance.yes(0.6 * e) {
            account.device = chance.pick(&ring.devices).unwrap_or(account.device);
        }
        if !chance.yes(0.3 + 0.5 * e) {
            account.phone = chance.pick(&phones).unwrap_or(account.phone);
        }
        if chance.yes(0.85 - 0.4 * e) {
            account.payout = chance.pick(&ring.payouts).unwrap_or(account.payout);
        }
        if chance.yes(0.7 - 0.4 * e) {
            account.card = chance.pick(&ring.cards).unwrap_or(account.card);
        }
        account.verified = chance.yes(0.25 + 0.3 * e);
        account.place.device = account.device;
        ring.members.push(index);
        world.accounts.push(account);
    }
}

/// How much harm an account plans; grows with the busyness of the platform.
fn quota(plan: &Plan, kind: ActorKind, evasion: f64, chance: &mut Chance) -> u32 {
    let busy = plan.busyness().clamp(0.15, 3.0);
    let median = match kind {
        ActorKind::SpamRing => 34.0 - 24.0 * evasion,
        ActorKind::AccountFarm => 22.0,
        ActorKind::CardTester => 24.0 - 19.0 * evasion,
        ActorKind::RomanceScam => 40.0,
        ActorKind::ReviewRing => return chance.whole(4, 10),
        _ => 10.0,
    };
    1 + (chance.skewed(median, 0.8) * busy).min(500.0) as u32
}

fn choose_victims(
    plan: &Plan,
    ring: &mut Ring,
    number: u32,
    size: u32,
    world: &mut World,
    chance: &mut Chance,
) {
    let span_ms = (plan.end_ms() - plan.start_ms) as f64;
    let honest = world.accounts.len() as u32;
    let mut tries = 0;
    while (ring.members.len() as u32) < size && tries < size * 400 {
        tries += 1;
        let index = chance.below(honest);
        let account = &mut world.accounts[index as usize];
        let attack_ms = ring.start_ms + (chance.unit() * 0.1 * span_ms) as i64;
        // Worth stealing: an own history, still alive. Standards fall when the platform is small.
        let worth = account.signup_ms + (span_ms * 0.1) as i64 <= attack_ms
            && account.leaves_ms > attack_ms
            && account.rate > 0.15;
        if account.kind.is_bad() || account.ring != super::names::NONE {
            continue;
        }
        if worth || tries > size * 200 {
            account.ring = number;
            account.attack_ms = attack_ms.max(account.signup_ms + HOUR_MS);
            account.accused_at = 0;
            account.quota = chance.whole(6, 20);
            ring.members.push(index);
        }
    }
}

/// Divides those who are to be hidden behind among the spam rings that begin once they were seen for a quarter of
/// the time.
fn choose_framed(plan: &Plan, rings: &mut [Ring], world: &World, chance: &mut Chance) {
    let seen_ms = plan.start_ms + (plan.end_ms() - plan.start_ms) / 4;
    let spam: Vec<usize> = (0..rings.len())
        .filter(|&at| rings[at].kind == ActorKind::SpamRing && rings[at].start_ms >= seen_ms)
        .collect();
    for (index, account) in world.accounts.iter().enumerate() {
        // A thief's victim is another story.
        if account.kind == ActorKind::JoeJob
            && account.ring == super::names::NONE
            && let Some(ring) = chance.pick(&spam)
        {
            rings[ring].frames.push(index as u32);
        }
    }
}

/// Chooses whom rings work for or against, and behind whom they hide; call once the world is indexed.
pub(super) fn choose_targets(plan: &Plan, rings: &mut [Ring], world: &World, chance: &mut Chance) {
    choose_framed(plan, rings, world, chance);
    for ring in rings {
        let wanted = match ring.kind {
            ActorKind::ReviewRing => chance.whole(2, 6),
            ActorKind::AccountFarm if ring.purpose == Purpose::Brigade => 1,
            ActorKind::AccountFarm => chance.whole(2, 8),
            _ => 0,
        };
        for _ in 0..wanted {
            let one = match ring.kind {
                // Sellers who pay for praise are seldom the famous ones.
                ActorKind::ReviewRing => chance.pick(&world.sellers),
                _ => chance.pick(&world.famous),
            };
            ring.targets.extend(one.or_else(|| chance.pick(&world.by_country[0])));
        }
    }
}
