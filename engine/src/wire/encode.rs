//! Actions, scores and dead letters to bytes.

use super::Reject;
use crate::limits::DEAD_LETTER_BYTES_MAX;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::io::Write;

/// An enforcement action, as subscribers read it. Field names are part of the contract.
#[derive(Clone, Debug, Serialize, schemars::JsonSchema)]
pub struct ActionV1 {
    /// The same on every replay: hash of account, event id, rule and policy id.
    pub action_id: String,
    /// Version of this format.
    pub v: u8,
    /// `observe`, `challenge`, `rate_limit`, `review`, `suspend`, `ban` or `reverse`.
    pub action: &'static str,
    /// The account acted against.
    pub account: String,
    /// Event time of the decision, epoch milliseconds.
    pub at: i64,
    /// The stream's time at the decision, epoch milliseconds, where the event came later than its `at`: cool-down and `expires_at` run from it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decided_at: Option<i64>,
    /// When the action ends by itself, epoch milliseconds.
    pub expires_at: Option<i64>,
    /// The combined score, 0 to 1.
    pub score: f64,
    /// The parts of the score.
    pub scores: ScoresV1,
    /// The rule that decided.
    pub rule: String,
    /// Set when a cap turned a stronger action into `review`: the action the rule asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub degraded_from: Option<&'static str>,
    /// Why, strongest first.
    pub reasons: Vec<ReasonV1>,
    /// What the link graph knows.
    pub evidence: EvidenceV1,
    /// The event that led to it.
    pub event: EventRefV1,
    /// What decided.
    pub versions: VersionsV1,
    /// True: for comparison only, not to be enforced.
    pub shadow: bool,
    /// For `reverse`: the action that is undone.
    pub reverses: Option<String>,
    /// The hour since the epoch whose cap it counts in. In Kafka it is a header, since it means nothing to subscribers.
    #[serde(skip)]
    pub cap_hour: Option<i64>,
}

/// The parts of a score.
#[derive(Clone, Debug, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ScoresV1 {
    /// The trees' probability.
    pub behaviour: f64,
    /// The graph model's probability.
    pub graph: f64,
}

/// One reason.
#[derive(Clone, Debug, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ReasonV1 {
    /// The feature's name.
    pub code: String,
    /// Its value; absent when the feature is.
    pub value: Option<f64>,
    /// How far it moved the score, in log-odds.
    pub contribution: f64,
    /// For a moderator.
    pub text: String,
    /// For the account's owner: names nobody else.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_text: Option<String>,
}

/// What the link graph knows of the account at the moment of the decision.
#[derive(Clone, Debug, Default, Serialize, schemars::JsonSchema)]
pub struct EvidenceV1 {
    /// Id of the ring: the same for all its members while it lasts.
    pub ring: Option<String>,
    /// Accounts in the ring.
    pub ring_size: u32,
    /// Of these, known bad.
    pub known_bad: u32,
    /// Of the known bad, those that it came with or joined; the others came to what it used for long.
    pub joined_bad: u32,
    /// The shared things, by kind.
    pub via: Vec<ViaV1>,
}

/// One kind of shared thing of this event.
#[derive(Clone, Debug, Serialize, schemars::JsonSchema)]
pub struct ViaV1 {
    /// The kind.
    pub kind: String,
    /// Accounts seen with it.
    pub accounts: u32,
    /// Who joined whom: true if this account was the first to use it, and the others joined it.
    pub first: bool,
    /// Hours since this account first used it.
    pub since_h: f64,
}

/// The event that led to an action.
#[derive(Clone, Debug, Serialize, schemars::JsonSchema)]
pub struct EventRefV1 {
    /// Its id.
    pub id: String,
    /// The topic that it came from; null in runs over files, and where no event led to it.
    pub topic: Option<String>,
    /// Partition of the topic.
    pub partition: i32,
    /// Offset in the partition, or line of the file.
    pub offset: i64,
}

