//! From a configuration and a bundle to an engine, or everything that is wrong with them.

use crate::association;
use crate::changed::Changed;
use crate::clock::Clock;
use crate::clocks::Clocks;
use crate::config::Config;
use crate::decide::{Deciding, ViaColumn};
use crate::effects::Counts;
use crate::extract::SHARE_COLUMNS;
use crate::finish::Finisher;
use crate::intern::KeyHasher;
use crate::labelfree;
use crate::limits::AHEAD_MESSAGES;
use crate::memory::Memory;
use crate::outliers::Outliers;
use crate::policy::{self, Policy};
use crate::privacy::SECRET_BYTES_MIN;
use crate::recent::RecentEvents;
use crate::state::NodeKinds;
use crate::state::{Accounts, Entities};
use crate::step::{ACCOUNT_DOMAIN, Engine, PartAt, Wanted};
use crate::wire::{Decoder, Vocabulary};
use features::byte_size::parse_bytes;
use features::duration::parse_ms;
use features::layout::Role;
use features::schema::Schema;
use features::vector::{Part, VectorPlan};
use graph::{GraphConfig, KindRules, LinkGraph};
use models::bundle::Bundle;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::sync::Arc;

/// How a stream is to be read, beside the configuration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Labels feed neither features nor the graph.
    pub no_feedback: bool,
    /// Events with the same `ts` do not see one another.
    pub strict_ties: bool,
}

/// What decides, as actions name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Versions {
    /// The bundle's id, or `labelfree`.
    pub model: String,
    /// The policy's id.
    pub policy: String,
    /// Hash of the feature set: names, order, and all that their values depend on.
    pub features: String,
}

/// Records that were touched for others' sake since the engine was made. It bounds what a message costs beside its own keys, where time
/// cannot be measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// Moved in memory: links for links, table entries because a table grew.
    pub moved: u64,
    /// Remembered events looked at to erase an account.
    pub visited: u64,
}

/// How much there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Size {
    /// Accounts.
    pub accounts: u64,
    /// Entities, accounts apart.
    pub entities: u64,
    /// Links.
    pub links: u64,
    /// Heap bytes of all state.
    pub bytes: u64,
}

