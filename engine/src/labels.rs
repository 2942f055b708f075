//! What becomes known: verdicts on events and accounts, and requests to erase.

use crate::config::LabelUnit;
use crate::decide::Cleared;
use crate::effects::Effects;
use crate::memory::Keep;
use crate::recent::{Finding, KnownNode, Remembered};
use crate::state::Standing;
use crate::step::{ACCOUNT_DOMAIN, EVENT_DOMAIN, Engine};
use features::blocks::labels::LabelSeen;
use features::event::{EntityRef, Label, Verdict};
use features::layout::Role;
use graph::Node;
use smallvec::SmallVec;

const GOOD: u8 = 1;
const BAD: u8 = 2;

impl Engine {
    /// Takes one label.
    pub(crate) fn label(&mut self, label: &Label, effects: &mut Effects) {
        self.release_held(effects);
        self.look_at_memory(Keep::WithinBound);
        let label = &Label { ts_ms: self.known_ms(label.ts_ms), ..label.clone() };
        let named = label.account.as_ref().map(|key| self.hasher.hash(ACCOUNT_DOMAIN, key));
        if label.verdict == Verdict::Erase {
            if let Some(account_hash) = named {
                self.erase(account_hash, effects);
            }
            return;
        }
        self.counts.labels += 1;
        let event = label.event_id.as_ref().and_then(|id| {
            let hash = self.hasher.hash(EVENT_DOMAIN, id);
            let (seq, event) = match named {
                Some(account_hash) => self.recent.find_of(hash, account_hash)?,
                None => self.recent.find(hash)?,
            };
            Some((seq, event.clone()))
        });
        if label.event_id.is_some() && event.is_none() {
            self.counts.labels_unjoined += 1;
        }
        // The account may be gone since its event, or be known anew under another id.
        let account_hash = named.or(event.as_ref().map(|(_, event)| event.account_hash));
        let Some(account_hash) = account_hash else { return };
        let Some(account) = self.accounts.keys.find(account_hash) else {
            self.counts.labels_unknown += 1;
            return;
        };
        if label.confidence < self.config.labels.confidence_min {
            return;
        }
        let verdict = if label.verdict == Verdict::Bad { BAD } else { GOOD };
        let finding = event.as_ref().map_or(Finding::default(), |(_, event)| event.finding());
        let of_event = finding.verdict == 0 || label.ts_ms >= finding.newest_ms;
        self.learn(label, verdict, account, event);
        let standing = self.accounts.standing[account as usize];
        let of_account = standing.verdict == 0 || label.ts_ms >= standing.since_ms;
        if of_account {
            self.accounts.standing[account as usize] = Standing { verdict, since_ms: label.ts_ms };
            self.accounts.dirty.mark(account);
            if self.feedback && standing.is_bad() != (verdict == BAD) {
                self.graph.set_bad(account, verdict == BAD);
            }
        }
        if verdict == GOOD {
            // What a newer label says is not undone by an older one that comes late.
            match (self.config.labels.unit, &label.event_id) {
                (LabelUnit::Event, Some(id)) if of_event => {
                    self.clear(label, account, Some(id), effects)
                }
                (LabelUnit::Event, Some(_)) => {}
                _ if of_account => self.clear(label, account, None, effects),
                _ => {}
            }
        }
    }

    /// When a label became known: its word is taken up to `time.jump_max` past the stream's clock, which events alone
    /// move. No label decides for longer than that against those that come behind it.
    fn known_ms(&self, ts_ms: i64) -> i64 {
        if self.clocks.is_set() {
            ts_ms.min(self.clocks.now_ms().saturating_add(self.jump_max_ms))
        } else {
            ts_ms
        }
    }

    /// Forgets an account, and takes back what its remembered events were counted for.
    fn erase(&mut self, account_hash: u64, effects: &mut Effects) {
        self.decide_pending(effects);
        self.clocks.forget(account_hash);
        let found = self.recent.forget_account(account_hash);
        let id = self.accounts.keys.find(account_hash);
        for event in &found {
            let nodes: SmallVec<[Node; 8]> =
                event.nodes.iter().filter_map(|n| self.still(n)).collect();
            self.learn_about(&nodes, &taken_back(&event.finding()));
        }
        if let Some(id) = id {
            self.forget_account(id);
            self.drop_emptied(false);
            self.decide_pending(effects);
            self.counts.erased += 1;
        }
    }

    /// What a label names itself, however it spells it.
    fn named_nodes(&self, mut entities: SmallVec<[EntityRef; 4]>) -> SmallVec<[Node; 8]> {
        self.normalise(&mut entities);
        let node = |entity: &EntityRef| match self.kinds.get(usize::from(entity.kind.0))? {
            Some(own) => {
                let id = own.keys.find(self.hasher.hash(1 + entity.kind.0, &entity.key))?;
                Some(self.nodes.node(entity.kind.0, id))
            }
            None => {
                let hash = self.hasher.hash(ACCOUNT_DOMAIN, &entity.key);
                self.accounts.keys.find(hash).map(Node::account)
            }
        };
        entities.iter().filter_map(node).collect()
    }

