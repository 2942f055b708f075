//! From scores to enforcement actions.
//!
//! A policy is an ordered list of rules. For every event the rules are asked in order; shadow rules that
//! match are reported and the next is asked, and the first live rule that matches decides, even if that
//! means that nothing new is done. What is decided is noted in a small record of the account and in the
//! hourly counts, both of which are part of the state: the same events in the same order give the same
//! decisions.
//!
//! What keeps a decision from being published:
//! * the account, or all things of some kind in the event, are on an allow list: no rule is asked;
//! * the rule acted on this account within its cool-down;
//! * an equal or harder action on the account is in force;
//! * no more actions may be published this hour: a milder one takes its place, if there is one.
//!
//! What makes it a shadow action: the rule, `policy.shadow`, `policy.kill_switch`, the warm-up. Shadow
//! actions leave no trace on live ones.

mod allow;
mod bytes;
mod caps;
mod compile;
mod config;
mod decide;
mod defaults;
mod error;
mod reason;
mod state;
#[cfg(test)]
mod tests;

pub use caps::CapState;
pub use compile::{Policy, RULES_MAX, Rule, THRESHOLDS_BUILT_IN, Vocabulary};
pub use config::{ActionKind, PolicyConfig, RuleConfig};
pub use decide::{DecideContext, Decision, Published, Reversal, ScoreView};
pub use defaults::default_rules;
pub use error::{PolicyError, StateError};
pub use state::{ACTIONS_MAX, AccountPolicyState, ActionTaken};
