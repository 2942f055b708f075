//! Features, suspicion, co-sharing, rings and petgraph's view, on small graphs worked out by hand.

mod common;

use common::{ACCOUNTS, apply, config, op, world};
use graph::{CoShare, GraphConfig, KindRules, LinkGraph, Node};
use petgraph::algo::{dijkstra, tarjan_scc};
use petgraph::visit::{
    EdgeCount, IntoNodeIdentifiers, NodeCount, NodeIndexable, VisitMap, Visitable,
};
use proptest::prelude::*;
use std::collections::BTreeMap;

const HOUR_MS: i64 = 3_600_000;
const DEVICE: Node = Node::new(1, 0);
const CARD: Node = Node::new(2, 0);

/// Accounts 0 to 5; strong devices and cards, weak IPs.
fn graph() -> LinkGraph {
    let strong = KindRules { strong: true, ..KindRules::default() };
    let kinds = vec![KindRules::default(), strong, strong, KindRules { weight: 0.2, ..strong }];
    let mut graph =
        LinkGraph::new(GraphConfig { kinds, roles: 1, ..GraphConfig::default() }).unwrap();
    for account in 0..6 {
        graph.add_account(account, 100 - u64::from(account));
    }
    graph
}

fn columns(graph: &LinkGraph, out: &[f32]) -> BTreeMap<String, f32> {
    graph
        .feature_names(&["", "device", "card", "ip"], &["target"])
        .into_iter()
        .zip(out.iter().copied())
        .collect()
}

#[test]
fn features_by_hand() {
    let mut g = graph();
    g.touch(1, DEVICE, 0);
    g.touch(2, DEVICE, 0);
    g.set_bad(2, true);
    g.refresh_suspicion(2);
    g.touch(0, DEVICE, 24 * HOUR_MS);
    g.touch(0, Node::new(1, 7), 24 * HOUR_MS);
    g.touch(3, Node::account(0), 30 * HOUR_MS);
    g.touch(3, Node::account(4), 30 * HOUR_MS);
    g.touch(5, Node::account(3), 31 * HOUR_MS);
    g.touch(5, Node::account(0), 31 * HOUR_MS);
    g.set_bad(5, true);
    let now = 48 * HOUR_MS;
    let device = g.touch(0, DEVICE, now).unwrap();
    let target = g.touch(0, Node::account(3), now).unwrap();
    let suspicion = g.refresh_suspicion(0);
    let mut out = vec![0.0; g.feature_count() + 3];
    assert_eq!(g.features(0, &[device], &[Some(target)], now, &mut out), g.feature_count());
    assert!(out[g.feature_count()..].iter().all(|v| v.is_nan()));
    let c = columns(&g, &out);
    assert_eq!(c.len(), g.feature_count());
    let near = |name: &str, want: f32| {
        let found = c[&format!("graph.{name}")];
        assert!((found - want).abs() < 1e-4, "{name}: {found}, not {want}");
    };
    near("links", 3.0);
    // One of two others is bad, smoothed with 2 accounts at 1 %.
    near("device.bad_rate", 1.02 / 4.0);
    near("bad_rate.max_strong", 1.02 / 4.0);
    near("device.degree", 3.0);
    near("device.members_suspicion", 1.0 / 3.0);
    // Members at 0 h, 0 h and 24 h; half-lives of 1 and 14 days; now is 48 h.
    near("device.new_short", 2.0 * 0.25 + 0.5);
    near("device.new_long", 2.0 * (-2.0f32 / 14.0).exp2() + (-1.0f32 / 14.0).exp2());
    near("device.age_h", 48.0);
    near("device.link_age_h", 24.0);
    near("device.link_gap_h", 24.0);
    near("device.link_count", 2.0);
    near("device.link_strength", 1.0 + (-1.0f32 / 14.0).exp2());
    near("device.link_share", 0.5);
    near("suspicion", f32::from(suspicion) / 255.0);
    // 0.85 * 255 * w * 1/3 / (w + w1 + w2 + 0.5), with w = 1 / (1 + ln 4) for the device, 1 / (1 + ln 2)
    // for the device of nobody else, 1 / (1 + ln 3) for the target.
    assert_eq!(suspicion, 15);
    near("component.size", 3.0);
    near("component.bad_fraction", 0.5);
    near("component.age_h", 48.0);
    // Three links of the device and one of the other, begun at 0, 0, 24 and 24 h; half-life 7 days.
    near("component.growth", 2.0 * (-2.0f32 / 7.0).exp2() + 2.0 * (-1.0f32 / 7.0).exp2());
    assert!(c["graph.card.degree"].is_nan() && c["graph.ip.link_gap_h"].is_nan());
    near("target.degree", 2.0);
    near("target.bad_rate", 1.02 / 3.0);
    assert!(c["graph.target.link_gap_h"].is_nan());
    near("target.reciprocal_count", 1.0);
    near("target.reciprocal_gap_h", 18.0);
    // 3 knows 0, 4 (out), 0, 5 (in); 0 knows 3 (out), 3, 5 (in): 5 is common.
    near("target.common_peers", 1.0);
    near("target.account_bad", 0.0);
    near("target.out_degree", 2.0);
    // 5 is bad and sought 3, which says nothing about 3.
    near("target.bad_share", 0.0);
    // Without the event's device, the riskiest of all the links stands for the kind.
    g.features(0, &[], &[None], now, &mut out);
    let c = columns(&g, &out);
    assert_eq!((c["graph.device.degree"], c["graph.device.link_gap_h"]), (3.0, 0.0));
    assert!(c["graph.target.degree"].is_nan());
}

