//! A call whose reply is lost: resolved by its number where that is sure, given up where it is not.

use super::super::call::{Call, CallError, Reply, Step};
use super::super::error::RedisStoreError;
use super::super::names::Name;
use super::super::protocol::{Offsets, Position, Start};
use super::super::store::{Limits, Store, random_pause};
use super::super::twin::{Client, Fate, Twin};
use std::cell::RefCell;
use std::collections::HashSet;
use std::rc::Rc;
use std::time::Duration;

const LIMITS: Limits = Limits { chunk_records: 1, chunk_bytes: 1, block_bytes: 8 };

fn at(offset: i64) -> Position {
    Position { offsets: Offsets::from([("t/0".to_owned(), offset)]), detail: String::new() }
}

fn up() -> (Rc<RefCell<Twin>>, Store<Client>) {
    let twin = Rc::new(RefCell::new(Twin::new(2)));
    let mut store = Store::new(Client::new(&twin), LIMITS);
    store.claim().expect("claims");
    store.confirm().expect("confirms");
    assert_eq!(store.recover(&Offsets::new(), &at(0).offsets), Ok(Start::New));
    store.first_checkpoint(&at(0)).expect("a first checkpoint");
    (twin, store)
}

fn records(value: u8) -> Vec<(Name, Option<Vec<u8>>)> {
    (0..4).map(|i| (Name::global(&i.to_string()), Some(vec![value]))).collect()
}

/// Every call of a checkpoint in turn has this fate, `times` times.
fn each_call(
    fate: Fate,
    times: usize,
    check: impl Fn(Store<Client>, Rc<RefCell<Twin>>, Option<RedisStoreError>),
) {
    for unlucky in 0.. {
        let (twin, mut store) = up();
        let calls = Rc::new(RefCell::new(0));
        let counted = calls.clone();
        store.shards().fate = Box::new(move |_, _| {
            let mut calls = counted.borrow_mut();
            *calls += 1;
            if (unlucky..unlucky + times).contains(&(*calls - 1)) { fate } else { Fate::Arrives }
        });
        let result = store.checkpoint(&at(1), records(1));
        if *calls.borrow() <= unlucky {
            assert!(unlucky >= 10, "a checkpoint has more calls");
            return;
        }
        store.shards().fate = Box::new(|_, _| Fate::Arrives);
        check(store, twin, result.err());
    }
}

#[test]
fn erasing_that_is_cut_short_is_noticed_and_can_be_done_again() {
    for calls in 0.. {
        let (twin, mut store) = up();
        store.checkpoint(&at(1), records(1)).expect("a checkpoint");
        let mut made = 0;
        store.shards().fate = Box::new(move |_, _| {
            made += 1;
            if made > calls { Fate::Late } else { Fate::Arrives }
        });
        let whole = store.erase_all().is_ok();
        for committed in [Offsets::new(), at(1).offsets] {
            let twin = Rc::new(RefCell::new(twin.borrow().clone()));
            let mut next = Store::new(Client::new(&twin), LIMITS);
            next.claim().expect("claims");
            next.confirm().expect("confirms");
            match next.recover(&committed, &at(0).offsets) {
                Err(refused) => assert!(matches!(refused, RedisStoreError::State(_)), "{refused}"),
                Ok(Start::From { position, .. }) => {
                    assert_eq!((position, calls), (at(1), 0), "something was withdrawn");
                    assert_eq!(next.load(|_, _| Ok(()), |_| {}), Ok(4));
                }
                Ok(Start::New) => {
                    next.first_checkpoint(&at(0)).expect("a first checkpoint");
                    match next.load(|_, _| Ok(()), |_| {}) {
                        Ok(count) => assert_eq!(count, 0),
                        Err(e) => assert!(matches!(e, RedisStoreError::Damaged { .. }), "{e}"),
                    }
                }
            }
        }
        let mut again = Store::new(Client::new(&twin), LIMITS);
        again.claim().expect("claims");
        again.confirm().expect("confirms");
        again.erase_all().expect("erases");
        for shard in [0, 1] {
            let twin = twin.borrow();
            let state = twin.now(shard);
            assert_eq!((state.records.len(), state.header.records), (0, 0));
            assert_eq!(state.index.names().count(), 0);
        }
        again.first_checkpoint(&at(0)).expect("a first checkpoint");
        again.checkpoint(&at(1), records(2)).expect("a checkpoint");
        assert_eq!(again.load(|_, _| Ok(()), |_| {}), Ok(4));
        if whole {
            // On each of two shards: withdrawn, confirmed, two records, cleared.
            assert_eq!(calls, 10);
            return;
        }
    }
}

