//! From configuration to a policy that can decide.

use super::allow::AllowList;
use super::config::{ActionKind, KINDS, PolicyConfig, RuleConfig};
use super::error::PolicyError;
use super::reason::Reason;
use features::duration;
use features::event::EntityRef;
use features::expr::{Names, Program};
use features::schema::Kind;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};

/// Most rules: one bit each in an account's record.
pub const RULES_MAX: usize = 64;
const RULE_NAME_BYTES_MAX: usize = 64;

/// Thresholds that exist whatever the model and the configuration say.
pub const THRESHOLDS_BUILT_IN: [(&str, f64); 4] =
    [("challenge", 0.7), ("review", 0.85), ("suspend", 0.95), ("ban", 0.99)];

/// Names of the scores, in the order of their slots behind the features.
pub(crate) const SCORES: [&str; 3] = ["score", "scores.behaviour", "scores.graph"];

/// What conditions may speak of.
pub struct Vocabulary<'a> {
    slots: BTreeMap<&'a str, u32>,
    names: &'a [String],
    values: &'a dyn Fn(&str) -> Option<&'a [String]>,
    thresholds: BTreeMap<String, f64>,
}

impl<'a> Vocabulary<'a> {
    /// `feature_names` are the columns of the row, in order; `values` gives the declared texts of a categorical
    /// column, each at the number that stands for it; `thresholds` are the model's.
    pub fn new(
        feature_names: &'a [String],
        values: &'a dyn Fn(&str) -> Option<&'a [String]>,
        thresholds: &BTreeMap<String, f64>,
    ) -> Self {
        let mut slots: BTreeMap<&str, u32> = BTreeMap::new();
        for (slot, name) in feature_names.iter().enumerate() {
            slots.entry(name).or_insert(slot as u32);
        }
        for (index, name) in SCORES.iter().enumerate() {
            slots.insert(name, (feature_names.len() + index) as u32);
        }
        let built_in = THRESHOLDS_BUILT_IN.map(|(name, value)| (name.to_owned(), value));
        let mut all: BTreeMap<String, f64> = built_in.into_iter().collect();
        all.extend(thresholds.iter().map(|(name, value)| (name.clone(), *value)));
        Self { slots, names: feature_names, values, thresholds: all }
    }
}

impl Names for Vocabulary<'_> {
    fn slot(&self, name: &str) -> Option<u32> {
        self.slots.get(name).copied()
    }

    fn values(&self, name: &str) -> Option<&[String]> {
        (self.values)(name)
    }

    fn all(&self) -> Vec<String> {
        let scores = SCORES.iter().map(|name| (*name).to_owned());
        let thresholds = self.thresholds.keys().map(|name| format!("threshold.{name}"));
        self.names.iter().cloned().chain(scores).chain(thresholds).collect()
    }

    fn constant(&self, name: &str) -> Option<f64> {
        self.thresholds.get(name.strip_prefix("threshold.")?).copied()
    }
}

/// A rule that can be asked.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Its name in published actions.
    pub name: String,
    /// What it does.
    pub action: ActionKind,
    /// Whether it only reports.
    pub shadow: bool,
    /// In words fit for the account's owner.
    pub user_reason: String,
    pub(crate) tag: u32,
    pub(crate) program: Program,
    pub(crate) expires_ms: Option<i64>,
    pub(crate) cooldown_ms: i64,
    pub(crate) reason: Reason,
}

impl Rule {
    /// Whether the condition runs compiled; the interpreter costs a hundred times as much.
    pub fn is_compiled(&self) -> bool {
        self.program.is_compiled()
    }
}

/// Rules and what holds for all of them, ready to decide.
#[derive(Clone, Debug)]
pub struct Policy {
    pub(crate) rules: Vec<Rule>,
    pub(crate) kill_switch: bool,
    pub(crate) shadow: bool,
    pub(crate) warm_up_ms: i64,
    pub(crate) shadow_period_ms: i64,
    pub(crate) caps: [Option<u32>; KINDS],
    pub(crate) columns: usize,
    allowed: AllowList,
    thresholds: BTreeMap<String, f64>,
    id: String,
}

