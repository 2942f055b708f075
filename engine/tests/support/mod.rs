//! What the engine's tests share: configurations, messages, runs from bytes to bytes.
#![allow(dead_code, reason = "every test binary uses its own part of this")]

pub mod streams;

use engine::config::Config;
use engine::effects::{Effects, SourceRef};
use engine::wire::{Decoder, write_score};
use engine::{Engine, Input, Options, Wanted};
use models::bundle::{Bundle, ForestFile, ForestFormat, Kind, Manifest};
use std::collections::BTreeMap;

/// Saved records, merged: the newest of each key.
pub type Records = BTreeMap<Vec<u8>, Vec<u8>>;

/// A configuration from TOML.
pub fn config(toml: &str) -> Config {
    toml::from_str(toml).unwrap_or_else(|e| panic!("{e}\n{toml}"))
}

/// An engine that tells all scores.
pub fn engine(config: &Config, bundle: Option<&Bundle>, options: Options) -> Engine {
    let mut engine =
        Engine::new(config.clone(), bundle, options).unwrap_or_else(|e| panic!("{}", e.join("\n")));
    engine.want(Wanted { scores: true, ..Wanted::default() });
    engine
}

/// A message of one of the two streams, as bytes of JSON.
#[derive(Clone, Debug, PartialEq)]
pub enum Message {
    /// Of the stream of events.
    Event(String),
    /// Of the stream of labels.
    Label(String),
}

/// All that a run published, as the service writes it, and what it was.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Output {
    /// Lines of scores.
    pub scores: Vec<u8>,
    /// Lines of actions.
    pub actions: Vec<u8>,
    /// Reject codes with their source's offset.
    pub rejects: Vec<(i64, &'static str)>,
    /// How many scores there are.
    pub scored: u64,
    /// Live actions but reversals: kind and time.
    pub live: Vec<(String, i64)>,
}

impl Output {
    /// Everything in one, for comparisons.
    pub fn bytes(&self) -> Vec<u8> {
        let rejects = format!("{:?}\n", self.rejects);
        [self.scores.as_slice(), &self.actions, rejects.as_bytes()].concat()
    }

    /// Actions as JSON.
    pub fn actions(&self) -> Vec<serde_json::Value> {
        let lines = self.actions.split(|b| *b == b'\n').filter(|l| !l.is_empty());
        lines.map(|l| serde_json::from_slice(l).expect("actions are JSON")).collect()
    }
}

/// An engine and what came out of it so far.
pub struct Run {
    pub engine: Engine,
    pub decoder: Decoder,
    pub output: Output,
    pub records: Records,
    effects: Effects,
    offset: i64,
}

impl Run {
    pub fn new(engine: Engine) -> Self {
        Self {
            decoder: engine.decoder(),
            engine,
            output: Output::default(),
            records: Records::new(),
            effects: Effects::default(),
            offset: 0,
        }
    }

    fn input(&mut self, message: &Message) -> Input {
        match message {
            Message::Event(text) => {
                self.offset += 1;
                let id = || compact_str::format_compact!("line-{}", self.offset);
                let event = self.decoder.event(text.as_bytes(), id);
                let event = event.unwrap_or_else(|e| panic!("{text}: {e:?}"));
                let source = SourceRef { offset: self.offset, ..SourceRef::default() };
                Input::Event(event, source)
            }
            Message::Label(text) => {
                let label = self.decoder.label(text.as_bytes());
                Input::Label(label.unwrap_or_else(|e| panic!("{text}: {e:?}")))
            }
        }
    }

    /// One batch.
    pub fn step(&mut self, messages: &[Message]) {
        let inputs: Vec<Input> = messages.iter().map(|m| self.input(m)).collect();
        self.engine.step(inputs, &mut self.effects);
        self.take_effects();
    }

    /// The end of the stream.
    pub fn finish(&mut self) {
        self.engine.finish(&mut self.effects);
        self.take_effects();
    }

    fn take_effects(&mut self) {
        let finisher = self.engine.finisher();
        for s in self.effects.scores.drain(..) {
            self.output.scored += 1;
            write_score(&mut self.output.scores, &s.event_id, &s.account, s.ts_ms, s.score);
        }
        for draft in self.effects.actions.drain(..) {
            let (is_live, action) = (!draft.is_shadow() && !draft.is_reversal(), draft.action());
            let action_v1 = finisher.finish(draft);
            if is_live {
                self.output
                    .live
                    .push((action.to_string(), action_v1.decided_at.unwrap_or(action_v1.at)));
            }
            action_v1.write(&mut self.output.actions);
        }
        let rejects = self.effects.rejects.drain(..);
        self.output.rejects.extend(rejects.map(|(source, r)| (source.offset, r.code.as_str())));
    }

    /// Merges what changed into the records.
    pub fn save(&mut self) {
        let records = &mut self.records;
        self.engine.save_changes(&mut |key, value| {
            match value {
                Some(value) => records.insert(key, value),
                None => records.remove(&key),
            };
        });
    }

