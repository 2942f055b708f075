//! Golden scenarios: small streams with what must, and must not, come of them. A model has to pass them before it is
//! accepted, whatever its measures are on average.
//!
//! A scenario is a folder with `events.ndjson`, `labels.ndjson` if labels are to arrive, and `expected.ndjson`, a line
//! per account or group of accounts:
//!
//! ```text
//! {"account":"a1","at_least":"review","within_events":30}   acted on, no milder than that, by its 30th event
//! {"account":"a2","actions":["challenge","review"]}         the hardest action is one of these
//! {"account":"b*","at_most":"challenge","share":0.9}        nine in ten of the accounts b... , nothing harder
//! {"account":"*","at_most":"none"}                          everybody who is not named above
//! {"account":"a3","reversed":true}                          what was done is undone
//! ```
//!
//! Only live actions count, not shadow ones.

use crate::pipeline::{self, Plan, RunError};
use crate::sink::files::OutputPaths;
use crate::source::files::{Lines, SourceError};
use crate::source::labels::LabelFile;
use engine::effects::Effects;
use engine::policy::ActionKind;
use engine::{Engine, Wanted};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Longest `expected.ndjson` that is read.
const EXPECTED_BYTES_MAX: u64 = 16 << 20;

/// A scenario that cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum GoldenError {
    /// The folder.
    #[error(
        "{path}: {why}\nhint: --golden names a folder of folders, each with events.ndjson and expected.ndjson"
    )]
    Folder {
        /// Which.
        path: String,
        /// What is wrong.
        why: String,
    },
    /// A line of what is expected.
    #[error("{path}:{line}: {why}")]
    Line {
        /// The file.
        path: String,
        /// Line, from 1.
        line: usize,
        /// What is wrong.
        why: String,
    },
    /// Input.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The run.
    #[error(transparent)]
    Run(#[from] RunError),
}

/// A line of `expected.ndjson`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Form {
    account: String,
    at_least: Option<String>,
    at_most: Option<String>,
    actions: Option<Vec<String>>,
    within_events: Option<u64>,
    reversed: Option<bool>,
    share: Option<f64>,
}

/// What is expected of an account, or of a group.
#[derive(Clone, Debug, PartialEq)]
pub struct Expectation {
    /// An account; with `*` at its end all whose name begins so and that have no line of their own.
    account: String,
    at_least: Option<ActionKind>,
    at_most: Option<ActionKind>,
    one_of: Option<Vec<ActionKind>>,
    within_events: Option<u64>,
    reversed: Option<bool>,
    share: f64,
}

impl Expectation {
    fn read(line: &str) -> Result<Self, String> {
        let form: Form = serde_json::from_str(line).map_err(|e| e.to_string())?;
        if form.account.is_empty() {
            return Err("`account` is missing; write {\"account\":\"ID\", ...}, or \"*\" for everybody else".into());
        }
        let kind = |name: &str| match name {
            "none" => Ok(ActionKind::Allow),
            _ => ActionKind::from_name(name).ok_or_else(|| {
                let known = ActionKind::ALL.map(ActionKind::as_str);
                format!("there is no action {name:?}; known: none, {}", known.join(", "))
            }),
        };
        let one = |name: &Option<String>| name.as_deref().map(kind).transpose();
        let share = form.share.unwrap_or(1.0);
        if !(0.0..=1.0).contains(&share) {
            return Err(format!("share ({share}) must be from 0 to 1"));
        }
        let actions = form.actions.map(|names| {
            let kinds: Result<Vec<_>, _> = names.iter().map(|n| kind(n)).collect();
            kinds.map(|kinds| if kinds.is_empty() { vec![ActionKind::Allow] } else { kinds })
        });
        let out = Self {
            at_least: one(&form.at_least)?,
            at_most: one(&form.at_most)?,
            one_of: actions.transpose()?,
            within_events: form.within_events,
            reversed: form.reversed,
            account: form.account,
            share,
        };
        if out.at_least.is_none()
            && out.at_most.is_none()
            && out.one_of.is_none()
            && out.within_events.is_none()
            && out.reversed.is_none()
        {
            return Err(
                "it expects nothing; give at_least, at_most, actions, within_events or reversed"
                    .into(),
            );
        }
        Ok(out)
    }

