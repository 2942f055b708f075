//! What the graph remembers, and for how long.

use crate::blocks::BLOCK_MAX;
use crate::node::KINDS_MAX;
use crate::recents::RECENTS_MAX;
use thiserror::Error;

const DAY_MS: i64 = 86_400_000;

/// How one kind of entity links accounts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct KindRules {
    /// Keys of this kind are accounts, met as kind 0: the kind has no entities and no columns of its own.
    pub is_account: bool,
    /// Links of this kind bind accounts into components, unless it is copyable.
    pub strong: bool,
    /// Anybody can use a key of this kind without having the thing: a text, an address, another account. Such
    /// links bind nobody, and what is known against others on it counts no more than on the account's other things.
    pub copyable: bool,
    /// How much this kind counts in suspicion and mean bad rate, at least 0. 0 leaves it out.
    pub weight: f32,
    /// Links not touched for longer than this are dropped by a sweep.
    pub ttl_ms: i64,
    /// With more accounts than this, new links no longer join components.
    pub union_degree_max: u32,
    /// With more accounts than this, nobody walks from the entity to its members.
    pub expand_degree_max: u32,
}

impl KindRules {
    /// Whether links of this kind bind accounts into components.
    pub(crate) fn binds(&self) -> bool {
        self.strong && !self.copyable
    }
}

impl Default for KindRules {
    fn default() -> Self {
        Self {
            is_account: false,
            strong: false,
            copyable: false,
            weight: 1.0,
            ttl_ms: 180 * DAY_MS,
            union_degree_max: 16,
            expand_degree_max: 64,
        }
    }
}

/// Everything that is decided before the first link.
#[derive(Clone, Debug, PartialEq)]
pub struct GraphConfig {
    /// Rules by kind; `kinds[0]` is for accounts as linked things (targets, peers).
    pub kinds: Vec<KindRules>,
    /// In how many roles an event names other accounts (target, peer …). Only features use it.
    pub roles: usize,
    /// Most links of an account; at the cap those with the lowest (last seen, node) go, one in 32 of the cap together.
    pub links_per_account_max: u32,
    /// An account with as many links joins no further components: it is a hub itself. Below
    /// `links_per_account_max`, so that there is always a link that can go without splitting one.
    pub union_links_max: u32,
    /// Most members that an entity remembers by name, at most 64.
    pub recent_members_max: u32,
    /// Components hold the links seen in this or the previous epoch of this length.
    pub epoch_ms: i64,
    /// Half-life of a link's strength.
    pub strength_half_life_ms: i64,
    /// Shorter half-life of an entity's count of new members.
    pub new_short_half_life_ms: i64,
    /// Longer half-life of an entity's count of new members.
    pub new_long_half_life_ms: i64,
    /// An account that was on a thing for this long before others is not judged by them.
    pub together_ms: i64,
    /// Half-life of a component's count of new links; at least a twelfth of `epoch_ms`.
    pub growth_half_life_ms: i64,
    /// How many accounts of the population a rate is smoothed with, above 0.
    pub prior_strength: f32,
    /// Share of bad accounts in the population, 0 to 1.
    pub prior_bad_rate: f32,
    /// How much of the suspicion of its surroundings an account takes on, 0 to 1.
    pub suspicion_damping: f32,
    /// Innocent weight that every account starts with in suspicion, above 0.
    pub suspicion_stiffness: f32,
}

impl Default for GraphConfig {
    fn default() -> Self {
        Self {
            kinds: vec![KindRules::default()],
            roles: 0,
            links_per_account_max: 4096,
            union_links_max: 256,
            recent_members_max: 32,
            epoch_ms: 30 * DAY_MS,
            strength_half_life_ms: 14 * DAY_MS,
            new_short_half_life_ms: DAY_MS,
            new_long_half_life_ms: 14 * DAY_MS,
            together_ms: 7 * DAY_MS,
            growth_half_life_ms: 7 * DAY_MS,
            prior_strength: 2.0,
            prior_bad_rate: 0.01,
            suspicion_damping: 0.85,
            suspicion_stiffness: 0.5,
        }
    }
}

/// One thing wrong with a [`GraphConfig`].
#[derive(Clone, Debug, PartialEq, Error)]
pub enum ConfigError {
    /// A value outside of its range.
    #[error("{name} ({value}) must be {range}; change it in the configuration")]
    OutOfRange {
        /// Which value.
        name: String,
        /// What it is.
        value: String,
        /// What it may be.
        range: String,
    },
}

