//! Saved records whose numbers say more than there is: refused, without room for what they ask for.

mod support;

use engine::limits::IDS_MAX;
use engine::{Engine, Name, Options};
use std::collections::BTreeMap;
use support::{Message, Run, config, engine};

const CONFIG: &str = r#"
[kinds.device]
[[counters]]
name = "events"
windows = ["10m"]
"#;

type Named = BTreeMap<Name, Vec<u8>>;

/// The state after three events of two accounts.
fn saved() -> Named {
    let mut run = Run::new(engine(&config(CONFIG), None, Options::default()));
    let event = |n: i64, account: &str| {
        let ts = 1_700_000_000_000 + n * 1000;
        Message::Event(format!(
            r#"{{"event_id":"e{n}","ts":{ts},"type":"message","account":"{account}","entities":{{"device":"d{n}"}}}}"#
        ))
    };
    run.engine.name_forgotten();
    run.step(&[event(0, "u1"), event(1, "u2"), event(2, "u1")]);
    let mut records = Named::new();
    run.engine.save_named(&mut |name, value| {
        if let Some(value) = value {
            records.insert(name, value);
        }
    });
    records
}

fn load<'a>(records: impl Iterator<Item = (&'a Name, &'a Vec<u8>)>) -> Result<Engine, String> {
    let mut engine = engine(&config(CONFIG), None, Options::default());
    let mut loading = engine.loading();
    for (name, value) in records {
        loading.named(name, value).map_err(|e| e.to_string())?;
    }
    loading.finish().map_err(|e| e.to_string())?;
    Ok(engine)
}

fn profile(kind: &str, key: &str) -> Name {
    Name::Profile { kind: kind.into(), key: key.into() }
}

/// The records with some bytes of one of them changed.
fn changed(name: &Name, at: usize, bytes: &[u8]) -> Named {
    let mut records = saved();
    let value = records.get_mut(name).expect("it was saved");
    value[at..at + bytes.len()].copy_from_slice(bytes);
    records
}

#[test]
fn id_beyond_the_count_of_ids_is_refused_in_any_order() {
    assert!(load(saved().iter()).is_ok() && load(saved().iter().rev()).is_ok());
    let names = [profile("account", "u2"), profile("device", "d1")];
    for name in &names {
        for id in [3, 1 << 16, 1 << 26, IDS_MAX, IDS_MAX + 1, u32::MAX] {
            // Form, tag, then the id.
            let records = changed(name, 2, &id.to_le_bytes());
            let says = format!("id {id} where globals have");
            // Globals come last, then first.
            for loaded in [load(records.iter()), load(records.iter().rev())] {
                let refused = loaded.map(|_| ()).expect_err("there is no such id");
                assert!(refused.contains(&says), "{name:?}: {refused}");
            }
        }
    }
}

#[test]
fn record_far_above_the_others_is_taken_when_globals_have_its_id() {
    let mut records = changed(&profile("account", "u2"), 2, &100_000u32.to_le_bytes());
    let globals = records.get_mut(&Name::Global("globals".into())).expect("it was saved");
    let mut json: serde_json::Value = serde_json::from_slice(globals).expect("JSON");
    json["account_ids"] = 100_001.into();
    *globals = json.to_string().into_bytes();
    for loaded in [load(records.iter()), load(records.iter().rev())] {
        let engine = loaded.expect("it is taken");
        assert!(engine.explain("u1").is_some() && engine.explain("u2").is_some());
    }
}

#[test]
fn count_of_ids_asks_for_no_more_than_records_came_for() {
    for ids in [IDS_MAX + 1, u32::MAX] {
        let mut records = saved();
        let globals = records.get_mut(&Name::Global("globals".into())).expect("it was saved");
        let mut json: serde_json::Value = serde_json::from_slice(globals).expect("JSON");
        json["account_ids"] = ids.into();
        for of_kind in json["entity_ids"].as_array_mut().expect("a list") {
            *of_kind = ids.into();
        }
        *globals = json.to_string().into_bytes();
        let engine = load(records.iter()).expect("free ids are no harm");
        // Without a bound, profiles alone take tens of gigabytes.
        assert!(engine.size().bytes < 1 << 30, "{}", engine.size().bytes);
    }
}

#[test]
fn length_beyond_the_end_is_refused() {
    // Of the record, and of the key in it behind form, tag, id, that length and a hash.
    for (name, what) in [(profile("account", "u1"), "account"), (profile("device", "d0"), "entity")]
    {
        for at in [6, 6 + 4 + 8] {
            for length in [1 << 16, i32::MAX as u32, u32::MAX] {
                let records = changed(&name, at, &length.to_le_bytes());
                let refused = load(records.iter()).map(|_| ()).expect_err("it has not so much");
                assert!(refused.contains(what), "{refused}");
            }
        }
        let whole = saved();
        for length in (0..whole[&name].len()).step_by(13) {
            let mut records = whole.clone();
            records.insert(name.clone(), whole[&name][..length].to_vec());
            assert!(load(records.iter()).is_err(), "{what} of {length} bytes");
        }
    }
}
