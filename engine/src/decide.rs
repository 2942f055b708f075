//! From vectors to scores to decisions. Rows wait until enough are together to be scored at once; nothing
//! in the state that features are read from depends on what is decided, so waiting changes nothing.

use crate::arrived::Arrived;
use crate::effects::{Effects, RowOut, ScoreOut, SourceRef};
use crate::limits::SCORE_ROWS;
use crate::policy::{
    AccountPolicyState, ActionKind, ActionTaken, CapState, DecideContext, Policy, Reversal,
    ScoreView,
};
use crate::step::{EVENT_DOMAIN, Engine};
use crate::wire::{EvidenceV1, ViaV1};
use compact_str::CompactString;
use hashbrown::HashMap;
use models::bundle::{Scorer, Scores};
use smallvec::SmallVec;
use std::collections::{BTreeSet, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

/// States by the hash of the account's key; never iterated where an output could tell.
type PolicyStates = HashMap<u64, AccountPolicyState, BuildHasherDefault<Hashed>>;

/// The hash of a key that is a hash already.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Hashed(u64);

impl Hasher for Hashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

/// A row that waits to be scored, and what its action would need to know.
#[derive(Debug)]
pub(crate) struct Pending {
    event_id: CompactString,
    account: CompactString,
    account_hash: u64,
    ts_ms: i64,
    /// The stream's time at it.
    now_ms: i64,
    source: SourceRef,
    allowed: bool,
    warm: bool,
    ring: Option<Ring>,
    row: RowOut,
    /// Whether its account is kept, and what is done about it with it.
    kept: bool,
}

/// What is known of an event's row as soon as its vector is.
#[derive(Debug)]
pub(crate) enum Offered {
    /// It is to be scored and decided.
    ToDecide(Pending),
    /// Only the state moves; its vector may be wanted.
    StateOnly(RowOut),
}

#[derive(Clone, Copy, Debug)]
struct Ring {
    id: u64,
    size: u32,
    bad: u32,
}

/// An action without its reasons: `Finisher::finish` adds them, off the engine's thread.
#[derive(Debug)]
pub struct Draft {
    pub(crate) id: [u8; 16],
    pub(crate) action: &'static str,
    pub(crate) rule_index: Option<u16>,
    pub(crate) degraded_from: Option<&'static str>,
    pub(crate) account: CompactString,
    pub(crate) event_id: CompactString,
    pub(crate) at_ms: i64,
    /// The stream's time at the decision.
    pub(crate) decided_ms: i64,
    pub(crate) expires_at_ms: Option<i64>,
    pub(crate) rule: CompactString,
    pub(crate) shadow: bool,
    pub(crate) scores: Option<Scores>,
    pub(crate) row: Box<[f32]>,
    pub(crate) evidence: EvidenceV1,
    pub(crate) source: SourceRef,
    pub(crate) reverses: Option<[u8; 16]>,
    pub(crate) cap_hour: Option<i64>,
}

impl Draft {
    /// Whether it is for comparison only.
    pub fn is_shadow(&self) -> bool {
        self.shadow
    }

    /// The account acted against.
    pub fn account(&self) -> &str {
        &self.account
    }

    /// What is done.
    pub fn action(&self) -> &'static str {
        self.action
    }

    /// The event that led to it; empty for a reversal.
    pub fn event_id(&self) -> &str {
        &self.event_id
    }

    /// Where the event lay; nowhere for a reversal.
    pub fn source(&self) -> SourceRef {
        self.source
    }

    /// Whether it undoes another action.
    pub fn is_reversal(&self) -> bool {
        self.reverses.is_some()
    }
}

/// An event that a label clears.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cleared<'a> {
    pub id: &'a str,
    pub hash: u64,
}

/// Scoring, policy, and what the policy remembers.
pub struct Deciding {
    pub(crate) scorer: Arc<Scorer>,
    pub(crate) policy: Policy,
    pub(crate) caps: CapState,
    /// By the hash of the account's key. Few accounts have any.
    pub(crate) states: PolicyStates,
    pub(crate) dirty: BTreeSet<u64>,
    pending: Vec<Pending>,
    rows: Vec<f32>,
    scores: Vec<Scores>,
    /// Accounts to be forgotten once the rows before this one are decided.
    pub(crate) forgotten: VecDeque<(usize, u64)>,
}

