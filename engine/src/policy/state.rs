//! What the policy remembers of one account.

use super::bytes::{Reader, Writer};
use super::config::ActionKind;
use super::error::StateError;
use smallvec::SmallVec;

/// Rules whose cool-down is remembered one by one.
pub(crate) const FIRED_MAX: usize = 4;

/// Actions of one account that are remembered. The rules alone cannot lead to more than one of each kind: of two
/// that are in force, the later one is harder. More can only come back from a topic that outlived a lost state.
pub const ACTIONS_MAX: usize = 16;

/// Version 1 had one action, and did not say which event led to it.
const VERSION: u8 = 2;
const VERSION_OF_ONE_ACTION: u8 = 1;

/// A rule that acted, and until when it is quiet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Fired {
    rule_tag: u32,
    /// What the rule does, before any cap.
    action: ActionKind,
    /// 0 with tag 0: a free place.
    quiet_until_ms: i64,
}

/// An action that was really taken and not reversed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ActionTaken {
    /// What was done.
    pub action: ActionKind,
    /// When, in event time.
    pub at_ms: i64,
    /// The end that was published, if any.
    pub expires_at_ms: Option<i64>,
    /// The published action's id; zeros until it is known.
    pub action_id: [u8; 16],
    /// Hash of the id of the event that led to it; 0: not known.
    pub event_hash: u64,
    /// Names the rule that decided it.
    pub(crate) rule_tag: u32,
    /// Until when milder and equal actions are not repeated.
    pub(crate) in_force_until_ms: i64,
}

impl ActionTaken {
    /// Length of its record.
    const BYTES: usize = 1 + 1 + 4 + 8 + 8 + 8 + 16 + 8;

    /// Whether it is still in force at a moment, by itself: neither over once it was done, nor ended.
    pub(crate) fn lasts_at(&self, ts_ms: i64) -> bool {
        match self.expires_at_ms {
            Some(end_ms) => ts_ms < end_ms,
            None => self.action.lasts(),
        }
    }

    fn put(&self, out: &mut Writer<'_>) {
        out.put(&[self.action as u8, u8::from(self.expires_at_ms.is_some())]);
        out.put(&self.rule_tag.to_le_bytes());
        out.put(&self.at_ms.to_le_bytes());
        out.put(&self.expires_at_ms.unwrap_or(0).to_le_bytes());
        out.put(&self.in_force_until_ms.to_le_bytes());
        out.put(&self.action_id);
        out.put(&self.event_hash.to_le_bytes());
    }

    fn take(from: &mut Reader<'_>) -> Result<Self, StateError> {
        let action = from.action()?;
        let [has_end] = from.take();
        let (rule_tag, at_ms, end_ms) = (from.u32(), from.time(), from.time());
        Ok(Self {
            action,
            at_ms,
            expires_at_ms: (has_end != 0).then_some(end_ms),
            rule_tag,
            in_force_until_ms: from.time(),
            action_id: from.take(),
            event_hash: from.u64(),
        })
    }
}

/// What was done about an account, so that it is not done twice and can be undone. Some 200 bytes in memory, and
/// 64 more for each further action in force. A new account's is `default()`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccountPolicyState {
    /// In the order in which they were taken, at most [`ACTIONS_MAX`]: the newest, and of those before it the ones
    /// that were still in force when the next was taken.
    actions: SmallVec<[ActionTaken; 1]>,
    fired: [Fired; FIRED_MAX],
    /// When more than [`FIRED_MAX`] rules are quiet at once, the one that would wake first is forgotten,
    /// and until then nothing as mild as its action happens.
    floor: Fired,
    /// Number of the newest period with a shadow action, and the rules that reported in it, by bit.
    shadow_period: i64,
    shadow_rules: u64,
}

impl AccountPolicyState {
    /// Length of a record without actions.
    const BYTES: usize = 1 + 1 + (FIRED_MAX + 1) * (4 + 1 + 8) + 8 + 8;
    /// Length of a record of the version of one action.
    const BYTES_OF_ONE_ACTION: usize =
        1 + 1 + 1 + 1 + 4 + 8 + 8 + 8 + 16 + (FIRED_MAX + 1) * (4 + 1 + 8) + 8 + 8;

