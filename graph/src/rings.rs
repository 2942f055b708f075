//! The ring around an account, and why somebody is in it: for explanations, never on the hot path.

use crate::links::LinkGraph;
use crate::node::Node;
use crate::records::LinkView;
use petgraph::algo::articulation_points::articulation_points;
use petgraph::algo::{astar, bridges};
use petgraph::dot::{Config, Dot};
use petgraph::graph::{NodeIndex, UnGraph};
use petgraph::visit::{EdgeRef, IntoNodeReferences, VisitMap, Visitable};
use std::collections::{BTreeMap, VecDeque};

/// The largest extract, in nodes.
pub const RING_NODES_MAX: usize = 5000;

/// A copy of what is around an account, nearest first.
#[derive(Clone, Debug)]
pub struct Ring {
    /// Accounts and entities, and one edge for each pair that is linked: the stronger, if both link.
    pub graph: UnGraph<Node, LinkView>,
    /// Where the account is in it.
    pub center: NodeIndex,
    /// Whether there is more than was copied.
    pub truncated: bool,
}

/// How an account is linked to a bad one.
#[derive(Clone, Debug, PartialEq)]
pub struct Path {
    /// Accounts and entities in turn, from the account to the bad one.
    pub nodes: Vec<Node>,
    /// Sum over its links of 1 + log2(1 + degree of the entity entered): low is close.
    pub cost: u32,
}

impl LinkGraph {
    /// What is linked to the account over any number of steps: at most `nodes_max` nodes (and
    /// [`RING_NODES_MAX`]), nearest first. Entities with more accounts than their kind's
    /// `expand_degree_max` are in it but lead nowhere; of the others, the recent members are followed.
    /// `None` for an unknown account. Cost: about 1 us per node.
    pub fn ring(&self, account: u32, nodes_max: usize) -> Option<Ring> {
        self.line(account)?;
        let nodes_max = nodes_max.clamp(1, RING_NODES_MAX);
        let view = self.view();
        let mut seen = view.visit_map();
        let mut graph = UnGraph::default();
        let mut at: BTreeMap<Node, NodeIndex> = BTreeMap::new();
        let mut queue = VecDeque::from([Node::account(account)]);
        let mut truncated = false;
        seen.visit(Node::account(account));
        let center = graph.add_node(Node::account(account));
        at.insert(Node::account(account), center);
        while let Some(node) = queue.pop_front() {
            if node != Node::account(account) && !self.expands(node) {
                continue;
            }
            for next in self.neighbours_of(node) {
                if seen.is_visited(&next) {
                    continue;
                }
                if at.len() == nodes_max {
                    truncated = true;
                    break;
                }
                seen.visit(next);
                at.insert(next, graph.add_node(next));
                queue.push_back(next);
            }
        }
        for (node, from) in at.iter().filter(|(n, _)| n.kind() == 0) {
            for link in self.links(node.index()) {
                let Some(to) = at.get(&link.node) else { continue };
                match graph.find_edge(*from, *to) {
                    None => {
                        graph.add_edge(*from, *to, link);
                    }
                    Some(edge) => {
                        if let Some(weight) = graph.edge_weight_mut(edge)
                            && weight.strength < link.strength
                        {
                            *weight = link;
                        }
                    }
                }
            }
        }
        Some(Ring { graph, center, truncated })
    }

    /// The way from the account to the nearest account labelled bad, itself left out, over at most
    /// `nodes_max` nodes; hubs count as far. `None` if there is none.
    pub fn path_to_bad(&self, account: u32, nodes_max: usize) -> Option<Path> {
        let ring = self.ring(account, nodes_max)?;
        let bad = |node: Node| {
            node.kind() == 0
                && node.index() != account
                && self.line(node.index()).is_some_and(|l| l.bad)
        };
        // Entering an entity costs by its degree, so of two ways the more telling one is taken.
        let cost = |node: Node| match node.kind() {
            0 => 1,
            _ => 1 + self.entity_line(node).map_or(0, |e| (e.degree.saturating_add(1)).ilog2()),
        };
        let (cost, path) = astar(
            &ring.graph,
            ring.center,
            |at| ring.graph.node_weight(at).is_some_and(|n| bad(*n)),
            |edge| {
                let of = |at: NodeIndex| ring.graph.node_weight(at).map_or(1, |n| cost(*n));
                of(edge.source()).max(of(edge.target()))
            },
            |_| 0,
        )?;
        let nodes = path.iter().filter_map(|at| ring.graph.node_weight(*at).copied()).collect();
        Some(Path { nodes, cost })
    }

    fn expands(&self, node: Node) -> bool {
        let max = self.config.kinds.get(node.kind()).map_or(0, |k| k.expand_degree_max);
        self.entity_line(node).is_none_or(|e| e.degree <= max)
    }
}

impl Ring {
    /// The nodes without which the ring falls apart, sorted: the accounts and things that hold it
    /// together (petgraph's articulation points).
    pub fn holders(&self) -> Vec<Node> {
        let strengths = self.graph.map(|_, n| *n, |_, link| link.strength);
        let points = articulation_points(&strengths);
        let mut nodes: Vec<Node> =
            points.into_iter().filter_map(|at| self.graph.node_weight(at).copied()).collect();
        nodes.sort_unstable();
        nodes
    }

    /// The links without which the ring falls apart, sorted (petgraph's bridges): lower node first.
    pub fn bridges(&self) -> Vec<(Node, Node)> {
        let mut ends: Vec<(Node, Node)> = bridges(&self.graph)
            .filter_map(|edge| {
                let a = *self.graph.node_weight(edge.source())?;
                let b = *self.graph.node_weight(edge.target())?;
                Some((a.min(b), a.max(b)))
            })
            .collect();
        ends.sort_unstable();
        ends
    }

    /// The ring as Graphviz DOT; `label` names nodes, and is escaped here. Entities are boxes.
    pub fn dot(&self, label: impl Fn(Node) -> String) -> String {
        let nodes = |_: &UnGraph<Node, LinkView>, (at, node): (NodeIndex, &Node)| {
            let shape = if node.kind() == 0 { "ellipse" } else { "box" };
            let center = if at == self.center { ", penwidth = 3" } else { "" };
            format!("label = \"{}\", shape = {shape}{center}", escape(&label(*node)))
        };
        let edges = |_: &UnGraph<Node, LinkView>,
                     edge: petgraph::graph::EdgeReference<'_, LinkView>| {
            let link = edge.weight();
            let style = if link.joined { "solid" } else { "dashed" };
            format!("label = \"{}\", style = {style}", link.count)
        };
        let config = [Config::NodeNoLabel, Config::EdgeNoLabel];
        let dot = Dot::with_attr_getters(&self.graph, &config, &edges, &nodes);
        format!("{dot:?}")
    }

    /// The ring's nodes, nearest first.
    pub fn nodes(&self) -> impl Iterator<Item = Node> + '_ {
        self.graph.node_references().map(|(_, node)| *node)
    }
}

/// As inside of a quoted DOT string.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '"' | '\\' => escaped.extend(['\\', c]),
            '\n' => escaped.push_str("\\n"),
            c if c.is_control() => escaped.push('?'),
            c => escaped.push(c),
        }
    }
    escaped
}