#[test]
fn a_call_that_arrived_is_not_made_again() {
    each_call(Fate::ReplyLost, 1, |mut store, twin, error| {
        assert_eq!(error, None);
        store.checkpoint(&at(2), records(2)).expect("the chain is whole");
        // Both shards: 1 confirmation, 2 of the first checkpoint, 2 times begin, 2 chunks, finish, confirmation; the call
        // behind a lost confirmation once more at the most.
        let calls: u64 = [0, 1].iter().map(|s| twin.borrow().now(*s).header.seq).sum();
        assert!((26..=27).contains(&calls), "{calls}");
    });
}

#[test]
fn a_call_that_did_not_arrive_is_made_again_and_comes_once() {
    each_call(Fate::Late, 1, |mut store, twin, error| {
        assert_eq!(error, None);
        let (shard, late) = store.shards().late.borrow_mut().remove(0);
        assert_eq!(twin.borrow_mut().call(shard, &late), Reply::Refused);
        store.checkpoint(&at(2), records(2)).expect("the chain is whole");
    });
}

#[test]
fn one_that_stays_away_is_given_up_and_cannot_harm_the_next() {
    each_call(Fate::Late, 3, |mut store, twin, error| {
        let error = error.expect("given up");
        assert!(error.is_unavailable(), "{error}");
        // What comes between takes the next call's number: start over. What comes after is refused.
        let late = store.shards().late.borrow().clone();
        let before = matches!(&late[0].1, Call::Guarded(_, Step::Chunk { .. }));
        if before {
            let (shard, call) = &late[0];
            assert_eq!(twin.borrow_mut().call(*shard, call), Reply::Done);
        }
        store.checkpoint(&at(2), records(2)).expect("the chain is closed behind it");
        for (shard, call) in &late {
            assert_eq!(twin.borrow_mut().call(*shard, call), Reply::Refused);
        }
        store.checkpoint(&at(3), records(3)).expect("the chain is whole");
    });
}

#[test]
fn lost_claims() {
    for fate in [Fate::ReplyLost, Fate::Late] {
        let (twin, mut store) = up();
        let mut first = true;
        store.shards().fate =
            Box::new(
                move |shard, _| {
                    if shard == 1 && std::mem::take(&mut first) { fate } else { Fate::Arrives }
                },
            );
        assert_eq!(store.claim(), Ok(2));
        let late = store.shards().late.borrow().clone();
        for (shard, call) in late {
            assert_eq!(twin.borrow_mut().call(shard, &call), Reply::Refused);
        }
        store.confirm().expect("it is the owner");
    }
}

#[test]
fn out_of_turn_and_backwards_are_mistakes_that_are_told() {
    let (_, mut store) = up();
    store.checkpoint(&at(5), records(1)).expect("a checkpoint");
    let back = store.checkpoint(&at(4), records(1)).expect_err("backwards");
    assert!(matches!(back, RedisStoreError::Backwards { from: 5, to: Some(4), .. }), "{back}");
    store.claim().expect("claims");
    let early = store.checkpoint(&at(6), []).expect_err("not confirmed");
    assert!(matches!(early, RedisStoreError::OutOfTurn { first: "confirm", .. }), "{early}");
}

#[test]
fn a_sign_of_life_ends() {
    let (twin, mut store) = up();
    store.heartbeat(Duration::from_millis(100)).expect("it is the owner");
    assert!(store.sign_of_life().is_ok_and(|sign| sign.is_some()));
    twin.borrow_mut().now_ms += 100;
    assert_eq!(store.sign_of_life(), Ok(None));
}

#[test]
fn pauses_differ_and_grow() {
    let pauses: HashSet<Duration> = (0..50).map(|_| random_pause(9)).collect();
    assert!(pauses.len() > 1);
    assert!(pauses.iter().all(|p| (1600..=3200).contains(&p.as_millis())));
    assert!(random_pause(0) <= Duration::from_millis(100));
}

#[test]
fn errors_of_a_lost_reply_are_told_as_such() {
    let (_, mut store) = up();
    store.shards().fate = Box::new(|_, _| Fate::Late);
    let error = store.checkpoint(&at(1), []).expect_err("nothing arrives");
    let RedisStoreError::Unavailable { why: CallError::Unknown { .. }, .. } = error else {
        panic!("{error}")
    };
}
