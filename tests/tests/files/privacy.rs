//! What people wrote or are called never reaches standard error, nor the details of dead letters.

use crate::support::{Chance, Scratch};
use serde_json::{Value, json};
use std::fmt::Write;

const MARK: &str = "zqxmark";

/// Events and labels in which every identifier carries the mark, damaged ones among them.
fn marked() -> (String, String) {
    let (mut events, mut labels, mut chance) = (String::new(), String::new(), Chance(9));
    for i in 0..2000_u64 {
        let account = format!("{MARK}-u{}", chance.below(90));
        let ts = 1_767_225_600_000 + i * 60_000;
        let event = json!({
            "event_id": format!("{MARK}-e{i}"), "ts": ts, "type": "message", "account": account,
            "target": format!("{MARK}-u{}", chance.below(90)),
            "entities": {"device": format!("{MARK}-d{}", chance.below(30)), "ip": [format!("{MARK}-i{}", chance.below(9))]},
            "attributes": {"note": format!("{MARK} {i}"), "amount": i % 17},
        });
        let text = event.to_string();
        let _ = match i % 50 {
            7 => writeln!(events, "{}", &text[..text.len() - 30]),
            11 => writeln!(events, "{}", text.replace("\"message\"", &format!("[\"{MARK}\"]"))),
            12 => writeln!(events, "{}", text.replace("\"account\"", "\"nobody\"")),
            13 => writeln!(events, "{}", text.replace(&ts.to_string(), &format!("\"{MARK}\""))),
            14 => writeln!(
                events,
                "{}",
                text.replace(&format!("\"{account}\""), &format!("[\"{MARK}\"]"))
            ),
            17 => writeln!(events, "{}", text.replace("-d", &"d".repeat(300))),
            19 => writeln!(events, "{MARK} {text}"),
            23 => writeln!(
                events,
                "{}",
                text.replace("\"entities\":{", &format!("\"entities\":\"{MARK}\",\"x\":{{"))
            ),
            29 => writeln!(events, "{}", text.replace(&ts.to_string(), "7253118845000")),
            _ => writeln!(events, "{text}"),
        };
        if i % 20 == 0 {
            let label = json!({"account": account, "label": u8::from(i % 60 == 0), "ts": ts + 1, "source": MARK});
            let _ = writeln!(labels, "{label}");
        }
        if i % 200 == 0 {
            let _ = writeln!(labels, "{{\"account\":\"{MARK}\",\"label\":\"{MARK}\",\"ts\":{ts}}}");
        }
    }
    (events, labels)
}

#[test]
fn identifiers_are_never_on_standard_error() {
    let s = Scratch::new();
    let (events, labels) = marked();
    s.write("events", &events);
    s.write("labels", &labels);
    let mut errors = String::new();
    let mut good = |args: &str| errors.push_str(&s.run(args).good().stderr);
    good("init --events events --labels labels --out conf");
    good(
        "run --config conf --input events --labels labels --output a --scores-out s --dead-letters d --state state",
    );
    good(
        "run --config conf --input events --labels labels --output a --scores-out s --dead-letters d --state state",
    );
    good("run --config conf --input events --labels labels --json");
    good("replay --config conf --events events --labels labels --scores-out s2");
    good(&format!("explain --config conf --state state --account {MARK}-u1"));
    errors.push_str(
        &s.run(&format!("explain --config conf --state state --account {MARK}-none"))
            .bad(1, &[])
            .stderr,
    );
    assert!(!errors.is_empty() && !errors.contains(MARK), "{errors}");

    let dead = s.lines("d");
    // Five of fifty events, and ten labels.
    assert!(dead.len() > 200, "{}", dead.len());
    for letter in dead {
        let mut letter = letter;
        let original = letter["original"].take();
        assert!(original.as_str().is_some_and(|o| o.contains(MARK)));
        assert!(!letter.to_string().contains(MARK), "{letter}");
    }
    assert!(
        s.lines("s")
            .iter()
            .all(|score: &Value| score["account"].as_str().is_some_and(|a| a.contains(MARK)))
    );
}
