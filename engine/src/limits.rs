//! Every cap of the line, in one place, with what happens at the cap.

/// A message longer than this is a reject (`too_large`); its first bytes go to the dead letters.
pub const MESSAGE_BYTES_MAX: usize = 1 << 20;
/// Accounts, entity keys and event ids longer than this are kept as their first [`KEY_HEAD_BYTES_MAX`] bytes, `#` and their SHA-256.
pub const KEY_BYTES_MAX: usize = 256;
/// What is kept of a longer key in plain.
pub const KEY_HEAD_BYTES_MAX: usize = KEY_BYTES_MAX - 1 - 64;
/// Entities of one event: beyond it the first key of each kind is kept, then the second of each, and so on.
pub const ENTITIES_PER_EVENT_MAX: usize = 32;
/// Attribute values beyond this magnitude are absent, so that no sum overflows.
pub const ATTRIBUTE_ABS_MAX: f64 = features::limits::VALUE_ABS_MAX as f64;
/// Pointers of one field of a mapping.
pub const POINTERS_MAX: usize = 8;
/// Parts of one pointer.
pub const POINTER_PARTS_MAX: usize = 32;
/// How deep a pointer may lead through texts that hold JSON that holds such texts. Their bytes are those of the message.
pub const EMBEDDED_LEVELS_MAX: usize = 4;
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
/// ... and near `state.memory_max`, where room is needed soon.
pub const SWEEP_NEAR_MEMORY_MAX: u32 = 64;
/// Entities of one kind, and accounts: ids are 27 bits wide.
pub const IDS_MAX: u32 = graph::Node::INDEX_MAX;
/// While a state is loaded, ids below this have room whatever has come; a table grows with the highest id.
pub const IDS_LOADED_MIN: u64 = 1 << 16;
/// Further ids that have room for each record that has come; records above wait for the count of ids in globals.
pub const IDS_PER_RECORD: u64 = 16;
/// Ids above the highest one in use that a saved count may ask room for.
pub const IDS_UNUSED_MIN: u64 = 1 << 16;
/// Further ones for each key in use: a large state that expired keeps the room that it had.
pub const IDS_UNUSED_PER_KEY: u64 = 1 << 10;
/// Entries of the recent-event index that are saved together.
pub const RECENT_CHUNK: usize = 1024;

const _: () = assert!(DEAD_LETTER_BYTES_MAX <= MESSAGE_BYTES_MAX);
const _: () = assert!(KEY_BYTES_MAX < DEAD_LETTER_BYTES_MAX);
// A key that is kept can be ignored.
const _: () = assert!(KEY_BYTES_MAX == features::limits::IGNORED_KEY_BYTES_MAX);
