//! Nothing lost, nothing twice, nothing different.

use super::reference::{self, compare};
use super::topics;
use detector::config::Loaded;
use detector::kafka::config::KafkaSection;
use detector::kafka::journal::Offsets;
use detector::store::redis::{Domain, RedisSection, RedisShards, Store};
use engine::wire::bytes_of_hex;
use serde_json::Value;
use std::collections::BTreeMap;

/// What was found.
#[derive(Debug, Default)]
pub struct Verdict {
    /// Messages in the topics of events.
    pub events: u64,
    /// Messages in the topics of labels.
    pub labels: u64,
    /// Events that have no output, dead letters that are missing, actions that should be there.
    pub lost: u64,
    /// Outputs that came more than once; one that came again with another content is one that differs.
    pub duplicated: u64,
    /// Scores and actions that are not those of an undisturbed run.
    pub outputs_differing: u64,
    /// Records of the state that are not those of an undisturbed run.
    pub profiles_differing: u64,
    /// Records compared.
    pub profiles: u64,
    /// Actions published.
    pub actions: u64,
    /// Dead letters published.
    pub dead_letters: u64,
    /// What was wrong, the first few of each sort; and whether that is wrong at least once, too.
    pub notes: Vec<(bool, String)>,
}

impl Verdict {
    fn note<T: std::fmt::Debug>(&mut self, what: &str, found: &[T]) -> u64 {
        if !found.is_empty() {
            let first = &found[..found.len().min(3)];
            let always = !what.ends_with("twice");
            self.notes.push((always, format!("{what}: {} of them, {first:?}", found.len())));
        }
        found.len() as u64
    }
}

/// Compares outputs and state with what an undisturbed run makes of the same messages in the order of the journal.
pub fn judge(
    section: &KafkaSection,
    redis: &RedisSection,
    loaded: &Loaded,
    rebuilt: &[Offsets],
) -> Verdict {
    let mut verdict = Verdict::default();
    let inputs = reference::inputs(section, loaded);
    (verdict.events, verdict.labels) = (inputs.events, inputs.labels);

    // First by counting alone, whatever the engine thinks: every event id has one score.
    let topic = section.scores.as_ref().expect("scores are written");
    let scores = topics::lines(section, topic);
    let mut times: BTreeMap<String, u32> = BTreeMap::new();
    for line in &scores {
        let score: Value = serde_json::from_str(line).expect("a score is JSON");
        let id = score["event_id"].as_str().expect("it has an id").to_owned();
        *times.entry(id).or_default() += 1;
    }
    let twice: Vec<_> = times.iter().filter(|(_, n)| **n > 1).map(|(id, _)| id).collect();
    verdict.duplicated += verdict.note("events scored twice", &twice);
    let lost: Vec<_> = inputs.ids.keys().filter(|id| !times.contains_key(*id)).collect();
    verdict.lost += verdict.note("events without a score", &lost);

    // Then against the line itself.
    let (found, key) = state(redis);
    let expected = match reference::expected(section, loaded, &inputs, rebuilt, key) {
        Ok(expected) => expected,
        Err(why) => {
            verdict.notes.push((true, format!("the journal: {why}")));
            verdict.lost += 1;
            return verdict;
        }
    };
    let (_, missing, other) = compare(&scores, &expected.scores);
    verdict.outputs_differing += verdict.note("other scores", &other);
    verdict.lost += verdict.note("scores missing", &missing);

    let actions = topics::lines(section, &section.actions);
    verdict.actions = actions.len() as u64;
    let (twice, missing, other) = compare(&actions, &expected.actions);
    verdict.duplicated += verdict.note("actions twice", &twice);
    verdict.lost += verdict.note("actions missing", &missing);
    verdict.outputs_differing += verdict.note("other actions", &other);

    let dead = topics::dead_letters(section);
    verdict.dead_letters = dead.len() as u64;
    let (twice, missing, other) = compare(&dead, &expected.dead_letters);
    verdict.duplicated += verdict.note("dead letters twice", &twice);
    verdict.lost += verdict.note("dead letters missing", &missing);
    verdict.outputs_differing += verdict.note("other dead letters", &other);

    verdict.profiles = found.len() as u64;
    let name = |name: &engine::Name| match name {
        engine::Name::Profile { kind, key } => (kind.to_string(), key.to_string()),
        engine::Name::Global(key) => (String::new(), key.to_string()),
    };
    let expected: BTreeMap<(String, String), Vec<u8>> =
        expected.records.into_iter().map(|(n, value)| (name(&n), value)).collect();
    let mut by_kind: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    let all: std::collections::BTreeSet<_> = found.keys().chain(expected.keys()).collect();
    for key in all {
        let (one, other) = (found.get(key), expected.get(key));
        if one != other && !one.zip(other).is_some_and(|(a, b)| is_longer_front(key, a, b)) {
            by_kind.entry(&key.0).or_default().push(format!("{}: {}", key.1, differ(one, other)));
        }
    }
    for (kind, differing) in by_kind {
        let kind = if kind.is_empty() { "global" } else { kind };
        verdict.profiles_differing += verdict.note(&format!("other records, {kind}"), &differing);
    }
    verdict
}

