//! The `[policy]` table and the `[[rules]]` of `detector.toml`.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What is done about an account. Ordered from mildest to hardest.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum ActionKind {
    /// Nothing, and no later rule is asked. Never published.
    #[default]
    Allow = 0,
    /// Only noted.
    Observe = 1,
    /// The user must prove something: a captcha, a second factor.
    Challenge = 2,
    /// The account is slowed down.
    RateLimit = 3,
    /// A moderator looks at it.
    Review = 4,
    /// The account cannot act, for a time.
    Suspend = 5,
    /// The account is gone.
    Ban = 6,
}

/// How many kinds of actions there are.
pub(crate) const KINDS: usize = 7;

impl ActionKind {
    /// All of them, mildest first.
    pub const ALL: [ActionKind; KINDS] = [
        Self::Allow,
        Self::Observe,
        Self::Challenge,
        Self::RateLimit,
        Self::Review,
        Self::Suspend,
        Self::Ban,
    ];

    /// Its name in configuration and in published actions.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Observe => "observe",
            Self::Challenge => "challenge",
            Self::RateLimit => "rate_limit",
            Self::Review => "review",
            Self::Suspend => "suspend",
            Self::Ban => "ban",
        }
    }

    /// The action of a name, if there is one.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }

    pub(crate) fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.get(usize::from(byte)).copied()
    }

    /// What takes its place when no more of it may be published this hour: hard actions become a review,
    /// milder ones a note; a note has nothing below it.
    pub fn degraded(self) -> Option<Self> {
        match self {
            Self::Ban | Self::Suspend => Some(Self::Review),
            Self::Review | Self::RateLimit | Self::Challenge => Some(Self::Observe),
            Self::Observe | Self::Allow => None,
        }
    }

    /// Whether it goes on until somebody ends it, when the rule names no end. The others are over once
    /// they are done.
    pub fn lasts(self) -> bool {
        matches!(self, Self::RateLimit | Self::Suspend | Self::Ban)
    }
}

impl std::fmt::Display for ActionKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The `[policy]` table: what holds for all rules. Durations are text such as `10m`, `2h`, `14d`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PolicyConfig {
    /// Emergency brake: rules decide as ever, but every action leaves as a shadow action, which
    /// enforcement ignores. Reversals still leave.
    pub kill_switch: bool,
    /// Every rule runs as if it said `shadow = true`: all that match are reported, none is enforced.
    pub shadow: bool,
    /// Event time after a cold start during which actions are shadow actions, while profiles fill.
    pub warm_up: String,
    /// Most actions of a kind that may be published per hour of event time, over all accounts:
    /// `{ suspend = 200, ban = 20 }`. Above it, `suspend` and `ban` become `review`, and what is milder
    /// becomes `observe`; both are counted. A kind that is not named has no cap.
    pub caps_per_hour: BTreeMap<ActionKind, u32>,
    /// Accounts that are never acted on, by id.
    pub allow_accounts: Vec<String>,
    /// Things whose events are never acted on, as `kind:key`: `ip:203.0.113.7`; of addresses also ranges:
    /// `ip:203.0.113.0/24`. An event is freed when all of its things of one kind are allowed.
    pub allow_entities: Vec<String>,
    /// How long a rule is quiet about an account after it acted on it, unless the rule says otherwise;
    /// also the period in which a shadow rule reports an account at most once.
    pub cooldown: String,
    /// Numbers that conditions call `threshold.NAME`: these override the model's, which override the
    /// built-in ones (challenge 0.7, review 0.85, suspend 0.95, ban 0.99).
    pub thresholds: BTreeMap<String, f64>,
}

impl Default for PolicyConfig {
    fn default() -> Self {
        Self {
            kill_switch: false,
            shadow: false,
            warm_up: "0s".into(),
            caps_per_hour: BTreeMap::new(),
            allow_accounts: Vec::new(),
            allow_entities: Vec::new(),
            cooldown: "1d".into(),
            thresholds: BTreeMap::new(),
        }
    }
}

/// One of the `[[rules]]`. They are asked in order; the first live rule that matches decides.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RuleConfig {
    /// Its name in published actions: lower-case letters, digits, `_`, `-`, `.`; each name once.
    pub name: String,
    /// The condition, in the syntax of [`features::expr`], over feature names, `score`,
    /// `scores.behaviour`, `scores.graph` and `threshold.NAME`.
    pub when: String,
    /// What is done. `allow`: nothing, and no later rule is asked.
    pub action: ActionKind,
    /// The action ends by itself after this long; absent: it does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
    /// How long the rule is quiet about an account after it acted on it; absent: `policy.cooldown`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cooldown: Option<String>,
    /// Matches are reported as shadow actions, and later rules are asked all the same.
    pub shadow: bool,
    /// Why, for moderators. `{name}` is replaced by the value of that name.
    pub reason: String,
    /// Why, in words fit for the account's owner; it cannot quote values.
    pub user_reason: String,
}