#[test]
fn suspicion_flows_through_small_things_and_fades_in_hubs() {
    let kinds = vec![KindRules::default(), KindRules::default()];
    let mut g = LinkGraph::new(GraphConfig { kinds, ..GraphConfig::default() }).unwrap();
    for account in 0..204 {
        g.add_account(account, account.into());
    }
    for account in 0..4 {
        g.touch(account, DEVICE, 0);
    }
    for account in 4..204 {
        g.touch(account, Node::new(1, 1), 0);
    }
    for bad in [0, 1, 4, 5] {
        g.set_bad(bad, true);
        assert_eq!(g.refresh_suspicion(bad), 255);
    }
    let (near, far) = (g.refresh_suspicion(2), g.refresh_suspicion(6));
    // By hand: 0.85 * w * (510/4) / (w + 0.5), w = 1 / (1 + ln 5).
    assert_eq!(near, 47);
    assert_eq!(far, 1);
    assert_eq!(g.entity(DEVICE).unwrap().suspicion_sum, 510 + 47);
    g.set_evidence(6, 90);
    assert_eq!(g.refresh_suspicion(6), 90);
    g.set_bad(0, false);
    g.set_bad(1, false);
    assert_eq!(g.refresh_suspicion(0), ((255.0 + 47.0) / 510.0 * 47.0f32).round() as u8);
    g.check_invariants().unwrap();
}

#[test]
fn co_share_counts_who_shares_several_things() {
    let mut g = graph();
    for account in 0..4 {
        g.touch(account, DEVICE, 0);
        g.touch(account, Node::account(5), 0);
    }
    for account in [0, 1, 2] {
        g.touch(account, CARD, 0);
    }
    g.touch(0, Node::new(3, 0), 0);
    g.touch(1, Node::new(3, 0), 0);
    g.set_bad(2, true);
    assert_eq!(g.co_share(0, 2), CoShare { accounts: 2, bad: 1, shared_max: 3 });
    assert_eq!(g.co_share(0, 3), CoShare { accounts: 1, bad: 0, shared_max: 3 });
    assert_eq!(g.co_share(3, 2), CoShare { accounts: 0, bad: 0, shared_max: 1 });
    assert_eq!(g.co_share(99, 2), CoShare::default());
}

