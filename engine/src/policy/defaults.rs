//! A first set of rules for a stream that nobody has written rules for.

use super::config::{ActionKind, RuleConfig};
use std::collections::BTreeSet;

/// Rules that a new configuration starts with, hardest first: graded ones over the score, and ones over
/// the link graph for those of its columns that exist among `feature_names`. A pure function of the names.
///
/// Banning, and everything that rests on numbers that were not measured on this very stream, starts as a
/// shadow rule: look at what it would have done, then take the `shadow` away.
pub fn default_rules(feature_names: &[String]) -> Vec<RuleConfig> {
    let has = |name: &str| feature_names.iter().any(|known| known == name);
    let mut rules = vec![
        RuleConfig {
            shadow: true,
            reason: "score {score} (behaviour {scores.behaviour}, links {scores.graph})".into(),
            user_reason: "This account broke the rules of the platform.".into(),
            ..rule("score_ban", "score > threshold.ban", ActionKind::Ban)
        },
        RuleConfig {
            expires: Some("7d".into()),
            reason: "score {score} (behaviour {scores.behaviour}, links {scores.graph})".into(),
            user_reason: "This account is suspended because of unusual activity.".into(),
            ..rule("score_suspend", "score > threshold.suspend", ActionKind::Suspend)
        },
    ];
    // Association asks "and did it something itself": the score.
    if ["graph.component.size", "graph.component.bad_fraction"].into_iter().all(has) {
        rules.push(RuleConfig {
            reason: "score {score}, and one of {graph.component.size} linked accounts; of the others, the \
                     share {graph.component.bad_fraction} is known to be bad, and was there with it or before it"
                .into(),
            user_reason: "This account is being looked at.".into(),
            ..rule(
                "ring_of_known_bad",
                "graph.component.size >= 4 && graph.component.bad_fraction >= 0.5 && score > 0.1",
                ActionKind::Review,
            )
        });
    }
    rules.push(RuleConfig {
        reason: "score {score} (behaviour {scores.behaviour}, links {scores.graph})".into(),
        user_reason: "This account is being looked at.".into(),
        ..rule("score_review", "score > threshold.review", ActionKind::Review)
    });
    if ["graph.component.size", "graph.component.growth", "graph.component.age_h"]
        .into_iter()
        .all(has)
    {
        rules.push(RuleConfig {
            shadow: true,
            reason: "one of {graph.component.size} accounts linked within {graph.component.age_h} \
                     hours"
                .into(),
            ..rule(
                "ring_of_new_accounts",
                "graph.component.size >= 8 && graph.component.growth >= 6 && \
                 graph.component.age_h < 72",
                ActionKind::Review,
            )
        });
    }
    rules.extend(crowded_kinds(feature_names));
    rules.push(RuleConfig {
        expires: Some("1d".into()),
        reason: "score {score} (behaviour {scores.behaviour}, links {scores.graph})".into(),
        user_reason: "Please confirm that it is you.".into(),
        ..rule("score_challenge", "score > threshold.challenge", ActionKind::Challenge)
    });
    rules
}

fn rule(name: &str, when: &str, action: ActionKind) -> RuleConfig {
    RuleConfig { name: name.into(), when: when.into(), action, ..RuleConfig::default() }
}

/// One rule for each kind of thing: many accounts that are new to a thing that is new itself. Other
/// accounts are not things: having many of them at once is what popular people do.
fn crowded_kinds(feature_names: &[String]) -> Vec<RuleConfig> {
    let known: BTreeSet<&str> = feature_names.iter().map(String::as_str).collect();
    let mut rules: Vec<RuleConfig> = Vec::new();
    for name in feature_names {
        let kind = name.strip_prefix("graph.").and_then(|rest| rest.strip_suffix(".new_short"));
        let Some(kind) = kind else { continue };
        let of = |field: &str| format!("graph.{kind}.{field}");
        if known.contains(of("reciprocal_count").as_str()) || !known.contains(of("age_h").as_str())
        {
            continue;
        }
        let rule_name = format!("crowded_{}", plain(kind));
        // Kinds that differ in what a rule's name cannot show, or a name with a bracket or a quote in it,
        // are left to whoever chose them.
        let taken = rules.iter().any(|rule| rule.name == rule_name);
        if taken
            || rules.len() >= 31
            || rule_name.len() > 64
            || kind.contains(['"', '\\', '{', '}'])
        {
            continue;
        }
        let new_short = spelled(&of("new_short"));
        let age_h = spelled(&of("age_h"));
        rules.push(RuleConfig {
            shadow: true,
            reason: format!(
                "{{{}}} accounts are new to a {kind} that was first seen {{{}}} hours ago",
                of("new_short"),
                of("age_h")
            ),
            ..rule(&rule_name, &format!("{new_short} >= 5 && {age_h} < 24"), ActionKind::Review)
        });
    }
    rules
}

/// A kind as part of a rule's name.
fn plain(kind: &str) -> String {
    kind.chars()
        .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' })
        .collect()
}

/// A name as conditions write it: segments that are not plain words are quoted.
fn spelled(name: &str) -> String {
    let mut text = String::new();
    for (index, segment) in name.split('.').enumerate() {
        let is_plain = !segment.is_empty()
            && segment.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
            && segment != "in"
            && segment != "true"
            && segment != "false"
            && segment != "null";
        match (index, is_plain) {
            (0, _) => text.push_str(segment),
            (_, true) => {
                text.push('.');
                text.push_str(segment);
            }
            (_, false) => {
                text.push_str("[\"");
                text.push_str(segment);
                text.push_str("\"]");
            }
        }
    }
    text
}
