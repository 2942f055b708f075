//! From scores to an action: the rules asked in order, and what keeps them from acting twice, too often,
//! or at all.

use super::caps::CapState;
use super::compile::{Policy, Rule};
use super::config::ActionKind;
use super::state::{AccountPolicyState, ActionTaken};
use smallvec::SmallVec;

/// The scores of one event.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ScoreView {
    /// The combined score, 0 to 1: `score` in conditions.
    pub score: f32,
    /// The trees' probability: `scores.behaviour`.
    pub behaviour: f32,
    /// The graph model's probability: `scores.graph`.
    pub graph: f32,
}

/// What a decision depends on beside the row and the scores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecideContext {
    /// The stream's time when the event is taken: the event's own, or its partition's clock where that is later. From it everything runs
    /// that the policy times, so that an account whose clock is behind gets no action that has ended already.
    pub now_ms: i64,
    /// Whether the account, or all things of some kind in the event, are on an allow list.
    pub account_allowed: bool,
    /// Whether the warm-up is over.
    pub warm: bool,
}

/// What is to be done about the account of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Index of the rule in [`Policy::rules`].
    pub rule: u16,
    /// What is to be done; never `allow`.
    pub action: ActionKind,
    /// What the rule wanted, if a cap made it milder.
    pub degraded_from: Option<ActionKind>,
    /// When it ends by itself, in the stream's time.
    pub expires_at_ms: Option<i64>,
    /// Reported, not to be carried out.
    pub shadow: bool,
    /// The hour of the stream's time, since the epoch, whose cap it counts in; none for what is only reported.
    pub cap_hour: Option<i64>,
}

/// The undoing of an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reversal {
    /// Id of the action that is undone.
    pub action_id: [u8; 16],
    /// What it was.
    pub action: ActionKind,
}

/// An action as it was published, read back from its topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Published<'a> {
    /// What was done.
    pub action: ActionKind,
    /// Name of the rule that decided it; it need not exist any more.
    pub rule: &'a str,
    /// The stream's time at the decision.
    pub at_ms: i64,
    /// When it ends by itself.
    pub expires_at_ms: Option<i64>,
    /// Its id.
    pub action_id: [u8; 16],
    /// Hash of the id of the event that led to it; 0: not known.
    pub event_hash: u64,
    /// Whether it was a shadow action.
    pub shadow: bool,
}

impl Policy {
    /// Asks the rules about an event. `row` has the columns of the vocabulary; those it lacks are absent.
    /// Notes in `state` and `caps` what is decided; the id of a live action is to be told with
    /// [`AccountPolicyState::name_action`]. Shadow rules that match come first, then at most one decision of
    /// the first live rule that matches. Without a decision the account's record is as it was. Some
    /// nanoseconds a rule; allocates only for more than one decision.
    pub fn decide(
        &self,
        row: &[f32],
        scores: &ScoreView,
        context: &DecideContext,
        state: &mut AccountPolicyState,
        caps: &mut CapState,
    ) -> SmallVec<[Decision; 1]> {
        let mut decisions = SmallVec::new();
        if context.account_allowed {
            return decisions;
        }
        let load = |slot: u32| self.value(row, scores, slot);
        for (index, rule) in self.rules.iter().enumerate() {
            if !rule.program.eval_with(load) {
                continue;
            }
            let only_reports = rule.shadow || self.shadow;
            if only_reports || (self.kill_switch || !context.warm) {
                if rule.action != ActionKind::Allow {
                    decisions.extend(self.report(index, rule, context.now_ms, state));
                }
                if rule.shadow || (only_reports && rule.action != ActionKind::Allow) {
                    continue;
                }
                break;
            }
            if rule.action != ActionKind::Allow {
                decisions.extend(self.act(index, rule, context.now_ms, state, caps));
            }
            break;
        }
        decisions
    }

    /// The value of a slot: a column, then the scores.
    #[inline]
    fn value(&self, row: &[f32], scores: &ScoreView, slot: u32) -> f32 {
        let slot = slot as usize;
        match slot.checked_sub(self.columns) {
            None => row.get(slot).copied().unwrap_or(f32::NAN),
            Some(0) => scores.score,
            Some(1) => scores.behaviour,
            Some(_) => scores.graph,
        }
    }

    /// A shadow decision, once per account, rule and period.
    fn report(
        &self,
        index: usize,
        rule: &Rule,
        ts_ms: i64,
        state: &mut AccountPolicyState,
    ) -> Option<Decision> {
        let period = ts_ms.div_euclid(self.shadow_period_ms);
        state.report_shadow(index, period).then(|| Decision {
            rule: index as u16,
            action: rule.action,
            degraded_from: None,
            expires_at_ms: rule.expires_ms.map(|length_ms| ts_ms.saturating_add(length_ms)),
            shadow: true,
            cap_hour: None,
        })
    }

