//! Lines of a file or pipe, in batches that know their place. `forms` makes lines of files of other forms.

use super::forms::{self, Failed, JsonLines, RefusedLines};
use engine::limits::{DEAD_LETTER_BYTES_MAX, MESSAGE_BYTES_MAX};
use engine::wire::{Reject, RejectCode};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A batch is closed once it holds this much, so that long lines cannot fill the memory.
const BATCH_BYTES_MAX: usize = 4 << 20;

/// Bytes of the start of a file by which it is known again.
const IDENTITY_BYTES: usize = 64 << 10;

/// Why a file could not be read.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// It could not be opened.
    #[error("cannot open {path}: {why}\nhint: {hint}")]
    Open {
        /// The file.
        path: String,
        /// What the system says.
        why: String,
        /// What to do.
        hint: &'static str,
    },
    /// It broke off.
    #[error(
        "{path} cannot be read beyond line {line}: {why}\nhint: the file is damaged or cut off; everything before that line was processed"
    )]
    Read {
        /// The file.
        path: String,
        /// The last whole line.
        line: u64,
        /// What the decoder says.
        why: String,
    },
    /// Of a form that is not read.
    #[error("{path} is {found}\nhint: {hint}")]
    Form {
        /// The file.
        path: String,
        /// What it is.
        found: String,
        /// What to do.
        hint: &'static str,
    },
    /// A file of labels without one that can be read.
    #[error(
        "{path}: none of its {count} lines is a label that can be read; the first is line {line}: {why}\nhint: is it the file of labels? README.md shows one"
    )]
    NoLabel {
        /// The file.
        path: String,
        /// Its lines.
        count: usize,
        /// The first of them.
        line: i64,
        /// What is wrong with it.
        why: String,
    },
    /// Shorter than it was.
    #[error(
        "{path} has {bytes} bytes of lines, and {place} of them were read before\nhint: it was cut or replaced since: give the file that the run was begun with, or another --state folder"
    )]
    Shrunk {
        /// The file.
        path: String,
        /// Its length, decompressed.
        bytes: u64,
        /// The place reached.
        place: u64,
    },
    /// Another file than the one that was begun.
    #[error(
        "{path} is not the file that this state was made from: its first {bytes} bytes differ\nhint: give the file that the run was begun with, or another --state folder"
    )]
    OtherFile {
        /// The file.
        path: String,
        /// How many bytes were compared.
        bytes: usize,
    },
}

/// Lines of one source.
pub struct Lines {
    path: PathBuf,
    reader: Box<dyn BufRead + Send>,
    /// Bytes read of the file as it lies on disk, for progress.
    raw_read: Arc<AtomicU64>,
    raw_len: Option<u64>,
    line: u64,
    offset: u64,
    /// What broke off the file, until it is told.
    failed: Option<io::Error>,
    /// The last line read had its end.
    ended: bool,
    /// A last line without its end is left for a later run, unless it is whole.
    leaves_unfinished: bool,
    /// Bytes of the line that was left.
    unfinished: Arc<AtomicU64>,
    refused: RefusedLines,
    is_rows: bool,
}

/// Lines that were read together.
#[derive(Debug, Default)]
pub struct LineBatch {
    /// The bytes of all lines, without line ends.
    pub bytes: Vec<u8>,
    /// Start and end in `bytes`, and the full length (longer if the line was cut).
    pub lines: Vec<(usize, usize, u64)>,
    /// SHA-256 of the lines that were cut, by index in `lines`.
    long: BTreeMap<usize, [u8; 32]>,
    /// Why lines are none, by index in `lines`.
    refused: BTreeMap<usize, String>,
    /// Number of the first line, from 1.
    pub first_line: u64,
    /// The place behind the batch.
    pub end: Place,
}

impl LineBatch {
    /// Why a line cannot be read, if it stands for something in the file that cannot be.
    pub fn refused(&self, index: usize) -> Option<Reject> {
        let why = self.refused.get(&index)?;
        Some(Reject::new(RejectCode::Undecodable, why.clone()))
    }

    /// SHA-256 of the whole line, even if only its start was kept.
    pub fn sha256(&self, index: usize) -> [u8; 32] {
        let read =
            || self.lines.get(index).map_or(&[][..], |&(start, end, _)| &self.bytes[start..end]);
        self.long.get(&index).copied().unwrap_or_else(|| Sha256::digest(read()).into())
    }
}

/// Length and hash of a line that is too long to be kept, without its line end.
#[derive(Default)]
struct LongLine {
    hash: Sha256,
    size: u64,
    /// Line ends seen last: they count only if more follows.
    ends: Vec<u8>,
}

