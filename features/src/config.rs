//! What is counted, as `detector.toml` declares it. [`crate::schema::Schema::compile`] checks it and
//! turns it into byte layouts.

use crate::key_form::KeyForm;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// The declarations that features are compiled from.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct FeatureConfig {
    /// How the stream's time runs.
    pub time: TimeConfig,
    /// Which event types have names of their own.
    pub events: EventsConfig,
    /// Attributes that are read from events, by name. Order of slots: by name.
    pub attributes: BTreeMap<String, AttributeConfig>,
    /// Kinds of entities, by name. Order of ids: by name.
    pub kinds: BTreeMap<String, KindConfig>,
    /// Decayed counts and sums, and window counts, in order.
    pub counters: Vec<CounterConfig>,
    /// Which blocks each role's profile has: `account`, `target` (what is done to an account), or a
    /// kind's name. A role that is absent takes the defaults of [`ProfileConfig`].
    pub profiles: BTreeMap<String, ProfileConfig>,
}

/// How the stream's time runs. Durations are text such as `10m`, `2h`, `14d`, `500ms`.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct TimeConfig {
    /// Half-lives of the decayed counters, shortest first.
    pub half_lives: [String; 4],
    /// How late an event may be and still move everything but rhythm, sessions and robust means.
    pub lateness_max: String,
    /// How far a few accounts may move the stream's clock past what most accounts say.
    pub jump_max: String,
    /// Accounts idle for longer are forgotten.
    pub account_ttl: String,
    /// A pause longer than this starts a new session.
    pub session_gap: String,
    /// Added to UTC for hour of day, night and weekend: `+1h`, `-5h`, `0h`.
    pub utc_offset: String,
    /// Offset from UTC of times that are written without one, in events and labels; absent: such times are refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub assume_offset: Option<String>,
    /// First hour of the night, and the first hour after it (local time).
    pub night: [u8; 2],
}

/// Which event types have names.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct EventsConfig {
    /// Declared types, in order; all others share one id.
    pub types: Vec<String>,
    /// Whether `target` is read: without it there are no columns about the other account.
    pub target: bool,
}

impl Default for EventsConfig {
    fn default() -> Self {
        Self { types: Vec::new(), target: true }
    }
}

/// One attribute of events.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct AttributeConfig {
    /// How its value is read.
    #[serde(rename = "type")]
    pub kind: AttributeKind,
    /// For categories: the values that have an index of their own.
    pub values: Vec<String>,
    /// For ages: what a moment counts that is a number; milliseconds by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<TimeUnit>,
}

/// How an attribute's value is read.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum AttributeKind {
    /// A number; text that is a number counts too.
    #[default]
    Number,
    /// true or false.
    Boolean,
    /// Text out of a declared list.
    Category,
    /// A moment, as its age in seconds at the event; below 0 when it is later.
    Age,
}

/// What a moment counts that is a number.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum TimeUnit {
    /// Milliseconds.
    #[default]
    Ms,
    /// Seconds.
    S,
    /// Microseconds.
    Us,
    /// Nanoseconds.
    Ns,
}

/// One kind of entity.
#[derive(Clone, Serialize, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct KindConfig {
    /// The keys of this kind are accounts themselves.
    pub is_account: bool,
    /// Links of this kind bind accounts into components, unless it is copyable.
    pub strong: bool,
    /// Anybody can use a key of this kind without having the thing: a text, an address, a number typed by hand.
    /// Such links bind nobody, and what is known against others on it counts no more than on the account's other
    /// things. Without it: unless the kind is strong. Accounts always are.
    pub copyable: Option<bool>,
    /// Entities and links idle for longer are forgotten.
    pub ttl: String,
    /// How much this kind counts in suspicion.
    pub weight: f32,
    /// Above this many accounts, new links no longer join components.
    pub union_degree_max: u32,
    /// Above this many accounts, nobody walks from the entity to its members.
    pub expand_degree_max: u32,
    /// How its keys are spelled; absent: as they come.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub form: Option<KeyForm>,
    /// Placeholder keys, absent wherever they are named: the zero UUID, `unknown`, an SDK's default.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ignore: Vec<String>,
}

