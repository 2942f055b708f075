//! `docs/features.md` against the code: every column fits exactly one documented pattern, every pattern fits a
//! column, and the units of profiles' columns are the code's.

use engine::config::Config;
use engine::{Engine, Options};
use features::vector::{Source, VectorPlan};
use std::collections::{BTreeMap, BTreeSet};

const DOC: &str = include_str!("../../docs/features.md");

/// Uses every block, a kind whose keys are accounts, and counters of every sort.
const EVERYTHING: &str = r#"
[events]
types = ["message", "payment"]
[attributes.amount]
[attributes.country]
type = "category"
values = ["NL", "BE"]
[kinds.device]
strong = true
[kinds.invited]
is_account = true
[profiles.account]
numeric = ["amount"]
distinct = ["device", "target"]
hours = true
sessions = true
neighbours = ["account.events.1d", "target.events.1d"]
[profiles.device]
distinct = ["account"]
[[counters]]
name = "events"
windows = ["10m"]
[[counters]]
name = "payments"
types = ["payment"]
on = ["account", "device"]
[[counters]]
name = "paid"
types = ["payment"]
sum = "amount"
on = ["account", "device"]
windows = ["7d"]
"#;

/// A row of a table: what names look like, and in what they are counted.
#[derive(Debug)]
struct Pattern {
    text: String,
    unit: String,
}

fn patterns() -> Vec<Pattern> {
    let mut found = Vec::new();
    let mut in_patterns = false;
    for line in DOC.lines() {
        if line.starts_with("| pattern | unit |") {
            in_patterns = true;
        } else if !line.starts_with('|') {
            in_patterns = false;
        } else if in_patterns && line.starts_with("| `") {
            let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
            assert_eq!(cells.len(), 3, "pattern, unit, meaning: {line}");
            found.push(Pattern {
                text: cells[0].trim_matches('`').to_owned(),
                unit: cells[1].to_owned(),
            });
        }
    }
    assert!(found.len() > 50, "the page was read");
    found
}

fn engine(text: &str) -> Engine {
    let config: Config = detector::config::parse(text, &BTreeMap::new()).expect("it is read");
    Engine::new(config, None, Options::default()).unwrap_or_else(|p| panic!("{}", p.join("\n")))
}

/// What each placeholder may stand for, in one configuration.
fn placeholders(engine: &Engine) -> BTreeMap<&'static str, Vec<String>> {
    let schema = engine.schema();
    let config = engine.config().features();
    let kinds = |accounts: bool| -> Vec<String> {
        schema.kinds().iter().filter(|k| k.is_account == accounts).map(|k| k.name.clone()).collect()
    };
    let others: Vec<String> = std::iter::once("target".to_owned()).chain(kinds(true)).collect();
    let mut profiles = vec!["account".to_owned(), "received".to_owned()];
    profiles.extend(others.iter().flat_map(|o| [format!("{o}.account"), format!("{o}.received")]));
    profiles.extend(kinds(false));
    let of_profiles = |list: fn(&features::config::ProfileConfig) -> &Vec<String>| -> Vec<String> {
        config.profiles.values().flat_map(list).cloned().collect()
    };
    let sums = config.counters.iter().filter(|c| c.sum.is_some());
    [
        ("<profile>", profiles),
        ("<attribute>", schema.attributes().iter().map(|a| a.name.clone()).collect()),
        ("<sum>", sums.map(|c| c.name.clone()).collect()),
        ("<counter>", config.counters.iter().map(|c| c.name.clone()).collect()),
        ("<half-life>", schema.time().half_life_names.to_vec()),
        ("<window>", config.counters.iter().flat_map(|c| c.windows.clone()).collect()),
        ("<counted>", of_profiles(|p| &p.distinct)),
        ("<neighbour>", of_profiles(|p| &p.neighbours)),
        ("<thing>", kinds(false).into_iter().chain(others.clone()).collect()),
        ("<other>", others),
        ("<kind>", kinds(false)),
    ]
    .into()
}

/// All names that a pattern stands for.
fn expand(pattern: &str, words: &BTreeMap<&'static str, Vec<String>>) -> Vec<String> {
    let Some(start) = pattern.find('<') else { return vec![pattern.to_owned()] };
    let end = start + pattern[start..].find('>').expect("a bracket is closed") + 1;
    let values =
        words.get(&pattern[start..end]).unwrap_or_else(|| panic!("unknown word in {pattern}"));
    let with = |value: &String| format!("{}{value}{}", &pattern[..start], &pattern[end..]);
    values.iter().flat_map(|value| expand(&with(value), words)).collect()
}

/// Checks one configuration, and returns the patterns that fitted a column of it.
fn check(text: &str) -> BTreeSet<String> {
    let engine = engine(text);
    let words = placeholders(&engine);
    let patterns = patterns();
    let mut by_name: BTreeMap<String, BTreeSet<usize>> = BTreeMap::new();
    for (index, pattern) in patterns.iter().enumerate() {
        for name in expand(&pattern.text, &words) {
            by_name.entry(name).or_default().insert(index);
        }
    }
    let mut used = BTreeSet::new();
    let mut wrong = Vec::new();
    for column in engine.columns() {
        match by_name.get(column).map(|found| found.iter().collect::<Vec<_>>()).as_deref() {
            Some([one]) => {
                used.insert(patterns[**one].text.clone());
            }
            Some(several) => wrong.push(format!("{column} fits {} patterns", several.len())),
            None => wrong.push(format!("{column} is not documented")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    check_units(&engine, &patterns, &by_name);
    used
}

/// The unit of every profile's column is the documented one, or the attribute's where the page says so.
fn check_units(engine: &Engine, patterns: &[Pattern], by_name: &BTreeMap<String, BTreeSet<usize>>) {
    let schema = engine.schema();
    let plan = VectorPlan::new(schema);
    for part in plan.parts().iter().filter(|p| p.source != Source::Event) {
        let layout = schema.layout(part.role).expect("a part has a layout");
        for (column, name) in layout.columns().iter().zip(layout.names(&part.prefix)) {
            let index = by_name[&name].first().expect("it was found");
            let unit = &patterns[*index].unit;
            let of_attribute = schema.attribute_slot(&column.unit).is_some();
            let fits = match unit.as_str() {
                "events, or the attribute's" => column.unit == "events" || of_attribute,
                "the attribute's" => of_attribute,
                unit => unit == column.unit,
            };
            assert!(fits, "{name}: documented in {unit}, in the code {}", column.unit);
        }
    }
}

#[test]
fn every_column_fits_one_pattern_and_every_pattern_a_column() {
    let mut used = check(include_str!("../shipped/bench.toml"));
    used.extend(check(EVERYTHING));
    let unused: Vec<String> =
        patterns().into_iter().map(|p| p.text).filter(|text| !used.contains(text)).collect();
    assert!(unused.is_empty(), "documented, but no column is called so: {unused:#?}");
}

#[test]
fn every_column_has_a_name_of_its_own() {
    for text in [include_str!("../shipped/bench.toml"), EVERYTHING] {
        let engine = engine(text);
        let mut seen = BTreeSet::new();
        let twice: Vec<&String> = engine.columns().iter().filter(|c| !seen.insert(*c)).collect();
        assert!(twice.is_empty(), "{twice:?}");
    }
}
