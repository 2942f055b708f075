//! What the policy remembers of one account.

use super::bytes::{Reader, Writer};
use super::config::ActionKind;
use super::error::StateError;

/// Rules whose cool-down is remembered one by one.
pub(crate) const FIRED_MAX: usize = 4;

const VERSION: u8 = 1;

/// A rule that acted, and until when it is quiet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Fired {
    rule_tag: u32,
    /// What the rule does, before any cap.
    action: ActionKind,
    /// 0 with tag 0: a free place.
    quiet_until_ms: i64,
}

/// What was done about an account, so that it is not done twice and can be undone. Some 150 bytes in
/// memory; [`AccountPolicyState::BYTES`] in a checkpoint. A new account's is `default()`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AccountPolicyState {
    /// The last action that was really taken; `Allow`: none, or it was reversed.
    action: ActionKind,
    rule_tag: u32,
    at_ms: i64,
    /// The end that was published, if any.
    expires_at_ms: Option<i64>,
    /// Until when milder and equal actions are not repeated.
    in_force_until_ms: i64,
    action_id: [u8; 16],
    fired: [Fired; FIRED_MAX],
    /// When more than [`FIRED_MAX`] rules are quiet at once, the one that would wake first is forgotten,
    /// and until then nothing as mild as its action happens.
    floor: Fired,
    /// Number of the newest period with a shadow action, and the rules that reported in it, by bit.
    shadow_period: i64,
    shadow_rules: u64,
}

/// The last action of an account, for readers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastAction {
    /// What was done.
    pub action: ActionKind,
    /// When, in event time.
    pub at_ms: i64,
    /// When it ends by itself.
    pub expires_at_ms: Option<i64>,
    /// The published action's id; zeros until it is told.
    pub action_id: [u8; 16],
    /// Names the rule that decided it.
    pub(crate) rule_tag: u32,
}

impl AccountPolicyState {
    /// Length of [`AccountPolicyState::to_bytes`].
    pub const BYTES: usize =
        1 + 1 + 1 + 1 + 4 + 8 + 8 + 8 + 16 + (FIRED_MAX + 1) * (4 + 1 + 8) + 8 + 8;

    /// The last action that was really taken and not reversed.
    pub fn last(&self) -> Option<LastAction> {
        (self.action != ActionKind::Allow).then_some(LastAction {
            action: self.action,
            at_ms: self.at_ms,
            expires_at_ms: self.expires_at_ms,
            action_id: self.action_id,
            rule_tag: self.rule_tag,
        })
    }

    /// Rules that are in their cool-down: tag, what each asked for, and the end; the one that wakes last first.
    pub(crate) fn quiet(&self, ts_ms: i64) -> Vec<(u32, ActionKind, i64)> {
        let quiet = self.fired.iter().filter(|f| f.quiet_until_ms > ts_ms);
        let mut quiet: Vec<_> = quiet.map(|f| (f.rule_tag, f.action, f.quiet_until_ms)).collect();
        quiet.sort_by_key(|(tag, _, until_ms)| (std::cmp::Reverse(*until_ms), *tag));
        quiet
    }

    /// Tells the id under which the action that was just decided is published, so that a reversal can name
    /// it. No effect without an action, or when it has an id already.
    pub fn name_action(&mut self, action_id: [u8; 16]) {
        if self.action != ActionKind::Allow && self.action_id == [0; 16] {
            self.action_id = action_id;
        }
    }

    /// Whether an equal or harder action is in force.
    pub(crate) fn covers(&self, action: ActionKind, ts_ms: i64) -> bool {
        self.action >= action && ts_ms < self.in_force_until_ms
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

    /// Makes an action the last one.
    pub(crate) fn note_action(
        &mut self,
        action: ActionKind,
        rule_tag: u32,
        at_ms: i64,
        expires_at_ms: Option<i64>,
        in_force_until_ms: i64,
    ) {
        self.action = action;
        self.rule_tag = rule_tag;
        self.at_ms = at_ms;
        self.expires_at_ms = expires_at_ms;
        self.in_force_until_ms = in_force_until_ms;
        self.action_id = [0; 16];
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

    /// Forgets the last action, as reversed; cool-downs run on.
    pub(crate) fn note_reversed(&mut self) {
        self.note_action(ActionKind::Allow, 0, 0, None, 0);
    }

    /// The record of a checkpoint: fixed length, little-endian.
    pub fn to_bytes(&self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        let mut out = Writer::new(&mut bytes);
        out.put(&[VERSION, self.action as u8, u8::from(self.expires_at_ms.is_some()), 0]);
        out.put(&self.rule_tag.to_le_bytes());
        out.put(&self.at_ms.to_le_bytes());
        out.put(&self.expires_at_ms.unwrap_or(0).to_le_bytes());
        out.put(&self.in_force_until_ms.to_le_bytes());
        out.put(&self.action_id);
        for fired in self.fired.iter().chain([&self.floor]) {
            out.put(&fired.rule_tag.to_le_bytes());
            out.put(&[fired.action as u8]);
            out.put(&fired.quiet_until_ms.to_le_bytes());
        }
        out.put(&self.shadow_period.to_le_bytes());
        out.put(&self.shadow_rules.to_le_bytes());
        bytes
    }

    /// Reads the record of a checkpoint.
    ///
    /// # Errors
    ///
    /// Another length, another version, or an action that does not exist.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, StateError> {
        let mut from = Reader::new(bytes, Self::BYTES, VERSION)?;
        let action = from.action()?;
        let [has_end, _] = from.take();
        let rule_tag = from.u32();
        let at_ms = from.time();
        let end_ms = from.time();
        let mut state = Self {
            action,
            rule_tag,
            at_ms,
            expires_at_ms: (has_end != 0).then_some(end_ms),
            in_force_until_ms: from.time(),
            action_id: from.take(),
            ..Self::default()
        };
        for index in 0..=FIRED_MAX {
            let fired =
                Fired { rule_tag: from.u32(), action: from.action()?, quiet_until_ms: from.time() };
            match state.fired.get_mut(index) {
                Some(place) => *place = fired,
                None => state.floor = fired,
            }
        }
        state.shadow_period = from.time();
        state.shadow_rules = from.u64();
        Ok(state)
    }
}
