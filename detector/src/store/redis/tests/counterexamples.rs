//! The protocol's table of counterexamples, a test for each line: with the rule the search finds nothing, without it
//! a violation. So each rule is needed, and the checker can fail. Where other rules cover a line as well, the
//! line's own trace is played.

use super::super::call::{Call, Guard, Reply, Step};
use super::super::names::Name;
use super::super::protocol::{Offsets, Position, Start};
use super::super::shards::Shards;
use super::super::store::{Limits, Store};
use super::super::twin::{Client, Rules, Twin};
use super::checker::{Bounds, Found, Search};
use super::world::{Event, Order, Plan};
use std::cell::RefCell;
use std::rc::Rc;

const X: Event = Event::Touch(0);
const Y: Event = Event::Touch(1);

const ONE: Bounds = Bounds {
    processes: 1,
    switches: 0,
    losses: 0,
    restores: 0,
    faults: 0,
    late: false,
    states: 400_000,
};
/// One process is killed anywhere, another one takes over.
const TAKE_OVER: Bounds = Bounds { processes: 2, switches: 1, ..ONE };
/// One process is paused anywhere, another one takes over, the first one goes on.
const ZOMBIE: Bounds = Bounds { processes: 2, switches: 2, ..ONE };

/// The search finds nothing with all rules, and a violation without one; gives what it says of it.
fn needed(search: &Search, without: impl FnOnce(&mut Plan, &mut Rules)) -> String {
    let whole = search.run();
    assert!(matches!(whole, Found::Nothing(states) if states > 20), "{whole:#?}");
    let mut broken = search.clone();
    without(&mut broken.plan, &mut broken.rules);
    match broken.run() {
        Found::Wrong(why, _) => format!("wrong: {why}"),
        Found::Refused(why, _) => format!("refused: {why}"),
        found => panic!("the rule is not needed here: {found:?}"),
    }
}

fn wrong(search: &Search, without: impl FnOnce(&mut Plan, &mut Rules)) {
    let found = needed(search, without);
    assert!(found.starts_with("wrong: "), "{found}");
}

fn refused(search: &Search, without: impl FnOnce(&mut Plan, &mut Rules)) {
    let found = needed(search, without);
    assert!(found.starts_with("refused: "), "{found}");
}

#[test]
fn no_first_checkpoint() {
    refused(&Search::right(2, &[X, Y], ONE), |plan, _| plan.first_checkpoint = false);
}

#[test]
fn one_marker_per_shard() {
    refused(&Search::right(2, &[X, Y], ONE), |_, rules| rules.two_markers = false);
}

#[test]
fn the_smallest_marker_is_not_a_common_one() {
    let mut search = Search::right(2, &[X, Y, X], Bounds { restores: 1, ..ONE });
    search.may_refuse = true;
    wrong(&search, |plan, _| plan.common_base = false);
}

#[test]
fn the_two_newest_versions() {
    wrong(&Search::right(1, &[X, X, X], TAKE_OVER), |_, rules| rules.keep_base = false);
}

#[test]
fn nothing_withdrawn_before_overwriting() {
    needed(&Search::right(2, &[X, Y, X], TAKE_OVER), |_, rules| rules.withdraw = false);
}

#[test]
fn no_chain_and_a_crash() {
    wrong(&Search::right(2, &[X, Y], Bounds { losses: 1, ..ONE }), |_, rules| rules.chain = false);
}

#[test]
fn no_chain_and_a_late_call() {
    let bounds = Bounds { faults: 1, late: true, ..ONE };
    needed(&Search::right(2, &[X, Y, X], bounds), |_, rules| rules.chain = false);
}

#[test]
fn no_wait_before_the_base() {
    refused(&Search::right(2, &[X, Y, X], Bounds { losses: 1, ..ONE }), |_, rules| {
        rules.wait_base = false;
    });
}

#[test]
fn no_wait_after_the_claim() {
    needed(&Search::right(1, &[X, Y], Bounds { losses: 1, ..TAKE_OVER }), |_, rules| {
        rules.wait_claim = false;
    });
}

#[test]
fn a_wait_on_another_connection() {
    needed(&Search::right(2, &[X, Y], Bounds { losses: 1, ..ONE }), |_, rules| {
        rules.same_connection = false;
    });
}

#[test]
fn epoch_on_one_shard_only() {
    // The chain covers it, mostly: without both.
    needed(&Search::right(2, &[X, Y, Y], ZOMBIE), |_, rules| {
        rules.everywhere = false;
        rules.chain = false;
    });
}

#[test]
fn outputs_read_before_init() {
    wrong(&Search::right(1, &[X, Y], TAKE_OVER), |plan, _| plan.order = Order::OBeforeInit);
}

#[test]
fn outputs_read_before_the_claim() {
    needed(&Search::right(1, &[X, Y, X], ZOMBIE), |plan, _| plan.order = Order::OBeforeClaim);
}

