//! Every cap of this crate, in one place.
//!
//! A model file comes from outside, so each size that it can ask for has a limit. At a limit the file is refused, never cut.

/// Largest model file that is read, bytes.
pub const FILE_BYTES_MAX: usize = 128 << 20;
/// Most trees in a forest.
pub const TREES_MAX: usize = 20_000;
/// Most nodes (splits and leaves) in one forest.
pub const NODES_MAX: usize = 4_000_000;
/// Longest path from a root to a leaf, in splits.
pub const DEPTH_MAX: usize = 512;
/// Most columns that a forest may declare.
pub const COLUMNS_MAX: usize = 65_536;
/// Most categories in all category sets of one forest.
pub const CATEGORIES_MAX: usize = 4_000_000;
/// Longest column or file name, bytes.
pub const NAME_BYTES_MAX: usize = 256;
/// Deepest nesting of a binary JSON file.
pub const NESTING_MAX: usize = 64;
/// Most values of a binary JSON file outside of typed lists.
pub const VALUES_MAX: usize = 2_000_000;
/// Largest `model.toml`, bytes.
pub const MANIFEST_BYTES_MAX: usize = 16 << 20;
/// Most steps of an isotonic calibration.
pub const ISOTONIC_STEPS_MAX: usize = 100_000;
/// Most files in a bundle.
pub const BUNDLE_FILES_MAX: usize = 16;

const _: () = assert!(MANIFEST_BYTES_MAX <= FILE_BYTES_MAX);
const _: () = assert!(COLUMNS_MAX <= u16::MAX as usize + 1);
const _: () = assert!(NODES_MAX <= u32::MAX as usize / 2);
