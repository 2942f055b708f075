//! An account that is to be erased leaves no trace in Redis, under no key and in no value, and a silent replay brings none back.

use crate::conservation::{configured, lines};
use crate::instance::{Instance, Setup};
use crate::stack::Stack;
use crate::support::{json_lines, stream};
use engine::intern::KeyHasher;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// Longest wait for what checkpoints do.
const PATIENCE: Duration = Duration::from_secs(60);

/// What says that an account was there, as bytes, each with what it is.
struct Traces {
    prefix: String,
    all: Vec<(String, Vec<u8>)>,
}

impl Traces {
    /// The account's id, what is made of it, and the ids of its events and actions.
    fn of(prefix: &str, account: &str, events: &[Value], actions: &[Value]) -> Self {
        let secret = Sha256::digest(b"detector look-up key, no secret configured");
        let hasher = KeyHasher::new(secret[..16].try_into().expect("16 bytes"));
        let mut all = vec![
            ("its id".to_owned(), account.as_bytes().to_vec()),
            ("its id in hex".to_owned(), hex(account.as_bytes()).into_bytes()),
        ];
        let mut hash = |what: String, hash: u64| {
            all.push((format!("{what}, little-endian"), hash.to_le_bytes().to_vec()));
            all.push((format!("{what}, big-endian"), hash.to_be_bytes().to_vec()));
            all.push((format!("{what} as a number"), hash.to_string().into_bytes()));
            all.push((format!("{what} in hex"), format!("{hash:016x}").into_bytes()));
        };
        hash("the hash of its id".into(), hasher.hash(0, account));
        for event in events {
            let id = event["event_id"].as_str().expect("it has an id");
            hash(format!("the hash of its event {id}"), hasher.hash(255, id));
        }
        for action in actions {
            let id = action["action_id"].as_str().expect("it has an id");
            all.push((format!("action {id} as text"), id.as_bytes().to_vec()));
            let bytes = (0..id.len()).step_by(2).map(|at| u8::from_str_radix(&id[at..at + 2], 16));
            all.push((format!("action {id}"), bytes.collect::<Result<_, _>>().expect("hex")));
        }
        Self { prefix: prefix.to_owned(), all }
    }

    /// Where in Redis any of it stands.
    fn found(&self, stack: &Stack) -> BTreeSet<String> {
        let client = redis::Client::open(stack.redis()).expect("an address");
        let mut redis = client.get_connection().expect("it answers");
        let keys: Vec<Vec<u8>> = redis::cmd("KEYS")
            .arg(format!("{}*", self.prefix))
            .query(&mut redis)
            .expect("it answers");
        let mut found = BTreeSet::new();
        for key in keys {
            let kind: String = redis::cmd("TYPE").arg(&key).query(&mut redis).expect("it answers");
            let values: Vec<Vec<u8>> = match kind.as_str() {
                "string" => vec![redis::cmd("GET").arg(&key).query(&mut redis).expect("a value")],
                "hash" => redis::cmd("HGETALL").arg(&key).query(&mut redis).expect("fields"),
                "none" => continue,
                other => panic!("a key of type {other}"),
            };
            for (what, trace) in &self.all {
                let holds = |bytes: &[u8]| bytes.windows(trace.len()).any(|w| w == &trace[..]);
                if holds(&key) || values.iter().any(|value| holds(value)) {
                    found.insert(format!("{what} in {}", String::from_utf8_lossy(&key)));
                }
            }
        }
        found
    }