impl Deciding {
    pub(crate) fn new(scorer: Arc<Scorer>, policy: Policy) -> Self {
        Self {
            scorer,
            policy,
            caps: CapState::default(),
            states: PolicyStates::default(),
            dirty: BTreeSet::new(),
            pending: Vec::new(),
            rows: Vec::new(),
            scores: Vec::new(),
            forgotten: VecDeque::new(),
        }
    }

    /// Rows waiting.
    pub(crate) fn len(&self) -> usize {
        self.pending.len()
    }

    /// Whether there is, or may be about to be, an action against an account.
    pub(crate) fn concerns(&self, account_hash: u64) -> bool {
        self.states.contains_key(&account_hash)
            || self.pending.iter().any(|p| p.account_hash == account_hash)
    }

    /// Forgets what was done to an account, after the rows that wait.
    pub(crate) fn forget(&mut self, account_hash: u64) {
        self.forgotten.push_back((self.pending.len(), account_hash));
    }

    fn forget_before(&mut self, row: usize) {
        while let Some((_, hash)) = self.forgotten.front().copied().filter(|(at, _)| *at <= row) {
            self.forgotten.pop_front();
            if self.states.remove(&hash).is_some() {
                self.dirty.insert(hash);
            }
        }
    }

    /// Undoes the actions in force at `in_force_ms` against an account, newest first; with `only_event`, those that this event led to.
    pub(crate) fn reverse(
        &mut self,
        account_hash: u64,
        account: &str,
        (ts_ms, in_force_ms): (i64, i64),
        only_event: Option<Cleared<'_>>,
    ) -> Vec<Draft> {
        let Some(state) = self.states.get_mut(&account_hash) else { return Vec::new() };
        let policy = &self.policy;
        let led = |event: Cleared<'_>, taken: &ActionTaken| match taken.event_hash {
            // It is of a record that did not say: the event and one of today's rules make its id.
            0 => policy.rules().iter().any(|rule| {
                let id = crate::wire::action_id(account, event.id, &rule.name, policy.id());
                id == taken.action_id
            }),
            hash => hash == event.hash,
        };
        let undone = policy.on_cleared(state, in_force_ms, |taken| {
            only_event.is_none_or(|event| led(event, taken))
        });
        if !undone.is_empty() {
            self.dirty.insert(account_hash);
        }
        undone.into_iter().map(|reversal| self.reversal(account, ts_ms, reversal)).collect()
    }

    fn reversal(&self, account: &str, ts_ms: i64, reversal: Reversal) -> Draft {
        let undone = crate::wire::hex(&reversal.action_id);
        Draft {
            id: crate::wire::action_id(account, &undone, "reverse", self.policy.id()),
            action: "reverse",
            rule_index: None,
            degraded_from: None,
            account: account.into(),
            event_id: CompactString::default(),
            at_ms: ts_ms,
            decided_ms: ts_ms,
            expires_at_ms: None,
            rule: "reverse".into(),
            shadow: false,
            scores: None,
            row: Box::default(),
            evidence: EvidenceV1::default(),
            source: SourceRef::default(),
            reverses: Some(reversal.action_id),
            cap_hour: None,
        }
    }
}

impl Engine {
    /// Puts an event's row in line to be scored and decided.
    pub(crate) fn offer(
        &mut self,
        arrived: &Arrived,
        account: u32,
        vector: &[f32],
        effects: &mut Effects,
    ) {
        let offered = self.offered(arrived, account, true);
        self.put_in_line(arrived, offered, vector, effects);
    }

    /// What an event's row needs beside its vector, read from the state as it is now.
    pub(crate) fn offered(&self, arrived: &Arrived, account: u32, kept: bool) -> Offered {
        let known_bad = self.accounts.standing[account as usize].is_bad();
        let row = RowOut { account, type_id: arrived.event.type_id.0, known_bad };
        if self.wanted.state_only {
            return Offered::StateOnly(row);
        }
        Offered::ToDecide(Pending { kept, ..self.waiting(arrived, row) })
    }