#[test]
fn loaded_before_the_claim_and_not_looked_at_again() {
    let bounds = Bounds { switches: 3, ..ZOMBIE };
    wrong(&Search::right(1, &[X, X, X], bounds), |plan, _| {
        plan.order = Order::LoadBeforeClaim;
        plan.look_again = false;
    });
}

#[test]
fn written_before_the_transaction_commits() {
    refused(&Search::right(1, &[X, Y], ONE), |plan, _| plan.wait_for_commit = false);
}

#[test]
fn deleted_without_a_tombstone() {
    wrong(&Search::right(1, &[X, Event::Delete(0)], ONE), |_, rules| rules.tombstones = false);
}

fn at(offset: i64) -> Position {
    Position { offsets: Offsets::from([("t/0".to_owned(), offset)]), detail: String::new() }
}

fn store(twin: &Rc<RefCell<Twin>>) -> Store<Client> {
    Store::new(Client::new(twin), Limits { chunk_records: 1, chunk_bytes: 1, block_bytes: 8 })
}

fn up(store: &mut Store<Client>, o: Option<i64>) {
    store.claim().expect("claims");
    store.confirm().expect("confirms");
    let committed = o.map(|o| at(o).offsets).unwrap_or_default();
    if store.recover(&committed, &at(0).offsets).expect("recovers") == Start::New {
        store.first_checkpoint(&at(0)).expect("a first checkpoint");
    }
}

#[test]
fn a_first_checkpoint_by_one_with_an_old_o() {
    let twin = Rc::new(RefCell::new(Twin::new(2)));
    let mut old = store(&twin);
    old.claim().expect("claims");
    old.confirm().expect("confirms");
    assert_eq!(old.recover(&Offsets::new(), &at(0).offsets), Ok(Start::New));
    let mut owner = store(&twin);
    up(&mut owner, None);
    let (tag, _) = owner.checkpoint(&at(1), []).expect("a checkpoint");
    // It lost the lease, and even with it withdraws nothing.
    assert!(old.first_checkpoint(&at(0)).expect_err("the lease is lost").is_lost());
    old.claim().expect("claims");
    old.confirm().expect("confirms");
    assert_eq!(old.first_checkpoint(&at(0)), Ok(at(1)));
    assert_eq!(old.base().map(|(tag, _)| *tag), Some(tag));
    // Without that rule it would.
    twin.borrow_mut().rules.first_adds = false;
    assert_eq!(old.first_checkpoint(&at(0)), Ok(at(0)));
}

#[test]
fn a_shard_set_back_to_the_moment_between_two_claims() {
    let twin = Rc::new(RefCell::new(Twin::new(2)));
    let mut owner = store(&twin);
    up(&mut owner, None);
    owner.checkpoint(&at(1), []).expect("a checkpoint");
    let mut next = store(&twin);
    let before = twin.borrow().moments(1) - 1;
    next.claim().expect("claims");
    twin.borrow_mut().restore(1, before);
    assert!(next.confirm().expect_err("shard 1 is the other's").is_lost());
    for shard in [0, 1] {
        assert_eq!(twin.borrow().now(shard).header.readable.len(), 2, "nothing was withdrawn");
    }
}

#[test]
fn an_epoch_given_out_twice() {
    for (rule, reply) in [(true, Reply::Refused), (false, Reply::Done)] {
        let twin = Rc::new(RefCell::new(Twin::new(1)));
        twin.borrow_mut().rules.owner = rule;
        let mut first = store(&twin);
        let epoch = first.claim().expect("claims");
        let owner = first.lease.as_ref().expect("claimed").owner;
        // The claim is lost with a crash, and the next process gets the same number.
        twin.borrow_mut().crash(0, 0);
        let mut second = store(&twin);
        assert_eq!(second.claim(), Ok(epoch));
        let call = Call::Guarded(Guard { epoch, owner, seq: 0 }, Step::Confirm);
        assert_eq!(twin.borrow_mut().call(0, &call), reply);
        if rule {
            assert!(first.confirm().expect_err("it is the other's").is_lost());
            second.confirm().expect("it is the owner");
        }
    }
}

#[test]
fn a_record_that_vanishes() {
    // Why records have no time to live in Redis; that they have none is tested with a real one.
    let twin = Rc::new(RefCell::new(Twin::new(1)));
    let mut owner = store(&twin);
    up(&mut owner, None);
    let name = Name::global("t");
    owner.checkpoint(&at(1), [(name.clone(), Some(vec![1]))]).expect("a checkpoint");
    assert_eq!(owner.load(|_, _| Ok(()), |_| {}), Ok(1));
    let key = owner.shards().key(&name);
    twin.borrow_mut().vanish(0, &key);
    // The marker is there, and the chain is whole; only the count says so.
    let mut next = store(&twin);
    up(&mut next, Some(1));
    let missing = next.load(|_, _| Ok(()), |_| {}).expect_err("a record is missing");
    assert!(missing.to_string().contains("1 records were written, 0 are there"), "{missing}");
}
