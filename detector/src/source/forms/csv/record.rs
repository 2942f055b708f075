//! Records of CSV, one after the other. A quote that is never closed would make one record of all that follows: such a record is refused
//! as its first line, and what follows is read again from the next line on.

use csv::{ByteRecord, ErrorKind, Position, Reader, ReaderBuilder, StringRecord};
use engine::limits::MESSAGE_BYTES_MAX;
use std::io::{self, Read};

/// Bytes of a record.
const RECORD_BYTES_MAX: usize = MESSAGE_BYTES_MAX;
/// Bytes of records that were read which are kept before they are dropped together.
const DROP_BYTES: usize = 256 << 10;

/// A record, as it stands in the file.
pub(super) struct Record<'a> {
    cells: &'a ByteRecord,
    /// The line on which it begins, from 1.
    pub line: u64,
    /// Whether its last line has its end.
    pub has_end: bool,
    /// Why its cells are not to be read.
    pub refused: Option<String>,
    /// Of one that is refused, its first line.
    pub first_line: &'a [u8],
}

impl Record<'_> {
    /// A cell; empty if the record has fewer.
    pub fn cell(&self, at: usize) -> &[u8] {
        self.cells.get(at).unwrap_or_default()
    }
}

/// The bytes that a reader takes, kept from the beginning of the current record on.
struct Source<R> {
    inner: R,
    kept: Vec<u8>,
    /// Where `kept` begins, counted as the reader does.
    kept_from: u64,
    /// Bytes of `kept` that the reader has taken.
    taken: usize,
    /// Where the record begins.
    record_at: u64,
    too_long: bool,
    ended: bool,
}

impl<R: Read> Source<R> {
    fn new(inner: R, kept: Vec<u8>) -> Self {
        Self { inner, kept, kept_from: 0, taken: 0, record_at: 0, too_long: false, ended: false }
    }

    fn begin_record(&mut self, at: u64) {
        self.record_at = at;
        let behind = (at - self.kept_from) as usize;
        if behind > DROP_BYTES {
            self.kept.drain(..behind);
            self.taken -= behind;
            self.kept_from = at;
        }
    }

    /// What was taken from the beginning of the record on.
    fn record(&self) -> &[u8] {
        self.kept.get((self.record_at - self.kept_from) as usize..).unwrap_or_default()
    }
}

impl<R: Read> Read for Source<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.taken == self.kept.len() {
            if self.record().len() > RECORD_BYTES_MAX {
                self.too_long = true;
                return Err(io::Error::other("a record is too long"));
            }
            let n = self.inner.read(buffer)?;
            self.ended = n == 0;
            self.kept.extend_from_slice(&buffer[..n]);
            self.taken += n;
            return Ok(n);
        }
        let n = buffer.len().min(self.kept.len() - self.taken);
        buffer[..n].copy_from_slice(&self.kept[self.taken..self.taken + n]);
        self.taken += n;
        Ok(n)
    }
}

/// Reads records.
pub(super) struct Records<R> {
    /// `None` only while it is replaced.
    reader: Option<Reader<Source<R>>>,
    delimiter: u8,
    /// Lines before the first byte of the reader.
    lines_before: u64,
    cells: ByteRecord,
    first_line: Vec<u8>,
}

impl<R: Read> Records<R> {
    pub fn new(inner: R, delimiter: u8) -> Self {
        let reader = Some(rows_of(Source::new(inner, Vec::new()), delimiter));
        let (cells, first_line) = (ByteRecord::new(), Vec::new());
        Self { reader, delimiter, lines_before: 0, cells, first_line }
    }

    /// The first record, as text.
    pub fn header(&mut self) -> Result<StringRecord, csv::Error> {
        let mut header = StringRecord::new();
        if let Some(reader) = &mut self.reader {
            reader.read_record(&mut header)?;
        }
        Ok(header)
    }

