//! What a checkpoint in Redis belongs to, beside the state: how far each input was taken, and where the outputs stood.

use crate::kafka::client::Trouble;
use crate::kafka::journal::{Offsets, Tp};
use crate::kafka::publish::Committed;
use crate::kafka::signature::Signing;
use crate::store::redis::Position;
use engine::Engine;
use engine::wire::bytes_of_hex;
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
    /// The key by which the state looks up its keys, as hex; none: the one that is the same for all states.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub look_up_key: Option<String>,
    /// The epoch in which the state was made on a person's word, anew or empty; 0: it comes from the first message. Two states with
    /// another one have nothing to do with each other.
    #[serde(default)]
    pub born: u32,
    /// The state is being made anew, and this is nothing to begin with: whoever finds it goes on with that.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unfinished: bool,
    /// Whose the journal was there, if its records say so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub writer: Option<String>,
    /// How many accounts were erased so far.
    #[serde(default)]
    pub erased: u64,
    /// An account was erased since the checkpoint before: older versions of records hold what was known of it, and are to go.
    #[serde(default)]
    pub older_to_go: bool,
    /// How records of the journal and of the actions are signed; earlier versions did not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signing: Option<Signing>,
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

impl Detail {
    /// What is said of an engine's state, outputs apart.
    pub fn of(engine: &Engine) -> Self {
        let versions = engine.versions();
        Self {
            features: versions.features.clone(),
            policy: versions.policy.clone(),
            model: versions.model.clone(),
            privacy: engine.privacy_fingerprint(),
            erased: engine.counts().erased,
            look_up_key: engine.look_up_key().map(|key| hex(&key)),
            ..Self::default()
        }
    }
}

/// Gives an engine that knows nothing the look-up key of a state.
///
/// # Errors
/// When it cannot be read.
pub fn look_up_as(detail: &Detail, engine: &mut Engine) -> Result<(), Trouble> {
    let Some(hex) = &detail.look_up_key else { return Ok(()) };
    let key = bytes_of_hex(hex).ok_or_else(|| {
        Trouble::Fatal(
            "the checkpoint's position cannot be read: its look-up key is damaged".into(),
        )
    })?;
    engine.look_up_by(key);
    Ok(())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The position of a state.
pub fn position(at: &Offsets, outputs: &Committed, detail: Detail) -> Position {
    let number = outputs.number;
    let signing = detail.signing.map(|s| Signing { number: s.number.max(number), ..s });
    let (journal, actions) = (outputs.journal, outputs.actions.clone());
    Position { offsets: named(at), detail: text(&Detail { journal, actions, signing, ..detail }) }
}

/// As the store keeps it.
pub fn text(detail: &Detail) -> String {
    // Serialising to memory does not fail.
    serde_json::to_string(detail).unwrap_or_default()
}

/// Reads what stands with a position.
///
/// # Errors
/// When it cannot be read.
pub fn read(position: &Position) -> Result<Detail, Trouble> {
    serde_json::from_str(&position.detail)
        .map_err(|e| Trouble::Fatal(format!("the checkpoint's position cannot be read: {e}")))
}

/// Whether a state and an engine have the same `privacy.key`.
///
/// # Errors
/// When they have not.
pub fn same_privacy(detail: &Detail, engine: &Engine) -> Result<(), Trouble> {
    if detail.privacy == engine.privacy_fingerprint() {
        return Ok(());
    }
    Err(Trouble::Fatal(
        "the state in Redis was made with another privacy.key\nhint: put the old key back; with another one no key in it can be found".into(),
    ))
}

/// Whether a state is of an engine's feature set and `privacy.key`.
///
/// # Errors
/// When it is not.
pub fn same_configuration(detail: &Detail, engine: &Engine) -> Result<(), Trouble> {
    same_privacy(detail, engine)?;
    let features = &engine.versions().features;
    if detail.features == *features {
        return Ok(());
    }
    Err(Trouble::Fatal(format!(
        "the live instance has feature set {}, this one {features}: it is carried over at the take-over, which takes as long as a start",
        detail.features
    )))
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