#[test]
fn a_ring_explains_itself() {
    let mut g = graph();
    let (ip, other) = (Node::new(3, 0), Node::new(1, 9));
    for (account, node) in
        [(0, DEVICE), (1, DEVICE), (1, CARD), (2, CARD), (0, ip), (3, ip), (4, other), (2, DEVICE)]
    {
        g.touch(account, node, 0);
    }
    assert_eq!(g.path_to_bad(0, 100), None);
    g.set_bad(0, true);
    assert_eq!(g.path_to_bad(0, 100), None);
    g.set_bad(3, true);
    let path = g.path_to_bad(2, 100).unwrap();
    let a = Node::account;
    assert_eq!(path.nodes, [a(2), DEVICE, a(0)]);
    g.set_bad(0, false);
    let path = g.path_to_bad(2, 100).unwrap();
    assert_eq!(path.nodes, [a(2), DEVICE, a(0), ip, a(3)]);
    assert_eq!(path.cost, 3 + 3 + 2 + 2);
    assert_eq!(g.path_to_bad(4, 100), None);
    assert_eq!(g.path_to_bad(2, 3), None);

    let ring = g.ring(2, 100).unwrap();
    assert!(!ring.truncated);
    let nodes: Vec<Node> = ring.nodes().collect();
    assert_eq!(nodes, [a(2), DEVICE, CARD, a(0), a(1), ip, a(3)]);
    assert_eq!(ring.bridges(), [(a(0), DEVICE), (a(0), ip), (a(3), ip)]);
    assert_eq!(ring.holders(), [a(0), DEVICE, ip]);
    assert!(g.ring(2, 4).unwrap().truncated);
    assert!(g.ring(99, 4).is_none());
    let dot = ring.dot(|node| format!("{node:?} \"quoted\\\n"));
    assert!(dot.starts_with("graph {"), "{dot}");
    assert_eq!(dot.matches(" -- ").count(), 7);
    assert!(dot.contains(r#"label = "0:2 \"quoted\\\n", shape = ellipse, penwidth = 3"#), "{dot}");
    assert!(dot.contains("shape = box"));
}

#[test]
fn hubs_lead_nowhere() {
    let mut g = graph();
    let mut rules = g.config().clone();
    rules.kinds[1].expand_degree_max = 2;
    let mut tight = LinkGraph::new(rules).unwrap();
    for g in [&mut g, &mut tight] {
        for account in 0..4 {
            g.add_account(account, account.into());
            g.touch(account, DEVICE, 0);
        }
        g.set_bad(3, true);
    }
    assert!(g.path_to_bad(0, 100).is_some());
    assert_eq!(tight.path_to_bad(0, 100), None);
    assert_eq!(tight.ring(0, 100).unwrap().nodes().count(), 2);
    assert_eq!(tight.co_share(0, 1), CoShare::default());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// petgraph's algorithms on the live store see the same graph as on a copy of its links.
    #[test]
    fn petgraph_sees_the_links(ops in prop::collection::vec(op(), 1..80)) {
        let mut g = world(true);
        ops.into_iter().for_each(|op| { apply(&mut g, op); });
        let view = g.view();
        let mut copy = petgraph::graphmap::UnGraphMap::<Node, ()>::new();
        for node in view.node_identifiers() {
            copy.add_node(node);
            prop_assert_eq!(view.from_index(view.to_index(node)), node);
            prop_assert!(view.to_index(node) < view.node_bound());
        }
        let mut links = 0;
        for account in 0..ACCOUNTS {
            for link in g.links(account) {
                copy.add_edge(Node::account(account), link.node, ());
                links += 1;
            }
        }
        prop_assert_eq!(view.node_count(), copy.node_count());
        prop_assert_eq!(view.edge_count(), links);
        let sorted = |mut sets: Vec<Vec<Node>>| {
            sets.iter_mut().for_each(|s| s.sort_unstable());
            sets.sort_unstable();
            sets
        };
        prop_assert_eq!(sorted(tarjan_scc(view)), sorted(tarjan_scc(&copy)));
        let mut map = view.visit_map();
        for node in view.node_identifiers() {
            prop_assert!(map.visit(node) && !map.visit(node) && map.is_visited(&node));
            prop_assert!(map.unvisit(node) && !map.is_visited(&node));
        }
        for account in 0..ACCOUNTS {
            if g.account(account).is_none() {
                continue;
            }
            let from = Node::account(account);
            let found: BTreeMap<Node, u32> = dijkstra(view, from, None, |_| 1).into_iter().collect();
            let want: BTreeMap<Node, u32> = dijkstra(&copy, from, None, |_| 1).into_iter().collect();
            prop_assert_eq!(found, want);
        }
    }
}

/// Names are as many as columns and all different, whatever is declared.
#[test]
fn names_fit_columns() {
    for (kinds, roles) in [(1, 0), (1, 2), (4, 1), (32, 16)] {
        let kinds = vec![KindRules::default(); kinds];
        let g = LinkGraph::new(GraphConfig { kinds, roles, ..config(true) }).unwrap();
        let mut names = g.feature_names(&["accounts", "device"], &["target"]);
        assert_eq!(names.len(), g.feature_count());
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), g.feature_count());
    }
}