    /// The newest action that was really taken and not reversed.
    pub fn last(&self) -> Option<&ActionTaken> {
        self.actions.last()
    }

    /// Everything that is remembered, in the order in which it was taken.
    #[cfg(test)]
    pub(crate) fn actions(&self) -> &[ActionTaken] {
        &self.actions
    }

    /// The actions that are in force at a moment, newest first.
    pub(crate) fn lasting(&self, ts_ms: i64) -> impl Iterator<Item = &ActionTaken> {
        self.actions.iter().rev().filter(move |taken| taken.lasts_at(ts_ms))
    }

    /// Rules that are in their cool-down: tag, what each asked for, and the end; the one that wakes last first.
    pub(crate) fn quiet(&self, ts_ms: i64) -> Vec<(u32, ActionKind, i64)> {
        let quiet = self.fired.iter().filter(|f| f.quiet_until_ms > ts_ms);
        let mut quiet: Vec<_> = quiet.map(|f| (f.rule_tag, f.action, f.quiet_until_ms)).collect();
        quiet.sort_by_key(|(tag, _, until_ms)| (std::cmp::Reverse(*until_ms), *tag));
        quiet
    }

    /// Tells the id under which the action that was just decided is published, so that a reversal can name
    /// it, and the event that led to it. No effect without an action, or when it has an id already.
    pub fn name_action(&mut self, action_id: [u8; 16], event_hash: u64) {
        if let Some(newest) = self.actions.last_mut().filter(|taken| taken.action_id == [0; 16]) {
            (newest.action_id, newest.event_hash) = (action_id, event_hash);
        }
    }

    /// Whether an equal or harder action is in force.
    pub(crate) fn covers(&self, action: ActionKind, ts_ms: i64) -> bool {
        self.actions.iter().any(|taken| taken.action >= action && ts_ms < taken.in_force_until_ms)
    }

    /// Whether a rule is in its cool-down. An event older than the rule's last action is inside of it.
    pub(crate) fn is_quiet(&self, rule_tag: u32, action: ActionKind, ts_ms: i64) -> bool {
        let own = self.fired.iter().any(|f| f.rule_tag == rule_tag && ts_ms < f.quiet_until_ms);
        own || (action <= self.floor.action && ts_ms < self.floor.quiet_until_ms)
    }

    /// Notes that a rule acted: its cool-down runs until `quiet_until_ms`. `rule_action` is what the rule
    /// does before any cap.
    pub(crate) fn note_fired(
        &mut self,
        rule_tag: u32,
        rule_action: ActionKind,
        ts_ms: i64,
        quiet_until_ms: i64,
    ) {
        let fired = Fired { rule_tag, action: rule_action, quiet_until_ms };
        if let Some(own) = self.fired.iter_mut().find(|f| f.rule_tag == rule_tag) {
            own.quiet_until_ms = own.quiet_until_ms.max(quiet_until_ms);
            own.action = rule_action;
            return;
        }
        let Some(first_awake) = self.fired.iter_mut().min_by_key(|f| f.quiet_until_ms) else {
            return;
        };
        let forgotten = std::mem::replace(first_awake, fired);
        if forgotten.quiet_until_ms > ts_ms {
            if self.floor.quiet_until_ms <= ts_ms {
                self.floor = forgotten;
            } else {
                self.floor.action = self.floor.action.max(forgotten.action);
                self.floor.quiet_until_ms = self.floor.quiet_until_ms.max(forgotten.quiet_until_ms);
            }
        }
    }

    /// Makes an action the newest one. Those before it stay while they are in force: what was over once it was done,
    /// and what has ended by the time of this one, goes. At [`ACTIONS_MAX`] the oldest of the mildest goes as well, and
    /// is returned: it cannot be reversed any more.
    pub(crate) fn note_action(&mut self, taken: ActionTaken) -> Option<ActionTaken> {
        self.actions.retain(|before| before.lasts_at(taken.at_ms));
        let mut forgotten = None;
        if self.actions.len() >= ACTIONS_MAX {
            let mildest = (0..self.actions.len()).min_by_key(|at| self.actions[*at].action);
            forgotten = mildest.map(|at| self.actions.remove(at));
        }
        self.actions.push(taken);
        forgotten
    }

