//! Actions, scores and dead letters into files, written behind the engine by a thread of their own.

use crate::config::Loaded;
use crate::source::files::LineBatch;
use crossbeam_channel::{Receiver, Sender, bounded};
use engine::Finisher;
use engine::effects::{Effects, SourceRef};
use engine::limits::DEAD_LETTER_BYTES_MAX;
use engine::wire::{DeadLetterV1, Reject, write_score};
use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

/// Batches that may wait for the writer; beyond that the engine waits.
const QUEUE_BATCHES_MAX: usize = 64;

/// Where each kind of output goes.
#[derive(Clone, Debug, Default)]
pub struct OutputPaths {
    /// Actions; `-` is standard output.
    pub actions: Option<PathBuf>,
    /// A score per event.
    pub scores: Option<PathBuf>,
    /// Messages that could not be read.
    pub dead_letters: Option<PathBuf>,
}

impl OutputPaths {
    /// All of them can be cut back to a length.
    pub fn can_be_resumed(&self) -> bool {
        self.each().iter().flatten().all(|p| *p != Path::new("-"))
    }

    /// Which of them there are.
    pub fn given(&self) -> [bool; 3] {
        self.each().map(|path| path.is_some())
    }

    /// See [`all_differ`].
    ///
    /// # Errors
    /// Naming the file.
    pub fn check(&self, used: &Used) -> Result<(), String> {
        let written: Vec<&Path> = self.each().into_iter().flatten().collect();
        all_differ(used, &written)
    }

    fn each(&self) -> [Option<&Path>; 3] {
        [self.actions.as_deref(), self.scores.as_deref(), self.dead_letters.as_deref()]
    }
}

/// What a command uses beside its outputs.
#[derive(Clone, Debug, Default)]
pub struct Used {
    /// Files that it reads.
    pub files: Vec<PathBuf>,
    /// Folders that belong to it with all that is in them: a model bundle, a state.
    pub folders: Vec<PathBuf>,
}

impl Used {
    /// Files, and no folders.
    pub fn files<'a>(files: impl IntoIterator<Item = &'a PathBuf>) -> Self {
        Self { files: files.into_iter().cloned().collect(), folders: Vec::new() }
    }

    /// With the files of a configuration and its model.
    #[must_use]
    pub fn and(mut self, loaded: &Loaded, model: Option<&Path>) -> Self {
        self.files.push(loaded.file.clone());
        self.folders.extend(loaded.model_path(model));
        self
    }
}

/// No file that is written may be one that is used, or be written twice, by whatever name. Devices may be named twice.
///
/// # Errors
/// Naming the file.
pub fn all_differ(used: &Used, written: &[&Path]) -> Result<(), String> {
    // `-` is standard input there.
    let read = used.files.iter().filter(|path| path.as_path() != Path::new("-"));
    let mut taken: Vec<(Place, &str)> =
        read.filter_map(|p| Some((place(p)?, "is read by this command"))).collect();
    let folders: Vec<PathBuf> =
        used.folders.iter().map(|folder| folder.canonicalize().unwrap_or(folder.clone())).collect();
    if written.iter().filter(|path| **path == Path::new("-")).count() > 1 {
        return Err(
            "two outputs are both to go to standard output\nhint: give a file to one of them"
                .into(),
        );
    }
    for path in written {
        let lies_in = target(path).and_then(|file| folders.iter().find(|f| file.starts_with(f)));
        if let Some(folder) = lies_in {
            return Err(format!(
                "{} lies in {}, which belongs to the model or the state: it cannot be an output\nhint: give a file in another folder",
                path.display(),
                folder.display()
            ));
        }
        let Some(place) = place(path) else { continue };
        if let Some((_, why)) = taken.iter().find(|(other, _)| *other == place) {
            return Err(format!(
                "{} {why}: it cannot be an output as well\nhint: give another file",
                path.display()
            ));
        }
        taken.push((place, "is an output already"));
    }
    Ok(())
}

/// A message that was rejected, with its bytes.
#[derive(Debug)]
pub struct Dead {
    /// Why.
    pub reject: Reject,
    /// `events` or `labels`.
    pub stream: &'static str,
    /// Where it stood.
    pub source: SourceRef,
    /// Its bytes, or their start.
    original: Vec<u8>,
    /// Its full length.
    size: u64,
    /// SHA-256 of all its bytes.
    sha256: [u8; 32],
}

