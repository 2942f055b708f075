//! Random streams: few accounts and things, so that everything meets everything.

use super::Message;
use proptest::prelude::*;
use std::fmt::Write as _;

/// A configuration in which everything happens within a few dozen events: short lives, low thresholds, caps,
/// cool-downs, things that are accounts, means over the other side.
pub const BUSY: &str = r#"
[time]
half_lives = ["1m", "10m", "1h", "1d"]
lateness_max = "1h"
jump_max = "30d"
account_ttl = "6h"
session_gap = "5m"

[events]
types = ["message", "payment"]

[attributes.amount]
type = "number"
[attributes.country]
type = "category"
values = ["NL", "DE"]

[kinds.device]
strong = true
ttl = "4h"
[kinds.ip]
ttl = "2h"
weight = 0.3
[kinds.peer]
is_account = true

[labels]
recent_events_max = 24
recent_age_max = "2d"

[graph]
links_per_account_max = 6
recent_members_max = 3
component_window = "3h"
target_ttl = "2h"

[profiles.account]
numeric = ["amount"]
distinct = ["device", "ip", "target"]
hours = true
sessions = true
neighbours = ["account.events.1m"]
[profiles.target]
distinct = ["account"]
neighbours = ["account.events.1m"]
[profiles.device]
numeric = ["amount"]
distinct = ["account"]
neighbours = ["account.events.1m"]

[[counters]]
name = "events"
windows = ["10m"]
[[counters]]
name = "paid"
types = ["payment"]
sum = "amount"
on = ["account", "device"]

[policy]
cooldown = "20m"
warm_up = "1m"
caps_per_hour = { suspend = 2, review = 2, challenge = 3 }
allow_accounts = ["a7"]
allow_entities = ["ip:i3"]

[[rules]]
name = "watch"
when = "account.events.in_10m >= 2"
action = "review"
shadow = true
[[rules]]
name = "burst"
when = "account.events.in_10m >= 4"
action = "suspend"
expires = "30m"
reason = "{account.events.in_10m} events in ten minutes"
[[rules]]
name = "shared"
when = "graph.device.degree >= 3 || graph.suspicion > 0.1"
action = "review"
cooldown = "5m"
[[rules]]
name = "any"
when = "score > 0.01"
action = "challenge"
cooldown = "1m"
"#;

/// One step of a random stream.
#[derive(Clone, Debug)]
pub enum Step {
    /// An event, at so many milliseconds after (or before) the newest.
    Event {
        gap_ms: i64,
        account: u8,
        target: Option<u8>,
        devices: Vec<u8>,
        ips: Vec<u8>,
        peers: Vec<u8>,
        kind: u8,
        amount: u16,
    },
    /// An earlier event once more, counted back from the newest.
    Again { back: usize },
    /// Another event under the id of an earlier one of its account: of another amount, `gap_ms` after the newest.
    Clash { back: usize, gap_ms: i64, amount: u16 },
    /// A label: 0 good, 1 bad; about an account, an event (counted back), or both; and what it names.
    Label {
        verdict: u8,
        gap_ms: i64,
        account: Option<u8>,
        back: Option<usize>,
        device: Option<u8>,
        confidence: u8,
    },
    /// The order to erase.
    Erase { account: u8 },
}

