//! Text in conditions: what is not declared equals nothing, in every spelling and in both forms.

use super::tests::{COUNTRIES, NONE, ROW, Row, holds, refused, slot};
use proptest::prelude::*;

/// A row with these values; a text that is not declared has the number of all others.
fn row(country: Option<&str>, billing: Option<&str>) -> Row {
    let number = |text: Option<&str>| match text {
        None => NONE,
        Some(text) => COUNTRIES.iter().position(|v| v == text).unwrap_or(COUNTRIES.len()) as f32,
    };
    let mut row = ROW;
    row[slot("country")] = number(country);
    row[slot("billing")] = number(billing);
    row
}

/// Every value that can arrive: both that are declared, two that are not, and none.
const ARRIVING: [Option<&str>; 5] = [Some("NL"), Some("BE"), Some("UK"), Some("FR"), None];

fn is_declared(text: &str) -> bool {
    COUNTRIES.iter().any(|value| value == text)
}

#[test]
fn undeclared_text_in_any_spelling_is_refused_with_the_nearest() {
    for source in [
        "country == \"nl\"",
        "\"nl\" == country",
        "country != \"nl\"",
        "!(country == \"nl\")",
        "country in [\"nl\"]",
        "country in [\"BE\", \"nl\"]",
        "!(country in [\"BE\", billing, \"nl\"])",
        "(verified ? country : billing) == \"nl\"",
        "(verified ? country : billing) in [\"nl\"]",
        "country == (verified ? \"BE\" : \"nl\")",
        "(verified ? \"nl\" : \"BE\") == country",
        "country == (verified ? billing : (score > 0.5 ? \"NL\" : \"nl\"))",
        "score > 0.1 && (verified || country == \"nl\")",
        "verified ? country == \"nl\" : true",
        "[score].exists(x, x > 0.5 && country == \"nl\")",
        "[1, 2].all(x, country != \"nl\")",
        "[country == \"nl\"].exists(x, x)",
    ] {
        let error = refused(source);
        assert!(error.contains("`nl` is not a declared value of"), "{source}: {error}");
        assert!(error.contains("did you mean `NL`?"), "{source}: {error}");
    }
}

#[test]
fn a_category_is_no_number_and_has_no_order() {
    for (source, message) in [
        ("country < \"NL\"", "text has no order"),
        ("\"NL\" >= country", "text has no order"),
        ("country > billing", "text has no order"),
        ("country == 2", "a category is text"),
        ("2 == country", "a category is text"),
        ("country != score", "a category is text"),
        ("country > 1", "a category is text"),
        ("country in [0, 2]", "a category is text"),
        ("score in [country]", "a category is text"),
        ("country + 1 == 2", "a category is text"),
        ("-country == 2", "a category is text"),
        ("abs(country) == 2", "a category is text"),
        ("max(country, billing) == 2", "a category is text"),
        ("country", "a category is text"),
        ("!country", "a category is text"),
        ("country && verified", "a category is text"),
        ("(verified ? country : score) > 1", "a category is text"),
        ("country == true", "a category is text"),
        ("[country].exists(x, x == 2)", "a category is text"),
        ("[score, 2].exists(x, x == country)", "a category is text"),
        ("[score, 2].exists(x, x in [country])", "a category is text"),
        ("country in [1, 2].map(x, x)", "a category is text"),
        ("double(country) == 2", "a category is text"),
        ("country == currency", "both declare the same `values`"),
        ("country in [\"NL\", currency]", "both declare the same `values`"),
        ("(verified ? country : currency) == \"NL\"", "both declare the same `values`"),
        ("score == \"NL\"", "text can only be compared with a categorical name"),
        ("\"NL\" == \"NL\"", "text can only be compared with a categorical name"),
        ("\"NL\" in [country, billing]", "text can only be compared with a categorical name"),
        ("[\"NL\", \"UK\"].exists(x, country == x)", "text can only be compared"),
        ("[score].exists(x, x == \"NL\")", "text can only be compared with a categorical name"),
        ("size(\"NL\") == 2", "text can only be compared with a categorical name"),
    ] {
        let error = refused(source);
        assert!(error.contains(message), "{source}: {error}");
    }
}

#[test]
fn a_value_that_is_not_declared_equals_nothing_but_itself() {
    for country in ARRIVING {
        for billing in ARRIVING {
            let row = row(country, billing);
            let is = |text: &str| country == Some(text);
            let differs = |text: &str| country.is_some_and(|found| found != text);
            // Of two that are not declared nobody knows: neither holds.
            let known = |one: &str, other: &str| is_declared(one) || is_declared(other);
            let both = country.zip(billing);
            let same = both.is_some_and(|(one, other)| one == other && is_declared(one));
            let other = both.is_some_and(|(one, two)| one != two && known(one, two));
            for (expected, source) in [
                (is("NL"), "country == \"NL\""),
                (is("NL"), "\"NL\" == country"),
                (differs("NL"), "country != \"NL\""),
                (!is("NL"), "!(country == \"NL\")"),
                (is("NL") || is("BE"), "country in [\"NL\", \"BE\"]"),
                (!(is("NL") || is("BE")), "!(country in [\"NL\", \"BE\"])"),
                (same, "country == billing"),
                (same, "billing == country"),
                (other, "country != billing"),
                (same, "country in [billing]"),
                (is("BE") || same, "country in [\"BE\", billing]"),
                (country.is_some(), "country == country"),
                (false, "country != country"),
                (country.is_some(), "country in [\"NL\", country]"),
                (is("BE"), "(verified ? country : billing) == \"BE\""),
                (same, "(verified ? country : billing) == billing"),
                (same, "(verified ? country : billing) in [billing]"),
                (is("BE"), "country == (verified ? \"BE\" : \"NL\")"),
                (same, "country == (verified ? billing : \"NL\")"),
                (other, "country != (verified ? billing : \"NL\")"),
                (country.is_some(), "present(country)"),
                (country.is_none(), "absent(country)"),
                (country.is_some() && !is("NL"), "present(country) && country != \"NL\""),
                (is("NL"), "[country == \"NL\"].exists(x, x)"),
                (same, "[score].exists(x, country == billing)"),
            ] {
                let found = holds(source, &row);
                assert_eq!(found, expected, "{source} of {country:?} and {billing:?}");
            }
        }
    }
}

/// Conditions over two categories of the same values.
pub(super) fn source() -> impl Strategy<Value = String> {
    let name = prop::sample::select(vec!["country", "billing", "(verified ? country : billing)"]);
    let text = prop::sample::select(vec![
        "\"NL\"",
        "\"BE\"",
        "country",
        "billing",
        "(score > 0.5 ? \"NL\" : billing)",
        "(verified ? billing : country)",
    ]);
    let operator = prop::sample::select(vec!["==", "!="]);
    let list = prop::collection::vec(text.clone(), 0..4);
    prop_oneof![
        (name.clone(), operator, text).prop_map(|(name, op, text)| format!("({name} {op} {text})")),
        (name.clone(), list).prop_map(|(name, list)| format!("({name} in [{}])", list.join(", "))),
        name.prop_map(|name| format!("present({name})")),
    ]
}
