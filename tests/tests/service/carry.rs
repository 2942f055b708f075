//! Another feature set goes on with the state that there is: what means the same is kept, what is new begins empty.

use crate::conservation::{configured, lines, profiles};
use crate::instance::Setup;
use crate::stack::Stack;
use crate::support::{json_lines, stream};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

const COUNTER: &str = r#"
[[counters]]
name = "brand_new"
types = []
on = ["account"]
windows = ["10m"]
"#;

/// The columns that both have.
fn common(one: &Value, other: &Value) -> (BTreeMap<String, Value>, BTreeMap<String, Value>) {
    let of = |value: &Value, other: &Value| -> BTreeMap<String, Value> {
        let columns = value.as_object().expect("columns").iter();
        let both = columns.filter(|(name, _)| other.get(name).is_some());
        both.map(|(name, value)| (name.clone(), value.clone())).collect()
    };
    (of(one, other), of(other, one))
}

#[test]
fn another_feature_set_goes_on_with_the_old_state() {
    let stack = Stack::up();
    let s = configured();
    stack.topics("c-", 1);
    let setup = Setup { stack: &stack, scratch: &s, prefix: "c-", delivery: "exactly_once" };
    let events = lines(&stream().events);
    let half = events.len() / 2;
    let accounts: BTreeSet<String> = json_lines(&stream().events)[..half]
        .iter()
        .filter_map(|e| e["account"].as_str())
        .map(str::to_owned)
        .take(200)
        .collect();
    let mut service = setup.start();
    stack.produce("c-events", &events[..half]);
    service.idle();
    let before = profiles(&service, &accounts);
    service.stop();

    // Another graph is another state.
    let config = &stream().config;
    assert!(config.contains("links_per_account_max = "), "{config}");
    s.write(
        "conf/detector.toml",
        config.replace("links_per_account_max = ", "links_per_account_max = 1"),
    );
    let refused = setup.start().ended();
    assert!(
        refused.contains("--rebuild-from earliest") && refused.contains("[graph]"),
        "{refused}"
    );

    // One counter more, in the middle of the bytes, and one less.
    let first = config.find("[[counters]]").expect("there are counters");
    let changed = format!("{}{COUNTER}\n{}", &config[..first], &config[first..]);
    let changed = changed.replace(
        "name = \"block\"\ntypes = [\"block\"]",
        "name = \"was_block\"\ntypes = [\"block\"]",
    );
    s.write("conf/detector.toml", changed);
    let mut service = setup.start();
    service.idle();
    assert!(service.has_said("carried over"), "{}", service.log());
    let after = profiles(&service, &accounts);
    let mut columns = 0;
    for account in &accounts {
        let (was, is) = common(&before[account], &after[account]);
        columns = is.len();
        assert_eq!(was, is, "{account}");
        assert!(after[account].get("account.brand_new.10m").is_none_or(|v| *v == 0.0));
    }
    assert!(columns > 20, "{columns} columns are compared");
    stack.produce("c-events", &events[half..]);
    service.idle();
    let now = profiles(&service, &accounts);
    let moved = |profile: &Value| profile["account.brand_new.10d"].as_f64() > Some(0.0);
    assert!(now.values().any(moved), "the new counter counts");
    service.kill();

    // From here on the state is of the new feature set.
    let mut service = setup.start();
    service.idle();
    assert_eq!(profiles(&service, &accounts), now);
    service.stop();
    assert_eq!(stack.consume("c-scores").len(), events.len(), "each event is scored once");
}
