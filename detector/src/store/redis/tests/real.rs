//! The scripts against a real Redis: the same answers and records as the twin's, and what Redis does on a bad day.

use super::super::call::{Call, Change, Durable, Guard, Item, Reply, Step};
use super::super::config::RedisSection;
use super::super::error::RedisStoreError;
use super::super::index::BLOCK_BYTES;
use super::super::names::{Keys, Name};
use super::super::protocol::{Offsets, Position, Start, Tag};
use super::super::server::RedisShards;
use super::super::shards::Shards;
use super::super::store::Store;
use super::index::{named, there};
use super::server::Server;
use std::collections::BTreeMap;
use std::time::Duration;

pub fn at(offset: i64) -> Position {
    Position { offsets: Offsets::from([("t/0".to_owned(), offset)]), detail: "{}".to_owned() }
}

/// Brings a store up, as a process does, and returns what it loaded.
pub fn up(
    store: &mut Store<RedisShards>,
    o: Option<i64>,
) -> (Tag, Position, BTreeMap<Name, Vec<u8>>) {
    store.claim().expect("claims");
    store.confirm().expect("confirms");
    let committed = o.map(|o| at(o).offsets).unwrap_or_default();
    if store.recover(&committed, &at(0).offsets).expect("recovers") == Start::New {
        store.first_checkpoint(&at(0)).expect("a first checkpoint");
    }
    let loaded = load(store);
    store.look_again().expect("still ours");
    let (base, position) = store.base().cloned().expect("a base");
    (base, position, loaded)
}

pub fn load(store: &mut Store<RedisShards>) -> BTreeMap<Name, Vec<u8>> {
    let mut records = BTreeMap::new();
    let count = store
        .load(
            |name, value| {
                let double = records.insert(name.clone(), value.to_vec());
                double.is_none().then_some(()).ok_or("twice".to_owned())
            },
            |_| {},
        )
        .expect("loads");
    assert_eq!(count, records.len() as u64);
    records
}

pub fn name(i: usize) -> Name {
    match i % 10 {
        9 => Name::global(&format!("table {i}")),
        _ => Name::profile("account", &format!("a{{{i}}}:%")),
    }
}

#[test]
fn what_was_written_is_read_back_by_the_next_one() {
    for shards in [1, 7] {
        let server = Server::start(&[]);
        let section =
            RedisSection { shards, chunk_records: 100, chunk_bytes: 4096, ..server.section() };
        let mut first = server.store(&section);
        assert_eq!(up(&mut first, None), (Tag::FIRST, at(0), BTreeMap::new()));
        let records = |range: std::ops::Range<usize>, with: u8| {
            range.map(move |i| (name(i), Some(vec![with; i % 300]))).collect::<Vec<_>>()
        };
        let (tag, durable) = first.checkpoint(&at(10), records(0..3000, 1)).expect("a checkpoint");
        assert_eq!(durable == Durable::Yes, first.shards().waits());
        assert_eq!(tag, Tag { epoch: 1, n: 1 });
        first.checkpoint(&at(20), records(1000..2000, 2)).expect("a second one");
        let deleted = (0..500).map(|i| (name(i), None));
        first.checkpoint(&at(30), deleted).expect("a third one, of deletions");

        let mut second = server.store(&section);
        let (base, position, loaded) = up(&mut second, Some(30));
        assert_eq!((base, position), (Tag { epoch: 1, n: 3 }, at(30)));
        let expected: BTreeMap<Name, Vec<u8>> = (500..3000)
            .map(|i| (name(i), vec![if (1000..2000).contains(&i) { 2 } else { 1 }; i % 300]))
            .collect();
        assert_eq!(loaded, expected);
        assert_eq!(second.newest(&name(1500)).expect("reads"), Some(vec![2; 0]));
        assert_eq!(second.newest(&name(3)).expect("reads"), None);
        // Tombstones go with the next checkpoint.
        second.checkpoint(&at(40), []).expect("an empty checkpoint");
        let keys: usize = redis::cmd("DBSIZE").query(&mut server.connection()).expect("counts");
        // And a header and an index for each shard.
        assert_eq!(keys, 2500 + 2 * usize::from(shards));
        assert_eq!(named(&mut second), there(&mut second));

        // Nothing goes by itself: a state of which a record vanished could not be started from.
        let mut admin = server.connection();
        let keys: Vec<String> = redis::cmd("KEYS").arg("*").query(&mut admin).expect("lists");
        for key in keys {
            let left: i64 = redis::cmd("PTTL").arg(&key).query(&mut admin).expect("asks");
            assert_eq!(left, -1, "{key} has a time to live");
        }

        // The first one is a zombie now.
        let zombie = first.checkpoint(&at(50), records(0..1, 9)).expect_err("it lost the lease");
        assert!(zombie.is_lost(), "{zombie}");
        assert!(first.heartbeat(Duration::from_secs(1)).expect_err("not the owner").is_lost());
    }
}

