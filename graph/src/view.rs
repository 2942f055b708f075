//! petgraph's traits over the live store, so that its algorithms run on it without a copy.
//!
//! Nodes are the known accounts and entities. From an account, all of its links lead on, and all
//! recent members that linked to it; from an entity, its recent members. So beyond
//! `recent_members_max` members an edge can be seen from the account's side only; algorithms over
//! [`petgraph::visit::IntoEdgeReferences`] see every link exactly once.

use crate::links::LinkGraph;
use crate::node::Node;
use crate::records::LinkView;
use petgraph::visit::{
    Data, EdgeCount, EdgeRef, GraphBase, GraphProp, IntoEdgeReferences, IntoEdges, IntoNeighbors,
    IntoNodeIdentifiers, NodeCount, NodeIndexable, VisitMap, Visitable,
};

/// The graph as petgraph sees it. Cheap to copy; made in the time of counting the kinds.
///
/// ```
/// use graph::{GraphConfig, KindRules, LinkGraph, Node};
/// use petgraph::visit::{Bfs, Walker};
/// let kinds = vec![KindRules::default(); 2];
/// let mut graph = LinkGraph::new(GraphConfig { kinds, ..GraphConfig::default() }).unwrap();
/// for account in 0..3 {
///     graph.add_account(account, account.into());
/// }
/// graph.touch(0, Node::new(1, 0), 5);
/// graph.touch(1, Node::new(1, 0), 6);
/// let seen: Vec<Node> = Bfs::new(graph.view(), Node::account(0)).iter(graph.view()).collect();
/// assert_eq!(seen, [Node::account(0), Node::new(1, 0), Node::account(1)]);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    graph: &'a LinkGraph,
    // Index of the first node of each kind, and one beyond the last.
    starts: [usize; crate::node::KINDS_MAX + 1],
}

/// A link, as an edge from one of its ends to the other.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LinkEdge {
    source: Node,
    target: Node,
    account: u32,
    link: LinkView,
}

impl LinkEdge {
    /// The link itself.
    pub fn link(&self) -> LinkView {
        self.link
    }
}

/// Which nodes were visited: one bit each.
#[derive(Clone, Debug)]
pub struct Visited {
    bits: Vec<u64>,
    starts: [usize; crate::node::KINDS_MAX + 1],
}

impl LinkGraph {
    /// petgraph's view of it.
    pub fn view(&self) -> View<'_> {
        let mut starts = [0; crate::node::KINDS_MAX + 1];
        let mut next = 0;
        for (kind, start) in starts.iter_mut().enumerate() {
            *start = next;
            next += match kind {
                0 => self.accounts.bound(),
                _ => self.entities.get(kind).map_or(0, |e| e.bound()),
            } as usize;
        }
        View { graph: self, starts }
    }

    pub(crate) fn neighbours_of(&self, node: Node) -> impl Iterator<Item = Node> + Clone + '_ {
        let account = (node.kind() == 0 && self.line(node.index()).is_some()).then(|| node.index());
        // No account has the highest index.
        let links = self.links_by_node(account.unwrap_or(u32::MAX)).map(|l| l.node);
        links.chain(self.recent_members(node).iter().map(|r| Node::account(r.id)))
    }
}

impl<'a> View<'a> {
    /// The graph behind it.
    pub fn graph(&self) -> &'a LinkGraph {
        self.graph
    }
}

fn index_of(starts: &[usize], node: Node) -> usize {
    starts.get(node.kind()).copied().unwrap_or(0) + node.index() as usize
}

impl GraphBase for View<'_> {
    type NodeId = Node;
    /// The account that has the link, and what it is linked to.
    type EdgeId = (u32, Node);
}

impl petgraph::visit::GraphRef for View<'_> {}

impl Data for View<'_> {
    type NodeWeight = ();
    type EdgeWeight = LinkView;
}

impl GraphProp for View<'_> {
    type EdgeType = petgraph::Undirected;
}

impl NodeCount for View<'_> {
    fn node_count(&self) -> usize {
        self.node_identifiers().count()
    }
}

impl EdgeCount for View<'_> {
    fn edge_count(&self) -> usize {
        self.graph.size.links as usize
    }
}

