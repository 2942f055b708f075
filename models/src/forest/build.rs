//! From child links as they stand in a file to a checked tree.

use super::{Child, ForestError, Leaf, Node, Test, Tree};
use crate::limits::DEPTH_MAX;

/// A split as it stands in a file: its links are not yet to be trusted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RawNode {
    pub column: u32,
    pub test: Test,
    pub left: RawChild,
    pub right: RawChild,
    pub cover: f64,
}

/// An untrusted link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RawChild {
    Node(usize),
    Leaf(usize),
}

/// A link still to be followed, and the new split (and its left side or not) that is told where it led.
struct Open {
    link: RawChild,
    depth: usize,
    parent: Option<(usize, bool)>,
}

/// Checks that the links form a tree, drops what the root does not reach, and renumbers: splits depth first, leaves from
/// left to right. `columns` bounds every column index. Cost: linear.
pub(crate) fn build_tree(
    format: &'static str,
    place: &str,
    columns: usize,
    nodes: &[RawNode],
    leaves: &[Leaf],
    root: RawChild,
    categories: Vec<u32>,
) -> Result<Tree, ForestError> {
    let malformed = |reason: String| ForestError::malformed(format, place, reason);
    let mut tree = Tree { nodes: Vec::new(), leaves: Vec::new(), categories, depth: 0 };
    let mut node_seen = vec![false; nodes.len()];
    let mut leaf_seen = vec![false; leaves.len()];
    let mut open = vec![Open { link: root, depth: 0, parent: None }];
    while let Some(Open { link, depth, parent }) = open.pop() {
        if depth > DEPTH_MAX {
            return Err(ForestError::TooLarge {
                what: "depth of a tree",
                found: depth as u64,
                max: DEPTH_MAX as u64,
            });
        }
        tree.depth = tree.depth.max(depth);
        let child = match link {
            RawChild::Leaf(index) => {
                let leaf = leaves.get(index).ok_or_else(|| {
                    malformed(format!("leaf {index} is linked, but there are {}", leaves.len()))
                })?;
                if std::mem::replace(&mut leaf_seen[index], true) {
                    return Err(malformed(format!("leaf {index} has two parents")));
                }
                check_number(leaf.value, || format!("leaf {index} has the value"))
                    .map_err(malformed)?;
                check_cover(leaf.cover, || format!("leaf {index}")).map_err(malformed)?;
                tree.leaves.push(*leaf);
                Child::Leaf(tree.leaves.len() as u32 - 1)
            }
            RawChild::Node(index) => {
                let node = nodes.get(index).ok_or_else(|| {
                    malformed(format!("split {index} is linked, but there are {}", nodes.len()))
                })?;
                if std::mem::replace(&mut node_seen[index], true) {
                    return Err(malformed(format!("split {index} has two parents or is its own")));
                }
                if node.column as usize >= columns {
                    return Err(malformed(format!(
                        "split {index} asks column {}, but the model has {columns}",
                        node.column
                    )));
                }
                check_cover(node.cover, || format!("split {index}")).map_err(malformed)?;
                let at = tree.nodes.len();
                tree.nodes.push(Node {
                    column: node.column,
                    test: node.test,
                    left: Child::Leaf(0),
                    right: Child::Leaf(0),
                    cover: node.cover,
                });
                open.push(Open { link: node.right, depth: depth + 1, parent: Some((at, false)) });
                open.push(Open { link: node.left, depth: depth + 1, parent: Some((at, true)) });
                Child::Node(at as u32)
            }
        };
        if let Some((at, is_left)) = parent {
            let node = &mut tree.nodes[at];
            *(if is_left { &mut node.left } else { &mut node.right }) = child;
        }
    }
    Ok(tree)
}

fn check_number(value: f64, what: impl FnOnce() -> String) -> Result<(), String> {
    if value.is_finite() { Ok(()) } else { Err(format!("{} {value}", what())) }
}

fn check_cover(cover: f64, what: impl FnOnce() -> String) -> Result<(), String> {
    if cover.is_finite() && cover >= 0.0 {
        Ok(())
    } else {
        Err(format!("{} has the row weight {cover}", what()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(left: RawChild, right: RawChild) -> RawNode {
        let test = Test::AtMost { threshold: 0.0, missing_left: false, zero_is_missing: false };
        RawNode { column: 0, test, left, right, cover: 1.0 }
    }

    fn build(nodes: &[RawNode], leaves: usize) -> Result<Tree, ForestError> {
        let leaves = vec![Leaf { value: 1.0, cover: 1.0 }; leaves];
        build_tree("test", "tree 0", 1, nodes, &leaves, RawChild::Node(0), Vec::new())
    }

    #[test]
    fn broken_links_are_refused() {
        use RawChild::{Leaf, Node};
        let cases: &[(&str, Vec<RawNode>)] = &[
            ("split 0 has two parents or is its own", vec![split(Node(0), Leaf(0))]),
            ("leaf 0 has two parents", vec![split(Leaf(0), Leaf(0))]),
            ("split 7 is linked, but there are 1", vec![split(Node(7), Leaf(0))]),
            ("leaf 9 is linked, but there are 2", vec![split(Leaf(9), Leaf(0))]),
            ("split 1 has two parents", vec![split(Node(1), Node(1)), split(Leaf(0), Leaf(1))]),
            ("split 0 has two parents", vec![split(Node(1), Leaf(0)), split(Node(0), Leaf(1))]),
        ];
        for (reason, nodes) in cases {
            let error = build(nodes, 2).expect_err(reason).to_string();
            assert!(error.contains(reason), "{error} should say {reason}");
        }
        assert!(build(&[], 2).is_err());
    }

    #[test]
    fn a_chain_deeper_than_the_cap_is_refused() {
        let chain = |splits: usize| {
            let nodes: Vec<RawNode> = (0..splits)
                .map(|i| {
                    let last = i + 1 == splits;
                    let next = if last { RawChild::Leaf(splits) } else { RawChild::Node(i + 1) };
                    split(RawChild::Leaf(i), next)
                })
                .collect();
            build(&nodes, splits + 1)
        };
        assert_eq!(chain(DEPTH_MAX).unwrap().depth, DEPTH_MAX);
        assert!(chain(DEPTH_MAX + 1).is_err());
    }

    #[test]
    fn leaves_are_numbered_from_left_to_right() {
        use RawChild::{Leaf as L, Node as N};
        let nodes = [split(N(1), L(2)), split(L(1), L(0))];
        let leaves: Vec<Leaf> = (0..3).map(|i| Leaf { value: f64::from(i), cover: 1.0 }).collect();
        let tree = build_tree("test", "t", 1, &nodes, &leaves, N(0), Vec::new()).unwrap();
        let values: Vec<f64> = tree.leaves.iter().map(|leaf| leaf.value).collect();
        assert_eq!(values, [1.0, 0.0, 2.0]);
        assert_eq!(tree.depth, 2);
    }
}
