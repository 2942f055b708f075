//! The embedded store: one machine, no Redis. A checkpoint is one atomic batch: all changed records
//! and the position that they belong to.

use engine::{ClockV1, Engine};
use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use serde::{Deserialize, Serialize};
use std::fs::{DirBuilder, File, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;

use crate::source::files::{Identity, Place};

/// Version of the records' form; another one is refused.
const FORMAT: u32 = 2;
/// The oldest that is read: without the clock by which labels are merged in.
const FORMAT_OLDEST: u32 = 1;

/// Why the store could not be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The store itself failed.
    #[error("the state in {path}: {why}\nhint: is the folder writable, is the disk full?")]
    Failed {
        /// The folder.
        path: String,
        /// What it says.
        why: String,
    },
    /// It is a folder of something else.
    #[error(
        "{path} is no state: it holds `{name}`\nhint: give a folder that is new, empty, or was made by --state"
    )]
    Foreign {
        /// The folder.
        path: String,
        /// What lies in it.
        name: String,
    },
    /// Another process has it.
    #[error(
        "the state in {path} is in use by another detector\nhint: wait for it to end, or give this one another --state folder"
    )]
    Busy {
        /// The folder.
        path: String,
    },
    /// It belongs to something else.
    #[error(
        "the state in {path} was made with {what}\nhint: use the configuration it was made with, or start with another --state folder"
    )]
    Other {
        /// The folder.
        path: String,
        /// What differs.
        what: String,
    },
}

/// What a checkpoint belongs to: everything that a resumed file run needs to go on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Position {
    /// Version of the records' form.
    pub format: u32,
    /// The feature set of the records.
    pub features: String,
    /// The policy and model that wrote the outputs so far.
    pub policy: String,
    /// The model.
    pub model: String,
    /// The input, by its first bytes.
    pub input: Identity,
    /// The place behind the last event of this state.
    pub place: Place,
    /// Labels taken.
    pub labels: u64,
    /// SHA-256 over them, in their order.
    pub labels_sha256: [u8; 32],
    /// Lengths of the outputs: actions, scores, dead letters.
    pub outputs: [u64; 3],
    /// Rejects so far.
    pub rejects: u64,
    /// Newest event time by which labels were merged in.
    pub newest_ms: Option<i64>,
    /// The clock that says it, beside its time.
    #[serde(default)]
    pub clock: Option<ClockV1>,
    /// How the run was begun.
    pub begun: Begun,
    /// The input was read to its end.
    pub finished: bool,
}

/// What must stay the same for the outputs of a resumed run to be of one piece, apart from input and configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Begun {
    /// Whether there are labels.
    pub labels: bool,
    /// Names the `privacy.key`.
    pub privacy: Option<String>,
    /// Nothing later exists.
    pub until_ms: Option<i64>,
    /// Labels feed features and the graph.
    pub feedback: bool,
    /// Events with the same `ts` do not see one another.
    pub strict_ties: bool,
    /// Which outputs there are: actions, scores, dead letters.
    pub outputs: [bool; 3],
}

/// A store in a folder: `db` is the database, `lock` is held by the process that uses it, and `new` is a
/// database that is not whole yet.
pub struct Embedded {
    path: String,
    // Declared before the lock: the database is closed before another process may open it.
    records: Keyspace,
    db: Database,
    _lock: File,
}

const POSITION: &[u8] = b"position";
/// Only its owner may look into the folder.
const FOLDER_MODE: u32 = 0o700;

/// A name in a folder that shows that it is no state, and not one that was being made either: then it holds nothing, or an empty `lock` and
/// `new`.
fn foreign(path: &Path) -> io::Result<Option<String>> {
    let entries = match std::fs::read_dir(path) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e),
    };
    let is_state = path.join("db").is_dir();
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let kind = entry.file_type()?;
        let is_ours = match name.as_str() {
            // A link would lead to a file of somebody else.
            "lock" => kind.is_file() && entry.metadata()?.len() == 0,
            // The lock is made first.
            "new" => kind.is_dir() && (is_state || path.join("lock").is_file()),
            _ => is_state,
        };
        if !is_ours {
            return Ok(Some(name));
        }
    }
    Ok(None)
}

