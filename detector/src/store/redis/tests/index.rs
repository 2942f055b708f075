//! The index of names against a real Redis: it names what is there, whatever happened.

use super::super::config::RedisSection;
use super::super::names::{Keys, Name};
use super::super::server::RedisShards;
use super::super::shards::Shards;
use super::super::store::Store;
use super::real::{at, load, name, up};
use super::server::Server;
use std::collections::BTreeSet;

/// All names, by the indices.
pub fn named(store: &mut Store<RedisShards>) -> Vec<Name> {
    let mut names = Vec::new();
    let each = &mut |_, name, _: &[u8]| {
        names.push(name);
        Ok(())
    };
    store.shards().records(each).expect("reads");
    names.sort();
    names
}

/// All names, whatever the indices say.
pub fn there(store: &mut Store<RedisShards>) -> Vec<Name> {
    let mut names = BTreeSet::new();
    store
        .shards()
        .names(&mut |name| {
            names.insert(name);
        })
        .expect("reads");
    names.into_iter().collect()
}

#[test]
fn a_call_that_ends_half_way_has_named_what_it_wrote() {
    let server = Server::start(&[]);
    let mut store = server.store(&server.section());
    up(&mut store, None);
    let mut admin = server.connection();
    let records = || (0..100).map(|i| (name(i), Some(vec![1])));
    // A list, no envelope, and envelopes that are cut off in each of their parts.
    let foreign: [(&str, &[u8]); 9] = [
        ("LPUSH", b"x"),
        ("SET", b"x"),
        ("SET", &[2]),
        ("SET", &[2, 1, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0]),
        ("SET", &[2, 1, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0]),
        ("SET", &[2, 2, 0, 0, 9, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 7, 0, 0]),
        ("SET", &[3, 1, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
        ("SET", &[3, 1, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]),
        ("SET", &[3, 3, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
    ];
    for (nth, (set, value)) in (1..).zip(foreign) {
        let key = store.shards().key(&name(10 * nth));
        redis::cmd(set).arg(&key).arg(value).exec(&mut admin).expect("sets");
        let error = store.checkpoint(&at(1), records()).expect_err("something else is there");
        let text = error.to_string();
        assert!(text.contains("under this prefix") && !text.contains(&key), "{text}");
        redis::cmd("DEL").arg(&key).exec(&mut admin).expect("deletes");
        // More each time: those before it in the same call.
        let names = named(&mut store);
        assert_eq!(names, there(&mut store));
        assert_eq!(names.len(), 10 * nth);
    }
    store.checkpoint(&at(1), records()).expect("a checkpoint");
    assert_eq!(load(&mut store).len(), 100);
}

#[test]
fn a_record_that_somebody_removed_is_missed() {
    let server = Server::start(&[]);
    let section = RedisSection { shards: 2, ..server.section() };
    let mut store = server.store(&section);
    up(&mut store, None);
    let records = (0..100).map(|i| (name(i), Some(vec![1])));
    store.checkpoint(&at(1), records).expect("a checkpoint");
    let mut standby = server.store(&section);
    let (base, _) = standby.peek_base().expect("reads").expect("there is one");
    let key = store.shards().key(&name(7));
    redis::cmd("DEL").arg(&key).exec(&mut server.connection()).expect("deletes");
    for error in [
        store.load(|_, _| Ok(()), |_| {}).expect_err("one is missing"),
        standby.peek_load(base, |_, _| Ok(()), |_| {}).expect_err("one is missing"),
    ] {
        let text = error.to_string();
        assert!(text.contains("were written") && text.contains("--rebuild-from"), "{text}");
    }
    // Also when it was written again since.
    store.checkpoint(&at(2), [(name(7), Some(vec![2]))]).expect("a checkpoint");
    let error = store.load(|_, _| Ok(()), |_| {}).expect_err("its name stands twice");
    assert!(error.to_string().contains("named twice"), "{error}");
    // What that asks for.
    assert_eq!(store.erase_all().expect("erases"), 100);
    store.first_checkpoint(&at(0)).expect("a first checkpoint");
    let records = (0..100).map(|i| (name(i), Some(vec![2])));
    store.checkpoint(&at(1), records).expect("a checkpoint");
    assert_eq!(load(&mut store).len(), 100);
}

#[test]
fn a_name_that_stands_twice_is_damage_to_the_owner_and_one_record_to_a_standby() {
    let server = Server::start(&[]);
    let section = RedisSection { shards: 1, ..server.section() };
    let mut store = server.store(&section);
    up(&mut store, None);
    let records = (0..20).map(|i| (name(i), Some(vec![1])));
    store.checkpoint(&at(1), records).expect("a checkpoint");
    let mut standby = server.store(&section);
    let (base, _) = standby.peek_base().expect("reads").expect("there is one");

    let index = Keys { prefix: section.prefix.clone(), shards: 1 }.index(0);
    let mut redis = server.connection();
    let block: Vec<u8> = redis::cmd("HGET").arg(&index).arg(0).query(&mut redis).expect("reads");
    let twice = [&block[..], &block[..]].concat();
    redis::cmd("HSET").arg(&index).arg(0).arg(twice).exec(&mut redis).expect("writes");

    let error = store.load(|_, _| Ok(()), |_| {}).expect_err("names stand twice");
    assert!(error.to_string().contains("named twice"), "{error}");
    let mut names = Vec::new();
    let mut take = |name: &Name, _: &[u8]| {
        names.push(name.clone());
        Ok(())
    };
    assert_eq!(standby.peek_load(base, &mut take, |_| {}).expect("reads"), 20);
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 20);
}

#[test]
fn what_comes_and_goes_leaves_no_blocks_behind() {
    let server = Server::start(&[]);
    let mut store = server.store(&server.section());
    up(&mut store, None);
    for round in 0..30 {
        let new = (0..300).map(|i| (name(round * 300 + i), Some(vec![1])));
        // One in a hundred stays.
        let old = (0..300).filter(|i| round > 0 && i % 100 != 0);
        let old = old.map(|i| (name((round - 1) * 300 + i), None));
        store.checkpoint(&at(round as i64 + 1), new.chain(old)).expect("a checkpoint");
    }
    store.checkpoint(&at(40), []).expect("tombstones go");
    assert_eq!(named(&mut store), there(&mut store));
    assert_eq!(load(&mut store).len(), 300 + 29 * 3);
    let mut admin = server.connection();
    let blocks: u64 = redis::cmd("HLEN").arg("det:{s000}:index").query(&mut admin).expect("counts");
    // 9,000 names would take 60: those of two checkpoints, half full, and what says which there are.
    assert!(blocks < 20, "{blocks}");
}
