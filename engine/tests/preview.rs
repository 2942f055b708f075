//! A preview says what the line says next, and leaves no trace.

mod support;

use engine::effects::{Effects, SourceRef};
use engine::{Engine, Input, Options, Preview, Unscored};
use features::event::Event;
use models::bundle::Bundle;
use proptest::prelude::*;
use std::sync::LazyLock;
use support::streams::{BUSY, messages, steps};
use support::{Message, Run, config, engine};

static FOREST: LazyLock<Bundle> = LazyLock::new(|| support::forest(&config(BUSY), 9));

fn fresh(forest: bool) -> Engine {
    engine(&config(BUSY), forest.then_some(&*FOREST), Options::default())
}

fn event(run: &Run, text: &str) -> Event {
    run.decoder.event(text.as_bytes(), || unreachable!("they have ids")).expect("it is read")
}

/// Bits of the score, and the actions as bytes; or why not.
type Said = Result<(u32, Vec<u8>), String>;

fn of_preview(engine: &Engine, found: Result<Preview, Unscored>) -> Said {
    let preview = found.map_err(|why| match why {
        Unscored::Rejected(reject) => reject.code.as_str().to_string(),
        Unscored::Redelivered => "redelivered".into(),
        Unscored::StrictTies => unreachable!("not here"),
    })?;
    let score = preview.score().to_bits();
    let mut bytes = Vec::new();
    for action in preview.finish(&engine.finisher()).2 {
        action.write(&mut bytes);
    }
    Ok((score, bytes))
}

fn of_step(engine: &mut Engine, event: Event, source: SourceRef) -> Said {
    let mut effects = Effects::default();
    engine.step([Input::Event(event, source)], &mut effects);
    if let Some((_, reject)) = effects.rejects.first() {
        return Err(reject.code.as_str().into());
    }
    let score = effects.scores.first().ok_or("redelivered")?.score.to_bits();
    let mut bytes = Vec::new();
    for draft in effects.actions {
        engine.finisher().finish(draft).write(&mut bytes);
    }
    Ok((score, bytes))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_preview_is_what_step_says_next_and_leaves_no_trace(
        steps in steps(90),
        forest in any::<bool>(),
        others in proptest::collection::vec(any::<usize>(), 1..20),
        saves in 1usize..12,
    ) {
        let messages = messages(&steps);
        let events: Vec<&String> = messages
            .iter()
            .filter_map(|m| match m { Message::Event(text) => Some(text), Message::Label(_) => None })
            .collect();
        // One engine is asked all the time, its twin never.
        let (mut asked, mut plain) = (Run::new(fresh(forest)), Run::new(fresh(forest)));
        for (at, message) in messages.iter().enumerate() {
            if !events.is_empty() {
                // An event of any time of the stream, under an id of its own: what it says is not looked at.
                let text = events[others[at % others.len()] % events.len()];
                let other = text.replacen("\"event_id\":\"", "\"event_id\":\"other-", 1);
                let other = event(&asked, &other);
                let _ = asked.engine.preview(other, SourceRef::default());
            }
            match message {
                Message::Event(text) => {
                    let source = SourceRef { partition: 3, offset: at as i64, ..SourceRef::default() };
                    let (one, two) = (event(&asked, text), event(&plain, text));
                    let found = asked.engine.preview(one.clone(), source);
                    let said = of_preview(&asked.engine, found);
                    let stepped = of_step(&mut asked.engine, one, source);
                    prop_assert_eq!(&said, &stepped, "preview and step, message {}", at);
                    prop_assert_eq!(&stepped, &of_step(&mut plain.engine, two, source), "both engines, message {}", at);
                }
                Message::Label(_) => {
                    asked.step(std::slice::from_ref(message));
                    plain.step(std::slice::from_ref(message));
                }
            }
            prop_assert_eq!(asked.engine.counts(), plain.engine.counts());
            if at % saves == 0 {
                asked.save();
                plain.save();
                prop_assert!(asked.records == plain.records, "records differ after message {}", at);
                if let Err(broken) = asked.engine.check_invariants() {
                    return Err(TestCaseError::fail(broken.to_string()));
                }
            }
        }
        asked.save();
        plain.save();
        prop_assert!(asked.records == plain.records, "records differ at the end");
    }
}

#[test]
fn a_preview_marks_nothing_as_changed() {
    let mut run = Run::new(fresh(false));
    let text = r#"{"event_id":"e1","ts":1000000000,"type":"message","account":"a1","target":"a2","entities":{"device":"d1"}}"#;
    run.step(&[Message::Event(text.into())]);
    run.save();
    let next = text.replace("e1", "e2").replace("a1", "new").replace("1000000000", "1000090000");
    let event = event(&run, &next);
    run.engine.preview(event, SourceRef::default()).expect("a score");
    let mut changed = Vec::new();
    run.engine.save_changes(&mut |key, _| changed.push(key[0]));
    assert_eq!(
        changed, b"cg",
        "clocks and globals are always written, and nothing else was touched"
    );
    assert!(run.engine.explain("new").is_none());
}

#[test]
fn strict_ties_cannot_be_previewed() {
    let options = Options { strict_ties: true, ..Options::default() };
    let mut run = Run::new(engine(&config(BUSY), None, options));
    let event = event(&run, r#"{"event_id":"e1","ts":1000000000,"type":"message","account":"a1"}"#);
    assert!(matches!(run.engine.preview(event, SourceRef::default()), Err(Unscored::StrictTies)));
}