    /// What is wrong with an account's fate; `None` if nothing is.
    fn judge(&self, fate: &Fate) -> Option<String> {
        let hardest = fate.hardest;
        let name = |kind: ActionKind| match kind {
            ActionKind::Allow => "none",
            kind => kind.as_str(),
        };
        if let Some(least) = self.at_least.filter(|least| hardest < *least) {
            return Some(format!("{}, not at least {}", name(hardest), name(least)));
        }
        if let Some(most) = self.at_most.filter(|most| hardest > *most) {
            return Some(format!("{}, more than {}", name(hardest), name(most)));
        }
        if let Some(kinds) = self.one_of.as_ref().filter(|kinds| !kinds.contains(&hardest)) {
            let kinds: Vec<&str> = kinds.iter().map(|k| name(*k)).collect();
            return Some(format!("{}, not {}", name(hardest), kinds.join(" or ")));
        }
        if let Some(within) = self.within_events {
            match fate.first_action {
                Some(at) if at > within => {
                    return Some(format!("first acted on at its event {at}, not within {within}"));
                }
                None => return Some(format!("never acted on, not within {within} events")),
                Some(_) => {}
            }
        }
        match (self.reversed, fate.reversed) {
            (Some(true), false) => Some("not reversed".into()),
            (Some(false), true) => Some("reversed".into()),
            _ => None,
        }
    }
}

/// What became of an account.
#[derive(Clone, Copy, Debug, Default)]
struct Fate {
    /// [`ActionKind::Allow`]: nothing.
    hardest: ActionKind,
    events: u64,
    first_action: Option<u64>,
    reversed: bool,
}

/// A scenario on disk.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Name of its folder.
    pub name: String,
    folder: PathBuf,
    expected: Vec<Expectation>,
}

/// One line of what was expected, and how it went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Judged {
    /// The account or group.
    pub account: String,
    /// Accounts that it speaks of.
    pub accounts: u64,
    /// Of these, as expected.
    pub as_expected: u64,
    /// Whether that is enough.
    pub passed: bool,
    /// What was wrong with the first that was not.
    pub why: Option<String>,
}

/// How a scenario went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Outcome {
    /// Its name.
    pub scenario: String,
    /// Events that were scored.
    pub events: u64,
    /// Whether all of it was as expected.
    pub passed: bool,
    /// Line by line.
    pub expected: Vec<Judged>,
}

