//! What a state folder belongs to, and what can be read from it.

use crate::support::{Scratch, stream};
use serde_json::Value;

const RUN: &str =
    "run --config conf --input events --labels labels --output a --scores-out s --state state";

fn finished() -> Scratch {
    let s = Scratch::new();
    stream().put(&s);
    s.run(RUN).good();
    s
}

/// The refusal must leave what is there as it is.
#[track_caller]
fn refused(s: &Scratch, args: &str, words: &[&str]) {
    let before = (s.read("a"), s.read("s"));
    s.run(args).bad(1, words);
    assert!(before == (s.read("a"), s.read("s")), "a refusal changed the outputs");
    s.run(RUN).good();
    assert!(before == (s.read("a"), s.read("s")), "after a refusal the state is no longer good");
}

#[test]
fn a_state_belongs_to_one_input_configuration_and_set_of_outputs() {
    let s = finished();
    let mut other = stream().events.clone();
    other[30] ^= 1;
    s.write("other", &other);
    refused(
        &s,
        &RUN.replace("--input events", "--input other"),
        &["other", "is not the file", "hint: "],
    );
    s.write("short", &stream().events[..5000]);
    refused(
        &s,
        &RUN.replace("--input events", "--input short"),
        &["short", "was cut or replaced", "hint: "],
    );
    refused(
        &s,
        &RUN.replace("--output a", "--output -"),
        &["standard output cannot be cut", "hint: "],
    );
    refused(&s, &format!("{RUN} --no-feedback"), &["labels.feedback", "hint: "]);

    // Other rules: the outputs would not be of one piece. Other features: the records do not fit.
    std::fs::create_dir_all(s.path("rules")).expect("a folder can be made");
    let rules = format!(
        "{}\n[[rules]]\nname = \"extra\"\nwhen = \"score > 0.99\"\naction = \"observe\"\n",
        stream().config
    );
    s.write("rules/detector.toml", rules);
    refused(&s, &RUN.replace("--config conf", "--config rules"), &["policy", "hint: "]);
    std::fs::create_dir_all(s.path("features")).expect("a folder can be made");
    s.write("features/detector.toml", "[kinds.device]\n");
    refused(&s, &RUN.replace("--config conf", "--config features"), &["feature set", "hint: "]);
}

#[test]
fn another_file_of_labels_is_refused() {
    let s = finished();
    let end = stream().labels.iter().position(|b| *b == b'\n').expect("a line") + 1;
    s.write("labels2", &stream().labels[end..]);
    refused(
        &s,
        &RUN.replace("--labels labels", "--labels labels2"),
        &["labels", "not the first ones of the file", "hint: "],
    );
    refused(&s, &RUN.replace("--labels labels", ""), &["labels", "hint: "]);
    // A label that stands at the end of the file but became known early would shift all others.
    let early = br#"{"account":"a1","label":1,"ts":1}"#;
    s.write("labels3", [stream().labels.as_slice(), early].concat());
    refused(
        &s,
        &RUN.replace("--labels labels", "--labels labels3"),
        &["labels", "not the first ones of the file", "hint: "],
    );
    // One that became known after all others is what is expected of a file that grows.
    let late = br#"{"account":"a1","label":1,"ts":9000000000000}"#;
    s.write("labels4", [stream().labels.as_slice(), late].concat());
    s.run(&RUN.replace("--labels labels", "--labels labels4")).good();
}

#[test]
fn another_privacy_key_is_refused() {
    let s = Scratch::new();
    stream().put(&s);
    std::fs::create_dir_all(s.path("secret")).expect("a folder can be made");
    let with_key = |key: &str| {
        let config = &stream().config;
        assert_eq!(config.matches("\n[privacy]\n").count(), 1);
        let text = config.replace("\n[privacy]\n", &format!("\n[privacy]\nkey = \"{key}\"\n"));
        s.write("secret/detector.toml", text);
    };
    let run = RUN.replace("--config conf", "--config secret");
    with_key("a secret of some length");
    s.run(&run).good();
    let before = (s.read("a"), s.read("s"));
    with_key("another secret of some length");
    s.run(&run).bad(1, &["privacy.key", "hint: "]);
    assert!(before == (s.read("a"), s.read("s")), "a refusal changed the outputs");
    with_key("a secret of some length");
    s.run(&run).good();
    assert!(before == (s.read("a"), s.read("s")));
}

