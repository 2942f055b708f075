//! Every cap of this crate, in one place. [`crate::schema::Schema::compile`] refuses declarations beyond them, so that nothing on the
//! line has to check again.

/// Kinds of entities. Ids are 0 to 30; with the accounts themselves that makes 32, which is what five bits of a node id hold.
pub const KINDS_MAX: usize = 31;

/// Declared event types. All undeclared ones share one more.
pub const TYPES_MAX: usize = 256;

/// Declared attributes.
pub const ATTRIBUTES_MAX: usize = 128;

/// Values of one category that have an index of their own.
pub const CATEGORY_VALUES_MAX: usize = 1024;

/// Counters: which of them an event moves is one 64-bit mask.
pub const COUNTERS_MAX: usize = 64;

/// Sliding windows of one counter.
pub const WINDOWS_MAX: usize = 8;

/// Numeric attributes, distinct counts or neighbour values of one role, each.
pub const BLOCKS_MAX: usize = 64;

/// Length of a declared name in bytes.
pub const NAME_BYTES_MAX: usize = 64;

/// Longest duration that may be declared: 100 years, in milliseconds.
pub const DURATION_MS_MAX: i64 = 100 * 366 * 86_400_000;

/// Bytes of one profile.
pub const PROFILE_BYTES_MAX: usize = 64 * 1024;

/// Attribute values are cut to this magnitude, so that sums of squares stay finite in 32 bits.
pub const VALUE_ABS_MAX: f32 = 1e15;

/// Decayed values smaller than this are zero: keeps the arithmetic out of the slow subnormal range.
pub const DECAYED_MIN: f32 = 1e-30;

const _: () = assert!(COUNTERS_MAX <= u64::BITS as usize);
const _: () = assert!(KINDS_MAX < 32);
const _: () = assert!(TYPES_MAX < u16::MAX as usize);
// A year of events every millisecond, each of the greatest value, still squares to a finite sum.
const _: () = assert!(VALUE_ABS_MAX * VALUE_ABS_MAX < f32::MAX / 1e8);