impl LongLine {
    fn add(&mut self, bytes: &[u8]) {
        let kept = bytes.iter().rposition(|b| !matches!(b, b'\n' | b'\r')).map_or(0, |at| at + 1);
        if kept > 0 {
            self.size += (self.ends.len() + kept) as u64;
            self.hash.update(&self.ends);
            self.hash.update(&bytes[..kept]);
            self.ends.clear();
        }
        self.ends.extend_from_slice(&bytes[kept..]);
    }
}

/// A place in a source: that many lines and (decompressed) bytes are behind it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Place {
    /// Lines before this place.
    pub line: u64,
    /// Bytes before this place.
    pub offset: u64,
}

struct Counting<R> {
    inner: R,
    read: Arc<AtomicU64>,
}

impl<R: Read> Read for Counting<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buf)?;
        self.read.fetch_add(n as u64, Ordering::Relaxed);
        Ok(n)
    }
}

impl Lines {
    /// Opens a file, or standard input for `-`. Its form is recognised by content: JSON lines, a JSON array, CSV with a header, Parquet;
    /// plain, gzip or zstd.
    ///
    /// # Errors
    /// When it cannot be opened, is a folder, or of a form that is not read.
    pub fn open(path: &Path) -> Result<Self, SourceError> {
        Self::open_at(path, Place::default(), None)
    }

    /// Opens a file and goes to a place reached before. `identity` is what [`Self::identify`] said then.
    ///
    /// # Errors
    /// As [`Self::open`]; when it is another file; when it ends before the place.
    pub fn open_at(
        path: &Path,
        place: Place,
        identity: Option<&Identity>,
    ) -> Result<Self, SourceError> {
        let raw_read = Arc::new(AtomicU64::new(0));
        if path == Path::new("-") {
            if place != Place::default() {
                return Err(open_error(
                    path,
                    "a pipe cannot be gone back in",
                    "resuming needs a file; give --input FILE, or another --state folder",
                ));
            }
            let counting = Counting { inner: io::stdin(), read: raw_read.clone() };
            let read = forms::read(BufReader::with_capacity(1 << 18, counting))
                .map_err(|e| begin_error(path, e))?;
            return Ok(Self::over(path, read, raw_read, None));
        }
        let meta = std::fs::metadata(path)
            .map_err(|e| open_error(path, e, "is the path right, and readable for this user?"))?;
        if meta.is_dir() {
            return Err(open_error(
                path,
                "it is a folder",
                "give one file of events: JSON lines, CSV or Parquet",
            ));
        }
        if let Some(wanted) = identity {
            let mut start = begin(path, meta.len(), Arc::default())?;
            let head = head(&mut start.lines, wanted.bytes);
            if head.len() < wanted.bytes {
                return Err(SourceError::Shrunk {
                    path: path.display().to_string(),
                    bytes: head.len() as u64,
                    place: wanted.bytes as u64,
                });
            }
            if Identity::of(&head) != *wanted {
                return Err(SourceError::OtherFile {
                    path: path.display().to_string(),
                    bytes: wanted.bytes,
                });
            }
        }
        let mut begun = begin(path, meta.len(), raw_read.clone())?;
        let reader = &mut begun.lines;
        let mut ended = true;
        if place.offset > 0 {
            // Up to the byte before the place: it says whether the line before it had its end.
            let before = place.offset - 1;
            let (found, last) = match begun.plain_from {
                Some(from) => {
                    let mut file = File::open(path).map_err(|e| open_error(path, e, READABLE))?;
                    file.seek(SeekFrom::Start(from + before)).map_err(|e| {
                        open_error(path, e, "resuming needs a file that can be gone back in")
                    })?;
                    raw_read.store(from + before, Ordering::Relaxed);
                    let counting = Counting { inner: file, read: raw_read.clone() };
                    *reader = Box::new(BufReader::with_capacity(1 << 18, counting));
                    (meta.len().saturating_sub(from).min(before), next_byte(reader))
                }
                None => {
                    let copied = io::copy(&mut reader.take(before), &mut io::sink());
                    (copied.unwrap_or(0), next_byte(reader))
                }
            };
            let Some(last) = last else {
                return Err(SourceError::Shrunk {
                    path: path.display().to_string(),
                    bytes: found,
                    place: place.offset,
                });
            };
            ended = last == b'\n';
        }
        begun.refused.take_up_to(place.line);
        let mut lines = Self::over(path, begun, raw_read, Some(meta.len()));
        lines.line = place.line;
        lines.offset = place.offset;
        lines.ended = ended;
        Ok(lines)
    }