    /// Goes on in a fresh engine that is loaded from the records, in an order drawn from `seed`.
    pub fn restart(&mut self, fresh: Engine, seed: u64) {
        self.save();
        self.engine = fresh;
        let mut records: Vec<_> = self.records.iter().collect();
        let mut draw = seed;
        for at in (1..records.len()).rev() {
            draw = draw
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            records.swap(at, (draw >> 33) as usize % (at + 1));
        }
        let mut loading = self.engine.loading();
        for (key, value) in records {
            loading.record(key, value).unwrap_or_else(|e| panic!("{e}"));
        }
        loading.finish().unwrap_or_else(|e| panic!("{e}"));
    }
}

/// Runs all messages in batches of `batch`.
pub fn run(engine: Engine, messages: &[Message], batch: usize) -> Run {
    let mut run = Run::new(engine);
    for part in messages.chunks(batch.max(1)) {
        run.step(part);
    }
    run.finish();
    run
}

/// The records, with the count of redelivered events left out: all that such events may change.
pub fn without_redelivered(mut records: Records) -> Records {
    for (key, value) in &mut records {
        if key[0] == b'g' {
            let mut globals: serde_json::Value =
                serde_json::from_slice(value).expect("globals are JSON");
            globals["counts"]["redelivered"] = 0.into();
            *value = globals.to_string().into_bytes();
        }
    }
    records
}

/// A small forest with random splits over the configuration's columns.
pub fn forest(config: &Config, trees: u32) -> Bundle {
    let engine = engine(config, None, Options::default());
    let columns = engine.columns().to_vec();
    let mut draw = 88_172_645_463_325_252_u64;
    let mut next = || {
        draw ^= draw << 13;
        draw ^= draw >> 7;
        draw ^= draw << 17;
        draw
    };
    let types = vec!["float"; columns.len()];
    let mut forest = Vec::new();
    for id in 0..trees {
        // A full tree of depth 3: seven splits, eight leaves.
        let nodes = 15usize;
        let child = |node: usize, side: i64| if node < 7 { 2 * node as i64 + side } else { -1 };
        let splits: Vec<u64> = (0..nodes)
            .map(|node| if node < 7 { next() % columns.len() as u64 } else { 0 })
            .collect();
        let values: Vec<f64> = (0..nodes)
            .map(|node| {
                if node < 7 {
                    (next() % 40) as f64 / 4.0
                } else {
                    (next() % 100) as f64 / 100.0 - 0.5
                }
            })
            .collect();
        let parents: Vec<i64> = (0..nodes as i64)
            .map(|node| if node == 0 { 2_147_483_647 } else { (node - 1) / 2 })
            .collect();
        forest.push(serde_json::json!({
            "base_weights": vec![0.0; nodes], "categories": [], "categories_nodes": [], "categories_segments": [],
            "categories_sizes": [], "default_left": (0..nodes).map(|n| n % 2).collect::<Vec<_>>(), "id": id,
            "left_children": (0..nodes).map(|n| child(n, 1)).collect::<Vec<_>>(), "loss_changes": vec![0.0; nodes],
            "parents": parents, "right_children": (0..nodes).map(|n| child(n, 2)).collect::<Vec<_>>(),
            "split_conditions": values, "split_indices": splits, "split_type": vec![0; nodes],
            "sum_hessian": (0..nodes).map(|n| (n % 5 + 1) as f64).collect::<Vec<_>>(),
            "tree_param": {"num_deleted": "0", "num_feature": columns.len().to_string(),
                "num_nodes": nodes.to_string(), "size_leaf_vector": "1"},
        }));
    }
    let model = serde_json::json!({
        "learner": {
            "attributes": {}, "feature_names": columns, "feature_types": types,
            "gradient_booster": {"model": {
                "gbtree_model_param": {"num_parallel_tree": "1", "num_trees": trees.to_string()},
                "iteration_indptr": (0..=trees).collect::<Vec<_>>(),
                "tree_info": vec![0; trees as usize], "trees": forest,
            }, "name": "gbtree"},
            "learner_model_param": {"base_score": "5E-1", "boost_from_average": "1", "num_class": "0",
                "num_feature": columns.len().to_string(), "num_target": "1"},
            "objective": {"name": "binary:logistic", "reg_loss_param": {"scale_pos_weight": "1"}},
        },
        "version": [3, 0, 0],
    });
    let mut manifest = Manifest::new("random", "1", Kind::Forest, &engine.versions().features);
    manifest.features = columns;
    manifest.forest =
        Some(ForestFile { file: "forest.json".into(), format: ForestFormat::XgboostJson });
    let files = [("forest.json".to_string(), serde_json::to_vec(&model).expect("JSON"))].into();
    Bundle::new(manifest, files).unwrap_or_else(|e| panic!("{e}"))
}
