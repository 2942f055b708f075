//! What the line would say of an event if it were the next one, without taking it.
//!
//! Features of the graph are read after the event's own links were touched, and keys that have expired are met
//! as new ones, so an answer that is exactly the line's needs the line to be walked: the same calls are made on
//! the state itself, in a trial that is taken back.

use crate::decide::Draft;
use crate::effects::{RowOut, SourceRef};
use crate::finish::Finisher;
use crate::identity::Seen;
use crate::limits::REASONS_MAX;
use crate::memory::Keep;
use crate::step::{Engine, full};
use crate::wire::{ActionV1, ReasonV1, Reject, ScoresV1};
use features::event::Event;
use models::bundle::Scores;

/// What the line would make of an event.
#[derive(Debug)]
pub struct Preview {
    /// The score and its parts, as `step` would give them.
    pub scores: Scores,
    /// The actions, as `step` would ask for them; shadow actions first.
    pub actions: Vec<Draft>,
    row: Vec<f32>,
}

/// Why an event has no score.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Unscored {
    /// The line would reject it.
    #[error("the event would be a reject ({}): {}", .0.code.as_str(), .0.detail)]
    Rejected(Reject),
    /// An event with this account, id and content was taken already: it would have no effect.
    #[error(
        "this event (the same account, event_id and content) was taken already; it would have no effect"
    )]
    Redelivered,
    /// Its score would depend on events that have not arrived.
    #[error(
        "under strict ties an event is scored when its group closes, which a single event cannot tell"
    )]
    StrictTies,
}

impl Preview {
    /// The score, 0 to 1.
    pub fn score(&self) -> f32 {
        self.scores.score
    }

    /// The live action, or `allow`.
    pub fn decision(&self) -> &'static str {
        self.actions.iter().find(|draft| !draft.is_shadow()).map_or("allow", Draft::action)
    }

    /// Parts of the score, reasons for it, and the actions with theirs. For forests about 0.3 ms for each; on any
    /// thread.
    pub fn finish(self, finisher: &Finisher) -> (ScoresV1, Vec<ReasonV1>, Vec<ActionV1>) {
        let reasons = finisher.reasons(&self.row, REASONS_MAX);
        let parts = finisher.parts(Some(self.scores));
        (parts, reasons, self.actions.into_iter().map(|draft| finisher.finish(draft)).collect())
    }
}

impl Engine {
    /// Exactly the score and the decision that [`Engine::step`] would give for this event as the next one. Nothing
    /// that is saved, and nothing that a later event meets, is changed. Costs about what taking the event costs, and its undoing; when the
    /// event meets keys that have expired, as much as forgetting them.
    ///
    /// # Errors
    /// When the line would not score it.
    pub fn preview(&mut self, event: Event, source: SourceRef) -> Result<Preview, Unscored> {
        if self.strict_ties {
            return Err(Unscored::StrictTies);
        }
        let mut arrived = self.arrive(event, source);
        match self.recognise(&arrived) {
            Seen::New => {}
            Seen::Redelivered => return Err(Unscored::Redelivered),
            Seen::Conflict(derived) => arrived.take_under(derived),
        }
        let time = (self.first_ms, self.clocks.before(source));
        let counts = self.counts;
        self.begin_trial();
        let found = self.look_through(&mut arrived);
        self.undo_trial();
        // Between steps nothing waits to be forgotten.
        self.deciding.forgotten.clear();
        self.counts = counts;
        self.first_ms = time.0;
        self.clocks.put_back(time.1);
        found
    }

    /// The line from ids to decision; what it changes is taken back by the caller.
    fn look_through(&mut self, arrived: &mut crate::arrived::Arrived) -> Result<Preview, Unscored> {
        self.tell_time(arrived);
        // As the line scores an event of an account that it cannot keep.
        let resolved = self.resolve(arrived, Keep::WithinBound);
        let Some(resolved) = resolved.or_else(|| self.resolve(arrived, Keep::All)) else {
            return Err(Unscored::Rejected(full()));
        };
        let hits = self.schema.hits(&arrived.event);
        let mut row = Vec::new();
        self.extract(arrived, &resolved, &hits, &mut row);
        let scorer = &self.deciding.scorer;
        let mut scores = Vec::with_capacity(1);
        // As the line does it: in a batch, here of one.
        if scorer.score_batch(&row, row.len(), &mut scores).is_err() {
            scores.clear();
        }
        let scores = scores.first().copied().unwrap_or_else(|| scorer.score(&row));
        let about = RowOut {
            account: resolved.account,
            type_id: arrived.event.type_id.0,
            known_bad: self.accounts.standing[resolved.account as usize].is_bad(),
        };
        let hash = arrived.hashes.account;
        let forgotten = self.deciding.forgotten.iter().any(|(_, other)| *other == hash);
        let state = self.deciding.states.get(&hash).filter(|_| !forgotten);
        let mut state = state.cloned().unwrap_or_default();
        let mut caps = self.deciding.caps;
        let mut actions = Vec::new();
        let waiting = self.waiting(arrived, about);
        self.draft(&waiting, scores, &row, (&mut state, &mut caps), &mut actions);
        Ok(Preview { scores, actions, row })
    }
}
