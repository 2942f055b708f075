//! What must always hold, numbered. Tests cite the numbers; the checks here are what they call.
//!
//! * **E1** The same consumed order gives the same bytes of scores and actions.
//! * **E2** How a stream is cut into batches never changes a byte.
//! * **E3** An engine that was loaded from saved records, given in any order, goes on as if it had never
//!   been stopped.
//! * **E4** An event that is delivered again leaves no trace: not in outputs, not in the state.
//! * **E5** A score uses nothing that comes later, neither events nor labels.
//! * **E6** An erased account leaves nothing that names it in any saved record.
//! * **E7** No more actions of a kind are published per hour of the stream's time than its cap allows.
//! * **E8** Under strict ties, the order of the events of one `ts` changes none of their scores.
//! * **E9** What the state holds fits together: every live key is found under its hash, every profile, line
//!   and policy record belongs to a live key, and the graph's own invariants hold.
//! * **E10** With a privacy key, no entity key is in plain in any saved record or action.
//! * **E11** Every event is exactly one of: scored, recognised as redelivered, rejected.
//! * **E12** A preview says what the next step says of the same event, and leaves no trace in anything saved.
//! * **E13** Outputs do not depend on the look-up key.

use crate::effects::Counts;
use crate::intern::Interner;
use crate::policy::ActionKind;
use crate::step::{ACCOUNT_DOMAIN, Engine};
use std::collections::BTreeMap;

/// An invariant that does not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{number} does not hold: {found}")]
pub struct Broken {
    /// Its number, as in the list above.
    pub number: &'static str,
    /// What was found instead.
    pub found: String,
}

fn must(holds: bool, number: &'static str, found: impl FnOnce() -> String) -> Result<(), Broken> {
    if holds { Ok(()) } else { Err(Broken { number, found: found() }) }
}

/// E1, E2, E3 and E5, by their number: two renderings of the same stream are the same bytes. The first line
/// that differs is named.
///
/// # Errors
/// When they differ.
pub fn same_bytes(number: &'static str, one: &[u8], other: &[u8]) -> Result<(), Broken> {
    if one == other {
        return Ok(());
    }
    let lines = |bytes: &[u8]| -> Vec<String> {
        bytes.split(|b| *b == b'\n').map(|l| String::from_utf8_lossy(l).into_owned()).collect()
    };
    let (one, other) = (lines(one), lines(other));
    let at = one.iter().zip(&other).take_while(|(a, b)| a == b).count();
    let line = |lines: &[String]| lines.get(at).cloned().unwrap_or_default();
    Err(Broken { number, found: format!("line {}: {} / {}", at + 1, line(&one), line(&other)) })
}

/// E6 and E10, by their number: none of the byte strings occurs in any record, key or value.
///
/// # Errors
/// Naming the record.
pub fn nothing_of<'a>(
    number: &'static str,
    needles: &[Vec<u8>],
    records: impl IntoIterator<Item = (&'a Vec<u8>, &'a Vec<u8>)>,
) -> Result<(), Broken> {
    for (key, value) in records {
        for needle in needles.iter().filter(|n| !n.is_empty()) {
            let within = |bytes: &[u8]| bytes.windows(needle.len()).any(|w| w == needle.as_slice());
            must(!within(key) && !within(value), number, || {
                let text = String::from_utf8_lossy(needle);
                format!(
                    "{text:?} ({needle:02x?}) is in the record {:?}",
                    String::from_utf8_lossy(key)
                )
            })?;
        }
    }
    Ok(())
}

/// E7: counts published actions per kind and hour of the stream's time; those that came late count in the newest
/// hour. `actions` are kind and time of decision of the live ones, reversals apart, in the order of their publication.
///
/// # Errors
/// When a cap was passed.
pub fn within_caps<'a>(
    caps: &BTreeMap<ActionKind, u32>,
    actions: impl IntoIterator<Item = (&'a str, i64)>,
) -> Result<(), Broken> {
    let mut hour = i64::MIN;
    let mut published: BTreeMap<ActionKind, u32> = BTreeMap::new();
    for (action, at_ms) in actions {
        let Some(kind) = ActionKind::from_name(action) else { continue };
        if at_ms.div_euclid(3_600_000) > hour {
            hour = at_ms.div_euclid(3_600_000);
            published.clear();
        }
        let count = published.entry(kind).or_default();
        *count += 1;
        let most = caps.get(&kind).copied().unwrap_or(u32::MAX);
        must(*count <= most, "E7", || {
            format!("{count} times {action} in hour {hour}, at most {most}")
        })?;
    }
    Ok(())
}

/// E11: of `delivered` events, so many were scored and rejected.
///
/// # Errors
/// When they do not add up.
pub fn all_accounted_for(
    delivered: u64,
    scored: u64,
    rejected: u64,
    counts: &Counts,
) -> Result<(), Broken> {
    must(
        scored + rejected + counts.redelivered == delivered && scored == counts.events,
        "E11",
        || format!("{delivered} delivered, {scored} scored, {rejected} rejected, {counts:?}"),
    )
}

impl Engine {
    /// E9. Costs several passes over the state.
    ///
    /// # Errors
    /// The first thing found that does not fit.
    pub fn check_invariants(&self) -> Result<(), Broken> {
        self.graph.check_invariants().map_err(|e| Broken { number: "E9", found: e.to_string() })?;
        check_keys("accounts", &self.accounts.keys)?;
        for id in 0..self.accounts.keys.bound() {
            let live = self.accounts.keys.is_live(id);
            let line = self.graph.account(id);
            let name = |id| self.accounts.keys.text(id);
            let key = live.then(|| self.public_hasher.hash(ACCOUNT_DOMAIN, name(id)));
            must(line.map(|l| l.key) == key, "E9", || {
                format!("account {id}: {line:?}, live {live}")
            })?;
            let empty = self.accounts.acting.get(id).iter().all(|b| *b == 0)
                && self.accounts.received(id).is_none();
            must(live || empty, "E9", || format!("account {id} is forgotten and has a profile"))?;
        }
        for (kind, entities) in self.kinds.iter().enumerate() {
            let Some(entities) = entities else { continue };
            check_keys("entities", &entities.keys)?;
            for id in 0..entities.keys.bound() {
                let there = self.graph.entity(self.nodes.node(kind as u8, id)).is_some()
                    || entities.profiles.get(id).iter().any(|b| *b != 0);
                let live = entities.keys.is_live(id);
                must(live || !there, "E9", || format!("{kind}/{id} is forgotten and still there"))?;
            }
        }
        for hash in self.deciding.states.keys() {
            let known = self.accounts.keys.find(*hash).is_some();
            must(known, "E9", || format!("policy state of an unknown account {hash:016x}"))?;
        }
        Ok(())
    }

    /// Everything by which a saved record could name an account: its key, and the hash of it.
    pub fn traces_of(&self, account: &str) -> Vec<Vec<u8>> {
        let hash = self.hasher.hash(ACCOUNT_DOMAIN, account);
        vec![account.as_bytes().to_vec(), hash.to_le_bytes().to_vec(), hash.to_be_bytes().to_vec()]
    }
}

fn check_keys(what: &str, keys: &Interner) -> Result<(), Broken> {
    let mut live = 0;
    for id in (0..keys.bound()).filter(|id| keys.is_live(*id)) {
        live += 1;
        must(keys.find(keys.hash_of(id)) == Some(id), "E9", || {
            format!("{what}: {id} is not found")
        })?;
    }
    must(live == keys.len(), "E9", || format!("{what}: {live} live, {} in the table", keys.len()))
}