#[test]
fn signs_of_life() {
    let server = Server::start(&[]);
    let mut store = server.store(&server.section());
    let mut standby = server.store(&server.section());
    up(&mut store, None);
    assert_eq!(standby.sign_of_life().expect("asks"), None);
    store.heartbeat(Duration::from_secs(600)).expect("it is the owner");
    let first = standby.sign_of_life().expect("asks");
    assert!(first.is_some());
    let left: i64 =
        redis::cmd("PTTL").arg("det:{s000}:alive").query(&mut server.connection()).expect("asks");
    assert!((500_000..=600_000).contains(&left), "{left}");
    let mut heart =
        store.heart(RedisShards::open(&server.section()).expect("opens")).expect("held");
    heart.heartbeat(Duration::from_secs(600)).expect("it is the owner");
    let second = standby.sign_of_life().expect("asks");
    assert!(second.is_some() && second != first, "{second:?}");
    store.release().expect("it is the owner");
    assert_eq!(standby.sign_of_life().expect("asks"), None);
    store.publish_layout("abc", "{}").expect("publishes");
    assert_eq!(store.layout("abc").expect("reads").as_deref(), Some("{}"));
    assert_eq!(store.layout("other").expect("reads"), None);
    assert!(!store.shards().reading().expect("reads"));
    store.will_read(Duration::from_secs(60)).expect("writes");
    assert!(store.shards().reading().expect("reads"));
    store.has_read().expect("writes");
    assert!(!store.shards().reading().expect("reads"));
    let json: String =
        redis::cmd("GET").arg("det:layout:abc").query(&mut server.connection()).expect("reads");
    assert_eq!(json, "{}");
}

#[test]
fn a_killed_server_loses_nothing_and_the_process_goes_on() {
    // With `everysec` a server whose disk is slow answers before it writes: a kill may then lose what was acknowledged, and the
    // lease with it. That is right, and another test's.
    let mut server = Server::start(&["--appendfsync", "always"]);
    let mut store = server.store(&server.section());
    up(&mut store, None);
    store.checkpoint(&at(1), [(name(1), Some(b"one".to_vec()))]).expect("a checkpoint");
    server.kill();
    let down = store.checkpoint(&at(2), [(name(1), Some(b"two".to_vec()))]).expect_err("down");
    assert!(down.is_unavailable() && down.to_string().contains("hint:"), "{down}");
    server.again();
    // The same lease: nothing was lost, so nothing has to start over.
    store.checkpoint(&at(2), [(name(1), Some(b"two".to_vec()))]).expect("Redis is back");
    server.kill();
    server.again();
    let mut next = server.store(&server.section());
    let (_, position, loaded) = up(&mut next, Some(2));
    assert_eq!((position, loaded), (at(2), BTreeMap::from([(name(1), b"two".to_vec())])));
}

#[test]
fn a_server_that_lost_its_state_is_noticed() {
    let mut server = Server::start(&["--appendonly", "no"]);
    let mut store = server.store(&server.section());
    up(&mut store, None);
    store.checkpoint(&at(1), [(name(1), Some(b"one".to_vec()))]).expect("a checkpoint");
    server.kill();
    server.again();
    let empty = store.checkpoint(&at(2), [(name(1), Some(b"two".to_vec()))]).expect_err("empty");
    assert!(empty.is_lost(), "{empty}");
    store.claim().expect("claims");
    store.confirm().expect("confirms");
    let refused = store.recover(&at(1).offsets, &at(0).offsets).expect_err("no silent cold start");
    assert!(refused.to_string().contains("--rebuild-from earliest"), "{refused}");
    // On a person's word.
    assert_eq!(store.erase_all().expect("erases"), 0);
    store.first_checkpoint(&at(1)).expect("a first checkpoint where outputs are");
    assert_eq!(up(&mut store, Some(1)), (Tag::FIRST, at(1), BTreeMap::new()));
}

