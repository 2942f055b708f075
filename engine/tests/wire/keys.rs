//! Keys and numbers: caps, and exactness.

use super::*;

#[test]
fn long_keys_are_kept_by_their_beginning_and_hash() {
    let decoder = decoder("");
    let read = |message: &str| {
        let mut faults = Faults::default();
        faults.begin(1);
        let event = decoder.count_event(message.as_bytes(), || "line-7".into(), &mut faults);
        (event.expect("an event"), faults_of(&decoder, &faults))
    };
    let key = |n: usize, last: &str| "x".repeat(n - 1) + last;
    let (exact, long, other) = (key(256, "a"), key(257, "a"), key(257, "b"));
    let message = |key: &str| {
        format!(
            "{{\"event_id\":\"{key}\",\"ts\":5,\"type\":\"{key}\",\"account\":\"{key}\",\"target\":\"{key}\",\"entities\":{{\"device\":[\"{key}\",\"d\"]}}}}"
        )
    };
    let (event, faults) = read(&message(&exact));
    assert_eq!((event.account.as_str(), faults.len()), (exact.as_str(), 0));
    let (event, faults) = read(&message(&long));
    let kept = event.account.clone();
    // printf 'x%.0s' {1..256} | cat - <(printf a) | sha256sum
    let hash = "37523678b0ae7be1c58cccc269c70dd422e516e5525a3c16729720099e3007b1";
    assert_eq!(kept, format!("{}#{hash}", "x".repeat(191)));
    assert_eq!(event.event_id, kept);
    assert_eq!(event.target.as_ref(), Some(&kept));
    assert_eq!((&event.entities[0].key, event.entities.len()), (&kept, 2));
    assert_eq!(
        faults,
        ["event_id too_long", "account too_long", "target too_long", "entities.device too_long"]
    );
    assert_eq!(engine::wire::kept_key(&long), kept.as_str());
    assert_ne!(read(&message(&other)).0.account, kept);
    // A character is not cut.
    let umlauts = "\u{fc}".repeat(200);
    assert!(read(&message(&umlauts)).0.account.starts_with(&("\u{fc}".repeat(95) + "#")));
    // Labels name the same account and event.
    let label = format!("{{\"account\":\"{long}\",\"event_id\":\"{long}\",\"ts\":5,\"label\":1}}");
    let label = decoder.label(label.as_bytes()).expect("a label");
    assert_eq!((label.account, label.event_id), (Some(kept.clone()), Some(kept)));
}

#[test]
fn no_list_of_keys_hides_another_kind() {
    let many = |kind: &str, n: usize| {
        let keys: Vec<String> = (0..n).map(|n| format!("\"{kind}{n}\"")).collect();
        format!("\"{kind}\":[{}]", keys.join(","))
    };
    let read = |mapping: &str, entities: &str| {
        let decoder = decoder(mapping);
        let message = format!(
            "{{\"ts\":5,\"type\":\"message\",\"account\":\"u\",\"entities\":{{{entities}}}}}"
        );
        let mut faults = Faults::default();
        faults.begin(1);
        let event = decoder.count_event(message.as_bytes(), || "line-7".into(), &mut faults);
        let keys: Vec<String> =
            event.expect("an event").entities.iter().map(|e| e.key.to_string()).collect();
        (keys, faults_of(&decoder, &faults))
    };
    for mapping in ["", "entities.device = \"/entities/device\"\nentities.ip = \"/entities/ip\""] {
        let (keys, faults) = read(mapping, &many("ip", 32));
        assert_eq!((keys.len(), faults.len()), (32, 0));
        let (keys, faults) = read(mapping, &many("ip", 33));
        assert_eq!((keys.len(), faults), (32, vec!["entities.ip too_many".to_owned()]));
        assert_eq!((&*keys[0], &*keys[31]), ("ip0", "ip31"));
        // The other kind comes last in the message.
        let (keys, faults) = read(mapping, &format!("{},\"device\":\"d\"", many("ip", 40)));
        assert_eq!((keys.len(), faults), (32, vec!["entities.ip too_many".to_owned()]));
        assert!(keys.contains(&"d".to_owned()) && keys.contains(&"ip30".to_owned()));
        let (keys, faults) = read(mapping, &format!("{},{}", many("ip", 40), many("device", 40)));
        let devices = keys.iter().filter(|key| key.starts_with('d')).count();
        assert_eq!((keys.len(), devices, faults.len()), (32, 16, 2));
        // The same key again is no other key.
        let (keys, faults) = read(mapping, &format!("\"ip\":[{}\"b\"]", "\"a\",".repeat(1000)));
        assert_eq!((keys.len(), faults.len()), (2, 0));
    }
}

