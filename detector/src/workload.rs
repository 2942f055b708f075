//! The fixed workload of the benchmarks: accounts drawn by Zipf 1.0, three entities per event, and a forest of random splits.

use crate::command::Failure;
use engine::Engine;
use models::bundle::{Bundle, ForestFile, ForestFormat, Kind, Manifest};

/// Draws the workload: the same numbers every time.
pub struct Workload {
    accounts: u32,
    state: u64,
    serial: u64,
    ts_ms: i64,
    /// Cumulative weights of Zipf 1.0 over accounts.
    cumulative: Vec<f64>,
}

impl Workload {
    /// The workload of so many accounts.
    pub fn new(accounts: u32) -> Self {
        let mut sum = 0.0;
        let cumulative = (1..=accounts)
            .map(|rank| {
                sum += 1.0 / f64::from(rank);
                sum
            })
            .collect();
        Self {
            accounts,
            state: 0x9E37_79B9_7F4A_7C15,
            serial: 0,
            ts_ms: 1_767_225_600_000,
            cumulative,
        }
    }

    /// How many messages were made: event ids are `e-1` to this.
    pub fn serial(&self) -> u64 {
        self.serial
    }

    /// xorshift64*.
    fn draw(&mut self) -> u64 {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        self.state.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn unit(&mut self) -> f64 {
        (self.draw() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Message `n` of those that make every account known: two for each, five links over three entities of its own or shared.
    pub fn fill(&mut self, n: u64, out: &mut Vec<u8>) {
        let account = (n / 2) as u32;
        let second = n % 2;
        // Links: device, address, card; then a second address and a second card.
        let address = if second == 0 { account / 4 } else { self.accounts / 4 + account / 3 };
        let card = if second == 0 { account } else { self.accounts + account / 2 };
        self.write(account, account, address, card, out);
    }

    /// The next event.
    pub fn event(&mut self, out: &mut Vec<u8>) {
        let total = self.cumulative[self.cumulative.len() - 1];
        let at = self.unit() * total;
        let rank =
            self.cumulative.partition_point(|c| *c < at).min(self.cumulative.len() - 1) as u32;
        // Ranks are spread over the ids, so that busy accounts do not lie side by side.
        let account = (u64::from(rank) * 2_654_435_761 % u64::from(self.accounts)) as u32;
        let second = self.draw().is_multiple_of(2);
        let address = if second { self.accounts / 4 + account / 3 } else { account / 4 };
        let card = if second { self.accounts + account / 2 } else { account };
        self.write(account, account, address, card, out);
    }

    fn write(&mut self, account: u32, device: u32, address: u32, card: u32, out: &mut Vec<u8>) {
        use std::io::Write;
        self.serial += 1;
        self.ts_ms += (self.draw() % 20) as i64;
        let kinds = ["message", "payment", "login", "view", "follow", "listing"];
        let kind = kinds[(self.draw() % 6) as usize];
        let amount = (self.unit() * 20_000.0).floor() / 100.0;
        let length = self.draw() % 300;
        let target = (self.unit() * f64::from(self.accounts)) as u32;
        let _ = write!(
            out,
            "{{\"event_id\":\"e-{}\",\"ts\":{},\"type\":\"{kind}\",\"account\":\"u{account}\",\
             \"entities\":{{\"device\":\"dev-{device:08x}\",\"ip\":\"10.{}.{}.{}\",\"card\":\"card-{card:08x}\"}},\
             \"attributes\":{{\"amount\":{amount},\"text_length\":{length},\"has_url\":{},\"country\":\"{}\",\
             \"client\":\"web-7.{}\",\"session\":\"s-{:016x}\"}},\"note\":\"{}\"}}",
            self.serial,
            self.ts_ms,
            address >> 16,
            address >> 8 & 255,
            address & 255,
            length.is_multiple_of(7),
            ["NL", "DE", "FR", "US", "BR"][(account % 5) as usize],
            length % 9,
            u64::from(target) * 7_919,
            "x".repeat((length % 40) as usize),
        );
    }
}

/// A forest of random splits over the engine's columns: what scoring costs does not depend on what was learnt.
///
/// # Errors
/// When there are no leaves to speak of.
pub fn random_bundle(engine: &Engine, trees: u32, leaves: u32) -> Result<Bundle, Failure> {
    let columns: Vec<String> = engine.columns().to_vec();
    let mut workload = Workload::new(16);
    let mut forest = Vec::new();
    for id in 0..trees {
        forest.push(random_tree(id, leaves as usize, columns.len(), &mut workload));
    }
    let types: Vec<&str> = vec!["float"; columns.len()];
    let model = serde_json::json!({
        "learner": {
            "attributes": {}, "feature_names": columns, "feature_types": types,
            "gradient_booster": {
                "model": {
                    "gbtree_model_param": {"num_parallel_tree": "1", "num_trees": trees.to_string()},
                    "iteration_indptr": (0..=trees).collect::<Vec<_>>(),
                    "tree_info": vec![0; trees as usize], "trees": forest,
                },
                "name": "gbtree",
            },
            "learner_model_param": {"base_score": "1E-2", "boost_from_average": "1", "num_class": "0",
                "num_feature": columns.len().to_string(), "num_target": "1"},
            "objective": {"name": "binary:logistic", "reg_loss_param": {"scale_pos_weight": "1"}},
        },
        "version": [3, 0, 0],
    });
    let mut manifest = Manifest::new("bench", "1", Kind::Forest, &engine.versions().features);
    manifest.features = columns;
    manifest.forest =
        Some(ForestFile { file: "forest.json".into(), format: ForestFormat::XgboostJson });
    let files = [("forest.json".to_string(), serde_json::to_vec(&model)?)].into();
    Bundle::new(manifest, files).map_err(Failure::from)
}

fn random_tree(id: u32, leaves: usize, columns: usize, draw: &mut Workload) -> serde_json::Value {
    // Leaf-wise growth: a random leaf is split until there are enough.
    let mut left = vec![-1i64];
    let mut right = vec![-1i64];
    let mut parents = vec![2_147_483_647i64];
    let mut open = vec![0usize];
    while open.len() < leaves {
        let at = (draw.draw() % open.len() as u64) as usize;
        let node = open.swap_remove(at);
        for side in [&mut left, &mut right] {
            side[node] = parents.len() as i64;
            parents.push(node as i64);
            open.push(parents.len() - 1);
        }
        let nodes = parents.len();
        left.resize(nodes, -1);
        right.resize(nodes, -1);
    }
    let nodes = parents.len();
    let mut indices = vec![0u64; nodes];
    let mut conditions = vec![0.0f64; nodes];
    let mut defaults = vec![0u8; nodes];
    for node in 0..nodes {
        if left[node] < 0 {
            conditions[node] = (draw.unit() - 0.5) * 0.2;
        } else {
            indices[node] = draw.draw() % columns as u64;
            conditions[node] = (draw.unit() * 6.0).exp() - 1.0;
            defaults[node] = (draw.draw() % 2) as u8;
        }
    }
    serde_json::json!({
        "base_weights": vec![0.0; nodes], "categories": [], "categories_nodes": [], "categories_segments": [],
        "categories_sizes": [], "default_left": defaults, "id": id, "left_children": left, "loss_changes": vec![0.0; nodes],
        "parents": parents, "right_children": right, "split_conditions": conditions, "split_indices": indices,
        "split_type": vec![0; nodes], "sum_hessian": vec![1.0; nodes],
        "tree_param": {"num_deleted": "0", "num_feature": columns.to_string(), "num_nodes": nodes.to_string(), "size_leaf_vector": "1"},
    })
}
