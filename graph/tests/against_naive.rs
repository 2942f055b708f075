//! The graph against a plain edge list.

mod common;

use common::*;
use graph::{GraphConfig, LinkGraph, Node};
use proptest::prelude::*;
use std::collections::BTreeMap;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// After every operation, every aggregate and every component is what the edges say; caps hold.
    #[test]
    fn any_operations_leave_what_the_edges_say(ops in prop::collection::vec(op(), 1..120), roomy: bool) {
        let mut graph = world(roomy);
        let mut naive = Naive::new();
        for op in ops {
            let touched = apply(&mut graph, op);
            naive.apply(&config(roomy), op, touched);
            naive.check(&graph);
        }
    }

    /// Whatever the order of touches, labels and epochs, the same links, aggregates and components.
    #[test]
    fn the_order_does_not_matter(
        touches in prop::collection::vec((0..ACCOUNTS, node(), 0i64..7000), 1..80),
        bad in prop::collection::btree_map(0..ACCOUNTS, any::<bool>(), 0..5),
        watermark in 0i64..7000,
        picks in prop::collection::vec(any::<prop::sample::Index>(), 90),
    ) {
        let mut ops: Vec<Op> = touches.into_iter().map(|(a, n, t)| Op::Touch(a, n, t)).collect();
        ops.extend(bad.into_iter().map(|(a, b)| Op::Bad(a, b)));
        ops.push(Op::Advance(watermark));
        let mut shuffled = ops.clone();
        for (i, pick) in picks.iter().enumerate().take(shuffled.len()) {
            let other = pick.index(shuffled.len());
            shuffled.swap(i, other);
        }
        let (mut a, mut b) = (world(true), world(true));
        ops.into_iter().for_each(|op| { apply(&mut a, op); });
        shuffled.into_iter().for_each(|op| { apply(&mut b, op); });
        b.check_invariants().unwrap();
        for account in 0..ACCOUNTS {
            let links = |g: &LinkGraph| -> BTreeMap<Node, (u32, i64, i64)> {
                g.links(account).map(|l| (l.node, (l.count, l.first_ms, l.last_ms))).collect()
            };
            prop_assert_eq!(links(&a), links(&b));
            prop_assert_eq!(a.component(account, 7000), b.component(account, 7000));
            for (x, y) in a.links(account).zip(b.links(account)) {
                prop_assert!((x.strength - y.strength).abs() <= 1e-4 * x.strength);
            }
            for kind in 0..4 {
                let node = Node::new(kind, account);
                let (x, y) = (a.entity(node), b.entity(node));
                prop_assert_eq!(x.is_some(), y.is_some());
                let (Some(x), Some(y)) = (x, y) else { continue };
                prop_assert_eq!((x.degree, x.bad, x.suspicion_sum, x.events, x.first_ms, x.last_ms),
                    (y.degree, y.bad, y.suspicion_sum, y.events, y.first_ms, y.last_ms));
                prop_assert!(a.members(node).eq(b.members(node)));
            }
        }
    }

    /// What is said about others does not depend on the account's own label and suspicion.
    #[test]
    fn the_account_itself_is_left_out(ops in prop::collection::vec(op(), 1..80), account in 0..ACCOUNTS) {
        let mut graph = world(false);
        ops.into_iter().for_each(|op| { apply(&mut graph, op); });
        prop_assume!(graph.account(account).is_some());
        let (mut a, mut b) = (graph.clone(), graph);
        for (graph, bad) in [(&mut a, false), (&mut b, true)] {
            graph.set_bad(account, bad);
            graph.set_evidence(account, 0);
            graph.refresh_suspicion(account);
        }
        let names = a.feature_names(&["", "device", "card", "ip"], &["target"]);
        let (x, y) = (features(&a, account, 7000), features(&b, account, 7000));
        for ((name, x), y) in names.iter().zip(x).zip(y) {
            if name != "graph.suspicion" {
                prop_assert_eq!(x, y, "{}", name);
            }
        }
        // What its own label does to the others' suspicion of it: nothing.
        b.set_bad(account, false);
        prop_assert_eq!(b.refresh_suspicion(account), a.account(account).unwrap().suspicion);
    }

    /// Everything that changed in a saved form is reported as dirty, each once.
    #[test]
    fn changes_are_marked(ops in prop::collection::vec(op(), 1..60)) {
        let mut graph = world(false);
        let snapshot = |g: &LinkGraph| {
            let accounts: Vec<_> = (0..ACCOUNTS).map(|a| { let mut v = Vec::new(); g.save_account(a, &mut v); v }).collect();
            let nodes = (0..4).flat_map(|k| (0..ACCOUNTS).map(move |i| Node::new(k, i)));
            let entities: Vec<_> = nodes.map(|n| { let mut v = Vec::new(); g.save_entity(n, &mut v); (n, v) }).collect();
            (accounts, entities)
        };
        graph.take_dirty();
        let mut before = snapshot(&graph);
        for some in ops.chunks(3) {
            some.iter().for_each(|op| { apply(&mut graph, *op); });
            let after = snapshot(&graph);
            let (accounts, nodes) = graph.take_dirty();
            for list in [accounts.clone(), nodes.iter().map(|n| n.to_bits()).collect()] {
                let mut unique = list.clone();
                unique.sort_unstable();
                unique.dedup();
                prop_assert_eq!(unique.len(), list.len());
            }
            for (account, (x, y)) in before.0.iter().zip(&after.0).enumerate() {
                prop_assert!(x == y || accounts.contains(&(account as u32)), "account {}", account);
            }
            for (x, y) in before.1.iter().zip(&after.1) {
                prop_assert!(x == y || nodes.contains(&x.0), "entity {:?}", x.0);
            }
            before = after;
        }
        let again = graph.take_dirty();
        prop_assert!(again.0.is_empty() && again.1.is_empty());
    }
}

