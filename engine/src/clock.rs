//! A partition's clock: what time it is, by what several accounts say.
//!
//! An event says what time it is, and anybody can write one. The clock therefore keeps what each of the accounts heard
//! last said, and moves
//!
//! 1. by a *step*, as far as the stream's own pauses make plausible, past what the other accounts said;
//! 2. to what the last *few* accounts all say, up to `time.jump_max` past what most say;
//! 3. to what *most* of the accounts say;
//! 4. to what a *run* of events says that nobody contradicts: the accounts known before are silent.
//!
//! It never moves back. An event ahead of it counts as of it. One clock serves the head of a stream as well: see
//! [`Clock::opening`]. docs/decisions/020 says who can move it how far.

use crate::snapshot::take_array;
use serde::{Deserialize, Serialize};

/// Accounts whose last word is kept.
pub const VOICES_MAX: usize = 64;
/// Events at the head of a stream that say when it begins.
pub const OPENING_EVENTS: usize = 64;
/// A step that is always plausible.
const STEP_MIN_MS: i64 = 1_000;
/// A step may be longer than the longest recent pause by this factor.
const PAUSES: i64 = 8;
/// What is taken for the longest pause of a stream that begins: two hours are a step.
const PAUSE_FIRST_MS: i64 = 900_000;
/// The longest recent pause loses this part of itself with each step that is shorter.
const PAUSE_FADE: i64 = 64;

/// What an account said last.
type Voice = (u64, i64);

/// The clock. About 2 kB; an event costs about 0.2 us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clock {
    jump_max_ms: i64,
    now_ms: i64,
    /// Hash of the account and what it said last, by when it was heard, the latest last. What is older than the clock by
    /// more than `jump_max_ms` says nothing about the present and is not in it.
    voices: Vec<Voice>,
    /// The times in `voices`, ascending.
    said_ms: Vec<i64>,
    /// What most accounts said, where the clock has reached it.
    settled_ms: i64,
    /// The longest recent step of `settled_ms`: no few accounts can stretch it.
    pause_ms: i64,
    run: Run,
}

/// Events ahead of the clock, one behind the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Run {
    events: u32,
    /// Their accounts: the last of the voices.
    accounts: u32,
    earliest_ms: i64,
}

/// The clock, as it is saved beside the watermark.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockV1 {
    voices: Vec<Voice>,
    settled_ms: i64,
    pause_ms: i64,
    run: Run,
}

impl ClockV1 {
    /// Its bytes, behind what is in `out`; [`Clocks::saved`](crate::clocks::Clocks::saved) says in which order.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        let Self { voices, settled_ms, pause_ms, run } = self;
        out.extend(settled_ms.to_le_bytes());
        out.extend(pause_ms.to_le_bytes());
        out.extend(run.events.to_le_bytes());
        out.extend(run.accounts.to_le_bytes());
        out.extend(run.earliest_ms.to_le_bytes());
        out.push(voices.len() as u8);
        for (account, ts_ms) in voices {
            out.extend(account.to_le_bytes());
            out.extend(ts_ms.to_le_bytes());
        }
    }

    /// Takes what [`ClockV1::write`] wrote off the front.
    pub(crate) fn read(rest: &mut &[u8]) -> Option<Self> {
        let settled_ms = i64::from_le_bytes(take_array(rest)?);
        let pause_ms = i64::from_le_bytes(take_array(rest)?);
        let run = Run {
            events: u32::from_le_bytes(take_array(rest)?),
            accounts: u32::from_le_bytes(take_array(rest)?),
            earliest_ms: i64::from_le_bytes(take_array(rest)?),
        };
        let [voices] = take_array(rest)?;
        let voice = |_| {
            Some((u64::from_le_bytes(take_array(rest)?), i64::from_le_bytes(take_array(rest)?)))
        };
        let voices = (0..voices).map(voice).collect::<Option<_>>()?;
        Some(Self { voices, settled_ms, pause_ms, run })
    }
}

