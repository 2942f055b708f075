//! A small world, random operations on it, and a plain edge list to check against.
#![allow(dead_code, reason = "each test file uses its part")]

use graph::{GraphConfig, KindRules, LinkGraph, Node, Touched};
use petgraph::unionfind::UnionFind;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

pub const ACCOUNTS: u32 = 12;
pub const EPOCH_MS: i64 = 1000;
pub const TTL_MS: i64 = 1500;

/// Kinds: 0 accounts, 1 strong device, 2 strong card of small degree, 3 weak IP; accounts and IPs are copyable.
pub fn config(roomy: bool) -> GraphConfig {
    let kind = |strong, weight, union_degree_max| KindRules {
        is_account: false,
        strong,
        copyable: !strong,
        weight,
        ttl_ms: TTL_MS,
        union_degree_max: if roomy { 1000 } else { union_degree_max },
        expand_degree_max: 8,
    };
    let kinds =
        vec![kind(false, 0.5, 4), kind(true, 1.0, 5), kind(true, 2.0, 3), kind(false, 0.3, 4)];
    GraphConfig {
        kinds,
        roles: 1,
        links_per_account_max: if roomy { 200 } else { 6 },
        union_links_max: if roomy { 100 } else { 4 },
        recent_members_max: if roomy { 32 } else { 4 },
        epoch_ms: EPOCH_MS,
        strength_half_life_ms: 700,
        new_short_half_life_ms: 300,
        new_long_half_life_ms: 2000,
        together_ms: 1500,
        growth_half_life_ms: 500,
        ..GraphConfig::default()
    }
}

#[derive(Clone, Copy, Debug)]
pub enum Op {
    Touch(u32, Node, i64),
    Bad(u32, bool),
    Evidence(u32, u8),
    Refresh(u32),
    Advance(i64),
    Sweep(i64),
    RemoveAccount(u32),
    RemoveEntity(Node),
    RemoveLink(u32, Node),
    AddAccount(u32),
}

pub fn node() -> impl Strategy<Value = Node> {
    (0u8..4, 0u32..ACCOUNTS).prop_map(|(kind, index)| Node::new(kind, index))
}

pub fn op() -> impl Strategy<Value = Op> {
    let account = 0..ACCOUNTS;
    let ts = 0i64..7000;
    prop_oneof![
        40 => (account.clone(), node(), ts.clone()).prop_map(|(a, n, t)| Op::Touch(a, n, t)),
        6 => (account.clone(), any::<bool>()).prop_map(|(a, b)| Op::Bad(a, b)),
        2 => (account.clone(), any::<u8>()).prop_map(|(a, e)| Op::Evidence(a, e)),
        10 => account.clone().prop_map(Op::Refresh),
        4 => ts.clone().prop_map(Op::Advance),
        3 => ts.prop_map(Op::Sweep),
        1 => account.clone().prop_map(Op::RemoveAccount),
        1 => node().prop_map(Op::RemoveEntity),
        1 => (account.clone(), node()).prop_map(|(a, n)| Op::RemoveLink(a, n)),
        2 => account.prop_map(Op::AddAccount),
    ]
}

