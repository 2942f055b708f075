//! All records of a server, read ahead: names over one connection, their values over others.

use super::names::{Keys, Name};
use crossbeam_channel::{Receiver, Sender};
use redis::{Connection, FromRedisValue, RedisResult};

/// A record as it was read.
pub(super) struct Found {
    pub shard: u16,
    pub name: Name,
    pub value: Vec<u8>,
}

/// A record's shard, name and key, until its value is there.
pub(super) struct Named {
    shard: u16,
    name: Name,
    key: Vec<u8>,
}

/// Hands over the names of all records, `at_once` at a time; the next ones are asked for before those at hand are read. False: nobody
/// takes them any more, and an answer may be on its way.
pub(super) fn names(
    connection: &mut Connection,
    keys: &Keys,
    at_once: usize,
    to: &Sender<Vec<Named>>,
) -> RedisResult<bool> {
    let pattern = format!("{}*", keys.records());
    let ask = |connection: &mut Connection, cursor: u64| {
        let mut scan = redis::cmd("SCAN");
        scan.arg(cursor).arg("MATCH").arg(&pattern).arg("COUNT").arg(at_once);
        connection.send_packed_command(&scan.get_packed_command())
    };
    ask(connection, 0)?;
    loop {
        let (next, found): (u64, Vec<Vec<u8>>) = answer(connection)?;
        if next != 0 {
            ask(connection, next)?;
        }
        let named = found.into_iter().filter_map(|key| {
            let (shard, name) = keys.name(&key)?;
            Some(Named { shard, name, key })
        });
        if to.send(named.collect()).is_err() {
            return Ok(false);
        }
        if next == 0 {
            return Ok(true);
        }
    }
}

/// Hands over the values of names until there are no more of them, or nobody takes values any more. The next ones are asked for before
/// those at hand are taken off the connection, so that Redis always has something to do meanwhile.
pub(super) fn values(
    connection: &mut Connection,
    of: &Receiver<Vec<Named>>,
    to: &Sender<Vec<Found>>,
) -> RedisResult<()> {
    let mut asked = Vec::new();
    for named in of {
        // Single reads: in a cluster one MGET may not span slots, and it does not say that a key is no string.
        let mut packed = Vec::new();
        for Named { key, .. } in &named {
            redis::cmd("GET").arg(key).write_packed_command(&mut packed);
        }
        if !packed.is_empty() {
            connection.send_packed_command(&packed)?;
        }
        if to.send(found(connection, std::mem::replace(&mut asked, named))?).is_err() {
            return Ok(());
        }
    }
    // Nobody may be there to take them; whoever asked for them knows.
    let _ = to.send(found(connection, asked)?);
    Ok(())
}

/// Takes the values that were asked for off the connection.
fn found(connection: &mut Connection, asked: Vec<Named>) -> RedisResult<Vec<Found>> {
    let mut found = Vec::with_capacity(asked.len());
    for Named { shard, name, .. } in asked {
        // Without a value it is gone since.
        if let Some(value) = answer::<Option<Vec<u8>>>(connection)? {
            found.push(Found { shard, name, value });
        }
    }
    Ok(found)
}

fn answer<T: FromRedisValue>(connection: &mut Connection) -> RedisResult<T> {
    let value = connection.recv_response()?.extract_error()?;
    Ok(T::from_redis_value(value)?)
}
