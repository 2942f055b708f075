//! The bodies of the fuzz targets: each takes any bytes, and must neither panic nor break what it asserts.

use detector::{config, readers};
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
use std::sync::LazyLock;

/// A target's name and body.
pub type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: [Target; 17] = [
    ("event", event),
    ("label", label),
    ("mapped", mapped),
    ("lenient", lenient),
    ("config", config),
    ("condition", condition),
    ("bundle", bundle),
    ("xgboost_json", xgboost_json),
    ("xgboost_ubj", xgboost_ubj),
    ("lightgbm", lightgbm),
    ("snapshot", snapshot),
    ("journal", journal),
    ("published", published),
    ("signature", signature),
    ("avro", avro),
    ("protobuf", protobuf),
    ("packed", packed),
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

const MAPPINGS: [&str; 4] = [
    "[mapping]\npreset = \"cloudevents\"\n",
    "[mapping]\npreset = \"osprey\"\nts_unit = \"ns\"\n",
    "[mapping]\nts = \"/t\"\nts_unit = \"s\"\ntype = \"/what\"\naccount = \"/who/id\"\nentities.device = \"/who/~0d\"\nattributes.amount = \"/a/0\"\n",
    "[mapping]\nevent_id = \"/in/event_id\"\nts = \"/in/ts\"\ntype = \"/in/type\"\naccount = \"/in/account\"\ntarget = \"/in/target\"\n\
     entities.device = \"/in/entities/device\"\nentities.ip = \"/in/entities/ip\"\nattributes.amount = \"/in/attributes/amount\"\n\
     attributes.country = \"/in/attributes/country\"\nattributes.verified = \"/in/attributes/verified\"\n",
];

/// An engine without state for [`CONFIG`] and more.
pub fn engine_of(more: &str) -> Engine {
    let config = config::parse(&format!("{CONFIG}{more}"), &BTreeMap::new()).expect("it is ours");
    Engine::new(config, None, Options::default()).expect("it is ours")
}

thread_local! {
    static DECODERS: [Decoder; 5] = [
        engine_of("").decoder(),
        engine_of(MAPPINGS[0]).decoder(),
        engine_of(MAPPINGS[1]).decoder(),
        engine_of(MAPPINGS[2]).decoder(),
        engine_of(MAPPINGS[3]).decoder(),
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

/// Any value in any field but `ts` and `account`, and beside them: the event is taken, and it is the same one whether the message has the
/// contract's own form or another one, as an object or as a text that holds it.
pub fn lenient(bytes: &[u8]) {
    // A text with any escapes, and a bare word; and what is JSON.
    let text: Vec<u8> = bytes.iter().copied().filter(|b| *b != b'"').collect();
    let end = text.len() - text.iter().rev().take_while(|b| **b == b'\\').count();
    let text = [&b"\""[..], &text[..end], &b"\""[..]].concat();
    let ends_a_word = |b: &u8| b",:{}[]\" \t\r\n".contains(b);
    let word: Vec<u8> = bytes.iter().copied().filter(|b| !ends_a_word(b)).collect();
    let is_value = serde_json::from_slice::<serde_json::Value>(bytes).is_ok();
    let mut values = vec![text];
    values.extend((!word.is_empty()).then_some(word));
    values.extend(is_value.then(|| bytes.to_vec()));
    for value in &values {
        let lists = [&b"[\"k\","[..], value.as_slice(), &b"]"[..]].concat();
        let value = value.as_slice();
        let places: [(&[u8], &[u8], &[u8]); 11] = [
            (b"\"event_id\":", value, b""),
            (b"\"type\":", value, b""),
            (b"\"target\":", value, b""),
            (b"\"entities\":", value, b""),
            (b"\"attributes\":", value, b""),
            (b"\"nobody reads it\":", value, b""),
            (b"\"entities\":{\"device\":", value, b",\"ip\":\"i\"}"),
            (b"\"entities\":{\"ip\":\"i\",\"device\":", &lists, b"}"),
            (b"\"attributes\":{\"amount\":", value, b",\"country\":\"NL\"}"),
            (b"\"attributes\":{\"country\":", value, b",\"amount\":7}"),
            (b"\"attributes\":{\"verified\":", value, b"}"),
        ];
        for (before, value, after) in places {
            let (begin, end) = (&b"{\"ts\":1767225600000,"[..], &b",\"account\":\"u1\"}"[..]);
            let message = [begin, before, value, after, end].concat();
            // A pointer leads on into a text that holds JSON; the contract's own form has none.
            let is_section = before.ends_with(b"s\":");
            let is_same = !(is_section && value.trim_ascii().starts_with(b"\""));
            if message.len() < 300_000 {
                is_taken(&message, is_same);
            }
        }
    }
}

fn is_taken(message: &[u8], is_same: bool) {
    let read = |decoder: &Decoder, message: &[u8]| {
        let event = decoder.event(message, || "line-1".into());
        let event = event.unwrap_or_else(|e| panic!("{e:?} for {}", message.escape_ascii()));
        fit(&event);
        assert_eq!((event.account.as_str(), event.ts_ms), ("u1", 1_767_225_600_000));
        event
    };
    DECODERS.with(|decoders| {
        let own = read(&decoders[0], message);
        // Where nothing says which kinds were meant, a mapping names none.
        let shown = |event: &Event| format!("{:?}", Event { partial_kinds: 0, ..event.clone() });
        let same = |other: &Event| {
            let read = [shown(other), shown(&own)];
            assert!(!is_same || read[0] == read[1], "{read:#?} {}", message.escape_ascii());
        };
        let inside = [&b"{\"in\":"[..], message, &b"}"[..]].concat();
        let mut mapped = read(&decoders[4], &inside);
        // A mapping has its entities in order of kinds.
        let in_order = own.entities.is_sorted_by_key(|e| e.kind);
        if !in_order {
            mapped.entities.sort_by_key(|e| own.entities.iter().position(|o| o == e));
        }
        same(&mapped);
        if let Ok(text) = std::str::from_utf8(message) {
            let quoted = serde_json::to_string(text).expect("a text");
            let mut mapped = read(&decoders[4], format!("{{\"in\":{quoted}}}").as_bytes());
            if !in_order {
                mapped.entities.sort_by_key(|e| own.entities.iter().position(|o| o == e));
            }
            same(&mapped);
        }
        take(Input::Event(own, SourceRef::default()));
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
    fn values(&self, name: &str) -> Option<&[String]> {
        static COUNTRIES: LazyLock<Vec<String>> =
            LazyLock::new(|| ["NL", "DE"].map(String::from).to_vec());
        (name == "event.country").then(|| COUNTRIES.as_slice())
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

/// A record of the journal.
pub fn journal(bytes: &[u8]) {
    readers::journal_record(bytes);
}

/// A published action that is restored, up to a zero byte; behind it the header with its hour. The account of [`STREAM`] continues with it.
pub fn published(bytes: &[u8]) {
    let (payload, cap_hour) = at_zero(bytes);
    let mut engine = restored(&saved_state()).expect("it is ours");
    if !readers::published_action(&mut engine, payload, cap_hour) {
        return;
    }
    let mut effects = Effects::default();
    for message in &STREAM[3..] {
        let event = DECODERS.with(|d| d[0].event(message.as_bytes(), Default::default));
        let event = event.expect("it is ours");
        engine.step([Input::Event(event, SourceRef::default())], &mut effects);
    }
    let label = br#"{"account":"u1","label":0,"ts":1767230000001}"#;
    let label = DECODERS.with(|d| d[0].label(label)).expect("it is ours");
    engine.step([Input::Label(label)], &mut effects);
    engine.finish(&mut effects);
    let mut records = 0;
    engine.save_changes(&mut |_, _| records += 1);
    assert!(records > 0);
}

/// The bytes before the first zero byte, and those behind it.
fn at_zero(bytes: &[u8]) -> (&[u8], Option<&[u8]>) {
    match bytes.iter().position(|b| *b == 0) {
        Some(at) => (&bytes[..at], Some(&bytes[at + 1..])),
        None => (bytes, None),
    }
}

/// A signature of nobody: never right.
pub fn signature(bytes: &[u8]) {
    assert!(!readers::signature(bytes, b"{}"));
}

/// A reader of messages with a schema.
pub type ReadMessage = fn(&str, &[u8]) -> Result<serde_json::Value, String>;

/// A schema up to a zero byte, and a message of it.
fn with_schema(bytes: &[u8], read: ReadMessage) {
    let (schema, message) = at_zero(bytes);
    let (Ok(schema), Some(message)) = (std::str::from_utf8(schema), message) else { return };
    match read(schema, message) {
        Ok(json) => assert!(json.is_object(), "{json}"),
        Err(why) => assert!(!why.is_empty()),
    }
}

/// A message in Avro.
pub fn avro(bytes: &[u8]) {
    with_schema(bytes, readers::avro);
}

/// A message in Protobuf.
pub fn protobuf(bytes: &[u8]) {
    with_schema(bytes, readers::protobuf);
}

/// A file of events: packed or not, lines, CSV or an array.
pub fn packed(bytes: &[u8]) {
    const MOST: u64 = 1 << 20;
    match readers::lines_of_a_file(bytes, MOST) {
        Ok(lines) => assert!(lines.len() as u64 <= MOST),
        Err(why) => assert!(!why.is_empty()),
    }
}