/// All that is wrong with a [`GraphConfig`], in the order of its fields.
#[derive(Clone, Debug, PartialEq, Error)]
#[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl GraphConfig {
    /// Every error at once, or none.
    pub fn check(&self) -> Result<(), ConfigErrors> {
        let mut errors = Vec::new();
        let mut must = |holds: bool, name: &str, value: &dyn std::fmt::Display, range: &str| {
            if !holds {
                let (name, value, range) = (name.to_owned(), value.to_string(), range.to_owned());
                errors.push(ConfigError::OutOfRange { name, value, range });
            }
        };
        let kinds = self.kinds.len();
        must((1..=KINDS_MAX).contains(&kinds), "kinds", &kinds, "1 to 32 entries, accounts first");
        for (kind, rules) in self.kinds.iter().enumerate() {
            let name = |field: &str| format!("kinds[{kind}].{field}");
            let weight = rules.weight;
            must((0.0..=1e6).contains(&weight), &name("weight"), &weight, "0 to 1000000");
            must(rules.ttl_ms > 0, &name("ttl_ms"), &rules.ttl_ms, "above 0");
        }
        must(self.roles <= 16, "roles", &self.roles, "at most 16");
        let links = self.links_per_account_max;
        let range = format!("2 to {BLOCK_MAX}");
        must((2..=BLOCK_MAX as u32).contains(&links), "links_per_account_max", &links, &range);
        let union = self.union_links_max;
        must(union < links, "union_links_max", &union, "below links_per_account_max");
        let recent = self.recent_members_max;
        let range = format!("1 to {RECENTS_MAX}");
        must((1..=RECENTS_MAX as u32).contains(&recent), "recent_members_max", &recent, &range);
        let epoch = self.epoch_ms;
        must(epoch > 0, "epoch_ms", &epoch, "above 0");
        for (name, value) in [
            ("strength_half_life_ms", self.strength_half_life_ms),
            ("new_short_half_life_ms", self.new_short_half_life_ms),
            ("new_long_half_life_ms", self.new_long_half_life_ms),
            ("together_ms", self.together_ms),
        ] {
            must(value > 0, name, &value, "above 0");
        }
        let growth = self.growth_half_life_ms;
        let wide = growth > 0 && growth.saturating_mul(12) >= epoch;
        must(wide, "growth_half_life_ms", &growth, "at least a twelfth of epoch_ms");
        let k = self.prior_strength;
        must(k > 0.0 && k <= 1e6, "prior_strength", &k, "above 0, at most 1000000");
        for (name, value) in
            [("prior_bad_rate", self.prior_bad_rate), ("suspicion_damping", self.suspicion_damping)]
        {
            must((0.0..=1.0).contains(&value), name, &value, "0 to 1");
        }
        let stiff = self.suspicion_stiffness;
        must(
            stiff > 0.0 && stiff <= 1e6,
            "suspicion_stiffness",
            &stiff,
            "above 0, at most 1000000",
        );
        if errors.is_empty() { Ok(()) } else { Err(ConfigErrors(errors)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_valid() {
        assert_eq!(GraphConfig::default().check(), Ok(()));
    }

    #[test]
    fn every_error_is_named_at_once() {
        let bad = GraphConfig {
            kinds: vec![KindRules { weight: f32::NAN, ttl_ms: 0, ..KindRules::default() }],
            roles: 17,
            links_per_account_max: 1,
            union_links_max: 1,
            recent_members_max: 65,
            epoch_ms: 0,
            strength_half_life_ms: 0,
            new_short_half_life_ms: -1,
            new_long_half_life_ms: 0,
            together_ms: 0,
            growth_half_life_ms: 0,
            prior_strength: 0.0,
            prior_bad_rate: 2.0,
            suspicion_damping: -0.1,
            suspicion_stiffness: f32::INFINITY,
        };
        let errors = bad.check().unwrap_err();
        assert_eq!(errors.0.len(), 16);
        let text = errors.to_string();
        for name in ["kinds[0].weight (NaN)", "union_links_max (1)", "suspicion_stiffness (inf)"] {
            assert!(text.contains(name), "{name} not in {text}");
        }
        let none = GraphConfig { kinds: Vec::new(), ..GraphConfig::default() };
        assert_eq!(none.check().unwrap_err().0.len(), 1);
    }
}