impl Engine {
    /// An engine without any state.
    ///
    /// # Errors
    /// Everything that is wrong, at once, each with what to do.
    pub fn new(
        config: Config,
        bundle: Option<&Bundle>,
        options: Options,
    ) -> Result<Self, Vec<String>> {
        let mut problems = config.mapping.check();
        let mut ms = |name: &str, text: &str| {
            parse_ms(text).unwrap_or_else(|e| {
                problems.push(format!("{name}: {e}"));
                1
            })
        };
        let jump_max_ms = ms("time.jump_max", &config.time.jump_max);
        let recent_age_ms = ms("labels.recent_age_max", &config.labels.recent_age_max);
        ms("labels.lookback", &config.labels.lookback);
        ms("labels.maturity", &config.labels.maturity);
        let epoch_ms = ms("graph.component_window", &config.graph.component_window);
        let strength_ms = ms("graph.strength_half_life", &config.graph.strength_half_life);
        let target_ttl_ms = ms("graph.target_ttl", &config.graph.target_ttl);
        let recent_events_max = config.labels.recent_events_max;
        let memory_max = match parse_bytes(&config.state.memory_max) {
            Ok(max) => {
                problems.extend(Memory::problem(max, recent_events_max));
                max
            }
            Err(e) => {
                problems.push(format!("state.memory_max: {e}"));
                0
            }
        };
        if let Some(key) = &config.privacy.key
            && key.len() < SECRET_BYTES_MIN
        {
            problems.push(format!(
                "privacy.key has {} bytes, and must have at least {SECRET_BYTES_MIN}: make one by `openssl rand -hex 32`",
                key.len()
            ));
        }
        if !(config.labels.known_bad_weight >= 0.0 && config.labels.known_bad_weight.is_finite()) {
            problems.push(format!(
                "labels.known_bad_weight ({}) must be 0 or more",
                config.labels.known_bad_weight
            ));
        }
        for name in &config.labels.types {
            if !config.events.types.contains(name) {
                problems.push(format!(
                    "labels.types names {name}, which events.types does not declare; add it there"
                ));
            }
        }
        if !(0.0..=1.0).contains(&config.labels.confidence_min) {
            problems.push(format!(
                "labels.confidence_min ({}) must be from 0 to 1",
                config.labels.confidence_min
            ));
        }
        if !(0.0..=1e6).contains(&config.graph.target_weight) {
            problems.push(format!(
                "graph.target_weight: {} must be a number from 0 to 1000000",
                config.graph.target_weight
            ));
        }
        let schema = match Schema::compile(&config.features()) {
            Ok(schema) => schema,
            Err(errors) => {
                problems.extend(errors.iter().map(ToString::to_string));
                return Err(problems);
            }
        };
        let mut kinds = vec![KindRules {
            strong: false,
            copyable: true,
            weight: config.graph.target_weight,
            ttl_ms: target_ttl_ms,
            ..KindRules::default()
        }];
        // Kinds that are accounts are linked as accounts.
        let things = || schema.kinds().iter().filter(|k| !k.is_account);
        kinds.extend(things().map(|k| KindRules {
            is_account: k.is_account,
            strong: k.strong,
            copyable: k.copyable,
            weight: k.weight,
            ttl_ms: k.ttl_ms,
            union_degree_max: k.union_degree_max,
            expand_degree_max: k.expand_degree_max,
        }));
        let roles = schema.account_roles();
        let links_max = config.graph.links_per_account_max;
        let time = schema.time();
        let graph_config = GraphConfig {
            kinds,
            roles: roles.len(),
            links_per_account_max: links_max,
            union_links_max: 256.min(links_max.saturating_sub(1)),
            recent_members_max: config.graph.recent_members_max,
            epoch_ms,
            growth_half_life_ms: (epoch_ms / 4).max(1),
            strength_half_life_ms: strength_ms,
            new_short_half_life_ms: time.half_lives.ms[2],
            new_long_half_life_ms: time.half_lives.ms[3],
            together_ms: (time.half_lives.ms[3] / 2).max(1),
            ..GraphConfig::default()
        };
        let kind_names: Vec<&str> =
            std::iter::once("account").chain(things().map(|k| k.name.as_str())).collect();
        let role_names: Vec<&str> = roles.iter().map(|r| r.name.as_str()).collect();
        let graph = match LinkGraph::new(graph_config) {
            Ok(graph) => graph,
            Err(errors) => {
                problems.extend(errors.0.iter().map(|e| format!("graph: {e}")));
                return Err(problems);
            }
        };

        let plan = VectorPlan::new(&schema);
        let mut columns = plan.names().to_vec();
        let graph_at = columns.len();
        columns.extend(graph.feature_names(&kind_names, &role_names));
        let share_at = columns.len();
        columns.extend(SHARE_COLUMNS.map(String::from));
        let features = feature_set_hash(&schema, &columns, &config);

        let bundle = match bundle {
            Some(bundle) => Ok(bundle.clone()),
            None => labelfree::bundle(
                &schema,
                &config.time.half_lives,
                config.labels.unit,
                &columns,
                &features,
            ),
        };
        let declared = |column: &str, text: &str| {
            let values = match column.strip_prefix("event.") {
                Some("type") => schema.types(),
                Some(attribute) => {
                    &schema.attributes().get(schema.attribute_slot(attribute)?)?.values
                }
                None if column.ends_with(".last_type") => schema.types(),
                None => return None,
            };
            values.iter().position(|value| value == text).map(|code| code as u32)
        };
        let scorer =
            bundle.and_then(|b| Ok((b.bind_with_categories(&columns, &features, &declared)?, b)));
        let (scorer, bundle) = match scorer {
            Ok(both) => both,
            Err(e) => {
                problems.push(format!("model: {e}"));
                return Err(problems);
            }
        };
        let values = |column: &str| plan.values(&schema, column);
        let names = policy::Vocabulary::new(&columns, &values, &bundle.manifest().thresholds);
        let policy = match Policy::compile(&config.policy, &config.rules, schema.kinds(), names) {
            Ok(policy) => policy,
            Err(errors) => {
                problems.extend(errors.iter().map(ToString::to_string));
                return Err(problems);
            }
        };
        if !problems.is_empty() {
            return Err(problems);
        }

        // A model is scored as it was trained, whatever the command line forgot.
        let trained = |key: &str| {
            bundle.manifest().training.get(key).is_some_and(|v| v.as_str() == Some("true"))
        };
        let strict_ties = options.strict_ties || config.input.strict_ties || trained("strict_ties");
        let feedback = config.labels.feedback && !options.no_feedback && !trained("no_feedback");
        let via = things()
            .filter_map(|k| {
                let of = |field: &str| {
                    columns.iter().position(|c| *c == format!("graph.{}.{field}", k.name))
                };
                Some(ViaColumn {
                    kind: k.name.clone(),
                    degree: of("degree")?,
                    age_h: of("age_h")?,
                    link_age_h: of("link_age_h")?,
                })
            })
            .collect();
        let model = match bundle.manifest().kind {
            models::bundle::Kind::Labelfree if bundle.manifest().name == "labelfree" => {
                "labelfree".into()
            }
            _ => scorer.version_id().to_string(),
        };
        let versions = Versions { model, policy: policy.id().to_string(), features };
        let layout = |role: Role| {
            schema.layout(role).ok_or_else(|| vec![format!("no profile for {role:?}")])
        };
        let accounts = Accounts::new(layout(Role::ACCOUNT)?, layout(Role::TARGET)?);
        let mut stores = Vec::new();
        for kind in schema.kinds() {
            stores.push(if kind.is_account {
                None
            } else {
                Some(Entities::new(layout(kind.role)?))
            });
        }
        let privacy = config.privacy.key.as_ref().map(|k| k.as_bytes().to_vec());
        let part = |p: &Part| PartAt {
            source: p.source,
            role: p.role,
            own: p.own,
            offset: p.offset,
            width: p.width,
        };
        let parts: Vec<PartAt> = plan.parts().iter().map(part).collect();
        let public_hasher = KeyHasher::new(crate::privacy::lookup_key(privacy.as_deref()));
        Ok(Self {
            hasher: public_hasher,
            public_hasher,
            look_up_key: None,
            privacy,
            others_labels: association::columns(config.labels.unit, &parts, &columns),
            parts,
            graph_at,
            share_at,
            role_kinds: roles.iter().map(|r| r.kind).collect(),
            graph,
            accounts,
            nodes: NodeKinds::new(&schema),
            kinds: stores,
            memory: Memory::new(&schema, memory_max, recent_events_max),
            recent: RecentEvents::new(config.labels.recent_events_max as usize, recent_age_ms),
            deciding: Deciding::new(Arc::new(scorer), policy),
            clocks: Clocks::new(jump_max_ms),
            first_ms: None,
            held: Vec::new(),
            held_ids: BTreeMap::new(),
            counts: Counts::default(),
            outliers: Outliers::new(schema.kinds().len()),
            carried: Changed::default(),
            sweep_at: 0,
            unswept: 0,
            strict_ties,
            feedback,
            topics: Arc::default(),
            jump_max_ms,
            lateness_max_ms: time.lateness_max_ms,
            account_ttl_ms: time.account_ttl_ms,
            meets: schema.layouts().iter().any(|l| !schema.neighbour_columns(l.role()).is_empty()),
            kind_ttl_ms: schema.kinds().iter().map(|k| k.ttl_ms).collect(),
            wanted: Wanted::default(),
            via,
            bad_fraction_at: columns.iter().position(|c| c == "graph.component.bad_fraction"),
            words: Vocabulary::new(&config.features()),
            versions: Arc::new(versions),
            vector: Vec::new(),
            ahead: Vec::with_capacity(AHEAD_MESSAGES),
            columns,
            schema,
            config,
        })
    }

