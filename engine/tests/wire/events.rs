//! One table of events, odd fields among them, for every shape.

use super::*;

/// A message in the contract's own form, the event that it is (or the code of its reject), and what is counted.
type Row = (&'static str, &'static str, &'static [&'static str]);

pub(super) const PLAIN: &str = "line-7 5 message u - [] []";

const EVENTS: &[Row] = &[
    (r#"{"ts":5,"type":"message","account":"u"}"#, PLAIN, &[]),
    (
        r#"{"event_id":"e1","ts":5,"type":"sing","account":"u","target":"v"}"#,
        "e1 5 other u v [] []",
        &[],
    ),
    (r#"{"event_id":"","ts":5,"type":"message","account":"u","target":""}"#, PLAIN, &[]),
    (
        r#"{"event_id":null,"ts":5,"type":"message","account":"u","target":null,"entities":null,"attributes":null}"#,
        PLAIN,
        &[],
    ),
    // Time.
    (r#"{"ts":0,"type":"message","account":"u"}"#, "line-7 0 message u - [] []", &[]),
    (
        r#"{"ts":1700000000000.9,"type":"message","account":"u"}"#,
        "line-7 1700000000000 message u - [] []",
        &[],
    ),
    (
        r#"{"ts":"2024-02-29T12:00:00.25Z","type":"message","account":"u"}"#,
        "line-7 1709208000250 message u - [] []",
        &[],
    ),
    (
        r#"{"ts":"2024-02-29T13:00:00+01:00","type":"message","account":"u"}"#,
        "line-7 1709208000000 message u - [] []",
        &[],
    ),
    (
        r#"{"ts":"1700000000000","type":"message","account":"u"}"#,
        "line-7 1700000000000 message u - [] []",
        &[],
    ),
    (
        r#"{"ts":" 1.7e12 ","type":"message","account":"u"}"#,
        "line-7 1700000000000 message u - [] []",
        &[],
    ),
    (r#"{"ts":-1,"type":"message","account":"u"}"#, "bad_ts", &[]),
    (r#"{"ts":-0.5,"type":"message","account":"u"}"#, "bad_ts", &[]),
    (r#"{"ts":253402300800000,"type":"message","account":"u"}"#, "bad_ts", &[]),
    (r#"{"ts":18446744073709551615,"type":"message","account":"u"}"#, "bad_ts", &[]),
    (r#"{"ts":1e300,"type":"message","account":"u"}"#, "bad_ts", &[]),
    (r#"{"ts":"yesterday","type":"message","account":"u"}"#, "bad_ts", &[]),
    (r#"{"ts":"2024-02-29T12:00:00","type":"message","account":"u"}"#, "bad_ts", &[]),
    (r#"{"ts":NaN,"type":"message","account":"u"}"#, "bad_ts", &[]),
    (r#"{"ts":[5],"type":"message","account":"u"}"#, "wrong_type", &[]),
    (r#"{"ts":true,"type":"message","account":"u"}"#, "wrong_type", &[]),
    (r#"{"ts":"\ud83d","type":"message","account":"u"}"#, "bad_text", &[]),
    (r#"{"ts":null,"type":"message","account":"u"}"#, "missing_field", &[]),
    (r#"{"ts":"","type":"message","account":"u"}"#, "empty", &[]),
    // What is required.
    (r#"{"type":"message","account":"u"}"#, "missing_field", &[]),
    (r#"{"ts":5,"type":"message"}"#, "missing_field", &[]),
    (r#"{"ts":5,"type":"message","account":""}"#, "empty", &[]),
    (r#"{"ts":5,"type":"message","account":{"id":1}}"#, "wrong_type", &[]),
    (r#"{"ts":5,"type":"message","account":true}"#, "wrong_type", &[]),
    (r#"{"ts":5,"type":"message","account":"\ud800"}"#, "bad_text", &[]),
    (r#"{"ts":5,"type":"message","account":"\x"}"#, "bad_text", &[]),
    (r#"{"ts":5,"type":"message","account":NaN}"#, "bad_value", &[]),
    // And nothing else: a type that cannot be read is an undeclared one, an id that cannot be read is the place.
    (r#"{"ts":5,"account":"u"}"#, "line-7 5 other u - [] []", &["type missing"]),
    (r#"{"ts":5,"type":null,"account":"u"}"#, "line-7 5 other u - [] []", &["type missing"]),
    (
        r#"{"ts":5,"type":["message"],"account":"u"}"#,
        "line-7 5 other u - [] []",
        &["type wrong_type"],
    ),
    (
        r#"{"ts":5,"type":"mess\ud800","account":"u"}"#,
        "line-7 5 other u - [] []",
        &["type bad_text"],
    ),
    (r#"{"event_id":{},"ts":5,"type":"message","account":"u"}"#, PLAIN, &["event_id wrong_type"]),
    (
        r#"{"event_id":false,"ts":5,"type":"message","account":"u"}"#,
        PLAIN,
        &["event_id wrong_type"],
    ),
    (
        r#"{"event_id":"\udc00","ts":5,"type":"message","account":"u"}"#,
        PLAIN,
        &["event_id bad_text"],
    ),
    (r#"{"ts":5,"type":"message","account":"u","target":["v"]}"#, PLAIN, &["target wrong_type"]),
    (r#"{"ts":5,"type":"message","account":"u","target":false}"#, PLAIN, &["target wrong_type"]),
    (r#"{"ts":5,"type":"message","account":"u","target":-Infinity}"#, PLAIN, &["target bad_value"]),
    // Fields that nobody reads cost nothing, whatever they hold.
    (r#"{"ts":5,"type":"message","account":"u","bio":"hi \ud83d","\ud83d":1}"#, PLAIN, &[]),
    (r#"{"ts":5,"type":"message","account":"u","x":[1,,{"y" nil}],"z":undefined}"#, PLAIN, &[]),
    (
        r#"{"ts":5,"type":"message","account":"u","label":"spam","confidence":"high","x":[{"y":null}]}"#,
        PLAIN,
        &[],
    ),
    (
        r#"{"ts":5,"type":"message","account":"u","entities":{"shoe":{"size":[1]}},"attributes":{"x":1e999}}"#,
        PLAIN,
        &[],
    ),
    ("{\"ts\":5,\"type\":\"message\",\"account\":\"u\",\"bio\":\"a\tb\"}", PLAIN, &[]),
    // Numbers as keys keep every digit; equal ones are one key however they are written, different ones never are.
    (r#"{"event_id":12,"ts":5,"type":3,"account":42,"target":-7}"#, "12 5 other 42 -7 [] []", &[]),
    (
        r#"{"ts":5,"type":"message","account":18446744073709551615,"entities":{"device":[18446744073709551614,9223372036854775807],"ip":18446744073709551613}}"#,
        "line-7 5 message 18446744073709551615 - [device:18446744073709551614 device:9223372036854775807 ip:18446744073709551613] []",
        &[],
    ),
    (
        r#"{"ts":5,"type":"message","account":42.0,"entities":{"device":1.5}}"#,
        "line-7 5 message 42 - [device:1.5] []",
        &[],
    ),
    (
        r#"{"ts":5,"type":"message","account":184467440737095516160,"entities":{"device":[9007199254740992,9007199254740993,9007199254740993.0]}}"#,
        "line-7 5 message 184467440737095516160 - [device:9007199254740992 device:9007199254740993] []",
        &[],
    ),
    (
        r#"{"ts":5,"type":"message","account":-0.0,"entities":{"device":[1e300,1e-300]}}"#,
        "line-7 5 message 0 - [device:1e300 device:1e-300] []",
        &[],
    ),
    (
        r#"{"ts":5,"type":"message","account":"u","entities":{"device":1e99999999999999999999}}"#,
        PLAIN,
        &["entities.device out_of_range"],
    ),
    // Entities: one key or a list, each once; null and empty keys are none.
    (
        r#"{"ts":5,"type":"message","account":"u","entities":{"device":"d1","ip":["a","b","a",null,"",3]}}"#,
        "line-7 5 message u - [device:d1 ip:a ip:b ip:3] []",
        &[],
    ),
    (r#"{"ts":5,"type":"message","account":"u","entities":{"device":null}}"#, PLAIN, &[]),
    (
        r#"{"ts":5,"type":"message","account":"u","entities":{"device":true}}"#,
        PLAIN,
        &["entities.device wrong_type"],
    ),
    (
        r#"{"ts":5,"type":"message","account":"u","entities":{"device":{"id":"d"}}}"#,
        PLAIN,
        &["entities.device wrong_type"],
    ),
    (
        r#"{"ts":5,"type":"message","account":"u","entities":{"ip":["a",["b"],"\ud83d",false,NaN,"c"]}}"#,
        "line-7 5 message u - [ip:a ip:c] []",
        &["entities.ip wrong_type", "entities.ip bad_text", "entities.ip bad_value"],
    ),
    (
        r#"{"ts":5,"type":"message","account":"u","entities":{"ip":["a","b" "c"],"device":"d"}}"#,
        "line-7 5 message u - [ip:a ip:b device:d] []",
        &["entities.ip malformed"],
    ),
    (
        r#"{"ts":5,"type":"message","account":"u","entities":["device","d"]}"#,
        PLAIN,
        &["entities wrong_type"],
    ),
    (r#"{"ts":5,"type":"message","account":"u","entities":"d"}"#, PLAIN, &["entities wrong_type"]),
    (r#"{"ts":5,"type":"message","account":"u","entities":4}"#, PLAIN, &["entities wrong_type"]),
    (
        r#"{"ts":5,"type":"message","account":"u","entities":{"ip":"a","device" "d"}}"#,
        "line-7 5 message u - [ip:a] []",
        &["entities malformed"],
    ),
    // Attributes.
    (
        r#"{"ts":5,"type":"message","account":"u","attributes":{"amount":"12.5","country":"DE","verified":"Yes","other":{"a":[1]}}}"#,
        "line-7 5 message u - [] [amount=12.5 country=1 verified=1]",
        &[],
    ),
    (
        r#"{"ts":5,"type":"message","account":"u","attributes":{"amount":true,"country":"FR","verified":0}}"#,
        "line-7 5 message u - [] [amount=1 country=2 verified=0]",
        &[],
    ),
    (
        r#"{"ts":5,"type":"message","account":"u","attributes":{"amount":"","country":null,"verified":" "}}"#,
        PLAIN,
        &[],
    ),
    (
        r#"{"ts":5,"type":"message","account":"u","attributes":{"amount":"nan","country":[],"verified":"perhaps"}}"#,
        PLAIN,
        &[
            "attributes.amount bad_value",
            "attributes.country wrong_type",
            "attributes.verified bad_value",
        ],
    ),
    (
        r#"{"ts":5,"type":"message","account":"u","attributes":{"amount":-0.0,"country":"\ud83d"}}"#,
        "line-7 5 message u - [] [amount=0]",
        &["attributes.country bad_text"],
    ),
    (
        r#"{"ts":5,"type":"message","account":"u","attributes":{"amount":1e400}}"#,
        PLAIN,
        &["attributes.amount out_of_range"],
    ),
    (
        r#"{"ts":5,"type":"message","account":"u","attributes":{"amount":-1e30}}"#,
        PLAIN,
        &["attributes.amount out_of_range"],
    ),
    (
        r#"{"ts":5,"type":"message","account":"u","attributes":{"amount":"1e400"}}"#,
        PLAIN,
        &["attributes.amount out_of_range"],
    ),
    (
        r#"{"ts":5,"type":"message","account":"u","attributes":{"amount":NaN,"verified":1}}"#,
        "line-7 5 message u - [] [verified=1]",
        &["attributes.amount bad_value"],
    ),
    (
        r#"{"ts":5,"type":"message","account":"u","attributes":{"amount":[1]}}"#,
        PLAIN,
        &["attributes.amount wrong_type"],
    ),
    (
        r#"{"ts":5,"type":"message","account":"u","attributes":{"amount":{"value":"12.50"}}}"#,
        PLAIN,
        &["attributes.amount wrong_type"],
    ),
    (
        r#"{"ts":5,"type":"message","account":"u","attributes":[]}"#,
        PLAIN,
        &["attributes wrong_type"],
    ),
    (
        r#"{"ts":5,"type":"message","account":"u","attributes":""}"#,
        PLAIN,
        &["attributes wrong_type"],
    ),
    (
        r#"{"ts":5,"type":"message","account":"u","attributes":true}"#,
        PLAIN,
        &["attributes wrong_type"],
    ),
    // Of several with one name the last counts, as nearly everywhere.
    (
        r#" {"ts":4,"type":"message","account":"u","ts":5,"account":"w"} "#,
        "line-7 5 message w - [] []",
        &["ts duplicate", "account duplicate"],
    ),
    (
        r#"{"ts":5,"type":"message","account":"u","entities":{"ip":"a","device":"d","ip":["b","c"]}}"#,
        "line-7 5 message u - [ip:b ip:c device:d] []",
        &["entities.ip duplicate"],
    ),
    (
        r#"{"ts":5,"type":"message","account":"u","attributes":{"amount":1,"amount":2}}"#,
        "line-7 5 message u - [] [amount=2]",
        &["attributes.amount duplicate"],
    ),
    (
        r#"{"ts":5,"type":"mess\u0061ge","\u0061ccount":"\u00fc\n"}"#,
        "line-7 5 message \u{fc}\n - [] []",
        &[],
    ),
];

/// The contract's own form under `data`, by pointers for everything.
const UNDER_DATA: &str = r#"
event_id = "/data/event_id"
ts = ["/data/ts", "/data/no"]
type = "/data/type"
account = ["/no", "/data/account"]
target = "/data/target"
entities.device = ["/no/device", "/data/entities/device"]
entities.ip = "/data/entities/ip"
attributes.amount = "/data/attributes/amount"
attributes.country = ["/data/attributes/country"]
attributes.verified = "/data/attributes/verified"
"#;

/// Entities in order of their text: a mapping reads them in order of kinds, the contract's own form in that of the message.
fn sorted(line: &str) -> String {
    let (Some(from), Some(to)) = (line.find('['), line.find(']')) else { return line.into() };
    let mut keys: Vec<&str> = line[from + 1..to].split(' ').collect();
    keys.sort_unstable();
    format!("{}[{}{}", &line[..from], keys.join(" "), &line[to..])
}

#[test]
fn events_are_the_same_in_every_shape() {
    let read = |decoder: &Decoder, message: &str| {
        let mut faults = Faults::default();
        faults.begin(1);
        let event = decoder.count_event(message.as_bytes(), || "line-7".into(), &mut faults);
        let line = match event {
            Ok(event) => event_line(decoder, &event),
            Err(reject) => reject.code.as_str().to_owned(),
        };
        (line, faults_of(decoder, &faults))
    };
    let by_preset = "preset = \"detector\"";
    for mapping in ["", by_preset, "account = \"/account\""] {
        let decoder = decoder(mapping);
        for (message, event, faults) in EVENTS {
            let (line, counted) = read(&decoder, message);
            assert_eq!(
                (line.as_str(), counted),
                (*event, faults.iter().map(|f| f.to_string()).collect()),
                "{message}"
            );
        }
    }
    let decoder = decoder(UNDER_DATA);
    for (message, event, faults) in EVENTS {
        // A section is no field here.
        let is_field =
            |fault: &&&str| !fault.starts_with("entities ") && !fault.starts_with("attributes ");
        let expected: Vec<String> = faults.iter().filter(is_field).map(|f| f.to_string()).collect();
        let text = serde_json::to_string(message).expect("a text");
        let twice = serde_json::to_string(&text).expect("a text");
        for message in [
            format!("{{\"data\":{message}}}"),
            format!("{{\"data\":{text}}}"),
            format!("{{\"data\":{twice}}}"),
        ] {
            let (line, mut counted) = read(&decoder, &message);
            assert_eq!(sorted(&line), sorted(event), "{message}");
            if faults.iter().any(|fault| fault.ends_with("malformed")) {
                counted.retain(|fault| fault.starts_with("entities.ip"));
            }
            assert!(expected.iter().all(|fault| counted.contains(fault)), "{counted:?} {message}");
            let has_section = expected.len() < faults.len();
            assert!(has_section || counted.len() == expected.len(), "{counted:?} {message}");
        }
    }
}

#[test]
fn messages_that_are_no_object_are_refused() {
    let table = [
        ("", "not_json"),
        ("{", "not_json"),
        (r#"{"ts":5,"type":"message","account":"u"} x"#, "not_json"),
        (r#"{"ts":5,"type":"message","account":"u"}{}"#, "not_json"),
        (r#"{"ts":5,"type":"message","account":"u",}"#, "not_json"),
        (r#"{"ts":5,"type":"message","account":"u","x":[1"#, "not_json"),
        (r#"{"ts":5,"type":"message","account":"u","x":"#, "not_json"),
        (r#"{"ts":5,"type":"message","account":"u","x"}"#, "not_json"),
        (r#"{"ts":5,"type":"message" "account":"u"}"#, "not_json"),
        ("hello", "not_json"),
        ("[1]", "not_an_object"),
        ("7", "not_an_object"),
        ("null", "not_an_object"),
        ("\"text\"", "not_an_object"),
    ];
    for mapping in ["", "preset = \"detector\"", UNDER_DATA] {
        check(&decoder(mapping), &table, read_event);
    }
    let marked = "\u{feff}{\"ts\":5,\"type\":\"message\",\"account\":\"u\"}";
    assert_eq!(read_event(&decoder(""), marked.as_bytes()), PLAIN);
    let reject = decoder("").event(b"{\"ts\":5,\n \"account\" 7}", Default::default).unwrap_err();
    assert_eq!(reject.detail, "not valid JSON at line 2 column 12");
}
