//! Whole profiles, through the public interface: properties over any sequence of events, and tables.

use features::blocks::Order;
use features::blocks::labels::LabelSeen;
use features::config::{
    AttributeConfig, AttributeKind, CounterConfig, FeatureConfig, KindConfig, ProfileConfig,
};
use features::event::TypeId;
use features::key_form::KeyForm;
use features::layout::{Layout, Role};
use features::profile::{DistinctKey, Observation, Taken};
use features::schema::{Schema, SchemaError};
use features::vector::{Source, VectorPlan};
use proptest::prelude::*;
use std::collections::BTreeSet;

const DAY_MS: i64 = 86_400_000;

/// A configuration that uses every block.
fn full() -> FeatureConfig {
    let attribute = |kind, values: &[&str]| AttributeConfig {
        kind,
        values: values.iter().map(|v| (*v).into()).collect(),
        unit: None,
    };
    let counter = |name: &str| CounterConfig { name: name.into(), ..CounterConfig::default() };
    let mut config = FeatureConfig::default();
    config.events.types = vec!["login".into(), "payment".into()];
    config.attributes.insert("amount".into(), attribute(AttributeKind::Number, &[]));
    config.attributes.insert("country".into(), attribute(AttributeKind::Category, &["NL", "BE"]));
    config.attributes.insert("verified".into(), attribute(AttributeKind::Boolean, &[]));
    config.kinds.insert("device".into(), KindConfig { strong: true, ..KindConfig::default() });
    config.kinds.insert("ip".into(), KindConfig::default());
    config.kinds.insert("peer".into(), KindConfig { is_account: true, ..KindConfig::default() });
    let payment = vec!["payment".to_owned()];
    config.counters = vec![
        CounterConfig { windows: vec!["10m".into(), "1h".into()], ..counter("events") },
        CounterConfig { types: payment.clone(), ..counter("payments") },
        CounterConfig {
            types: payment,
            sum: Some("amount".into()),
            windows: vec!["1d".into()],
            ..counter("paid")
        },
        CounterConfig {
            when: Some("amount > 100 && country == \"BE\"".into()),
            on: vec!["account".into()],
            ..counter("dear")
        },
    ];
    let all = ProfileConfig {
        numeric: vec!["amount".into()],
        distinct: vec!["device".into(), "ip".into(), "target".into()],
        rhythm: true,
        hours: true,
        sessions: true,
        labels: true,
        neighbours: vec!["account.age_s".into(), "target.events.1d".into()],
    };
    config.profiles.insert("account".into(), all.clone());
    config
        .profiles
        .insert("target".into(), ProfileConfig { distinct: vec!["account".into()], ..all.clone() });
    config
        .profiles
        .insert("device".into(), ProfileConfig { distinct: vec!["account".into()], ..all });
    config
}

fn compiled() -> Schema {
    Schema::compile(&full()).unwrap_or_else(|errors| panic!("{errors:?}"))
}

/// Bytes aligned to 8.
fn fresh(layout: &Layout) -> Vec<u64> {
    vec![0; layout.size() / 8]
}

#[derive(Clone, Debug)]
struct Seen {
    ts_ms: i64,
    type_id: u16,
    attributes: [f32; 3],
    keys: Vec<(u8, u64)>,
    neighbour: [f32; 2],
}

fn observe(
    schema: &Schema,
    layout: &Layout,
    bytes: &mut [u8],
    seen: &Seen,
    out: &mut [f32],
) -> Taken {
    let keys: Vec<DistinctKey> =
        seen.keys.iter().map(|&(what, hash)| DistinctKey { what, hash }).collect();
    let hits = schema.hits_of(TypeId(seen.type_id), &seen.attributes);
    let observation = Observation {
        ts_ms: seen.ts_ms,
        type_id: TypeId(seen.type_id),
        attributes: &seen.attributes,
        keys: &keys,
        neighbour: &seen.neighbour,
        counters: &hits,
    };
    let read = layout.extract(Some(bytes), &observation, out);
    let taken = layout.observe(bytes, &observation);
    assert_eq!(read, taken);
    taken
}

