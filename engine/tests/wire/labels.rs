//! One table of labels.

use super::*;

#[test]
fn labels_are_read_by_one_table() {
    let table = [
        (r#"{"account":"u","label":1,"ts":5}"#, "u - bad 5 1 []"),
        (
            r#"{"account":"u","event_id":"e","label":0,"ts":5,"confidence":0.25,"source":"m","entities":{"device":["d","d"]}}"#,
            "u e good 5 0.25 [device:d]",
        ),
        (r#"{"event_id":81,"label":true,"ts":"1970-01-01T00:00:01Z"}"#, "- 81 bad 1000 1 []"),
        (r#"{"account":"","event_id":"e","label":0.0,"ts":"5"}"#, "- e good 5 1 []"),
        // Verdicts.
        (r#"{"account":"u","label":"1","ts":5}"#, "u - bad 5 1 []"),
        (r#"{"account":"u","label":"0","ts":5}"#, "u - good 5 1 []"),
        (r#"{"account":"u","label":1.0,"ts":5}"#, "u - bad 5 1 []"),
        (r#"{"account":"u","label":"1.0","ts":5}"#, "u - bad 5 1 []"),
        (r#"{"account":"u","label":"true","ts":5}"#, "u - bad 5 1 []"),
        (r#"{"account":"u","label":"False","ts":5}"#, "u - good 5 1 []"),
        (r#"{"account":"u","label":false,"ts":5}"#, "u - good 5 1 []"),
        (r#"{"account":"u","label":" bad ","ts":5}"#, "u - bad 5 1 []"),
        (r#"{"account":"u","label":"GOOD","ts":5}"#, "u - good 5 1 []"),
        (r#"{"account":"u","label":"fraud","ts":5}"#, "u - bad 5 1 []"),
        (r#"{"account":"u","label":"legit","ts":5}"#, "u - good 5 1 []"),
        (r#"{"account":"u","label":"yes","ts":5}"#, "u - bad 5 1 []"),
        (r#"{"account":"u","label":"no","ts":5}"#, "u - good 5 1 []"),
        (r#"{"account":"u","label":2,"ts":5}"#, "bad_value"),
        (r#"{"account":"u","label":0.5,"ts":5}"#, "bad_value"),
        (r#"{"account":"u","label":-1,"ts":5}"#, "bad_value"),
        (r#"{"account":"u","label":"maybe","ts":5}"#, "bad_value"),
        (r#"{"account":"u","label":NaN,"ts":5}"#, "bad_value"),
        (r#"{"account":"u","label":18446744073709551615,"ts":5}"#, "bad_value"),
        (r#"{"account":"u","label":[1],"ts":5}"#, "wrong_type"),
        (r#"{"account":"u","label":"\ud800","ts":5}"#, "bad_text"),
        (r#"{"account":"u","ts":5}"#, "missing_field"),
        (r#"{"account":"u","ts":5,"label":null}"#, "missing_field"),
        (r#"{"account":"u","ts":5,"label":""}"#, "missing_field"),
        // How sure: it decides as well.
        (r#"{"account":"u","label":1,"ts":5,"confidence":null}"#, "u - bad 5 1 []"),
        (r#"{"account":"u","label":1,"ts":5,"confidence":""}"#, "u - bad 5 1 []"),
        (r#"{"account":"u","label":1,"ts":5,"confidence":"0.5"}"#, "u - bad 5 0.5 []"),
        (r#"{"account":"u","label":1,"ts":5,"confidence":1}"#, "u - bad 5 1 []"),
        (r#"{"account":"u","label":1,"ts":5,"confidence":0}"#, "u - bad 5 0 []"),
        (r#"{"account":"u","label":1,"ts":5,"confidence":7}"#, "bad_value"),
        (r#"{"account":"u","label":1,"ts":5,"confidence":-3}"#, "bad_value"),
        (r#"{"account":"u","label":1,"ts":5,"confidence":95}"#, "bad_value"),
        (r#"{"account":"u","label":1,"ts":5,"confidence":"high"}"#, "bad_value"),
        (r#"{"account":"u","label":1,"ts":5,"confidence":NaN}"#, "bad_value"),
        (r#"{"account":"u","label":1,"ts":5,"confidence":true}"#, "wrong_type"),
        // Everything else may be odd.
        (
            r#"{"account":"u","label":1,"ts":5,"target":{},"attributes":7,"type":"report","source":"\ud83d"}"#,
            "u - bad 5 1 []",
        ),
        (r#"{"account":"u","label":1,"ts":5,"entities":7,"type":[1]}"#, "u - bad 5 1 []"),
        (r#"{"account":["u"],"event_id":"e","label":1,"ts":5}"#, "- e bad 5 1 []"),
        (r#"{"account":["u"],"label":1,"ts":5}"#, "missing_field"),
        (r#"{"type":"erase","account":"u","ts":5}"#, "u - erase 5 1 []"),
        (r#"{"type":"erase","account":"u","ts":5,"label":1}"#, "u - erase 5 1 []"),
        (r#"{"type":"erase","event_id":"e","ts":5}"#, "missing_field"),
        (r#"{"account":"u","label":1}"#, "missing_field"),
        (r#"{"label":1,"ts":5}"#, "missing_field"),
        (r#"{"account":"u","label":1,"ts":-5}"#, "bad_ts"),
        (r#"{"account":"u","label":1,"ts":"2024-02-29T12:00:00"}"#, "bad_ts"),
        ("[]", "not_an_object"),
        ("{", "not_json"),
    ];
    // A mapping is about events.
    for mapping in ["", "account = \"/who\""] {
        check(&decoder(mapping), &table, read_label);
    }
}