impl Clock {
    /// A clock that has heard nothing. Few accounts move it by up to `jump_max_ms`.
    pub fn new(jump_max_ms: i64) -> Self {
        Self {
            jump_max_ms,
            now_ms: -1,
            voices: Vec::new(),
            said_ms: Vec::new(),
            settled_ms: -1,
            pause_ms: PAUSE_FIRST_MS,
            run: Run::default(),
        }
    }

    /// What time it is: the watermark, epoch milliseconds; -1 before the first event.
    pub fn now_ms(&self) -> i64 {
        self.now_ms
    }

    /// Whether it has a time.
    pub fn is_set(&self) -> bool {
        self.now_ms >= 0
    }

    /// Sets the time at which the stream begins; no effect once there is a time.
    pub fn begin(&mut self, ts_ms: i64) {
        if !self.is_set() {
            self.now_ms = ts_ms.max(0);
            self.settled_ms = self.now_ms;
        }
    }

    /// The moment as of which an event counts whose time is known to be wrong: it is no voice.
    pub fn cap(&mut self, ts_ms: i64) -> i64 {
        self.begin(ts_ms);
        ts_ms.min(self.now_ms)
    }

    /// Hears an event; the moment as of which it counts: its own time, or now where that is earlier.
    pub fn hear(&mut self, account: u64, ts_ms: i64) -> i64 {
        self.begin(ts_ms);
        // Old events say nothing about now; what is later than most say does, however far a few have moved the clock.
        if ts_ms < self.now_ms.saturating_sub(self.jump_max_ms) && ts_ms <= self.most_ms() {
            return ts_ms;
        }
        let again = self.speaks(account, ts_ms);
        if ts_ms <= self.now_ms {
            self.run = Run::default();
        } else if ts_ms <= self.reach_ms(account) {
            self.run = Run::default();
            self.move_to(ts_ms);
        } else {
            let new = again.is_none_or(|back| back >= self.run.accounts as usize);
            self.run = Run {
                events: self.run.events.saturating_add(1),
                accounts: self.run.accounts + u32::from(new),
                earliest_ms: match self.run.events {
                    0 => ts_ms,
                    _ => self.run.earliest_ms.min(ts_ms),
                },
            };
            self.agree(ts_ms);
        }
        self.settle();
        ts_ms.min(self.now_ms)
    }

    /// Forgets what an account said.
    pub fn forget(&mut self, account: u64) {
        if let Some(at) = self.voices.iter().position(|(of, _)| *of == account) {
            let back = self.voices.len() - 1 - at;
            self.run.accounts -= u32::from(back < self.run.accounts as usize);
            self.silence(at);
        }
    }

    /// Index of the first of a stream's first events that can be its beginning, for [`Clock::begin`]: the clock takes
    /// as many of the following ones at their word as from any other. 0 for a clock that is set. `late_max_ms`: an event is at its word if it is later by no more. About 1 ms.
    pub fn opening(&self, events: &[(u64, i64)], late_max_ms: i64) -> usize {
        let head = &events[..events.len().min(OPENING_EVENTS)];
        if self.is_set() {
            return 0;
        }
        let fits = |from: usize| {
            let mut clock = Self::new(self.jump_max_ms);
            let taken = head[from..].iter().filter(|(account, ts_ms)| {
                let at_ms = clock.hear(*account, *ts_ms);
                at_ms == *ts_ms && clock.now_ms - at_ms <= late_max_ms
            });
            taken.count()
        };
        let fits: Vec<usize> = (0..head.len()).map(fits).collect();
        let best = fits.iter().copied().max().unwrap_or(0);
        fits.iter().position(|fit| *fit == best).unwrap_or(0)
    }

    /// What is to be saved beside the time.
    pub fn saved(&self) -> ClockV1 {
        let Self { voices, settled_ms, pause_ms, run, .. } = self;
        ClockV1 { voices: voices.clone(), settled_ms: *settled_ms, pause_ms: *pause_ms, run: *run }
    }