/// More links than are walked: the most recent ones are, and expiry brings the others back.
#[test]
fn an_account_of_many_links_walks_its_most_recent() {
    let mut config =
        GraphConfig { links_per_account_max: 100, union_links_max: 50, ..config(true) };
    // What is known through the node must count, so that it shows which nodes are walked.
    config.kinds[3].copyable = false;
    let mut graph = LinkGraph::new(config).unwrap();
    graph.add_account(0, 1);
    graph.add_account(1, 2);
    for i in 0..150u32 {
        // Out of order in time, so that neither the first nor the last inserted are the most recent.
        graph.touch(0, Node::new(3, i), i64::from(i * 37 % 150) * 10);
        graph.check_invariants().unwrap();
    }
    // At the cap three go together, every third time.
    assert_eq!(graph.account(0).unwrap().links, 99);
    assert_eq!(graph.counts().links_evicted, 51);
    graph.set_bad(1, true);
    let most_recent = graph.links(0).max_by_key(|l| l.last_ms).unwrap().node;
    let oldest = graph.links(0).min_by_key(|l| l.last_ms).unwrap().node;
    let names = graph.feature_names(&[], &[]);
    let column = |name: &str| names.iter().position(|n| n == name).unwrap();
    let mut out = vec![0.0; names.len()];
    for (node, seen) in [(oldest, false), (most_recent, true)] {
        graph.touch(1, node, 1);
        graph.features(0, &[], &[], 2000, &mut out);
        assert_eq!(out[column("graph.kind3.degree")] == 2.0, seen);
    }
    let swept = graph.sweep(0, 1, 1000 + TTL_MS);
    assert!(swept.dropped > 40 && !swept.finished, "{swept:?}");
    assert_eq!(swept.cursor, 1);
    assert!(graph.sweep(swept.cursor, 100, 0).finished);
    graph.check_invariants().unwrap();
    assert_eq!(graph.take_emptied().len() as u32, 150 - graph.account(0).unwrap().links - 1);
}

/// Of an account at a cap of hundreds of links, whatever touches come, the links are what the edges say; and a graph that was saved and
/// loaded on the way has the same.
#[test]
fn account_at_a_large_cap_keeps_what_the_edges_say() {
    let config = GraphConfig { links_per_account_max: 450, union_links_max: 40, ..config(true) };
    let mut graph = LinkGraph::new(config.clone()).unwrap();
    let mut naive = Naive { accounts: [0, 1].into(), ..Naive::default() };
    graph.add_account(0, 1);
    graph.add_account(1, 2);
    let mut draw = 7u64;
    let mut next = |below: u64| {
        draw = draw.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (draw >> 33) % below
    };
    for step in 0..6000i64 {
        let node = Node::new([1, 3, 3, 3][next(4) as usize], next(900) as u32);
        let op = match next(300) {
            0 => Op::RemoveLink(0, node),
            1 => Op::RemoveEntity(node),
            2 => Op::Advance(step / 4),
            3 => Op::Sweep(step / 4),
            n => Op::Touch(u32::from(n < 40), node, (step - next(500) as i64).max(0) / 4),
        };
        let touched = apply(&mut graph, op);
        naive.apply(&config, op, touched);
        if step % 97 == 0 {
            graph.check_invariants().unwrap();
            let mut loaded = LinkGraph::new(config.clone()).unwrap();
            let mut bytes = Vec::new();
            graph.save_globals(&mut bytes);
            loaded.load_globals(&bytes).unwrap();
            for account in [0, 1] {
                bytes.clear();
                graph.save_account(account, &mut bytes);
                loaded.load_account(account, &bytes).unwrap();
            }
            let nodes =
                [1, 3].into_iter().flat_map(|kind| (0..900).map(move |i| Node::new(kind, i)));
            for node in nodes {
                bytes.clear();
                if graph.save_entity(node, &mut bytes) {
                    loaded.load_entity(node, &bytes).unwrap();
                }
            }
            loaded.rebuild_components();
            graph = loaded;
        }
        let found: BTreeMap<_, _> = [0, 1]
            .into_iter()
            .flat_map(|a| graph.links(a).map(move |l| ((a, l.node), l.last_ms)))
            .collect();
        let want: BTreeMap<_, _> = naive.edges.iter().map(|(key, e)| (*key, e.last)).collect();
        assert_eq!(found, want, "step {step}");
    }
    assert!(graph.counts().links_evicted > 200, "the cap was met: {:?}", graph.counts());
}