    /// Puts a row behind those that wait, or hands it out.
    pub(crate) fn put_in_line(
        &mut self,
        arrived: &Arrived,
        offered: Offered,
        vector: &[f32],
        effects: &mut Effects,
    ) {
        match offered {
            Offered::StateOnly(row) if self.wanted.rows => {
                let event = &arrived.event;
                effects.row_values.extend_from_slice(vector);
                effects.rows.push(row);
                effects.scores.push(ScoreOut {
                    event_id: event.event_id.clone(),
                    account: event.account.clone(),
                    ts_ms: event.ts_ms,
                    score: f32::NAN,
                });
            }
            Offered::StateOnly(_) => {}
            Offered::ToDecide(waiting) => {
                self.deciding.pending.push(waiting);
                self.deciding.rows.extend_from_slice(vector);
                if self.deciding.len() >= SCORE_ROWS {
                    self.decide_pending(effects);
                }
            }
        }
    }

    /// What an event's decision needs to know beside its row.
    pub(crate) fn waiting(&self, arrived: &Arrived, row: RowOut) -> Pending {
        let Arrived { event, source, hashes, allowed, .. } = arrived;
        let component = self.graph.component(row.account, event.ts_ms).filter(|c| c.size > 1);
        // By the stream's time, not the event's: a late event does not meet a cold start.
        let since_start_ms = self.first_ms.map(|first| self.clocks.now_ms().saturating_sub(first));
        let warm = since_start_ms.is_some_and(|ms| ms >= self.deciding.policy.warm_up_ms());
        Pending {
            event_id: event.event_id.clone(),
            account: event.account.clone(),
            account_hash: hashes.account,
            ts_ms: event.ts_ms,
            now_ms: self.clocks.now_of(*source).max(event.ts_ms),
            source: *source,
            allowed: *allowed,
            warm,
            ring: component.map(|c| Ring { id: c.ring_id, size: c.size, bad: c.bad }),
            row,
            kept: true,
        }
    }

    /// Scores and decides the rows that wait, in their order.
    pub(crate) fn decide_pending(&mut self, effects: &mut Effects) {
        let width = self.columns.len();
        let deciding = &mut self.deciding;
        let pending = std::mem::take(&mut deciding.pending);
        let rows = std::mem::take(&mut deciding.rows);
        let mut scores = std::mem::take(&mut deciding.scores);
        scores.clear();
        if !pending.is_empty()
            && let Err(e) = deciding.scorer.score_batch(&rows, width, &mut scores)
        {
            // Rows are whole by construction; were they not, scoring one by one still gives every row its score.
            debug_assert!(false, "{e}");
            scores.extend(rows.chunks_exact(width).map(|row| deciding.scorer.score(row)));
        }
        for (at, (waiting, score)) in pending.iter().zip(&scores).enumerate() {
            self.deciding.forget_before(at);
            let row = &rows[at * width..(at + 1) * width];
            self.decide(waiting, *score, row, effects);
        }
        self.deciding.forget_before(usize::MAX);
        for (waiting, score) in pending.iter().zip(&scores) {
            if self.wanted.scores || self.wanted.rows {
                effects.scores.push(ScoreOut {
                    event_id: waiting.event_id.clone(),
                    account: waiting.account.clone(),
                    ts_ms: waiting.ts_ms,
                    score: score.score,
                });
            }
            if self.wanted.rows {
                effects.rows.push(waiting.row.clone());
            }
        }
        if self.wanted.rows {
            effects.row_values.extend_from_slice(&rows);
        }
        let deciding = &mut self.deciding;
        deciding.scores = scores;
        deciding.rows = rows;
        deciding.rows.clear();
        deciding.pending = pending;
        deciding.pending.clear();
    }

    fn decide(&mut self, waiting: &Pending, scores: Scores, row: &[f32], effects: &mut Effects) {
        let hash = waiting.account_hash;
        let mut state = self.deciding.states.get(&hash).cloned().unwrap_or_default();
        let mut caps = self.deciding.caps;
        let before = effects.actions.len();
        self.draft(waiting, scores, row, (&mut state, &mut caps), &mut effects.actions);
        // What no kind had room for is counted as well.
        self.deciding.caps = caps;
        let drafts = &effects.actions[before..];
        if drafts.is_empty() {
            return;
        }
        for draft in drafts {
            if draft.shadow {
                self.counts.shadow_actions += 1;
            } else {
                self.counts.actions += 1;
            }
            self.counts.degraded += u64::from(draft.degraded_from.is_some());
        }
        // A record of an unknown account would stay for ever.
        if waiting.kept {
            self.deciding.states.insert(hash, state);
            self.deciding.dirty.insert(hash);
        }
    }

