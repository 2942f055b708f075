//! A user of Redis with the rights of the list, and with one of them less.

use super::super::config::RedisSection;
use super::super::error::RedisStoreError;
use super::super::server::RedisShards;
use super::super::store::Store;
use super::real::{at, name};
use super::server::Server;
use crate::rights;
use std::time::Duration;

/// Sets the user's rules; gives the section to be that user with.
fn user(server: &Server, keys: &str, commands: &[&str]) -> RedisSection {
    let mut acl = redis::cmd("ACL");
    acl.arg("SETUSER").arg("small").arg("reset").arg("on").arg(">p").arg(keys).arg(commands);
    acl.exec(&mut server.connection()).expect("the rules are right");
    RedisSection {
        username: Some("small".to_owned()),
        password: Some("p".to_owned()),
        ..server.section()
    }
}

/// Everything that the service does with Redis, but in a cluster.
fn work(section: &RedisSection) -> Result<(), RedisStoreError> {
    let mut store = Store::new(RedisShards::open(section)?, section.limits());
    store.claim()?;
    store.confirm()?;
    store.heartbeat(Duration::from_secs(1))?;
    store.recover(&at(0).offsets, &at(0).offsets)?;
    store.first_checkpoint(&at(0))?;
    store.checkpoint(&at(1), [(name(1), Some(vec![1])), (name(9), Some(vec![1]))])?;
    store.checkpoint(&at(2), [(name(1), None)])?;
    store.load(|_, _| Ok(()), |_| {})?;
    store.newest(&name(9))?;
    store.release()?;
    store.erase_all()?;
    Ok(())
}

fn listed() -> (&'static str, Vec<&'static str>) {
    let list = &rights::rights().redis;
    (list.keys.as_str(), list.commands.iter().map(String::as_str).collect())
}

#[test]
fn with_the_listed_rights_everything_is_done_and_nothing_else_may_be() {
    let server = Server::start(&[]);
    let (keys, commands) = listed();
    let section = user(&server, keys, &commands);
    work(&section).expect("the rights suffice");
    let mut small = server.connection();
    redis::cmd("AUTH").arg("small").arg("p").exec(&mut small).expect("it may come in");
    let forbidden: [&[&str]; 8] = [
        &["FLUSHALL"],
        &["FLUSHDB"],
        &["SWAPDB", "0", "1"],
        &["CONFIG", "GET", "requirepass"],
        &["ACL", "LIST"],
        &["KEYS", "*"],
        &["GET", "other:1"],
        &["SET", "other:1", "x"],
    ];
    for words in forbidden {
        let mut command = redis::cmd(words[0]);
        let error = command.arg(&words[1..]).exec(&mut small).expect_err(words[0]);
        assert_eq!(error.code(), Some("NOPERM"), "{words:?}: {error}");
    }
}

#[test]
fn without_one_of_the_rights_the_refusal_names_them() {
    let server = Server::start(&[]);
    let (keys, commands) = listed();
    // Refused elsewhere, or by some versions only: a cluster, WAITAOF, and what every connection may do.
    let not_here = ["+cluster|slots", "+@blocking", "+@connection"];
    let given = commands.iter().filter(|c| c.starts_with('+') && !not_here.contains(c));
    let mut refused = 0;
    for without in given {
        let others: Vec<&str> = commands.iter().copied().filter(|c| c != without).collect();
        let section = user(&server, keys, &others);
        let error = work(&section).expect_err(without).to_string();
        for word in ["the user may not do that", "ACL SETUSER", *without] {
            assert!(error.contains(word), "without {without}: {word} is not in {error}");
        }
        refused += 1;
    }
    assert!(refused >= 5, "{refused}");
    let section = user(&server, "~other:*", &commands);
    let error = work(&section).expect_err("other keys").to_string();
    assert!(error.contains("ACL SETUSER") && error.contains(keys), "{error}");
}