    /// Counts labelled and bad events in the profiles of everything that the label speaks of.
    fn learn(
        &mut self,
        label: &Label,
        verdict: u8,
        account: u32,
        event: Option<(u64, Remembered)>,
    ) {
        let fresh = LabelSeen {
            ts_ms: label.ts_ms,
            weight: label.confidence,
            bad_delta: i8::from(verdict == BAD),
            labelled_delta: 1,
        };
        let mut nodes = self.named_nodes(label.entities.clone());
        let Some((seq, event)) = event else {
            // Nothing says which event, and nothing that entities were meant: the graph counts the account.
            if label.event_id.is_some() || !nodes.is_empty() {
                self.learn_account(account, &fresh);
                self.learn_about(&nodes, &fresh);
            }
            return;
        };
        let before = event.finding();
        // The newest verdict on an event counts; an older one that comes late is passed over.
        if before.verdict != 0 && label.ts_ms < before.newest_ms {
            return;
        }
        if before.verdict == verdict {
            let finding = Finding { newest_ms: label.ts_ms, ..before };
            self.recent.set_finding(seq, finding, event.nodes);
            return;
        }
        let counted: SmallVec<[Node; 8]> =
            event.nodes.iter().filter_map(|n| self.still(n)).collect();
        if before.verdict != 0 {
            let back = taken_back(&before);
            self.learn_account(account, &back);
            self.learn_about(&counted, &back);
        }
        let known: SmallVec<[KnownNode; 4]> = if nodes.is_empty() {
            nodes = counted;
            event.nodes
        } else {
            nodes.iter().map(|node| self.known(*node)).collect()
        };
        let finding = Finding {
            verdict,
            // Without feedback nothing is counted, and nothing is to be taken back later.
            weight: if self.feedback { label.confidence } else { 0.0 },
            counted_ms: label.ts_ms,
            newest_ms: label.ts_ms,
        };
        self.recent.set_finding(seq, finding, known);
        self.learn_account(account, &fresh);
        self.learn_about(&nodes, &fresh);
    }

    fn learn_account(&mut self, account: u32, seen: &LabelSeen) {
        if let Some(layout) = self.schema.layout(Role::ACCOUNT).filter(|_| self.feedback) {
            layout.learn(self.accounts.acting.get_mut(account), seen);
            self.accounts.dirty.mark(account);
        }
    }

    fn learn_about(&mut self, nodes: &[Node], seen: &LabelSeen) {
        if !self.feedback {
            return;
        }
        for node in nodes {
            let id = node.index();
            let Some(kind) = self.nodes.kind_of(*node) else {
                if let Some(layout) = self.schema.layout(Role::TARGET)
                    && self.accounts.keys.is_live(id)
                    && self.may_receive(id)
                {
                    layout.learn(self.accounts.received_mut(id, layout), seen);
                    self.accounts.dirty.mark(id);
                }
                continue;
            };
            if let (Some(own), Some(spec)) =
                (self.kinds[kind].as_mut(), self.schema.kinds().get(kind))
                && let Some(layout) = self.schema.layout(spec.role)
                && own.keys.is_live(id)
            {
                layout.learn(own.profiles.get_mut(id), seen);
                own.dirty.mark(id);
            }
        }
    }

    /// A label that clears an account undoes every action in force against it; one that clears an event, those that
    /// this event led to.
    fn clear(
        &mut self,
        label: &Label,
        account: u32,
        only_event: Option<&str>,
        effects: &mut Effects,
    ) {
        let hash = self.accounts.keys.hash_of(account);
        // In a silent replay what was really undone is put back with the actions.
        if self.wanted.state_only || !self.deciding.concerns(hash) {
            return;
        }
        self.decide_pending(effects);
        let name = self.accounts.keys.text(account);
        let hasher = &self.public_hasher;
        let only_event = only_event.map(|id| Cleared { id, hash: hasher.hash(EVENT_DOMAIN, id) });
        // In force is what has not ended yet: a label may say a later time than it is.
        let in_force_ms = match self.clocks.is_set() {
            true => label.ts_ms.min(self.clocks.now_ms()),
            false => label.ts_ms,
        };
        let undone = self.deciding.reverse(hash, name, (label.ts_ms, in_force_ms), only_event);
        self.counts.reversals += undone.len() as u64;
        effects.actions.extend(undone);
    }
}

/// The opposite of what was counted.
fn taken_back(finding: &Finding) -> LabelSeen {
    LabelSeen {
        ts_ms: finding.counted_ms,
        weight: finding.weight,
        bad_delta: -i8::from(finding.verdict == BAD),
        labelled_delta: -1,
    }
}