impl Dead {
    /// The dead letter of a line of a batch; what is beyond the cap is cut here.
    pub fn new(
        reject: Reject,
        stream: &'static str,
        source: SourceRef,
        batch: &LineBatch,
        index: usize,
    ) -> Self {
        let (start, end, size) = batch.lines.get(index).copied().unwrap_or_default();
        let kept = (end - start).min(DEAD_LETTER_BYTES_MAX);
        let original = batch.bytes[start..start + kept].to_vec();
        Self { reject, stream, source, original, size, sha256: batch.sha256(index) }
    }
}

/// A file, whatever it is called.
#[derive(PartialEq, Eq)]
enum Place {
    /// It is there: its device and number, which all of its hard links share.
    Is(u64, u64),
    /// It would lie there.
    WillBe(PathBuf),
}

/// Which file or pipe a path names; `None` for devices, folders, and what cannot be there.
fn place(path: &Path) -> Option<Place> {
    let path = if path == Path::new("-") { Path::new("/dev/stdout") } else { path };
    if let Ok(meta) = std::fs::metadata(path) {
        let is_one = meta.is_file() || meta.file_type().is_fifo();
        return is_one.then(|| Place::Is(meta.dev(), meta.ino()));
    }
    target(path).map(Place::WillBe)
}

/// Links that are followed to a file that is not there.
const LINKS_MAX: usize = 40;

/// Where a file lies, or would be made: at the end of links.
fn target(path: &Path) -> Option<PathBuf> {
    let mut path = path.to_path_buf();
    for _ in 0..LINKS_MAX {
        let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let lies = folder.canonicalize().ok()?.join(path.file_name()?);
        match std::fs::read_link(&lies) {
            Ok(to) => path = lies.parent()?.join(to),
            Err(_) => return Some(lies),
        }
    }
    None
}

enum Message {
    Write(Effects, Vec<Dead>),
    /// Flush everything to disk and say how long each file is.
    Flush(Sender<io::Result<[u64; 3]>>),
}

/// Called with every finished action, on the writer's thread.
pub type OnAction = Box<dyn FnMut(&engine::wire::ActionV1) + Send>;

/// The writer.
pub struct FileSink {
    to_writer: Sender<Message>,
    spare: Receiver<Effects>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

struct Output {
    path: PathBuf,
    writer: BufWriter<Box<dyn Write + Send>>,
    file: Option<File>,
    len: u64,
}

impl Output {
    fn open(path: &Path, len: u64) -> io::Result<Self> {
        if path == Path::new("-") {
            let writer: Box<dyn Write + Send> = Box::new(io::stdout());
            return Ok(Self {
                path: path.into(),
                writer: BufWriter::new(writer),
                file: None,
                len: 0,
            });
        }
        let mut options = OpenOptions::new();
        options.create(true).write(true).truncate(len == 0);
        let file = options.open(path).map_err(|e| {
            io::Error::new(
                e.kind(),
                format!("{e}\nhint: is its folder there, and writable for this user?"),
            )
        })?;
        let meta = file.metadata()?;
        let found = meta.len();
        if found < len {
            return Err(io::Error::other(format!(
                "it has {found} bytes, but {len} were written before the last checkpoint: it was changed since\nhint: put it back, or start anew with another --state folder"
            )));
        }
        if !meta.is_file() {
            // A device or a named pipe: it can neither be cut nor be made durable.
            let writer: Box<dyn Write + Send> = Box::new(file);
            return Ok(Self {
                path: path.into(),
                writer: BufWriter::new(writer),
                file: None,
                len: 0,
            });
        }
        // What was written after the checkpoint will be written again, byte for byte.
        file.set_len(len)?;
        let mut end = file.try_clone()?;
        io::Seek::seek(&mut end, io::SeekFrom::Start(len))?;
        let writer: Box<dyn Write + Send> = Box::new(end);
        Ok(Self {
            path: path.into(),
            writer: BufWriter::with_capacity(1 << 18, writer),
            file: Some(file),
            len,
        })
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.writer.write_all(bytes).map_err(|e| self.named(e))?;
        self.len += bytes.len() as u64;
        Ok(())
    }

    fn flush(&mut self, durable: bool) -> io::Result<()> {
        self.writer.flush().map_err(|e| self.named(e))?;
        match &self.file {
            Some(file) if durable => file.sync_data().map_err(|e| self.named(e)),
            _ => Ok(()),
        }
    }

