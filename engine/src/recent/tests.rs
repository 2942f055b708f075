use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

/// An event with its own content; it names a device, and the next account.
fn event(id: u64, account: u32, ts_ms: i64) -> Remembered {
    let nodes = [Node::new(1, account), Node::account(account + 1)];
    let nodes = nodes.map(|node| KnownNode { node, check: node.index() });
    Remembered {
        event_hash: id,
        account_hash: account.into(),
        content: id + 1,
        account,
        ts_ms,
        nodes: SmallVec::from_slice(&nodes),
        ..Remembered::default()
    }
}

fn bad_since(ms: i64) -> Finding {
    Finding { verdict: 2, weight: 0.5, counted_ms: ms, newest_ms: ms }
}

#[test]
fn caps_by_count_and_age_forget_the_oldest() {
    let mut recent = RecentEvents::new(3, 100);
    for i in 0..5 {
        recent.insert(event(i, i as u32, i as i64), i as i64);
    }
    assert_eq!(recent.ring.len(), 3);
    assert!(recent.find(1).is_none() && recent.find_of(1, 1).is_none());
    assert_eq!(recent.find(2).unwrap().1.account, 2);
    assert_eq!(recent.find_of(2, 2).unwrap().0, 2);
    recent.insert(event(9, 9, 200), 200);
    assert_eq!(recent.ring.len(), 1);
    assert!(recent.find(4).is_none());
    assert_eq!((recent.ids.len(), recent.heads.len()), (1, 2), "nothing of the others is left");
}

#[test]
fn the_newest_of_two_events_with_one_id_is_found_and_both_are_by_account() {
    let mut recent = RecentEvents::new(3, i64::MAX);
    recent.insert(event(7, 1, 1), 1);
    recent.insert(event(7, 2, 2), 2);
    assert_eq!(recent.find(7).unwrap().1.account, 2);
    assert_eq!(recent.find_of(7, 1).unwrap().1.account, 1);
    recent.insert(event(8, 3, 3), 3);
    assert_eq!(recent.forget_account(2), []);
    assert_eq!(recent.find(7).unwrap().1.account, 1, "the older one is the newest now");
    recent.insert(event(9, 4, 4), 4);
    assert!(recent.find(7).is_none() && recent.find_of(7, 1).is_none());
}

#[test]
fn findings_of_an_erased_account_are_returned() {
    let mut recent = RecentEvents::new(9, i64::MAX);
    for id in 0..3 {
        recent.insert(event(id, id as u32, 5), 5);
    }
    let nodes = recent.find(1).unwrap().1.nodes.clone();
    recent.set_finding(1, bad_since(5), nodes);
    assert_eq!(recent.forget_account(1).iter().map(|e| e.event_hash).collect::<Vec<_>>(), [1]);
    assert_eq!(recent.find_of(0, 0).unwrap().1.nodes.len(), 1, "as the one met, too");
    assert_eq!(recent.find_of(2, 2).unwrap().1.nodes.len(), 2);
}

/// What the memory is to be, the slow way.
#[derive(Default)]
struct Naive {
    first: u64,
    events: Vec<Remembered>,
}

impl Naive {
    fn insert(&mut self, event: Remembered, most: usize) {
        self.events.push(event);
        if self.events.len() > most {
            self.events.remove(0);
            self.first += 1;
        }
    }

    fn find(&self, is: impl Fn(&Remembered) -> bool) -> Option<u64> {
        let at = self.events.iter().rposition(|e| e.is_there() && is(e))?;
        Some(self.first + at as u64)
    }

    fn forget(&mut self, account_hash: u64) -> Vec<Remembered> {
        let mut found = Vec::new();
        for event in &mut self.events {
            if event.account_hash == account_hash && event.is_there() {
                let ts_ms = event.ts_ms;
                let nothing = Remembered { account: ERASED, ts_ms, ..Remembered::default() };
                let event = std::mem::replace(event, nothing);
                found.extend(Some(event).filter(|event| event.finding().verdict != 0));
            } else {
                let check = account_hash as u32;
                event.nodes.retain(|n| n.node.kind() != 0 || n.check != check);
            }
        }
        found
    }
}

