//! Clocks that are ahead: of an account, of a stream's first events, of labels. They never move the stream's time, and
//! nothing that is counted becomes invisible by them.

mod support;

use compact_str::CompactString;
use engine::effects::{Effects, SourceRef};
use engine::{Engine, Input, Options, Wanted};
use features::event::Event;
use proptest::prelude::*;
use support::streams::BUSY;
use support::{Message, Run, config, engine};

const START_MS: i64 = 1_500_000_000_000;
const S: i64 = 1_000;
const M: i64 = 60 * S;
const H: i64 = 60 * M;
const D: i64 = 24 * H;

const SPAM: &str = r#"
[events]
types = ["message", "login"]
[kinds.device]
strong = true
[[counters]]
name = "messages"
types = ["message"]
on = ["account", "target", "device"]
windows = ["10m"]
[policy]
warm_up = "0s"
"#;

/// [`SPAM`] with one rule.
fn with_rule(rule: &str) -> String {
    format!("{SPAM}caps_per_hour = {{ suspend = 2 }}\n[[rules]]\nname = \"spam\"\n{rule}\n")
}

fn burst() -> String {
    with_rule("when = \"account.messages.in_10m >= 5\"\naction = \"suspend\"\nexpires = \"1d\"")
}

fn event(engine: &Engine, id: &str, ts_ms: i64) -> Event {
    let text = format!(r#"{{"event_id":"{id}","ts":{ts_ms},"type":"message","account":"a{id}"}}"#);
    engine.decoder().event(text.as_bytes(), CompactString::default).expect("it can be read")
}

/// Accounts and moments of messages, with what else they name.
#[derive(Default)]
struct Stream(Vec<Message>);

impl Stream {
    fn say(&mut self, account: &str, ts_ms: i64, more: &str) -> &mut Self {
        let id = self.0.len();
        self.0.push(Message::Event(format!(
            r#"{{"event_id":"e{id}","ts":{ts_ms},"type":"message","account":"{account}"{more}}}"#
        )));
        self
    }

    /// What is done, as `action account at`, however the stream is cut and whether ties are strict.
    fn actions(&self, toml: &str) -> Vec<(String, String, i64)> {
        let run_of = |strict_ties, batch| {
            let options = Options { strict_ties, ..Options::default() };
            support::run(engine(&config(toml), None, options), &self.0, batch)
        };
        let run = run_of(false, 1);
        assert_eq!(run.output.bytes(), run_of(false, 1_000).output.bytes());
        assert_eq!(run.output.rejects, [], "nothing is lost");
        let text = |v: &serde_json::Value| v.as_str().unwrap_or_default().to_owned();
        let of = |run: &Run| -> Vec<_> {
            let actions = run.output.actions().into_iter();
            actions
                .map(|a| (text(&a["action"]), text(&a["account"]), a["at"].as_i64().unwrap_or(0)))
                .collect()
        };
        // Moments differ here, so that strict ties say the same.
        assert_eq!(of(&run), of(&run_of(true, 7)), "strict ties");
        of(&run)
    }
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
fn event_set_to_the_moment_of_its_taking_is_no_voice() {
    // Taken years after it happened: the moment of being taken is far ahead of the stream.
    let years = START_MS + 2_000 * D;
    assert_eq!(
        taken(&[(false, START_MS), (true, years), (false, START_MS + S)]),
        (START_MS + S, 3, 0)
    );
    // However many they are.
    let many: Vec<_> = [(false, START_MS)].into_iter().chain([(true, years); 70]).collect();
    assert_eq!(taken(&many), (START_MS, 71, 0));
    // A clock that is ten minutes ahead, in a live stream.
    let live = [(false, START_MS), (true, START_MS + 300_000), (false, START_MS + S)];
    assert_eq!(taken(&live), (START_MS + S, 3, 0));
    // One that was taken long ago is not made younger.
    assert_eq!(taken(&[(false, START_MS), (true, START_MS - 60_000)]), (START_MS, 2, 0));
    // Before there is any time, the moment at which it was taken is the best there is.
    assert_eq!(taken(&[(true, START_MS)]), (START_MS, 1, 0));
}

#[test]
fn burst_around_an_own_clock_ahead_is_suspended_once() {
    for lead_ms in [5 * M, 6 * M, 12 * H, 23 * H, 3 * D, 400 * D] {
        for others in [0, 1, 3, 20] {
            for leaps in [1, 2] {
                // Before all of its others, or behind two of them.
                for place in [0, 2] {
                    if others == 0 && (place == 0 || leaps == 2) {
                        // Then the leap is the stream: see Clock::opening, and the clock's own tests.
                        continue;
                    }
                    let mut stream = Stream::default();
                    for n in 0..others {
                        stream.say(&format!("other{n}"), START_MS - M + n * S, "");
                    }
                    for n in 0..10 {
                        if n == place {
                            (0..leaps).for_each(|leap| {
                                stream.say("spammer", START_MS + lead_ms + leap, "");
                            });
                        }
                        stream.say("spammer", START_MS + n * S, "");
                    }
                    let actions = stream.actions(&burst());
                    let case = format!(
                        "{lead_ms} ms ahead, {others} others, {leaps} at {place}: {actions:?}"
                    );
                    assert_eq!(actions.len(), 1, "{case}");
                    assert_eq!((&*actions[0].0, &*actions[0].1), ("suspend", "spammer"), "{case}");
                    assert!(actions[0].2 <= START_MS + 10 * S, "{case}");
                }
            }
        }
    }
}

#[test]
fn burst_of_events_that_are_all_ahead_is_suspended() {
    for lead_ms in [12 * H, 400 * D] {
        let mut stream = Stream::default();
        for n in 0..200 {
            stream.say(&format!("other{}", n % 20), START_MS + n * S, "");
            stream.say("spammer", START_MS + n * S + lead_ms, "");
        }
        let of_spammer: Vec<_> =
            stream.actions(&burst()).into_iter().filter(|a| a.1 == "spammer").collect();
        assert_eq!(of_spammer.len(), 1, "{of_spammer:?}");
        assert!(of_spammer[0].2 <= START_MS + 10 * S, "{of_spammer:?}");
    }
}

#[test]
fn thing_or_target_of_an_event_ahead_keeps_its_windows() {
    for (rule, more) in [
        ("device.messages.in_10m >= 5", r#","entities":{"device":"d1"}"#),
        ("target.received.messages.in_10m >= 5", r#","target":"victim""#),
    ] {
        let toml = with_rule(&format!("when = \"{rule}\"\naction = \"review\"\ncooldown = \"1d\""));
        let mut stream = Stream::default();
        for n in 0..30 {
            stream.say(&format!("other{n}"), START_MS + (n - 30) * M, "");
        }
        stream.say("liar", START_MS + 12 * H, more);
        for n in 0..8 {
            stream.say(&format!("new{n}"), START_MS + n * S, more);
        }
        let actions = stream.actions(&toml);
        let who: Vec<&str> = actions.iter().map(|a| &*a.1).collect();
        assert_eq!(who, ["new3", "new4", "new5", "new6", "new7"], "{rule}");
    }
}

#[test]
fn quiet_weekend_does_not_join_what_it_parts() {
    // Three messages on Friday and three on Monday are no burst of six.
    for accounts in [1, 2, 3, 12, 80] {
        let mut stream = Stream::default();
        for day in [0, 3] {
            for message in 0..3 {
                for n in 0..accounts {
                    let ts_ms = START_MS + day * D + message * M + n * 100;
                    stream.say(&format!("a{n}"), ts_ms, "");
                }
            }
        }
        if accounts < 80 {
            assert_eq!(stream.actions(&burst()), [], "{accounts} accounts");
        }
        let mut run = support::run(engine(&config(SPAM), None, Options::default()), &stream.0, 9);
        assert_eq!(run.engine.watermark_ms(), START_MS + 3 * D + 2 * M + (accounts - 1) * 100);
        assert_eq!(run.engine.counts().too_late, 0);
        run.save();
    }
}

#[test]
fn hour_of_the_caps_is_not_moved_by_a_clock_ahead() {
    let mut stream = Stream::default();
    let burst_at = |stream: &mut Stream, who: &str, ts_ms: i64| {
        (0..5).for_each(|n| {
            stream.say(who, ts_ms + n * S, "");
        });
    };
    let others = |stream: &mut Stream, hour: i64| {
        (0..60).for_each(|n| {
            stream.say(&format!("other{n}"), START_MS + hour * H + n * M + 30 * S, "");
        });
    };
    others(&mut stream, -1);
    // The fifth message, at which it acts, is ahead by a year.
    (0..4).for_each(|n| {
        stream.say("liar", START_MS + n * S, "");
    });
    stream.say("liar", START_MS + 365 * D, "").say("liar", START_MS + 365 * D + 1, "");
    for hour in 0..4 {
        for n in 0..3 {
            burst_at(
                &mut stream,
                &format!("spammer{hour}-{n}"),
                START_MS + hour * H + (n + 1) * 5 * S,
            );
        }
        others(&mut stream, hour);
    }
    let actions = stream.actions(&burst());
    let suspended = |hour: i64| {
        let within = |at: &i64| (START_MS + hour * H..START_MS + (hour + 1) * H).contains(at);
        actions.iter().filter(|a| a.0 == "suspend" && within(&a.2)).count()
    };
    assert_eq!([0, 1, 2, 3].map(suspended), [2, 2, 2, 2], "two an hour: {actions:?}");
    assert!(actions.iter().all(|a| a.2 < START_MS + 4 * H), "{actions:?}");
}

#[test]
fn cooldown_and_end_of_an_event_ahead_run_from_now() {
    let toml = with_rule(
        "when = \"account.messages.in_10m >= 5\"\naction = \"challenge\"\nexpires = \"30m\"\ncooldown = \"30m\"",
    );
    let mut stream = Stream::default();
    for hour in 0..3 {
        for n in 0..20 {
            stream.say(&format!("other{n}"), START_MS + hour * H - 20 * M + n * M, "");
        }
        for n in 0..4 {
            stream.say("spammer", START_MS + hour * H + n * S, "");
        }
        // At its word only the first time; the second is within sight of its windows.
        let ahead_ms = START_MS + hour * H + 300 * D;
        stream.say("spammer", ahead_ms, "").say("spammer", ahead_ms + 1, "");
    }
    let at: Vec<i64> = stream.actions(&toml).iter().map(|a| (a.2 - START_MS) / M).collect();
    assert_eq!(at, [0, 60, 120], "once an hour");
}

#[test]
fn cooldown_and_end_of_a_late_event_run_from_the_streams_time() {
    for (late_ms, unit) in
        [(0, "account"), (2 * M, "account"), (20 * H, "account"), (20 * H, "event")]
    {
        let toml = with_rule(
            "when = \"account.messages.in_10m >= 5\"\naction = \"challenge\"\nexpires = \"30m\"\ncooldown = \"30m\"",
        );
        let toml = format!("[labels]\nunit = \"{unit}\"\n{toml}");
        let mut stream = Stream::default();
        for minute in 0..60 {
            for n in 0..5 {
                stream.say(&format!("other{n}"), START_MS + minute * M, "");
            }
            stream.say("behind", START_MS + minute * M - late_ms, "");
        }
        let mut run = Run::new(engine(&config(&toml), None, Options::default()));
        run.step(&stream.0);
        let actions: Vec<_> = run.output.actions();
        let of = |name: &str| -> Vec<Option<i64>> {
            let own = actions.iter().filter(|a| a["account"] == "behind");
            own.map(|a| a[name].as_i64().map(|ms| (ms - START_MS) / M)).collect()
        };
        let case = format!("{late_ms} ms late: {actions:?}");
        // From the fifth event on, and again once the first has ended.
        assert_eq!(of("at"), [Some(4 - late_ms / M), Some(34 - late_ms / M)], "{case}");
        assert_eq!(of("expires_at"), [Some(34), Some(64)], "{case}");
        let decided = if late_ms == 0 { [None, None] } else { [Some(4), Some(34)] };
        assert_eq!(of("decided_at"), decided, "{case}");
    }
}

#[test]
fn label_that_is_ahead_undoes_what_is_in_force() {
    let toml = with_rule(
        "when = \"account.messages.in_10m >= 5\"\naction = \"suspend\"\nexpires = \"2h\"",
    );
    for lead_ms in [0, H, 3 * H, D, 400 * D] {
        let mut stream = Stream::default();
        for n in 0..6 {
            stream.say("a", START_MS + n * S, "");
        }
        let ts_ms = START_MS + 6 * S + lead_ms;
        let mut messages = stream.0;
        messages.push(Message::Label(format!(r#"{{"account":"a","label":0,"ts":{ts_ms}}}"#)));
        let mut run = Run::new(engine(&config(&toml), None, Options::default()));
        run.step(&messages);
        let actions: Vec<String> =
            run.output.actions().iter().map(|a| a["action"].to_string()).collect();
        assert_eq!(actions, ["\"suspend\"", "\"reverse\""], "{lead_ms} ms ahead");
    }
}

#[test]
fn label_of_the_year_9999_does_not_decide_for_ever() {
    let label = |verdict: u8, ts_ms: i64| {
        Message::Label(format!(r#"{{"account":"a","label":{verdict},"ts":{ts_ms}}}"#))
    };
    let mut stream = Stream::default();
    stream.say("a", START_MS, "").say("b", START_MS + S, "");
    let mut messages = stream.0;
    messages.push(label(1, 253_402_300_799_999));
    let mut run = Run::new(engine(&config(SPAM), None, Options::default()));
    run.step(&messages);
    let bad = |run: &Run| run.engine.explain("a").expect("known").label == "bad";
    assert!(bad(&run));
    // It counts as of a day past the stream's time at most.
    run.step(&[label(0, START_MS + D + 2 * S)]);
    assert!(!bad(&run));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    /// In a crowd, the windows of an account whose clock is ahead now and then hold what a list of its events says, each at
    /// the moment of the stream at which it came.
    #[test]
    fn windows_count_what_a_list_counts(
        steps in proptest::collection::vec((0u8..12, 1i64..20_000, proptest::option::weighted(0.3, 0usize..6)), 50..300),
        strict_ties in any::<bool>(),
    ) {
        // Enough are known from the start that no few leaps in a row are believed.
        let crowd = (0..22u8).map(|n| (1 + n % 11, 1_000i64, None));
        let steps: Vec<(u8, i64, Option<usize>)> = crowd.chain(steps).collect();
        let leads = [2 * M, 5 * M, 12 * H, 20 * H, 5 * D, 400 * D];
        let mut engine = Engine::new(config(SPAM), None, Options { strict_ties, ..Options::default() }).expect("it fits");
        engine.want(Wanted { rows: true, state_only: true, ..Wanted::default() });
        let column = engine.columns().iter().position(|c| c == "account.messages.in_10m").expect("it is there");
        let width = engine.columns().len();
        let mut effects = Effects::default();
        let (mut now_ms, mut inputs, mut list) = (START_MS, Vec::new(), Vec::new());
        let mut expected = Vec::new();
        for (n, (account, gap_ms, lead)) in steps.iter().enumerate() {
            now_ms += gap_ms;
            // Only the first of them lies.
            let lead = lead.filter(|_| *account == 0);
            let ts_ms = now_ms + lead.map_or(0, |lead| leads[lead]);
            let text = format!(r#"{{"event_id":"e{n}","ts":{ts_ms},"type":"message","account":"a{account}"}}"#);
            let event = engine.decoder().event(text.as_bytes(), CompactString::default).expect("it is read");
            inputs.push(Input::Event(event, SourceRef::default()));
            if *account == 0 {
                list.push(now_ms);
            }
            // Those that surely lie in the window: a clock that is five minutes ahead is a step, and the oldest tile counts in part.
            let surely = list.iter().filter(|at| now_ms - **at < 4 * M).count();
            expected.push((*account == 0 && lead.is_none()).then_some((surely, list.len())));
        }
        engine.step(inputs, &mut effects);
        engine.finish(&mut effects);
        prop_assert_eq!(effects.rows.len(), steps.len());
        for (n, expected) in expected.iter().enumerate() {
            let found = effects.row_values[n * width + column];
            if let Some((surely, all)) = expected {
                prop_assert!(found >= *surely as f32 - 1e-3 && found <= *all as f32, "event {n}: {found}, {surely} of {all}");
            }
        }
    }
}
