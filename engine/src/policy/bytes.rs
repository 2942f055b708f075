//! Fixed little-endian records: a cursor to write them and one to read them.

use super::config::ActionKind;
use super::error::StateError;

/// Writes fields into a fixed record; a field past the end is not written.
pub(crate) struct Writer<'a> {
    bytes: &'a mut [u8],
    at: usize,
}

impl<'a> Writer<'a> {
    pub fn new(bytes: &'a mut [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    pub fn put(&mut self, field: &[u8]) {
        let end = self.at + field.len();
        if let Some(place) = self.bytes.get_mut(self.at..end) {
            place.copy_from_slice(field);
        }
        self.at = end;
    }
}

/// Reads fields of a record whose length and version were checked.
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8], expected: usize, version: u8) -> Result<Self, StateError> {
        if bytes.len() != expected {
            return Err(StateError::Length { found: bytes.len(), expected });
        }
        let mut reader = Self { bytes };
        let [found] = reader.take();
        if found != version {
            return Err(StateError::Version { found, expected: version });
        }
        Ok(reader)
    }

    pub fn take<const N: usize>(&mut self) -> [u8; N] {
        match self.bytes.split_first_chunk::<N>() {
            Some((field, rest)) => {
                self.bytes = rest;
                *field
            }
            None => [0; N],
        }
    }

    pub fn action(&mut self) -> Result<ActionKind, StateError> {
        let [found] = self.take();
        ActionKind::from_byte(found).ok_or(StateError::Action { found })
    }

    pub fn time(&mut self) -> i64 {
        i64::from_le_bytes(self.take())
    }

    pub fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.take())
    }

    pub fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.take())
    }
}
