//! The bodies of the fuzz targets: each takes any bytes, and must neither panic nor break what it asserts.

use detector::config;
use engine::config::Config;
use engine::effects::{Effects, SourceRef};
use engine::limits::{ATTRIBUTE_ABS_MAX, ENTITIES_PER_EVENT_MAX, KEY_BYTES_MAX, TS_MS_MAX};
use engine::wire::Decoder;
use engine::{Engine, Input, Options, Wanted};
use features::event::Event;
use features::expr::{Names, Program};
use models::bundle::{Bundle, Manifest};
use models::forest::{Forest, ForestError, lightgbm, xgboost};
use models::{Explainer, Kernel};
use std::cell::RefCell;
use std::collections::BTreeMap;

/// A target's name and body.
pub type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: [Target; 10] = [
    ("event", event),
    ("label", label),
    ("mapped", mapped),
    ("config", config),
    ("condition", condition),
    ("bundle", bundle),
    ("xgboost_json", xgboost_json),
    ("xgboost_ubj", xgboost_ubj),
    ("lightgbm", lightgbm),
    ("snapshot", snapshot),
];

/// Names that the seeds use.
pub const CONFIG: &str = r#"
[events]
types = ["message", "login"]
[attributes.amount]
type = "number"
[attributes.verified]
type = "boolean"
[attributes.country]
type = "category"
values = ["NL", "DE"]
[kinds.device]
strong = true
[kinds.ip]
ttl = "7d"
[labels]
recent_events_max = 1000
"#;

const MAPPINGS: [&str; 3] = [
    "[mapping]\npreset = \"cloudevents\"\n",
    "[mapping]\npreset = \"osprey\"\nts_unit = \"ns\"\n",
    "[mapping]\nts = \"/t\"\nts_unit = \"s\"\ntype = \"/what\"\naccount = \"/who/id\"\nentities.device = \"/who/~0d\"\nattributes.amount = \"/a/0\"\n",
];

/// An engine without state for [`CONFIG`] and more.
pub fn engine_of(more: &str) -> Engine {
    let config = config::parse(&format!("{CONFIG}{more}"), &BTreeMap::new()).expect("it is ours");
    Engine::new(config, None, Options::default()).expect("it is ours")
}

thread_local! {
    static DECODERS: [Decoder; 4] = [
        engine_of("").decoder(),
        engine_of(MAPPINGS[0]).decoder(),
        engine_of(MAPPINGS[1]).decoder(),
        engine_of(MAPPINGS[2]).decoder(),
    ];
    static ENGINE: RefCell<(Engine, Effects, u32)> = RefCell::new((engine_of(""), Effects::default(), 0));
}

fn fit(event: &Event) {
    assert!(
        (1..=KEY_BYTES_MAX).contains(&event.account.len())
            && (0..=TS_MS_MAX).contains(&event.ts_ms)
    );
    assert!(event.target.as_ref().is_none_or(|t| (1..=KEY_BYTES_MAX).contains(&t.len())));
    assert!(event.entities.len() <= ENTITIES_PER_EVENT_MAX);
    assert!(event.entities.iter().all(|e| (1..=KEY_BYTES_MAX).contains(&e.key.len())));
    assert!(event.attributes.iter().all(|v| v.is_nan() || v.abs() <= ATTRIBUTE_ABS_MAX as f32));
}

/// Lets an engine take a message; made anew now and then, so that memory stays small and runs repeat.
fn take(input: Input) {
    ENGINE.with_borrow_mut(|(engine, effects, taken)| {
        if *taken == 1000 {
            (*engine, *taken) = (engine_of(""), 0);
        }
        *taken += 1;
        engine.want(Wanted { scores: true, ..Wanted::default() });
        engine.step([input], effects);
        assert!(effects.scores.iter().all(|s| (0.0..=1.0).contains(&s.score)));
        effects.clear();
    });
}

/// An event in the contract's own form, decoded and taken.
pub fn event(bytes: &[u8]) {
    let Ok(event) = DECODERS.with(|d| d[0].event(bytes, || "line-1".into())) else { return };
    fit(&event);
    take(Input::Event(event, SourceRef::default()));
}

/// A label, decoded and taken.
pub fn label(bytes: &[u8]) {
    let Ok(label) = DECODERS.with(|d| d[0].label(bytes)) else { return };
    assert!(label.account.is_some() || label.event_id.is_some());
    assert!((0..=TS_MS_MAX).contains(&label.ts_ms) && (0.0..=1.0).contains(&label.confidence));
    take(Input::Label(label));
}

/// An event of another shape.
pub fn mapped(bytes: &[u8]) {
    DECODERS.with(|decoders| {
        for decoder in &decoders[1..] {
            if let Ok(event) = decoder.event(bytes, || "line-1".into()) {
                fit(&event);
            }
        }
    });
}

