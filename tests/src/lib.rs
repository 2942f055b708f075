//! What the end-to-end tests in `tests/tests/` share, and the conservation run under faults (`scripts/chaos`).

pub mod bench;
pub mod burst;
pub mod chaos;
pub mod instance;
pub mod process;
pub mod raw;
pub mod stack;
pub mod stand_in;
pub mod support;
