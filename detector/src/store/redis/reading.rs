//! All records of a server, read ahead.

use super::names::{Keys, Name};
use crossbeam_channel::Sender;
use redis::{Connection, FromRedisValue, RedisResult};

/// A record as it was read.
pub(super) struct Found {
    pub shard: u16,
    pub name: Name,
    pub value: Vec<u8>,
}

/// A record's shard, name and key, until its value is there.
type Asked = ((u16, Name), Vec<u8>);

/// Records on their way from a server. The next names are asked for before the values of those at hand are taken off the connection, so
/// that Redis always has something to do meanwhile.
pub(super) struct Reading<'a> {
    connection: &'a mut Connection,
    keys: &'a Keys,
    /// Names asked for at once.
    names: usize,
    to: &'a Sender<Vec<Found>>,
}

impl<'a> Reading<'a> {
    pub fn new(
        connection: &'a mut Connection,
        keys: &'a Keys,
        names: usize,
        to: &'a Sender<Vec<Found>>,
    ) -> Self {
        Self { connection, keys, names, to }
    }

    /// Reads all of them. False: nobody takes them any more, and answers may be on their way.
    pub fn all(&mut self) -> RedisResult<bool> {
        self.ask_names(0)?;
        let mut asked = Vec::new();
        loop {
            let (next, keys): (u64, Vec<Vec<u8>>) = self.answer()?;
            let named = keys.into_iter().filter_map(|key| Some((self.keys.name(&key)?, key)));
            let found: Vec<Asked> = named.collect();
            if next != 0 {
                self.ask_names(next)?;
            }
            self.ask_values(&found)?;
            if !self.take(std::mem::replace(&mut asked, found))? {
                return Ok(false);
            }
            if next == 0 {
                return self.take(asked);
            }
        }
    }

    fn ask_names(&mut self, cursor: u64) -> RedisResult<()> {
        let pattern = format!("{}*", self.keys.records());
        let mut scan = redis::cmd("SCAN");
        scan.arg(cursor).arg("MATCH").arg(pattern).arg("COUNT").arg(self.names);
        self.connection.send_packed_command(&scan.get_packed_command())
    }

    fn ask_values(&mut self, of: &[Asked]) -> RedisResult<()> {
        if of.is_empty() {
            return Ok(());
        }
        let mut packed = Vec::new();
        // Single reads: in a cluster one MGET may not span slots, and it does not say that a key is no string.
        for (_, key) in of {
            redis::cmd("GET").arg(key).write_packed_command(&mut packed);
        }
        self.connection.send_packed_command(&packed)
    }

    /// Takes the values that were asked for off the connection, and hands them over.
    fn take(&mut self, asked: Vec<Asked>) -> RedisResult<bool> {
        let mut found = Vec::with_capacity(asked.len());
        for ((shard, name), _) in asked {
            // Without a value it is gone since.
            if let Some(value) = self.answer::<Option<Vec<u8>>>()? {
                found.push(Found { shard, name, value });
            }
        }
        Ok(self.to.send(found).is_ok())
    }

    fn answer<T: FromRedisValue>(&mut self) -> RedisResult<T> {
        let value = self.connection.recv_response()?.extract_error()?;
        Ok(T::from_redis_value(value)?)
    }
}