fn gap() -> impl Strategy<Value = i64> {
    prop_oneof![
        4 => Just(0i64),
        6 => 1i64..90_000,
        3 => 90_000i64..3_600_000,
        1 => 3_600_000i64..40_000_000,
        1 => Just(40 * 86_400_000),
        2 => -3_000_000i64..0,
        1 => -20_000_000i64..-3_600_000,
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let some = |n: u8, most: usize| proptest::collection::vec(0..n, 0..=most);
    let event =
        (
            gap(),
            0u8..8,
            proptest::option::of(0u8..8),
            some(4, 2),
            some(4, 2),
            prop_oneof![4 => Just(vec![]), 1 => some(8, 3)],
            0u8..3,
            any::<u16>(),
        )
            .prop_map(|(gap_ms, account, target, devices, ips, peers, kind, amount)| {
                Step::Event { gap_ms, account, target, devices, ips, peers, kind, amount }
            });
    let label = (
        0u8..2,
        gap(),
        proptest::option::of(0u8..8),
        proptest::option::weighted(0.6, 0usize..30),
        proptest::option::weighted(0.2, 0u8..4),
        prop_oneof![4 => Just(100u8), 1 => Just(60u8), 1 => Just(30u8)],
    )
        .prop_map(|(verdict, gap_ms, account, back, device, confidence)| Step::Label {
            verdict,
            gap_ms,
            account: if back.is_none() { account.or(Some(0)) } else { None },
            back,
            device,
            confidence,
        });
    prop_oneof![
        24 => event,
        3 => (0usize..40).prop_map(|back| Step::Again { back }),
        3 => (0usize..6, prop_oneof![Just(0i64), 0i64..90_000], 0u16..8)
            .prop_map(|(back, gap_ms, amount)| Step::Clash { back, gap_ms, amount }),
        5 => label,
        1 => (0u8..8).prop_map(|account| Step::Erase { account }),
    ]
}

/// So many steps.
pub fn steps(most: usize) -> impl Strategy<Value = Vec<Step>> {
    proptest::collection::vec(step(), 1..most)
}

/// Where time stands after a stream's first message.
pub const START_MS: i64 = 1_000_000_000;

/// The steps as messages, and of each event whether it is one that was delivered before.
pub fn messages(steps: &[Step]) -> Vec<Message> {
    let mut now_ms = START_MS;
    let mut events: Vec<String> = Vec::new();
    let mut out = Vec::new();
    for step in steps {
        match step {
            Step::Event { gap_ms, account, target, devices, ips, peers, kind, amount } => {
                let ts_ms = (now_ms + gap_ms).max(0);
                if *gap_ms < 30 * 86_400_000 {
                    now_ms = now_ms.max(ts_ms);
                }
                let kind = ["message", "payment", "unheard_of"][usize::from(*kind)];
                let mut text = format!(
                    "{{\"event_id\":\"e{}\",\"ts\":{ts_ms},\"type\":\"{kind}\",\"account\":\"a{account}\"",
                    events.len()
                );
                if let Some(target) = target {
                    let _ = write!(text, ",\"target\":\"a{target}\"");
                }
                let list = |name: &str, letter: char, ids: &[u8]| {
                    let keys: Vec<String> =
                        ids.iter().map(|i| format!("\"{letter}{i}\"")).collect();
                    format!("\"{name}\":[{}]", keys.join(","))
                };
                let _ = write!(
                    text,
                    ",\"entities\":{{{},{},{}}},\"attributes\":{{\"amount\":{},\"country\":\"NL\"}}}}",
                    list("device", 'd', devices),
                    list("ip", 'i', ips),
                    list("peer", 'a', peers),
                    f32::from(*amount) / 8.0
                );
                events.push(text.clone());
                out.push(Message::Event(text));
            }
            Step::Again { back } => {
                if let Some(text) = events.len().checked_sub(1 + back).map(|at| events[at].clone())
                {
                    out.push(Message::Event(text));
                }
            }
            Step::Clash { back, gap_ms, amount } => {
                let Some(at) = events.len().checked_sub(1 + back) else { continue };
                let mut event: serde_json::Value = serde_json::from_str(&events[at]).expect("JSON");
                now_ms += gap_ms;
                event["ts"] = now_ms.into();
                event["attributes"]["amount"] = (f32::from(*amount) / 8.0).into();
                events.push(event.to_string());
                out.push(Message::Event(event.to_string()));
            }
            Step::Label { verdict, gap_ms, account, back, device, confidence } => {
                let ts_ms = (now_ms + (*gap_ms).min(1_000_000)).max(0);
                let confidence = f32::from(*confidence) / 100.0;
                let mut text =
                    format!("{{\"label\":{verdict},\"ts\":{ts_ms},\"confidence\":{confidence}");
                if let Some(account) = account {
                    let _ = write!(text, ",\"account\":\"a{account}\"");
                }
                if let Some(back) = back {
                    let _ = write!(
                        text,
                        ",\"event_id\":\"e{}\"",
                        events.len().saturating_sub(1 + back)
                    );
                }
                if let Some(device) = device {
                    let _ = write!(text, ",\"entities\":{{\"device\":\"d{device}\"}}");
                }
                text.push('}');
                out.push(Message::Label(text));
            }
            Step::Erase { account } => {
                out.push(Message::Label(format!(
                    "{{\"type\":\"erase\",\"account\":\"a{account}\",\"ts\":{now_ms}}}"
                )));
            }
        }
    }
    out
}
