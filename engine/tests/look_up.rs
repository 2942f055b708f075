//! The look-up key says where keys are found, and nothing else depends on it.

mod support;

use engine::{Engine, Options};
use proptest::prelude::*;
use support::streams::{BUSY, messages, steps};
use support::{Message, Run, config, engine};

fn fresh(strict_ties: bool, key: Option<u8>) -> Engine {
    let mut engine = engine(&config(BUSY), None, Options { strict_ties, ..Options::default() });
    if let Some(byte) = key {
        engine.look_up_by([byte; 16]);
    }
    engine
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn outputs_are_the_same_under_every_key_and_over_restarts(
        steps in steps(90), strict_ties in any::<bool>(), size in 1_usize..40, seed in any::<u64>(),
    ) {
        let messages = messages(&steps);
        let mut one = Run::new(fresh(strict_ties, None));
        one.step(&messages);
        one.finish();
        for key in [1, 200] {
            let mut other = Run::new(fresh(strict_ties, Some(key)));
            for batch in messages.chunks(size) {
                other.step(batch);
                // The key is in the state, whatever the new engine was given.
                other.restart(fresh(strict_ties, Some(77)), seed);
                prop_assert_eq!(other.engine.look_up_key(), Some([key; 16]));
            }
            other.finish();
            prop_assert!(one.output.bytes() == other.output.bytes(), "key {}", key);
            other.engine.check_invariants().map_err(|e| TestCaseError::fail(e.to_string()))?;
        }
    }
}

fn event(n: u32) -> Message {
    Message::Event(format!(
        r#"{{"event_id":"e{n}","ts":{},"type":"message","account":"u{n}"}}"#,
        1_700_000_000_000_i64 + i64::from(n)
    ))
}

#[test]
fn a_key_is_taken_by_an_engine_that_knows_nothing() {
    let mut run = Run::new(fresh(false, Some(1)));
    run.engine.look_up_by([2; 16]);
    assert_eq!(run.engine.look_up_key(), Some([2; 16]));
    run.step(&[event(0)]);
    run.engine.look_up_by([3; 16]);
    assert_eq!(run.engine.look_up_key(), Some([2; 16]));
    // A state without a key stays without one.
    let mut old = Run::new(fresh(false, None));
    old.step(&[event(0)]);
    old.restart(fresh(false, Some(9)), 1);
    assert_eq!(old.engine.look_up_key(), None);
    assert!(old.engine.explain("u0").is_some());
    // The secret of `privacy.key` makes one.
    let private = format!("{BUSY}\n[privacy]\nkey = \"a secret of 16 b.\"\n");
    let mut engine = engine(&config(&private), None, Options::default());
    engine.look_up_by([4; 16]);
    assert_eq!(engine.look_up_key(), None);
}

#[test]
fn records_under_two_keys_hold_other_hashes() {
    let records = |key| {
        let mut run = Run::new(fresh(false, Some(key)));
        run.step(&[event(0)]);
        run.save();
        run.records
    };
    let (one, other) = (records(1), records(2));
    let account = |of: &support::Records| {
        of.iter().find(|(key, _)| key.first() == Some(&b'a')).map(|(_, value)| value.clone())
    };
    assert_eq!(account(&one).map(|v| v.len()), account(&other).map(|v| v.len()));
    assert_ne!(account(&one), account(&other));
}
