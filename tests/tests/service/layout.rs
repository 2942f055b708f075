//! Another program reads profiles from Redis with what is published beside them.

use crate::conservation::{configured, lines};
use crate::instance::Setup;
use crate::stack::Stack;
use crate::support::{json_lines, stream};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/python");

/// Python with the library that the example needs, in a folder below `target`; made once and kept until the requirements change.
fn python() -> PathBuf {
    let requirements = Path::new(EXAMPLES).join("requirements-redis.txt");
    let wanted = std::fs::read_to_string(&requirements).expect("the requirements are there");
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("python-redis");
    let (python, mark) = (folder.join("venv/bin/python"), folder.join("requirements.txt"));
    if python.exists() && std::fs::read_to_string(&mark).is_ok_and(|have| have == wanted) {
        return python;
    }
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).expect("a folder can be made");
    let command = format!(
        "python3 -m venv {0} && {0}/bin/python -m pip install -q -r {1} && cp {1} {2}",
        folder.join("venv").display(),
        requirements.display(),
        mark.display()
    );
    let made = Command::new("sh").arg("-c").arg(&command).output().expect("a shell");
    assert!(
        made.status.success(),
        "Python's client of Redis could not be installed; where it can, run\n\n    {command}\n\nand then this test again.\n{}",
        String::from_utf8_lossy(&made.stderr)
    );
    python
}

#[test]
fn the_example_reads_what_the_service_knows() {
    let python = python();
    let stack = Stack::up();
    let s = configured();
    stack.topics("y-", 1);
    let setup = Setup { stack: &stack, scratch: &s, prefix: "y-", delivery: "exactly_once" };
    let mut service = setup.start();
    stack.produce("y-events", &lines(&stream().events));
    service.idle();
    let events = json_lines(&stream().events);
    let account = events[events.len() / 2]["account"].as_str().expect("it has one").to_owned();
    let (_, known) = service.get(&format!("/v1/accounts/{account}")).expect("it answers");
    service.stop();

    let run = |kind: &str, key: &str| {
        Command::new(&python)
            .arg(Path::new(EXAMPLES).join("read_profile.py"))
            .args([kind, key])
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("REDIS_URL", stack.redis())
            .env("DETECTOR_PREFIX", "y-det:")
            .output()
            .expect("python runs")
    };
    let read = |kind: &str, key: &str| {
        let out = run(kind, key);
        let said = String::from_utf8_lossy(&out.stdout).into_owned();
        assert!(out.status.success(), "{said}{}", String::from_utf8_lossy(&out.stderr));
        let fields = said.lines().filter_map(|line| line.split_once(' '));
        fields
            .map(|(name, values)| (name.to_owned(), values.to_owned()))
            .collect::<BTreeMap<_, _>>()
    };
    let profile = read("account", &account);
    let own: Vec<&Value> = events.iter().filter(|e| e["account"] == *account).collect();
    assert_eq!(profile["account.head.events"], own.len().to_string());
    let times = own.iter().filter_map(|e| e["ts"].as_i64());
    assert_eq!(profile["account.head.last_ms"], times.max().expect("it did something").to_string());
    assert_eq!(known["profile"]["account.events"].as_f64(), Some(own.len() as f64), "{known}");
    assert!(profile.keys().filter(|name| name.starts_with("account.counter.")).count() > 1);

    // A thing that its events name.
    let (kind, key) = own[0]["entities"]
        .as_object()
        .and_then(|entities| entities.iter().find(|(_, key)| key.is_string()))
        .map(|(kind, key)| (kind.clone(), key.as_str().unwrap_or_default().to_owned()))
        .expect("it used something");
    let uses = events.iter().filter(|e| e["entities"][&kind] == *key).count();
    assert_eq!(read(&kind, &key)[&format!("{kind}.head.events")], uses.to_string());

    // A value that was changed behind the service's back.
    let changed = Command::new("redis-cli")
        .args(["-u", stack.redis(), "setrange", &format!("y-det:{{s000}}:p:account:{account}")])
        .args(["60", "changed"])
        .output()
        .expect("redis-cli runs");
    assert!(changed.status.success(), "{changed:?}");
    let out = run("account", &account);
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(!out.status.success() && said.contains("the value is damaged"), "{said}");
}
