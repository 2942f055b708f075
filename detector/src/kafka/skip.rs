//! `--skip TOPIC/PARTITION@OFFSET`: a person's word to pass over what cannot be read there.

use super::journal::Tp;
use super::source::{DeadMessage, dead};
use engine::wire::{Reject, RejectCode};
use std::fmt;
use std::str::FromStr;

/// A place that is to be passed over, if its partition is stopped there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skip {
    /// The partition.
    pub tp: Tp,
    /// The offset at which it stopped.
    pub at: i64,
}

impl fmt::Display for Skip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}@{}", self.tp.topic, self.tp.partition, self.at)
    }
}

impl FromStr for Skip {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.rsplit_once('@').and_then(|(place, at)| {
            let (topic, partition) = place.rsplit_once('/')?;
            Some((topic, number(partition)?, number(at)?))
        });
        match parts {
            Some((topic, partition, at)) if !topic.is_empty() => {
                let partition = i32::try_from(partition)
                    .map_err(|_| format!("there is no partition {partition}"))?;
                Ok(Self { tp: Tp { topic: topic.into(), partition }, at })
            }
            _ => Err("it is written TOPIC/PARTITION@OFFSET, as the log and /readyz say it: events/3@6443".into()),
        }
    }
}

/// Digits only: no sign, no space.
fn number(text: &str) -> Option<i64> {
    let is_plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_plain.then(|| text.parse().ok()).flatten()
}

/// The dead letter for offsets `from` to before `to`. It is the same whenever it is written.
pub fn letter(tp: &Tp, from: i64, to: i64) -> DeadMessage {
    let offsets = match to - from {
        1 => format!("offset {from} was"),
        n => format!("offsets {from} to {} ({n}) were", to - 1),
    };
    let detail = format!("{offsets} passed over by --skip {}/{}@{from}", tp.topic, tp.partition);
    dead(Reject::new(RejectCode::Skipped, detail), tp.clone(), from, None, &[])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_read_as_it_is_written() {
        let good = [
            ("events/3@6443", "events", 3, 6443),
            ("a/b@c/0@0", "a/b@c", 0, 0),
            ("e.v_e-nts/2147483647@9223372036854775807", "e.v_e-nts", i32::MAX, i64::MAX),
        ];
        for (text, topic, partition, at) in good {
            let skip: Skip = text.parse().expect(text);
            assert_eq!((&*skip.tp.topic, skip.tp.partition, skip.at), (topic, partition, at));
            assert_eq!(skip.to_string(), text);
        }
        for text in [
            "",
            "events",
            "events/3",
            "events@3",
            "events/3@",
            "events/@3",
            "/3@4",
            "events-3@4",
            "events/-3@4",
            "events/3@-4",
            "events/+3@4",
            "events/3@4 ",
            "events/3@4.0",
            "events/2147483648@0",
            "events/0@9223372036854775808",
        ] {
            let refused = text.parse::<Skip>();
            assert!(refused.is_err(), "{text:?} is {refused:?}");
        }
    }

    #[test]
    fn a_letter_names_what_was_passed_over() {
        let tp = Tp { topic: "events".into(), partition: 3 };
        for (to, detail) in [
            (8, "offset 7 was passed over by --skip events/3@7"),
            (10, "offsets 7 to 9 (3) were passed over by --skip events/3@7"),
        ] {
            let letter = letter(&tp, 7, to);
            assert_eq!(letter.reject, Reject::new(RejectCode::Skipped, detail));
            assert_eq!((&letter.tp, letter.offset, letter.size), (&tp, 7, 0));
        }
    }
}
