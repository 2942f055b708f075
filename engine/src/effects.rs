//! What comes out of a step: values only; carrying them out is somebody else's part.

use crate::wire::Reject;
use compact_str::CompactString;

/// Where a message came from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SourceRef {
    /// Number of its topic among those of [`Engine::reads_from`](crate::Engine::reads_from), from 1; 0: none of them, as in files.
    pub topic: u16,
    /// Partition of the topic; 0 for files.
    pub partition: i32,
    /// Offset in the partition, or line of the file.
    pub offset: i64,
    /// When it was produced, epoch milliseconds, for those who measure; nothing depends on it. 0: nobody says.
    pub produced_ms: i64,
}

/// The score of one event.
#[derive(Clone, Debug, PartialEq)]
pub struct ScoreOut {
    /// The event.
    pub event_id: CompactString,
    /// Who did it.
    pub account: CompactString,
    /// When.
    pub ts_ms: i64,
    /// The combined score, 0 to 1.
    pub score: f32,
}

/// The feature vector of one event, for training.
#[derive(Clone, Debug, PartialEq)]
pub struct RowOut {
    /// Dense id of the account.
    pub account: u32,
    /// Type of the event.
    pub type_id: u16,
    /// Whether the account was already known to be bad.
    pub known_bad: bool,
}

/// Everything that a step asks for, in the order of the input.
#[derive(Debug, Default)]
pub struct Effects {
    /// Actions to publish; `finish` gives them their reasons.
    pub actions: Vec<crate::decide::Draft>,
    /// Scores, if asked for.
    pub scores: Vec<ScoreOut>,
    /// Which messages of the batch are rejects.
    pub rejects: Vec<(SourceRef, Reject)>,
    /// Rows, if asked for: beside `scores`, one for one.
    pub rows: Vec<RowOut>,
    /// Their values, row-major.
    pub row_values: Vec<f32>,
}

impl Effects {
    /// Empties all lists, keeping their memory.
    pub fn clear(&mut self) {
        self.actions.clear();
        self.scores.clear();
        self.rejects.clear();
        self.rows.clear();
        self.row_values.clear();
    }
}

/// What was counted, since the first event of the state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Counts {
    /// Events that were taken.
    pub events: u64,
    /// Events with the account, id and content of an earlier one: without effect.
    pub redelivered: u64,
    /// Events taken under a derived id, because their account used theirs before for another event.
    #[serde(default)]
    pub event_id_conflicts: u64,
    /// Rejects found by the engine (no ids left).
    pub rejects: u64,
    /// Events later than the allowed lateness.
    pub too_late: u64,
    /// Events with a time ahead of the stream's clock, which counted as of it.
    #[serde(default)]
    pub ahead: u64,
    /// Labels that were taken.
    pub labels: u64,
    /// Labels whose event is not remembered.
    pub labels_unjoined: u64,
    /// Labels about accounts that are not known.
    pub labels_unknown: u64,
    /// Accounts erased on request.
    pub erased: u64,
    /// Accounts forgotten because they were idle.
    pub expired_accounts: u64,
    /// Entities forgotten because they were idle.
    pub expired_entities: u64,
    /// Entities forgotten because the last account that was linked to them was erased, or at its cap of links.
    #[serde(default)]
    pub unlinked_entities: u64,
    /// Actions that count.
    pub actions: u64,
    /// Actions for comparison only.
    pub shadow_actions: u64,
    /// Actions turned into `review` by a cap.
    pub degraded: u64,
    /// Actions undone by a label.
    pub reversals: u64,
    /// Actions in force that an account's record had no room for: they cannot be undone any more.
    #[serde(default)]
    pub forgotten_actions: u64,
    /// Keys of events that do not parse under their kind's form, and are known as they came.
    #[serde(default)]
    pub malformed_keys: u64,
    /// Keys of events that were not kept, or not linked, because the state was near `state.memory_max`.
    #[serde(default)]
    pub keys_not_kept: u64,
    /// Events of unknown accounts that were scored and not kept, because the state was at `state.memory_max`.
    #[serde(default)]
    pub accounts_not_kept: u64,
    /// Keys of events that the configuration ignores.
    #[serde(default)]
    pub ignored_keys: u64,
    /// Times that a key was found on far more accounts than the rest of its kind: at most once per doubling.
    #[serde(default)]
    pub suspected_placeholders: u64,
    /// Tie groups closed early at the cap.
    pub ties_cut: u64,
}