/// What decided.
#[derive(Clone, Debug, Serialize, Deserialize, schemars::JsonSchema)]
pub struct VersionsV1 {
    /// The model bundle's id, or `labelfree`.
    pub model: String,
    /// The policy's id.
    pub policy: String,
    /// The feature set's hash.
    pub features: String,
}

/// A dead letter as a line of a file: why, where from, and the original bytes.
#[derive(Clone, Debug, Serialize, schemars::JsonSchema)]
pub struct DeadLetterV1<'a> {
    /// The reason code.
    pub code: &'static str,
    /// What was found; never a value of the message.
    pub detail: &'a str,
    /// `events` or `labels`.
    pub stream: &'a str,
    /// Line of the file, from 1.
    pub line: u64,
    /// Length of the original, bytes.
    pub size: u64,
    /// SHA-256 of the original's bytes that were read.
    pub sha256: String,
    /// Whether the original was cut.
    pub truncated: bool,
    /// The original, if it is UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub original: Option<&'a str>,
    /// The original in hex, if it is not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub original_hex: Option<String>,
}

impl<'a> DeadLetterV1<'a> {
    /// The dead letter of a rejected message. `size` may exceed `original`, if only its start was kept.
    pub fn new(
        reject: &'a Reject,
        stream: &'a str,
        line: u64,
        original: &'a [u8],
        size: u64,
    ) -> Self {
        let mut cut = original.len().min(DEAD_LETTER_BYTES_MAX);
        let text = match std::str::from_utf8(&original[..cut]) {
            Ok(text) => Some(text),
            // A cut in the middle of a character is the cut's fault, not the message's.
            Err(e) if cut < original.len() && cut - e.valid_up_to() < 4 => {
                cut = e.valid_up_to();
                std::str::from_utf8(&original[..cut]).ok()
            }
            Err(_) => None,
        };
        Self {
            code: reject.code.as_str(),
            detail: &reject.detail,
            stream,
            line,
            size,
            sha256: hex(&Sha256::digest(original)),
            truncated: (cut as u64) < size,
            original_hex: text.is_none().then(|| hex(&original[..cut])),
            original: text,
        }
    }
}

/// 16 bytes that stand as hex; `None` if it is something else.
pub fn bytes_of_hex(hex: &str) -> Option<[u8; 16]> {
    let mut bytes = [0; 16];
    if hex.len() != 32 || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    for (byte, at) in bytes.iter_mut().zip((0..32).step_by(2)) {
        *byte = u8::from_str_radix(hex.get(at..at + 2)?, 16).ok()?;
    }
    Some(bytes)
}

/// Bytes as lower-case hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len() * 2);
    for b in bytes {
        out.push(char::from_digit(u32::from(b >> 4), 16).unwrap_or('0'));
        out.push(char::from_digit(u32::from(b & 15), 16).unwrap_or('0'));
    }
    out
}

/// Appends one line of `--scores-out`. The score is written with the digits that identify its `f32`.
pub fn write_score(out: &mut Vec<u8>, event_id: &str, account: &str, ts_ms: i64, score: f32) {
    out.extend_from_slice(b"{\"event_id\":");
    write_text(out, event_id);
    out.extend_from_slice(b",\"account\":");
    write_text(out, account);
    // Writing to a Vec cannot fail.
    let _ = writeln!(out, ",\"ts\":{ts_ms},\"score\":{score:?}}}");
}

fn write_text(out: &mut Vec<u8>, text: &str) {
    let _ = serde_json::to_writer(out, text);
}

impl ActionV1 {
    /// Appends the action as one line of JSON.
    pub fn write(&self, out: &mut Vec<u8>) {
        let _ = serde_json::to_writer(&mut *out, self);
        out.push(b'\n');
    }
}

/// The id of an action: 128 bits of SHA-256 over the four texts, each with its length.
pub(crate) fn action_id(account: &str, event_id: &str, rule: &str, policy: &str) -> [u8; 16] {
    let mut hash = Sha256::new();
    for text in [account, event_id, rule, policy] {
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(text.as_bytes());
    }
    let digest = hash.finalize();
    let mut id = [0; 16];
    id.copy_from_slice(&digest[..16]);
    id
}
