//! `detector.toml` as a value: everything but what belongs to the edges. Reading files and the
//! environment is the detector crate's part.

pub use crate::edges::{HttpRole, HttpSection, HttpToken, LogFormat, LogSection, ReloadSection};
use crate::policy::{PolicyConfig, RuleConfig};
use crate::wire::MappingConfig;
use features::config::{
    AttributeConfig, CounterConfig, EventsConfig, FeatureConfig, KindConfig, ProfileConfig,
    TimeConfig,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The whole file.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// How the stream's time runs.
    pub time: TimeConfig,
    /// Reading other shapes than the contract's.
    pub mapping: MappingConfig,
    /// Event types with names of their own.
    pub events: EventsConfig,
    /// How the stream is read.
    pub input: InputSection,
    /// How labels are read, and what they feed.
    pub labels: LabelsConfig,
    /// The link graph.
    pub graph: GraphSection,
    /// Which model scores.
    pub model: ModelSection,
    /// Personal identifiers.
    pub privacy: PrivacySection,
    /// From scores to actions.
    pub policy: PolicyConfig,
    /// How the state is kept.
    pub state: StateSection,
    /// The service's HTTP calls.
    pub http: HttpSection,
    /// The service's logs.
    pub log: LogSection,
    /// When the service reads its policy and its model again.
    pub reload: ReloadSection,
    /// Attributes of events, by name.
    pub attributes: BTreeMap<String, AttributeConfig>,
    /// Kinds of entities, by name.
    pub kinds: BTreeMap<String, KindConfig>,
    /// Blocks of each role's profile.
    pub profiles: BTreeMap<String, ProfileConfig>,
    /// What is counted.
    pub counters: Vec<CounterConfig>,
    /// The rules, in order: the first that matches decides.
    pub rules: Vec<RuleConfig>,
}

/// How the stream is read.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct InputSection {
    /// Events with the same `ts` do not see one another: for files with coarse clocks.
    pub strict_ties: bool,
}

/// How labels are read, and what they feed.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct LabelsConfig {
    /// What a label speaks of: a whole account, or single events.
    pub unit: LabelUnit,
    /// Whether labels feed features and the graph. Off: labels are targets of training only.
    pub feedback: bool,
    /// Training: only events of these types are learned from; empty: all.
    pub types: Vec<String>,
    /// Training: what an event without a label is, once it is older than `maturity`.
    pub unlabelled: Unlabelled,
    /// Training: weight of events of accounts that were already known to be bad when they happened; 0 leaves
    /// them out. Only where labels speak of accounts.
    pub known_bad_weight: f32,
    /// Training: an account label makes its events within this time before it positive.
    pub lookback: String,
    /// Training: where what has no label counts as good, younger events are left out: the good among them
    /// cannot be known yet.
    pub maturity: String,
    /// Recent events kept for joining labels by event id, and for recognising redelivered ones (same account, id and content): at most this
    /// number.
    pub recent_events_max: u64,
    /// ... and none older than this.
    pub recent_age_max: String,
    /// Labels with less confidence do not change an account's state.
    pub confidence_min: f32,
}

/// What a label speaks of.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum LabelUnit {
    /// The account is bad or good.
    #[default]
    Account,
    /// Single events are bad or good; an account is bad while its newest label is.
    Event,
}

/// What an event without a label is.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Unlabelled {
    /// Good: somebody would have noticed.
    #[default]
    Good,
    /// Not known: labels cover all events that were looked at.
    Unknown,
}

impl Default for LabelsConfig {
    fn default() -> Self {
        Self {
            unit: LabelUnit::Account,
            feedback: true,
            types: Vec::new(),
            unlabelled: Unlabelled::Good,
            known_bad_weight: 0.0,
            lookback: "30d".into(),
            maturity: "14d".into(),
            recent_events_max: 1_000_000,
            recent_age_max: "30d".into(),
            confidence_min: 0.5,
        }
    }
}

/// The link graph.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct GraphSection {
    /// Links kept per account; at the cap those idle for longest go, one in 32 of the cap together.
    pub links_per_account_max: u32,
    /// Members remembered per entity, for rings and co-sharing.
    pub recent_members_max: u32,
    /// Components are made of links seen in this or the previous window of this length.
    pub component_window: String,
    /// Half-life of a link's strength.
    pub strength_half_life: String,
    /// Whether `target` accounts are links too.
    pub target_links: bool,
    /// How much account-to-account links count in suspicion.
    pub target_weight: f32,
    /// Account-to-account links idle for longer are forgotten.
    pub target_ttl: String,
    /// Whether two accounts that share several things are looked up for every event (a second stage, about 2 us).
    pub co_share: CoShareWhen,
}

/// When the co-share count is taken.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum CoShareWhen {
    /// Never.
    Never,
    /// When one of the event's strong entities is shared by several accounts.
    #[default]
    Shared,
    /// For every event.
    Always,
}

impl Default for GraphSection {
    fn default() -> Self {
        Self {
            links_per_account_max: 4096,
            recent_members_max: 32,
            component_window: "30d".into(),
            strength_half_life: "14d".into(),
            target_links: true,
            target_weight: 0.5,
            target_ttl: "180d".into(),
            co_share: CoShareWhen::Shared,
        }
    }
}

/// Which model scores.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct ModelSection {
    /// Folder of the model bundle; relative to the configuration. Absent: the built-in label-free score.
    pub path: Option<String>,
}

/// Personal identifiers.
#[derive(Clone, Default, Serialize, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct PrivacySection {
    /// Secret under which entity keys are stored and published as HMAC-SHA-256. Never printed.
    #[serde(skip_serializing)]
    pub key: Option<String>,
}

impl std::fmt::Debug for PrivacySection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PrivacySection {{ key: {} }}", if self.key.is_some() { "***" } else { "none" })
    }
}

/// How the state is kept.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct StateSection {
    /// Events between two checkpoints of a file run.
    pub checkpoint_events: u64,
    /// Time between two checkpoints of the service; longer when they are much work for Redis, which gets a fifth of a core for them.
    pub checkpoint_every: String,
    /// Bytes of state at most, by the engine's own count. Near it new things of accounts that have many are not kept, at it nothing new is.
    pub memory_max: String,
}

impl Default for StateSection {
    fn default() -> Self {
        Self {
            checkpoint_events: 200_000,
            checkpoint_every: "5s".into(),
            memory_max: "8GiB".into(),
        }
    }
}

impl Config {
    /// The part that features are compiled from.
    pub fn features(&self) -> FeatureConfig {
        FeatureConfig {
            time: self.time.clone(),
            events: self.events.clone(),
            attributes: self.attributes.clone(),
            kinds: self.kinds.clone(),
            counters: if self.counters.is_empty() {
                FeatureConfig::default().counters
            } else {
                self.counters.clone()
            },
            profiles: self.profiles.clone(),
        }
    }

    /// Takes the declarations of a feature set.
    pub fn set_features(&mut self, features: FeatureConfig) {
        self.time = features.time;
        self.events = features.events;
        self.attributes = features.attributes;
        self.kinds = features.kinds;
        self.counters = features.counters;
        self.profiles = features.profiles;
    }
}