impl Embedded {
    /// Opens the store in a folder, making it if need be.
    ///
    /// A process killed while the database is being made leaves files that the database itself refuses to
    /// open again, so it is made beside its place and renamed into it once it is whole.
    ///
    /// # Errors
    /// When the folder cannot be used, or another process uses it.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let shown = path.display().to_string();
        let failed = |why: String| StoreError::Failed { path: shown.clone(), why };
        let io = |e: io::Error| failed(e.to_string());
        // Before anything of it is touched.
        if let Some(name) = foreign(path).map_err(io)? {
            return Err(StoreError::Foreign { path: shown.clone(), name });
        }
        // The state holds keys of people: nobody else may enter its folder.
        DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(path).map_err(io)?;
        let mode = std::fs::metadata(path).map_err(io)?.permissions().mode();
        if mode & 0o077 != 0 {
            std::fs::set_permissions(path, Permissions::from_mode(FOLDER_MODE)).map_err(io)?;
        }
        let lock = File::options().create(true).write(true).truncate(false).open(path.join("lock"));
        let lock = lock.map_err(io)?;
        lock.try_lock().map_err(|e| match e {
            TryLockError::WouldBlock => StoreError::Busy { path: shown.clone() },
            TryLockError::Error(e) => io(e),
        })?;
        let place = path.join("db");
        if !place.try_exists().map_err(io)? {
            let unfinished = path.join("new");
            if unfinished.try_exists().map_err(io)? {
                std::fs::remove_dir_all(&unfinished).map_err(io)?;
            }
            drop(Self::database(&unfinished).map_err(|e| failed(e.to_string()))?);
            std::fs::rename(&unfinished, &place).map_err(io)?;
            File::open(path).and_then(|folder| folder.sync_all()).map_err(io)?;
        }
        let (db, records) = Self::database(&place).map_err(|e| failed(e.to_string()))?;
        Ok(Self { path: shown.clone(), records, db, _lock: lock })
    }

    /// Whether a folder holds a store.
    #[must_use]
    pub fn exists(path: &Path) -> bool {
        path.join("db").is_dir()
    }

    fn database(path: &Path) -> fjall::Result<(Database, Keyspace)> {
        let db = Database::builder(path).manual_journal_persist(true).open()?;
        let records = db.keyspace("records", KeyspaceCreateOptions::default)?;
        Ok((db, records))
    }

    fn failed(&self, why: impl ToString) -> StoreError {
        StoreError::Failed { path: self.path.clone(), why: why.to_string() }
    }

    /// The position of the last checkpoint, if there is one.
    ///
    /// # Errors
    /// When the store fails or is of another form.
    pub fn position(&self) -> Result<Option<Position>, StoreError> {
        let Some(bytes) = self.records.get(POSITION).map_err(|e| self.failed(e))? else {
            return Ok(None);
        };
        let position: Position = serde_json::from_slice(&bytes).map_err(|e| self.failed(e))?;
        if !(FORMAT_OLDEST..=FORMAT).contains(&position.format) {
            let what = format!(
                "records of form {}, this version reads {FORMAT_OLDEST} to {FORMAT}",
                position.format
            );
            return Err(StoreError::Other { path: self.path.clone(), what });
        }
        Ok(Some(position))
    }

    /// Says no when the state was made with another feature set.
    ///
    /// # Errors
    /// Naming what differs.
    pub fn check(&self, position: &Position, features: &str) -> Result<(), StoreError> {
        if position.features == features {
            return Ok(());
        }
        let what =
            format!("feature set {}, the configuration declares {features}", position.features);
        Err(StoreError::Other { path: self.path.clone(), what })
    }

    /// Puts the saved records into a fresh engine.
    ///
    /// # Errors
    /// When the store fails or a record is damaged.
    pub fn load(
        &self,
        engine: &mut Engine,
        mut progress: impl FnMut(u64),
    ) -> Result<(), StoreError> {
        let mut loading = engine.loading();
        for (n, guard) in self.records.iter().enumerate() {
            let (key, value) = guard.into_inner().map_err(|e| self.failed(e))?;
            if key.as_ref() != POSITION {
                loading.record(&key, &value).map_err(|e| self.failed(e))?;
            }
            if n % 4096 == 0 {
                progress(n as u64);
            }
        }
        loading.finish().map_err(|e| self.failed(e))
    }

    /// Writes everything that changed since the last checkpoint, with its position, in one piece.
    ///
    /// # Errors
    /// When the store fails; the last checkpoint is then still whole.
    pub fn checkpoint(&self, engine: &mut Engine, position: &Position) -> Result<u64, StoreError> {
        let mut batch = self.db.batch().durability(Some(PersistMode::SyncAll));
        let mut records = 0;
        engine.save_changes(&mut |key, value| {
            records += 1;
            match value {
                Some(value) => batch.insert(&self.records, key, value),
                None => batch.remove(&self.records, key),
            }
        });
        let mut position = position.clone();
        position.format = FORMAT;
        let bytes = serde_json::to_vec(&position).map_err(|e| self.failed(e))?;
        batch.insert(&self.records, POSITION, bytes);
        batch.commit().map_err(|e| self.failed(e))?;
        Ok(records)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_left_half_made_is_made_anew() {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let half = folder.path().join("new");
        // As a process leaves it that is killed while it makes the database: the lock is there first.
        std::fs::write(folder.path().join("lock"), b"").expect("a file can be written");
        std::fs::create_dir(&half).expect("a folder can be made");
        std::fs::write(half.join("0.jnl"), b"").expect("a file can be written");
        assert!(!Embedded::exists(folder.path()));
        let store = Embedded::open(folder.path()).expect("opens");
        assert_eq!(store.position().expect("readable"), None);
        drop(store);
        assert!(Embedded::exists(folder.path()) && !half.exists());
        Embedded::open(folder.path()).expect("opens again");
    }

    #[test]
    fn one_process_at_a_time() {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let first = Embedded::open(folder.path()).expect("opens");
        assert!(matches!(Embedded::open(folder.path()), Err(StoreError::Busy { .. })));
        drop(first);
        Embedded::open(folder.path()).expect("the first one is gone");
    }
}
