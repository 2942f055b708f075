//! What others write to the journal and to the actions has no effect: no account is immune by it, no action is forgotten, and every start
//! comes to the same state.

use crate::conservation::{action, configured, lines};
use crate::instance::{Instance, Setup};
use crate::stack::{Record, Stack};
use crate::support::stream;
use crate::watch::{counted, said};
use detector::kafka::signature::Secret;
use detector::store::redis::{RedisSection, RedisShards, Store};
use serde_json::{Value, json};
use std::collections::BTreeMap;

const FOREIGN: &str = "detector_foreign_records_total";

/// The secret that lies with the state in Redis.
pub fn secret(stack: &Stack, prefix: &str) -> Secret {
    let redis = RedisSection {
        url: stack.redis().to_owned(),
        prefix: format!("{prefix}det:"),
        ..RedisSection::default()
    };
    let shards = RedisShards::open(&redis).unwrap_or_else(|e| panic!("{e}"));
    let mut store = Store::new(shards, redis.limits());
    let (_, base) = store.peek_base().unwrap_or_else(|e| panic!("{e}")).expect("a checkpoint");
    let detail: Value = serde_json::from_str(&base.detail).expect("it is JSON");
    let secret = detail["signing"]["secret"].as_str().expect("it has one").to_owned();
    secret.try_into().expect("it is one")
}

/// What is known of accounts, beside what depends on how partitions were interleaved.
fn last_actions(service: &Instance, accounts: &[&str]) -> Vec<Value> {
    let last = |account: &&str| {
        let (status, found) = service.get(&format!("/v1/accounts/{account}")).expect("it answers");
        assert_eq!(status, 200, "{account}: {found}");
        json!([account, found["last_action"], found["quiet"]])
    };
    accounts.iter().map(last).collect()
}

