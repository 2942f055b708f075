use super::*;
use ::parquet::file::reader::{FileReader, SerializedFileReader};
use ::parquet::record::Field;
use compact_str::CompactString;
use engine::effects::RowOut;
use engine::{Input, Options, Wanted};
use std::collections::BTreeMap;

fn engine(toml: &str) -> Engine {
    let config = crate::config::parse(toml, &BTreeMap::new()).unwrap();
    Engine::new(config, None, Options::default()).unwrap()
}

/// What a file says.
struct Found {
    /// The leading columns of each row as text.
    leading: Vec<String>,
    /// The bits of its features.
    bits: Vec<Vec<u32>>,
    said: BTreeMap<String, String>,
    group_rows: Vec<usize>,
}

fn read(path: &Path) -> Found {
    let reader = SerializedFileReader::new(File::open(path).unwrap()).unwrap();
    let metadata = reader.metadata();
    let said = metadata.file_metadata().key_value_metadata().unwrap();
    let said = said.iter().map(|p| (p.key.clone(), p.value.clone().unwrap())).collect();
    let groups = metadata.row_groups().iter().map(|g| g.num_rows() as usize).collect();
    let (mut leading, mut values) = (Vec::new(), Vec::new());
    for row in reader.get_row_iter(None).unwrap() {
        let row = row.unwrap();
        let (mut text, mut bits) = (Vec::new(), Vec::new());
        for (_, field) in row.get_column_iter() {
            match field {
                Field::Float(v) => bits.push(v.to_bits()),
                other => text.push(other.to_string()),
            }
        }
        leading.push(text.join(" "));
        values.push(bits);
    }
    Found { leading, bits: values, said, group_rows: groups }
}

#[test]
fn rows_are_read_back_as_they_were_scored() {
    let mut engine = engine(crate::shipped::BENCH_CONFIG);
    engine.want(Wanted { scores: true, rows: true, state_only: false });
    let plan = crate::simulate::Plan { accounts: 60, events: 900, days: 9, ..Default::default() };
    let mut lines = Vec::new();
    crate::simulate::write_stream(&plan, &mut lines, None, None, &mut |_| {}).unwrap();
    let decoder = engine.decoder();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rows.parquet");
    let mut file = RowFile::create(&path, &engine, true).unwrap();
    // Small groups, so that there are several, cut across batches.
    file.group_rows = 250;
    let label = |s: &ScoreOut| match s.ts_ms % 3 {
        0 => None,
        n => Some(n == 1),
    };
    let (mut leading, mut bits) = (Vec::new(), Vec::new());
    let mut effects = Effects::default();
    let inputs: Vec<Input> = lines
        .split(|b| *b == b'\n')
        .filter(|l| !l.is_empty())
        .map(|l| {
            Input::Event(decoder.event(l, CompactString::default).unwrap(), Default::default())
        })
        .collect();
    for batch in inputs.chunks(128) {
        effects.clear();
        engine.step(batch.iter().cloned(), &mut effects);
        file.push(&effects, label).unwrap();
        for ((s, r), v) in effects
            .scores
            .iter()
            .zip(&effects.rows)
            .zip(effects.row_values.chunks_exact(engine.columns().len()))
        {
            let name = engine.schema().types().get(usize::from(r.type_id));
            leading.push(format!(
                "\"{}\" \"{}\" {} {} {} {}",
                s.event_id,
                s.account,
                s.ts_ms,
                name.map_or("null".into(), |n| format!("\"{n}\"")),
                label(s).map_or("null".into(), |bad| i32::from(bad).to_string()),
                r.known_bad
            ));
            bits.push(v.iter().map(|v| v.to_bits()).collect::<Vec<u32>>());
        }
    }
    let rows = file.close().unwrap();
    assert_eq!(rows as usize, leading.len());
    assert!(leading.iter().any(|l| l.contains(" null ")), "types that are not declared occur");
    let Found { leading: found, bits: values, said, group_rows: groups } = read(&path);
    assert_eq!(found, leading);
    assert!(values == bits, "the bits of the features");
    assert!(groups.len() > 2 && groups.iter().all(|rows| *rows <= 250), "{groups:?}");
    assert_eq!(said[KEY_FEATURES], engine.versions().features);
    assert_eq!((said[KEY_TIES].as_str(), said[KEY_NO_FEEDBACK].as_str()), ("false", "true"));
    assert_eq!(said[KEY_UNIT], "account");
    let categorical: Vec<String> = serde_json::from_str(&said[KEY_CATEGORICAL]).unwrap();
    assert!(categorical.contains(&"event.country".to_string()), "{categorical:?}");
    assert!(categorical.contains(&"event.type".to_string()));
    assert!(!categorical.contains(&"event.amount".to_string()));
}

#[test]
fn awkward_floats_keep_their_bits() {
    let engine = engine("");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rows.parquet");
    let mut file = RowFile::create(&path, &engine, false).unwrap();
    let width = engine.columns().len();
    let awkward =
        [0x7fc0_0000, 0xffc0_0001, 0x7f80_0001, 0x8000_0000, 0, 1, 0xff80_0000, 0x7f80_0000];
    let bits: Vec<u32> = (0..3 * width).map(|i| awkward[i % awkward.len()]).collect();
    let effects = Effects {
        scores: (0..3)
            .map(|i| ScoreOut {
                event_id: CompactString::new(format!("é\"{i}")),
                account: "a".into(),
                ts_ms: i,
                score: 0.5,
            })
            .collect(),
        rows: vec![RowOut { account: 0, type_id: u16::MAX, known_bad: true }; 3],
        row_values: bits.iter().map(|b| f32::from_bits(*b)).collect(),
        ..Effects::default()
    };
    file.push(&effects, |_| None).unwrap();
    assert_eq!(file.close().unwrap(), 3);
    assert_eq!(read(&path).bits.concat(), bits);
}

#[test]
fn no_row_is_a_file_all_the_same_and_a_taken_name_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rows.parquet");
    let engine = engine("");
    assert_eq!(RowFile::create(&path, &engine, false).unwrap().close().unwrap(), 0);
    assert!(read(&path).leading.is_empty());
    let nowhere = folder.path().join("absent/rows.parquet");
    let why = RowFile::create(&nowhere, &engine, false).map(|_| ()).unwrap_err().to_string();
    assert!(why.contains("absent/rows.parquet") && why.contains("hint"), "{why}");
}