fn any_value() -> impl Strategy<Value = f32> {
    prop_oneof![any::<f32>(), -1e3f32..1e3, Just(f32::NAN), Just(f32::INFINITY), Just(f32::MAX)]
}

fn any_time() -> impl Strategy<Value = i64> {
    prop_oneof![
        0i64..3 * DAY_MS,
        any::<i64>(),
        Just(0),
        Just(i64::MAX / 2),
        Just(i64::MAX),
        Just(7_258_118_400_000)
    ]
}

fn any_seen(ts_ms: impl Strategy<Value = i64>) -> impl Strategy<Value = Seen> {
    let keys = proptest::collection::vec((any::<u8>(), any::<u64>()), 0..4);
    let values = proptest::array::uniform3(any_value());
    (ts_ms, any::<u16>(), values, keys, proptest::array::uniform2(any_value())).prop_map(
        |(ts_ms, type_id, attributes, keys, neighbour)| Seen {
            ts_ms,
            type_id,
            attributes,
            keys,
            neighbour,
        },
    )
}

fn tame_seen() -> impl Strategy<Value = Seen> {
    let keys = proptest::collection::vec((0u8..3, 0u64..20), 0..3);
    (0i64..DAY_MS, 0u16..3, 0f32..300.0, 0u8..3, keys, -10f32..10.0).prop_map(
        |(ts_ms, type_id, amount, country, keys, met)| Seen {
            ts_ms,
            type_id,
            attributes: [amount, f32::from(country), 1.0],
            keys,
            neighbour: [met, f32::NAN],
        },
    )
}

proptest! {
    /// No input panics, makes a column infinite, or poisons what comes after.
    #[test]
    fn nothing_panics_or_poisons(events in proptest::collection::vec(any_seen(any_time()), 1..40), role in 0u8..4) {
        let schema = compiled();
        let layout = schema.layout(Role(role)).unwrap();
        let mut words = fresh(layout);
        let mut out = vec![0.0; layout.width()];
        for seen in &events {
            let taken = observe(&schema, layout, bytemuck::cast_slice_mut(&mut words), seen, &mut out);
            prop_assert_ne!(taken, Taken::Misfit);
            for (x, column) in out.iter().zip(layout.columns()) {
                prop_assert!(!x.is_infinite(), "{} {x}", column.name);
            }
        }
        let label = LabelSeen { ts_ms: events[0].ts_ms, weight: events[0].neighbour[0], bad_delta: 1, labelled_delta: 1 };
        prop_assert!(layout.learn(bytemuck::cast_slice_mut(&mut words), &label));
        let bytes: &[u8] = bytemuck::cast_slice(&words);
        for field in layout.fields().iter().filter(|f| f.kind == features::layout::FieldType::F32) {
            for chunk in bytes[field.offset..field.offset + 4 * field.count].chunks_exact(4) {
                prop_assert!(f32::from_le_bytes([chunk[0], chunk[1], chunk[2], chunk[3]]).is_finite(), "{}", field.name);
            }
        }
    }

    /// Additive blocks do not depend on the order of events within the allowed lateness; and the same order gives the same bytes.
    #[test]
    fn order_does_not_matter_to_additive_columns(events in proptest::collection::vec(tame_seen(), 1..40)) {
        let schema = compiled();
        let layout = schema.layout(Role::ACCOUNT).unwrap();
        let mut sorted = events.clone();
        sorted.sort_by_key(|e| e.ts_ms);
        let run = |events: &[Seen]| {
            let (mut words, mut out) = (fresh(layout), vec![0.0; layout.width()]);
            for seen in events {
                observe(&schema, layout, bytemuck::cast_slice_mut(&mut words), seen, &mut out);
            }
            let nothing = features::hits::CounterHits::default();
            let later = Observation { ts_ms: 2 * DAY_MS, type_id: TypeId(0), attributes: &[], keys: &[], neighbour: &[], counters: &nothing };
            layout.look(Some(bytemuck::cast_slice(&words)), &later, &mut out);
            (words, out)
        };
        let ((first, a), (again, _), (_, b)) = (run(&events), run(&events), run(&sorted));
        prop_assert_eq!(first, again);
        for ((x, y), column) in a.iter().zip(&b).zip(layout.columns()) {
            let name = &column.name;
            let in_order = ["rhythm", "session", "last_type"].iter().any(|start| name.starts_with(start));
            if in_order || name.contains(".robust_") || name.contains(".outliers.") {
                continue;
            }
            let near = (x - y).abs() <= 2e-3 * x.abs().max(1e-2);
            prop_assert!(near || x.is_nan() && y.is_nan(), "{name} {x} {y}");
        }
    }

    /// What is read at an event, with its own weight, is what is kept after it: counts, windows and distinct counts.
    #[test]
    fn own_weight_is_what_is_kept(events in proptest::collection::vec(tame_seen(), 1..25)) {
        let schema = compiled();
        let layout = schema.layout(Role::ACCOUNT).unwrap();
        let (mut words, mut out, mut after) = (fresh(layout), vec![0.0; layout.width()], vec![0.0; layout.width()]);
        for seen in &events {
            observe(&schema, layout, bytemuck::cast_slice_mut(&mut words), seen, &mut out);
            let bytes: &[u8] = bytemuck::cast_slice(&words);
            let nothing = features::hits::CounterHits::default();
            let now = Observation { ts_ms: layout.last_ms(bytes).unwrap(), type_id: TypeId(0), attributes: &[], keys: &[], neighbour: &[], counters: &nothing };
            layout.look(Some(bytes), &now, &mut after);
            for (i, column) in layout.columns().iter().enumerate() {
                let counted = ["events", "payments", "paid", "dear"].iter().any(|c| column.name.starts_with(&format!("{c}.")));
                if counted || column.name == "events" || column.name.contains("distinct") || column.name == "session.count" {
                    let near = (out[i] - after[i]).abs() <= 1e-4 * after[i].abs().max(1.0);
                    prop_assert!(near || out[i].is_nan() && after[i].is_nan(), "{} {} {}", column.name, out[i], after[i]);
                }
            }
        }
    }
}