    /// Takes a saved time, and what was saved beside it. `None`: it cannot have been a clock.
    pub fn restore(&mut self, now_ms: i64, saved: &ClockV1) -> Option<()> {
        let ClockV1 { voices, settled_ms, pause_ms, run } = saved;
        let mut accounts: Vec<u64> = voices.iter().map(|(account, _)| *account).collect();
        accounts.sort_unstable();
        accounts.dedup();
        let fits = accounts.len() == voices.len()
            && voices.len() <= VOICES_MAX
            && run.accounts as usize <= voices.len()
            && *settled_ms <= now_ms
            && *pause_ms >= 0
            && voices.iter().all(|(_, ts_ms)| *ts_ms >= 0);
        if !fits {
            return None;
        }
        (self.now_ms, self.settled_ms, self.pause_ms) = (now_ms, *settled_ms, *pause_ms);
        (self.voices, self.run) = (voices.clone(), *run);
        self.said_ms = voices.iter().map(|(_, ts_ms)| *ts_ms).collect();
        self.said_ms.sort_unstable();
        Some(())
    }

    /// Notes what an account says. How many accounts have spoken since it did last; `None`: it is not remembered.
    fn speaks(&mut self, account: u64, ts_ms: i64) -> Option<usize> {
        let at = self.voices.iter().rposition(|(of, _)| *of == account);
        let back = at.map(|at| self.voices.len() - 1 - at);
        match at {
            Some(at) => self.silence(at),
            None if self.voices.len() == VOICES_MAX => self.silence(0),
            None => {}
        }
        self.voices.push((account, ts_ms));
        let at = self.said_ms.partition_point(|said| *said < ts_ms);
        self.said_ms.insert(at, ts_ms);
        back
    }

    fn silence(&mut self, at: usize) {
        let (_, ts_ms) = self.voices.remove(at);
        let at = self.said_ms.partition_point(|said| *said < ts_ms);
        self.said_ms.remove(at);
    }

    /// What most accounts say: more than half of them this, or later. Alone, nobody is most.
    fn most_ms(&self) -> i64 {
        match self.said_ms.len() {
            0 | 1 => self.now_ms,
            n => self.said_ms[n - (n / 2 + 1)],
        }
    }

    /// How far few accounts can move the clock.
    fn few_max_ms(&self) -> i64 {
        let pauses = self.pause_ms.saturating_mul(self.voices.len() as i64);
        self.most_ms().saturating_add(self.jump_max_ms).saturating_add(pauses)
    }

    fn step_ms(&self) -> i64 {
        self.pause_ms.saturating_mul(PAUSES).max(STEP_MIN_MS)
    }

    /// How far an account can move the clock by itself: a step past what others said.
    fn reach_ms(&self, account: u64) -> i64 {
        let others = self.voices.iter().filter(|(of, _)| *of != account);
        let others_ms = others.map(|(_, ts_ms)| (*ts_ms).min(self.now_ms)).max();
        let others_ms = others_ms.unwrap_or(self.now_ms);
        others_ms.saturating_add(self.step_ms()).min(self.few_max_ms())
    }

    /// Moves to what several say, the account of an event that is ahead among them.
    fn agree(&mut self, ts_ms: i64) {
        let n = self.voices.len();
        let mut agreed_ms = self.most_ms();
        if n > 1 {
            let few = &self.voices[n - few(n).min(n)..];
            let few_ms = few.iter().map(|(_, said)| *said).min().unwrap_or(self.now_ms);
            if few_ms <= self.few_max_ms() {
                agreed_ms = agreed_ms.max(few_ms);
            }
        }
        let alone = self.run.events >= run(n);
        if alone {
            agreed_ms = agreed_ms.max(self.run.earliest_ms);
        }
        if agreed_ms <= self.now_ms {
            return;
        }
        self.move_to(agreed_ms);
        if alone {
            // The accounts before were silent all the while: they say nothing about the present.
            self.voices.drain(..n.saturating_sub(self.run.accounts as usize));
            self.said_ms = self.voices.iter().map(|(_, ts_ms)| *ts_ms).collect();
            self.said_ms.sort_unstable();
        }
        self.run = Run::default();
        self.settle();
        if ts_ms <= self.now_ms.saturating_add(self.step_ms()) {
            self.move_to(ts_ms);
        }
    }