/// A configuration: what is accepted is written and read again as the same, and its mistakes are told.
pub fn config(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let env = BTreeMap::from([("SET".to_string(), "a \"text\"".to_string())]);
    let config = match config::parse(text, &env) {
        Ok(config) => config,
        Err(problems) => {
            return assert!(!problems.is_empty() && problems.iter().all(|p| !p.is_empty()));
        }
    };
    let mut open = config.clone();
    open.privacy.key = None;
    let written = toml::to_string(&open).expect("it can be written");
    let again: Config = toml::from_str(&written).expect("it can be read again");
    // NaN is not itself.
    assert_eq!(format!("{again:?}"), format!("{open:?}"));
    if let Err(problems) = Engine::new(config, None, Options::default()) {
        assert!(!problems.is_empty() && problems.iter().all(|p| !p.is_empty()));
    }
}

struct Columns;

const COLUMNS: [&str; 6] = [
    "score",
    "account.events.10m",
    "account.credit-card.events",
    "event.country",
    "event.amount",
    "graph.ring_size",
];

impl Names for Columns {
    fn slot(&self, name: &str) -> Option<u32> {
        COLUMNS.iter().position(|known| *known == name).map(|at| at as u32)
    }
    fn category(&self, name: &str, text: &str) -> Option<f32> {
        (name == "event.country")
            .then(|| ["NL", "DE"].iter().position(|known| *known == text))?
            .map(|at| at as f32)
    }
    fn all(&self) -> Vec<String> {
        COLUMNS.map(String::from).to_vec()
    }
    fn constant(&self, name: &str) -> Option<f64> {
        (name == "threshold.review").then_some(0.5)
    }
}