fn at(layout: &Layout, out: &[f32], name: &str) -> f32 {
    out[layout.column(name).unwrap_or_else(|| panic!("no column {name}"))]
}

#[test]
fn a_short_story() {
    let schema = compiled();
    let layout = schema.layout(Role::ACCOUNT).unwrap();
    let mut words = fresh(layout);
    let mut out = vec![0.0; layout.width()];
    let seen = |ts_ms, type_id, amount, country: &str| Seen {
        ts_ms,
        type_id,
        attributes: [amount, schema.category_value(1, country), f32::NAN],
        keys: vec![(0, ts_ms as u64), (DistinctKey::TARGET, 7)],
        neighbour: [1.0, 2.0],
    };
    let minute = 60_000;
    let mut step = |seen: Seen| {
        let taken = observe(&schema, layout, bytemuck::cast_slice_mut(&mut words), &seen, &mut out);
        (taken, out.clone())
    };

    let (taken, row) = step(seen(0, 0, f32::NAN, "NL"));
    assert_eq!(taken, Taken::As(Order::First));
    assert_eq!((at(layout, &row, "events"), at(layout, &row, "age_s")), (1.0, 0.0));
    assert!(at(layout, &row, "gap_s").is_nan() && at(layout, &row, "last_type").is_nan());
    assert_eq!(at(layout, &row, "events.10m"), 1.0);
    assert!(at(layout, &row, "paid.mean.1d").is_nan(), "no payment yet");

    let (_, row) = step(seen(10 * minute, 1, 200.0, "BE"));
    assert_eq!(at(layout, &row, "events.10m"), 1.5);
    assert_eq!(at(layout, &row, "dear.10m"), 1.0);
    assert_eq!(at(layout, &row, "paid.10m"), 200.0);
    assert_eq!(at(layout, &row, "paid.mean.10m"), 200.0);
    assert_eq!(at(layout, &row, "gap_s"), 600.0);
    assert_eq!(at(layout, &row, "last_type"), 0.0);
    assert_eq!(at(layout, &row, "events.in_1h"), 2.0);
    assert!(at(layout, &row, "device.distinct") > 1.5 && at(layout, &row, "target.distinct") < 1.5);
    assert_eq!(at(layout, &row, "met.account.age_s.mean"), 1.0);
    assert!(at(layout, &row, "amount.mean").is_nan(), "history before");

    let (taken, row) = step(seen(5 * minute, 1, 50.0, "elsewhere"));
    assert_eq!(taken, Taken::As(Order::Late));
    assert!((at(layout, &row, "payments.10m") - (1.0 + 0.5f32.sqrt())).abs() < 1e-5);
    assert_eq!(at(layout, &row, "session.events"), 2.0);
    assert_eq!(at(layout, &row, "amount.ratio"), 0.25);

    step(seen(3 * DAY_MS, u16::MAX, f32::NAN, ""));
    let before = words.clone();
    let mut step = |seen: Seen| {
        observe(&schema, layout, bytemuck::cast_slice_mut(&mut words), &seen, &mut out)
    };
    assert_eq!(step(seen(minute, 1, 9e9, "BE")), Taken::As(Order::TooLate));
    assert_eq!(before[4..], words[4..], "only the head moves");
    let head = layout.head(bytemuck::cast_slice(&words)).unwrap();
    assert_eq!((head.events, head.late, head.first_ms, head.last_ms), (5, 2, 0, 3 * DAY_MS));

    let mut narrow = vec![0.0; 3];
    let observation = Observation {
        ts_ms: 0,
        type_id: TypeId(0),
        attributes: &[],
        keys: &[],
        neighbour: &[],
        counters: &Default::default(),
    };
    assert_eq!(layout.extract(None, &observation, &mut narrow), Taken::Misfit);
    assert_eq!(layout.observe(&mut [0; 8], &observation), Taken::Misfit);
}

