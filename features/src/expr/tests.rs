//! Conditions against what they must say, the compiled form against the interpreter, and both against
//! plain CEL.

use super::interpret::Interpreted;
use super::*;
use proptest::prelude::*;
use std::sync::LazyLock;

const NAMES: [&str; 9] = [
    "score",
    "account.messages.10m",
    "account.messages.in_1h",
    "verified",
    "country",
    "a.credit-card",
    "amount",
    "billing",
    "currency",
];

pub(super) struct Known;

/// Declared values of `country` and `billing`.
pub(super) static COUNTRIES: LazyLock<Vec<String>> =
    LazyLock::new(|| ["NL", "BE"].map(String::from).to_vec());
static CURRENCIES: LazyLock<Vec<String>> =
    LazyLock::new(|| ["EUR", "USD", "NL"].map(String::from).to_vec());

impl Names for Known {
    fn slot(&self, name: &str) -> Option<u32> {
        NAMES.iter().position(|known| *known == name).map(|index| index as u32)
    }

    fn values(&self, name: &str) -> Option<&[String]> {
        match name {
            "country" | "billing" => Some(&COUNTRIES),
            "currency" => Some(&CURRENCIES),
            _ => None,
        }
    }

    fn all(&self) -> Vec<String> {
        NAMES.iter().map(|name| (*name).to_owned()).collect()
    }

    fn constant(&self, name: &str) -> Option<f64> {
        (name == "threshold.review").then_some(0.7)
    }
}

pub(super) type Row = [f32; NAMES.len()];
pub(super) const NONE: f32 = f32::NAN;
/// score 0.7, 21 messages at 10m, none known in 1h, verified, BE, 3, 99.99, not declared, USD.
pub(super) const ROW: Row = [0.7, 21.0, NONE, 1.0, 1.0, 3.0, 99.99, 2.0, 1.0];

/// The place of a name's value in a row.
pub(super) fn slot(name: &str) -> usize {
    NAMES.iter().position(|known| *known == name).unwrap_or_else(|| panic!("{name}"))
}

fn compile(source: &str) -> Program {
    Program::compile(source, &Known).unwrap_or_else(|error| panic!("{source}: {error}"))
}

/// The answer of a condition over a row, which must be the same from both forms.
pub(super) fn holds(source: &str, row: &Row) -> bool {
    let program = compile(source);
    let parsed = parse::parse(source).unwrap();
    let interpreted = Interpreted::new(&parsed, &Known)
        .unwrap_or_else(|error| panic!("{source}, interpreted: {error}"));
    let load = |slot: u32| row.get(slot as usize).copied().unwrap_or(NONE);
    let holds = program.eval(row);
    assert_eq!(holds, interpreted.holds(load), "{source}: compiled and interpreted differ");
    holds
}

fn check(source: &str) -> bool {
    holds(source, &ROW)
}

/// Why a condition is refused, which must be the same from both forms.
pub(super) fn refused(source: &str) -> String {
    let error = match Program::compile(source, &Known) {
        Ok(_) => panic!("{source} was accepted"),
        Err(error) => error.to_string(),
    };
    if let Ok(parsed) = parse::parse(source) {
        let interpreted = Interpreted::new(&parsed, &Known).map(|_| ());
        let other = interpreted.expect_err(source).to_string();
        assert_eq!(error, other, "{source}: compiled and interpreted differ");
    }
    error
}

