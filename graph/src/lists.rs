//! An account's links: one block, sorted by node. For an account of many links the block ends in a short tail of the newest, sorted as
//! well, so that a new link moves the tail and not the list; a full tail is merged.

use crate::links::LinkGraph;
use crate::node::Node;
use crate::records::Link;

/// With as many links, new ones go to the tail. More than are ever walked.
const TAIL_FROM: usize = 256;
/// A tail of as many links is merged.
const TAIL_MAX: usize = 128;

const _: () = assert!(crate::links::WALK_MAX < TAIL_FROM && TAIL_MAX <= u8::MAX as usize);

impl LinkGraph {
    /// The list's two parts, each sorted by node.
    #[inline]
    fn runs(&self, account: u32) -> [&[Link]; 2] {
        let Some(line) = self.accounts.get(account) else { return [&[]; 2] };
        let (n, tail) = (usize::from(line.links_n), usize::from(line.tail_n));
        let (sorted, tail) =
            self.links.slice(line.links, n).split_at(n.saturating_sub(tail).min(n));
        [sorted, tail]
    }

    /// Where the link is, and the link.
    #[inline]
    pub(crate) fn find(&self, account: u32, node: Node) -> (usize, Option<Link>) {
        let [sorted, tail] = self.runs(account);
        let at = sorted.partition_point(|l| l.node < node);
        let found = sorted.get(at).filter(|l| l.node == node);
        if found.is_some() || tail.is_empty() {
            return (at, found.copied());
        }
        let at = tail.partition_point(|l| l.node < node);
        (sorted.len() + at, tail.get(at).filter(|l| l.node == node).copied())
    }

    /// All links of an account, by node.
    pub(crate) fn links_by_node(&self, account: u32) -> impl Iterator<Item = &Link> + Clone + '_ {
        let [mut sorted, mut tail] = self.runs(account);
        std::iter::from_fn(move || {
            let of_tail = match (sorted.first(), tail.first()) {
                (Some(a), Some(b)) => b.node < a.node,
                (first, _) => first.is_none(),
            };
            let run = if of_tail { &mut tail } else { &mut sorted };
            let (first, rest) = run.split_first()?;
            *run = rest;
            Some(first)
        })
    }

    /// How many of an account's links are to nodes before `node`.
    pub(crate) fn links_before(&self, account: u32, node: Node) -> usize {
        self.runs(account).iter().map(|run| run.partition_point(|l| l.node < node)).sum()
    }

    /// Adds a link that is not there. Cost: the list while it is short, then the tail, and once in [`TAIL_MAX`] links a merge.
    pub(crate) fn insert_link(&mut self, account: u32, link: Link) {
        let [sorted, tail] = self.runs(account);
        let n = sorted.len() + tail.len();
        let to_tail = sorted.len() >= TAIL_FROM;
        let (run, from) = if to_tail { (tail, sorted.len()) } else { (sorted, 0) };
        let at = from + run.partition_point(|l| l.node < link.node);
        let (offset, _) = self.links_of(account);
        let offset = self.links.insert(offset, n, at, link);
        let Some(line) = self.accounts.get_mut(account) else { return };
        line.links = offset;
        line.links_n += 1;
        line.tail_n += u8::from(to_tail);
        if usize::from(line.tail_n) >= TAIL_MAX {
            self.merge_tail(account);
        }
    }

    /// Takes links out: those of `nodes`, which is sorted. Cost: one pass over the list.
    pub(crate) fn take_links(&mut self, account: u32, mut nodes: &[Node]) -> Vec<Link> {
        let mut gone = Vec::new();
        let n_sorted = self.runs(account)[0].len();
        let (offset, n) = self.links_of(account);
        let all = nodes;
        let (mut kept, mut kept_sorted, mut moved) = (0, 0, 0);
        let list = self.links.slice_mut(offset, n);
        for at in 0..list.len() {
            if at == n_sorted {
                (nodes, kept_sorted) = (all, kept);
            }
            let link = list[at];
            while nodes.first().is_some_and(|node| *node < link.node) {
                nodes = &nodes[1..];
            }
            if nodes.first() == Some(&link.node) {
                gone.push(link);
            } else {
                if kept != at {
                    list[kept] = link;
                    moved += 1;
                }
                kept += 1;
            }
        }
        if n_sorted == n {
            kept_sorted = kept;
        }
        if gone.is_empty() {
            return gone;
        }
        self.links.moved += moved;
        let offset = self.links.shrink(offset, n, kept);
        if let Some(line) = self.accounts.get_mut(account) {
            line.links = offset;
            line.links_n = kept as u16;
            line.tail_n = (kept - kept_sorted) as u8;
        }
        if kept_sorted < TAIL_FROM {
            self.merge_tail(account);
        }
        gone
    }

    fn merge_tail(&mut self, account: u32) {
        let (offset, n) = self.links_of(account);
        let [sorted, tail] = self.runs(account);
        let mut from = sorted.len();
        let mut copy = [Link::default(); TAIL_MAX];
        let copy = &mut copy[..tail.len()];
        copy.copy_from_slice(tail);
        let mut left = &*copy;
        let list = self.links.slice_mut(offset, n);
        for to in (0..n).rev() {
            let Some((last, rest)) = left.split_last() else { break };
            if from > 0 && list[from - 1].node > last.node {
                list[to] = list[from - 1];
                from -= 1;
            } else {
                list[to] = *last;
                left = rest;
            }
        }
        self.links.moved += (n - from) as u64;
        if let Some(line) = self.accounts.get_mut(account) {
            line.tail_n = 0;
        }
    }
}
