//! The files that a reload reads: whether they have changed since they were read, without reading them.

use super::Stop;
use crate::config::Loaded;
use engine::config::ReloadSection;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// How often the watching thread looks whether the service ends.
const STOP_LOOK: Duration = Duration::from_millis(100);
/// Shortest interval: below it, a file that is being written could look the same twice.
const EVERY_MIN_MS: i64 = 100;

/// What is seen of a file from outside: its size, when it was written, and its inode, which another file in its place has not.
/// `None`: it cannot be seen.
type Look = (PathBuf, Option<(u64, SystemTime, u64)>);

/// The configuration's file and the bundle's, and how they looked when they were last about to be read.
pub(super) struct Files {
    config: PathBuf,
    read: Mutex<Read>,
}

#[derive(Default)]
struct Read {
    model: Option<PathBuf>,
    looked: Vec<Look>,
}

/// How often files are looked at; `None`: never.
///
/// # Errors
/// When it is no duration, or a very short one.
pub(crate) fn every(section: &ReloadSection) -> Result<Option<Duration>, String> {
    let fail = |why: &str| {
        Err(format!(
            "[reload] files_every: {why}\n  hint: \"5s\"; \"off\" leaves reloads to SIGHUP alone"
        ))
    };
    if section.files_every == "off" {
        return Ok(None);
    }
    match features::duration::parse_ms(&section.files_every) {
        Ok(ms) if ms >= EVERY_MIN_MS => Ok(Some(Duration::from_millis(ms as u64))),
        Ok(ms) => fail(&format!("{ms} ms are less than {EVERY_MIN_MS}")),
        Err(e) => fail(&e.to_string()),
    }
}

impl Files {
    /// The files of a configuration; `model` takes the place of the bundle that it names.
    pub(super) fn of(loaded: &Loaded, model: Option<&Path>) -> Self {
        let files = Self { config: loaded.file.clone(), read: Mutex::default() };
        files.are_read(loaded.model_path(model));
        files
    }

    /// They are about to be read: what they look like now is known from here on. `model`: the bundle's folder.
    pub(super) fn are_read(&self, model: Option<PathBuf>) {
        let looked = look(&self.config, model.as_deref());
        *self.read() = Read { model, looked };
    }

    /// As [`Self::are_read`], with the bundle where it was.
    pub(super) fn are_read_again(&self) {
        let model = self.read().model.clone();
        self.are_read(model);
    }

    fn read(&self) -> MutexGuard<'_, Read> {
        self.read.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What they look like now, if that is not what was read.
    fn changed(&self) -> Option<Vec<Look>> {
        let Read { model, looked } = &*self.read();
        let now = look(&self.config, model.as_deref());
        (now != *looked).then_some(now)
    }

    /// Asks for a reload whenever [`Noticed`] says so, until the service ends.
    pub(super) fn watch(&self, every: Duration, stop: &Stop) {
        let mut noticed = Noticed::default();
        while wait(every, stop) {
            if noticed.is_to_be_read(self.changed()) {
                tracing::info!("policy or model have changed on the disk: reading them again");
                stop.ask_reload();
            }
        }
    }
}

/// What was noticed of changes so far.
#[derive(Default)]
struct Noticed {
    before: Option<Vec<Look>>,
    asked: Option<Vec<Look>>,
}

impl Noticed {
    /// Whether files that look like this, and not as they did when they were read, are to be read: they have looked like this the last
    /// time, too (what is being written changes from look to look), and it was not said since they were read last.
    fn is_to_be_read(&mut self, now: Option<Vec<Look>>) -> bool {
        let is = now.is_some() && now == self.before && now != self.asked;
        if is || now.is_none() {
            self.asked.clone_from(&now);
        }
        self.before = now;
        is
    }
}

/// False when the service ends meanwhile.
fn wait(time: Duration, stop: &Stop) -> bool {
    let until = Instant::now() + time;
    while !stop.asked() {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return true;
        }
        std::thread::sleep(left.min(STOP_LOOK));
    }
    false
}