    /// What the caller wants to see.
    pub fn want(&mut self, wanted: Wanted) {
        self.wanted = wanted;
    }

    /// What the caller wanted to see.
    pub fn wanted(&self) -> Wanted {
        self.wanted
    }

    /// Names of the feature vector's columns, in order.
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// What decides.
    pub fn versions(&self) -> &Versions {
        &self.versions
    }

    /// What decides, to be kept.
    pub fn versions_shared(&self) -> Arc<Versions> {
        self.versions.clone()
    }

    /// What was counted.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Kinds of which a key was newly found on far more accounts than the rest, each with the accounts of the newest such
    /// key: it may be a placeholder. Each is told once.
    pub fn take_suspected_placeholders(&mut self) -> Vec<(String, u32)> {
        let kinds = self.schema.kinds();
        let name = |kind: usize| kinds.get(kind).map(|kind| kind.name.clone());
        let fresh = self.outliers.take_fresh().into_iter();
        fresh.filter_map(|(kind, accounts)| Some((name(kind)?, accounts))).collect()
    }

    /// The configuration.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The compiled feature set.
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// What time it is in the stream, by what several accounts say; -1 before the first event.
    pub fn watermark_ms(&self) -> i64 {
        self.clocks.now_ms()
    }

    /// A copy of the clock of a stream of files.
    pub fn clock(&self) -> Clock {
        self.clocks.of_files()
    }

