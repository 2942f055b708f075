//! Another policy and model without a restart: read and checked beside the line, taken by it between two batches. What does not
//! pass is refused with its reason, and what decided before goes on deciding.

pub(crate) mod files;

use super::{Current, Settings, Stop};
use crate::command::setup::{bundle_of, engine_with};
use crate::config::{self, Loaded};
use crossbeam_channel::{Receiver, TryRecvError, bounded};
use engine::{Decider, Engine};
use files::Files;
use std::path::Path;

/// What was read and is good.
struct Fresh {
    current: Current,
    decider: Decider,
}

/// A reload that is wanted, or under way. It outlives an instance that starts over: what was read is taken by the next one.
#[derive(Default)]
pub struct Reload {
    reading: Option<Receiver<Result<Box<Fresh>, String>>>,
}

/// How a reload ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Reloaded {
    /// Nothing was to be done, or it is under way.
    Nothing,
    /// The engine decides by what was read.
    Taken,
    /// Nothing has changed; the log says why.
    Refused,
}

impl Reload {
    /// Looks whether a reload was asked for, or has been read. The engine's thread calls it between steps; it never waits.
    pub fn look(&mut self, settings: &Settings, stop: &Stop, engine: &mut Engine) -> Reloaded {
        if let Some(reading) = &self.reading {
            let read = match reading.try_recv() {
                Err(TryRecvError::Empty) => return Reloaded::Nothing,
                Err(TryRecvError::Disconnected) => Err("reading it ended in a panic".to_owned()),
                Ok(read) => read,
            };
            self.reading = None;
            let taken = read.and_then(|fresh| {
                let Fresh { current, decider } = *fresh;
                engine.decide_by(decider)?;
                settings.replace(current);
                Ok(())
            });
            let versions = engine.versions();
            return match taken {
                Ok(()) => {
                    tracing::info!(
                        model = versions.model,
                        policy = versions.policy,
                        "reloaded: from here on these decide"
                    );
                    Reloaded::Taken
                }
                Err(why) => {
                    tracing::error!(
                        model = versions.model,
                        policy = versions.policy,
                        "the reload is refused, and these go on deciding: {why}"
                    );
                    Reloaded::Refused
                }
            };
        }
        if stop.take_reload() {
            let (send, receive) = bounded(1);
            let (before, model) = (settings.loaded.clone(), settings.model.clone());
            let files = settings.files.clone();
            let asked = stop.clone();
            let read = move || {
                // What was asked for until here is done with this.
                asked.take_reload();
                let _ = send.send(read(&before, model.as_deref(), &files).map(Box::new));
            };
            match std::thread::Builder::new().name("reload".into()).spawn(read) {
                Ok(_) => self.reading = Some(receive),
                Err(e) => tracing::error!("the reload is refused: cannot start a thread: {e}"),
            }
        }
        Reloaded::Nothing
    }
}

/// Reads configuration and bundle again, and checks them as a start does.
fn read(before: &Loaded, model: Option<&Path>, files: &Files) -> Result<Fresh, String> {
    let _span = tracing::info_span!("reload").entered();
    files.are_read();
    let loaded = config::load(&before.file).map_err(|e| e.to_string())?;
    let differ = needs_restart(before, &loaded);
    if !differ.is_empty() {
        return Err(format!(
            "{}: {} differ from what this process was started with; a reload takes [policy], [[rules]] and [model] only\nhint: put them back, or restart",
            loaded.file.display(),
            differ.join(", ")
        ));
    }
    files.name_model(&loaded, loaded.model_path(model));
    let bundle = bundle_of(&loaded, model).map_err(|e| e.to_string())?;
    let engine = engine_with(&loaded, bundle.as_ref(), false, false).map_err(|e| e.to_string())?;
    Ok(Fresh { current: Current { loaded, bundle }, decider: engine.into_decider() })
}

/// Sections that are another's than at the start, and that a running service cannot take.
fn needs_restart(before: &Loaded, now: &Loaded) -> Vec<String> {
    let sections = |loaded: &Loaded| {
        let mut config = loaded.config.clone();
        (config.policy, config.rules, config.model) = Default::default();
        // Configurations are made of what was serialised.
        match serde_json::to_value(&config) {
            Ok(serde_json::Value::Object(sections)) => sections,
            _ => serde_json::Map::new(),
        }
    };
    let (one, other) = (sections(before), sections(now));
    let mut differ: Vec<String> = one
        .iter()
        .filter(|(name, value)| other.get(*name) != Some(value))
        .map(|(name, _)| format!("[{name}]"))
        .collect();
    if before.config.privacy != now.config.privacy && !differ.contains(&"[privacy]".to_owned()) {
        differ.push("[privacy]".into());
    }
    if before.kafka != now.kafka {
        differ.push("[kafka]".into());
    }
    if before.redis != now.redis {
        differ.push("[redis]".into());
    }
    differ
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(text: &str) -> (tempfile::TempDir, Loaded) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("detector.toml"), text).unwrap();
        let loaded = config::load(folder.path()).unwrap();
        (folder, loaded)
    }

    const RULE: &str = "[[rules]]\nname = \"r\"\naction = \"review\"\nwhen = \"score > 0.5\"\n";

    fn read_again(
        folder: &tempfile::TempDir,
        before: &Loaded,
        text: &str,
    ) -> Result<Fresh, String> {
        std::fs::write(folder.path().join("detector.toml"), text).unwrap();
        read(before, None, &Files::of(before, None))
    }

    #[test]
    fn another_policy_is_taken_and_what_needs_a_restart_is_named() {
        let (folder, before) = folder(RULE);
        let mut engine = crate::command::setup::engine_of(&before, None, false, false).unwrap();
        let old = engine.versions().clone();
        let fresh = read_again(&folder, &before, &RULE.replace("0.5", "0.6")).unwrap();
        assert_ne!(fresh.decider.versions().policy, old.policy);
        engine.decide_by(fresh.decider).unwrap();
        assert_eq!(engine.versions().features, old.features);
        assert_ne!(engine.versions().policy, old.policy);

        let more = format!("{RULE}[time]\nlateness_max = \"3h\"\n[kafka]\ngroup = \"other\"\n");
        let why = read_again(&folder, &before, &more).err().unwrap();
        assert!(why.contains("[time], [kafka] differ"), "{why}");
        let why = read_again(&folder, &before, &RULE.replace("score >", "scor >")).err().unwrap();
        assert!(why.contains("scor"), "{why}");
        let why = read_again(&folder, &before, "[model]\npath = \"nowhere\"\n").err().unwrap();
        assert!(why.contains("nowhere"), "{why}");
    }

    #[test]
    fn a_decider_of_another_feature_set_changes_nothing() {
        let (_folder, before) = folder(RULE);
        let mut engine = crate::command::setup::engine_of(&before, None, false, false).unwrap();
        let mut other = before.clone();
        other.config.graph.links_per_account_max += 1;
        let other = crate::command::setup::engine_of(&other, None, false, false).unwrap();
        let versions = engine.versions().clone();
        let why = engine.decide_by(other.into_decider()).unwrap_err();
        assert!(why.contains("feature set"), "{why}");
        assert_eq!(*engine.versions(), versions);
    }
}
