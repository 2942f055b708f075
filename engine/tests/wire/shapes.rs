//! Shapes of others: presets, pointers, fallbacks, and JSON in texts.

use super::*;

#[test]
fn events_in_other_peoples_shapes() {
    let cloud_events = r#"{"specversion":"1.0","id":"c1","source":"/x","type":"message","time":"1970-01-01T00:00:05Z","subject":"u",
        "data":{"target":"v","entities":{"device":"d"},"attributes":{"amount":4},"country":"DE"}}"#;
    let osprey = r#"{"send_time":"2024-01-01T00:00:00Z","data":{"action_id":901,"action_name":"payment","timestamp":"1970-01-01T00:00:05Z",
        "data":{"user_id":18446744073709551615,"target_user_id":9,"ip":["1.1.1.1"],"amount":"4"}}}"#;
    let own = r#"{"meta":{"id":"o1","at":1.5},"what":"message","who":{"id":"u"},"to":{"id":"v"},"net":{"ips":["a","b"]},"sum":4,"flags":[true]}"#;
    let tables = [
        (
            "preset = \"cloudevents\"",
            vec![
                (cloud_events, "c1 5000 message u v [device:d] [amount=4 country=1]"),
                (r#"{"id":"c1","type":"message","time":"1970-01-01T00:00:05Z"}"#, "missing_field"),
                // A text in `data` that nobody reads.
                (
                    r#"{"id":"c1","type":"message","subject":"u","time":"1970-01-01T00:00:05Z","data":{"text":"hi \ud83d","amount":4}}"#,
                    "c1 5000 message u - [] [amount=4]",
                ),
                // What the section has comes before what `data` has by itself.
                (
                    r#"{"id":"c1","type":"message","subject":"u","time":"1970-01-01T00:00:05Z","data":{"amount":4,"country":"NL","attributes":{"amount":5,"country":null}}}"#,
                    "c1 5000 message u - [] [amount=5 country=0]",
                ),
                // `data` as a text of JSON.
                (
                    r#"{"id":"c1","type":"message","subject":"u","time":"1970-01-01T00:00:05Z","data":"{\"target\":\"v\",\"entities\":{\"device\":\"d\"},\"amount\":4}"}"#,
                    "c1 5000 message u v [device:d] [amount=4]",
                ),
                (
                    r#"{"id":"c1","type":"message","data":{"ts":7,"account":"w"}}"#,
                    "c1 7 message w - [] []",
                ),
                (r#"{"id":"c1","type":"message","subject":"u","time":{}}"#, "wrong_type"),
                ("[1]", "not_an_object"),
            ],
        ),
        (
            "preset = \"osprey\"",
            vec![
                (osprey, "901 5000 payment 18446744073709551615 9 [ip:1.1.1.1] [amount=4]"),
                (
                    r#"{"action_id":3,"action_name":"message","timestamp":5,"data":{"data":{"did":"did:x"}}}"#,
                    "3 5 message did:x - [] []",
                ),
            ],
        ),
        (
            "event_id = \"/meta/id\"\nts = \"/meta/at\"\nts_unit = \"s\"\ntype = \"/what\"\naccount = \"/who/id\"\n\
          target = \"/to/id\"\n[entities]\nip = \"/net/ips\"\n[attributes]\namount = \"/sum\"\nverified = \"/flags/0\"",
            vec![
                (own, "o1 1500 message u v [ip:a ip:b] [amount=4 verified=1]"),
                (
                    r#"{"meta":{"at":1},"what":"message","who":{"id":7.0},"net":{"ips":{"a":1}}}"#,
                    "line-7 1000 message 7 - [] []",
                ),
                (
                    r#"{"meta":{"at":1},"what":"message","who":{"id":7.0},"sum":[1]}"#,
                    "line-7 1000 message 7 - [] []",
                ),
                (
                    r#"{"meta":{"at":1700000000.123},"what":"message","who":{"id":1e17}}"#,
                    "line-7 1700000000123 message 100000000000000000 - [] []",
                ),
                (r#"{"meta":{"at":1},"what":"message","who":{"id":""}}"#, "empty"),
                (r#"{"meta":{"at":1},"what":"message","who":{"id":null}}"#, "missing_field"),
                (
                    r#"{"meta":{"at":"1"},"what":["message"],"who":{"id":"u"}}"#,
                    "line-7 1000 other u - [] []",
                ),
            ],
        ),
        // A unit alone: the contract's own form otherwise.
        (
            "ts_unit = \"us\"",
            vec![(r#"{"ts":1999,"type":"message","account":"u"}"#, "line-7 1 message u - [] []")],
        ),
        (
            "ts_unit = \"ns\"",
            vec![(
                r#"{"ts":1999999,"type":"message","account":"u"}"#,
                "line-7 1 message u - [] []",
            )],
        ),
        // Single fields over a preset.
        (
            "preset = \"cloudevents\"\naccount = \"/data/user\"",
            vec![(
                r#"{"id":"c","type":"message","time":"1970-01-01T00:00:05Z","subject":"no","data":{"user":"yes"}}"#,
                "c 5000 message yes - [] []",
            )],
        ),
    ];
    for (mapping, table) in tables {
        check(&decoder(mapping), &table, read_event);
    }
    let bad: MappingConfig =
        toml::from_str("account = [\"/u\", \"data.user\"]\nts = []\n[entities]\nip = \"ip\"")
            .expect("TOML");
    assert_eq!(bad.check().len(), 3, "{:?}", bad.check());
    let wrong = toml::from_str::<MappingConfig>("account = 7").unwrap_err();
    assert!(wrong.message().contains("a JSON pointer, or a list of them"), "{wrong}");
    let two: MappingConfig =
        toml::from_str("account = [\"/a\", \"/b\"]\nts = \"/t\"").expect("TOML");
    let written = toml::to_string(&two).expect("it can be written");
    assert_eq!(toml::from_str::<MappingConfig>(&written).expect("TOML"), two);
    assert!(
        toml::from_str::<MappingConfig>("acount = \"/a\"").is_err(),
        "unknown keys are refused"
    );
}

#[test]
fn the_first_pointer_that_can_be_read_counts() {
    let decoder = decoder(
        "event_id = \"/messageId\"\nts = [\"/timestamp\", \"/sentAt\"]\ntype = [\"/event\", \"/type\"]\n\
         account = [\"/userId\", \"/anonymousId\"]\n[entities]\nip = [\"/context/ip\", \"/context/ips\"]\n\
         [attributes]\namount = [\"/properties/total\", \"/properties/amount\"]",
    );
    let table = [
        (
            r#"{"type":"x","event":"message","messageId":"m","anonymousId":"a","userId":null,"timestamp":5,"context":{"ip":"1"}}"#,
            "m 5 message a - [ip:1] []",
        ),
        (
            r#"{"type":"message","anonymousId":"a","userId":"u","sentAt":5}"#,
            "line-7 5 message u - [] []",
        ),
        (
            r#"{"type":"message","anonymousId":"a","userId":"","timestamp":"","sentAt":6}"#,
            "line-7 6 message a - [] []",
        ),
        (
            r#"{"type":"message","anonymousId":"a","userId":{"id":1},"timestamp":"soon","sentAt":6,"context":{"ip":[null,true],"ips":["2","3"]},"properties":{"total":"?","amount":7}}"#,
            "line-7 6 message a - [ip:2 ip:3] [amount=7]",
        ),
        (r#"{"type":"message","userId":{"id":1},"sentAt":6}"#, "wrong_type"),
        (r#"{"type":"message","userId":"u","timestamp":"soon"}"#, "bad_ts"),
    ];
    check(&decoder, &table, read_event);
}

#[test]
fn pointers_lead_through_texts_that_hold_json() {
    let decoder = decoder(
        "ts = \"/ts\"\naccount = [\"/payload/user/id\", \"/payload\"]\ntype = \"/payload/kind\"\n\
         [attributes]\namount = \"/payload/more/0/amount\"",
    );
    let read = |message: &str| {
        let mut faults = Faults::default();
        faults.begin(1);
        let event = decoder.count_event(message.as_bytes(), || "line-7".into(), &mut faults);
        let line = event.map_or_else(|r| r.code.as_str().to_owned(), |e| event_line(&decoder, &e));
        (line, faults_of(&decoder, &faults))
    };
    let inner = r#"{"user":{"id":"u"},"kind":"message","more":[{"amount":4}]}"#;
    let mut payload = inner.to_owned();
    // As an object, as a text, and so on: four texts within one another are opened.
    for level in 0..6 {
        let (line, faults) = read(&format!("{{\"ts\":5,\"payload\":{payload}}}"));
        if level <= engine::limits::EMBEDDED_LEVELS_MAX {
            assert_eq!((line.as_str(), faults.len()), ("line-7 5 message u - [] [amount=4]", 0));
        } else {
            assert!(!faults.is_empty() && line.contains(" other "), "{line} {faults:?}");
        }
        payload = serde_json::to_string(&payload).expect("a text");
    }
    // A text that holds no JSON is a value where a pointer ends.
    assert_eq!(
        read(r#"{"ts":5,"payload":"plain"}"#),
        ("line-7 5 other plain - [] []".into(), vec!["type missing".into()])
    );
    let (line, faults) = read(r#"{"ts":5,"payload":"{\"user\":"}"#);
    assert_eq!(line, "line-7 5 other {\"user\": - [] []");
    assert!(faults.contains(&"account bad_value".to_owned()), "{faults:?}");
}
