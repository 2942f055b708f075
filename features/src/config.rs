//! What is counted, as `detector.toml` declares it. [`crate::schema::Schema::compile`] checks it and
//! turns it into byte layouts.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

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
    /// In files: how far a `ts` may jump ahead of the newest seen before it is a reject.
    pub jump_max: String,
    /// Accounts idle for longer are forgotten.
    pub account_ttl: String,
    /// A pause longer than this starts a new session.
    pub session_gap: String,
    /// Added to UTC for hour of day, night and weekend: `+1h`, `-5h`, `0h`.
    pub utc_offset: String,
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
}

/// One kind of entity.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct KindConfig {
    /// The keys of this kind are accounts themselves.
    pub is_account: bool,
    /// Links of this kind bind accounts into components.
    pub strong: bool,
    /// Entities and links idle for longer are forgotten.
    pub ttl: String,
    /// How much this kind counts in suspicion.
    pub weight: f32,
    /// Above this many accounts, new links no longer join components.
    pub union_degree_max: u32,
    /// Above this many accounts, nobody walks from the entity to its members.
    pub expand_degree_max: u32,
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
            jump_max: "365d".into(),
            account_ttl: "400d".into(),
            session_gap: "30m".into(),
            utc_offset: "0h".into(),
            night: [0, 6],
        }
    }
}

impl Default for KindConfig {
    fn default() -> Self {
        Self {
            is_account: false,
            strong: false,
            ttl: "180d".into(),
            weight: 1.0,
            union_degree_max: 16,
            expand_degree_max: 64,
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
