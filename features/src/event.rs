//! The words for what is observed: events, labels, and the ids that stand for declared names.

use compact_str::CompactString;
use smallvec::SmallVec;

/// Milliseconds since the Unix epoch, as the event itself says. Never negative; 0 is a moment, not "never".
pub type TimeMs = i64;

/// Index of a declared event type; [`TypeId::OTHER`] stands for every type that is not declared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TypeId(pub u16);

impl TypeId {
    /// The id shared by all undeclared types.
    pub const OTHER: TypeId = TypeId(u16::MAX);
}

/// Index of a declared kind of entity (device, ip, card …), in order of declaration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KindId(pub u8);

/// One key of one kind, as the event names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntityRef {
    /// Which kind of thing.
    pub kind: KindId,
    /// Its key, as text.
    pub key: CompactString,
}

/// Values of the declared attributes, by slot; `NaN` is "absent". Booleans are 0 and 1; a category is the
/// index of its value in the declaration, or the number of declared values for any other text.
pub type Attributes = SmallVec<[f32; 12]>;

/// Something an account did.
#[derive(Clone, Debug)]
pub struct Event {
    /// The platform's id of the event, or topic-partition-offset.
    pub event_id: CompactString,
    /// When it happened.
    pub ts_ms: TimeMs,
    /// When the message says it happened: what `ts_ms` is before a clock corrects it.
    pub said_ms: TimeMs,
    /// What happened.
    pub type_id: TypeId,
    /// The type as it was written, where it is not a declared one.
    pub undeclared_type: Option<CompactString>,
    /// Who did it.
    pub account: CompactString,
    /// The other account acted upon, if any.
    pub target: Option<CompactString>,
    /// What the event went through: the things that link accounts.
    pub entities: SmallVec<[EntityRef; 4]>,
    /// Kinds of which the message has more than stands in `entities`: a key that cannot be read, or one beyond the cap. A bit for each kind.
    pub partial_kinds: u32,
    /// Values of the declared attributes, one per slot of the schema.
    pub attributes: Attributes,
}

/// What somebody found out about an account or an event.
#[derive(Clone, Debug)]
pub struct Label {
    /// The account, when the label names it.
    pub account: Option<CompactString>,
    /// The event, when the label names it.
    pub event_id: Option<CompactString>,
    /// What was found.
    pub verdict: Verdict,
    /// When it became known.
    pub ts_ms: TimeMs,
    /// How sure the source is, 0 to 1.
    pub confidence: f32,
    /// Entities the label also speaks of.
    pub entities: SmallVec<[EntityRef; 4]>,
}

/// What a label says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// A bad actor, or a bad event.
    Bad,
    /// Cleared: retracts an earlier `Bad`.
    Good,
    /// Not a verdict: the account is to be erased.
    Erase,
}
