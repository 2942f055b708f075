//! Which faults, in which order: the same seed, the same plan.

use crate::support::Chance;
use std::collections::BTreeMap;

/// What is done to the running service or to what it stands on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// SIGKILL of the live detector.
    KillLive,
    /// SIGKILL of the one that stands by.
    KillStandby,
    /// SIGKILL of both.
    KillBoth,
    /// SIGTERM of the live one: it hands over.
    HandOver,
    /// SIGSTOP of the live one beyond its lease, SIGCONT once another has taken over.
    Zombie,
    /// SIGKILL of Redis, which comes back with its append-only file.
    KillRedis,
    /// Redis comes back with an older copy of its data, under running detectors.
    OlderRedis,
    /// Both detectors are killed, and find an older Redis.
    OlderRedisAtStart,
    /// Redis comes back empty: detectors refuse, and a person says `--rebuild-from earliest`.
    EmptyRedis,
    /// SIGKILL of Kafka.
    KillKafka,
    /// One more partition of both input topics.
    Grow,
    /// Nothing passes between Redis and one or both detectors.
    StallRedis,
    /// Connections to Redis are closed, and new ones for a while.
    CutRedis,
    /// Nothing passes between Kafka and one or both detectors.
    StallKafka,
    /// Connections to Kafka are closed, and new ones for a while.
    CutKafka,
    /// The wall clock of a detector jumps.
    ClockOfDetector,
    /// The wall clock of Redis jumps.
    ClockOfRedis,
}

impl Kind {
    /// All of them, each with how often it comes beside the others.
    pub const ALL: [(Self, u32); 17] = [
        (Self::KillLive, 6),
        (Self::KillStandby, 2),
        (Self::KillBoth, 3),
        (Self::HandOver, 3),
        (Self::Zombie, 4),
        (Self::KillRedis, 4),
        (Self::OlderRedis, 3),
        (Self::OlderRedisAtStart, 2),
        (Self::EmptyRedis, 1),
        (Self::KillKafka, 2),
        (Self::Grow, 1),
        (Self::StallRedis, 4),
        (Self::CutRedis, 3),
        (Self::StallKafka, 4),
        (Self::CutKafka, 3),
        (Self::ClockOfDetector, 2),
        (Self::ClockOfRedis, 3),
    ];

    /// Its name in the summary.
    pub fn name(self) -> &'static str {
        match self {
            Self::KillLive => "kill_live",
            Self::KillStandby => "kill_standby",
            Self::KillBoth => "kill_both",
            Self::HandOver => "hand_over",
            Self::Zombie => "zombie",
            Self::KillRedis => "kill_redis",
            Self::OlderRedis => "older_redis",
            Self::OlderRedisAtStart => "older_redis_at_start",
            Self::EmptyRedis => "empty_redis",
            Self::KillKafka => "kill_kafka",
            Self::Grow => "grow_partitions",
            Self::StallRedis => "stall_redis",
            Self::CutRedis => "cut_redis",
            Self::StallKafka => "stall_kafka",
            Self::CutKafka => "cut_kafka",
            Self::ClockOfDetector => "clock_of_detector",
            Self::ClockOfRedis => "clock_of_redis",
        }
    }

    /// At most how many times in a run of so many faults: partitions cannot be taken away again, and making the state anew takes
    /// as long as everything before.
    fn most(self, faults: u32) -> u32 {
        match self {
            Self::Grow => 8,
            Self::EmptyRedis => 1 + faults / 150,
            _ => u32::MAX,
        }
    }
}

/// One fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What.
    pub kind: Kind,
    /// How long the state of things lasts, milliseconds.
    pub lasts_ms: u64,
    /// A number that the fault may use as it needs to.
    pub choice: u64,
    /// Pause before it, milliseconds.
    pub after_ms: u64,
    /// The next one comes without waiting until this one was overcome.
    pub overlaps: bool,
}

/// A plan of faults: each kind once in a random order, then by weight.
pub fn plan(seed: u64, faults: u32, kinds: &[Kind]) -> Vec<Fault> {
    let mut chance = Chance(seed);
    let weights: Vec<(Kind, u32)> =
        Kind::ALL.into_iter().filter(|(k, _)| kinds.is_empty() || kinds.contains(k)).collect();
    let mut first: Vec<Kind> = weights.iter().map(|(kind, _)| *kind).collect();
    for i in (1..first.len()).rev() {
        first.swap(i, chance.below(i as u64 + 1) as usize);
    }
    let all: u64 = weights.iter().map(|(_, w)| u64::from(*w)).sum();
    let mut had: BTreeMap<Kind, u32> = BTreeMap::new();
    let mut next = |chance: &mut Chance, had: &BTreeMap<Kind, u32>| {
        if let Some(kind) = first.pop() {
            return kind;
        }
        loop {
            let mut at = chance.below(all);
            let drawn = weights.iter().find(|(_, w)| {
                let here = at < u64::from(*w);
                at = at.saturating_sub(u64::from(*w));
                here
            });
            let kind = drawn.expect("`at` is below the sum").0;
            let full = had.get(&kind).is_some_and(|n| *n >= kind.most(faults));
            if !full || weights.len() == 1 {
                return kind;
            }
        }
    };
    (0..faults)
        .map(|_| {
            let kind = next(&mut chance, &had);
            *had.entry(kind).or_default() += 1;
            // Mostly short, now and then longer than the lease.
            let lasts_ms = match chance.below(4) {
                0 => 2500 + chance.below(2500),
                _ => 50 + chance.below(1500),
            };
            let after_ms = if chance.below(3) == 0 { chance.below(60) } else { chance.below(1200) };
            let overlaps = chance.below(4) == 0 && kind != Kind::EmptyRedis;
            Fault { kind, lasts_ms, choice: chance.next(), after_ms, overlaps }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn twenty_faults_have_every_kind_and_a_seed_repeats() {
        let faults = plan(7, 20, &[]);
        assert_eq!(faults, plan(7, 20, &[]));
        assert_ne!(faults, plan(8, 20, &[]));
        for (kind, _) in Kind::ALL {
            assert!(faults.iter().any(|f| f.kind == kind), "{kind:?}");
        }
        let many = plan(1, 1000, &[]);
        assert_eq!(many.iter().filter(|f| f.kind == Kind::Grow).count(), 8);
    }
}