    fn named(&self, e: io::Error) -> io::Error {
        io::Error::new(e.kind(), format!("cannot write {}: {e}", self.path.display()))
    }
}

impl FileSink {
    /// Opens the outputs, cut back to `lengths` (0: made anew), and starts the writer.
    ///
    /// # Errors
    /// When one cannot be opened, or is shorter than it was.
    pub fn open(
        paths: &OutputPaths,
        lengths: [u64; 3],
        finisher: Arc<Finisher>,
        on_action: Option<OnAction>,
    ) -> io::Result<Self> {
        let mut outputs: [Option<Output>; 3] = [None, None, None];
        for (i, path) in paths.each().into_iter().enumerate() {
            if let Some(path) = path {
                outputs[i] = Some(Output::open(path, lengths[i]).map_err(|e| {
                    io::Error::new(
                        e.kind(),
                        format!("cannot open {} to write: {e}", path.display()),
                    )
                })?);
            }
        }
        let (to_writer, queue) = bounded(QUEUE_BATCHES_MAX);
        let (give_back, spare) = bounded(QUEUE_BATCHES_MAX);
        let thread = std::thread::Builder::new()
            .name("writer".into())
            .spawn(move || write_all(queue, give_back, outputs, &finisher, on_action))?;
        Ok(Self { to_writer, spare, thread: Some(thread) })
    }

    /// An empty set of effects, with memory used before if possible.
    pub fn effects(&self) -> Effects {
        self.spare.try_recv().unwrap_or_default()
    }

    /// Hands effects over; waits when the writer is behind.
    ///
    /// # Errors
    /// When the writer has failed.
    pub fn write(&mut self, effects: Effects, dead: Vec<Dead>) -> io::Result<()> {
        match self.to_writer.send(Message::Write(effects, dead)) {
            Ok(()) => Ok(()),
            Err(_) => self.failure(),
        }
    }

    /// Waits until everything handed over is on disk; the lengths of the files.
    ///
    /// # Errors
    /// When the writer has failed.
    pub fn flush(&mut self) -> io::Result<[u64; 3]> {
        let (reply, answer) = bounded(1);
        if self.to_writer.send(Message::Flush(reply)).is_ok()
            && let Ok(lengths) = answer.recv()
        {
            return lengths;
        }
        self.failure().map(|()| [0; 3])
    }

    fn failure(&mut self) -> io::Result<()> {
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(Err(e))) => Err(e),
            _ => Err(io::Error::other("the writer ended unexpectedly")),
        }
    }
}

fn write_all(
    queue: Receiver<Message>,
    give_back: Sender<Effects>,
    mut outputs: [Option<Output>; 3],
    finisher: &Finisher,
    mut on_action: Option<OnAction>,
) -> io::Result<()> {
    let mut buffer = Vec::new();
    for message in queue {
        match message {
            Message::Write(mut effects, dead) => {
                // Attributions cost some 0.3 ms each: only where somebody reads them.
                let read = outputs[0].is_some() || on_action.is_some();
                for draft in effects.actions.drain(..).filter(|_| read) {
                    let action = finisher.finish(draft);
                    if let Some(on_action) = &mut on_action {
                        on_action(&action);
                    }
                    if let Some(out) = &mut outputs[0] {
                        buffer.clear();
                        action.write(&mut buffer);
                        out.write(&buffer)?;
                    }
                }
                if let Some(out) = &mut outputs[1] {
                    buffer.clear();
                    for s in &effects.scores {
                        write_score(&mut buffer, &s.event_id, &s.account, s.ts_ms, s.score);
                    }
                    out.write(&buffer)?;
                }
                if let Some(out) = &mut outputs[2] {
                    for d in &dead {
                        let line = d.source.offset.max(0) as u64;
                        let mut letter =
                            DeadLetterV1::new(&d.reject, d.stream, line, &d.original, d.size);
                        letter.sha256 = d.sha256.iter().map(|byte| format!("{byte:02x}")).collect();
                        buffer.clear();
                        serde_json::to_writer(&mut buffer, &letter)?;
                        buffer.push(b'\n');
                        out.write(&buffer)?;
                    }
                }
                effects.clear();
                let _ = give_back.try_send(effects);
            }
            Message::Flush(reply) => {
                let mut lengths = [0; 3];
                let mut done = Ok(());
                for (len, out) in lengths.iter_mut().zip(&mut outputs) {
                    if let Some(out) = out {
                        done = done.and(out.flush(true));
                        *len = out.len;
                    }
                }
                let _ = reply.send(done.map(|()| lengths));
            }
        }
    }
    for out in outputs.iter_mut().flatten() {
        out.flush(false)?;
    }
    Ok(())
}

impl Drop for FileSink {
    fn drop(&mut self) {
        let (closed, _) = bounded(0);
        self.to_writer = closed;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
