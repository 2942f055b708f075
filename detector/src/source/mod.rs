//! Where messages come from.

pub mod files;
mod forms;
pub mod labels;

use std::io::Read;

/// The first lines of JSON of a file of any form but Parquet, as far as `most` bytes.
///
/// # Errors
/// Why it is refused, or cannot be read on.
pub(crate) fn first_lines(bytes: &[u8], most: u64) -> Result<Vec<u8>, String> {
    let read = forms::read(bytes).map_err(|e| match e {
        forms::Failed::Refused(refused) => format!("{}; {}", refused.found, refused.hint),
        forms::Failed::Io(e) => e.to_string(),
    })?;
    let mut lines = Vec::new();
    read.lines.take(most).read_to_end(&mut lines).map_err(|e| e.to_string())?;
    Ok(lines)
}