    #[track_caller]
    fn wait_until_none(&self, stack: &Stack, service: &Instance) {
        let until = Instant::now() + PATIENCE;
        loop {
            let found = self.found(stack);
            if found.is_empty() {
                return;
            }
            assert!(Instant::now() < until, "left of it: {found:#?}\n{}", service.log());
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn of_account(all: &[Value], account: &str) -> Vec<Value> {
    all.iter().filter(|value| value["account"] == account).cloned().collect()
}

#[test]
fn an_erased_account_leaves_no_trace_and_a_replay_brings_none_back() {
    let stack = Stack::up();
    let s = configured();
    let events = json_lines(&stream().events);
    let labels = lines(&stream().labels);
    let newest = events.iter().filter_map(|e| e["ts"].as_i64()).max().expect("there are events");
    let often = [("DETECTOR__STATE__CHECKPOINT_EVERY", "500ms")];
    let never = [("DETECTOR__STATE__CHECKPOINT_EVERY", "1h")];

    for (prefix, checkpoints) in [("live-", &often), ("again-", &never)] {
        stack.topics(prefix, 1);
        let setup = Setup { stack: &stack, scratch: &s, prefix, delivery: "exactly_once" };
        let topic = |name: &str| format!("{prefix}{name}");
        let mut service = setup.start_as(&[], checkpoints);
        stack.produce(&topic("events"), &lines(&stream().events));
        service.idle();
        stack.produce(&topic("labels"), &labels);
        service.idle();
        let actions: Vec<Value> = stack
            .consume(&topic("actions"))
            .iter()
            .map(|r| serde_json::from_str(&r.value).expect("an action is JSON"))
            .collect();
        // One that was acted against, and that others did something to.
        let account = actions
            .iter()
            .filter(|a| a["shadow"] == false)
            .filter_map(|a| a["account"].as_str())
            .find(|a| events.iter().any(|e| e["target"] == **a))
            .or_else(|| actions[0]["account"].as_str())
            .expect("somebody was acted against")
            .to_owned();
        let traces = Traces::of(
            prefix,
            &account,
            &of_account(&events, &account),
            &of_account(&actions, &account),
        );
        let path = format!("/v1/accounts/{account}");
        assert_eq!(service.get(&path).expect("it answers").0, 200);
        if checkpoints == &often {
            let found = traces.found(&stack);
            assert!(found.len() > 2, "what is looked for can be found: {found:?}");
        }
        let erase = json!({"type": "erase", "account": account, "ts": newest + 1}).to_string();
        stack.produce(&topic("labels"), &[erase]);
        service.wait_for_metric("detector_erased_total", 1.0);
        assert_eq!(service.get(&path).expect("it answers").0, 404);
        if checkpoints == &often {
            traces.wait_until_none(&stack, &service);
            service.stop();
            assert_eq!(traces.found(&stack), BTreeSet::new());
            continue;
        }

        // Its state is that of the beginning: all is taken again, and the actions of then are read back.
        service.idle();
        service.kill();
        let mut service = setup.start_as(&[], &often);
        service.idle();
        assert_eq!(service.get(&path).expect("it answers").0, 404);
        traces.wait_until_none(&stack, &service);
        service.stop();

        // It comes back, and is a new one, also after a replay: what was done to the old one is not done to it.
        let mut service = setup.start_as(&[], &never);
        let mut back = of_account(&events, &account)[0].clone();
        (back["ts"], back["event_id"]) = (json!(newest + 2), json!("back"));
        stack.produce(&topic("events"), &[back.to_string()]);
        service.idle();
        let erase = json!({"type": "erase", "account": account, "ts": newest + 3}).to_string();
        stack.produce(&topic("labels"), &[erase]);
        service.idle();
        (back["ts"], back["event_id"]) = (json!(newest + 4), json!("back again"));
        stack.produce(&topic("events"), &[back.to_string()]);
        service.idle();
        let (status, live) = service.get(&path).expect("it answers");
        assert_eq!((status, &live["profile"]["account.events"]), (200, &json!(1.0)), "{live}");
        service.kill();
        let mut service = setup.start_as(&[], &often);
        service.idle();
        let (status, again) = service.get(&path).expect("it answers");
        assert_eq!(status, 200);
        for field in ["last_action", "quiet", "profile", "label"] {
            assert_eq!(again[field], live[field], "{field} after a replay");
        }
        service.stop();
    }
}