#[test]
fn outputs_that_were_cut_or_removed_are_noticed() {
    let s = finished();
    let scores = s.read("s");
    s.write("s", &scores[..100]);
    s.run(RUN).bad(1, &["s to write", "100 bytes", "hint: "]);
    s.write("s", &scores);
    s.run(RUN).good();
    assert!(s.read("s") == scores);
}

#[test]
fn a_longer_file_goes_on_where_the_shorter_ended() {
    let s = Scratch::new();
    stream().put(&s);
    let half = stream().events.len() / 2;
    let half = half + stream().events[half..].iter().position(|b| *b == b'\n').expect("a line") + 1;
    s.write("events", &stream().events[..half]);
    let run = "run --config conf --input events --scores-out s --state state";
    s.run(run).good();
    s.write("events", &stream().events);
    let went_on = s.run(run).good();
    assert!(went_on.stderr.contains("went on behind line"), "{}", went_on.stderr);
    s.run("run --config conf --input events --scores-out whole").good();
    assert!(s.read("s") == s.read("whole"));
}

#[test]
fn explain_reads_a_state_as_text_json_and_dot() {
    let s = finished();
    let action = s.lines("a").into_iter().find(|a| a["action"] != "reverse").expect("an action");
    let account = action["account"].as_str().expect("an account");
    let explain = format!("explain --config conf --state state --account {account}");
    let text = s.run(&explain).good();
    assert!(text.text().contains(account), "{}", text.text());
    let json = s.run(&format!("{explain} --format json")).good();
    let value: Value = serde_json::from_str(json.text()).expect("it is JSON");
    assert_eq!(value["account"], account);
    let dot = s.run(&format!("{explain} --format dot")).good();
    assert!(
        dot.text().starts_with("graph ") && dot.text().trim_end().ends_with('}'),
        "{}",
        dot.text()
    );
    assert_eq!(dot.text().matches('{').count(), dot.text().matches('}').count());

    let unknown = s.run("explain --config conf --state state --account nobody-at-all");
    unknown.bad(1, &["not known in this state", "hint: "]);
    s.run("explain --config conf --state nowhere --account x")
        .bad(2, &["nowhere", "not a state folder", "hint: "]);
    assert!(!s.path("nowhere").exists(), "reading makes no folders");
}

#[test]
fn replay_leaves_a_state_that_explains_and_is_not_overwritten() {
    let s = Scratch::new();
    stream().put(&s);
    s.run("replay --config conf --events events --labels labels --state-out state").good();
    s.run("replay --config conf --events events --labels labels --state-out state")
        .bad(2, &["holds a state", "hint: "]);
    let account = s.read("events");
    let first: Value =
        serde_json::from_slice(account.split(|b| *b == b'\n').next().expect("a line"))
            .expect("JSON");
    let account = first["account"].as_str().expect("an account");
    s.run(&format!("explain --config conf --state state --account {account}")).good();
}

#[test]
fn a_folder_of_something_else_is_refused_and_nothing_in_it_is_touched() {
    let s = Scratch::new();
    stream().put(&s);
    for (at, (name, content)) in
        [("thesis.txt", "precious"), ("lock", "notes"), ("new/thesis.txt", "precious")]
            .into_iter()
            .enumerate()
    {
        let folder = format!("home{at}");
        std::fs::create_dir_all(s.path(&format!("{folder}/new"))).expect("a folder");
        s.write(&format!("{folder}/kept"), "too");
        s.write(&format!("{folder}/{name}"), content);
        let state = RUN.replace("--state state", &format!("--state {folder}"));
        s.run(&state).bad(1, &["is no state", "hint: "]);
        s.run(&format!("replay --config conf --events events --state-out {folder}"))
            .bad(1, &["is no state", "hint: "]);
        assert!(s.read(&format!("{folder}/{name}")) == content.as_bytes(), "{name}");
    }
    std::fs::create_dir_all(s.path("alone/new")).expect("a folder");
    s.write("alone/new/thesis.txt", "precious");
    s.run(&RUN.replace("--state state", "--state alone")).bad(1, &["is no state"]);
    assert!(s.read("alone/new/thesis.txt") == b"precious");
    // A link in the place of the lock.
    std::fs::create_dir(s.path("linked")).expect("a folder");
    s.write("victim", "precious");
    std::os::unix::fs::symlink("../victim", s.path("linked/lock")).expect("a link");
    let state = RUN.replace("--state state", "--state linked");
    s.run(&state).bad(1, &["is no state"]);
    assert!(s.read("victim") == b"precious");
}
