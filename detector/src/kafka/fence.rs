//! Without transactions nothing in Kafka holds back a publisher that was paused and does not know that another one has taken over. The
//! journal does: it is one partition, so that everybody sees one order of what is written to it. Whoever takes over says so there, and
//! what others write behind that means nothing ([`super::journal::Reading`]). A publisher writes to the journal first, and sees by the
//! offsets of its own records whether anything came between them: if not, they count, for good, and it may publish what they led to.

use super::client::Trouble;
use super::config::KafkaSection;
use super::journal::{Record, Tp};
use super::tail::Tail;
use super::topics::Topics;
use rdkafka::Message;

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

/// Looks at what others wrote to the journal, from an offset on.
///
/// # Errors
/// When somebody has taken it over, or it cannot be read.
pub fn look(section: &KafkaSection, from: i64, writer: &str) -> Result<(), Trouble> {
    let topics = Topics::new(section)?;
    let tp = Tp { topic: section.journal.clone(), partition: 0 };
    let mut taken = Ok(());
    Tail::start(section, &topics, [(tp, from)].into())?.to_end(&topics, &mut |_, message| {
        let offset = message.offset();
        let by = |who: &str| {
            Err(Trouble::StartOver(format!(
                "the journal was taken over at {offset} by {who}: another instance is live"
            )))
        };
        match Record::read(message.payload().unwrap_or_default()) {
            Ok(record) if record.takes_over() && record.writer.as_deref() != Some(writer) => {
                taken = by(record.writer.as_deref().unwrap_or("an earlier version"));
            }
            Ok(_) => {}
            Err(why) => taken = Err(Trouble::Fatal(why)),
        }
    })?;
    taken
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
}