/// Keys that are in another order than the indices.
pub fn key(account: u32) -> u64 {
    u64::from(account).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

pub fn world(roomy: bool) -> LinkGraph {
    let mut graph = LinkGraph::new(config(roomy)).unwrap();
    for account in 0..ACCOUNTS {
        assert!(graph.add_account(account, key(account)));
    }
    graph
}

pub fn apply(graph: &mut LinkGraph, op: Op) -> Option<Touched> {
    match op {
        Op::Touch(account, node, ts) => return graph.touch(account, node, ts),
        Op::Bad(account, bad) => {
            graph.set_bad(account, bad);
        }
        Op::Evidence(account, evidence) => {
            graph.set_evidence(account, evidence);
        }
        Op::Refresh(account) => {
            graph.refresh_suspicion(account);
        }
        Op::Advance(ts) => {
            graph.advance(ts);
        }
        Op::Sweep(ts) => {
            graph.sweep(0, u32::MAX, ts);
            for node in graph.take_emptied() {
                graph.remove_entity(node);
            }
        }
        Op::RemoveAccount(account) => {
            graph.remove_account(account);
        }
        Op::RemoveEntity(node) => {
            graph.remove_entity(node);
        }
        Op::RemoveLink(account, node) => {
            graph.remove_link(account, node);
        }
        Op::AddAccount(account) => {
            graph.add_account(account, key(account));
        }
    }
    None
}

/// All features of an account, after an event on its first device and a target.
pub fn features(graph: &LinkGraph, account: u32, ts: i64) -> Vec<u32> {
    let mut out = vec![0.0; graph.feature_count()];
    let device = graph.peek(account, Node::new(1, account / 2));
    let target = graph.peek(account, Node::account((account + 1) % ACCOUNTS));
    graph.features(account, &[device], &[Some(target)], ts, &mut out);
    out.into_iter().map(f32::to_bits).collect()
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Edge {
    pub first: i64,
    pub last: i64,
    pub count: u32,
    pub joined: bool,
}

/// The edge list.
#[derive(Default, Debug)]
pub struct Naive {
    pub accounts: BTreeSet<u32>,
    pub edges: BTreeMap<(u32, Node), Edge>,
    pub bad: BTreeSet<u32>,
    pub epoch: i64,
}

impl Naive {
    pub fn new() -> Self {
        Self { accounts: (0..ACCOUNTS).collect(), ..Self::default() }
    }

    pub fn binds(&self, edge: &Edge) -> bool {
        edge.joined && edge.last >= (self.epoch - 1) * EPOCH_MS
    }

    pub fn degree(&self, node: Node) -> u32 {
        self.edges.keys().filter(|(_, n)| *n == node).count() as u32
    }

    pub fn apply(&mut self, config: &GraphConfig, op: Op, touched: Option<Touched>) {
        match op {
            Op::Touch(account, node, ts) => {
                let target = node.kind() != 0 || self.accounts.contains(&node.index());
                let known = self.accounts.contains(&account) && target;
                let taken = known && node != Node::account(account);
                assert_eq!(touched.is_some(), taken);
                if !taken {
                    return;
                }
                let links = self.edges.keys().filter(|(a, _)| *a == account).count();
                let mut lost = 0;
                if !self.edges.contains_key(&(account, node))
                    && links >= config.links_per_account_max as usize
                {
                    let mine = self.edges.iter().filter(|((a, _), _)| *a == account);
                    let free = mine.filter(|(_, e)| !self.binds(e));
                    let mut oldest: Vec<_> = free.map(|((_, n), e)| (e.last, *n)).collect();
                    oldest.sort_unstable();
                    oldest.truncate((config.links_per_account_max / 32).max(1) as usize);
                    for (_, n) in &oldest {
                        self.edges.remove(&(account, *n));
                    }
                    lost = oldest.len();
                }
                assert_eq!(touched.map_or(0, |t| t.evicted as usize), lost);
                let links = links - lost;
                let rules = config.kinds[node.kind()];
                let joined = rules.strong
                    && self.degree(node) < rules.union_degree_max
                    && links < config.union_links_max as usize;
                let new = Edge { first: ts, last: ts, count: 0, joined };
                let edge = self.edges.entry((account, node)).or_insert(new);
                edge.first = edge.first.min(ts);
                edge.last = edge.last.max(ts);
                edge.count += 1;
            }
            Op::Bad(account, true) if self.accounts.contains(&account) => {
                self.bad.insert(account);
            }
            Op::Bad(account, _) => {
                self.bad.remove(&account);
            }
            Op::Advance(ts) => self.epoch = self.epoch.max(ts / EPOCH_MS),
            Op::Sweep(ts) => {
                let start = (self.epoch - 1) * EPOCH_MS;
                self.edges.retain(|_, e| e.last + TTL_MS >= ts || (e.joined && e.last >= start));
            }
            Op::RemoveAccount(account) => {
                self.edges.retain(|(a, n), _| *a != account && *n != Node::account(account));
                self.bad.remove(&account);
                self.accounts.remove(&account);
            }
            Op::RemoveEntity(node) => self.edges.retain(|(_, n), _| *n != node),
            Op::RemoveLink(account, node) => {
                self.edges.remove(&(account, node));
            }
            Op::AddAccount(account) => {
                self.accounts.insert(account);
            }
            Op::Evidence(..) | Op::Refresh(_) => {}
        }
    }

    /// Components by petgraph's union-find over accounts and entities alike.
    pub fn components(&self) -> BTreeMap<u32, BTreeSet<u32>> {
        let number = |node: Node| node.kind() * ACCOUNTS as usize + node.index() as usize;
        let mut sets: UnionFind<usize> = UnionFind::new(4 * ACCOUNTS as usize);
        for ((account, node), _) in self.edges.iter().filter(|(_, e)| self.binds(e)) {
            // An account as a linked thing would be another element; no such kind is strong here.
            sets.union(number(Node::account(*account)), number(*node));
        }
        let root = |a: u32| sets.find(number(Node::account(a)));
        let with = |a: u32| self.accounts.iter().copied().filter(move |b| root(*b) == root(a));
        self.accounts.iter().map(|a| (*a, with(*a).collect())).collect()
    }

    /// Everything that the graph says must be what the edges say.
    pub fn check(&self, graph: &LinkGraph) {
        graph.check_invariants().unwrap();
        let links = |account: u32| {
            graph.links(account).map(move |l| {
                let edge =
                    Edge { first: l.first_ms, last: l.last_ms, count: l.count, joined: l.joined };
                ((account, l.node), edge)
            })
        };
        let found: BTreeMap<_, _> = (0..ACCOUNTS).flat_map(links).collect();
        assert_eq!(found, self.edges);
        for kind in 0..4 {
            for index in 0..ACCOUNTS {
                let node = Node::new(kind, index);
                let members: Vec<u32> =
                    self.edges.keys().filter(|(_, n)| *n == node).map(|(a, _)| *a).collect();
                let bad = members.iter().filter(|a| self.bad.contains(a)).count() as u32;
                let sum = |a: &u32| u32::from(graph.account(*a).unwrap().suspicion);
                let want = (members.len() as u32, bad, members.iter().map(sum).sum());
                let entity = graph.entity(node);
                let found = entity.map_or((0, 0, 0), |e| (e.degree, e.bad, e.suspicion_sum));
                assert_eq!(found, want, "{node:?}");
            }
        }
        for (account, members) in self.components() {
            let component = graph.component(account, 0).unwrap();
            let found: BTreeSet<u32> = graph.component_members(account).into_iter().collect();
            assert_eq!(found, members, "component of {account}");
            assert_eq!(component.size as usize, members.len());
            assert_eq!(component.bad as usize, members.intersection(&self.bad).count());
            assert_eq!(component.ring_id, members.iter().map(|a| key(*a)).min().unwrap());
            if members.len() > 1 {
                let inside = self.edges.iter().filter(|((a, _), _)| members.contains(a));
                let earliest = inside.filter(|(_, e)| self.binds(e)).map(|(_, e)| e.first).min();
                assert_eq!(component.earliest_ms, earliest);
            }
        }
    }
}
