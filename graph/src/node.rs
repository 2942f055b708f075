//! What can be linked: an account, or a thing that accounts share.

use std::fmt;

/// How many kinds there can be, accounts (kind 0) included.
pub const KINDS_MAX: usize = 32;

const INDEX_BITS: u32 = 27;

/// The index that no account and no entity ever has: what out-of-range input becomes.
pub(crate) const INDEX_NONE: u32 = (1 << INDEX_BITS) - 1;

/// A thing accounts are linked to: 5 bits of kind above 27 bits of dense index within the kind.
///
/// Kind 0 is an account met as a target or a peer; kinds 1 to 31 are entities (device, IP, card …).
/// Ordered by kind, then index. Out-of-range input becomes a node that never exists, so that every
/// call with it is refused instead of hitting another node.
///
/// ```
/// use graph::Node;
/// let device = Node::new(3, 70);
/// assert_eq!((device.kind(), device.index()), (3, 70));
/// assert_eq!(Node::account(5), Node::new(0, 5));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[repr(transparent)]
pub struct Node(u32);

impl Node {
    /// The largest index a node may have: 134 217 726.
    pub const INDEX_MAX: u32 = INDEX_NONE - 1;

    /// The node of an account, as a linked thing.
    pub const fn account(index: u32) -> Node {
        Node::new(0, index)
    }

    /// The node of an entity; `kind` below [`KINDS_MAX`], `index` at most [`Node::INDEX_MAX`].
    pub const fn new(kind: u8, index: u32) -> Node {
        if kind as usize >= KINDS_MAX || index > Node::INDEX_MAX {
            return Node(u32::MAX);
        }
        Node((kind as u32) << INDEX_BITS | index)
    }

    /// Kind, below [`KINDS_MAX`]. 0 is an account.
    pub const fn kind(self) -> usize {
        (self.0 >> INDEX_BITS) as usize
    }

    /// Index within the kind.
    pub const fn index(self) -> u32 {
        self.0 & INDEX_NONE
    }

    /// The node as the number it is saved as.
    pub const fn to_bits(self) -> u32 {
        self.0
    }

    /// The node of a saved number; any number is a node, if only one that never exists.
    pub const fn from_bits(bits: u32) -> Node {
        Node(bits)
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind(), self.index())
    }
}