/// A new link at the cap moves few others, and one event of as many new things as it may name not thousands.
#[test]
fn links_moved_at_the_cap_do_not_grow_with_it() {
    let config = GraphConfig { links_per_account_max: 4096, ..config(true) };
    let mut graph = LinkGraph::new(config).unwrap();
    graph.add_account(0, 1);
    let mut worst = 0;
    let touch = |graph: &mut LinkGraph, n: u32| {
        // Nodes in no order, as ids that are used again are.
        let node = Node::new(3, n.wrapping_mul(2_654_435_761) & (Node::INDEX_MAX >> 1));
        graph.touch(0, node, i64::from(n)).unwrap();
    };
    (0..8192).for_each(|n| touch(&mut graph, n));
    assert!(graph.account(0).unwrap().links > 4000);
    let before = graph.links_moved();
    for event in 0..500u32 {
        let begun = graph.links_moved();
        (0..32).for_each(|n| touch(&mut graph, 8192 + event * 32 + n));
        worst = worst.max(graph.links_moved() - begun);
    }
    let mean = (graph.links_moved() - before) / (500 * 32);
    assert!(mean <= 200, "a new link moves {mean} others on average");
    assert!(worst <= 3 * 4096, "an event of 32 new links moved {worst}");
    graph.check_invariants().unwrap();
}

#[test]
fn nothing_panics_at_the_ends_of_its_range() {
    let mut graph = world(true);
    let far = Node::new(3, Node::INDEX_MAX);
    for ts in [i64::MIN, -1, 0, i64::MAX] {
        assert!(graph.touch(0, far, ts).is_some());
        assert!(graph.touch(1, Node::new(1, 0), ts).is_some());
        assert!(graph.touch(2, Node::new(1, 0), ts).is_some());
        graph.refresh_suspicion(0);
        features(&graph, 1, ts);
        graph.component(1, ts);
    }
    for node in [Node::new(40, 0), Node::new(31, 5), Node::new(1, u32::MAX), Node::account(0)] {
        assert_eq!(graph.touch(0, node, 1), None, "{node:?}");
        assert_eq!(graph.entity(node), None);
        assert!(!graph.remove_entity(node));
    }
    assert_eq!(graph.touch(u32::MAX, far, 1), None);
    assert_eq!(graph.counts().touches_refused, 5);
    assert!(!graph.add_account(u32::MAX, 1) && !graph.add_account(0, 1));
    assert!(!graph.set_bad(999, true) && !graph.set_evidence(999, 1) && !graph.remove_account(999));
    assert_eq!(graph.refresh_suspicion(999), 0);
    for watermark in [i64::MIN, i64::MAX] {
        graph.advance(watermark);
        graph.sweep(0, u32::MAX, watermark);
        graph.check_invariants().unwrap();
    }
    assert_eq!(graph.features(0, &[], &[], 0, &mut [0.0; 3]), 0);
}

/// The tags of 300 epochs wrap around without bringing old components back.
#[test]
fn old_generations_do_not_return() {
    let mut graph = world(true);
    for account in [0, 1] {
        graph.touch(account, Node::new(1, 0), 10);
    }
    assert_eq!(graph.component(0, 10).unwrap().size, 2);
    for epoch in 1..700 {
        graph.advance(epoch * EPOCH_MS);
        assert_eq!(graph.component(0, 10).unwrap().size, if epoch < 2 { 2 } else { 1 }, "{epoch}");
    }
    graph.touch(0, Node::new(1, 0), 700 * EPOCH_MS);
    assert_eq!(graph.component(0, 10).unwrap().size, 1);
    graph.touch(1, Node::new(1, 0), 700 * EPOCH_MS);
    assert_eq!(graph.component(0, 10).unwrap().size, 2);
    graph.check_invariants().unwrap();
}

/// An account that is removed as a linked thing and linked to again is reported once.
#[test]
fn a_node_that_comes_back_is_dirty_once() {
    let mut graph = world(true);
    graph.take_dirty();
    graph.touch(1, Node::account(0), 10);
    graph.touch(2, Node::new(1, 0), 10);
    graph.remove_entity(Node::account(0));
    graph.touch(3, Node::account(0), 11);
    let (accounts, nodes) = graph.take_dirty();
    assert_eq!(accounts, [1, 2, 3]);
    assert_eq!(nodes, [Node::account(0), Node::new(1, 0)]);
}