/// Reads a folder of scenarios, by name.
///
/// # Errors
/// When there is none, or one is not whole.
pub fn scenarios(folder: &Path) -> Result<Vec<Scenario>, GoldenError> {
    let fail =
        |path: &Path, why: String| GoldenError::Folder { path: path.display().to_string(), why };
    let mut out = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(|e| fail(folder, e.to_string()))? {
        let path = entry.map_err(|e| fail(folder, e.to_string()))?.path();
        if !path.is_dir() {
            continue;
        }
        if !path.join("events.ndjson").is_file() {
            return Err(fail(&path, "has no events.ndjson".into()));
        }
        let file = path.join("expected.ndjson");
        let size = std::fs::metadata(&file).map_err(|e| fail(&file, e.to_string()))?.len();
        if size > EXPECTED_BYTES_MAX {
            return Err(fail(
                &file,
                format!("has {size} bytes; at most {EXPECTED_BYTES_MAX} are read"),
            ));
        }
        let text = std::fs::read_to_string(&file).map_err(|e| fail(&file, e.to_string()))?;
        let mut expected = Vec::new();
        for (at, line) in text.lines().enumerate().filter(|(_, l)| !l.trim().is_empty()) {
            let read = Expectation::read(line).map_err(|why| GoldenError::Line {
                path: file.display().to_string(),
                line: at + 1,
                why,
            })?;
            expected.push(read);
        }
        if expected.is_empty() {
            return Err(fail(&file, "expects nothing".into()));
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        out.push(Scenario { name, folder: path, expected });
    }
    if out.is_empty() {
        return Err(fail(folder, "holds no scenario".into()));
    }
    out.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(out)
}

/// Runs a scenario through an engine that has seen nothing yet.
///
/// # Errors
/// When its files cannot be read, or hold messages that cannot.
pub fn run(scenario: &Scenario, engine: &mut Engine) -> Result<Outcome, GoldenError> {
    let decoder = engine.decoder();
    let labels = scenario.folder.join("labels.ndjson");
    let labels = if labels.exists() {
        LabelFile::load(&labels, &decoder, None)?
    } else {
        LabelFile::default()
    };
    let mut fates: BTreeMap<String, Fate> = BTreeMap::new();
    let mut watch = |effects: &Effects| follow(effects, &mut fates);
    engine.want(Wanted { scores: true, ..Wanted::default() });
    let events = scenario.folder.join("events.ndjson");
    let summary = pipeline::run(
        engine,
        Plan {
            input: Lines::open(&events)?,
            labels,
            outputs: OutputPaths::default(),
            store: None,
            checkpoint_events: u64::MAX,
            until_ms: None,
            on_action: None,
            on_effects: Some(&mut watch),
            progress: &mut |_| {},
        },
    )?;
    if summary.rejects > 0 {
        return Err(GoldenError::Folder {
            path: scenario.folder.display().to_string(),
            why: format!("{} messages cannot be read", summary.rejects),
        });
    }
    let expected: Vec<Judged> =
        scenario.expected.iter().map(|e| judge(e, &scenario.expected, &fates)).collect();
    Ok(Outcome {
        scenario: scenario.name.clone(),
        events: fates.values().map(|f| f.events).sum(),
        passed: expected.iter().all(|e| e.passed),
        expected,
    })
}

/// Keeps count of what is done to whom.
fn follow(effects: &Effects, fates: &mut BTreeMap<String, Fate>) {
    let mut drafts = effects.actions.iter().filter(|d| !d.is_reversal()).peekable();
    for score in &effects.scores {
        let fate = fates.entry(score.account.to_string()).or_default();
        fate.events += 1;
        while let Some(draft) =
            drafts.next_if(|d| d.event_id() == score.event_id && d.account() == score.account)
        {
            let kind = ActionKind::from_name(draft.action()).unwrap_or_default();
            if !draft.is_shadow() && kind > ActionKind::Allow {
                fate.hardest = fate.hardest.max(kind);
                fate.first_action.get_or_insert(fate.events);
            }
        }
    }
    for draft in effects.actions.iter().filter(|d| d.is_reversal()) {
        fates.entry(draft.account().to_string()).or_default().reversed = true;
    }
}

fn judge(expectation: &Expectation, all: &[Expectation], fates: &BTreeMap<String, Fate>) -> Judged {
    let group = expectation.account.strip_suffix('*');
    // The longest prefix that fits has the say.
    let belongs = |account: &str| match group {
        None => account == expectation.account,
        Some(prefix) => {
            account.starts_with(prefix)
                && !all.iter().any(|other| match other.account.strip_suffix('*') {
                    None => other.account == account,
                    Some(longer) => longer.len() > prefix.len() && account.starts_with(longer),
                })
        }
    };
    let (mut accounts, mut as_expected, mut why) = (0u64, 0u64, None);
    for (account, fate) in fates.iter().filter(|(account, _)| belongs(account)) {
        accounts += 1;
        match expectation.judge(fate) {
            None => as_expected += 1,
            Some(wrong) => {
                why.get_or_insert(format!("{account}: {wrong}"));
            }
        }
    }
    if accounts == 0 {
        why = Some("no such account has an event".into());
    }
    let needed = expectation.share * accounts as f64;
    Judged {
        account: expectation.account.clone(),
        accounts,
        as_expected,
        passed: accounts > 0 && as_expected as f64 + 1e-9 >= needed,
        why,
    }
}

#[cfg(test)]
#[path = "golden_tests.rs"]
mod tests;
