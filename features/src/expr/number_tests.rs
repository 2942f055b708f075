//! Numbers in conditions: a comparison says the same in every spelling that makes no new value.

use super::tests::{NONE, ROW, Row, holds, slot};

fn row(amount: f32) -> Row {
    let mut row = ROW;
    row[slot("amount")] = amount;
    row
}

/// Spellings of `amount OP 99.99`, with the operator for `{op}` and its mirror image for `{mirrored}`.
const SPELLINGS: [&str; 27] = [
    "amount {op} 99.99",
    "99.99 {mirrored} amount",
    "(amount) {op} (99.99)",
    "abs(amount) {op} 99.99",
    "abs(-amount) {op} abs(-99.99)",
    "-amount {mirrored} -99.99",
    "-99.99 {op} -amount",
    "-(-(amount)) {op} 99.99",
    "min(amount) {op} 99.99",
    "min(amount, 1000) {op} 99.99",
    "max(amount, 1.1) {op} 99.99",
    "max(amount, amount) {op} 99.99",
    "amount {op} min(99.99, 500)",
    "amount {op} max(0.1, 99.99)",
    "amount {op} 99 + 0.99",
    "amount {op} 9999 / 100",
    "amount * 1 {op} 99.99",
    "amount + 0 {op} 99.99",
    "(verified ? amount : score) {op} 99.99",
    "(verified ? amount : 5.5) {op} 99.99",
    "amount {op} (verified ? 99.99 : 5.5)",
    "(verified ? 99.99 : amount) {mirrored} (verified ? amount : 99.99)",
    "[amount].exists(x, x {op} 99.99)",
    "[99.99].exists(x, amount {op} x)",
    "[amount, 1.1].map(x, x)[0] {op} 99.99",
    "double(amount) {op} 99.99",
    "[amount].filter(x, x {op} 99.99).size() == 1",
];

#[test]
fn a_comparison_says_the_same_in_every_spelling() {
    let below = 99.98999_f32;
    let above = 99.990005_f32;
    assert!(below < 99.99 && above > 99.99 && below.to_bits() + 2 == above.to_bits());
    for (op, mirrored, expected) in [
        (">=", "<=", [false, true, true]),
        (">", "<", [false, false, true]),
        ("<=", ">=", [true, true, false]),
        ("<", ">", [true, false, false]),
        ("==", "==", [false, true, false]),
        ("!=", "!=", [true, false, true]),
    ] {
        for spelling in SPELLINGS {
            let source = spelling.replace("{op}", op).replace("{mirrored}", mirrored);
            for (amount, expected) in [below, 99.99, above].into_iter().zip(expected) {
                assert_eq!(holds(&source, &row(amount)), expected, "{source} of {amount}");
            }
            // `min` and `max` pass over what is absent.
            if !spelling.contains("(amount, ") {
                assert!(!holds(&source, &row(NONE)), "{source} of none");
            }
        }
    }
}

#[test]
fn a_list_has_a_number_in_every_spelling() {
    for (holds_for, source) in [
        (99.99, "amount in [99.99]"),
        (99.99, "amount in [0.1, 99 + 0.99]"),
        (99.99, "abs(amount) in [5, 99.99]"),
        (99.99, "-amount in [-99.99]"),
        (99.99, "99.99 in [amount, 0.3]"),
        (99.99, "amount in [99.99].map(x, x)"),
        (99.99, "(verified ? amount : 0.1) in [99.99]"),
        (0.1, "amount in [0.1, 0.2]"),
        (0.3, "amount in [0.1 + 0.2]"),
    ] {
        assert!(holds(source, &row(holds_for)), "{source}");
        assert!(!holds(source, &row(f32::from_bits(holds_for.to_bits() + 1))), "{source}");
        assert!(!holds(source, &row(NONE)), "{source}");
    }
}

#[test]
fn what_32_bits_cannot_hold_is_compared_as_it_is() {
    for (expected, amount, source) in [
        (true, 5.0, "amount < 1e300"),
        (true, 5.0, "1e39 < 1e40"),
        (true, 1e30, "amount * amount * amount > amount * amount"),
        (false, 0.0, "amount > 1e-300"),
        (true, 0.0, "amount < 1e-300"),
        (true, 0.0, "0 < 1e-300"),
        (true, -0.0, "amount == 0"),
        (false, 5.0, "amount == 1e300"),
        // 2^24 + 1 is no number of 32 bits.
        (true, 16_777_216.0, "amount == 16777217"),
        (true, 16_777_216.0, "abs(amount) == 16777217"),
    ] {
        assert_eq!(holds(source, &row(amount)), expected, "{source} of {amount}");
    }
}
