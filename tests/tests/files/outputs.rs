//! Where outputs may go.

use crate::bad_input::{CONFIG, event};
use crate::support::Scratch;

/// Nothing that a command uses is written over, by whatever name.
#[test]
fn outputs_are_not_written_over_what_is_used() {
    let s = Scratch::new();
    s.write("conf.toml", CONFIG);
    s.write("in", event(1_767_225_600_000, ""));
    s.write("labels", "");
    for folder in ["state", "model"] {
        std::fs::create_dir(s.path(folder)).expect("a folder can be made");
    }
    let link = |to: &str, name: &str| {
        std::os::unix::fs::symlink(to, s.path(name)).expect("a link can be made");
    };
    link("conf.toml", "to-conf");
    link("state/actions", "into-state");
    link("nowhere", "dangling");
    std::fs::hard_link(s.path("in"), s.path("hard")).expect("a link can be made");
    let base = "run --config conf.toml --input in --labels labels --state state";
    for (outputs, said) in [
        ("--output conf.toml", "conf.toml is read by this command"),
        ("--scores-out to-conf", "to-conf is read by this command"),
        ("--dead-letters hard", "hard is read by this command"),
        ("--output labels", "labels is read by this command"),
        ("--output state/actions", "which belongs to the model or the state"),
        ("--output into-state", "which belongs to the model or the state"),
        ("--output dangling --scores-out nowhere", "nowhere is an output already"),
        ("--output - --scores-out /dev/stdout", "/dev/stdout is an output already"),
        ("--output - --scores-out -", "both to go to standard output"),
    ] {
        let outcome = s.run(&format!("{base} {outputs}"));
        assert_eq!(outcome.code, Some(2), "{outputs}: {}", outcome.stderr);
        assert!(outcome.stderr.contains(said), "{outputs}: {}", outcome.stderr);
    }
    assert_eq!(s.read("conf.toml"), CONFIG.as_bytes());
    s.run(&format!("{base} --output dangling --scores-out /dev/null --dead-letters /dev/null"))
        .good();
    assert!(s.path("nowhere").exists(), "a link to a file that is not there makes it");
}