#[derive(Clone, Debug)]
enum Op {
    /// An event with one of few ids, by one of few accounts, that names others.
    Insert {
        id: u64,
        account: u32,
        others: Vec<u32>,
    },
    /// A label about the n-th oldest, that names accounts.
    Name {
        nth: usize,
        others: Vec<u32>,
    },
    Forget(u32),
    Save,
    Restart,
}

fn op() -> impl Strategy<Value = Op> {
    let others = || prop::collection::vec(0u32..6, 0..4);
    prop_oneof![
        12 => (0u64..5, 0u32..6, others()).prop_map(|(id, account, others)| Op::Insert { id, account, others }),
        3 => (0usize..30, others()).prop_map(|(nth, others)| Op::Name { nth, others }),
        2 => (0u32..6).prop_map(Op::Forget),
        1 => Just(Op::Save),
        1 => Just(Op::Restart),
    ]
}

/// Hashes of two of the accounts have the same low half.
fn hash_of(account: u32) -> u64 {
    if account == 5 { 4 | 1 << 40 } else { account.into() }
}

fn known(accounts: &[u32]) -> SmallVec<[KnownNode; 4]> {
    let node = |account: &u32| KnownNode {
        node: Node::account(*account),
        check: hash_of(*account) as u32,
    };
    accounts.iter().map(node).chain([KnownNode { node: Node::new(1, 0), check: 0 }]).collect()
}

