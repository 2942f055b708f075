//! What decides, apart from the state: a model and a policy. It can be replaced between two steps, because nothing of it is in the
//! state (a score never is), and what was done about accounts is kept by the names of rules.

use crate::build::Versions;
use crate::policy::{Policy, PolicyConfig, RuleConfig};
use crate::step::Engine;
use models::bundle::Scorer;
use std::sync::Arc;

/// A model and a policy that were checked against a feature set.
pub struct Decider {
    scorer: Arc<Scorer>,
    policy: Policy,
    config: (PolicyConfig, Vec<RuleConfig>, crate::config::ModelSection),
    versions: Arc<Versions>,
    strict_ties: bool,
    feedback: bool,
}

impl Decider {
    /// What it calls itself.
    pub fn versions(&self) -> &Versions {
        &self.versions
    }
}

impl Engine {
    /// Keeps what decides and lets go of the rest.
    pub fn into_decider(self) -> Decider {
        Decider {
            scorer: self.deciding.scorer,
            policy: self.deciding.policy,
            config: (self.config.policy, self.config.rules, self.config.model),
            versions: self.versions,
            strict_ties: self.strict_ties,
            feedback: self.feedback,
        }
    }

    /// From the next message on, another model and policy decide. Call it between steps.
    ///
    /// # Errors
    /// When the state is of another feature set, or was read in another way; then nothing has changed.
    pub fn decide_by(&mut self, decider: Decider) -> Result<(), String> {
        let (mine, other) = (&self.versions.features, &decider.versions.features);
        if mine != other {
            return Err(format!(
                "it is made for feature set {other}, and the state that runs has {mine}; another feature set is taken by a restart"
            ));
        }
        if (self.strict_ties, self.feedback) != (decider.strict_ties, decider.feedback) {
            return Err(
                "its model wants the stream read in another way (strict ties, or labels without feedback); that is taken by a restart"
                    .into(),
            );
        }
        self.deciding.scorer = decider.scorer;
        self.deciding.policy = decider.policy;
        (self.config.policy, self.config.rules, self.config.model) = decider.config;
        self.versions = decider.versions;
        Ok(())
    }
}