#[test]
fn the_vector_is_all_parts_in_order_without_gaps() {
    let schema = compiled();
    let plan = VectorPlan::new(&schema);
    let prefixes: Vec<&str> = plan.parts().iter().map(|p| p.prefix.as_str()).collect();
    assert_eq!(
        prefixes,
        [
            "event",
            "account",
            "received",
            "target.account",
            "target.received",
            "peer.account",
            "peer.received",
            "device",
            "ip"
        ]
    );
    let mut next = 0;
    for part in plan.parts() {
        assert_eq!(part.offset, next);
        next += part.width;
    }
    assert_eq!(next, plan.width());
    assert_eq!(plan.names().iter().collect::<BTreeSet<_>>().len(), plan.width());
    for name in [
        "event.amount",
        "account.events.10m",
        "account.events.in_10m",
        "device.account.distinct",
        "received.events.1d",
        "account.amount.z",
    ] {
        assert!(plan.names().iter().any(|n| n == name), "{name}");
    }
    let device = plan
        .part(Source::Entity(schema.kind_id("device").unwrap()), schema.kinds()[0].role)
        .unwrap();
    assert!(device.own && plan.names()[device.range()].iter().all(|n| n.starts_with("device.")));

    let mut row = vec![0.0; plan.parts()[0].width];
    schema.event_columns(6 * 3_600_000, TypeId(9), &[2.0, f32::INFINITY], &mut row);
    assert_eq!(row[0], 2.0, "undeclared types come after the declared");
    assert!(row[1] == 2.0 && row[2].is_nan() && row[3].is_nan());
    assert_eq!(row[4..7], [6.0, 0.0, 0.0]);
    assert!((row[7] - 1.0).abs() < 1e-5 && row[8].abs() < 1e-5);
}

#[test]
fn neighbours_point_into_both_profiles_of_the_other_side() {
    let schema = compiled();
    let account = schema.layout(Role::ACCOUNT).unwrap();
    let target = schema.layout(Role::TARGET).unwrap();
    let expected =
        [account.column("age_s").unwrap(), account.width() + target.column("events.1d").unwrap()];
    for role in [Role::ACCOUNT, Role::TARGET, schema.kinds()[0].role] {
        assert_eq!(schema.neighbour_columns(role), expected);
    }
    assert!(schema.neighbour_columns(schema.kinds()[1].role).is_empty());
    assert_eq!(schema.kinds()[2].role, Role::TARGET, "a peer is an account");
}