#[test]
fn conditions_say_what_they_say() {
    for (holds, compiled, source) in [
        (true, true, "score >= threshold.review"),
        (false, true, "score > threshold.review"),
        (true, true, "score == 0.7"),
        (true, true, "0.7 == score"),
        (true, true, "account.messages.10m > 20"),
        (true, true, "account.messages[\"10m\"] > 20"),
        (true, true, "account['messages'].`10m` > 20"),
        (true, true, "account . messages . 10m > 20 // a comment ( with brackets"),
        (true, true, "a.`credit-card` == 3 && a['credit-card'] == 3"),
        (true, true, "account.messages.10m\n  > 20\n&& verified"),
        (false, true, "account.messages.in_1h > 0"),
        (false, true, "account.messages.in_1h <= 0"),
        (false, true, "account.messages.in_1h == account.messages.in_1h"),
        (false, true, "account.messages.in_1h != 3"),
        (true, true, "!(account.messages.in_1h > 0)"),
        (false, true, "account.messages.in_1h in [1, 2]"),
        (true, true, "absent(account.messages.in_1h) && present(score)"),
        (false, true, "has(account.messages.in_1h)"),
        (true, true, "has(account.messages.10m)"),
        (true, true, "absent(account.messages.in_1h + 1)"),
        (true, true, "absent(score / 0) && absent(score % 0)"),
        (true, true, "min(account.messages.in_1h, 5, 7) == 5"),
        (true, true, "max(account.messages.in_1h, 5, 7) == 7"),
        (true, true, "absent(max(account.messages.in_1h))"),
        (true, true, "abs(score - 1) < 0.31 && abs(-3) == 3"),
        (true, true, "verified"),
        (false, true, "!verified"),
        (true, true, "verified == true"),
        (false, true, "false == verified"),
        (true, true, "(score > 0.5) == verified"),
        (false, true, "account.messages.in_1h || false"),
        (true, true, "country == \"BE\""),
        (true, true, "\"NL\" != country"),
        (true, true, "country in [\"NL\", \"BE\"]"),
        (false, true, "country in [\"NL\"]"),
        (false, true, "country in []"),
        (true, true, "account.messages.10m in [1, 7 * 3, score]"),
        (true, true, "score in [0.7]"),
        (true, true, "1 / 2 == 0.5"),
        (true, true, "-7 % 3 == -1"),
        (true, true, "1 - 2 - 3 == -4 && 2 + 3 * 4 == 14"),
        (true, true, "score > 0.9 ? false : account.messages.10m > 20"),
        (true, true, "(verified ? 10 : 20) == 10"),
        (true, true, "score > 2 ? score : verified"),
        (true, true, "1.5e1 < account.messages.10m && .5 < score && 0x15 == account.messages.10m"),
        (true, true, "true"),
        (
            true,
            false,
            "[score > 0.5, verified, account.messages.in_1h > 3].filter(x, x).size() >= 2",
        ),
        (false, false, "[score > 0.5, verified, account.messages.in_1h > 3].all(x, x)"),
        (true, false, "[score, account.messages.10m].exists(x, x > 20)"),
        (true, false, "[score, account.messages.10m].exists_one(x, x > 20)"),
        (true, false, "[score, 4.0].map(x, x * 2).exists(y, y == 8)"),
        (true, false, "[1, 2, 3][1] == 2"),
        (false, false, "[1, 2, 3][7] == 2"),
        (true, false, "size([1, 2]) + 1 == 3"),
    ] {
        assert_eq!(check(source), holds, "{source}");
        assert_eq!(compile(source).is_compiled(), compiled, "{source}");
    }
}