#[test]
fn categories_are_the_exact_text_of_a_number() {
    let names = r#"
[attributes.merchant]
type = "category"
values = ["12345678901234567", "12345678901234568", "9007199254740993", "1.5", "0", "true"]
"#;
    let decoder =
        Decoder::new(Vocabulary::new(&config(names).features()), &MappingConfig::default());
    for (value, index) in [
        ("12345678901234567", 0.0),
        ("12345678901234568", 1.0),
        ("9007199254740993", 2.0),
        ("9007199254740992", 6.0),
        ("\"12345678901234567\"", 0.0),
        ("1.50", 3.0),
        ("15e-1", 3.0),
        ("-0", 4.0),
        ("true", 5.0),
        ("\"1.50\"", 6.0),
    ] {
        let message =
            format!("{{\"ts\":5,\"account\":\"u\",\"attributes\":{{\"merchant\":{value}}}}}");
        let event = decoder.event(message.as_bytes(), Default::default).expect("an event");
        assert_eq!(event.attributes[0], index, "{value}");
    }
}

#[test]
fn numbers_that_differ_in_32_bits_stay_different() {
    let decoder = decoder("");
    let values = [
        "-1500000000000",
        "999999999999",
        "1000000100000",
        "1650000000000",
        "1699999999999",
        "1e15",
        "1e18",
        "2e18",
        "1e28",
    ];
    let read: Vec<f32> = values
        .iter()
        .map(|value| {
            let message =
                format!("{{\"ts\":5,\"account\":\"u\",\"attributes\":{{\"amount\":{value}}}}}");
            decoder.event(message.as_bytes(), Default::default).expect("an event").attributes[0]
        })
        .collect();
    assert_eq!(read, values.map(|value| value.parse::<f32>().expect("a number")));
    assert!(read.is_sorted_by(|a, b| a < b), "{read:?}");
}

#[test]
fn moments_are_read_as_ages() {
    let names = r#"
[time]
assume_offset = "+1h"
[attributes.created]
type = "age"
unit = "s"
[attributes.seen]
type = "age"
"#;
    let decoder =
        Decoder::new(Vocabulary::new(&config(names).features()), &MappingConfig::default());
    let table = [
        (r#""created":1699999990,"seen":1699999999500"#, "created=10 seen=0.5", vec![]),
        (
            r#""created":"1699999990.5","seen":"2023-11-14T22:13:10Z""#,
            "created=9.5 seen=10",
            vec![],
        ),
        (r#""created":1700000010,"seen":null"#, "created=-10", vec![]),
        // Without an offset: that of the configuration.
        (
            r#""created":"2023-11-14T23:13:10","seen":"2023-11-14 23:13:10""#,
            "created=10 seen=10",
            vec![],
        ),
        (
            r#""created":1699999990000,"seen":"soon""#,
            "",
            vec!["attributes.created out_of_range", "attributes.seen bad_value"],
        ),
    ];
    for (attributes, expected, counted) in table {
        // The order of the message does not matter.
        let before = format!(
            "{{\"attributes\":{{{attributes}}},\"account\":\"u\",\"type\":\"x\",\"ts\":\"2023-11-14T23:13:20\"}}"
        );
        let mut faults = Faults::default();
        let event = decoder.count_event(before.as_bytes(), || "line-7".into(), &mut faults);
        let line = event_line(&decoder, &event.expect("an event"));
        assert_eq!(line, format!("line-7 1700000000000 other u - [] [{expected}]"));
        assert_eq!(faults_of(&decoder, &faults), counted);
    }
}
