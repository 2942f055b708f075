//! What to simulate.

use thiserror::Error;

/// How large, how long, and how bad the platform is. All shares are 0 to 1.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Accounts, good and bad; at least 20. Memory grows with it: about 250 bytes each.
    pub accounts: u32,
    /// Events to produce; 10 to 1,000 per account look like a platform. With fewer than about 3 per account
    /// the sign-ups alone fill the stream, and it ends early.
    pub events: u64,
    /// The same seed gives the same bytes, on every machine.
    pub seed: u64,
    /// Days that the events spread over; the last event falls near their end.
    pub days: u32,
    /// First moment, milliseconds since 1970 (UTC).
    pub start_ms: i64,
    /// Share of the accounts that are bad, or fall into bad hands.
    pub bad_share: f64,
    /// How the bad divide over kinds.
    pub mix: BadMix,
    /// How many rings altogether; 0: as many as `ring_size` implies.
    pub rings: u32,
    /// Smallest and largest ring of spammers, farmed accounts and reviewers. Card testers and
    /// romance scammers work in crews of a quarter of that.
    pub ring_size: [u32; 2],
    /// How well rings hide on average: 0 share everything and rush; 1 rotate devices and addresses, go
    /// slowly and do much that looks honest.
    pub evasion: f64,
    /// Share of the accounts that sign up while the simulation runs; the others were there before.
    pub signup_share: f64,
    /// Share of honest accounts that are labelled bad by mistake.
    pub label_wrong_share: f64,
    /// Share of bad accounts that nobody ever labels.
    pub label_missed_share: f64,
    /// Stretches (above 1) or shortens the time until labels are known.
    pub label_delay_scale: f64,
    /// Share of wrong labels that an appeal clears, days later.
    pub appeal_share: f64,
    /// Share of labelled accounts that are suspended there and then.
    pub suspend_share: f64,
    /// Share of chargebacks that name only the event, not the account.
    pub event_only_share: f64,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            accounts: 8_000,
            events: 200_000,
            seed: 1,
            days: 60,
            start_ms: 1_767_225_600_000,
            bad_share: 0.03,
            mix: BadMix::default(),
            rings: 0,
            ring_size: [4, 24],
            evasion: 0.55,
            signup_share: 0.5,
            label_wrong_share: 0.002,
            label_missed_share: 0.15,
            label_delay_scale: 1.0,
            appeal_share: 0.6,
            suspend_share: 0.7,
            event_only_share: 0.2,
        }
    }
}

/// Weights of the kinds of bad actors; only their proportions matter.
#[derive(Clone, Debug, PartialEq)]
pub struct BadMix {
    /// Spam rings.
    pub spam: f64,
    /// Account farms.
    pub farm: f64,
    /// Card testers.
    pub card: f64,
    /// Honest accounts taken over.
    pub takeover: f64,
    /// Romance scams.
    pub romance: f64,
    /// Fake-review rings.
    pub review: f64,
}

impl Default for BadMix {
    fn default() -> Self {
        Self { spam: 0.24, farm: 0.2, card: 0.1, takeover: 0.22, romance: 0.11, review: 0.13 }
    }
}

impl BadMix {
    /// Proportions in the order of [`super::ActorKind::BAD`]; they sum to 1.
    pub fn shares(&self) -> [f64; 6] {
        let raw = [self.spam, self.farm, self.card, self.takeover, self.romance, self.review];
        let sum: f64 = raw.iter().sum();
        raw.map(|weight| weight / sum)
    }
}

/// Why a plan cannot be carried out.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum PlanError {
    /// Too small or too large a number.
    #[error("{field} is {value}; it must be {low} to {high}")]
    Range {
        /// The field of [`Plan`].
        field: &'static str,
        /// What it was.
        value: f64,
        /// Least allowed.
        low: f64,
        /// Most allowed.
        high: f64,
    },
    /// The mix has nothing in it.
    #[error(
        "all weights in mix are 0; give at least one kind of bad actor a weight, or set bad_share to 0"
    )]
    EmptyMix,
}

impl Plan {
    /// Checks every field.
    ///
    /// # Errors
    /// The first field out of range, with what is allowed.
    pub fn check(&self) -> Result<(), PlanError> {
        let mix = &self.mix;
        let ranges = [
            ("accounts", f64::from(self.accounts), 20.0, 50_000_000.0),
            ("events", self.events as f64, 1.0, 1e12),
            ("days", f64::from(self.days), 1.0, 3_650.0),
            ("start_ms", self.start_ms as f64, 0.0, 4e12),
            ("bad_share", self.bad_share, 0.0, 0.5),
            ("ring_size[0]", f64::from(self.ring_size[0]), 1.0, 10_000.0),
            ("ring_size[1]", f64::from(self.ring_size[1]), f64::from(self.ring_size[0]), 10_000.0),
            ("rings", f64::from(self.rings), 0.0, 1e6),
            ("evasion", self.evasion, 0.0, 1.0),
            ("signup_share", self.signup_share, 0.0, 0.95),
            ("label_wrong_share", self.label_wrong_share, 0.0, 0.5),
            ("label_missed_share", self.label_missed_share, 0.0, 1.0),
            ("label_delay_scale", self.label_delay_scale, 0.001, 100.0),
            ("appeal_share", self.appeal_share, 0.0, 1.0),
            ("suspend_share", self.suspend_share, 0.0, 1.0),
            ("event_only_share", self.event_only_share, 0.0, 1.0),
            ("mix.spam", mix.spam, 0.0, 1e6),
            ("mix.farm", mix.farm, 0.0, 1e6),
            ("mix.card", mix.card, 0.0, 1e6),
            ("mix.takeover", mix.takeover, 0.0, 1e6),
            ("mix.romance", mix.romance, 0.0, 1e6),
            ("mix.review", mix.review, 0.0, 1e6),
        ];
        for (field, value, low, high) in ranges {
            // Written so that a value that is not a number fails too.
            if !(value >= low && value <= high) {
                return Err(PlanError::Range { field, value, low, high });
            }
        }
        let weight = mix.spam + mix.farm + mix.card + mix.takeover + mix.romance + mix.review;
        if self.bad_share > 0.0 && weight <= 0.0 {
            return Err(PlanError::EmptyMix);
        }
        Ok(())
    }

    /// Events per account, next to the 25 of an ordinary plan; sessions and attacks scale with it.
    pub(super) fn busyness(&self) -> f64 {
        self.events as f64 / f64::from(self.accounts.max(1)) / 25.0
    }

    /// One past the last planned moment.
    pub(super) fn end_ms(&self) -> i64 {
        self.start_ms + i64::from(self.days) * super::DAY_MS
    }
}
