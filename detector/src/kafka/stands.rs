//! Where the partitions stand that the source reads. Messages come in runs of one partition: it is looked for when another one has its turn,
//! not for each message.

use super::journal::{Offsets, Tp};

/// By partition, the offset to take next.
pub(super) struct Stands {
    at: Offsets,
    /// The partition of the last message, with the offset to take next.
    last: Option<(Tp, i64)>,
}

impl Stands {
    pub(super) fn new(at: Offsets) -> Self {
        Self { at, last: None }
    }

    /// The offset to take next in a partition, if it is read.
    pub(super) fn next(&mut self, topic: &str, partition: i32) -> Option<&mut i64> {
        let is_last = |(tp, _): &(Tp, i64)| tp.partition == partition && tp.topic == topic;
        if !self.last.as_ref().is_some_and(is_last) {
            let tp = Tp { topic: topic.into(), partition };
            let next = *self.all().get(&tp)?;
            self.last = Some((tp, next));
        }
        self.last.as_mut().map(|(_, next)| next)
    }

    /// All of them, to be read and changed.
    pub(super) fn all(&mut self) -> &mut Offsets {
        self.at.extend(self.last.take());
        &mut self.at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_stands_where_its_last_message_left_it() {
        let tp = |topic: &str, partition| Tp { topic: topic.into(), partition };
        let begun = [(tp("a", 0), 5), (tp("a", 1), 0), (tp("b", 0), 7)];
        let mut stands = Stands::new(begun.into());
        for (topic, partition, stood) in
            [("a", 0, 5), ("a", 0, 6), ("b", 0, 7), ("a", 1, 0), ("a", 0, 7), ("b", 0, 8)]
        {
            let next = stands.next(topic, partition).expect("it is read");
            assert_eq!(*next, stood, "{topic} {partition}");
            *next += 1;
        }
        assert!(stands.next("c", 0).is_none() && stands.next("b", 1).is_none());
        let all = [(tp("a", 0), 8), (tp("a", 1), 1), (tp("b", 0), 9)];
        assert_eq!(*stands.all(), all.into());
        // What is given up is not read, whatever came last.
        stands.next("b", 0);
        stands.all().remove(&tp("b", 0));
        assert!(stands.next("b", 0).is_none());
    }
}
