//! What a checkpoint in Redis belongs to, beside the state: how far each input was taken, and where the outputs stood.

use crate::kafka::journal::{Offsets, Tp};
use crate::kafka::publish::Committed;
use crate::store::redis::Position;
use engine::Versions;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What the store keeps as text with a position.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Detail {
    /// Next offset of the journal.
    pub journal: i64,
    /// Next offset of the actions, by partition.
    pub actions: BTreeMap<i32, i64>,
    /// The feature set of the records.
    pub features: String,
    /// The policy that was in force.
    pub policy: String,
    /// The model that scored.
    pub model: String,
    /// Names the `privacy.key`.
    pub privacy: Option<String>,
}

/// The name of a partition in a position: `topic/number`.
pub fn name(tp: &Tp) -> String {
    format!("{}/{}", tp.topic, tp.partition)
}

/// Offsets as the store knows them.
pub fn named(offsets: &Offsets) -> BTreeMap<String, i64> {
    offsets.iter().map(|(tp, offset)| (name(tp), *offset)).collect()
}

/// Offsets as Kafka knows them; names that are none are left out.
pub fn offsets(named: &BTreeMap<String, i64>) -> Offsets {
    let tp = |name: &str| {
        let (topic, partition) = name.rsplit_once('/')?;
        Some(Tp { topic: topic.into(), partition: partition.parse().ok()? })
    };
    named.iter().filter_map(|(name, offset)| Some((tp(name)?, *offset))).collect()
}

/// The position of a state.
pub fn position(
    at: &Offsets,
    outputs: &Committed,
    versions: &Versions,
    privacy: Option<String>,
) -> Position {
    let detail = Detail {
        journal: outputs.journal,
        actions: outputs.actions.clone(),
        features: versions.features.clone(),
        policy: versions.policy.clone(),
        model: versions.model.clone(),
        privacy,
    };
    // Serialising to memory does not fail.
    Position { offsets: named(at), detail: serde_json::to_string(&detail).unwrap_or_default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_keep_their_names() {
        let tp = |topic: &str, partition| Tp { topic: topic.into(), partition };
        let at: Offsets = [(tp("a/b", 3), 7), (tp("a", 0), 0)].into();
        assert_eq!(offsets(&named(&at)), at);
    }
}
