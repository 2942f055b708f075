//! What ships inside the binary: the configuration and the model of the simulator's platform.

use models::bundle::{Bundle, BundleError};
use std::collections::BTreeMap;

/// The configuration of the simulator's platform.
pub const CONFIG: &str = include_str!("../shipped/detector.toml");

/// The configuration of the benchmark's workload.
pub const BENCH_CONFIG: &str = include_str!("../shipped/bench.toml");

/// Files of the model that was trained on the simulator's stream (`scripts/shipped-model` makes it anew).
const MODEL: [(&str, &[u8]); 2] = [
    ("model.toml", include_bytes!("../shipped/model/model.toml")),
    ("forest.json", include_bytes!("../shipped/model/forest.json")),
];

/// The model of the simulator's platform.
///
/// # Errors
/// Never, for what a build that passed its tests ships.
pub fn bundle() -> Result<Bundle, BundleError> {
    let files: BTreeMap<String, Vec<u8>> =
        MODEL.iter().map(|(name, bytes)| (name.to_string(), bytes.to_vec())).collect();
    Bundle::parse(&files)
}
