//! Which names can be declared, and how names are made from others.

use features::limits::NAME_BYTES_MAX;
use std::collections::BTreeSet;

/// Kinds that would be read as other parts of the feature vector.
const RESERVED_KINDS: [&str; 7] =
    ["account", "target", "received", "event", "graph", "score", "scores"];
/// Attributes that would be read as other columns of the event's part.
const RESERVED_ATTRIBUTES: [&str; 6] = ["type", "hour", "night", "weekend", "hour_sin", "hour_cos"];

/// A name that can stand in a condition as it is.
pub fn is_plain(name: &str) -> bool {
    name.len() <= NAME_BYTES_MAX
        && name.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn is_name(name: &str) -> bool {
    let odd = |letter: char| {
        letter.is_whitespace() || letter.is_control() || "\"'`[]{}(),".contains(letter)
    };
    !name.is_empty() && name.len() <= NAME_BYTES_MAX && !name.chars().any(odd)
}

/// A name that kinds may have.
pub fn is_kind(name: &str) -> bool {
    is_name(name) && !RESERVED_KINDS.contains(&name)
}

/// A name that attributes may have.
pub fn is_attribute(name: &str) -> bool {
    is_name(name) && !RESERVED_ATTRIBUTES.contains(&name)
}

/// A name that types may have: any short text.
pub fn is_type(name: &str) -> bool {
    !name.is_empty() && name.len() <= NAME_BYTES_MAX && !name.chars().any(char::is_control)
}

/// Text that can stand between quotes in a condition.
pub fn is_quotable(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= NAME_BYTES_MAX
        && !text.chars().any(|letter| letter.is_control() || letter == '"' || letter == '\\')
}

/// A plain name made from any text, different from all in `taken`, which it joins.
pub fn plain(text: &str, taken: &mut BTreeSet<String>) -> String {
    let mut name: String = text
        .chars()
        .map(
            |letter| if letter.is_ascii_alphanumeric() { letter.to_ascii_lowercase() } else { '_' },
        )
        .take(NAME_BYTES_MAX - 12)
        .collect();
    if !name.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic()) {
        name.insert_str(0, "x_");
    }
    let stem = name.clone();
    let mut number = 2;
    while !taken.insert(name.clone()) {
        name = format!("{stem}_{number}");
        number += 1;
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_plain_and_unique() {
        let mut taken = BTreeSet::new();
        let made: Vec<String> = ["pay-out", "pay.out", "42", "é", ""]
            .iter()
            .map(|text| plain(text, &mut taken))
            .collect();
        assert_eq!(made, ["pay_out", "pay_out_2", "x_42", "x__", "x_"]);
        assert!(made.iter().all(|name| is_plain(name)));
        assert!(
            !is_kind("target") && is_kind("ip-range") && !is_kind("a b") && !is_attribute("hour")
        );
        assert!(!is_plain("9a") && !is_plain("a-b") && !is_quotable("a\"b"));
    }
}
