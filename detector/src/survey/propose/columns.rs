//! How wide the feature vector of a proposal is.

use features::config::FeatureConfig;
use features::schema::Schema;
use features::vector::{Source, VectorPlan};

/// Columns of the feature vector, without those of the graph and without those about another account
/// when `has_target` says that no event names one. `None` when the declarations do not compile.
pub fn columns(features: &FeatureConfig, has_target: bool) -> Option<usize> {
    let schema = Schema::compile(features).ok()?;
    let never = |source: Source| match source {
        Source::Other(role) => {
            !has_target && schema.account_roles().get(role).is_some_and(|role| role.kind.is_none())
        }
        _ => false,
    };
    let plan = VectorPlan::new(&schema);
    Some(plan.parts().iter().filter(|part| !never(part.source)).map(|part| part.width).sum())
}