fn look(config: &Path, model: Option<&Path>) -> Vec<Look> {
    let listed = model.and_then(|folder| std::fs::read_dir(folder).ok());
    let mut files: Vec<PathBuf> =
        listed.into_iter().flatten().flatten().map(|f| f.path()).collect();
    files.sort();
    files.extend(model.map(Path::to_path_buf));
    files.push(config.to_path_buf());
    // Through links: a mounted configuration is changed by another target.
    let seen = |path: &PathBuf| {
        let meta = std::fs::metadata(path).ok()?;
        Some((meta.len(), meta.modified().ok()?, meta.ino()))
    };
    files.into_iter().map(|path| (path.clone(), seen(&path))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(text: &str) -> ReloadSection {
        ReloadSection { files_every: text.into() }
    }

    #[test]
    fn intervals_are_durations_or_off() {
        assert_eq!(every(&ReloadSection::default()), Ok(Some(Duration::from_secs(5))));
        assert_eq!(every(&section("off")), Ok(None));
        for bad in ["", "5", "soon", "99ms", "0s"] {
            let why = every(&section(bad)).expect_err(bad);
            assert!(why.contains("[reload] files_every") && why.contains("hint"), "{why}");
        }
    }

    /// A folder with a configuration that names a bundle beside it.
    fn configured() -> (tempfile::TempDir, Files) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("model")).unwrap();
        std::fs::write(folder.path().join("model/model.toml"), "one").unwrap();
        let text = "[model]\npath = \"model\"\n";
        std::fs::write(folder.path().join("detector.toml"), text).unwrap();
        let loaded = crate::config::load(folder.path()).unwrap();
        let files = Files::of(&loaded, None);
        (folder, files)
    }

    #[test]
    fn every_sort_of_change_is_seen_until_it_was_read() {
        let (folder, files) = configured();
        let at = |name: &str| folder.path().join(name);
        assert_eq!(files.changed(), None);
        let changes: [&dyn Fn(); 6] = [
            &|| std::fs::write(at("detector.toml"), "[model]\npath = \"model\"\n\n").unwrap(),
            &|| std::fs::write(at("model/forest"), "trees").unwrap(),
            &|| std::fs::write(at("model/forest"), "other").unwrap(),
            // Another file in its place, of the same size.
            &|| {
                std::fs::write(at("new"), "third").unwrap();
                std::fs::rename(at("new"), at("model/forest")).unwrap();
            },
            &|| std::fs::remove_file(at("model/forest")).unwrap(),
            &|| std::fs::remove_dir_all(at("model")).unwrap(),
        ];
        for (n, change) in changes.iter().enumerate() {
            // Clocks of file systems tick slowly.
            std::thread::sleep(Duration::from_millis(20));
            change();
            assert!(files.changed().is_some(), "change {n}");
            files.are_read_again();
            assert_eq!(files.changed(), None, "change {n}");
        }
    }

    #[test]
    fn a_bundle_elsewhere_is_watched_from_when_it_is_read() {
        let (folder, files) = configured();
        let other = folder.path().join("other");
        std::fs::create_dir(&other).unwrap();
        assert_eq!(files.changed(), None);
        files.are_read(Some(other.clone()));
        std::fs::write(other.join("model.toml"), "two").unwrap();
        assert!(files.changed().is_some());
    }

    #[test]
    fn a_change_is_asked_for_once_and_what_goes_on_changing_not_at_all() {
        let look = |n: u64| {
            (n > 0).then(|| vec![(PathBuf::from("f"), Some((n, SystemTime::UNIX_EPOCH, 1)))])
        };
        // How they look, as a number, 0 for as they were read; and whether that is to be read.
        for (looks, to_be_read) in [
            (&[0, 0, 0][..], &[][..]),
            (&[1, 1], &[1]),
            (&[1, 2, 3, 4, 5, 5], &[5]),
            // Nobody has come to reading it; then it changes again.
            (&[1, 1, 1, 1, 2, 2, 2], &[1, 5]),
            // Read each time; at last it looks as it did before.
            (&[1, 1, 0, 0, 2, 2, 0, 1, 1], &[1, 5, 8]),
            (&[1, 1, 0, 1, 1], &[1, 4]),
            // Put back before it was looked at twice.
            (&[1, 0, 0, 2, 0], &[]),
        ] {
            let mut noticed = Noticed::default();
            let said = looks.iter().map(|n| noticed.is_to_be_read(look(*n)));
            let said: Vec<usize> =
                said.enumerate().filter(|(_, is)| *is).map(|(at, _)| at).collect();
            assert_eq!(said, to_be_read, "{looks:?}");
        }
    }
}
