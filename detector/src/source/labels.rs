//! A file of labels, in the order in which they became known.

use super::files::{Lines, SourceError};
use crate::sink::files::Dead;
use engine::effects::SourceRef;
use engine::wire::{Decoder, Faults};
use features::event::Label;
use sha2::{Digest, Sha256};
use std::path::Path;

/// All labels of a file, ordered by `ts`; labels of one `ts` keep the file's order. Held as bytes and
/// decoded when their time comes: about the size of the file plus 24 bytes a label.
#[derive(Debug, Default)]
pub struct LabelFile {
    bytes: Vec<u8>,
    /// `ts`, start and length in `bytes`.
    order: Vec<(i64, usize, u32)>,
    next: usize,
    rejects: Vec<Dead>,
    /// Whether any line is a label, later than is asked for or not.
    has_any: bool,
    faults: Faults,
    /// Over the labels taken so far.
    taken: Sha256,
}

impl LabelFile {
    /// Reads a file. `until_ms`: labels that became known later do not exist.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn load(
        path: &Path,
        decoder: &Decoder,
        until_ms: Option<i64>,
    ) -> Result<Self, SourceError> {
        let read = Self::read(Lines::open(path)?, decoder, until_ms)?;
        if !read.has_any
            && let Some(first) = read.rejects.first()
        {
            return Err(SourceError::NoLabel {
                path: path.display().to_string(),
                count: read.rejects.len(),
                line: first.source.offset,
                why: first.reject.detail.to_string(),
            });
        }
        Ok(read)
    }

    /// As [`Self::load`], of lines from anywhere.
    ///
    /// # Errors
    /// When the lines break off.
    pub fn read(
        mut lines: Lines,
        decoder: &Decoder,
        until_ms: Option<i64>,
    ) -> Result<Self, SourceError> {
        let mut out = Self::default();
        while let Some(batch) = lines.next_batch(4096)? {
            for (i, &(start, end, _)) in batch.lines.iter().enumerate() {
                let message = &batch.bytes[start..end];
                if message.iter().all(u8::is_ascii_whitespace) {
                    continue;
                }
                out.faults.begin(batch.first_line + i as u64);
                let read = match batch.refused(i) {
                    Some(reject) => Err(reject),
                    None => decoder.count_label(message, &mut out.faults),
                };
                out.has_any |= read.is_ok();
                match read {
                    Ok(label) if until_ms.is_some_and(|until| label.ts_ms > until) => {}
                    Ok(label) => {
                        out.order.push((label.ts_ms, out.bytes.len(), message.len() as u32));
                        out.bytes.extend_from_slice(message);
                    }
                    Err(reject) => {
                        let source = SourceRef {
                            offset: (batch.first_line + i as u64) as i64,
                            ..SourceRef::default()
                        };
                        out.rejects.push(Dead::new(reject, "labels", source, &batch, i));
                    }
                }
            }
        }
        // Stable: what the file says first stays first.
        out.order.sort_by_key(|(ts, _, _)| *ts);
        Ok(out)
    }

    /// How many labels there are.
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// Every label, in the order in which they became known.
    pub fn each(&self, decoder: &Decoder) -> impl Iterator<Item = Label> {
        let labels = self.order.iter();
        // They were all decoded once already.
        labels.filter_map(|(_, start, len)| {
            decoder.label(&self.bytes[*start..*start + *len as usize]).ok()
        })
    }

    /// Messages that could not be read.
    pub fn take_rejects(&mut self) -> Vec<Dead> {
        std::mem::take(&mut self.rejects)
    }

    /// What could not be read of labels that were taken; places are lines.
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// The next label if it became known by `ts_ms` (before it, if `strictly`).
    pub fn next_until(&mut self, ts_ms: i64, strictly: bool, decoder: &Decoder) -> Option<Label> {
        let (label_ts, start, len) = *self.order.get(self.next)?;
        if label_ts > ts_ms || (strictly && label_ts == ts_ms) {
            return None;
        }
        self.next += 1;
        let message = &self.bytes[start..start + len as usize];
        self.taken.update(message);
        // It was decoded once already.
        decoder.label(message).ok()
    }

    /// How many labels were taken.
    pub fn position(&self) -> u64 {
        self.next as u64
    }

    /// SHA-256 over the labels taken, in their order.
    pub fn taken_sha256(&self) -> [u8; 32] {
        self.taken.clone().finalize().into()
    }

    /// Goes to a position reached before; false when other labels stood before it then.
    pub fn seek(&mut self, position: u64, sha256: [u8; 32]) -> bool {
        let Some(before) = self.order.get(..position as usize) else { return false };
        self.taken = Sha256::new();
        for (_, start, len) in before {
            self.taken.update(&self.bytes[*start..*start + *len as usize]);
        }
        self.next = before.len();
        position == 0 || self.taken_sha256() == sha256
    }
}