    /// Adds the actions that a scored row leads to, and notes them in the account's record and in the caps.
    pub(crate) fn draft(
        &self,
        waiting: &Pending,
        scores: Scores,
        row: &[f32],
        (state, caps): (&mut AccountPolicyState, &mut CapState),
        actions: &mut Vec<Draft>,
    ) {
        let deciding = &self.deciding;
        let graph = scores.graph.unwrap_or(f32::NAN);
        let view = ScoreView { score: scores.score, behaviour: scores.behaviour, graph };
        let context = DecideContext {
            now_ms: waiting.now_ms,
            account_allowed: waiting.allowed,
            warm: waiting.warm,
        };
        let decisions = deciding.policy.decide(row, &view, &context, state, caps);
        if decisions.is_empty() {
            return;
        }
        let via: SmallVec<[ViaV1; 4]> = self.via.iter().filter_map(|v| v.read(row)).collect();
        for decision in &decisions {
            let rule = &deciding.policy.rules()[usize::from(decision.rule)].name;
            let id = crate::wire::action_id(
                &waiting.account,
                &waiting.event_id,
                rule,
                deciding.policy.id(),
            );
            if !decision.shadow {
                state.name_action(id, self.public_hasher.hash(EVENT_DOMAIN, &waiting.event_id));
            }
            actions.push(Draft {
                id,
                action: decision.action.as_str(),
                rule_index: Some(decision.rule),
                degraded_from: decision.degraded_from.map(ActionKind::as_str),
                account: waiting.account.clone(),
                event_id: waiting.event_id.clone(),
                at_ms: waiting.ts_ms,
                decided_ms: waiting.now_ms,
                expires_at_ms: decision.expires_at_ms,
                rule: rule.into(),
                shadow: decision.shadow,
                scores: Some(scores),
                row: row.into(),
                evidence: EvidenceV1 {
                    ring: waiting.ring.map(|r| crate::wire::hex(&r.id.to_be_bytes())),
                    ring_size: waiting.ring.map_or(1, |r| r.size),
                    known_bad: waiting.ring.map_or(0, |r| r.bad),
                    joined_bad: waiting.ring.map_or(0, |r| self.joined_bad(row, r)),
                    via: via.to_vec(),
                },
                source: waiting.source,
                reverses: None,
                cap_hour: decision.cap_hour,
            });
        }
    }
}

impl Engine {
    /// Of a ring's bad accounts, those that count against the account, by its row.
    fn joined_bad(&self, row: &[f32], ring: Ring) -> u32 {
        let share = self.bad_fraction_at.and_then(|at| row.get(at)).copied();
        let others = ring.size.saturating_sub(1) as f32;
        let counted = (share.filter(|s| s.is_finite()).unwrap_or(0.0) * others).round();
        (counted as u32).min(ring.bad)
    }
}

/// Where the vector says how many accounts share the event's thing of a kind, and since when.
#[derive(Clone, Debug)]
pub(crate) struct ViaColumn {
    pub kind: String,
    pub degree: usize,
    pub age_h: usize,
    pub link_age_h: usize,
}

impl ViaColumn {
    fn read(&self, row: &[f32]) -> Option<ViaV1> {
        let of = |column: usize| row.get(column).copied();
        let accounts = of(self.degree).filter(|v| *v > 1.0)?;
        // Under strict ties an account may be about to use it for the first time.
        let since_h = of(self.link_age_h).filter(|v| v.is_finite());
        let first = since_h.zip(of(self.age_h)).is_some_and(|(since, age)| since >= age);
        let since_h = (f64::from(since_h.unwrap_or(0.0)) * 10.0).round() / 10.0;
        Some(ViaV1 { kind: self.kind.clone(), accounts: accounts as u32, first, since_h })
    }
}
