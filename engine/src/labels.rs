//! What becomes known: verdicts on events and accounts, and requests to erase.

use crate::config::LabelUnit;
use crate::effects::Effects;
use crate::recent::Remembered;
use crate::state::Standing;
use crate::step::{ACCOUNT_DOMAIN, EVENT_DOMAIN, Engine};
use features::blocks::labels::LabelSeen;
use features::event::{Label, Verdict};
use features::layout::Role;
use graph::Node;
use smallvec::SmallVec;

const GOOD: u8 = 1;
const BAD: u8 = 2;

impl Engine {
    /// Takes one label.
    pub(crate) fn label(&mut self, label: &Label, effects: &mut Effects) {
        self.release_held();
        let named =
            label.account.as_ref().map(|key| self.accounts.keys.find(self.hasher.hash(ACCOUNT_DOMAIN, key)));
        if label.verdict == Verdict::Erase {
            if let Some(Some(id)) = named {
                self.decide_pending(effects);
                self.recent.forget_account(id);
                self.forget_account(id);
                self.decide_pending(effects);
                self.counts.erased += 1;
            }
            return;
        }
        self.counts.labels += 1;
        let event = label.event_id.as_ref().and_then(|id| {
            let hash = self.hasher.hash(EVENT_DOMAIN, id);
            let (seq, event) = self.recent.find(hash)?;
            // A label that names both must mean the same account.
            let same = named.is_none_or(|named| named == Some(event.account));
            same.then(|| (seq, event.clone()))
        });
        if label.event_id.is_some() && event.is_none() {
            self.counts.labels_unjoined += 1;
        }
        let account = match (named, &event) {
            (Some(account), _) => account,
            (None, Some((_, event))) => Some(event.account),
            (None, None) => None,
        };
        let Some(account) = account else {
            if label.account.is_some() {
                self.counts.labels_unknown += 1;
            }
            return;
        };
        if label.confidence < self.config.labels.confidence_min {
            return;
        }
        let verdict = if label.verdict == Verdict::Bad { BAD } else { GOOD };
        if self.feedback {
            self.learn(label, verdict, account, event.as_ref());
        }
        let standing = self.accounts.standing[account as usize];
        if standing.verdict == 0 || label.ts_ms >= standing.since_ms {
            self.accounts.standing[account as usize] = Standing { verdict, since_ms: label.ts_ms };
            self.accounts.dirty.mark(account);
            if self.feedback && standing.is_bad() != (verdict == BAD) {
                self.graph.set_bad(account, verdict == BAD);
            }
        }
        if verdict == GOOD {
            self.clear(label, account, effects);
        }
    }

    /// Counts labelled and bad events in the profiles of everything that the label speaks of.
    fn learn(&mut self, label: &Label, verdict: u8, account: u32, event: Option<&(u64, Remembered)>) {
        let fresh = LabelSeen {
            ts_ms: label.ts_ms,
            weight: label.confidence,
            bad_delta: i8::from(verdict == BAD),
            labelled_delta: 1,
        };
        let mut nodes: SmallVec<[Node; 8]> = SmallVec::new();
        for entity in &label.entities {
            let kind = usize::from(entity.kind.0);
            let Some(own) = self.kinds.get(kind) else { continue };
            nodes.extend(match own {
                Some(own) => own
                    .keys
                    .find(self.hasher.hash(1 + entity.kind.0, &entity.key))
                    .map(|id| Node::new(1 + entity.kind.0, id)),
                None => {
                    let hash = self.hasher.hash(ACCOUNT_DOMAIN, &entity.key);
                    self.accounts.keys.find(hash).map(Node::account)
                }
            });
        }
        match event {
            Some((seq, event)) => {
                if nodes.is_empty() {
                    nodes.extend(event.nodes.iter().copied());
                }
                // The newest verdict on an event counts; an older one that comes late is passed over.
                if event.verdict != 0 && label.ts_ms < event.verdict_ts_ms
                    || event.verdict == verdict
                {
                    return;
                }
                if event.verdict != 0 {
                    let taken_back = LabelSeen {
                        ts_ms: event.verdict_ts_ms,
                        weight: label.confidence,
                        bad_delta: -i8::from(event.verdict == BAD),
                        labelled_delta: -1,
                    };
                    self.learn_all(account, &nodes, &taken_back);
                }
                self.recent.set_verdict(*seq, verdict, label.ts_ms);
            }
            // Nothing says which event, and nothing that entities were meant: the graph counts the account.
            None if label.event_id.is_none() && nodes.is_empty() => return,
            None => {}
        }
        self.learn_all(account, &nodes, &fresh);
    }

    fn learn_all(&mut self, account: u32, nodes: &[Node], seen: &LabelSeen) {
        if let Some(layout) = self.schema.layout(Role::ACCOUNT) {
            layout.learn(self.accounts.acting.get_mut(account), seen);
            self.accounts.dirty.mark(account);
        }
        for node in nodes {
            let (kind, id) = (node.kind(), node.index());
            if kind == 0 {
                if let Some(layout) = self.schema.layout(Role::TARGET)
                    && self.accounts.keys.is_live(id)
                {
                    layout.learn(self.accounts.received_mut(id, layout), seen);
                    self.accounts.dirty.mark(id);
                }
            } else if let (Some(own), Some(spec)) =
                (self.kinds[kind - 1].as_mut(), self.schema.kinds().get(kind - 1))
                && let Some(layout) = self.schema.layout(spec.role)
                && own.keys.is_live(id)
            {
                layout.learn(own.profiles.get_mut(id), seen);
                own.dirty.mark(id);
            }
        }
    }

    /// A label that clears an account undoes the action in force against it.
    fn clear(&mut self, label: &Label, account: u32, effects: &mut Effects) {
        let hash = self.accounts.keys.hash_of(account);
        if !self.deciding.concerns(hash) {
            return;
        }
        self.decide_pending(effects);
        let name = self.accounts.keys.text(account);
        let only_event = match (self.config.labels.unit, &label.event_id) {
            (LabelUnit::Event, Some(event_id)) => Some(event_id.as_str()),
            _ => None,
        };
        if let Some(draft) = self.deciding.reverse(hash, name, label.ts_ms, only_event) {
            self.counts.reversals += 1;
            effects.actions.push(draft);
        }
    }
}