impl Policy {
    /// Checks and compiles a policy; `kinds` are all that events can have things of. Once at start: some 0.1 ms a rule.
    ///
    /// # Errors
    ///
    /// Everything that is wrong, not only the first.
    pub fn compile(
        config: &PolicyConfig,
        rules: &[RuleConfig],
        kinds: &[Kind],
        mut names: Vocabulary<'_>,
    ) -> Result<Self, Vec<PolicyError>> {
        let mut errors = Vec::new();
        for (name, value) in &config.thresholds {
            let plain =
                !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
            if !plain || !value.is_finite() {
                errors.push(PolicyError::Threshold { name: name.clone(), value: *value });
            }
            names.thresholds.insert(name.clone(), *value);
        }
        let warm_up_ms = milliseconds("policy.warm_up", &config.warm_up, &mut errors);
        let cooldown_ms = milliseconds("policy.cooldown", &config.cooldown, &mut errors);
        let mut caps = [None; KINDS];
        for (kind, cap) in &config.caps_per_hour {
            if *kind == ActionKind::Allow {
                errors.push(PolicyError::CapOnAllow);
            }
            caps[*kind as usize] = Some(*cap);
        }
        let allowed = AllowList::compile(config, kinds, &mut errors);
        if rules.len() > RULES_MAX {
            errors.push(PolicyError::TooManyRules { found: rules.len(), max: RULES_MAX });
        }
        let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
        let mut compiled = Vec::with_capacity(rules.len());
        for (index, rule) in rules.iter().enumerate() {
            if let Some(&first) = seen.get(rule.name.as_str()) {
                let name = rule.name.clone();
                errors.push(PolicyError::DuplicateRule { index, first, name });
            }
            seen.entry(&rule.name).or_insert(index);
            if !is_rule_name(&rule.name) {
                errors.push(PolicyError::RuleName { index, name: rule.name.clone() });
            }
            compiled.extend(compile_rule(rule, cooldown_ms, &names, &mut errors));
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        Ok(Self {
            rules: compiled,
            kill_switch: config.kill_switch,
            shadow: config.shadow,
            warm_up_ms,
            shadow_period_ms: cooldown_ms.max(1),
            caps,
            columns: names.names.len(),
            allowed,
            thresholds: names.thresholds,
            id: id(config, rules),
        })
    }

    /// 16 hex digits that change with anything in the configuration of the policy.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The rules, in order; [`super::Decision::rule`] is an index of this.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// How long after a cold start actions are shadow actions, in event time.
    pub fn warm_up_ms(&self) -> i64 {
        self.warm_up_ms
    }

    /// The thresholds that conditions see, by name.
    pub fn thresholds(&self) -> &BTreeMap<String, f64> {
        &self.thresholds
    }

    /// Whether nothing is to be done about an event of this account with these things: the account is allowed, or all
    /// things of some kind are. Keys are in the normal form of their kind, and not pseudonyms.
    pub fn frees(&self, account: &str, entities: &[EntityRef], partial_kinds: u32) -> bool {
        self.allowed.frees(account, entities, partial_kinds)
    }

    /// The columns that any rule reads, ascending, each once.
    pub fn columns_read(&self) -> Vec<usize> {
        let all: BTreeSet<usize> = self
            .rules
            .iter()
            .flat_map(|rule| rule.program.slots())
            .map(|&slot| slot as usize)
            .filter(|&slot| slot < self.columns)
            .collect();
        all.into_iter().collect()
    }
}

fn compile_rule(
    rule: &RuleConfig,
    cooldown_ms: i64,
    names: &Vocabulary<'_>,
    errors: &mut Vec<PolicyError>,
) -> Option<Rule> {
    let program = Program::compile(&rule.when, names)
        .map_err(|error| errors.push(PolicyError::Condition { rule: rule.name.clone(), error }))
        .ok();
    let expires_ms = rule.expires.as_ref().map(|text| {
        let key = format!("rules.{}.expires", rule.name);
        let before = errors.len();
        let length_ms = milliseconds(&key, text, errors);
        if length_ms == 0 && errors.len() == before {
            let problem = "is no time at all";
            errors.push(PolicyError::Expires { rule: rule.name.clone(), problem });
        }
        length_ms
    });
    if expires_ms.is_some() && rule.action == ActionKind::Allow {
        let problem = "has no meaning for `allow`, which does nothing";
        errors.push(PolicyError::Expires { rule: rule.name.clone(), problem });
    }
    let cooldown_ms = match &rule.cooldown {
        Some(text) => milliseconds(&format!("rules.{}.cooldown", rule.name), text, errors),
        None => cooldown_ms,
    };
    let reason = Reason::compile(&rule.name, &rule.reason, names, errors);
    if rule.user_reason.contains(['{', '}']) {
        errors.push(PolicyError::UserReason { rule: rule.name.clone() });
    }
    Some(Rule {
        name: rule.name.clone(),
        action: rule.action,
        shadow: rule.shadow,
        user_reason: rule.user_reason.clone(),
        tag: rule_tag(&rule.name),
        program: program?,
        expires_ms,
        cooldown_ms,
        reason,
    })
}

fn is_rule_name(name: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-.".contains(&b);
    (1..=RULE_NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(allowed)
}

fn milliseconds(key: &str, text: &str, errors: &mut Vec<PolicyError>) -> i64 {
    duration::parse_ms(text).unwrap_or_else(|error| {
        errors.push(PolicyError::Duration { key: key.to_owned(), message: error.to_string() });
        0
    })
}

/// What stands for a rule in an account's record: it outlives the rule's place in the list.
pub(crate) fn rule_tag(name: &str) -> u32 {
    let digest = Sha256::digest(name.as_bytes());
    let tag = digest.iter().take(4).fold(0_u32, |tag, byte| tag << 8 | u32::from(*byte));
    // 0 is a free place.
    tag.max(1)
}

/// Hash of the configuration as JSON, whose keys have a fixed order; how the file is laid out does not
/// matter.
fn id(config: &PolicyConfig, rules: &[RuleConfig]) -> String {
    let canonical = serde_json::to_vec(&(config, rules)).unwrap_or_default();
    let digest = Sha256::digest(&canonical);
    digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}