impl NodeIndexable for View<'_> {
    fn node_bound(&self) -> usize {
        self.starts[crate::node::KINDS_MAX]
    }
    fn to_index(&self, node: Node) -> usize {
        index_of(&self.starts, node)
    }
    fn from_index(&self, index: usize) -> Node {
        let kind = self.starts.partition_point(|s| *s <= index).saturating_sub(1);
        let start = self.starts.get(kind).copied().unwrap_or(0);
        u8::try_from(kind)
            .map_or(Node::from_bits(u32::MAX), |k| Node::new(k, (index - start) as u32))
    }
}

impl VisitMap<Node> for Visited {
    fn visit(&mut self, node: Node) -> bool {
        let at = index_of(&self.starts, node);
        if at / 64 >= self.bits.len() {
            self.bits.resize(at / 64 + 1, 0);
        }
        let fresh = self.bits[at / 64] & 1 << (at % 64) == 0;
        self.bits[at / 64] |= 1 << (at % 64);
        fresh
    }
    fn is_visited(&self, node: &Node) -> bool {
        let at = index_of(&self.starts, *node);
        self.bits.get(at / 64).is_some_and(|word| word & 1 << (at % 64) != 0)
    }
    fn unvisit(&mut self, node: Node) -> bool {
        let was = self.is_visited(&node);
        let at = index_of(&self.starts, node);
        if was {
            self.bits[at / 64] &= !(1 << (at % 64));
        }
        was
    }
}

impl Visitable for View<'_> {
    type Map = Visited;
    fn visit_map(&self) -> Visited {
        Visited { bits: vec![0; self.node_bound().div_ceil(64)], starts: self.starts }
    }
    fn reset_map(&self, map: &mut Visited) {
        *map = self.visit_map();
    }
}

type Boxed<'a, T> = Box<dyn Iterator<Item = T> + 'a>;

impl<'a> IntoNeighbors for View<'a> {
    type Neighbors = Boxed<'a, Node>;
    fn neighbors(self, node: Node) -> Self::Neighbors {
        Box::new(self.graph.neighbours_of(node))
    }
}

impl<'a> IntoNodeIdentifiers for View<'a> {
    type NodeIdentifiers = Boxed<'a, Node>;
    fn node_identifiers(self) -> Self::NodeIdentifiers {
        let graph = self.graph;
        let accounts = graph.accounts.iter().filter(|(_, a)| a.exists);
        let accounts = accounts.map(|(i, _)| Node::account(i));
        let kinds = graph.entities.iter().enumerate().skip(1);
        let entities = kinds.flat_map(|(kind, entities)| {
            let known = entities.iter().filter(|(_, e)| e.exists());
            known.map(move |(i, _)| Node::new(kind as u8, i))
        });
        Box::new(accounts.chain(entities))
    }
}

impl EdgeRef for LinkEdge {
    type NodeId = Node;
    type EdgeId = (u32, Node);
    type Weight = LinkView;
    fn source(&self) -> Node {
        self.source
    }
    fn target(&self) -> Node {
        self.target
    }
    fn weight(&self) -> &LinkView {
        &self.link
    }
    fn id(&self) -> (u32, Node) {
        (self.account, self.link.node)
    }
}

impl<'a> IntoEdgeReferences for View<'a> {
    type EdgeRef = LinkEdge;
    type EdgeReferences = Boxed<'a, LinkEdge>;
    fn edge_references(self) -> Self::EdgeReferences {
        let graph = self.graph;
        let accounts = graph.accounts.iter().filter(|(_, a)| a.exists).map(|(i, _)| i);
        Box::new(accounts.flat_map(|account| {
            graph.links(account).map(move |link| {
                let source = Node::account(account);
                LinkEdge { source, target: link.node, account, link }
            })
        }))
    }
}

impl<'a> IntoEdges for View<'a> {
    type Edges = Boxed<'a, LinkEdge>;
    fn edges(self, node: Node) -> Self::Edges {
        let graph = self.graph;
        let account = node.index();
        let mine = (node.kind() == 0).then(|| graph.links(account)).into_iter().flatten();
        let out = mine.map(move |link| LinkEdge { source: node, target: link.node, account, link });
        let into = graph.recent_members(node).iter().filter_map(move |member| {
            let link = graph.link(member.id, node)?;
            let target = Node::account(member.id);
            Some(LinkEdge { source: node, target, account: member.id, link })
        });
        Box::new(out.chain(into))
    }
}
