//! Lines of a file or pipe, plain, gzip or zstd, in batches that know their place.

use engine::limits::{DEAD_LETTER_BYTES_MAX, MESSAGE_BYTES_MAX};
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
    /// Number of the first line, from 1.
    pub first_line: u64,
    /// The place behind the batch.
    pub end: Place,
}

impl LineBatch {
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
    /// Opens a file, or standard input for `-`. Compression is recognised by content.
    ///
    /// # Errors
    /// When it cannot be opened, or is a folder.
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
        let open_error = |why: String, hint: &'static str| SourceError::Open {
            path: path.display().to_string(),
            why,
            hint,
        };
        let raw_read = Arc::new(AtomicU64::new(0));
        if path == Path::new("-") {
            if place != Place::default() {
                return Err(open_error(
                    "a pipe cannot be gone back in".into(),
                    "resuming needs a file; give --input FILE, or another --state folder",
                ));
            }
            let counting = Counting { inner: io::stdin(), read: raw_read.clone() };
            let reader = decompress(BufReader::with_capacity(1 << 18, counting)).map_err(|e| {
                open_error(e.to_string(), "is the other end of the pipe still there?")
            })?;
            return Ok(Self::over(path, reader, raw_read, None));
        }
        let meta = std::fs::metadata(path).map_err(|e| {
            open_error(e.to_string(), "is the path right, and readable for this user?")
        })?;
        if meta.is_dir() {
            return Err(open_error(
                "it is a folder".into(),
                "give one file of events, one JSON object a line",
            ));
        }
        let mut file = File::open(path)
            .map_err(|e| open_error(e.to_string(), "is the file readable for this user?"))?;
        let mut magic = [0u8; 4];
        let compressed = {
            let n = read_up_to(&mut file, &mut magic)
                .map_err(|e| open_error(e.to_string(), "is the file readable?"))?;
            is_gzip(&magic[..n]) || is_zstd(&magic[..n])
        };
        let rewind = |file: &mut File, to: u64| {
            file.seek(SeekFrom::Start(to))
                .map_err(|e| open_error(e.to_string(), "resuming needs a file that can be seeked"))
        };
        if let Some(wanted) = identity {
            rewind(&mut file, 0)?;
            let mut start = decompress(BufReader::new(&file))
                .map_err(|e| open_error(e.to_string(), "is the file readable?"))?;
            let mut head = vec![0; wanted.bytes];
            let n = read_up_to(&mut start, &mut head).unwrap_or(0);
            if Identity::of(&head[..n]) != *wanted {
                return Err(SourceError::OtherFile {
                    path: path.display().to_string(),
                    bytes: wanted.bytes,
                });
            }
        }
        let skip = if compressed { 0 } else { place.offset };
        rewind(&mut file, skip)?;
        raw_read.store(skip, Ordering::Relaxed);
        let counting = Counting { inner: file, read: raw_read.clone() };
        let mut reader = decompress(BufReader::with_capacity(1 << 18, counting))
            .map_err(|e| open_error(e.to_string(), "is the file readable?"))?;
        if compressed && place.offset > 0 {
            let skipped =
                io::copy(&mut (&mut reader).take(place.offset), &mut io::sink()).unwrap_or(0);
            if skipped < place.offset {
                return Err(open_error(
                    format!(
                        "it ends after {skipped} bytes, before the place reached earlier ({})",
                        place.offset
                    ),
                    "give the file that the run was begun with, or another --state folder",
                ));
            }
        }
        let mut lines = Self::over(path, reader, raw_read, Some(meta.len()));
        lines.line = place.line;
        lines.offset = place.offset;
        Ok(lines)
    }

    fn over(
        path: &Path,
        reader: Box<dyn BufRead + Send>,
        raw_read: Arc<AtomicU64>,
        raw_len: Option<u64>,
    ) -> Self {
        Self { path: path.into(), reader, raw_read, raw_len, line: 0, offset: 0, failed: None }
    }

    /// Lines from bytes in memory, for tests and the demonstration.
    pub fn from_reader(name: &str, reader: Box<dyn BufRead + Send>) -> Self {
        Self::over(Path::new(name), reader, Arc::default(), None)
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
                Ok((full, long)) => {
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
        batch.end = Place { line: self.line, offset: self.offset };
        Ok((count > 0).then_some(batch))
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
        let mut head = vec![0; IDENTITY_BYTES];
        let n = read_up_to(&mut lines.reader, &mut head).unwrap_or(0);
        Ok(Identity::of(&head[..n]))
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

fn is_gzip(head: &[u8]) -> bool {
    head.starts_with(&[0x1f, 0x8b])
}

fn is_zstd(head: &[u8]) -> bool {
    head.starts_with(&[0x28, 0xb5, 0x2f, 0xfd])
}

fn decompress<'a, R: BufRead + Send + 'a>(mut raw: R) -> io::Result<Box<dyn BufRead + Send + 'a>> {
    let head = raw.fill_buf()?;
    Ok(if is_gzip(head) {
        Box::new(BufReader::with_capacity(1 << 18, flate2::bufread::MultiGzDecoder::new(raw)))
    } else if is_zstd(head) {
        Box::new(BufReader::with_capacity(1 << 18, zstd::Decoder::with_buffer(raw)?))
    } else {
        Box::new(raw)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn all(lines: &mut Lines) -> Vec<(u64, String)> {
        let mut out = Vec::new();
        while let Some(batch) = lines.next_batch(3).unwrap() {
            for (i, (start, end, _)) in batch.lines.iter().enumerate() {
                let text = String::from_utf8_lossy(&batch.bytes[*start..*end]).into_owned();
                out.push((batch.first_line + i as u64, text));
            }
        }
        out
    }

    #[test]
    fn plain_gzip_and_zstd_give_the_same_lines_and_can_be_resumed() {
        let dir = tempfile::tempdir().unwrap();
        let text: String = (0..100).map(|i| format!("line {i}\r\n")).collect();
        let plain = dir.path().join("a");
        std::fs::write(&plain, &text).unwrap();
        let gz = dir.path().join("b");
        let mut e = flate2::write::GzEncoder::new(File::create(&gz).unwrap(), Default::default());
        e.write_all(text.as_bytes()).unwrap();
        e.finish().unwrap();
        let zst = dir.path().join("c");
        std::fs::write(&zst, zstd::encode_all(text.as_bytes(), 1).unwrap()).unwrap();
        for path in [&plain, &gz, &zst] {
            let want = all(&mut Lines::open(path).unwrap());
            assert_eq!(want.len(), 100);
            assert_eq!(want[41], (42, "line 41".into()));
            let mut first = Lines::open(path).unwrap();
            let place = first.next_batch(37).unwrap().unwrap().end;
            let identity = Lines::identify(path).unwrap();
            let mut resumed = Lines::open_at(path, place, Some(&identity)).unwrap();
            assert_eq!(all(&mut resumed), want[37..]);
        }
        let other = dir.path().join("d");
        std::fs::write(&other, text.replace("line 3", "line X")).unwrap();
        let mut first = Lines::open(&plain).unwrap();
        let place = first.next_batch(37).unwrap().unwrap().end;
        let refused = Lines::open_at(&other, place, Some(&Lines::identify(&plain).unwrap()));
        assert!(matches!(refused, Err(SourceError::OtherFile { .. })));
    }

    #[test]
    fn a_line_beyond_the_cap_is_cut_but_its_length_is_known() {
        let long = "x".repeat(10 << 20);
        let text = format!("a\n{long}\nb");
        let mut lines = Lines::from_reader("memory", Box::new(io::Cursor::new(text)));
        let batch = lines.next_batch(10).unwrap().unwrap();
        assert_eq!(batch.lines.len(), 3);
        assert_eq!(batch.lines[1].2, 10 << 20);
        assert_eq!(batch.sha256(1), <[u8; 32]>::from(Sha256::digest(&long)));
        assert_eq!(batch.sha256(2), <[u8; 32]>::from(Sha256::digest(b"b")));
        assert!(batch.bytes.len() < 2 << 20);
        assert_eq!(&batch.bytes[batch.lines[2].0..batch.lines[2].1], b"b");
    }

    #[test]
    fn many_long_lines_make_small_batches() {
        let text = format!("{}\r\n", "y".repeat(900_000)).repeat(20);
        let mut lines = Lines::from_reader("memory", Box::new(io::Cursor::new(text)));
        let mut seen = 0;
        while let Some(batch) = lines.next_batch(512).unwrap() {
            assert!(batch.bytes.len() < BATCH_BYTES_MAX + MESSAGE_BYTES_MAX + 2);
            assert!(batch.lines.iter().all(|l| l.2 == 900_000));
            seen += batch.lines.len();
        }
        assert_eq!(seen, 20);
    }

    #[test]
    fn a_folder_an_absent_file_and_a_broken_archive_are_clear_errors() {
        let dir = tempfile::tempdir().unwrap();
        let error =
            |r: Result<Lines, SourceError>| r.err().map(|e| e.to_string()).unwrap_or_default();
        assert!(error(Lines::open(dir.path())).contains("folder"));
        assert!(error(Lines::open(&dir.path().join("none"))).contains("cannot open"));
        let text: String = (0..100_000).map(|i| format!("line {i}\n")).collect();
        let mut e = flate2::write::GzEncoder::new(Vec::new(), Default::default());
        e.write_all(text.as_bytes()).unwrap();
        let mut bytes = e.finish().unwrap();
        bytes.truncate(bytes.len() / 2);
        let cut = dir.path().join("cut.gz");
        std::fs::write(&cut, bytes).unwrap();
        let mut lines = Lines::open(&cut).unwrap();
        let mut seen = 0;
        let broken = loop {
            match lines.next_batch(1000) {
                Ok(Some(batch)) => seen += batch.lines.len(),
                Ok(None) => break None,
                Err(e) => break Some(e.to_string()),
            }
        };
        assert!(seen > 10_000);
        assert!(broken.unwrap().contains("cannot be read beyond line"));
        let empty = dir.path().join("empty");
        std::fs::write(&empty, "").unwrap();
        assert!(Lines::open(&empty).unwrap().next_batch(10).unwrap().is_none());
    }
}
