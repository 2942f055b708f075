//! Under a real-time policy, what no message waits for does not have it.

use crate::stack::Stack;
use e2e::process::policy;
use std::process::Command;

type Thread = (String, (&'static str, u64));

/// Name, policy and priority of each thread.
fn threads(id: &str) -> Vec<Thread> {
    let tasks = std::fs::read_dir(format!("/proc/{id}/task")).expect("it runs");
    let thread = |task: std::io::Result<std::fs::DirEntry>| {
        let task = format!("{id}/task/{}", task.ok()?.file_name().display());
        let name = std::fs::read_to_string(format!("/proc/{task}/comm")).ok()?;
        Some((name.trim_end().to_owned(), policy(&task)?))
    };
    tasks.filter_map(thread).collect()
}

/// What is started from this thread has the policy too.
fn take(words: &[&str]) -> bool {
    let thread = std::fs::read_link("/proc/thread-self").expect("this is Linux");
    let thread = thread.file_name().expect("it ends with its number");
    let done = Command::new("chrt").args(["-p"]).args(words).arg(thread).output();
    done.expect("chrt is in util-linux").status.success()
}

#[test]
fn what_no_message_waits_for_does_not_have_it() {
    // Without the privilege there is nobody who would have to come after them.
    let real_time = take(&["-r", "1"]);
    assert!(real_time || take(&["-b", "0"]), "SCHED_BATCH is for everybody");
    let stack = Stack::up();
    let id = stack.variable("REDIS_PID");

    let (all, compiler) = match real_time {
        true => (("rr", 1), ("other", 0)),
        false => (("batch", 0), ("batch", 0)),
    };
    let (compilers, others): (Vec<Thread>, Vec<Thread>) = threads(stack.variable("KAFKA_PID"))
        .into_iter()
        .partition(|(name, _)| name.starts_with("C1 ") || name.starts_with("C2 "));
    for (found, expected) in [(compilers, compiler), (others, all), (threads(id), all)] {
        assert!(!found.is_empty());
        assert!(found.iter().all(|(_, policy)| *policy == expected), "{expected:?}: {found:?}");
    }
    // The child that rewrites its file has the usual policy.
    let said = Command::new("chrt").args(["-p", id]).output().expect("it can be run").stdout;
    assert_eq!(String::from_utf8_lossy(&said).contains("RESET_ON_FORK"), real_time);
}