    /// Whether an action of this id is remembered.
    pub(crate) fn has_taken(&self, action_id: [u8; 16]) -> bool {
        self.actions.iter().any(|taken| taken.action_id == action_id)
    }

    /// Forgets the actions for which `is_undone` says so, as reversed; cool-downs run on. Newest first.
    pub(crate) fn reverse(
        &mut self,
        is_undone: impl Fn(&ActionTaken) -> bool,
    ) -> SmallVec<[ActionTaken; 1]> {
        let undone = self.actions.iter().rev().filter(|taken| is_undone(taken)).copied().collect();
        self.actions.retain(|taken| !is_undone(taken));
        undone
    }

    /// Whether a shadow rule has not reported in this period yet; if so, now it has. A late event belongs
    /// to the newest period.
    pub(crate) fn report_shadow(&mut self, rule: usize, period: i64) -> bool {
        let bit = 1_u64.checked_shl(rule as u32).unwrap_or(0);
        let known = if period > self.shadow_period { 0 } else { self.shadow_rules };
        if known & bit != 0 || bit == 0 {
            return false;
        }
        self.shadow_period = self.shadow_period.max(period);
        self.shadow_rules = known | bit;
        true
    }

    /// The record of a checkpoint, little-endian: of fixed length, then the actions.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0; Self::BYTES + self.actions.len() * ActionTaken::BYTES];
        let mut out = Writer::new(&mut bytes);
        out.put(&[VERSION, self.actions.len() as u8]);
        for fired in self.fired.iter().chain([&self.floor]) {
            out.put(&fired.rule_tag.to_le_bytes());
            out.put(&[fired.action as u8]);
            out.put(&fired.quiet_until_ms.to_le_bytes());
        }
        out.put(&self.shadow_period.to_le_bytes());
        out.put(&self.shadow_rules.to_le_bytes());
        self.actions.iter().for_each(|taken| taken.put(&mut out));
        bytes
    }

    /// Reads the record of a checkpoint, also one of the version of one action.
    ///
    /// # Errors
    ///
    /// Another length, another version, more actions than there can be, or an action that does not exist.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, StateError> {
        if bytes.first() == Some(&VERSION_OF_ONE_ACTION) {
            return Self::from_one_action(bytes);
        }
        let count = bytes.get(1).copied().map_or(0, usize::from);
        let expected = Self::BYTES + count * ActionTaken::BYTES;
        let mut from = Reader::new(bytes, expected, VERSION)?;
        let [_count] = from.take();
        if count > ACTIONS_MAX {
            return Err(StateError::Actions { found: count, max: ACTIONS_MAX });
        }
        let mut state = Self::default();
        state.take_rules(&mut from)?;
        for _ in 0..count {
            let taken = ActionTaken::take(&mut from)?;
            if taken.action == ActionKind::Allow {
                return Err(StateError::Action { found: ActionKind::Allow as u8 });
            }
            state.actions.push(taken);
        }
        Ok(state)
    }

    fn from_one_action(bytes: &[u8]) -> Result<Self, StateError> {
        let mut from = Reader::new(bytes, Self::BYTES_OF_ONE_ACTION, VERSION_OF_ONE_ACTION)?;
        let action = from.action()?;
        let [has_end, _] = from.take();
        let (rule_tag, at_ms, end_ms) = (from.u32(), from.time(), from.time());
        let taken = ActionTaken {
            action,
            at_ms,
            expires_at_ms: (has_end != 0).then_some(end_ms),
            rule_tag,
            in_force_until_ms: from.time(),
            action_id: from.take(),
            event_hash: 0,
        };
        let mut state = Self::default();
        state.take_rules(&mut from)?;
        if action != ActionKind::Allow {
            state.actions.push(taken);
        }
        Ok(state)
    }

    /// Reads what is remembered of rules.
    fn take_rules(&mut self, from: &mut Reader<'_>) -> Result<(), StateError> {
        for index in 0..=FIRED_MAX {
            let fired =
                Fired { rule_tag: from.u32(), action: from.action()?, quiet_until_ms: from.time() };
            match self.fired.get_mut(index) {
                Some(place) => *place = fired,
                None => self.floor = fired,
            }
        }
        self.shadow_period = from.time();
        self.shadow_rules = from.u64();
        Ok(())
    }
}