/// Feature sets and links are named after this text: what is not set is not in it, so that a key which came later
/// leaves the others their names.
///
/// `ignore` is never in it. An ignored key changes the values of the accounts on that key and of nobody else, so a
/// model trained without it still means the same, and an operator adds a key without training or rebuilding anything.
impl fmt::Debug for KindConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            is_account,
            strong,
            ttl,
            weight,
            union_degree_max,
            expand_degree_max,
            form,
            copyable,
            ignore: _,
        } = self;
        let mut text = f.debug_struct("KindConfig");
        text.field("is_account", is_account)
            .field("strong", strong)
            .field("ttl", ttl)
            .field("weight", weight)
            .field("union_degree_max", union_degree_max)
            .field("expand_degree_max", expand_degree_max);
        if let Some(form) = form {
            text.field("form", form);
        }
        if let Some(copyable) = copyable {
            text.field("copyable", copyable);
        }
        text.finish()
    }
}

/// One counter: how often, or how much of an attribute.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct CounterConfig {
    /// Its name in features: `account.<name>.<half-life>`.
    pub name: String,
    /// Only events of these types; empty: all.
    pub types: Vec<String>,
    /// Only events for which this condition over attributes holds: `amount > 100 && verified == true`.
    pub when: Option<String>,
    /// Sum this attribute (absent counts as 0) instead of counting events.
    pub sum: Option<String>,
    /// Roles that keep it: `account`, `target`, or kinds; empty: all.
    pub on: Vec<String>,
    /// Sliding windows counted exactly enough for rules: `["10m", "1h"]`.
    pub windows: Vec<String>,
}

/// Which blocks a role's profile has.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct ProfileConfig {
    /// Numeric attributes with mean, deviation, minimum, maximum and z-score.
    pub numeric: Vec<String>,
    /// Distinct counts: kinds, `target`, or (for entities and targets) `account`.
    pub distinct: Vec<String>,
    /// Inter-arrival mean, variation, entropy, burstiness.
    pub rhythm: bool,
    /// Hour-of-day histogram.
    pub hours: bool,
    /// Sessions.
    pub sessions: bool,
    /// Counts of labelled and of bad events, by when that became known.
    pub labels: bool,
    /// Features of the accounts met (`account.<name>` of the other side) whose running mean is kept.
    pub neighbours: Vec<String>,
}

impl Default for FeatureConfig {
    fn default() -> Self {
        Self {
            time: TimeConfig::default(),
            events: EventsConfig::default(),
            attributes: BTreeMap::new(),
            kinds: BTreeMap::new(),
            counters: vec![CounterConfig { name: "events".into(), ..CounterConfig::default() }],
            profiles: BTreeMap::new(),
        }
    }
}

impl Default for TimeConfig {
    fn default() -> Self {
        Self {
            half_lives: ["10m".into(), "2h".into(), "1d".into(), "14d".into()],
            lateness_max: "1d".into(),
            jump_max: "1d".into(),
            account_ttl: "400d".into(),
            session_gap: "30m".into(),
            utc_offset: "0h".into(),
            assume_offset: None,
            night: [0, 6],
        }
    }
}

impl Default for KindConfig {
    fn default() -> Self {
        Self {
            is_account: false,
            strong: false,
            copyable: None,
            ttl: "180d".into(),
            weight: 1.0,
            union_degree_max: 16,
            expand_degree_max: 64,
            form: None,
            ignore: Vec::new(),
        }
    }
}

impl Default for ProfileConfig {
    fn default() -> Self {
        Self {
            numeric: Vec::new(),
            distinct: Vec::new(),
            rhythm: true,
            hours: false,
            sessions: false,
            labels: true,
            neighbours: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_of_a_kind_names_only_what_is_set() {
        let kind = KindConfig { ttl: "7d".into(), weight: 0.3, ..KindConfig::default() };
        assert_eq!(
            format!("{kind:?}"),
            "KindConfig { is_account: false, strong: false, ttl: \"7d\", weight: 0.3, union_degree_max: 16, \
             expand_degree_max: 64 }"
        );
        let ignore = vec!["unknown".into()];
        let text = format!("{:?}", KindConfig { form: Some(KeyForm::Ip), ignore, ..kind });
        assert!(text.ends_with("expand_degree_max: 64, form: Ip }"), "{text}");
    }
}
