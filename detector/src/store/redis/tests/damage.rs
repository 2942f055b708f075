//! Damage in a real Redis is found when it is read; and the format before is read.

use super::super::config::RedisSection;
use super::super::protocol::Position;
use super::super::shards::Shards;
use super::real::{at, load, name, up};
use super::server::Server;

fn get(server: &Server, key: &str) -> Vec<u8> {
    redis::cmd("GET").arg(key).query(&mut server.connection()).expect("reads")
}

fn set(server: &Server, key: &str, value: &[u8]) {
    redis::cmd("SET").arg(key).arg(value).exec(&mut server.connection()).expect("writes");
}

#[test]
fn damage_is_named_by_kind_and_shard_not_by_key() {
    let server = Server::start(&[]);
    let section = RedisSection { shards: 1, ..server.section() };
    let mut store = server.store(&section);
    up(&mut store, None);
    let records = (0..4).map(|i| (name(i), Some(vec![i as u8; 20])));
    store.checkpoint(&at(1), records).expect("a checkpoint");
    let key = store.shards().key(&name(1));
    let right = get(&server, &key);
    let changed = |at: usize| {
        let mut bytes = right.clone();
        bytes[at] ^= 4;
        bytes
    };
    let other = get(&server, &store.shards().key(&name(2)));
    let cases = [
        ("an epoch", changed(4), "CRC-32C"),
        ("a length", changed(12), "CRC-32C"),
        ("a CRC", changed(17), "CRC-32C"),
        ("a value", changed(25), "CRC-32C"),
        ("the value of another record", other, "CRC-32C"),
        ("a value that was cut", right[..30].to_vec(), "within version 1 of 1"),
    ];
    for (what, bytes, says) in cases {
        set(&server, &key, &bytes);
        let error = store.load(|_, _| Ok(()), |_| {}).expect_err(what).to_string();
        for word in [says, "shard 0", "kind account", "--rebuild-from earliest"] {
            assert!(error.contains(word), "{what}: {word} is not in {error}");
        }
        assert!(!error.contains("a{1}") && !error.contains("a%7B1"), "{error}");
        assert!(store.newest(&name(1)).is_err(), "{what}");
    }
    set(&server, &key, &right);
    assert_eq!(load(&mut store).len(), 4);

    // The place in the topics that the state belongs to.
    let marker: String = redis::cmd("HGET")
        .arg("det:{s000}:head")
        .arg("r:1.1")
        .query(&mut server.connection())
        .expect("reads");
    let wrong = marker.replace("\"t/0\":1", "\"t/0\":0");
    assert_ne!(wrong, marker);
    redis::cmd("HSET")
        .arg("det:{s000}:head")
        .arg("r:1.1")
        .arg(wrong)
        .exec(&mut server.connection())
        .expect("writes");
    let error = store.recover(&at(1).offsets, &at(0).offsets).expect_err("a wrong position");
    let error = error.to_string();
    assert!(error.contains("CRC-32C") && error.contains("--rebuild-from earliest"), "{error}");
}

#[test]
fn a_state_of_format_2_is_read_and_written_as_format_3() {
    let server = Server::start(&[]);
    let section = RedisSection { shards: 1, ..server.section() };
    let mut store = server.store(&section);
    up(&mut store, None);
    for round in 1..3u8 {
        let records = (0..3).map(|i| (name(i), Some(vec![round])));
        store.checkpoint(&at(round.into()), records).expect("a checkpoint");
    }
    let keys: Vec<String> = (0..3).map(|i| store.shards().key(&name(i))).collect();
    // As the version before wrote it: without the CRCs.
    for key in &keys {
        let bytes = get(&server, key);
        assert_eq!((&bytes[..2], bytes.len()), (&[3, 2][..], 4 + 2 * (16 + 1)));
        let old = [&[2, 2][..], &bytes[2..16], &bytes[20..33], &bytes[37..]].concat();
        set(&server, key, &old);
    }
    let head = "det:{s000}:head";
    let mut admin = server.connection();
    redis::cmd("HSET").arg(head).arg("format").arg(2).exec(&mut admin).expect("writes");
    let readable = store.shards().header(0).expect("reads").readable;
    for (tag, text) in readable {
        let position: Position = serde_json::from_str(&text).expect("JSON");
        let text = serde_json::to_string(&position).expect("JSON");
        redis::cmd("HSET").arg(head).arg(tag.field()).arg(text).exec(&mut admin).expect("writes");
    }

    let mut store = server.store(&section);
    let (_, position, loaded) = up(&mut store, Some(2));
    assert_eq!((position, loaded.len()), (at(2), 3));
    assert!(loaded.values().all(|value| value == &[2]));
    assert_eq!(store.shards().header(0).expect("reads").format, 3);
    let changes = [(name(0), Some(vec![3])), (name(1), None)];
    store.checkpoint(&at(3), changes).expect("a checkpoint");
    let begins = |key: &String| get(&server, key)[..2].to_vec();
    let formats: Vec<Vec<u8>> = keys.iter().map(begins).collect();
    assert_eq!(formats, [[3, 130], [3, 130], [2, 2]]);
    let loaded = load(&mut store);
    assert_eq!((loaded.get(&name(0)), loaded.len()), (Some(&vec![3]), 2));

    let mut store = server.store(&section);
    let (_, _, loaded) = up(&mut store, Some(3));
    assert_eq!(loaded.len(), 2);
    store.checkpoint(&at(4), [(name(0), Some(vec![4]))]).expect("a checkpoint");
    assert_eq!(begins(&keys[0]), [3, 2]);
}
