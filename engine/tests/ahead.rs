//! An event whose time is ahead of every clock never moves the watermark, whatever the stream's own time is.

mod support;

use compact_str::CompactString;
use engine::effects::{Effects, SourceRef};
use engine::{Engine, Input, Options};
use features::event::Event;
use support::streams::BUSY;
use support::{config, engine};

const START_MS: i64 = 1_500_000_000_000;

fn event(engine: &Engine, id: &str, ts_ms: i64) -> Event {
    let text = format!(r#"{{"event_id":"{id}","ts":{ts_ms},"type":"message","account":"a{id}"}}"#);
    engine.decoder().event(text.as_bytes(), CompactString::default).expect("it can be read")
}

fn taken(inputs: &[(bool, i64)]) -> (i64, u64, u64) {
    let mut engine = engine(&config(BUSY), None, Options::default());
    let mut effects = Effects::default();
    let source = SourceRef::default();
    let batch: Vec<Input> = inputs
        .iter()
        .enumerate()
        .map(|(id, &(ahead, ts_ms))| {
            let event = event(&engine, &id.to_string(), ts_ms);
            if ahead { Input::Ahead(event, source) } else { Input::Event(event, source) }
        })
        .collect();
    engine.step(batch, &mut effects);
    (engine.watermark_ms(), engine.counts().events, engine.counts().too_late)
}

#[test]
fn old_events_stay_in_time_beside_one_that_is_ahead() {
    let day_ms = 86_400_000;
    // Taken years after it happened: the moment of being taken is far ahead of the stream.
    let years = START_MS + 2_000 * day_ms;
    let stream = [(false, START_MS), (true, years), (false, START_MS + 1_000)];
    assert_eq!(taken(&stream), (START_MS + 1_000, 3, 0));
    // A clock that is ten minutes ahead, in a live stream.
    let live = [(false, START_MS), (true, START_MS + 300_000), (false, START_MS + 1_000)];
    assert_eq!(taken(&live), (START_MS + 1_000, 3, 0));
    // One that was taken long ago is not made younger.
    assert_eq!(taken(&[(false, START_MS), (true, START_MS - 60_000)]), (START_MS, 2, 0));
    // Before there is any time, the moment at which it was taken is the best there is.
    assert_eq!(taken(&[(true, START_MS)]), (START_MS, 1, 0));
}