    fn over(
        path: &Path,
        begun: JsonLines<'static>,
        raw_read: Arc<AtomicU64>,
        raw_len: Option<u64>,
    ) -> Self {
        let JsonLines { lines, refused, is_rows, plain_from: _ } = begun;
        Self {
            path: path.into(),
            reader: lines,
            raw_read,
            raw_len,
            line: 0,
            offset: 0,
            failed: None,
            ended: true,
            leaves_unfinished: false,
            unfinished: Arc::default(),
            refused,
            is_rows,
        }
    }

    /// For a file that may still grow: a last line without its end is left for the next run, unless it is whole already.
    #[must_use]
    pub fn leaving_unfinished(mut self) -> Self {
        self.leaves_unfinished = true;
        self
    }

    /// Bytes of the last line that was left; 0 when none was.
    pub fn unfinished(&self) -> Arc<AtomicU64> {
        self.unfinished.clone()
    }

    /// Lines from bytes in memory, for tests and the demonstration.
    pub fn from_reader(name: &str, reader: Box<dyn BufRead + Send>) -> Self {
        let begun = JsonLines {
            lines: reader,
            refused: RefusedLines::default(),
            is_rows: false,
            plain_from: None,
        };
        Self::over(Path::new(name), begun, Arc::default(), None)
    }

    /// Bytes read so far of the file as it lies on disk.
    pub fn progress(&self) -> Arc<AtomicU64> {
        self.raw_read.clone()
    }

    /// Length of the file as it lies on disk; unknown for a pipe.
    pub fn length(&self) -> Option<u64> {
        self.raw_len
    }

    /// The decompressed bytes themselves.
    pub fn into_reader(self) -> Box<dyn BufRead + Send> {
        self.reader
    }

    /// Reads up to `lines_max` lines; `None` at the end. Empty lines are counted and left out.
    ///
    /// # Errors
    /// When the file breaks off (a damaged archive); lines before that were returned.
    pub fn next_batch(&mut self, lines_max: usize) -> Result<Option<LineBatch>, SourceError> {
        self.end_last_line()?;
        let mut batch = LineBatch { first_line: self.line + 1, ..LineBatch::default() };
        let mut count = 0;
        while count < lines_max && batch.bytes.len() < BATCH_BYTES_MAX {
            let start = batch.bytes.len();
            let read = match self.failed.take() {
                Some(e) => Err(e),
                None => self.read_line(&mut batch.bytes),
            };
            match read {
                Ok((0, _)) => break,
                Ok((full, _)) if self.leaves(&batch.bytes[start..]) => {
                    self.unfinished.store(full, Ordering::Relaxed);
                    batch.bytes.truncate(start);
                    break;
                }
                Ok((full, long)) => {
                    self.ended = batch.bytes.last() == Some(&b'\n');
                    count += 1;
                    self.line += 1;
                    self.offset += full;
                    let mut end = batch.bytes.len();
                    let mut size = full;
                    while end > start && matches!(batch.bytes[end - 1], b'\n' | b'\r') {
                        end -= 1;
                        size -= 1;
                    }
                    if let Some(long) = long {
                        size = long.size;
                        batch.long.insert(batch.lines.len(), long.hash.finalize().into());
                    }
                    batch.lines.push((start, end, size));
                }
                Err(e) => {
                    // What was read whole is handed out first; the error comes with the next call.
                    batch.bytes.truncate(start);
                    if count > 0 {
                        self.failed = Some(e);
                        break;
                    }
                    return Err(SourceError::Read {
                        path: self.path.display().to_string(),
                        line: self.line,
                        why: e.to_string(),
                    });
                }
            }
        }
        for (line, why) in self.refused.take_up_to(self.line) {
            batch.refused.insert((line.saturating_sub(batch.first_line)) as usize, why);
        }
        batch.end = Place { line: self.line, offset: self.offset };
        Ok((count > 0).then_some(batch))
    }

    /// Takes the end of a line that was read without it, now that it is there: it is not another line.
    fn end_last_line(&mut self) -> Result<(), SourceError> {
        if self.ended {
            return Ok(());
        }
        self.ended = true;
        loop {
            let available = self.reader.fill_buf().map_err(|e| SourceError::Read {
                path: self.path.display().to_string(),
                line: self.line,
                why: e.to_string(),
            })?;
            match available.first() {
                Some(b'\r') => {}
                Some(b'\n') => {
                    self.reader.consume(1);
                    self.offset += 1;
                    return Ok(());
                }
                _ => return Ok(()),
            }
            self.reader.consume(1);
            self.offset += 1;
        }
    }

    /// Whether a line is the last one, without its end, and not whole yet.
    fn leaves(&self, line: &[u8]) -> bool {
        self.leaves_unfinished
            && line.last().is_some_and(|byte| *byte != b'\n')
            && (self.is_rows || serde_json::from_slice::<serde::de::IgnoredAny>(line).is_err())
    }