    fn move_to(&mut self, ts_ms: i64) {
        self.now_ms = self.now_ms.max(ts_ms);
    }

    /// Learns the stream's pauses from what most accounts say.
    fn settle(&mut self) {
        let settled_ms = self.most_ms().min(self.now_ms);
        let step_ms = settled_ms.saturating_sub(self.settled_ms);
        if step_ms > 0 {
            self.settled_ms = settled_ms;
            self.pause_ms = step_ms.max(self.pause_ms - self.pause_ms / PAUSE_FADE);
        }
    }
}

/// How many accounts, heard one behind the other, are enough for a leap of up to `jump_max`.
fn few(voices: usize) -> usize {
    match voices {
        0..=7 => 2,
        8..=31 => 3,
        _ => 4,
    }
}

/// How many events ahead of the clock, one behind the other, are enough, of whichever accounts: the more are known,
/// the sooner one of them would contradict.
fn run(voices: usize) -> u32 {
    match voices {
        0 | 1 => 2,
        n => (n * n / 16).max(3) as u32,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const S: i64 = 1_000;
    const H: i64 = 3_600 * S;
    const D: i64 = 24 * H;
    const T: i64 = 1_767_225_600_000;
    const YEAR_9999: i64 = 253_402_300_799_999;

    /// Accounts of the crowd are 0 to `n`, one event a second.
    fn crowd(clock: &mut Clock, n: u64, from_ms: i64, events: i64) -> usize {
        let ahead = (0..events).filter(|at| {
            let ts_ms = from_ms + at * S;
            clock.hear(*at as u64 % n, ts_ms) < ts_ms
        });
        ahead.count()
    }

    fn clock_of_a_crowd(n: u64) -> Clock {
        let mut clock = Clock::new(D);
        crowd(&mut clock, n, T - 999 * S, 1_000);
        assert_eq!(clock.now_ms(), T);
        clock
    }

    #[test]
    fn accounts_that_leap_move_the_clock_only_when_they_are_enough() {
        // Accounts known, accounts that leap, events of each, how far; whether the clock follows.
        let table = [
            (100, 1, 1, 12 * H, false),
            (100, 1, 200, 12 * H, false),
            (100, 1, 1, YEAR_9999 - T, false),
            (100, 3, 40, 23 * H, false),
            (100, 4, 1, 23 * H, true),
            (100, 4, 20, 2 * D, false),
            (100, 32, 1, 364 * D, false),
            (100, 33, 1, 364 * D, true),
            (100, 1, 255, 364 * D, false),
            (100, 1, 256, 364 * D, true),
            (20, 2, 1, 12 * H, false),
            (20, 3, 1, 12 * H, true),
            (20, 20, 1, 364 * D, false),
            (20, 21, 1, 364 * D, true),
            (5, 1, 2, 12 * H, false),
            (5, 1, 3, 12 * H, true),
            (5, 2, 1, 12 * H, true),
            (1, 1, 1, 12 * H, false),
        ];
        for row in table {
            let (known, leaping, events, ms, follows) = row;
            let mut clock = clock_of_a_crowd(known);
            for _ in 0..events {
                for account in 0..leaping {
                    clock.hear(1_000 + account, T + ms);
                }
            }
            assert_eq!(clock.now_ms(), if follows { T + ms } else { T }, "{row:?}");
            if !follows {
                let ahead = crowd(&mut clock, known, T + S, 100);
                assert_eq!((ahead, clock.now_ms()), (0, T + 100 * S), "{row:?}: others go on");
            }
        }
    }

    #[test]
    fn pause_is_believed_after_a_few_events() {
        // Accounts, how long the pause is, and how many events behind it count as of before.
        for (accounts, pause_ms, ahead) in [
            (100, 8 * H, 3),
            (100, 3 * D, 32),
            (20, 8 * H, 2),
            (5, 3 * D, 2),
            (2, 3 * D, 1),
            (1, 3 * D, 1),
        ] {
            let mut clock = clock_of_a_crowd(accounts);
            let from_ms = T + pause_ms;
            let found = crowd(&mut clock, accounts, from_ms, 200);
            assert_eq!(
                (found, clock.now_ms()),
                (ahead, from_ms + 199 * S),
                "{accounts} {pause_ms}"
            );
            // The stream is known to pause now.
            let again_ms = clock.now_ms() + pause_ms;
            let found = crowd(&mut clock.clone(), accounts, again_ms, 200);
            assert!(found <= ahead, "{accounts} {pause_ms}: {found}");
        }
    }

    #[test]
    fn sparse_streams_are_taken_at_their_word() {
        // How many of 90 events count as of before.
        let run = |accounts: u64, ms: &dyn Fn(i64) -> i64| {
            let mut clock = Clock::new(D);
            let ahead =
                (0..90).filter(|at| clock.hear(*at as u64 % accounts, T + ms(*at)) < T + ms(*at));
            let ahead = ahead.count();
            (ahead, clock.now_ms() - T - ms(89))
        };
        let daily = |at: i64| at * D;
        let without_weekends = |at: i64| (at / 5 * 7 + at % 5) * D;
        let office = |at: i64| (at / 6) * D + (9 + at % 6) * H;
        for accounts in [1, 2, 3, 5, 9] {
            for (name, ms) in [
                ("daily", &daily as &dyn Fn(i64) -> i64),
                ("weekends", &without_weekends),
                ("office", &office),
            ] {
                let (ahead, behind_ms) = run(accounts, ms);
                assert!(ahead <= 4 && behind_ms == 0, "{accounts} {name}: {ahead} {behind_ms}");
            }
        }
    }

    #[test]
    fn account_steadily_ahead_counts_as_of_now() {
        let mut clock = clock_of_a_crowd(30);
        for at in 1..2_000 {
            let now_ms = T + at * S;
            clock.hear(at as u64 % 30, now_ms);
            assert_eq!(clock.hear(99, now_ms + 3 * H), now_ms);
        }
    }

    #[test]
    fn stream_sorted_by_account_ends_at_its_newest_event() {
        for events in [2, 5, 30] {
            let mut clock = Clock::new(D);
            let (mut ahead, mut newest_ms) = (0, 0);
            for account in 0..40u64 {
                for at in 0..events {
                    let ts_ms = T + account as i64 * H + at * 60 * D / events;
                    newest_ms = newest_ms.max(ts_ms);
                    ahead += i64::from(clock.hear(account, ts_ms) < ts_ms);
                }
            }
            assert!(newest_ms - clock.now_ms() <= 3 * H, "{}", newest_ms - clock.now_ms());
            assert!(ahead * 20 <= 40 * events, "{ahead} of {}", 40 * events);
        }
    }

    #[test]
    fn creeping_accounts_stay_within_a_bound() {
        // Step by step past the crowd: one account by a step, several by `jump_max` and the crowd's pauses.
        for accounts in [1, 2, 3] {
            let mut clock = clock_of_a_crowd(100);
            let few_ms = D + clock.pause_ms * VOICES_MAX as i64;
            // One more step, and what the crowd's own half is behind.
            let most_ms = if accounts == 1 { 9 * S } else { few_ms + 200 * S };
            for at in 1..30_000 {
                clock.hear(at as u64 % 100, T + at * S);
                for n in 0..accounts * 3 {
                    clock.hear(1_000 + n % accounts, clock.now_ms() + 8 * S);
                }
                let past_ms = clock.now_ms() - T - at * S;
                assert!(past_ms <= most_ms, "{accounts}: {past_ms} ms past the crowd");
            }
        }
    }

    #[test]
    fn old_events_say_nothing_about_now() {
        let mut clock = clock_of_a_crowd(100);
        // An import of events of last week, between those of today.
        for at in 1..3_000 {
            for old in 0..9 {
                assert_eq!(
                    clock.hear(5_000 + (at as u64 * 9 + old) % 700, T - 7 * D + at),
                    T - 7 * D + at
                );
            }
            assert_eq!(clock.hear(at as u64 % 100, T + at * S), T + at * S);
        }
    }

    #[test]
    fn wrong_moment_in_front_is_not_the_beginning() {
        let rising = |n: u64| (0..n).map(|at| (at % 9, T + at as i64 * 60 * S)).collect::<Vec<_>>();
        let opening = |events: &[(u64, i64)]| Clock::new(D).opening(events, H);
        let behind = |wrong: &[i64]| {
            let wrong = wrong.iter().map(|ts_ms| (77, *ts_ms));
            opening(&wrong.chain(rising(40)).collect::<Vec<_>>())
        };
        assert_eq!(opening(&rising(40)), 0);
        assert_eq!(behind(&[YEAR_9999]), 1);
        assert_eq!(behind(&[T + 12 * H]), 1);
        assert_eq!(behind(&[YEAR_9999, T - 9 * D, YEAR_9999]), 1, "late by days, but no leap");
        let thirty: Vec<_> = (0..30).map(|n| (500 + n, YEAR_9999)).chain(rising(34)).collect();
        assert_eq!(opening(&thirty), 30, "most say so");
        // What cannot be told begins with the first.
        assert_eq!(opening(&[]), 0);
        assert_eq!(opening(&[(1, YEAR_9999), (2, T)]), 0);
        let falling: Vec<_> = (0..64).map(|n| (n % 5, T - n as i64 * S)).collect();
        assert_eq!(opening(&falling), 0);
        let one: Vec<_> = (0..20).map(|n| (1, T + n * D)).collect();
        assert_eq!(opening(&one), 0);
        // One account is the stream, and its first event is ahead of all of its others.
        let own: Vec<_> =
            [(1, T + 12 * H)].into_iter().chain((0..9).map(|n| (1, T + n * S))).collect();
        assert_eq!(opening(&own), 1);
        assert_eq!(clock_of_a_crowd(3).opening(&own, H), 0, "it is set");
    }

    proptest! {
        #[test]
        fn never_goes_back_nor_past_a_word_and_is_the_same_when_saved(
            events in proptest::collection::vec((0u64..12, prop_oneof![
                5 => 0i64..60 * S, 2 => -3 * H..H, 1 => 0i64..100 * D, 1 => Just(YEAR_9999 - T), 1 => Just(-T),
            ], any::<bool>()), 1..200),
        ) {
            let mut clock = Clock::new(D);
            let (mut ms, mut newest_ms) = (T, 0);
            for (account, gap_ms, saves) in events {
                let ts_ms = (ms + gap_ms).max(0);
                ms += gap_ms.clamp(0, 60 * S);
                newest_ms = newest_ms.max(ts_ms);
                let before_ms = clock.now_ms();
                let at_ms = clock.hear(account, ts_ms);
                prop_assert!(clock.now_ms() >= before_ms && clock.now_ms() <= newest_ms);
                prop_assert_eq!(at_ms, ts_ms.min(clock.now_ms()));
                prop_assert!(clock.voices.len() <= VOICES_MAX);
                if saves {
                    let mut other = Clock::new(D);
                    prop_assert_eq!(other.restore(clock.now_ms(), &clock.saved()), Some(()));
                    prop_assert_eq!(&other, &clock);
                    clock = other;
                }
            }
        }
    }

    #[test]
    fn record_that_was_no_clock_is_refused() {
        let good = clock_of_a_crowd(80).saved();
        assert!(Clock::new(D).restore(T, &good).is_some());
        let mut twice = good.clone();
        twice.voices[3] = twice.voices[4];
        let mut many = good.clone();
        many.voices.push((7_777, T));
        let mut later = good.clone();
        later.settled_ms = T + 1;
        let mut run = good;
        run.run.accounts = 65;
        for wrong in [twice, many, later, run] {
            assert!(Clock::new(D).restore(T, &wrong).is_none(), "{wrong:?}");
        }
    }
}
