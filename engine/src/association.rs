//! What profiles know of others' labels, where labels speak of accounts: it counts as in the graph, for accounts
//! that came with the guilty or after them. Where labels speak of events, a thing is judged by its events.

use crate::config::LabelUnit;
use crate::step::{Engine, PartAt, Resolved};
use features::layout::Role;
use features::vector::Source;

/// A column that says what became known of others.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct OthersLabels {
    /// Its place in the vector.
    column: usize,
    source: Source,
    /// How much of it counts.
    by: By,
    /// Its value when nothing became known.
    unknown: f32,
}

/// What decides how much of a column counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    /// Who came first on the event's entity.
    Entity,
    /// Which of the two accounts acted on the other first.
    First,
    /// Nothing: others did it, unasked.
    Never,
}

/// The columns about others' labels of a feature set: label counts of things and of other accounts, of what is done
/// to an account, and means over accounts met. None where labels speak of events.
pub(crate) fn columns(unit: LabelUnit, parts: &[PartAt], names: &[String]) -> Vec<OthersLabels> {
    if unit == LabelUnit::Event {
        return Vec::new();
    }
    let mut found = Vec::new();
    for part in parts.iter().filter(|part| part.source != Source::Event) {
        for column in part.offset..part.offset + part.width {
            let Some(name) = names.get(column) else { continue };
            let Some((field, met)) = labels_field(name) else { continue };
            let by = match (part.source, part.role) {
                // What is known of the account itself.
                (Source::Acting, Role::ACCOUNT) if !met => continue,
                (Source::Entity(_), _) => By::Entity,
                (Source::Other(_), Role::ACCOUNT) if !met => By::First,
                _ => By::Never,
            };
            let count = !met && !field.starts_with("rate.") && field != "streak_s";
            let unknown = if count { 0.0 } else { f32::NAN };
            found.push(OthersLabels { column, source: part.source, by, unknown });
        }
    }
    found
}

/// The field of a `labels` block that a column shows, and whether as a mean over accounts met.
fn labels_field(name: &str) -> Option<(&str, bool)> {
    let (before, field) = match name.split_once(".labels.") {
        Some((before, field)) => (before, field),
        None => return None,
    };
    let met = before.split('.').any(|part| part == "met");
    let plain = ["labelled", "bad", "streak", "streak_s"];
    let stem = field.split('.').next().unwrap_or_default();
    let known = plain.contains(&stem) || stem == "rate";
    // A counter may be called `labels` too.
    (known && (met || plain.contains(&field) || field.starts_with("bad.") || stem == "rate"))
        .then_some((field, met))
}

impl Engine {
    /// Leaves of the columns about others' labels what counts for this account. Before or after the event's own
    /// links are touched.
    pub(crate) fn weigh_association(&self, resolved: &Resolved, vector: &mut [f32]) {
        let mut last: Option<(Source, By, f32)> = None;
        for of in &self.others_labels {
            let weight = match last {
                Some((source, by, weight)) if (source, by) == (of.source, of.by) => weight,
                _ => self.weight(of, resolved),
            };
            last = Some((of.source, of.by, weight));
            let Some(value) = vector.get_mut(of.column).filter(|v| !v.is_nan()) else { continue };
            *value = if weight > 0.0 { *value * weight } else { of.unknown };
        }
    }

    fn weight(&self, of: &OthersLabels, resolved: &Resolved) -> f32 {
        match (of.by, of.source) {
            (By::Entity, Source::Entity(kind)) => {
                let entity = resolved.entities.iter().find(|(k, _)| *k == kind.0);
                entity.map_or(0.0, |(k, id)| {
                    self.graph.guilt_counts(resolved.account, self.nodes.node(*k, *id))
                })
            }
            (By::First, Source::Other(role)) => {
                let other = resolved.others.get(role).copied().flatten();
                let sought = other.is_some_and(|o| !self.graph.was_met_by(resolved.account, o));
                f32::from(u8::from(sought))
            }
            _ => 0.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_about_others_are_told_by_name() {
        for (name, field) in [
            ("device.labels.bad.14d", Some(("bad.14d", false))),
            ("device.labels.rate.1d", Some(("rate.1d", false))),
            ("target.received.labels.streak_s", Some(("streak_s", false))),
            ("device.met.account.labels.rate.14d.mean", Some(("rate.14d.mean", true))),
            ("account.met.target.labels.bad.max", Some(("bad.max", true))),
            // A counter called `labels`.
            ("device.labels.14d", None),
            ("device.labels.accel_10m_1d", None),
            ("device.labels.in_10m", None),
            ("device.events.14d", None),
        ] {
            assert_eq!(labels_field(name), field, "{name}");
        }
    }

    #[test]
    fn kinds_named_labels_are_no_labels() {
        assert_eq!(labels_field("labels.events.14d"), None);
    }
}
