//! Which attributes are declared, and what each is good for.

use super::names;
use crate::survey::attributes::{AttributeReport, Reading};
use crate::survey::report::Report;
use features::config::{AttributeConfig, AttributeKind};

/// Values of one category that are declared, at most.
const VALUES_MAX: usize = 32;

/// Words that say that a number is an amount of money.
const MONEY_WORDS: [&str; 8] =
    ["amount", "amt", "price", "value", "total", "fee", "balance", "spend"];

/// Attributes by what they are good for, each list best first.
#[derive(Default)]
pub struct Fields {
    /// Declared ones, most frequent first.
    pub known: Vec<Field>,
    /// Numbers about events.
    pub of_event: Vec<String>,
    /// Numbers about accounts.
    pub of_account: Vec<String>,
    /// Numbers about events that can be added up.
    pub amounts: Vec<String>,
    /// Conditions that hold for some events: a name for the counter and the condition.
    pub flags: Vec<(String, String)>,
    /// The same for values of categories.
    pub values: Vec<(String, String)>,
}

/// An attribute that can be declared.
pub struct Field {
    /// Its name.
    pub name: String,
    /// Its section.
    pub config: AttributeConfig,
}

/// Sorts attributes out.
pub fn propose(report: &Report, notes: &mut Vec<String>) -> Fields {
    let mut fields = Fields::default();
    let mut left_out: Vec<String> = Vec::new();
    let mut constant: Vec<String> = Vec::new();
    let mut of_account: Vec<String> = Vec::new();
    let mut moments: Vec<String> = Vec::new();
    for seen in &report.attributes {
        suggest(seen, notes);
        let quoted = format!("`{}`", seen.name);
        if !names::is_attribute(&seen.name)
            || seen.reading == Reading::Opaque
            || seen.is_number_key()
        {
            left_out.push(quoted);
            continue;
        }
        // One value, in every event, tells nothing; one that is sometimes absent still does.
        if seen.is_constant() && seen.present_share >= 0.999 && report.events >= 100 {
            constant.push(quoted);
            continue;
        }
        let mut config = AttributeConfig::default();
        match seen.reading {
            Reading::Number => number(seen, &mut fields),
            Reading::Boolean => {
                config.kind = AttributeKind::Boolean;
                let rarer = seen.true_share <= 0.5;
                let condition = format!("{} == {rarer}", seen.name);
                let name = if rarer { seen.name.clone() } else { format!("not_{}", seen.name) };
                if names::is_plain(&seen.name) {
                    fields.flags.push((name, condition));
                }
            }
            Reading::Category => {
                config.kind = AttributeKind::Category;
                config.values =
                    seen.values.iter().take(VALUES_MAX).map(|(value, _)| value.clone()).collect();
                category(seen, &mut fields);
            }
            Reading::Moment => {
                config.kind = AttributeKind::Age;
                config.unit = seen.unit;
                let list =
                    if seen.of_account { &mut fields.of_account } else { &mut fields.of_event };
                list.push(seen.name.clone());
                moments.push(quoted.clone());
            }
            Reading::Opaque => {}
        }
        if seen.of_account {
            of_account.push(quoted);
        }
        fields.known.push(Field { name: seen.name.clone(), config });
    }
    // Money comes first, then what most events have; of two that are as frequent, the one that spreads more.
    let rank = |name: &String| {
        report.attributes.iter().find(|seen| seen.name == *name).map_or((false, 0, 0), |seen| {
            let lower = name.to_ascii_lowercase();
            let money =
                seen.present_share >= 0.01 && MONEY_WORDS.iter().any(|word| lower.contains(word));
            (money, (seen.present_share * 20.0) as u64, seen.numbers_distinct.min(1000))
        })
    };
    for list in [&mut fields.of_event, &mut fields.of_account, &mut fields.amounts] {
        list.sort_by(|a, b| rank(b).cmp(&rank(a)).then_with(|| a.cmp(b)));
    }
    if !of_account.is_empty() {
        notes.push(format!(
            "Attributes that stay the same for an account, and so describe it and not the event: {}.",
            of_account.join(", ")
        ));
    }
    if !fields.amounts.is_empty() {
        notes.push(format!(
            "Numbers that vary from event to event and can be added up: {}.",
            fields.amounts.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
        ));
    }
    if !moments.is_empty() {
        notes.push(format!(
            "Moments, read as their age at the event in seconds (`type = \"age\"`): {}.",
            moments.join(", ")
        ));
    }
    if !constant.is_empty() {
        notes
            .push(format!("Attributes with one value only are left out: {}.", constant.join(", ")));
    }
    if !left_out.is_empty() {
        notes.push(format!(
            "Attributes that are neither numbers, booleans nor a few texts, or whose name cannot stand in features, are left out: {}.",
            left_out.join(", ")
        ));
    }
    if report.attributes_beyond > 0 {
        notes.push(
            "There are more attributes than a survey follows; the later ones are left out.".into(),
        );
    }
    fields
}

fn number(seen: &AttributeReport, fields: &mut Fields) {
    let two_values =
        seen.numbers_distinct <= 2 && seen.quantiles[0] == 0.0 && seen.quantiles[4] == 1.0;
    if seen.of_account {
        fields.of_account.push(seen.name.clone());
    } else if two_values && names::is_plain(&seen.name) {
        fields.flags.push((seen.name.clone(), format!("{} == 1", seen.name)));
    } else if seen.numbers_distinct > 1 {
        fields.of_event.push(seen.name.clone());
        if seen.quantiles[1] >= 0.0 && seen.negative_share <= 0.01 && seen.numbers_distinct > 2 {
            fields.amounts.push(seen.name.clone());
        }
    }
}

/// Counts the values of small categories, all but the most frequent.
fn category(seen: &AttributeReport, fields: &mut Fields) {
    if seen.values.len() > 8 || seen.of_account || !names::is_plain(&seen.name) {
        return;
    }
    for (value, count) in seen.values.iter().skip(1) {
        if names::is_quotable(value) && count * 1000 >= seen.present {
            let condition = format!("{} == \"{value}\"", seen.name);
            fields.values.push((format!("{}_{value}", seen.name), condition));
        }
    }
}

/// Attributes that would serve better as something else.
fn suggest(seen: &AttributeReport, notes: &mut Vec<String>) {
    if seen.is_number_key() {
        notes.push(format!(
            "Attribute `{}` looks like the key of something that accounts share; sent under `entities`, it would link them.",
            seen.name
        ));
        return;
    }
    let Some(keys) = &seen.as_keys else { return };
    if keys.account_overlap >= 0.3 && keys.self_share < 0.5 && !keys.dense_numbers {
        notes.push(format!(
            "Attribute `{}` holds ids of accounts; sent as `target` or under `entities`, it would link them.",
            seen.name
        ));
    } else if seen.reading == Reading::Opaque && keys.distinct >= 50 && keys.shared_share >= 0.02 {
        notes.push(format!(
            "Attribute `{}` has {} texts, {:.0} % of them from more than one account; sent under `entities`, it would link them.",
            seen.name,
            keys.distinct,
            keys.shared_share * 100.0
        ));
    }
}