#[test]
fn erasing_leaves_nothing() {
    let server = Server::start(&[]);
    let section = RedisSection { shards: 3, ..server.section() };
    let mut store = server.store(&section);
    up(&mut store, None);
    let records = (0..1000).map(|i| (name(i), Some(vec![1])));
    store.checkpoint(&at(1), records).expect("a checkpoint");
    assert_eq!(store.erase_all().expect("erases"), 1000);
    let again = server.store(&section).claim();
    assert!(again.is_ok());
    let keys: usize = redis::cmd("DBSIZE").query(&mut server.connection()).expect("counts");
    assert_eq!(keys, 3);
}

#[test]
fn a_call_that_comes_late_does_nothing() {
    let server = Server::start(&[]);
    let mut zombie = server.store(&server.section());
    up(&mut zombie, None);
    zombie.checkpoint(&at(1), [(name(1), Some(b"right".to_vec()))]).expect("a checkpoint");
    let lease = zombie.lease.as_ref().expect("claimed");
    let guard = Guard { epoch: lease.epoch, owner: lease.owner, seq: 0 };
    let base = Tag { epoch: 1, n: 1 };
    let tag = Tag { epoch: 1, n: 2 };
    let key = zombie.shards().key(&name(1));
    let item = Item::new(key, &name(1), tag, Change::Write(b"wrong".to_vec()));
    let step = Step::Chunk { base, tag, block_bytes: BLOCK_BYTES, items: vec![item] };
    // An old number of the owner's own, then the right number of one who is not the owner any more.
    let seq = zombie.shards().header(0).expect("reads").seq;
    let old = Call::Guarded(guard, step.clone());
    assert_eq!(zombie.shards().call(0, &old), Ok(Reply::Refused));
    let mut owner = server.store(&server.section());
    up(&mut owner, Some(1));
    let late = Call::Guarded(Guard { seq, ..guard }, step);
    assert_eq!(zombie.shards().call(0, &late), Ok(Reply::Refused));
    assert_eq!(owner.newest(&name(1)).expect("reads"), Some(b"right".to_vec()));
    owner.checkpoint(&at(2), []).expect("the owner's chain is whole");
}

#[test]
fn a_reply_cut_off_is_resolved_by_the_number() {
    let server = Server::start(&[]);
    let mut store = server.store(&server.section());
    up(&mut store, None);
    let mut admin = server.connection();
    // Redis answers with a closed connection to whoever is connected.
    redis::cmd("CLIENT")
        .arg("KILL")
        .arg("SKIPME")
        .arg("yes")
        .arg("TYPE")
        .arg("normal")
        .exec(&mut admin)
        .expect("kills");
    store.checkpoint(&at(1), [(name(1), Some(b"one".to_vec()))]).expect("connects anew");
}

#[test]
fn a_full_server_says_so_and_recovers() {
    let server = Server::start(&["--maxmemory", "8mb"]);
    let mut store = server.store(&server.section());
    up(&mut store, None);
    let records = || (0..4000).map(|i| (name(i), Some(vec![7; 4000])));
    let full = store.checkpoint(&at(1), records()).expect_err("full");
    assert!(full.is_unavailable() && full.to_string().contains("maxmemory"), "{full}");
    redis::cmd("CONFIG")
        .arg("SET")
        .arg("maxmemory")
        .arg("256mb")
        .exec(&mut server.connection())
        .expect("sets");
    store.checkpoint(&at(1), records()).expect("there is room now");
    assert_eq!(load(&mut store).len(), 4000);
}

fn refusal(section: &RedisSection) -> String {
    let error = RedisShards::open(section).map(|_| ()).expect_err("has to be refused");
    error.to_string()
}

