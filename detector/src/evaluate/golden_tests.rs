use super::*;
use engine::Options;

fn fate(hardest: ActionKind, first_action: Option<u64>, reversed: bool) -> Fate {
    Fate { hardest, events: 9, first_action, reversed }
}

#[test]
fn expectations_as_a_table() {
    use ActionKind::{Allow, Challenge, Review};
    for (line, hardest, first, reversed, wrong) in [
        (r#""at_least":"challenge""#, Allow, None, false, Some("none, not at least challenge")),
        (r#""at_least":"challenge""#, Challenge, Some(3), false, None),
        (r#""at_most":"none""#, Allow, None, false, None),
        (r#""at_most":"none""#, Challenge, Some(3), false, Some("challenge, more than none")),
        (
            r#""actions":["challenge","suspend"]"#,
            Review,
            Some(3),
            false,
            Some("review, not challenge or suspend"),
        ),
        (r#""actions":["review"]"#, Review, Some(3), false, None),
        (r#""actions":[]"#, Allow, None, false, None),
        (r#""actions":[]"#, Review, Some(1), false, Some("review, not none")),
        (
            r#""within_events":2"#,
            Review,
            Some(3),
            false,
            Some("first acted on at its event 3, not within 2"),
        ),
        (r#""within_events":3"#, Review, Some(3), false, None),
        (r#""within_events":3"#, Allow, None, false, Some("never acted on, not within 3 events")),
        (r#""reversed":true"#, Review, Some(3), false, Some("not reversed")),
        (r#""reversed":false"#, Review, Some(3), true, Some("reversed")),
        (r#""at_least":"review","reversed":true"#, Review, Some(3), true, None),
    ] {
        let expectation = Expectation::read(&format!("{{\"account\":\"a\",{line}}}")).unwrap();
        let found = expectation.judge(&fate(hardest, first, reversed));
        assert_eq!(found.as_deref(), wrong, "{line}");
    }
}

#[test]
fn lines_that_make_no_sense_are_refused() {
    for (line, part) in [
        (r#"{"at_least":"review"}"#, "`account` is missing"),
        (r#"{"account":"a"}"#, "expects nothing"),
        (r#"{"account":"a","at_least":"hang"}"#, "no action \"hang\"; known: none, allow"),
        (r#"{"account":"a","at_lest":"review"}"#, "unknown field"),
        (r#"{"account":"a","at_least":"review","share":7}"#, "share (7)"),
        ("nonsense", "expected"),
    ] {
        let why = Expectation::read(line).unwrap_err();
        assert!(why.contains(part), "{line}: {why}");
    }
}

#[test]
fn the_longest_name_has_the_say() {
    let read = |line: &str| Expectation::read(line).unwrap();
    let all = [
        read(r#"{"account":"*","at_most":"none"}"#),
        read(r#"{"account":"ring*","at_least":"review","share":0.5}"#),
        read(r#"{"account":"ring-boss","at_least":"ban"}"#),
        read(r#"{"account":"nobody","at_most":"none"}"#),
    ];
    let fates: BTreeMap<String, Fate> = [
        ("ann", fate(ActionKind::Allow, None, false)),
        ("ring1", fate(ActionKind::Review, Some(1), false)),
        ("ring2", fate(ActionKind::Allow, None, false)),
        ("ring-boss", fate(ActionKind::Suspend, Some(1), false)),
    ]
    .map(|(name, fate)| (name.to_string(), fate))
    .into();
    let judged: Vec<(u64, u64, bool)> = all
        .iter()
        .map(|e| judge(e, &all, &fates))
        .map(|j| (j.accounts, j.as_expected, j.passed))
        .collect();
    assert_eq!(judged, [(1, 1, true), (2, 1, true), (1, 0, false), (0, 0, false)]);
    let boss = judge(&all[2], &all, &fates);
    assert_eq!(boss.why.as_deref(), Some("ring-boss: suspend, not at least ban"));
}

const CONFIG: &str = r#"
[events]
types = ["message"]
[[counters]]
name = "events"
windows = ["10m"]
[[rules]]
name = "burst"
when = "account.events.in_10m >= 3"
action = "review"
[[rules]]
name = "watched"
when = "score >= 0"
action = "ban"
shadow = true
"#;

fn engine() -> Engine {
    let config = crate::config::parse(CONFIG, &BTreeMap::new()).unwrap();
    Engine::new(config, None, Options::default()).unwrap()
}

fn scenario(folder: &Path, name: &str, labels: &str, expected: &str) {
    let folder = folder.join(name);
    std::fs::create_dir_all(&folder).unwrap();
    let mut events = String::new();
    for i in 0..6 {
        events += &format!(
            "{{\"event_id\":\"b{i}\",\"ts\":{},\"type\":\"message\",\"account\":\"bot\"}}\n",
            1000 + i
        );
    }
    events += "{\"event_id\":\"a\",\"ts\":2000,\"type\":\"message\",\"account\":\"ann\"}\n";
    std::fs::write(folder.join("events.ndjson"), events).unwrap();
    std::fs::write(folder.join("expected.ndjson"), expected).unwrap();
    if !labels.is_empty() {
        std::fs::write(folder.join("labels.ndjson"), labels).unwrap();
    }
}

#[test]
fn scenarios_run_through_the_line() {
    let folder = tempfile::tempdir().unwrap();
    let bot = r#"{"account":"bot","actions":["review"],"within_events":5}"#;
    scenario(
        folder.path(),
        "burst",
        "",
        &format!("{bot}\n{{\"account\":\"*\",\"at_most\":\"none\"}}\n"),
    );
    let cleared = "{\"account\":\"bot\",\"label\":0,\"ts\":1999,\"source\":\"appeal\"}\n";
    scenario(
        folder.path(),
        "cleared",
        cleared,
        r#"{"account":"bot","at_least":"review","reversed":true}"#,
    );
    scenario(folder.path(), "wrong", "", r#"{"account":"ann","at_least":"observe"}"#);
    let outcomes: Vec<Outcome> =
        scenarios(folder.path()).unwrap().iter().map(|s| run(s, &mut engine()).unwrap()).collect();
    let passed: Vec<(&str, bool)> =
        outcomes.iter().map(|o| (o.scenario.as_str(), o.passed)).collect();
    assert_eq!(passed, [("burst", true), ("cleared", true), ("wrong", false)], "{outcomes:#?}");
    assert_eq!(outcomes[2].expected[0].why.as_deref(), Some("ann: none, not at least observe"));
    assert_eq!(outcomes[0].events, 7);
}

#[test]
fn folders_that_are_not_whole_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let why = |folder: &Path| scenarios(folder).unwrap_err().to_string();
    assert!(why(folder.path()).contains("holds no scenario"));
    assert!(why(&folder.path().join("absent")).contains("absent"));
    scenario(folder.path(), "one", "", "\n{\"account\":\"a\"}\n");
    assert!(why(folder.path()).contains("expected.ndjson:2: it expects nothing"));
    std::fs::remove_file(folder.path().join("one/events.ndjson")).unwrap();
    assert!(why(folder.path()).contains("has no events.ndjson"));
    // A message that cannot be read would make a scenario pass for the wrong reason.
    scenario(folder.path(), "one", "", r#"{"account":"ann","at_most":"none"}"#);
    std::fs::write(folder.path().join("one/events.ndjson"), "{}\n").unwrap();
    let scenario = &scenarios(folder.path()).unwrap()[0];
    let error = run(scenario, &mut engine()).unwrap_err().to_string();
    assert!(error.contains("not one of 1 lines"), "{error}");
    let good = "{\"ts\":1767225600000,\"type\":\"m\",\"account\":\"a\"}\n{}\n";
    std::fs::write(folder.path().join("one/events.ndjson"), good).unwrap();
    let error = run(scenario, &mut engine()).unwrap_err().to_string();
    assert!(error.contains("1 messages cannot be read"), "{error}");
}
