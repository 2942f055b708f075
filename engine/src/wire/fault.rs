//! What could not be read of messages that were taken all the same.

use super::Vocabulary;
use features::event::KindId;
use std::collections::BTreeMap;

/// A field of an event or a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Field {
    /// The message itself.
    Message,
    /// `event_id`.
    EventId,
    /// `ts`.
    Ts,
    /// `type`.
    Type,
    /// `account`.
    Account,
    /// `target`.
    Target,
    /// `entities` as a whole.
    Entities,
    /// Keys of one kind.
    Kind(KindId),
    /// `attributes` as a whole.
    Attributes,
    /// One attribute, by its slot.
    Attribute(u16),
    /// A label's `label`.
    Label,
    /// A label's `confidence`.
    Confidence,
}

impl Field {
    /// Its name: one of a few, and of the declared kinds and attributes.
    pub fn name(self, words: &Vocabulary) -> String {
        match self {
            Field::Message => "message".into(),
            Field::EventId => "event_id".into(),
            Field::Ts => "ts".into(),
            Field::Type => "type".into(),
            Field::Account => "account".into(),
            Field::Target => "target".into(),
            Field::Entities => "entities".into(),
            Field::Kind(kind) => {
                let name = words.kinds().get(usize::from(kind.0));
                format!("entities.{}", name.map_or("", String::as_str))
            }
            Field::Attributes => "attributes".into(),
            Field::Attribute(slot) => format!("attributes.{}", words.attribute(slot.into())),
            Field::Label => "label".into(),
            Field::Confidence => "confidence".into(),
        }
    }
}

/// Why a field was not read as it is. Names are part of the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// It has to be there, and is not.
    Missing,
    /// A list, an object, a number or a truth value where another type belongs.
    WrongType,
    /// A text with a lone surrogate or an unknown escape, or one that is not UTF-8.
    BadText,
    /// A value of the right type that it cannot have: `NaN`, a text that spells no number, a moment that is none.
    BadValue,
    /// A number beyond what is kept.
    OutOfRange,
    /// Longer than a key may be: its beginning and its hash took its place.
    TooLong,
    /// More keys than an event may have: the first ones of each kind were kept.
    TooMany,
    /// It is there more than once: the last one counts.
    Duplicate,
    /// The grammar of JSON breaks within it: what came before was kept.
    Malformed,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Missing,
        Self::WrongType,
        Self::BadText,
        Self::BadValue,
        Self::OutOfRange,
        Self::TooLong,
        Self::TooMany,
        Self::Duplicate,
        Self::Malformed,
    ];

    /// The name as it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::WrongType => "wrong_type",
            Self::BadText => "bad_text",
            Self::BadValue => "bad_value",
            Self::OutOfRange => "out_of_range",
            Self::TooLong => "too_long",
            Self::TooMany => "too_many",
            Self::Duplicate => "duplicate",
            Self::Malformed => "malformed",
        }
    }
}

// A fault that is added has to be listed.
const _: () = assert!(Fault::Malformed as usize + 1 == Fault::ALL.len());

/// How many messages had a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Faulty {
    /// Messages.
    pub messages: u64,
    /// Place of the first of them, as its reader numbers them.
    pub first: u64,
    /// The message that was counted last.
    last: u64,
}

/// Counts the messages that had a field which could not be read, by field and reason. As many entries as fields and reasons at most.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    found: BTreeMap<(Field, Fault), Faulty>,
    message: u64,
    place: u64,
}

impl Faults {
    /// The next message begins; `place` is its line or offset.
    pub fn begin(&mut self, place: u64) {
        self.message += 1;
        self.place = place;
    }

    /// A field of the message could not be read as it is.
    pub(crate) fn add(&mut self, field: Field, fault: Fault) {
        let (first, message) = (self.place, self.message);
        let faulty = self.found.entry((field, fault));
        let faulty = faulty.or_insert(Faulty { messages: 0, first, last: u64::MAX });
        faulty.messages += u64::from(faulty.last != message);
        faulty.last = message;
    }

    /// The message is not taken: nothing of it counts.
    pub(crate) fn forget(&mut self) {
        let message = self.message;
        self.found.retain(|_, faulty| {
            let is_of_it = faulty.last == message;
            faulty.messages -= u64::from(is_of_it);
            if is_of_it {
                faulty.last = u64::MAX;
            }
            faulty.messages > 0
        });
    }

    /// Whether nothing was found.
    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// What was found, in order of fields and reasons.
    pub fn iter(&self) -> impl Iterator<Item = (Field, Fault, Faulty)> + '_ {
        self.found.iter().map(|((field, fault), faulty)| (*field, *fault, *faulty))
    }

    /// Adds what was found in later messages.
    pub fn merge(&mut self, later: &Faults) {
        for ((field, fault), more) in &later.found {
            let faulty = self.found.entry((*field, *fault));
            let faulty = faulty.or_insert(Faulty { messages: 0, ..*more });
            faulty.messages += more.messages;
        }
    }

    /// Forgets what was found.
    pub fn clear(&mut self) {
        self.found.clear();
    }
}