/// A condition, compiled and asked over rows with and without values.
pub fn condition(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let program = match Program::compile(text, &Columns) {
        Ok(program) => program,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    assert!(
        program.slots().is_sorted()
            && program.slots().iter().all(|slot| (*slot as usize) < COLUMNS.len())
    );
    let odd = [0.0, f32::NAN, f32::INFINITY, -1.5, f32::MAX, f32::MIN_POSITIVE];
    for turn in 0..odd.len() {
        let row: Vec<f32> = (0..COLUMNS.len()).map(|i| odd[(i + turn) % odd.len()]).collect();
        assert_eq!(program.eval(&row), program.eval(&row));
    }
    // A name that is not there is absent.
    program.eval(&[]);
}

/// The whole of a bundle: the manifest up to a zero byte, then the forest's file. The manifest's own sums are taken as
/// they are once, and filled in once, so that what lies behind them is reached.
pub fn bundle(bytes: &[u8]) {
    let (head, tail) = match bytes.iter().position(|b| *b == 0) {
        Some(at) => (&bytes[..at], &bytes[at + 1..]),
        None => (bytes, &[][..]),
    };
    let mut files = BTreeMap::from([("model.toml".to_string(), head.to_vec())]);
    let manifest: Option<Manifest> =
        std::str::from_utf8(head).ok().and_then(|t| toml::from_str(t).ok());
    let forest = manifest.as_ref().and_then(|m| m.forest.as_ref()).map(|f| f.file.clone());
    if let Some(file) = &forest {
        files.insert(file.clone(), tail.to_vec());
    }
    use_bundle(Bundle::parse(&files));
    if let Some(manifest) = manifest {
        let files = forest.map(|file| (file, tail.to_vec())).into_iter().collect();
        use_bundle(Bundle::new(manifest, files));
    }
}

fn use_bundle(read: Result<Bundle, models::BundleError>) {
    let Ok(bundle) = read else { return };
    let manifest = bundle.manifest();
    let models = [&manifest.behaviour_model, &manifest.graph_model];
    let mut columns = manifest.features.clone();
    // Columns of the logistic models are told by the refusal to bind.
    columns.extend(
        models.into_iter().flatten().flat_map(|m| m.columns.iter().map(|c| c.name.clone())),
    );
    columns.sort();
    columns.dedup();
    let Ok(scorer) = bundle.bind(&columns, &manifest.feature_set_hash) else { return };
    for value in [0.0, f32::NAN, 1e12, -1e12] {
        let row = vec![value; columns.len()];
        let scores = scorer.score(&row);
        assert!((0.0..=1.0).contains(&scores.score), "{scores:?}");
        let _ = scorer.explain(&row);
    }
    let again = Bundle::parse(&bundle.to_files()).expect("what was written can be read");
    assert_eq!(again.version_id(), bundle.version_id());
}

/// Whatever was read must be fit for use, and the fast form must agree with the plain one.
fn use_forest(read: Result<Forest, ForestError>) {
    let Ok(forest) = read else { return };
    let row: Vec<f32> = (0..forest.columns()).map(|i| i as f32 - 2.0).collect();
    let margin = forest.margin(&row);
    let kernel = Kernel::new(&forest);
    assert_eq!(kernel.margin(&row).to_bits(), margin.to_bits());
    if forest.columns() <= 1000
        && let Ok(explainer) = Explainer::new(forest.clone().into())
    {
        assert_eq!(explainer.explain(&row).columns.len(), forest.columns());
    }
}

/// XGBoost's JSON.
pub fn xgboost_json(bytes: &[u8]) {
    use_forest(xgboost::from_json(bytes));
}

/// XGBoost's binary JSON.
pub fn xgboost_ubj(bytes: &[u8]) {
    use_forest(xgboost::from_ubj(bytes));
}

/// LightGBM's text.
pub fn lightgbm(bytes: &[u8]) {
    use_forest(lightgbm::from_text(bytes));
}

/// Ids up to here are loaded: an id is a place in a table, and a test must not ask for gigabytes.
const IDS_MAX: u64 = 1000;

/// The engine of a saved state's records, each `tag, kind, id as u64, length as u32, bytes`; `None` if
/// they are refused.
pub fn restored(bytes: &[u8]) -> Option<Engine> {
    let mut engine = engine_of("");
    let mut loading = engine.loading();
    let mut rest = bytes;
    while let Some((key, tail)) = rest.split_first_chunk::<10>()
        && let Some((length, tail)) = tail.split_first_chunk::<4>()
    {
        let length = (u32::from_le_bytes(*length) as usize).min(tail.len());
        let (value, tail) = tail.split_at(length);
        rest = tail;
        let id =
            u64::from_be_bytes([key[2], key[3], key[4], key[5], key[6], key[7], key[8], key[9]]);
        let place = if key[0] == b'l' { id & 0x07ff_ffff } else { id };
        let asks_for_much = match key[0] {
            b'a' | b'e' | b'l' => place > IDS_MAX,
            b'g' => serde_json::from_slice(value).is_ok_and(|globals: serde_json::Value| {
                let sizes = std::iter::once(&globals["account_ids"])
                    .chain(globals["entity_ids"].as_array().into_iter().flatten());
                sizes.filter_map(serde_json::Value::as_u64).any(|n| n > IDS_MAX)
            }),
            _ => false,
        };
        if asks_for_much || loading.record(key, value).is_err() {
            return None;
        }
    }
    loading.finish().ok()?;
    Some(engine)
}

/// A saved state: loaded, and gone on with.
pub fn snapshot(bytes: &[u8]) {
    let Some(mut engine) = restored(bytes) else { return };
    let mut effects = Effects::default();
    engine.want(Wanted { scores: true, ..Wanted::default() });
    for message in STREAM {
        if let Ok(event) = DECODERS.with(|d| d[0].event(message.as_bytes(), || "line-1".into())) {
            engine.step([Input::Event(event, SourceRef::default())], &mut effects);
        }
    }
    engine.finish(&mut effects);
    engine.save_changes(&mut |_, _| {});
    engine.explain("u1");
}

/// A few events: what the saved state of the seed was made of, and what a loaded state goes on with.
pub const STREAM: [&str; 4] = [
    r#"{"event_id":"a","ts":1767225600000,"type":"login","account":"u1","entities":{"device":"d1","ip":"10.0.0.1"},"attributes":{"country":"NL"}}"#,
    r#"{"event_id":"b","ts":1767225601000,"type":"message","account":"u2","target":"u1","entities":{"device":["d1","d2"]},"attributes":{"amount":3.5}}"#,
    r#"{"event_id":"c","ts":1767225602000,"type":"login","account":"u3","entities":{"ip":"10.0.0.1"},"attributes":{"verified":true}}"#,
    r#"{"event_id":"d","ts":1767230000000,"type":"other","account":"u1","target":"u3"}"#,
];

/// A saved state as the bytes that [`snapshot`] reads.
pub fn saved_state() -> Vec<u8> {
    let mut engine = engine_of("");
    let decoder = engine.decoder();
    let mut effects = Effects::default();
    for message in &STREAM[..3] {
        let event = decoder.event(message.as_bytes(), Default::default).expect("it is ours");
        engine.step([Input::Event(event, SourceRef::default())], &mut effects);
    }
    let label =
        decoder.label(br#"{"account":"u2","label":1,"ts":1767225601500}"#).expect("it is ours");
    engine.step([Input::Label(label)], &mut effects);
    let mut out = Vec::new();
    engine.save_changes(&mut |key, value| {
        if let Some(value) = value {
            out.extend(key);
            out.extend((value.len() as u32).to_le_bytes());
            out.extend(value);
        }
    });
    out
}