#[test]
fn what_cannot_work_is_refused_at_start() {
    let server = Server::start(&["--requirepass", "geheim"]);
    let none = refusal(&server.section());
    assert!(none.contains("credentials") && none.contains("hint:"), "{none}");
    let wrong = RedisSection { password: Some("falsch".to_owned()), ..server.section() };
    let wrong = refusal(&wrong);
    assert!(wrong.contains("credentials") && !wrong.contains("falsch"), "{wrong}");
    let right = RedisSection { password: Some("geheim".to_owned()), ..server.section() };
    up(&mut server.store(&right), None);

    let server = Server::start(&["--maxmemory-policy", "allkeys-lru"]);
    let evicts = refusal(&server.section());
    assert!(evicts.contains("noeviction"), "{evicts}");
    let server = Server::start(&["--replicaof", "127.0.0.1 1"]);
    let replica = refusal(&server.section());
    assert!(replica.contains("replica") || replica.contains("master"), "{replica}");
    let gone = RedisSection { url: "redis://127.0.0.1:1".to_owned(), ..RedisSection::default() };
    let gone = refusal(&gone);
    assert!(gone.contains("cannot connect") && gone.contains("127.0.0.1:1"), "{gone}");
    let server = Server::start(&["--user", "small", "on", ">p", "~det:*", "+@connection", "+info"]);
    let small = RedisSection {
        username: Some("small".to_owned()),
        password: Some("p".to_owned()),
        ..server.section()
    };
    let error = server.store(&small).claim().expect_err("it may not");
    assert!(error.to_string().contains("ACL SETUSER"), "{error}");
}

#[test]
fn other_settings_and_foreign_data_are_refused() {
    let server = Server::start(&[]);
    let section = RedisSection { shards: 4, ..server.section() };
    up(&mut server.store(&section), None);
    for shards in [1, 8] {
        let other = RedisSection { shards, ..section.clone() };
        let error = server.store(&other).claim().expect_err("another number of shards");
        assert!(matches!(error, RedisStoreError::OtherSettings { .. }), "{error}");
    }
    let mut store = server.store(&section);
    up(&mut store, None);
    store.checkpoint(&at(1), [(name(1), Some(vec![1]))]).expect("a checkpoint");
    let mut admin = server.connection();
    let key = store.shards().key(&name(1));
    redis::cmd("SET").arg(&key).arg("nonsense").exec(&mut admin).expect("sets");
    let error = store.checkpoint(&at(2), [(name(1), Some(vec![1]))]).expect_err("no envelope");
    assert!(error.to_string().contains("under this prefix"), "{error}");
    let error = store.load(|_, _| Ok(()), |_| {}).expect_err("no envelope");
    assert!(matches!(error, RedisStoreError::Damaged { .. }), "{error}");
    let index = Keys { prefix: section.prefix.clone(), shards: 4 }.index(name(1).shard(4));
    redis::cmd("HSET").arg(&index).arg("room").arg("x").exec(&mut admin).expect("sets");
    let error = store.load(|_, _| Ok(()), |_| {}).expect_err("no index");
    let refused = matches!(error, RedisStoreError::Refused { .. });
    assert!(refused && error.to_string().contains(&index), "{error}");
}

#[test]
fn a_standby_reads_beside_the_owner() {
    let server = Server::start(&[]);
    let mut owner = server.store(&server.section());
    let mut standby = server.store(&server.section());
    assert_eq!(standby.peek_base(), Ok(None));
    up(&mut owner, None);
    owner.checkpoint(&at(1), [(name(1), Some(vec![1])), (name(2), Some(vec![2]))]).expect("writes");
    let (base, position) = standby.peek_base().expect("reads").expect("there is one");
    assert_eq!(position, at(1));
    let mut read = Vec::new();
    let count = standby.peek_load(
        base,
        |_, value| {
            read.push(value.to_vec());
            Ok(())
        },
        |_| {},
    );
    assert_eq!(count, Ok(2));
    // One checkpoint on, it is still there; after the next one begins, no more.
    owner.checkpoint(&at(2), [(name(1), None)]).expect("writes");
    assert_eq!(standby.peek_load(base, |_, _| Ok(()), |_| {}), Ok(2));
    owner.checkpoint(&at(3), [(name(1), Some(vec![3]))]).expect("writes");
    assert!(standby.peek_load(base, |_, _| Ok(()), |_| {}).expect_err("withdrawn").is_lost());
}
