//! What was done already, put back: after a silent replay the policy's records come from the actions that were really published.

use crate::policy::{ActionKind, Policy, Published};
use crate::step::{ACCOUNT_DOMAIN, EVENT_DOMAIN, Engine};

/// An action as it stands in its topic.
#[derive(Clone, Copy, Debug)]
pub struct PublishedAction<'a> {
    /// The account.
    pub account: &'a str,
    /// What was done; `reverse` undoes `reverses`.
    pub action: &'a str,
    /// The rule; it need not exist any more.
    pub rule: &'a str,
    /// The stream's time at the decision.
    pub at_ms: i64,
    /// When it ends by itself.
    pub expires_at_ms: Option<i64>,
    /// Its id, as hex.
    pub action_id: &'a str,
    /// Id of the event that led to it; empty: not known.
    pub event_id: &'a str,
    /// Only reported.
    pub shadow: bool,
    /// What was wanted, where a cap made it a lesser one.
    pub degraded_from: Option<&'a str>,
    /// The hour whose cap it counted in; none: nobody said, and it counts as a new one.
    pub cap_hour: Option<i64>,
    /// The action that is undone, as hex.
    pub reverses: Option<&'a str>,
}

impl Engine {
    /// Counts an action, and takes it back into the policy's record of its account, in the order in which those of the account were
    /// published. Of an account that is not known any more there is nothing to remember; what is no action is passed over.
    pub fn apply_published(&mut self, published: &PublishedAction<'_>) {
        let Some(action_id) = crate::wire::bytes_of_hex(published.action_id) else { return };
        let undone = published.reverses.and_then(crate::wire::bytes_of_hex);
        let action = ActionKind::from_name(published.action);
        match (undone, action) {
            (Some(_), _) => self.counts.reversals += 1,
            (None, Some(_)) if published.shadow => self.counts.shadow_actions += 1,
            (None, Some(action)) => {
                self.counts.actions += 1;
                let wanted = published.degraded_from.and_then(ActionKind::from_name);
                let caps = &mut self.deciding.caps;
                let hour = published.cap_hour.unwrap_or_else(|| caps.hour_now(published.at_ms));
                Policy::count_published(action, wanted, hour, caps);
            }
            (None, None) => return,
        }
        self.counts.degraded += u64::from(published.degraded_from.is_some());
        let hash = self.hasher.hash(ACCOUNT_DOMAIN, published.account);
        let Some(account) = self.accounts.keys.find(hash) else { return };
        // What was done to one who was erased, or forgotten, and came back, is not done to this one.
        let known_since_ms = self.account_first_ms(account);
        let before = known_since_ms.is_none_or(|first_ms| published.at_ms < first_ms);
        if (before && undone.is_none())
            || (undone.is_some() && !self.deciding.states.contains_key(&hash))
        {
            return;
        }
        let deciding = &mut self.deciding;
        let mut state = deciding.states.get(&hash).cloned().unwrap_or_default();
        match (undone, action) {
            (Some(undone), _) => deciding.policy.apply_reversed(&mut state, undone),
            (None, Some(action)) => {
                let put = Published {
                    action,
                    rule: published.rule,
                    at_ms: published.at_ms,
                    expires_at_ms: published.expires_at_ms,
                    action_id,
                    event_hash: match published.event_id {
                        "" => 0,
                        id => self.public_hasher.hash(EVENT_DOMAIN, id),
                    },
                    shadow: published.shadow,
                };
                let forgotten = deciding.policy.apply_published(&put, &mut state);
                self.counts.forgotten_actions += u64::from(forgotten.is_some());
            }
            (None, None) => return,
        }
        deciding.states.insert(hash, state);
        deciding.dirty.insert(hash);
    }
}
