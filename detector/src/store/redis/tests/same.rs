//! The scripts and the twin: the same answers and records for the same calls.

use super::super::call::{Call, Change, Guard, Item, Step};
use super::super::config::RedisSection;
use super::super::names::{Keys, Name};
use super::super::protocol::{Owner, Tag};
use super::super::record::Record;
use super::super::server::RedisShards;
use super::super::shards::Shards;
use super::super::twin::Twin;
use super::real::name;
use super::server::Server;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

/// Any call, right or wrong.
fn any_call() -> impl Strategy<Value = (u16, Call)> {
    let tag = (0u32..3, 1u32..3).prop_map(|(epoch, n)| Tag { epoch, n });
    let guard = (1u32..3, 0u128..2, prop_oneof![Just(None), (0u64..6).prop_map(Some)]);
    let change = prop_oneof![
        3 => proptest::collection::vec(any::<u8>(), 0..4).prop_map(Change::Write),
        2 => Just(Change::Delete),
        1 => Just(Change::Tidy),
        1 => Just(Change::Erase),
    ];
    let items = proptest::collection::vec((0usize..9, change), 0..6);
    let step = prop_oneof![
        Just(Step::Confirm),
        tag.clone().prop_map(|base| Step::Begin { base }),
        (tag.clone(), tag.clone())
            .prop_map(|(tag, _)| Step::Finish { tag, position: format!("p{tag}") }),
        Just(Step::First { position: "p0".to_owned() }),
        Just(Step::Withdraw),
        Just(Step::Clear),
        (tag.clone(), tag, items).prop_map(|(base, tag, items)| Step::Chunk {
            base,
            // Newer than any base.
            tag: Tag { epoch: tag.epoch + base.epoch, n: tag.n + 3 },
            // Two or three names.
            block_bytes: 40,
            items: items
                .into_iter()
                .map(|(i, change)| Item { key: i.to_string(), change, crc: 0 })
                .collect(),
        }),
    ];
    let call = prop_oneof![
        1 => (1u32..4, 0u128..2, 1u16..3).prop_map(|(epoch, owner, shards)| Call::Claim {
            epoch, owner: Owner(owner), shards: if shards == 2 { 2 } else { 3 },
        }),
        9 => (guard, step).prop_map(|((epoch, owner, seq), step)| Call::Guarded(
            Guard { epoch, owner: Owner(owner), seq: seq.unwrap_or(u64::MAX) }, step)),
    ];
    (0u16..2, call)
}

#[test]
fn scripts_and_twin_say_and_do_the_same() {
    let server = Server::start(&[]);
    let admin = RefCell::new(server.connection());
    let section = RedisSection { shards: 2, ..server.section() };
    let real = RefCell::new(RedisShards::open(&section).expect("opens"));
    let keys = Keys { prefix: "det:".to_owned(), shards: 2 };
    let on: Vec<Vec<Name>> =
        (0..2).map(|shard| (0..60).map(name).filter(|n| n.shard(2) == shard).collect()).collect();
    let mut runner =
        TestRunner::new(Config { cases: 300, failure_persistence: None, ..Config::default() });
    let calls = proptest::collection::vec(any_call(), 1..60);
    let result = runner.run(&calls, |calls| {
        let mut real = real.borrow_mut();
        redis::cmd("FLUSHALL").exec(&mut *admin.borrow_mut()).expect("empties");
        let mut twin = Twin::new(2);
        for (shard, mut call) in calls {
            // Mostly as the owner, and with the right number: else nearly all would be refused.
            let header = twin.now(shard).header.clone();
            match &mut call {
                Call::Guarded(guard, step) => {
                    if guard.seq == u64::MAX {
                        guard.epoch = header.epoch;
                        guard.owner = Owner(u128::from_str_radix(&header.owner, 16).unwrap_or(9));
                        guard.seq = header.seq;
                    }
                    if let Step::Chunk { tag, items, .. } = step {
                        for item in items {
                            let i: usize = item.key.parse().expect("a number");
                            let name = &on[usize::from(shard)][i];
                            *item = Item::new(keys.record(name), name, *tag, item.change.clone());
                        }
                    }
                }
                Call::Claim { .. } | Call::Beat { .. } => {}
            }
            let reply = real.call(shard, &call).expect("answers");
            prop_assert_eq!(&reply, &twin.call(shard, &call), "{:?}", call);
            prop_assert_eq!(&real.header(shard).expect("reads"), &twin.now(shard).header);
            let mut index = redis::cmd("HGETALL");
            let index: BTreeMap<Vec<u8>, Vec<u8>> =
                index.arg(keys.index(shard)).query(&mut *admin.borrow_mut()).expect("reads");
            prop_assert_eq!(index, twin.now(shard).index.fields());
        }
        let mut records = Vec::new();
        real.records(&mut |_, name, bytes| {
            records.push((name, bytes.to_vec()));
            Ok(())
        })
        .expect("reads");
        let both: Vec<(Name, Vec<u8>)> =
            (0..2).flat_map(|shard| twin.now(shard).indexed(&keys, shard)).collect();
        prop_assert!(both.iter().all(|(name, bytes)| Record::read(bytes, name).is_ok()));
        prop_assert_eq!(records, both);
        let mut names = BTreeSet::new();
        real.names(&mut |name| {
            names.insert(keys.record(&name));
        })
        .expect("reads");
        let both: BTreeSet<String> =
            (0..2).flat_map(|shard| twin.now(shard).records.clone().into_keys()).collect();
        prop_assert_eq!(names, both);
        Ok(())
    });
    result.unwrap_or_else(|e| panic!("{e}"));
}