    /// Finds keys by their hashes under this key from now on: random bytes, made with the state and kept in it. Nobody who does not know it can make
    /// keys whose hashes meet. Scores and outputs do not depend on it. Without effect once something is known, and under `privacy.key`,
    /// which derives another key.
    pub fn look_up_by(&mut self, key: [u8; 16]) {
        let knows = self.counts.events + self.counts.labels > 0 || self.accounts.keys.bound() > 0;
        if !knows && self.privacy.is_none() {
            self.set_look_up_key(Some(key));
        }
    }

    /// What [`Engine::look_up_by`] was given; none: the key is the same for all states.
    pub fn look_up_key(&self) -> Option<[u8; 16]> {
        self.look_up_key
    }

    pub(crate) fn set_look_up_key(&mut self, key: Option<[u8; 16]>) {
        self.look_up_key = key;
        self.hasher = key.map_or(self.public_hasher, KeyHasher::new);
    }

    /// An account's name for the clock.
    pub fn voice(&self, account: &str) -> u64 {
        self.hasher.hash(ACCOUNT_DOMAIN, account)
    }

    /// Whether events with the same `ts` do not see one another.
    pub fn strict_ties(&self) -> bool {
        self.strict_ties
    }

    /// The declared names.
    pub fn words(&self) -> &Vocabulary {
        &self.words
    }

    /// Reads messages for this engine.
    pub fn decoder(&self) -> Decoder {
        Decoder::new(self.words.clone(), &self.config.mapping)
    }

    /// Names the topics that events come from, in the order of the numbers in [`SourceRef`](crate::effects::SourceRef): what is
    /// made of an event says where it lay. Finishers that are made from here on know them.
    pub fn reads_from(&mut self, topics: &[String]) {
        self.topics = topics.into();
    }

    /// Gives actions their reasons, on any thread.
    pub fn finisher(&self) -> Arc<Finisher> {
        Arc::new(Finisher::new(self))
    }

    /// Bytes of one profile, by role.
    pub fn profile_sizes(&self) -> Vec<(String, usize)> {
        self.schema.layouts().iter().map(|l| (l.role_name().to_string(), l.size())).collect()
    }

    /// What it had to move and to pass over so far.
    pub fn work(&self) -> Work {
        let (moved, visited) = self.recent.work();
        let kinds = self.kinds.iter().flatten().map(|kind| kind.keys.moved()).sum::<u64>();
        let moved = moved + kinds + self.accounts.keys.moved() + self.graph.links_moved();
        Work { moved, visited }
    }

    /// How much there is.
    pub fn size(&self) -> Size {
        let graph = self.graph.size();
        let own = |f: &dyn Fn(&Entities) -> u64| self.kinds.iter().flatten().map(f).sum::<u64>();
        Size {
            accounts: self.accounts.keys.len() as u64,
            entities: own(&|k| k.keys.len() as u64),
            links: graph.links,
            bytes: graph.bytes
                + self.accounts.bytes() as u64
                + own(&|k| k.bytes() as u64)
                + self.recent.bytes() as u64,
        }
    }
}

/// 16 hex digits over everything that a value in the vector depends on.
fn feature_set_hash(schema: &Schema, columns: &[String], config: &Config) -> String {
    let mut hash = Sha256::new();
    hash.update(schema.version().as_bytes());
    for column in columns {
        hash.update(column.as_bytes());
        hash.update([0]);
    }
    // What is forgotten when, and what binds accounts, moves values too. Strict ties and feedback do as well, but
    // a model remembers how it was trained and is scored that way.
    hash.update(
        format!("{:?} {:?} {}", config.graph, config.kinds, config.time.account_ttl).as_bytes(),
    );
    // What others' labels say counts by who came first; and of things, only where labels speak of accounts.
    hash.update(format!("came first, {:?}", config.labels.unit).as_bytes());
    let mut hex = crate::wire::hex(&hash.finalize());
    hex.truncate(16);
    hex
}