fn keep(saved: &mut BTreeMap<u64, Vec<u8>>, recent: &mut RecentEvents) {
    for (chunk, bytes) in recent.take_dirty() {
        match bytes {
            Some(bytes) => drop(saved.insert(chunk, bytes)),
            None => drop(saved.remove(&chunk)),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    /// Found, named, erased, saved and restored, the memory is what a list of events is.
    #[test]
    fn any_operations_leave_what_a_list_has(ops in prop::collection::vec(op(), 1..200), most in 1usize..40) {
        let mut recent = RecentEvents::new(most, i64::MAX);
        let (mut naive, mut saved, mut now) = (Naive::default(), BTreeMap::new(), 0);
        for op in ops {
            match op {
                Op::Insert { id, account, others } => {
                    now += 1;
                    let account_hash = hash_of(account);
                    // As the engine does: an id of an account is one event's.
                    let taken = naive.find(|e| (e.event_hash, e.account_hash) == (id, account_hash)).is_some();
                    let event = Remembered {
                        event_hash: if taken { 1000 + now as u64 } else { id },
                        account_hash,
                        content: now as u64,
                        account,
                        ts_ms: now,
                        derived: taken,
                        finding: None,
                        nodes: known(&others),
                    };
                    naive.insert(event.clone(), most);
                    recent.insert(event, now);
                }
                Op::Name { nth, others } => {
                    let Some(event) = naive.events.get_mut(nth).filter(|e| e.is_there()) else { continue };
                    event.finding = Some(Box::new(bad_since(now)));
                    event.nodes = known(&others);
                    recent.set_finding(naive.first + nth as u64, bad_since(now), known(&others));
                }
                Op::Forget(account) => {
                    let hash = hash_of(account);
                    prop_assert_eq!(recent.forget_account(hash), naive.forget(hash));
                }
                Op::Save => keep(&mut saved, &mut recent),
                Op::Restart => {
                    keep(&mut saved, &mut recent);
                    let chunks: Vec<_> = saved.clone().into_iter().collect();
                    let front = recent.front();
                    recent = RecentEvents::new(most, i64::MAX);
                    recent.restore(front, &chunks, false).unwrap();
                }
            }
            prop_assert!(recent.ring.iter().map(|entry| &entry.event).eq(&naive.events));
            prop_assert_eq!(recent.ring.first(), naive.first);
            prop_assert_eq!(recent.has_derived(), naive.events.iter().any(|e| e.derived));
            for id in (0..5).chain(1000..1010) {
                prop_assert_eq!(recent.find(id).map(|f| f.0), naive.find(|e| e.event_hash == id));
                for account in (0..6).map(hash_of) {
                    let of = naive.find(|e| (e.event_hash, e.account_hash) == (id, account));
                    prop_assert_eq!(recent.find_of(id, account).map(|f| f.0), of);
                }
            }
            let there = naive.events.iter().filter(|e| e.is_there()).count();
            prop_assert_eq!(recent.ids.len(), there);
        }
        // Emptied from the front, nothing is left in any table.
        while recent.ring.len() > 0 {
            recent.pop_front();
        }
        prop_assert_eq!((recent.ids.len(), recent.heads.len(), recent.named.len()), (0, 0, 0));
    }
}

#[test]
fn saved_in_pieces_and_restored_it_is_the_same() {
    let mut old = RecentEvents::new(2500, i64::MAX);
    let mut saved = BTreeMap::new();
    for i in 0..6000u64 {
        old.insert(event(i * 31, (i % 50) as u32, i as i64), i as i64);
        if i % 777 == 0 {
            if i > 2000 {
                let (seq, event) = old.find((i - 1500) * 31).unwrap();
                let nodes = event.nodes.clone();
                old.set_finding(seq, bad_since(i as i64), nodes);
            }
            if i == 777 * 4 {
                old.forget_account(7);
            }
            keep(&mut saved, &mut old);
        }
    }
    keep(&mut saved, &mut old);
    assert_eq!(saved.keys().copied().collect::<Vec<_>>(), old.chunks());
    let chunks: Vec<_> = saved.into_iter().collect();
    let mut new = RecentEvents::new(2500, i64::MAX);
    new.restore(old.front(), &chunks, false).unwrap();
    let events = |recent: &RecentEvents| -> Vec<Remembered> {
        recent.ring.iter().map(|entry| entry.event.clone()).collect()
    };
    assert_eq!(events(&old), events(&new));
    for i in 0..6000u64 {
        assert_eq!(old.find(i * 31).map(|f| f.0), new.find(i * 31).map(|f| f.0));
        let of = |r: &RecentEvents| r.find_of(i * 31, i % 50).map(|f| f.0);
        assert_eq!(of(&old), of(&new));
    }
    let mut other = RecentEvents::new(2500, i64::MAX);
    other.restore(old.front(), &chunks, true).unwrap();
    assert!(other.ring.iter().all(|entry| entry.event.content == CONTENT_UNKNOWN));
}

#[test]
fn chunk_of_the_form_without_contents_is_read_and_a_later_one_refused() {
    let mut bytes = 5u64.to_le_bytes().to_vec();
    bytes.extend(70u64.to_le_bytes());
    bytes.extend(80u64.to_le_bytes());
    bytes.extend(9u32.to_le_bytes());
    bytes.extend(1000i64.to_le_bytes());
    bytes.extend([0, 0]);
    let mut recent = RecentEvents::new(9, i64::MAX);
    recent.restore(5, &[(0, bytes.clone())], false).unwrap();
    let event = recent.find_of(70, 80).unwrap().1;
    assert_eq!((event.account, event.ts_ms, event.content), (9, 1000, CONTENT_UNKNOWN));
    bytes[7] = 2;
    let refused = recent.restore(5, &[(0, bytes)], false).unwrap_err();
    assert!(refused.contains("later form"), "{refused}");
    for damaged in [vec![1, 2, 3], vec![0; 9]] {
        assert!(recent.restore(0, &[(0, damaged)], false).is_err());
    }
    assert!(recent.restore(u64::MAX, &[], false).is_err());
}

/// What a message costs does not depend on how much is remembered.
#[test]
fn work_per_call_is_bounded_in_a_large_memory() {
    let most = 600_000;
    let mut recent = RecentEvents::new(most, i64::MAX);
    let spread = |n: u64| n.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let mut before = recent.work();
    let mut worst = 0;
    for n in 0..700_000u64 {
        let account = (n % 20_000) as u32;
        let nodes = known(&[(account + 1) % 20_000]);
        // Accounts number their events each for itself.
        let event = Remembered {
            event_hash: spread(n / 20_000),
            account_hash: spread(account.into()),
            content: n,
            account,
            ts_ms: 0,
            nodes,
            ..Remembered::default()
        };
        recent.insert(event, 0);
        let now = recent.work();
        worst = worst.max(now.0 - before.0);
        before = now;
    }
    assert!(worst <= 4096, "an insertion moved {worst} entries of tables");
    for account in 0..1000u64 {
        let (newest, _) = recent.find(spread(34)).unwrap();
        assert!(newest >= 100_000);
        recent.forget_account(spread(account));
        let now = recent.work();
        assert!(now.1 - before.1 <= 60, "erasing looked at {} events", now.1 - before.1);
        before = now;
    }
}