    /// Appends one line with its end; of a line beyond the cap only the start. Returns its full length,
    /// and what is known of a line that was cut.
    fn read_line(&mut self, out: &mut Vec<u8>) -> io::Result<(u64, Option<LongLine>)> {
        let keep_max = MESSAGE_BYTES_MAX.max(DEAD_LETTER_BYTES_MAX) + 2;
        let (mut full, mut kept) = (0u64, 0usize);
        let (start, mut long) = (out.len(), None);
        loop {
            let available = match self.reader.fill_buf() {
                Ok(available) => available,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(e),
            };
            if available.is_empty() {
                return Ok((full, long));
            }
            let (used, ended) = match available.iter().position(|&b| b == b'\n') {
                Some(at) => (at + 1, true),
                None => (available.len(), false),
            };
            let keep = used.min(keep_max - kept);
            out.extend_from_slice(&available[..keep]);
            kept += keep;
            full += used as u64;
            if used > keep {
                let long = long.get_or_insert_with(|| {
                    let mut long = LongLine::default();
                    long.add(&out[start..]);
                    long
                });
                long.add(&available[keep..used]);
            }
            self.reader.consume(used);
            if ended {
                return Ok((full, long));
            }
        }
    }

    /// How a file is known again. A pipe has no identity.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn identify(path: &Path) -> Result<Identity, SourceError> {
        if path == Path::new("-") {
            return Ok(Identity::default());
        }
        let mut lines = Self::open(path)?;
        let mut head = head(&mut lines.reader, IDENTITY_BYTES);
        if lines.is_rows && head.len() < IDENTITY_BYTES {
            // A last row that is still being written becomes another line.
            head.truncate(head.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1));
        }
        Ok(Identity::of(&head))
    }
}

/// How a file is known again: SHA-256 over its first bytes (decompressed).
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Identity {
    /// How many bytes.
    pub bytes: usize,
    /// Their SHA-256.
    pub sha256: [u8; 32],
}

impl Identity {
    fn of(bytes: &[u8]) -> Self {
        Self { bytes: bytes.len(), sha256: Sha256::digest(bytes).into() }
    }
}

/// The first bytes, as many as can be read: a damaged archive is known by those before the damage.
fn head(reader: &mut impl Read, bytes: usize) -> Vec<u8> {
    let (mut head, mut filled) = (vec![0; bytes], 0);
    while filled < bytes {
        match reader.read(&mut head[filled..]) {
            Ok(n) if n > 0 => filled += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            _ => break,
        }
    }
    head.truncate(filled);
    head
}

fn read_up_to(reader: &mut impl Read, buf: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buf.len() {
        match reader.read(&mut buf[filled..]) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(filled)
}

const READABLE: &str = "is the file readable for this user?";

fn open_error(path: &Path, why: impl ToString, hint: &'static str) -> SourceError {
    SourceError::Open { path: path.display().to_string(), why: why.to_string(), hint }
}

fn begin_error(path: &Path, failed: Failed) -> SourceError {
    match failed {
        Failed::Io(e) => {
            open_error(path, e, "is the file readable, or the other end of the pipe still there?")
        }
        Failed::Refused(refused) => SourceError::Form {
            path: path.display().to_string(),
            found: refused.found,
            hint: refused.hint,
        },
    }
}

/// A file's lines from the first.
fn begin(
    path: &Path,
    length: u64,
    raw_read: Arc<AtomicU64>,
) -> Result<JsonLines<'static>, SourceError> {
    let mut file = File::open(path).map_err(|e| open_error(path, e, READABLE))?;
    let mut magic = [0u8; 4];
    // A pipe has a name, too, and cannot be gone back in: what was read is put before the rest.
    let n = read_up_to(&mut file, &mut magic).map_err(|e| open_error(path, e, READABLE))?;
    if forms::is_parquet(&magic[..n]) {
        let rows = forms::parquet_rows(file, length, raw_read)
            .map_err(|refused| begin_error(path, Failed::Refused(refused)))?;
        return Ok(JsonLines {
            lines: Box::new(BufReader::with_capacity(1 << 18, rows)),
            refused: RefusedLines::default(),
            is_rows: true,
            plain_from: None,
        });
    }
    raw_read.store(n as u64, Ordering::Relaxed);
    let counting = Counting { inner: file, read: raw_read };
    let whole = io::Cursor::new(magic[..n].to_vec()).chain(counting);
    forms::read(BufReader::with_capacity(1 << 18, whole)).map_err(|e| begin_error(path, e))
}

fn next_byte(reader: &mut impl Read) -> Option<u8> {
    let mut byte = [0];
    reader.read_exact(&mut byte).ok().map(|()| byte[0])
}

#[cfg(test)]
mod tests;