/// Messages that look as if they were ours: how many of each topic.
fn forge(stack: &Stack, prefix: &str, innocent: &str, guilty: &Record) -> [u64; 2] {
    let (actions, journal) = (format!("{prefix}actions"), format!("{prefix}journal"));
    let none = BTreeMap::new();
    let real: Value = serde_json::from_str(&guilty.value).expect("an action is JSON");
    let mut ban = real.clone();
    for (name, value) in [
        ("action_id", json!("00000000000000000000000000000001")),
        ("action", json!("ban")),
        ("account", json!(innocent)),
        ("expires_at", Value::Null),
        ("event", Value::Null),
    ] {
        ban[name] = value;
    }
    let mut reverse = real.clone();
    for (name, value) in [
        ("action_id", json!("00000000000000000000000000000002")),
        ("action", json!("reverse")),
        ("reverses", real["action_id"].clone()),
    ] {
        reverse[name] = value;
    }
    let key = guilty.key.as_deref().expect("an action has a key");
    let mut altered = guilty.headers.clone();
    altered.insert("ce_caphour".into(), "1".into());
    for partition in [0, 1] {
        for (key, value, headers) in [
            (innocent, ban.to_string(), &none),
            // The signature of another action.
            (innocent, ban.to_string(), &guilty.headers),
            (key, reverse.to_string(), &none),
            (key, guilty.value.clone(), &altered),
            // An action of ours, once more.
            (key, guilty.value.clone(), &guilty.headers),
            (key, "no action".to_owned(), &none),
            (key, String::new(), &none),
        ] {
            stack.put(&actions, partition, (key, value.as_str()), headers);
        }
    }
    let records = stack.consume(&journal);
    let begins = records.iter().find(|r| r.value.contains("begins")).expect("it has begun");
    let took = records.iter().rfind(|r| r.value.contains("took")).expect("something was taken");
    for (value, headers) in [
        (r#"{"writer":"evil","begins":{"epoch":999}}"#.to_owned(), &none),
        (begins.value.replace("\"epoch\":1", "\"epoch\":999"), &begins.headers),
        (r#"{"live":{"epoch":999,"at":[],"anew":true}}"#.to_owned(), &none),
        (took.value.clone(), &none),
        // Records of ours, once more.
        (begins.value.clone(), &begins.headers),
        (took.value.clone(), &took.headers),
        ("no journal".to_owned(), &none),
        (String::new(), &none),
    ] {
        stack.put(&journal, 0, ("", value.as_str()), headers);
    }
    [14, 8]
}

#[test]
fn forged_records_change_nothing_and_are_named() {
    let stack = Stack::up();
    let s = configured();
    s.run("run --config conf --input events --output actions").good();
    let expected: BTreeMap<String, Value> =
        lines(&s.read("actions")).iter().map(|l| action(l)).collect();
    let events = lines(&stream().events);
    let part = events.len() / 3;
    // The second instance follows, the third has all to take again.
    let never = [("DETECTOR__STATE__CHECKPOINT_EVERY", "1h")];

    for delivery in ["exactly_once", "at_least_once"] {
        let prefix = &format!("{}-", &delivery[..2]);
        stack.topics(prefix, 1);
        let topic = |name: &str| format!("{prefix}{name}");
        let setup = Setup { stack: &stack, scratch: &s, prefix, delivery };
        let mut first = setup.start_as(&[], &never);
        stack.produce(&topic("events"), &events[..part]);
        first.idle();
        let published = stack.consume(&topic("actions"));
        let parsed = |r: &Record| action(&r.value).1;
        let guilty = published.iter().rfind(|r| {
            let found = last_actions(&first, &[r.key.as_deref().expect("it has a key")]);
            found[0][1]["at"] == parsed(r)["at"] && parsed(r)["shadow"] == false
        });
        let guilty = guilty.expect("somebody was acted against");
        let account = |line: &String| {
            let event: Value = serde_json::from_str(line).expect("an event is JSON");
            event["account"].as_str().expect("it has one").to_owned()
        };
        let innocent = events[..part]
            .iter()
            .map(account)
            .find(|account| !expected.values().any(|action| action["account"] == account.as_str()));
        let innocent = innocent.expect("most are");
        let accounts = [&*innocent, guilty.key.as_deref().expect("it has a key")];
        let known = last_actions(&first, &accounts);
        assert!(known[0][1].is_null() && !known[1][1].is_null(), "{known:?}");

        let mut second = setup.start_as(&[], &never);
        second.wait("a standby with a state", |f| {
            f["state"] == "standby" && f["standby"]["journal"].as_i64() > Some(0)
        });
        let [of_actions, of_journal] = forge(&stack, prefix, &innocent, guilty);
        stack.produce(&topic("events"), &events[part..2 * part]);
        first.idle();
        stack.produce(&topic("events"), &events[2 * part..]);
        first.idle();
        // The live one sees them between its own.
        counted(&first, FOREIGN, |records| records > 0.0);
        said(&s, prefix, &["record of another writer passed over"]);
        let known = last_actions(&first, &accounts);
        assert!(known[0][1].is_null(), "{known:?}");
        first.kill();

        second.idle();
        let took = "taking over with the state that followed the last instance";
        assert!(second.has_said(took), "{}", second.log());
        assert_eq!(last_actions(&second, &accounts), known, "{delivery}: after a take-over");
        second.kill();
        let mut third = setup.start_as(&[], &never);
        third.idle();
        assert_eq!(last_actions(&third, &accounts), known, "{delivery}: after a start");
        for (topic, found) in [(topic("actions"), of_actions), (topic("journal"), of_journal)] {
            let of_topic = format!("{FOREIGN}{{topic=\"{topic}\"");
            let counted = third.metric(&of_topic);
            assert!(counted >= Some(found as f64), "{topic}: {counted:?}, {found} were put there");
            let words = format!("topic=\"{topic}\" partition=");
            assert!(third.has_said(&words), "{words} is not in:\n{}", third.log());
        }

        let ours = |r: &&Record| !action(&r.value).0.starts_with("000000000000000000000000000000");
        let actions = stack.consume(&topic("actions"));
        let actions = actions.iter().filter(|r| r.value.starts_with('{')).filter(ours);
        let found: BTreeMap<String, Value> = actions.map(|r| action(&r.value)).collect();
        assert_eq!(found, expected, "{delivery}: actions");
        third.kill();

        // Rebuilt from the topics, with the state still in Redis: what is not ours is known there, too.
        let mut fourth = setup.start_as(&["--rebuild-from", "earliest"], &never);
        fourth.idle();
        assert_eq!(last_actions(&fourth, &accounts), known, "{delivery}: after a rebuild");
        fourth.stop();
    }
}