#[test]
fn errors_say_what_where_and_what_next() {
    let mut wrong = Vec::new();
    for (message, source) in [
        (
            "unknown name `account.mesages.10m` (at line 1 column 9); did you mean \
             `account.messages.10m`?",
            "score > account.mesages.10m",
        ),
        ("unknown name `zzz` (at line 2 column 4)", "score > 1\n&& zzz"),
        ("the condition is empty; write a comparison such as `account.events.1d > 20`", " // x"),
        ("`=` is not an operator; write `==` (at line 1 column 7)", "score = 1"),
        ("`&` is not an operator; write `&&` (at line 1 column 11)", "score > 1 & verified"),
        ("`(` is never closed (at line 1 column 1)", "(score > 1"),
        ("`)` closes nothing (at line 1 column 10)", "score > 1)"),
        ("unexpected character 'é' (at line 1 column 1)", "é > 1"),
        ("text is never closed (at line 1 column 12)", "country == \"NL"),
        (
            "`UK` is not a declared value of `country` (at line 1 column 12); declared: NL, BE; a value that \
             is not declared equals nothing, so correct or declare it",
            "country == \"UK\"",
        ),
        (
            "a number stands where true or false is needed; compare it: `x > 0` (at line 1 column 7)",
            "score + 1",
        ),
        (
            "true or false stands where a number is needed; choose numbers: `x > 0 ? 1 : 0` (at \
             line 1 column 16)",
            "score + (score > 1) > 3",
        ),
        (
            "text has no order here; use `==`, `!=` or `in` (at line 1 column 11)",
            "country < \"NL\"",
        ),
        (
            "unknown function `mex` (at line 1 column 4); did you mean `max`?; known: abs, min, max, \
             present, absent, has, size, double, int, and the list macros exists, all, exists_one, \
             filter, map",
            "mex(score, 1) > 2",
        ),
        ("`abs` does not take 2 arguments (at line 1 column 4)", "abs(score, 1) > 2"),
        ("a map is not supported in conditions (at line 1 column 1)", "{'a': 1}['a'] == 1"),
        ("mismatched input 'end of the condition' (at line 1 column 8)", "score >"),
    ] {
        let found = refused(source);
        if found != message {
            wrong.push(format!("{source}\n  found    {found}\n  expected {message}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn deep_and_long_conditions_are_errors_and_not_overflows() {
    let deep = |open: &str, close: &str, n: usize| {
        format!("{}score > 1{}", open.repeat(n), close.repeat(n))
    };
    assert!(refused(&deep("(", ")", 100)).contains("nested brackets"));
    assert!(refused(&deep("(", ")", 2000)).contains("nested brackets"));
    assert!(refused(&deep("!", "", 2000)).contains("operators and brackets"));
    assert!(refused(&format!("score{} > 1", " + 1".repeat(1000))).contains("operators"));
    assert!(refused(&format!("score{} > 1", ".a".repeat(1000))).contains("segments"));
    assert!(refused(&format!("score{}", "[0]".repeat(1000))).contains("operators"));
    assert!(refused(&format!("{}1", "verified ? 1 : ".repeat(250))).contains("operators"));
    assert!(refused(&"score > 1 && ".repeat(1000)).contains("bytes"));
    // Just inside of the caps everything must work, in the smallest stack that a thread has.
    let widest = [
        deep("(", ")", NESTING_MAX),
        format!("score{} > 1", " + 1".repeat(OPERATORS_MAX - 1)),
        format!("{}verified", "verified ? score > 1 : ".repeat(OPERATORS_MAX / 2)),
        format!("{}verified", "!".repeat(OPERATORS_MAX)),
        format!("{}score > 1", "-".repeat(OPERATORS_MAX - 1)),
        format!("verified{}", " && verified".repeat(300)),
        format!("score in [{}1]", "1, ".repeat(480)),
        format!("country in [{}\"NL\"]", "billing, ".repeat(440)),
    ];
    for source in &widest {
        check(source);
    }
}

#[test]
fn a_right_leaning_chain_uses_the_large_stack() {
    let source = format!("{}0{} > 1", "score + (".repeat(23), ")".repeat(23));
    assert!(check(&source), "23 times 0.7 is more than 1");
}

#[test]
fn slots_are_listed_once_in_order() {
    assert_eq!(compile("country == \"NL\" || score > 1 || score < 0").slots(), [0, 4]);
    assert_eq!(compile("[verified, score].exists(x, x > 1)").slots(), [0, 3]);
    assert_eq!(compile("threshold.review > 0.5").slots(), [0_u32; 0]);
}

#[test]
fn a_short_row_is_an_absent_value() {
    assert!(!compile("score > -1").eval(&[]));
    assert!(compile("absent(score)").eval(&[]));
    assert!(compile("absent(score)").eval(&[f32::INFINITY]));
}

/// Sources of numbers over three names, made of operations that plain CEL has too.
fn number_source(plain: bool) -> BoxedStrategy<String> {
    // In plain CEL numbers are compared at 64 bits: here all that arise fit 32.
    let literal = if plain { -3_i32..4 } else { -20_i32..20 };
    let leaf = prop_oneof![
        Just("score".to_owned()),
        Just("verified".to_owned()),
        Just("amount".to_owned()),
        literal.prop_map(move |n| format!("{:?}", f64::from(n) * if plain { 1.0 } else { 0.13 })),
    ];
    leaf.prop_recursive(3, 16, 3, move |inner| {
        let pair = (inner.clone(), inner.clone());
        let both = prop_oneof![
            pair.clone().prop_map(|(a, b)| format!("({a} + {b})")),
            pair.clone().prop_map(|(a, b)| format!("({a} - {b})")),
            pair.clone().prop_map(|(a, b)| format!("{a} * {b}")),
            inner.clone().prop_map(|a| format!("-({a})")),
            (truth_leaf(inner.clone()), pair.clone())
                .prop_map(|(c, (a, b))| format!("({c} ? {a} : {b})")),
        ];
        if plain {
            return both.boxed();
        }
        prop_oneof![
            both,
            pair.clone().prop_map(|(a, b)| format!("({a} / {b})")),
            pair.clone().prop_map(|(a, b)| format!("({a} % {b})")),
            (pair, inner.clone()).prop_map(|((a, b), c)| format!("max({a}, min({b}, {c}))")),
            inner.prop_map(|a| format!("abs({a})")),
        ]
        .boxed()
    })
    .boxed()
}

fn truth_leaf(number: BoxedStrategy<String>) -> BoxedStrategy<String> {
    let comparison = prop::sample::select(vec!["<", "<=", ">", ">=", "==", "!="]);
    (number.clone(), comparison, number).prop_map(|(a, op, b)| format!("({a} {op} {b})")).boxed()
}

fn truth_source(plain: bool) -> BoxedStrategy<String> {
    let number = number_source(plain);
    let mut leaf = truth_leaf(number.clone());
    if !plain {
        let one_of = (number.clone(), prop::collection::vec(number.clone(), 0..4))
            .prop_map(|(value, list)| format!("({value} in [{}])", list.join(", ")));
        leaf = prop_oneof![
            4 => leaf,
            1 => one_of,
            1 => number.clone().prop_map(|a| format!("present({a})")),
            1 => number.prop_map(|a| format!("absent({a})")),
            1 => Just("verified".to_owned()),
            1 => Just("true".to_owned()),
            3 => super::text_tests::source(),
        ]
        .boxed();
    }
    leaf.prop_recursive(4, 24, 3, |inner| {
        let pair = (inner.clone(), inner.clone());
        prop_oneof![
            pair.clone().prop_map(|(a, b)| format!("{a} && {b}")),
            pair.clone().prop_map(|(a, b)| format!("({a} || {b})")),
            pair.clone().prop_map(|(a, b)| format!("({a} == {b})")),
            inner.clone().prop_map(|a| format!("!({a})")),
            (inner, pair).prop_map(|(c, (a, b))| format!("({c} ? {a} : {b})")),
        ]
    })
    .boxed()
}

fn row() -> impl Strategy<Value = Row> {
    // A category is one of two declared values, or something else.
    let categories = || prop::sample::select(vec![0.0_f32, 1.0, 2.0, f32::NAN]);
    (prop::array::uniform9(value()), categories(), categories()).prop_map(
        |(mut row, country, billing)| {
            row[slot("country")] = country;
            row[slot("billing")] = billing;
            row
        },
    )
}

fn value() -> impl Strategy<Value = f32> {
    prop_oneof![
        3 => (-20_i32..20).prop_map(|n| n as f32 * 0.25),
        3 => (-20_i32..20).prop_map(|n| (f64::from(n) * 0.13) as f32),
        1 => Just(f32::NAN),
        1 => Just(f32::INFINITY),
        1 => Just(-0.0_f32),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Where both forms can, both say the same, whatever is absent.
    #[test]
    fn compiled_equals_interpreted(source in truth_source(false), row in row()) {
        let names = Known;
        match Program::compile(&source, &names) {
            Ok(program) => {
                prop_assert!(program.is_compiled(), "{source}");
                let parsed = parse::parse(&source).unwrap();
                let interpreted = Interpreted::new(&parsed, &names).unwrap();
                let holds = interpreted.holds(|slot| row[slot as usize]);
                prop_assert_eq!(program.eval(&row), holds, "{} over {:?}", source, row);
            }
            Err(ExprError::TooLarge { .. }) => {}
            Err(error) => prop_assert!(false, "{source}: {error}"),
        }
    }

    /// Where nothing is absent, a condition means what it means in plain CEL.
    #[test]
    fn compiled_equals_plain_cel(source in truth_source(true), row in prop::array::uniform9(-3_i32..4)) {
        let row = row.map(|n| n as f32);
        let program = match Program::compile(&source, &Known) {
            Ok(program) => program,
            Err(ExprError::TooLarge { .. }) => return Ok(()),
            Err(error) => panic!("{source}: {error}"),
        };
        let mut context = cel::Context::default();
        for (index, name) in NAMES.iter().enumerate().filter(|(_, name)| !name.contains('.')) {
            context.add_variable_from_value(*name, f64::from(row[index]));
        }
        let plain = cel::Program::compile(&source).unwrap().execute(&context);
        prop_assert_eq!(plain, Ok(cel::Value::Bool(program.eval(&row))), "{} over {:?}", source, row);
    }

    /// Any text gives a program or an error, and any program runs.
    #[test]
    fn any_text_is_answered(source in any_source(), row in row()) {
        if let Ok(program) = Program::compile(&source, &Known) {
            program.eval(&row);
            program.eval(&[]);
        }
    }
}

/// Characters at random, and tokens at random, which get further.
fn any_source() -> BoxedStrategy<String> {
    let tokens = prop::sample::select(vec![
        "score",
        "verified",
        "account.messages.10m",
        "country",
        "billing",
        "\"NL\"",
        "\"UK\"",
        "'",
        "1",
        "2.5",
        "1u",
        "0x1f",
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
        ".",
        ",",
        "?",
        ":",
        "+",
        "-",
        "*",
        "/",
        "%",
        "!",
        "<",
        "<=",
        "==",
        "!=",
        "&&",
        "||",
        "in",
        "true",
        "null",
        "has",
        "max",
        "size",
        "exists",
        "x",
        "filter",
        "`a`",
        "//",
        "\n",
        " ",
        "[score].exists(x, x",
        ".map(x,",
        "abs(",
        "b'a'",
        "é",
        "if",
        "@",
        "1e",
        "9999999999999999999",
    ]);
    prop_oneof![
        any::<String>(),
        "[ -~]{0,60}",
        prop::collection::vec(tokens, 0..24).prop_map(|tokens| tokens.join(" ")),
    ]
    .boxed()
}
