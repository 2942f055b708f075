//! Reasons for actions: exact attributions, in words. Runs behind the engine's thread and before an action
//! is published; a pure function of the draft.

use crate::decide::Draft;
use crate::limits::REASONS_MAX;
use crate::policy::{Policy, ScoreView};
use crate::reasons::Phrases;
use crate::step::Engine;
use crate::wire::{ActionV1, EventRefV1, ReasonV1, ScoresV1, VersionsV1, hex};
use models::bundle::{Scorer, Scores};
use std::sync::Arc;

/// Turns drafts into actions.
pub struct Finisher {
    scorer: Arc<Scorer>,
    policy: Policy,
    columns: Vec<String>,
    phrases: Phrases,
    versions: VersionsV1,
    topics: Arc<[String]>,
}

impl Finisher {
    pub(crate) fn new(engine: &Engine) -> Self {
        let versions = engine.versions();
        Self {
            scorer: engine.deciding.scorer.clone(),
            policy: engine.deciding.policy.clone(),
            columns: engine.columns.clone(),
            phrases: Phrases::new(engine),
            versions: VersionsV1 {
                model: versions.model.clone(),
                policy: versions.policy.clone(),
                features: versions.features.clone(),
            },
            topics: engine.topics.clone(),
        }
    }

    /// The action of a draft. For forests about 0.3 ms (exact TreeSHAP).
    pub fn finish(&self, mut draft: Draft) -> ActionV1 {
        let row = std::mem::take(&mut draft.row);
        let reasons = self.reasons(&row, REASONS_MAX);
        draft.row = row;
        let mut action = self.outline(draft);
        action.reasons.extend(reasons);
        action
    }

    /// The action with its rule's own reason alone, without attributions: some microseconds.
    pub fn outline(&self, draft: Draft) -> ActionV1 {
        let scores = draft.scores;
        let mut reasons = Vec::new();
        if let Some(scores) = scores {
            let view = ScoreView {
                score: scores.score,
                behaviour: scores.behaviour,
                graph: scores.graph.unwrap_or(f32::NAN),
            };
            if let Some(rule) = draft.rule_index {
                let text = self.policy.reason(rule, &draft.row, &view);
                let user_text = self
                    .policy
                    .rules()
                    .get(usize::from(rule))
                    .map(|r| r.user_reason.clone())
                    .filter(|t| !t.is_empty());
                if !text.is_empty() {
                    reasons.push(ReasonV1 {
                        code: format!("rule.{}", draft.rule),
                        value: None,
                        contribution: 0.0,
                        text,
                        user_text,
                    });
                }
            }
        }
        ActionV1 {
            action_id: hex(&draft.id),
            v: 1,
            action: draft.action,
            account: draft.account.into(),
            at: draft.at_ms,
            decided_at: Some(draft.decided_ms).filter(|ms| *ms != draft.at_ms),
            expires_at: draft.expires_at_ms,
            score: scores.map_or(0.0, |s| rounded(f64::from(s.score))),
            scores: self.parts(scores),
            rule: draft.rule.into(),
            degraded_from: draft.degraded_from,
            reasons,
            evidence: draft.evidence,
            event: EventRefV1 {
                id: draft.event_id.into(),
                topic: self.topic(draft.source.topic),
                partition: draft.source.partition,
                offset: draft.source.offset,
            },
            versions: self.versions.clone(),
            shadow: draft.shadow,
            reverses: draft.reverses.map(|id| hex(&id)),
            cap_hour: draft.cap_hour,
        }
    }

    fn topic(&self, number: u16) -> Option<String> {
        self.topics.get(usize::from(number).checked_sub(1)?).cloned()
    }

    /// What decides, as actions name it.
    pub fn versions(&self) -> &VersionsV1 {
        &self.versions
    }

    /// The parts of a score, as they are published.
    pub(crate) fn parts(&self, scores: Option<Scores>) -> ScoresV1 {
        ScoresV1 {
            behaviour: scores.map_or(0.0, |s| rounded(f64::from(s.behaviour))),
            graph: scores.and_then(|s| s.graph).map_or(0.0, |g| rounded(f64::from(g))),
        }
    }

    /// What moved a row's score up, strongest first.
    pub fn reasons(&self, row: &[f32], most: usize) -> Vec<ReasonV1> {
        // A forest without covers can be scored but not explained; the rule's own reason still stands.
        let Ok(explanation) = self.scorer.explain(row) else { return Vec::new() };
        let ranked = explanation.ranked();
        ranked
            .iter()
            .filter(|(_, contribution)| *contribution > 0.0)
            .take(most)
            .map(|&(column, contribution)| {
                let value = row.get(column).copied().filter(|v| v.is_finite());
                let code = self.columns[column].clone();
                ReasonV1 {
                    text: self.phrases.moderator(&code, value),
                    user_text: self.phrases.owner(&code),
                    value: value.map(|v| rounded(f64::from(v))),
                    contribution: rounded(contribution),
                    code,
                }
            })
            .collect()
    }
}

/// Six decimals: what people and other programs need, and stable over platforms' printing.
fn rounded(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}
