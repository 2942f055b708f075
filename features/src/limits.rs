//! Every cap of this crate, in one place. [`crate::schema::Schema::compile`] refuses declarations beyond them, so that nothing on the
//! line has to check again.

/// Kinds of entities. Ids are 0 to 30; with the accounts themselves that makes 32, which is what five bits of a node id hold.
pub const KINDS_MAX: usize = 31;

/// Ignored keys of one kind.
pub const IGNORED_KEYS_MAX: usize = 256;

/// Length of an ignored key in bytes: that of the longest key as it is kept.
pub const IGNORED_KEY_BYTES_MAX: usize = crate::key_form::FORM_BYTES_MAX;

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

/// Greatest magnitude of a value. Sums of such values stay finite in 32 bits, however many there are: one that is 2^25 times as large as
/// a value does not grow by it.
pub const VALUE_ABS_MAX: f32 = 1e29;

/// Decayed values smaller than this are zero: keeps the arithmetic out of the slow subnormal range.
pub const DECAYED_MIN: f32 = 1e-30;

const _: () = assert!(COUNTERS_MAX <= u64::BITS as usize);
const _: () = assert!(KINDS_MAX < 32);
const _: () = assert!(TYPES_MAX < u16::MAX as usize);
// The tiles of a window are such sums, and are added up.
const _: () = assert!(VALUE_ABS_MAX < f32::MAX / (32.0 * 33_554_432.0));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_of_the_greatest_values_stop_growing_before_they_are_infinite() {
        let mut sum = 0.0f32;
        while sum + VALUE_ABS_MAX > sum {
            sum += VALUE_ABS_MAX;
        }
        let window: f32 = (0..crate::blocks::windows::TILES + 1).map(|_| sum).sum();
        assert!(sum > 1e7 * VALUE_ABS_MAX && window.is_finite(), "{sum} {window}");
    }
}
