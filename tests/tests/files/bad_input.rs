//! Whatever comes in: a clear message or a dead letter, every line accounted for, and never a panic.

use crate::support::{Outcome, Scratch, all_lines_accounted_for, gzip, stream, zstd};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::fmt::Write;

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// A configuration that knows enough names for all tables here.
pub const CONFIG: &str = "
[events]
types = [\"login\"]
[attributes.amount]
type = \"number\"
[kinds.device]
strong = true
";

pub const RUN: &str = "run --config conf.toml --output a --scores-out s --dead-letters d --json";

pub fn event(ts: i64, rest: &str) -> Vec<u8> {
    format!(r#"{{"ts":{ts},"type":"login","account":"u1"{rest}}}"#).into_bytes()
}

/// Lines, and the code under which each is rejected; `None`: it is taken.
fn lines() -> Vec<(Vec<u8>, Option<&'static str>)> {
    let t = 1_767_225_600_000;
    let deep =
        |open: &str, close: &str, n: usize| format!("{}1{}", open.repeat(n), close.repeat(n));
    let mut table = vec![
        (event(t, ""), None),
        // Broken off, or not JSON at all.
        (event(t, "")[..20].to_vec(), Some("not_json")),
        (b"{".to_vec(), Some("not_json")),
        (b"login u1".to_vec(), Some("not_json")),
        (event(t, "} {"), Some("not_json")),
        (
            br#"{"ts":1767225600000,"type":"login","account":"?"}"#.map(|b| if b == b'?' { 0xff } else { b }).to_vec(),
            Some("bad_text"),
        ),
        (b"\xef\xbb\xbf\xff".to_vec(), Some("not_utf8")),
        (b"[]".to_vec(), Some("not_an_object")),
        (b"null".to_vec(), Some("not_an_object")),
        (b"17".to_vec(), Some("not_an_object")),
        (b"\"text\"".to_vec(), Some("not_an_object")),
        // Absent, empty, of the wrong type.
        (b"{}".to_vec(), Some("missing_field")),
        (br#"{"type":"login","account":"u1"}"#.to_vec(), Some("missing_field")),
        (br#"{"ts":1767225600000,"type":"login"}"#.to_vec(), Some("missing_field")),
        (br#"{"ts":1767225600000,"type":"login","account":null}"#.to_vec(), Some("missing_field")),
        (br#"{"ts":1767225600000,"type":"login","account":""}"#.to_vec(), Some("empty")),
        (br#"{"ts":1767225600000,"type":"login","account":["u1"]}"#.to_vec(), Some("wrong_type")),
        (br#"{"ts":true,"type":"login","account":"u1"}"#.to_vec(), Some("wrong_type")),
        (br#"{"ts":1767225600000,"type":"login","account":"\ud83d"}"#.to_vec(), Some("bad_text")),
        // Times.
        (event(-1, ""), Some("bad_ts")),
        (event(i64::MIN, ""), Some("bad_ts")),
        (event(253_402_300_800_000, ""), Some("bad_ts")),
        (event(i64::MAX, ""), Some("bad_ts")),
        (br#"{"ts":1e300,"type":"login","account":"u1"}"#.to_vec(), Some("bad_ts")),
        (br#"{"ts":"tomorrow","type":"login","account":"u1"}"#.to_vec(), Some("bad_ts")),
        (
            br#"{"ts":"1960-01-01T00:00:00Z","type":"login","account":"u1"}"#.to_vec(),
            Some("bad_ts"),
        ),
        (br#"{"ts":"2200-01-01T00:00:00Z","type":"login","account":"u1"}"#.to_vec(), None),
        (event(253_402_300_799_999, ""), None),
        (event(0, ""), None),
        (br#"{"ts":"2026-01-01T00:00:10","type":"login","account":"u1"}"#.to_vec(), Some("bad_ts")),
        (br#"{"ts":"1767225600003","type":"login","account":"u1"}"#.to_vec(), None),
        (br#"{"ts":"2026-01-01T00:00:10+02:00","type":"login","account":"u1"}"#.to_vec(), None),
        (br#"{"ts":1767225600003.75,"type":"login","account":"u1"}"#.to_vec(), None),
        // Caps.
        (event(t, &format!(r#","x":"{}""#, "y".repeat(2 << 20))), Some("too_large")),
        (vec![b'z'; 10 << 20], Some("too_large")),
        (vec![0xff; 100_000], Some("not_utf8")),
        // Nesting.
        (event(t + 4, &format!(r#","x":{}"#, deep("[", "]", 100))), None),
        (deep("[", "]", 200_000).into_bytes(), Some("not_an_object")),
        (deep("{\"a\":", "}", 100_000).into_bytes(), Some("missing_field")),
        (vec![b'['; 500_000], Some("not_an_object")),
        // What is more than asked for, or of a kind that nobody declared, does not harm.
        (
            event(
                t + 5,
                r#","entities":{"planet":{"a":1}},"attributes":{"other":[1]},"more":[{}]"#,
            ),
            None,
        ),
        (event(t + 6, r#","entities":{"device":[1,"a",null,""," "]},"target":12"#), None),
        (event(t + 7, r#","account":"u2","account":"u3""#), None),
        (b"".to_vec(), None),
        (b" \t\r".to_vec(), None),
        (event(t + 8, r#","event_id":"twice""#), None),
        (event(t + 8, r#","event_id":"twice""#), None),
        (event(t + 9, r#","entities":null,"attributes":null,"target":null"#), None),
        (event(t + 10, "\u{0}"), Some("not_json")),
    ];
    table.push((event(t + 11, ""), None));
    table
}

#[test]
fn every_bad_line_becomes_a_dead_letter_and_every_line_is_accounted_for() {
    let s = Scratch::new();
    s.write("conf.toml", CONFIG);
    let lines = lines();
    let input = lines.iter().map(|(line, _)| line.as_slice()).collect::<Vec<_>>().join(&b'\n');
    s.write("in", &input);
    let outcome = s.run(&format!("{RUN} --input in")).good();
    let dead = s.lines("d");
    let mut found = dead.iter();
    for (number, (line, code)) in lines.iter().enumerate() {
        let Some(code) = code else { continue };
        let letter =
            found.next().unwrap_or_else(|| panic!("line {} is no dead letter", number + 1));
        let shown = String::from_utf8_lossy(&line[..line.len().min(80)]);
        assert_eq!(
            (&letter["line"], &letter["code"]),
            (&Value::from(number + 1), &Value::from(*code)),
            "{shown}"
        );
        assert_eq!(letter["stream"], "events");
        assert_eq!(letter["size"], line.len(), "{shown}");
        assert_eq!(letter["sha256"], sha256(line), "{shown}");
        assert_eq!(letter["truncated"], line.len() > 64 << 10, "{shown}");
        let kept = &line[..line.len().min(64 << 10)];
        match std::str::from_utf8(kept) {
            Ok(text) => assert_eq!(letter["original"], text),
            Err(_) => assert!(
                letter["original_hex"].as_str().is_some_and(|hex| hex.len() == 2 * kept.len())
            ),
        }
        assert!(letter["detail"].as_str().is_some_and(|d| !d.is_empty()));
    }
    assert!(found.next().is_none(), "good lines became dead letters: {dead:?}");
    all_lines_accounted_for(&input, &s.lines("s"), &dead, &outcome.summary());
    assert_eq!(outcome.summary()["redelivered"], 1);
    assert_eq!(outcome.summary()["rejects"], dead.len());
    // The same by replay, with the same dead letters.
    s.run("replay --config conf.toml --events in --scores-out s2 --dead-letters d2").good();
    assert!(s.read("d") == s.read("d2") && s.read("s") == s.read("s2"));
}

#[test]
fn one_odd_field_costs_its_value_and_is_counted() {
    let t = 1_767_225_600_000;
    let long = "k".repeat(257);
    let keys: Vec<String> = (0..33).map(|i| format!("\"d{i}\"")).collect();
    let keys = keys.join(",");
    let table: Vec<(String, Option<(&str, &str)>)> = vec![
        (String::new(), None),
        (r#","bio":"hi \ud83d","x":NaN"#.into(), None),
        (r#","event_id":{}"#.into(), Some(("event_id", "wrong_type"))),
        (r#","target":false"#.into(), Some(("target", "wrong_type"))),
        (r#","entities":"d1""#.into(), Some(("entities", "wrong_type"))),
        (r#","entities":["d1"]"#.into(), Some(("entities", "wrong_type"))),
        (r#","entities":{"device":{"id":1}}"#.into(), Some(("entities.device", "wrong_type"))),
        (r#","entities":{"device":[["d"]]}"#.into(), Some(("entities.device", "wrong_type"))),
        (r#","entities":{"device":"\ud83d"}"#.into(), Some(("entities.device", "bad_text"))),
        (r#","attributes":7"#.into(), Some(("attributes", "wrong_type"))),
        (r#","attributes":{"amount":[1]}"#.into(), Some(("attributes.amount", "wrong_type"))),
        (r#","attributes":{"amount":NaN}"#.into(), Some(("attributes.amount", "bad_value"))),
        (r#","attributes":{"amount":-Infinity}"#.into(), Some(("attributes.amount", "bad_value"))),
        (r#","attributes":{"amount":1e999}"#.into(), Some(("attributes.amount", "out_of_range"))),
        (r#","attributes":{"amount":-1e308}"#.into(), Some(("attributes.amount", "out_of_range"))),
        (format!(r#","target":"{long}""#), Some(("target", "too_long"))),
        (format!(r#","event_id":"{long}""#), Some(("event_id", "too_long"))),
        (format!(r#","entities":{{"device":"{long}"}}"#), Some(("entities.device", "too_long"))),
        (format!(r#","entities":{{"device":[{keys}]}}"#), Some(("entities.device", "too_many"))),
        (r#","type":{}"#.into(), Some(("type", "wrong_type"))),
    ];
    let lines: Vec<Vec<u8>> =
        table.iter().enumerate().map(|(n, (rest, _))| event(t + n as i64, rest)).collect();
    // The contract's own form, and the same found by a mapping.
    for mapping in ["", "[mapping]\naccount = \"/account\"\n"] {
        let s = Scratch::new();
        s.write("conf.toml", format!("{CONFIG}{mapping}"));
        s.write("in", lines.join(&b'\n'));
        let outcome = s.run(&format!("{RUN} --input in")).good();
        let summary = outcome.summary();
        assert_eq!(summary["events"], table.len());
        assert_eq!(s.lines("s").len(), table.len());
        assert!(s.lines("d").is_empty());
        let counted: Vec<Value> = summary["field_faults"].as_array().cloned().unwrap_or_default();
        let mut wanted = std::collections::BTreeMap::new();
        for (number, (_, fault)) in table.iter().enumerate() {
            if let Some(fault) = fault {
                wanted.entry(*fault).or_insert((0, number + 1)).0 += 1;
            }
        }
        // The last line has its type twice.
        wanted.insert(("type", "duplicate"), (1, table.len()));
        let counted: std::collections::BTreeMap<(&str, &str), (usize, usize)> = counted
            .iter()
            .map(|fault| {
                let text = |key: &str| fault[key].as_str().expect("a text");
                let number = |key: &str| fault[key].as_u64().expect("a number") as usize;
                assert_eq!(fault["of"], "events");
                ((text("field"), text("reason")), (number("messages"), number("first_line")))
            })
            .collect();
        assert_eq!(counted, wanted);
        let said = s.run("run --config conf.toml --input in --output b").good().stderr;
        let line = "field not read as it is: target (wrong_type) in 1 event, first in line 4";
        assert!(said.contains(line), "{said}");
        assert!(!said.contains(&long), "keys are no part of a summary");
    }
}

#[test]
fn wrong_moment_in_front_does_not_make_all_that_follows_wrong() {
    let t = 1_767_225_600_000;
    let good: Vec<Vec<u8>> = (0..40)
        .map(|n| {
            event(t + n * 1_000, &format!(r#","event_id":"e{n}","attributes":{{"amount":{n}}}"#))
        })
        .collect();
    let s = Scratch::new();
    s.write("conf.toml", CONFIG);
    s.write("in", good.join(&b'\n'));
    s.run(&format!("{RUN} --input in")).good();
    let wanted = s.read("s");
    assert_eq!(s.lines("s").len(), good.len());
    for (wrong, counted) in [
        (r#"{"ts":"2200-01-01T00:00:00Z","type":"login","account":"u2"}"#, "ahead"),
        (r#"{"ts":0,"type":"login","account":"u2"}"#, "too_late"),
    ] {
        s.write("wrong", [&[wrong.as_bytes().to_vec()], good.as_slice()].concat().join(&b'\n'));
        let outcome =
            s.run("run --config conf.toml --output a --scores-out s2 --json --input wrong");
        let summary = outcome.good().summary();
        assert_eq!((&summary["rejects"], &summary[counted]), (&0.into(), &1.into()), "{wrong}");
        let scores = s.read("s2");
        let (_, others) = scores.split_at(scores.len() - wanted.len());
        assert!(others == wanted, "{wrong}: the other scores are those of a stream without it");
    }
}

/// One account whose clock is ahead once, as the first line, behind another account's, and in the middle; then a burst.
#[test]
fn own_clock_ahead_once_does_not_hide_a_burst() {
    let t = 1_767_225_600_000i64;
    let line = |id: String, ts_ms: i64, account: &str| {
        format!(r#"{{"event_id":"{id}","ts":{ts_ms},"type":"login","account":"{account}"}}"#)
    };
    let s = Scratch::new();
    s.write(
        "conf.toml",
        "[events]\ntypes = [\"login\"]\n[[counters]]\nname = \"logins\"\nwindows = [\"10m\"]\n[policy]\nwarm_up = \"0s\"\n[[rules]]\nname = \"spam\"\n\
         when = \"account.logins.in_10m >= 5\"\naction = \"suspend\"\nexpires = \"1d\"\n",
    );
    for lead_ms in [360_000, 43_200_000, 40_000_000_000] {
        for (before, place) in [(0, 0), (0, 3), (1, 0), (1, 3)] {
            let others = (0..before).map(|n| line(format!("o{n}"), t - 60_000, "other"));
            let mut own: Vec<String> =
                (0..60).map(|n| line(format!("e{n}"), t + n * 1_000, "spammer")).collect();
            own.insert(place, line("ahead".into(), t + lead_ms, "spammer"));
            s.write("in", others.chain(own).collect::<Vec<_>>().join("\n"));
            s.run("run --config conf.toml --input in --output a").good();
            let actions = s.lines("a");
            let case = format!("{lead_ms} ms, {before} before, at {place}: {actions:?}");
            assert_eq!(actions.len(), 1, "{case}");
            assert_eq!(
                (&actions[0]["action"], &actions[0]["account"]),
                (&"suspend".into(), &"spammer".into()),
                "{case}"
            );
        }
        // Several in front of everything, of one account or of two.
        for (ahead, accounts) in [(2, 1), (10, 1), (2, 2), (10, 2)] {
            let wrong = (0..ahead).map(|n| {
                line(format!("w{n}"), t + lead_ms + n * 1_000, &format!("ahead{}", n % accounts))
            });
            let burst = (0..60).map(|n| line(format!("e{n}"), t + n * 1_000, "spammer"));
            s.write("in", wrong.chain(burst).collect::<Vec<_>>().join("\n"));
            s.run("run --config conf.toml --input in --output a").good();
            let actions = s.lines("a");
            let suspended = actions.iter().filter(|a| a["account"] == "spammer").count();
            assert_eq!(suspended, 1, "{lead_ms} ms, {ahead} of {accounts} accounts: {actions:?}");
        }
    }
}

#[test]
fn bad_labels_become_dead_letters_too() {
    let s = Scratch::new();
    s.write("conf.toml", CONFIG);
    s.write("in", event(1_767_225_600_000, ""));
    let table: [(&[u8], Option<&str>); 12] = [
        (br#"{"account":"u1","label":1,"ts":1767225600001}"#, None),
        (br#"{"account":"u1","label":2,"ts":1767225600001}"#, Some("bad_value")),
        (br#"{"account":"u1","label":"perhaps","ts":1767225600001}"#, Some("bad_value")),
        (br#"{"account":"u1","ts":1767225600001}"#, Some("missing_field")),
        (br#"{"label":1,"ts":1767225600001}"#, Some("missing_field")),
        (br#"{"account":"u1","label":1}"#, Some("missing_field")),
        (br#"{"account":"u1","label":1,"ts":-5}"#, Some("bad_ts")),
        (br#"{"type":"erase","ts":1767225600001}"#, Some("missing_field")),
        (br#"{"account":"u1","label":1,"#, Some("not_json")),
        (b"\xff\xff", Some("not_utf8")),
        (b"", None),
        (br#"{"account":"nobody","label":"false","ts":1767225600002,"confidence":0}"#, None),
    ];
    s.write("labels", table.map(|(line, _)| line).join(&b'\n'));
    let outcome = s.run(&format!("{RUN} --input in --labels labels")).good();
    let dead: Vec<(Value, Value)> =
        s.lines("d").into_iter().map(|d| (d["line"].clone(), d["code"].clone())).collect();
    let wanted: Vec<(Value, Value)> = table
        .iter()
        .enumerate()
        .filter_map(|(i, (_, code))| Some((Value::from(i + 1), Value::from((*code)?))))
        .collect();
    assert_eq!(dead, wanted);
    assert!(s.lines("d").iter().all(|d| d["stream"] == "labels"));
    assert_eq!(outcome.summary()["labels"], 2);
    assert_eq!(outcome.summary()["labels_unknown"], 1);
}

#[test]
fn an_empty_file_is_no_error() {
    let s = Scratch::new();
    s.write("conf.toml", CONFIG);
    s.write("empty", "");
    s.write("blank", "\n\n  \n");
    s.write("empty.gz", gzip(b""));
    s.write("empty.zst", zstd(b""));
    for name in ["empty", "empty.gz", "empty.zst"] {
        let outcome = s.run(&format!(
            "run --config conf.toml --output a --scores-out s --input {name} --labels empty"
        ));
        assert!(outcome.good().stderr.contains("the input is empty"), "{name}");
        assert!(s.read("a").is_empty() && s.read("s").is_empty());
    }
    let blank = s.run(&format!("{RUN} --input blank")).good();
    assert_eq!(
        (&blank.summary()["lines"], &blank.summary()["events"]),
        (&Value::from(3), &Value::from(0))
    );
    let empty = s.run("init --events empty --out conf");
    assert!(matches!(empty.code, Some(0 | 1)));
    assert!(empty.code == Some(0) || empty.stderr.contains("error: "));
}

#[test]
fn files_that_cannot_be_read_are_named() {
    let s = Scratch::new();
    s.write("conf.toml", CONFIG);
    s.write("in", event(1, ""));
    std::fs::create_dir(s.path("folder")).expect("a folder can be made");
    for (option, base) in [
        ("--input", "run --config conf.toml --output a"),
        ("--labels", "run --config conf.toml --output a --input in"),
        ("--events", "replay --config conf.toml --scores-out a"),
        ("--events", "init --out conf"),
    ] {
        s.run(&format!("{base} {option} nowhere"))
            .bad(1, &["error: ", "cannot open nowhere", "hint: "]);
        s.run(&format!("{base} {option} folder"))
            .bad(1, &["error: ", "cannot open folder", "it is a folder", "hint: "]);
        assert!(!s.path("a").exists() && !s.path("conf").exists(), "nothing was begun");
    }
    s.run("run --config conf.toml --input in --output none/a").bad(1, &["none/a", "hint: "]);
    s.run("run --config conf.toml --input in --output folder").bad(1, &["folder", "hint: "]);
    s.run("run --config conf.toml --input in --state in").bad(1, &["the state in in", "hint: "]);
    s.run("run --config conf.toml --input in --model nowhere").bad(2, &["nowhere", "hint: "]);
    s.run("run --config conf.toml --input in --model folder")
        .bad(2, &["folder", "model.toml", "hint: "]);
}

#[test]
fn an_output_never_overwrites_what_is_read_or_another_output() {
    let s = Scratch::new();
    s.write("conf.toml", CONFIG);
    let input = event(1, "");
    s.write("in", &input);
    s.write("l", "");
    std::fs::hard_link(s.path("in"), s.path("hard")).expect("a link");
    std::os::unix::fs::symlink("in", s.path("soft")).expect("a link");
    std::fs::hard_link(s.path("l"), s.path("l2")).expect("a link");
    for outputs in [
        "--output in",
        "--scores-out ./in",
        "--dead-letters in",
        "--output l",
        "--output a --scores-out a",
        // Other names of the same files.
        "--output hard",
        "--output soft",
        "--dead-letters l2",
    ] {
        s.run(&format!("run --config conf.toml --input in --labels l {outputs}"))
            .bad(2, &["hint: "]);
    }
    s.run("run --config conf.toml --input in --output - --scores-out -").bad(2, &["hint: "]);
    for command in [
        "replay --config conf.toml --events in --scores-out in",
        "replay --config conf.toml --events in --rows-out hard",
        "replay --config conf.toml --events in --rows-out r --scores-out r",
        "evaluate --config conf.toml --events in --labels l --report soft",
        "simulate --accounts 300 --events 10 --events-out e --labels-out ./e",
    ] {
        s.run(command).bad(2, &["hint: "]);
    }
    assert!(s.read("in") == input);
}

/// What was read before the damage is processed, and the line is named.
#[track_caller]
fn broke_off(s: &Scratch, outcome: Outcome, whole: &[u8]) {
    outcome.bad(1, &["error: ", "broken cannot be read beyond line", "hint: "]);
    let scores = s.read("s");
    assert!(scores.len() > 1000 && scores.len() < whole.len() && whole.starts_with(&scores));
}

#[test]
fn a_damaged_archive_is_read_up_to_the_damage() {
    let s = Scratch::new();
    stream().put_config(&s);
    s.write("in", &stream().events);
    s.run("run --config conf --input in --scores-out whole").good();
    let whole = s.read("whole");
    for pack in [gzip, zstd] {
        let packed = pack(&stream().events);
        s.write("broken", &packed[..packed.len() * 2 / 3]);
        broke_off(&s, s.run("run --config conf --input broken --scores-out s"), &whole);
        // Once more with a state: the same error, and not one line twice.
        let state = format!(
            "run --config conf --input broken --scores-out s --state state{}",
            packed.len()
        );
        broke_off(&s, s.run(&state), &whole);
        let first = s.read("s");
        broke_off(&s, s.run(&state), &whole);
        assert!(s.read("s") == first);

        let mut flipped = packed.clone();
        for byte in &mut flipped[packed.len() / 2..packed.len() / 2 + 64] {
            *byte ^= 0x5a;
        }
        s.write("broken", &flipped);
        let outcome = s.run("run --config conf --input broken --scores-out s");
        outcome.bad(1, &["error: ", "broken cannot be read beyond line", "hint: "]);
        s.run("init --events broken --out conf2").bad(1, &["broken cannot be read"]);
    }
    // Only the magic bytes.
    for magic in [&b"\x1f\x8b"[..], &b"\x28\xb5\x2f\xfd"[..]] {
        s.write("broken", magic);
        s.run("run --config conf --input broken").bad(1, &["broken", "hint: "]);
    }
}

#[test]
fn a_bad_configuration_is_refused_with_all_that_is_wrong() {
    let s = Scratch::new();
    s.write("in", event(1, ""));
    s.run("run --config nowhere --input in")
        .bad(2, &["error: nowhere", "cannot read it", "hint: "]);
    std::fs::create_dir(s.path("folder")).expect("a folder can be made");
    s.run("run --config folder --input in")
        .bad(2, &["folder/detector.toml", "cannot read it", "hint: "]);
    let table: [(&[u8], &[&str]); 13] = [
        (b"\xff\xfe", &["UTF-8"]),
        (b"[graph", &["line 1"]),
        (b"= 3", &["line 1"]),
        (
            b"[graph]\nlinks_per_acount_max = 7\n[nonsense]\n",
            &["did you mean `links_per_account_max`", "nonsense"],
        ),
        (b"[graph]\nlinks_per_account_max = \"many\"\n", &["[graph]", "string"]),
        (b"[graph]\nlinks_per_account_max = -1\n", &["[graph]"]),
        (b"[graph]\ncomponent_window = \"soon\"\n", &["graph.component_window", "soon"]),
        (b"[graph]\ntarget_weight = nan\n", &["weight", "NaN"]),
        (b"[model]\npath = \"${NOT_SET}\"\n", &["line 2", "NOT_SET", "hint: "]),
        (b"[[rules]]\nname = \"x\"\nwhen = \"score >\"\naction = \"review\"\n", &["x"]),
        (
            b"[[rules]]\nname = \"x\"\nwhen = \"scroe > 1\"\naction = \"review\"\n",
            &["scroe", "score"],
        ),
        (b"[[rules]]\nname = \"x\"\nwhen = \"score > 0.5\"\naction = \"explode\"\n", &["explode"]),
        (b"[mapping]\naccount = \"user\"\n", &["mapping.account", "JSON pointer"]),
    ];
    for (text, words) in table {
        s.write("conf.toml", text);
        let words = [words, &["error: conf.toml"]].concat();
        for command in ["run --config conf.toml --input in", "check --config conf.toml"] {
            s.run(command).bad(2, &words);
        }
    }
    s.write("conf.toml", CONFIG);
    for (name, value, words) in [
        ("DETECTOR__GRAPH__NONSENSE", "1", "nonsense"),
        ("DETECTOR__GRAPH__LINKS_PER_ACCOUNT_MAX", "many", "graph"),
        ("DETECTOR__", "1", "DETECTOR__"),
        ("DETECTOR__KINDS__DEVICE__STRONG__X", "1", "strong"),
    ] {
        s.run_with("check --config conf.toml", &[(name, value)], None)
            .bad(2, &["error: conf.toml", words]);
    }
}

#[test]
fn a_secret_is_never_shown_and_may_look_like_a_number() {
    let s = Scratch::new();
    s.write("conf.toml", "[privacy]\nkey = \"${SECRET}\"\n");
    s.write("bare.toml", CONFIG);
    s.write("open.toml", "[privacy]\nkey = \"${SECRET}\n");
    s.write("number.toml", "[privacy]\nkey = ${SECRET}\n");
    s.write("twice.toml", "[privacy]\nkey = \"${SECRET}\"\nkey = \"${SECRET}\"\n");
    let secret = "91736482550918273";
    for (file, env, good) in [
        ("conf.toml", "SECRET", true),
        ("bare.toml", "DETECTOR__PRIVACY__KEY", true),
        ("open.toml", "SECRET", false),
        ("number.toml", "SECRET", false),
        ("twice.toml", "SECRET", false),
    ] {
        let outcome = s.run_with(&format!("check --config {file}"), &[(env, secret)], None);
        assert_eq!(outcome.code, Some(if good { 0 } else { 2 }), "{file}: {}", outcome.stderr);
        assert!(
            !outcome.stderr.contains(secret) && outcome.stdout.is_empty(),
            "{file}: {}",
            outcome.stderr
        );
    }
}

#[cfg(unix)]
#[test]
fn an_environment_that_is_not_text_is_no_reason_to_panic() {
    use std::os::unix::ffi::OsStrExt;
    let s = Scratch::new();
    s.write("conf.toml", CONFIG);
    let mut command = s.command(&["check", "--config", "conf.toml"]);
    let output =
        command.env("ODD", std::ffi::OsStr::from_bytes(b"\xff")).output().expect("the binary runs");
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
}