    /// The next record, which should have this many cells.
    pub fn next(&mut self, columns: usize) -> io::Result<Option<Record<'_>>> {
        let Some(reader) = &mut self.reader else { return Ok(None) };
        let begins = reader.position().clone();
        reader.get_mut().begin_record(begins.byte());
        let read = reader.read_byte_record(&mut self.cells);
        let source = reader.get_ref();
        let found = match read {
            Ok(false) => return Ok(None),
            Ok(true) => {
                let length = (reader.position().byte() - begins.byte()) as usize;
                let bytes = source.record().get(..length).unwrap_or_default();
                let at_end = source.ended && length == source.record().len();
                Found::of(bytes, self.delimiter, (self.cells.len(), columns), at_end)
            }
            Err(_) if source.too_long => Found::Unclosed(format!(
                "a quote opens that is not closed within {RECORD_BYTES_MAX} bytes"
            )),
            Err(e) => {
                return Err(match e.into_kind() {
                    ErrorKind::Io(e) => e,
                    other => io::Error::other(format!("{other:?}")),
                });
            }
        };
        let blank = blank_lines(source.record());
        let line = self.lines_before + begins.line() + blank;
        let (has_end, refused) = match found {
            Found::Good { has_end } => (has_end, None),
            Found::Ragged { has_end, why } => {
                let bytes = source.record();
                first_line(bytes).clone_into(&mut self.first_line);
                (has_end, Some(why))
            }
            Found::Unclosed(why) => {
                self.read_again(&begins);
                (true, Some(why))
            }
        };
        let (cells, first_line) = (&self.cells, &self.first_line[..]);
        Ok(Some(Record { cells, line, has_end, refused, first_line }))
    }

    /// Reads on behind the first line of the record that begins here.
    fn read_again(&mut self, begins: &Position) {
        let Some(reader) = self.reader.take() else { return };
        let Source { inner, kept, kept_from, record_at, .. } = reader.into_inner();
        let record = kept.get((record_at - kept_from) as usize..).unwrap_or_default();
        first_line(record).clone_into(&mut self.first_line);
        let blank = record.iter().take_while(|b| b"\r\n".contains(b)).count();
        let length = record[blank..].iter().position(|b| *b == b'\n');
        let rest = length.map_or(record.len(), |length| blank + length + 1);
        self.lines_before += begins.line() + blank_lines(record);
        let rest = record[rest..].to_vec();
        self.reader = Some(rows_of(Source::new(inner, rest), self.delimiter));
    }
}

/// What a record is.
enum Found {
    Good {
        has_end: bool,
    },
    /// It has more cells than there are columns.
    Ragged {
        has_end: bool,
        why: String,
    },
    /// A quote in it made one of several.
    Unclosed(String),
}

impl Found {
    /// `bytes` are those of the record; `at_end`: nothing follows.
    fn of(bytes: &[u8], delimiter: u8, (cells, columns): (usize, usize), at_end: bool) -> Self {
        let text = bytes.trim_ascii();
        if text.contains(&b'\n') && (cells > columns || !closes_quotes(text, delimiter)) {
            return Self::Unclosed("a quote opens that is not closed in its row".into());
        }
        let has_end = !at_end || bytes.ends_with(b"\n") || bytes.ends_with(b"\r");
        if cells > columns {
            let why = format!("the row has {cells} cells, and the header names {columns}");
            return Self::Ragged { has_end, why };
        }
        Self::Good { has_end }
    }
}

/// Whether each quoted cell of a record ends with its quote: behind it comes the next cell or the end.
fn closes_quotes(record: &[u8], delimiter: u8) -> bool {
    let mut quoted = false;
    let mut begins = true;
    let mut bytes = record.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        match (quoted, byte) {
            (false, b'"') if begins => quoted = true,
            (true, b'"') if bytes.peek() == Some(&b'"') => {
                bytes.next();
            }
            (true, b'"') => {
                quoted = false;
                let ends = |next: &u8| *next == delimiter || b"\r\n".contains(next);
                if !bytes.peek().is_none_or(ends) {
                    return false;
                }
            }
            _ => {}
        }
        begins = !quoted && byte == delimiter;
    }
    !quoted
}

/// Line ends before a record: a reader passes over empty lines with the record behind them.
fn blank_lines(record: &[u8]) -> u64 {
    let blank = record.iter().take_while(|b| b"\r\n".contains(b));
    blank.filter(|b| **b == b'\n').count() as u64
}

fn first_line(record: &[u8]) -> &[u8] {
    let begins = record.trim_ascii_start();
    begins.split(|b| *b == b'\n').next().unwrap_or_default().trim_ascii_end()
}

/// The header is read as the first record.
fn rows_of<R: Read>(source: Source<R>, delimiter: u8) -> Reader<Source<R>> {
    let mut builder = ReaderBuilder::new();
    builder.delimiter(delimiter).flexible(true).has_headers(false);
    builder.from_reader(source)
}
