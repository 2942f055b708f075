//! Every cap of the line, in one place, with what happens at the cap.

/// A message longer than this is a reject (`too_large`); its first bytes go to the dead letters.
pub const MESSAGE_BYTES_MAX: usize = 1 << 20;
/// Accounts, entity keys, event ids and type names longer than this are rejects (`text_too_long`).
pub const KEY_BYTES_MAX: usize = 256;
/// An event naming more entities than this in all is a reject (`too_many_entities`).
pub const ENTITIES_PER_EVENT_MAX: usize = 32;
/// Attribute values beyond this magnitude are cut to it, so that no sum overflows.
pub const ATTRIBUTE_ABS_MAX: f64 = 1e12;
/// A `ts` beyond this (the year 9999) is a reject (`bad_ts`): it cannot be a moment in milliseconds.
pub const TS_MS_MAX: i64 = 253_402_300_799_999;
/// Rows scored together; the kernels gain nothing from more.
pub const SCORE_ROWS: usize = 64;
/// Events of one `ts` that are held back under strict ties; at the cap the group is closed early and counted.
pub const TIE_GROUP_MAX: usize = 100_000;
/// Original bytes kept in a dead letter; the rest is cut, with size and SHA-256 beside it.
pub const DEAD_LETTER_BYTES_MAX: usize = 64 << 10;
/// Reasons published with an action.
pub const REASONS_MAX: usize = 5;
/// Messages that are looked ahead at together; their events' profiles, links and lines fit the cache.
pub const AHEAD_MESSAGES: usize = 24;
/// Records examined for expiry, after every so many events: one an event, in bursts that wait for memory
/// once.
pub const SWEEP_RECORDS: u32 = 16;
/// Entities of one kind, and accounts: ids are 27 bits wide.
pub const IDS_MAX: u32 = graph::Node::INDEX_MAX;
/// Entries of the recent-event index that are saved together.
pub const RECENT_CHUNK: usize = 1024;

const _: () = assert!(DEAD_LETTER_BYTES_MAX <= MESSAGE_BYTES_MAX);
const _: () = assert!(KEY_BYTES_MAX < DEAD_LETTER_BYTES_MAX);
