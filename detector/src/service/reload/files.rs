//! The files that a reload reads: whether they have changed since they were read, without reading them.

use crate::config::Loaded;
use crate::service::Stop;
use engine::config::ReloadSection;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// How often the watching thread looks whether the service ends.
const STOP_LOOK: Duration = Duration::from_millis(100);
/// Shortest interval: the shorter it is, the sooner a file that is still being written looks the same twice.
const EVERY_MIN_MS: i64 = 100;

/// What is seen of a file from outside: its size, when it was written, and its inode, which differs for a file put in its place.
/// `None`: it cannot be seen.
pub(crate) type Seen = Option<(u64, SystemTime, u64)>;

/// A file, and what was seen of it.
type Look = (PathBuf, Seen);

/// Looks at a file; through links: a mounted configuration is changed by another target.
pub(crate) fn seen(path: &Path) -> Seen {
    let meta = std::fs::metadata(path).ok()?;
    Some((meta.len(), meta.modified().ok()?, meta.ino()))
}

/// The configuration's file and the bundle's, and how they looked when they were last about to be read.
pub(in crate::service) struct Files {
    config: PathBuf,
    read: Mutex<Read>,
}

struct Read {
    model: Option<PathBuf>,
    config: Seen,
    bundle: Vec<Look>,
}

/// How often files are looked at; `None`: never.
///
/// # Errors
/// When it is no duration, or a very short one.
pub(crate) fn every(section: &ReloadSection) -> Result<Option<Duration>, String> {
    let fail = |why: &str| {
        Err(format!(
            "[reload] files_every: {why}\n  hint: \"5s\"; \"0s\" leaves reloads to SIGHUP alone"
        ))
    };
    match features::duration::parse_ms(&section.files_every) {
        Ok(0) => Ok(None),
        Ok(ms) if ms >= EVERY_MIN_MS => Ok(Some(Duration::from_millis(ms as u64))),
        Ok(ms) => fail(&format!("{ms} ms are less than {EVERY_MIN_MS}")),
        Err(e) => fail(&e.to_string()),
    }
}

impl Files {
    /// The files of a configuration that was read, and of a bundle that will be; `model` takes the place of the one that it names.
    pub(in crate::service) fn of(loaded: &Loaded, model: Option<&Path>) -> Self {
        let model = loaded.model_path(model);
        let bundle = bundle(model.as_deref());
        let read = Mutex::new(Read { model, config: loaded.seen, bundle });
        Self { config: loaded.file.clone(), read }
    }

    /// A reload begins: whatever they look like now, it is what it finds or older.
    pub(in crate::service) fn are_read(&self) {
        let mut read = self.read();
        read.config = seen(&self.config);
        read.bundle = bundle(read.model.as_deref());
    }

    /// A configuration was read, and the bundle that it names is about to be.
    pub(in crate::service) fn name_model(&self, loaded: &Loaded, model: Option<PathBuf>) {
        let bundle = bundle(model.as_deref());
        *self.read() = Read { model, config: loaded.seen, bundle };
    }

    fn read(&self) -> MutexGuard<'_, Read> {
        self.read.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What they look like now, if that is not what was read.
    fn changed(&self) -> Option<Vec<Look>> {
        let read = self.read();
        let (config, mut now) = (seen(&self.config), bundle(read.model.as_deref()));
        let is = config != read.config || now != read.bundle;
        now.push((self.config.clone(), config));
        is.then_some(now)
    }

    /// Asks for a reload whenever [`Noticed`] says so, until the service ends.
    pub(in crate::service) fn watch(&self, every: Duration, stop: &Stop) {
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

/// A bundle's folder and the files in it.
fn bundle(folder: Option<&Path>) -> Vec<Look> {
    let Some(folder) = folder else { return Vec::new() };
    let listed = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = listed.map(|file| file.path()).collect();
    files.push(folder.to_path_buf());
    files.sort();
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
        assert_eq!(every(&section("0s")), Ok(None));
        for bad in ["", "5", "off", "99ms"] {
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
            // Another file in its place, of the same size and time.
            &|| {
                let time = std::fs::metadata(at("model/forest")).unwrap().modified().unwrap();
                std::fs::write(at("new"), "third").unwrap();
                let new = std::fs::File::options().write(true).open(at("new")).unwrap();
                new.set_modified(time).unwrap();
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
            files.are_read();
            assert_eq!(files.changed(), None, "change {n}");
        }
    }

    #[test]
    fn what_is_written_while_it_is_read_has_changed() {
        let (folder, files) = configured();
        files.are_read();
        let loaded = crate::config::load(folder.path()).unwrap();
        std::fs::write(folder.path().join("detector.toml"), "# later").unwrap();
        files.name_model(&loaded, loaded.model_path(None));
        assert!(files.changed().is_some());
    }

    #[test]
    fn a_bundle_elsewhere_is_watched_from_when_it_is_read() {
        let (folder, files) = configured();
        let other = folder.path().join("other");
        std::fs::create_dir(&other).unwrap();
        assert_eq!(files.changed(), None);
        let loaded = crate::config::load(folder.path()).unwrap();
        files.name_model(&loaded, Some(other.clone()));
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
