//! What a partition has at an offset, and where it can be read again behind what cannot be read. The client does not say how long such a
//! batch is. But reading from an offset inside of it fails at the batch's own offset, and so its end is found.

use super::client::{self, Trouble};
use super::config::KafkaSection;
use super::fetcher::Fetcher;
use super::journal::Tp;
use super::outcome::Outcome;
use super::topics::Topics;
use rdkafka::error::RDKafkaErrorCode;
use std::time::{Duration, Instant};

/// Longest wait for what lies at an offset. Inside of some batches the client says nothing at all.
const PATIENCE: Duration = Duration::from_secs(5);

/// The first offset behind `at` that can be read, or the partition's end.
///
/// # Errors
/// When the brokers do not answer.
pub fn behind(section: &KafkaSection, tp: &Tp, at: i64) -> Result<i64, Trouble> {
    let topics = Topics::new(section)?;
    let (low, high) = topics.bounds(tp)?;
    if at < low {
        return Ok(low);
    }
    if at >= high {
        return Err(Trouble::Fatal(format!(
            "{tp} ends at {high}, and nothing follows offset {at}"
        )));
    }
    let found = search(at, high, |offset| is_inside(section, tp, (at, high), offset))?;
    // Brokers that send nothing at all are silent there, too, and nothing is passed over because of that.
    if is_inside(section, tp, (at, high), found)? {
        return Err(Trouble::StartOver(format!(
            "the brokers send nothing of {tp} from offset {found} on"
        )));
    }
    Ok(found)
}

/// What is at an offset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// A message at it or behind it.
    Message,
    /// Nothing: the partition ends there, marks of transactions apart.
    End,
    /// Nothing can be read, for this reason.
    Failed(String),
}

/// Looks at what a partition has at an offset. A client that was refused once does not say so again: a new one is asked.
///
/// # Errors
/// When a client cannot be made.
pub fn look(section: &KafkaSection, tp: &Tp, at: i64) -> Result<Found, Trouble> {
    let mut fetcher = Fetcher::new(&client::reader(section))?;
    fetcher.assign(&[(tp.clone(), at)].into())?;
    let until = Instant::now() + PATIENCE;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        match fetcher.poll(left) {
            Some(Ok(_)) => return Ok(Found::Message),
            Some(Err(error)) if error.is_end() => return Ok(Found::End),
            Some(Err(error)) if error.outcome() == Outcome::Retried => {}
            Some(Err(error)) => return Ok(Found::Failed(error.to_string())),
            None if left.is_zero() => {
                let s = PATIENCE.as_secs();
                return Ok(Found::Failed(format!("the brokers send nothing of it within {s} s")));
            }
            None => {}
        }
    }
}

/// The first offset that is not inside, of those behind `at`, which is; `high` is not, if it is behind it. Batches are mostly short.
fn search(
    at: i64,
    high: i64,
    mut is_inside: impl FnMut(i64) -> Result<bool, Trouble>,
) -> Result<i64, Trouble> {
    let (mut inside, mut outside) = (at, high.max(at + 1));
    let mut step = 1;
    while let Some(next) = inside.checked_add(step).filter(|next| *next < outside) {
        if is_inside(next)? {
            inside = next;
            step *= 2;
        } else {
            outside = next;
        }
    }
    while outside - inside > 1 {
        let middle = inside + (outside - inside) / 2;
        if is_inside(middle)? {
            inside = middle;
        } else {
            outside = middle;
        }
    }
    Ok(outside)
}

/// Whether an offset is in the batch that cannot be read at `at`, of a partition that ends at `high`.
fn is_inside(
    section: &KafkaSection,
    tp: &Tp,
    (at, high): (i64, i64),
    offset: i64,
) -> Result<bool, Trouble> {
    let mut fetcher = Fetcher::new(&client::reader(section))?;
    fetcher.assign(&[(tp.clone(), offset)].into())?;
    let until = Instant::now() + PATIENCE;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        match fetcher.poll(left) {
            Some(Ok(message)) if message.offset() >= offset => return Ok(false),
            Some(Ok(_)) => {}
            Some(Err(error)) if error.is_end() => return Ok(false),
            Some(Err(error)) => match (error.outcome(), &error.of) {
                (Outcome::Retried, _) => {}
                (Outcome::Unreadable, Some((_, found))) => {
                    // This one is reported at the offset that was asked for.
                    let is_anywhere = error.code == RDKafkaErrorCode::MessageSizeTooLarge;
                    // The client may take the offset out of what it cannot read: then it can be anything.
                    let is_of_batch = found.is_none_or(|found| found <= at || found >= high);
                    return Ok(is_anywhere || is_of_batch);
                }
                // It looked for more behind a batch whose length it took out of its bytes.
                (Outcome::OutOfRange, Some((_, found)))
                    if found.is_none_or(|found| found >= high) =>
                {
                    return Ok(true);
                }
                _ => return Err(error.trouble("cannot look behind a batch in")),
            },
            None if left.is_zero() => return Ok(true),
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_offset_behind_a_batch_is_found_in_few_looks() {
        for length in [1, 2, 3, 4, 5, 100, 1023, 1024, 1025, 100_000] {
            for rest in [0, 1, 7, 1_000_000] {
                let (at, end) = (6443, 6443 + length);
                let mut looks = 0;
                let found = search(at, end + rest, |offset| {
                    assert!(offset > at && offset < end + rest, "{offset} needs no look");
                    looks += 1;
                    Ok(offset < end)
                });
                assert_eq!(found.expect("it is found"), end, "{length} of {rest} more");
                assert!(looks <= 2 * (i64::BITS - length.leading_zeros()) + 2, "{looks} looks");
            }
        }
        // What cannot be read is the last thing that there is, or its end is not known yet.
        let never = |_| -> Result<bool, Trouble> { panic!("there is nothing to look at") };
        assert_eq!(search(5, 6, never).expect("it is found"), 6);
        assert_eq!(search(5, 5, never).expect("it is found"), 6);
    }

    #[test]
    fn a_broker_that_does_not_answer_ends_the_search() {
        let failed = search(5, 50, |_| Err(Trouble::StartOver("silence".into())));
        assert!(matches!(failed, Err(Trouble::StartOver(_))));
    }
}