/// The chunk of recent events at the front of the ring is not written again when its first events leave: how far they have left is in
/// the global record. 8 bytes of a number, then the events.
fn is_longer_front(key: &(String, String), found: &[u8], expected: &[u8]) -> bool {
    const HEAD: usize = 8;
    key.0.is_empty()
        && key.1.starts_with("recent-")
        && found.len() > expected.len()
        && expected.len() > HEAD
        && found[HEAD..].ends_with(&expected[HEAD..])
}

fn differ(found: Option<&Vec<u8>>, expected: Option<&Vec<u8>>) -> String {
    match (found, expected) {
        (None, _) => "is missing".into(),
        (_, None) => "should not be there".into(),
        (Some(a), Some(b)) if a.starts_with(b"{") && b.starts_with(b"{") => {
            let fields = |bytes: &[u8]| serde_json::from_slice::<BTreeMap<String, Value>>(bytes);
            let (Ok(a), Ok(b)) = (fields(a), fields(b)) else { return "is no JSON".into() };
            let other = a.iter().filter(|(name, value)| b.get(*name) != Some(value));
            let other = other.map(|(n, v)| format!("{n} {v} instead of {:?}", b.get(n)));
            other.collect::<Vec<_>>().join(", ")
        }
        (Some(a), Some(b)) => {
            let at: Vec<usize> = (0..a.len().min(b.len())).filter(|i| a[*i] != b[*i]).collect();
            let first = &at[..at.len().min(12)];
            format!("{} and {} bytes, {} differ: {first:?}", a.len(), b.len(), at.len())
        }
    }
}

/// Records by kind and key.
type Records = BTreeMap<(String, String), Vec<u8>>;

/// The records in Redis at the newest checkpoint, and the key by which the state looks up its keys.
fn state(redis: &RedisSection) -> (Records, Option<[u8; 16]>) {
    let shards = RedisShards::open(redis).unwrap_or_else(|e| panic!("{e}"));
    let mut store = Store::new(shards, redis.limits());
    let (base, position) =
        store.peek_base().unwrap_or_else(|e| panic!("{e}")).expect("there is a checkpoint");
    let detail: Value = serde_json::from_str(&position.detail).expect("it is JSON");
    let key = detail["look_up_key"].as_str().map(|hex| bytes_of_hex(hex).expect("16 bytes"));
    let mut records = BTreeMap::new();
    let each = |name: &detector::store::redis::Name, value: &[u8]| {
        let kind = match &name.domain {
            Domain::Profile { kind } => kind.to_string(),
            Domain::Global => String::new(),
        };
        records.insert((kind, name.key.to_string()), value.to_vec());
        Ok(())
    };
    store.peek_load(base, each, |_| {}).unwrap_or_else(|e| panic!("{e}"));
    (records, key)
}
