//! The records of a server, read ahead: those that the indices of its shards name, or all names that are there.

use super::index;
use super::names::{Keys, Name};
use super::shards::EachName;
use crossbeam_channel::Sender;
use redis::{Connection, ErrorKind, FromRedisValue, RedisError, RedisResult, Value};
use std::ops::Range;

/// Blocks of an index that are asked for at once: some 600 names.
const BLOCKS: usize = 4;

/// Keys that a server looks at for one call of SCAN.
const KEYS: usize = 1000;

/// A record as it was read.
pub(super) struct Found {
    pub shard: u16,
    pub name: Name,
    pub value: Vec<u8>,
}

/// Blocks of one shard's index.
type Lot = (u16, Range<u32>);

/// Names whose values are on their way, in one answer.
type Asked = (u16, Vec<Name>);

/// Records on their way from a server. The next names are asked for before the values of those at hand are taken off the connection, so
/// that Redis always has something to do meanwhile.
pub(super) struct Reading<'a> {
    connection: &'a mut Connection,
    keys: &'a Keys,
}

impl<'a> Reading<'a> {
    pub fn new(connection: &'a mut Connection, keys: &'a Keys) -> Self {
        Self { connection, keys }
    }

    /// Reads the records of these shards, which the server has. False: nobody takes them any more, and answers may be on their
    /// way.
    pub fn records(&mut self, of: &[u16], to: &Sender<Vec<Found>>) -> RedisResult<bool> {
        let lots = self.lots(of)?;
        let mut lots = lots.iter();
        let mut next = lots.next();
        self.ask_names(next)?;
        let mut asked = Vec::new();
        while let Some((shard, _)) = next {
            let blocks: Vec<Option<Vec<u8>>> = self.answer()?;
            next = lots.next();
            self.ask_names(next)?;
            let values = self.ask_values(*shard, &blocks)?;
            if !self.take(std::mem::replace(&mut asked, values), to)? {
                return Ok(false);
            }
        }
        self.take(asked, to)
    }

    /// All blocks of the shards' indices, some at a time.
    fn lots(&mut self, of: &[u16]) -> RedisResult<Vec<Lot>> {
        let mut packed = Vec::new();
        for shard in of {
            let mut room = redis::cmd("HGET");
            room.arg(self.keys.index(*shard)).arg(index::ROOM).write_packed_command(&mut packed);
        }
        self.connection.send_packed_command(&packed)?;
        let mut lots = Vec::new();
        for shard in of {
            // Without an index there was never a record.
            let Some(room) = self.answer::<Option<Vec<u8>>>()? else { continue };
            let blocks =
                index::blocks(&room).ok_or_else(|| unreadable(&self.keys.index(*shard)))?;
            let starts = (0..blocks).step_by(BLOCKS);
            lots.extend(starts.map(|at| (*shard, at..blocks.min(at + BLOCKS as u32))));
        }
        Ok(lots)
    }

    fn ask_names(&mut self, of: Option<&Lot>) -> RedisResult<()> {
        let Some((shard, blocks)) = of else { return Ok(()) };
        let mut names = redis::cmd("HMGET");
        names.arg(self.keys.index(*shard));
        for block in blocks.clone() {
            names.arg(block);
        }
        self.connection.send_packed_command(&names.get_packed_command())
    }

    /// Asks for the records of each block in one call: they are in one hash slot.
    fn ask_values(&mut self, shard: u16, blocks: &[Option<Vec<u8>>]) -> RedisResult<Vec<Asked>> {
        let tag = self.keys.tag(shard);
        let mut packed = Vec::new();
        let mut asked = Vec::with_capacity(blocks.len());
        // A block without names is not kept.
        for block in blocks.iter().flatten() {
            let mut values = redis::cmd("MGET");
            let mut named = Vec::new();
            for rest in index::names(block) {
                named.push(
                    Name::behind_tag(rest).ok_or_else(|| unreadable(&self.keys.index(shard)))?,
                );
                values.arg([tag.as_bytes(), rest].concat());
            }
            if !named.is_empty() {
                values.write_packed_command(&mut packed);
                asked.push((shard, named));
            }
        }
        if !asked.is_empty() {
            self.connection.send_packed_command(&packed)?;
        }
        Ok(asked)
    }

    /// Takes the values that were asked for off the connection, and hands them over.
    fn take(&mut self, asked: Vec<Asked>, to: &Sender<Vec<Found>>) -> RedisResult<bool> {
        for (shard, names) in asked {
            let Value::Array(values) = self.connection.recv_response()?.extract_error()? else {
                return Err(unreadable("the answer to MGET"));
            };
            let mut found = Vec::with_capacity(names.len());
            for (name, value) in names.into_iter().zip(values) {
                // Without a value it is gone since, or missing: whoever takes them counts.
                if let Value::BulkString(value) = value {
                    found.push(Found { shard, name, value });
                }
            }
            if to.send(found).is_err() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Looks at every key of the server, for names of records.
    pub fn names(&mut self, each: &mut EachName<'_>) -> RedisResult<()> {
        let pattern = format!("{}*", self.keys.records());
        let mut cursor = 0u64;
        loop {
            let mut scan = redis::cmd("SCAN");
            scan.arg(cursor).arg("MATCH").arg(&pattern).arg("COUNT").arg(KEYS);
            let keys: Vec<Vec<u8>>;
            (cursor, keys) = scan.query(self.connection)?;
            keys.iter().filter_map(|key| self.keys.name(key)).for_each(|(_, name)| each(name));
            if cursor == 0 {
                return Ok(());
            }
        }
    }

    fn answer<T: FromRedisValue>(&mut self) -> RedisResult<T> {
        let value = self.connection.recv_response()?.extract_error()?;
        Ok(T::from_redis_value(value)?)
    }
}

fn unreadable(what: &str) -> RedisError {
    (ErrorKind::UnexpectedReturnType, "cannot be read", what.to_owned()).into()
}