    /// The decision of a live rule, unless it is quiet, or nothing would change, or there is no room.
    fn act(
        &self,
        index: usize,
        rule: &Rule,
        ts_ms: i64,
        state: &mut AccountPolicyState,
        caps: &mut CapState,
    ) -> Option<Decision> {
        if state.is_quiet(rule.tag, rule.action, ts_ms) || state.covers(rule.action, ts_ms) {
            return None;
        }
        let Some(action) = caps.admitted(rule.action, ts_ms, &self.caps) else {
            caps.note_dropped();
            return None;
        };
        let degraded = action != rule.action;
        if degraded && state.covers(action, ts_ms) {
            return None;
        }
        if degraded {
            caps.note_degraded(rule.action);
        }
        let cap_hour = Some(caps.note_published(action, ts_ms));
        // The end that the rule names is that of the action it wanted.
        let expires_ms = if degraded { None } else { rule.expires_ms };
        let expires_at_ms = expires_ms.map(|length_ms| ts_ms.saturating_add(length_ms));
        let quiet_until_ms = ts_ms.saturating_add(rule.cooldown_ms);
        state.note_fired(rule.tag, rule.action, ts_ms, quiet_until_ms);
        // Whatever is in force is milder, so there is room: at most one action of each kind is.
        state.note_action(ActionTaken {
            action,
            at_ms: ts_ms,
            expires_at_ms,
            rule_tag: rule.tag,
            in_force_until_ms: in_force_until(action, expires_at_ms, quiet_until_ms),
            ..ActionTaken::default()
        });
        Some(Decision {
            rule: index as u16,
            action,
            degraded_from: degraded.then_some(rule.action),
            expires_at_ms,
            shadow: false,
            cap_hour,
        })
    }

    /// Puts back what a published action did to the caps, in any order.
    pub fn count_published(
        action: ActionKind,
        degraded_from: Option<ActionKind>,
        cap_hour: i64,
        caps: &mut CapState,
    ) {
        caps.put_back(action, cap_hour);
        if let Some(wanted) = degraded_from {
            caps.note_degraded(wanted);
        }
    }

    /// Puts back what a published action did to an account's record, without deciding again. In the order in which those of the
    /// account were published. Returns an action for which there is no room any more, so that it cannot be reversed.
    pub fn apply_published(
        &self,
        published: &Published<'_>,
        state: &mut AccountPolicyState,
    ) -> Option<ActionTaken> {
        let index = self.rule_index(published.rule);
        if published.shadow {
            if let Some(index) = index {
                state.report_shadow(index, published.at_ms.div_euclid(self.shadow_period_ms));
            }
            return None;
        }
        if published.action == ActionKind::Allow || state.has_taken(published.action_id) {
            return None;
        }
        let tag = super::compile::rule_tag(published.rule);
        let rule = index.and_then(|index| self.rules.get(index));
        let cooldown_ms = rule.map_or(self.shadow_period_ms, |rule| rule.cooldown_ms);
        let rule_action = rule.map_or(published.action, |rule| rule.action.max(published.action));
        let at_ms = published.at_ms;
        let quiet_until_ms = at_ms.saturating_add(cooldown_ms);
        state.note_fired(tag, rule_action, at_ms, quiet_until_ms);
        let expires_at_ms = published.expires_at_ms;
        state.note_action(ActionTaken {
            action: published.action,
            at_ms,
            expires_at_ms,
            action_id: published.action_id,
            event_hash: published.event_hash,
            rule_tag: tag,
            in_force_until_ms: in_force_until(published.action, expires_at_ms, quiet_until_ms),
        })
    }

    /// What to undo when an account turns out to be good, newest first: everything that is in force, and the newest
    /// action also if it was over once it was done (a moderator may still be at it). Notes are not undone, and what
    /// `is_meant` does not name is not either. Cool-downs run on, so the same rule does not answer again soon. Without
    /// a reversal the record is as it was.
    pub fn on_cleared(
        &self,
        state: &mut AccountPolicyState,
        ts_ms: i64,
        is_meant: impl Fn(&ActionTaken) -> bool,
    ) -> SmallVec<[Reversal; 1]> {
        let undone = state.reverse(|taken| {
            let over = taken.expires_at_ms.is_some_and(|end_ms| end_ms <= ts_ms);
            !over && taken.action > ActionKind::Observe && is_meant(taken)
        });
        let reversal =
            |taken: ActionTaken| Reversal { action_id: taken.action_id, action: taken.action };
        undone.into_iter().map(reversal).collect()
    }

    /// Puts back a published reversal.
    pub fn apply_reversed(&self, state: &mut AccountPolicyState, action_id: [u8; 16]) {
        state.reverse(|taken| taken.action_id == action_id);
    }

    /// The place of a rule in [`Policy::rules`].
    pub fn rule_index(&self, name: &str) -> Option<usize> {
        self.rules.iter().position(|rule| rule.name == name)
    }

    /// The rule that a saved tag stands for, if it still exists.
    pub(crate) fn rule_of_tag(&self, tag: u32) -> Option<&Rule> {
        self.rules.iter().find(|rule| rule.tag == tag)
    }

    /// Why a rule decided, for a moderator; with the values of this event. Allocates.
    pub fn reason(&self, rule: u16, row: &[f32], scores: &ScoreView) -> String {
        let rule = self.rules.get(usize::from(rule));
        rule.map(|rule| rule.reason.render(|slot| self.value(row, scores, slot)))
            .unwrap_or_default()
    }
}

/// Until when milder and equal actions are not repeated: the end that was published, or the end of time
/// for what lasts, or the end of the cool-down for what is over once it is done.
fn in_force_until(action: ActionKind, expires_at_ms: Option<i64>, quiet_until_ms: i64) -> i64 {
    match expires_at_ms {
        Some(end_ms) => end_ms,
        None if action.lasts() => i64::MAX,
        None => quiet_until_ms,
    }
}
