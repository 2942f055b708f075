//! Files of other forms than lines of JSON, and files that are not what they should be.

use crate::bad_input::{CONFIG, RUN, event};
use crate::support::Scratch;
use serde_json::Value;

#[test]
fn a_file_of_labels_without_a_label_is_refused() {
    let s = Scratch::new();
    s.write("conf.toml", CONFIG);
    s.write("in", event(1_767_225_600_000, ""));
    for (labels, said) in [
        (&b"account,label,ts\nu1,perhaps,1767225600001\n"[..], "the first is line 2"),
        (br#"{"account":"u1","ts":1767225600001}"#, "none of its 1 lines"),
        (b"what\never\n", "none of its 2 lines"),
    ] {
        s.write("labels", labels);
        let outcome = s.run(&format!("{RUN} --input in --labels labels"));
        assert_eq!(outcome.code, Some(1), "{}", outcome.stderr);
        assert!(outcome.stderr.contains(said), "{said}: {}", outcome.stderr);
    }
}

/// Rows that cannot be read are dead letters with their line; others are taken, and a last row without its end is left to the next run.
#[test]
fn rows_of_csv_are_taken_or_refused_one_by_one() {
    let s = Scratch::new();
    s.write("conf.toml", CONFIG);
    let t = 1_767_225_600_000i64;
    let rows = [
        ",ts,type,account,entities.device".to_owned(),
        format!("0,{t},login,u1,d1"),
        format!("1,{t},login,u2,d2,more"),
        format!("2,{t},login,\"u3,d3"),
        format!("3,{t},login,\"u4"),
        format!("4,{t},login,u5,d\u{e9}"),
        format!("5,{t},login,u6"),
        format!("6,{t},login,u7,d"),
    ];
    let latin: Vec<u8> = rows.join("\n").chars().map(|c| c as u8).collect();
    s.write("in", &latin);
    let outcome = s.run(&format!("{RUN} --input in --state state")).good();
    let dead: Vec<(Value, Value)> =
        s.lines("d").into_iter().map(|d| (d["line"].clone(), d["code"].clone())).collect();
    let wanted: Vec<(Value, Value)> =
        [3, 4, 5].map(|line| (line.into(), "undecodable".into())).into();
    assert_eq!(dead, wanted, "{}", outcome.stderr);
    let summary = outcome.summary();
    assert_eq!(summary["rejected"][0]["detail"], "the row has 6 cells, and the header names 5");
    assert_eq!(summary["field_faults"][0]["field"], "entities.device");
    assert_eq!(summary["field_faults"][0]["first_line"], 6);
    assert!(summary["unfinished_bytes"].as_u64() > Some(0), "{summary}");
    let accounts = |name: &str| -> Vec<String> {
        s.lines(name).iter().map(|score| score["account"].to_string()).collect()
    };
    assert_eq!(accounts("s"), ["\"u1\"", "\"u5\"", "\"u6\""]);
    // The rest of the row has come.
    s.write("in", [&latin[..], b"7\n"].concat());
    s.run(&format!("{RUN} --input in --state state")).good();
    assert_eq!(accounts("s"), ["\"u1\"", "\"u5\"", "\"u6\"", "\"u7\""]);
    // Without a state nothing comes later.
    s.write("in", &latin);
    s.run(&format!("{RUN} --input in")).good();
    assert_eq!(accounts("s"), ["\"u1\"", "\"u5\"", "\"u6\"", "\"u7\""]);
}

#[test]
fn an_array_that_is_cut_off_ends_with_an_error() {
    let s = Scratch::new();
    s.write("conf.toml", CONFIG);
    let array = |events: &[Vec<u8>]| [b"[", &events.join(&b","[..])[..]].concat();
    let events = [event(1_767_225_600_000, ""), event(1_767_225_600_001, "")];
    s.write("in", array(&events));
    let outcome = s.run(&format!("{RUN} --input in"));
    assert_eq!(outcome.code, Some(1), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("the array has no end"), "{}", outcome.stderr);
    assert_eq!(s.lines("s").len(), 2, "everything before was processed");
    s.write("in", [array(&events), b"]\n".to_vec(), array(&events[..1]), b"]".to_vec()].concat());
    let twice = s.run(&format!("{RUN} --input in")).good();
    assert_eq!(twice.summary()["events"], 3, "arrays may follow one another");
}
