//! Without transactions nothing in Kafka holds back a publisher that was paused and does not know that another one has taken over. The
//! journal does: it is one partition, so that everybody sees one order of what is written to it. Whoever takes over says so there, and
//! what others write behind that means nothing ([`super::journal::Reading`]). A publisher writes to the journal first, and sees by the
//! offsets of its own records whether anything came between them: if not, they count, for good, and it may publish what they led to.

use super::client::Trouble;
use super::config::KafkaSection;
use super::journal::{Offsets, Record, Tp};
use super::signature::{self, Foreign, Of, Signer, Strangers};
use super::tail::Tail;
use super::topics::Topics;
use crate::telemetry::Telemetry;
use std::collections::BTreeSet;

/// Where a publisher's own records came to lie.
#[derive(Debug, Default)]
pub struct Chain {
    next: Option<i64>,
    /// The first offset that is somebody else's.
    strange: Option<i64>,
}

impl Chain {
    /// A record of this publisher lies here. They come in their order.
    pub fn delivered(&mut self, offset: i64) {
        if offset < 0 {
            // One that was sent again and is there already; the client does not say where. What follows is looked at.
            if let Some(next) = self.next {
                self.strange.get_or_insert(next);
            }
            return;
        }
        if let Some(next) = self.next.filter(|next| *next != offset) {
            self.strange.get_or_insert(next);
        }
        self.next = Some(offset + 1);
    }

    /// From where on something lies between this publisher's records that it has not looked at, if anything does.
    pub fn take_strange(&mut self) -> Option<i64> {
        self.strange.take()
    }
}

/// Looks at what others wrote to the journal behind a record of this publisher, which lies before `from`.
///
/// # Errors
/// When somebody has taken it over, or it cannot be read.
pub fn look(
    section: &KafkaSection,
    from: i64,
    (writer, signer): (&str, &Signer),
    strangers: &mut Strangers,
) -> Result<(), Trouble> {
    let topics = Topics::new(section)?;
    let tp = Tp { topic: section.journal.clone(), partition: 0 };
    let (mut taken, mut newest) = (Ok(()), 0);
    let mut tail = Tail::start(section, &topics, [(tp, from - 1)].into())?;
    tail.to_end(&topics, &mut |tp, message| {
        let (content, signature) = signature::of(message);
        let offset = message.offset();
        match (signer.check(Of::Journal, signature, &content), Record::read(content.payload)) {
            (Err(why), _) => strangers.found(tp.partition, offset, why),
            (Ok(_), Err(_)) => strangers.found(tp.partition, offset, Foreign::Unreadable),
            (Ok(number), Ok(_)) if number <= newest => {
                strangers.found(tp.partition, offset, Foreign::Repeated);
            }
            (Ok(number), Ok(record)) if record.writer.as_deref() == Some(writer) => newest = number,
            (Ok(_), Ok(record)) if record.takes_over() => {
                let who = record.writer.as_deref().unwrap_or("an earlier version");
                taken = Err(Trouble::StartOver(format!(
                    "the journal was taken over at {offset} by {who}: another instance is live"
                )));
            }
            // By one that was paused and does not know yet.
            (Ok(_), Ok(_)) => {}
        }
    })?;
    taken
}

/// Offsets of a partition that lie between records of this publisher: from, to and not with.
pub type Between = (Tp, i64, i64);
/// Looked at together; what lies between is met by the next start in any case.
const BETWEEN_MAX: usize = 64;

/// Sees by the offsets of this publisher's records whether others write to the same partitions.
#[derive(Debug, Default)]
pub struct Gaps {
    next: Offsets,
    /// Since the last commit, which leaves a mark behind each.
    written: BTreeSet<Tp>,
    found: Vec<Between>,
}

impl Gaps {
    /// Begins where the partitions end.
    pub fn begin(&mut self, ends: Offsets) {
        self.next = ends;
    }

    /// A record of this publisher lies here.
    pub fn delivered(&mut self, tp: Tp, offset: i64) {
        self.written.insert(tp.clone());
        if offset < 0 {
            // One that was sent again and is there already; the client does not say where.
            self.next.remove(&tp);
            return;
        }
        let next = self.next.insert(tp.clone(), offset + 1);
        if let Some(next) = next.filter(|next| *next < offset)
            && self.found.len() < BETWEEN_MAX
        {
            self.found.push((tp, next, offset));
        }
    }

    /// A transaction was committed.
    pub fn committed(&mut self) {
        for tp in std::mem::take(&mut self.written) {
            if let Some(next) = self.next.get_mut(&tp) {
                *next += 1;
            }
        }
    }

    /// What was found since the last call.
    pub fn take(&mut self) -> Vec<Between> {
        std::mem::take(&mut self.found)
    }
}

/// Looks at what lies between this publisher's records, and says whose it is not.
///
/// # Errors
/// When it cannot be read.
pub fn look_between(
    section: &KafkaSection,
    between: Vec<Between>,
    signer: &Signer,
    telemetry: &Telemetry,
) -> Result<(), Trouble> {
    let topics = Topics::new(section)?;
    for (tp, from, to) in between {
        let of = if tp.topic == section.journal { Of::Journal } else { Of::Actions };
        let mut strangers = Strangers::new(&tp.topic, telemetry.clone());
        let most = usize::try_from(to - from).unwrap_or_default();
        let mut tail = Tail::start(section, &topics, [(tp, from)].into())?;
        tail.towards_end(&topics, most, &mut |tp, message| {
            if message.offset() < to {
                let (content, signature) = signature::of(message);
                let why = signer.check(of, signature, &content).err();
                strangers.found(tp.partition, message.offset(), why.unwrap_or(Foreign::Repeated));
            }
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_between_is_found_once() {
        let mut chain = Chain::default();
        for offset in [40, 41, 42] {
            chain.delivered(offset);
        }
        assert_eq!(chain.take_strange(), None);
        for offset in [43, 45, 46, 50, 51] {
            chain.delivered(offset);
        }
        assert_eq!((chain.take_strange(), chain.take_strange()), (Some(44), None));
        chain.delivered(53);
        assert_eq!(chain.take_strange(), Some(52));
        // Somewhere behind 53, and the next one at 55.
        chain.delivered(-1001);
        assert_eq!(chain.take_strange(), Some(54));
        chain.delivered(55);
        assert_eq!(chain.take_strange(), Some(54));
        chain.delivered(56);
        assert_eq!(chain.take_strange(), None);
    }

    #[test]
    fn records_between_ours_are_found_and_marks_of_commits_are_not() {
        let tp = |partition| Tp { topic: "actions".into(), partition };
        let mut gaps = Gaps::default();
        gaps.begin([(tp(0), 40), (tp(1), 7)].into());
        for (partition, offset) in [(0, 40), (0, 41), (1, 7)] {
            gaps.delivered(tp(partition), offset);
        }
        gaps.committed();
        // Nothing was written to partition 1: no mark there.
        gaps.delivered(tp(0), 43);
        gaps.committed();
        gaps.delivered(tp(1), 9);
        assert_eq!(gaps.take(), []);
        gaps.delivered(tp(0), 47);
        gaps.delivered(tp(1), 10);
        assert_eq!(gaps.take(), [(tp(0), 45, 47)]);
        gaps.committed();
        gaps.delivered(tp(0), -1001);
        gaps.delivered(tp(0), 53);
        gaps.delivered(tp(1), 13);
        assert_eq!(gaps.take(), [(tp(1), 12, 13)]);
        // A partition that came since.
        gaps.delivered(tp(2), 3);
        assert_eq!(gaps.take(), []);
    }
}
