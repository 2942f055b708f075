//! Conditions of rules and counters over real events: text that is not declared, and numbers in every spelling.

mod support;

use engine::{Engine, Options};
use support::{Message, Run, config, engine};

const NAMES: &str = r#"
[events]
types = ["message", "login"]
[attributes.amount]
[attributes.country]
type = "category"
values = ["GB", "NL"]
[attributes.billing]
type = "category"
values = ["GB", "NL"]
[kinds.device]
[policy]
cooldown = "0s"
"#;

fn with_rule(when: &str) -> String {
    let when = toml::Value::String(when.to_owned());
    format!(
        "{NAMES}\n[[rules]]\nname = \"r\"\nwhen = {when}\naction = \"observe\"\nexpires = \"1ms\"\n"
    )
}

fn problems(toml: &str) -> Vec<String> {
    Engine::new(config(toml), None, Options::default()).err().unwrap_or_default()
}

/// The columns that are text, and a declared value of each.
const TEXTS: [(&str, &str, &str); 7] = [
    ("event.country", "NL", "nl"),
    ("event.type", "message", "mesage"),
    ("account.last_type", "message", "mesage"),
    ("received.last_type", "login", "logni"),
    ("target.account.last_type", "message", "mesage"),
    ("target.received.last_type", "login", "logins"),
    ("device.last_type", "login", "logni"),
];

#[test]
fn undeclared_text_is_refused_with_the_nearest_for_every_name() {
    for (name, declared, wrong) in TEXTS {
        for when in [
            "{} == \"W\"",
            "\"W\" != {}",
            "{} in [\"D\", \"W\"]",
            "score > 2 && ({} == \"W\" || score < 0)",
            "(score > 0.5 ? {} : {}) == \"W\"",
            "{} == (score > 0.5 ? \"D\" : \"W\")",
            "[score].exists(x, x > 0.5 && {} == \"W\")",
        ] {
            let when = when.replace("{}", name);
            let good = when.replace("\"W\"", &format!("\"{declared}\""));
            let good = good.replace("\"D\"", &format!("\"{declared}\""));
            assert_eq!(problems(&with_rule(&good)), [""; 0], "{good}");
            let bad = when.replace("\"W\"", &format!("\"{wrong}\""));
            let bad = bad.replace("\"D\"", &format!("\"{declared}\""));
            let found = problems(&with_rule(&bad));
            let hint = format!("did you mean `{declared}`?");
            assert!(found.len() == 1 && found[0].contains(&hint), "{bad}: {found:?}");
            assert!(
                found[0].contains(&format!("`{wrong}` is not a declared value of")),
                "{found:?}"
            );
        }
    }
    for (when, hint) in [("type == \"mesage\"", "`message`"), ("country == \"gb\"", "`GB`")] {
        let counter = format!("{NAMES}\n[[counters]]\nname = \"c\"\nwhen = '{when}'\n");
        let found = problems(&counter);
        assert!(found.len() == 1 && found[0].contains(hint), "{when}: {found:?}");
    }
    let found = problems(&with_rule("event.country == \"UK\""));
    assert!(found[0].contains("declared: GB, NL"), "{found:?}");
}

/// Whether a rule with this condition acts on the last of some events.
fn acts(when: &str, events: &[serde_json::Value]) -> bool {
    let mut run = Run::new(engine(&config(&with_rule(when)), None, Options::default()));
    let mut before = 0;
    for (n, event) in events.iter().enumerate() {
        before = run.output.actions().len();
        let mut event = event.clone();
        let fields = event.as_object_mut().expect("an object");
        fields.insert("event_id".into(), format!("e{n}").into());
        fields.insert("ts".into(), (1_000_000_000 + n as i64 * 60_000).into());
        fields.entry("account").or_insert("ann".into());
        fields.entry("type").or_insert("message".into());
        run.step(&[Message::Event(event.to_string())]);
    }
    run.output.actions().len() > before
}

#[test]
fn values_that_are_not_declared_equal_nothing() {
    let values = [Some("GB"), Some("NL"), Some("UK"), Some("FR"), None];
    let declared = |text: &str| ["GB", "NL"].contains(&text);
    for country in values {
        for billing in values {
            let event = serde_json::json!({"attributes": {"country": country, "billing": billing}});
            let both = country.zip(billing);
            let same = both.is_some_and(|(one, other)| one == other && declared(one));
            let differ =
                both.is_some_and(|(one, other)| one != other && (declared(one) || declared(other)));
            for (expected, when) in [
                (country == Some("NL"), "event.country == \"NL\""),
                (country.is_some() && country != Some("NL"), "event.country != \"NL\""),
                (country.is_some_and(declared), "event.country in [\"NL\", \"GB\"]"),
                (same, "event.country == event.billing"),
                (differ, "event.country != event.billing"),
                (same, "[score].exists(x, event.country == event.billing)"),
            ] {
                let found = acts(when, std::slice::from_ref(&event));
                assert_eq!(found, expected, "{when} of {country:?}, {billing:?}");
            }
        }
    }
}

#[test]
fn types_that_are_not_declared_equal_nothing() {
    let types = ["message", "login", "payment", "mesage"];
    let declared = |name: &str| ["message", "login"].contains(&name);
    for before in types {
        for now in types {
            let events = [before, now].map(
                |t| serde_json::json!({"type": t, "entities": {"device": "d"}, "target": "bob"}),
            );
            let same = before == now && declared(now);
            let differ = before != now && (declared(before) || declared(now));
            for (expected, when) in [
                (now == "message", "event.type == \"message\""),
                (now != "message", "event.type != \"message\""),
                (!declared(now), "!(event.type in [\"message\", \"login\"])"),
                (before == "message", "account.last_type == \"message\""),
                (before != "login", "account.last_type != \"login\""),
                (before == "message", "device.last_type in [\"message\"]"),
                (before == "login", "target.received.last_type == \"login\""),
                (same, "event.type == account.last_type"),
                (differ, "event.type != account.last_type"),
                (same, "event.type in [device.last_type]"),
                (same, "device.last_type == account.last_type && event.type == device.last_type"),
            ] {
                assert_eq!(acts(when, &events), expected, "{when}: {before} then {now}");
            }
        }
    }
}

#[test]
fn an_amount_equals_itself_in_every_spelling() {
    for amount in ["99.99", "0.1", "-0.3", "1e-7", "123456.789", "16777217"] {
        for when in [
            "event.amount == A",
            "A == event.amount",
            "abs(event.amount) == abs(A)",
            "-event.amount == -(A)",
            "!(event.amount < A) && event.amount <= A",
            "(score >= 0 ? event.amount : 5) >= A && A <= event.amount",
            "min(event.amount, 1e12) == A",
            "event.amount in [1, A]",
            "[event.amount].exists(x, x == A)",
            "[A].exists(x, event.amount == x)",
            "event.amount == max(A, -1e12)",
        ] {
            let when = when.replace('A', amount);
            let event = format!("{{\"attributes\": {{\"amount\": {amount}}}}}");
            let event: serde_json::Value = serde_json::from_str(&event).expect("JSON");
            assert!(acts(&when, &[event]), "{when}");
        }
    }
}