#[test]
fn ignored_keys_are_compiled_into_the_form_of_their_kind() {
    let ignored = |form, keys: &[&str]| {
        let mut config = FeatureConfig::default();
        let ignore = keys.iter().map(|key| (*key).to_owned()).collect();
        config.kinds.insert("ip".into(), KindConfig { form, ignore, ..KindConfig::default() });
        match Schema::compile(&config) {
            Ok(schema) => Ok(schema.kinds()[0].ignored.clone()),
            Err(errors) => Err(errors.iter().map(ToString::to_string).collect::<Vec<_>>()),
        }
    };
    let ip = Some(KeyForm::Ip);
    for (form, keys, compiled) in [
        (None, &["unknown", "Unknown", "-"][..], &["-", "Unknown", "unknown"][..]),
        (None, &[], &[]),
        (ip, &["::ffff:127.0.0.1", " ::0:1"], &["127.0.0.1", "::1"]),
        // Such a key has no form and is known as it comes.
        (ip, &["unknown", "0.0.0.0"], &["0.0.0.0", "unknown"]),
        (Some(KeyForm::Lower), &["NULL"], &["null"]),
    ] {
        let compiled = compiled.iter().map(|key| (*key).to_owned()).collect::<Vec<_>>();
        assert_eq!(ignored(form, keys), Ok(compiled), "{form:?} {keys:?}");
    }
    let long = "x".repeat(257);
    for (form, keys, problems) in [
        (None, &["", "a"][..], &["kinds.ip.ignore: a key is empty; remove it"][..]),
        (None, &["a", "b", "a"], &["kinds.ip.ignore: `a` is there twice; rename or remove one"]),
        (
            ip,
            &["127.0.0.1", "::ffff:127.0.0.1"],
            &["kinds.ip.ignore: `127.0.0.1` is there twice; rename or remove one"],
        ),
        (
            ip,
            &["203.0.113.300", "nobody", ""],
            &[
                "kinds.ip.ignore: `203.0.113.300` has not the form `ip` of its kind; correct it or remove it",
                "kinds.ip.ignore: `nobody` has not the form `ip` of its kind; correct it or remove it",
                "kinds.ip.ignore: a key is empty; remove it",
            ],
        ),
        (
            None,
            &[long.as_str()],
            &[
                "kinds.ip.ignore: the key that begins with `xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx` has 257 bytes, \
               keys are kept with 256 at most; write it as it is kept, or remove it",
            ],
        ),
    ] {
        let problems = problems.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        assert_eq!(ignored(form, keys), Err(problems), "{form:?} {keys:?}");
    }
    let many: Vec<String> = (0..257).map(|n| format!("k{n}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let problems =
        ["kinds.ip.ignore: 257 keys, more than the 256 that fit; remove some".to_owned()];
    assert_eq!(ignored(None, &many), Err(problems.to_vec()));
}

#[test]
fn ignored_keys_leave_the_version_of_the_schema() {
    let version = |ignore: &[&str]| {
        let mut config = full();
        let ignore = ignore.iter().map(|key| (*key).to_owned()).collect();
        config.kinds.insert("ip".into(), KindConfig { ignore, ..KindConfig::default() });
        Schema::compile(&config).expect("it is good").version().to_owned()
    };
    assert_eq!(version(&[]), version(&["unknown"]));
}

#[test]
fn all_mistakes_are_told_at_once() {
    let mut config = full();
    config.time.half_lives[1] = "2 hours".into();
    config.time.night = [25, 3];
    config.counters[1].types = vec!["paymnt".into()];
    config.counters[2].sum = Some("country".into());
    config.counters[3].when = Some("amonut > 100".into());
    config.counters[3].on = vec!["peer".into(), "devce".into()];
    config.counters.push(CounterConfig { name: "events".into(), ..CounterConfig::default() });
    config.kinds.insert("event".into(), KindConfig::default());
    let account = config.profiles.get_mut("account").unwrap();
    account.numeric.push("amout".into());
    account.distinct.push("account".into());
    let errors = Schema::compile(&config).unwrap_err();
    let told = errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    for part in [
        "time.half_lives: `2 hours` has no known unit",
        "time.night: [25, 3]",
        "counters.payments.types: unknown type `paymnt`; did you mean `payment`?",
        "counters.paid.sum: `country` is a category",
        "counters.dear.when: unknown name `amonut`",
        "did you mean `amount`?",
        "counters.dear.on: the keys of `peer` are accounts",
        "counters.dear.on: unknown role `devce`; did you mean `device`?",
        "counters: `events` is there twice",
        "kinds.event: `event` is a word of the feature vector",
        "profiles.account.numeric: unknown attribute `amout`",
        "profiles.account.distinct: one account has exactly one account",
    ] {
        assert!(told.contains(part), "missing: {part}\n{told}");
    }
    let mut config = full();
    config.profiles.get_mut("device").unwrap().neighbours.push("account.evnts.1d".into());
    let errors = Schema::compile(&config).unwrap_err();
    assert!(
        matches!(&errors[..], [SchemaError::Unknown { hint, .. }] if hint.contains("account.events.1d")),
        "{errors:?}"
    );
    let mut config = full();
    let many = |i| CounterConfig { name: format!("c{i}"), ..CounterConfig::default() };
    config.counters = (0..65).map(many).collect();
    assert!(matches!(
        &Schema::compile(&config).unwrap_err()[..],
        [SchemaError::TooMany { found: 65, max: 64, .. }]
    ));
}

#[test]
fn versions_follow_meaning_and_state_is_carried_over() {
    let old = compiled();
    assert_eq!(old.version(), compiled().version());
    assert_eq!(old.version().len(), 16);
    let mut config = full();
    config.counters.insert(0, CounterConfig { name: "first".into(), ..CounterConfig::default() });
    config.counters[4].when = Some("amount > 200".into());
    let new = Schema::compile(&config).unwrap();
    assert_ne!(old.version(), new.version());

    let (from, to) = (old.layout(Role::ACCOUNT).unwrap(), new.layout(Role::ACCOUNT).unwrap());
    let (mut words, mut out) = (fresh(from), vec![0.0; from.width()]);
    for i in 0..20 {
        let seen = Seen {
            ts_ms: i * 50_000,
            type_id: 1,
            attributes: [150.0, 1.0, 1.0],
            keys: vec![(0, i as u64)],
            neighbour: [3.0, 4.0],
        };
        observe(&old, from, bytemuck::cast_slice_mut(&mut words), &seen, &mut out);
    }
    let mut carried = fresh(to);
    let copied = to.carry_over(
        from.fields(),
        bytemuck::cast_slice(&words),
        bytemuck::cast_slice_mut(&mut carried),
    );
    assert_eq!(copied, from.fields().len() - 1, "all but the counter whose condition changed");
    let nothing = features::hits::CounterHits::default();
    let now = Observation {
        ts_ms: 1_000_000,
        type_id: TypeId(0),
        attributes: &[],
        keys: &[],
        neighbour: &[],
        counters: &nothing,
    };
    let mut there = vec![0.0; to.width()];
    from.look(Some(bytemuck::cast_slice(&words)), &now, &mut out);
    to.look(Some(bytemuck::cast_slice(&carried)), &now, &mut there);
    for (i, column) in from.columns().iter().enumerate() {
        let new = at(to, &there, &column.name);
        if column.name.starts_with("dear.") {
            assert_eq!(new, 0.0);
            assert!(out[i] > 0.0);
        } else {
            assert_eq!(out[i].to_bits(), new.to_bits(), "{}", column.name);
        }
    }
    assert_eq!(at(to, &there, "first.1d"), 0.0);
}

#[test]
fn fields_lie_apart_inside_the_profile() {
    let schema = compiled();
    for (layout, table) in schema.layouts().iter().zip(schema.tables()) {
        assert_eq!(layout.size() % 8, 0);
        assert_eq!(table.version, schema.version());
        let mut taken = BTreeSet::new();
        for field in layout.fields() {
            for byte in field.offset..field.offset + field.kind.size() * field.count {
                assert!(byte < layout.size() && taken.insert(byte), "{} at {byte}", field.name);
            }
        }
        let names: BTreeSet<_> = layout.fields().iter().map(|f| &f.name).collect();
        assert_eq!(names.len(), layout.fields().len());
    }
}
