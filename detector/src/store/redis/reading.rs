//! All records of a server, read ahead.

use super::config::{RedisMode, RedisSection};
use super::names::{Keys, Name};
use crossbeam_channel::Sender;
use redis::{Connection, FromRedisValue, RedisResult};

/// A record as it was read.
pub(super) struct Found {
    pub shard: u16,
    pub name: Name,
    pub value: Vec<u8>,
}

/// Records on their way from a server. The next names are asked for before the values of those at hand are taken off the connection, so
/// that Redis always has something to do meanwhile.
pub(super) struct Reading<'a> {
    connection: &'a mut Connection,
    keys: &'a Keys,
    at_once: usize,
    is_cluster: bool,
    /// Keys without a value: gone since, or no record.
    missing: Vec<(Name, Vec<u8>)>,
    to: &'a Sender<Vec<Found>>,
}

impl<'a> Reading<'a> {
    pub fn new(
        connection: &'a mut Connection,
        keys: &'a Keys,
        section: &RedisSection,
        to: &'a Sender<Vec<Found>>,
    ) -> Self {
        let is_cluster = section.mode == RedisMode::Cluster;
        Self {
            connection,
            keys,
            at_once: section.scan_records,
            is_cluster,
            missing: Vec::new(),
            to,
        }
    }

    /// Reads all of them. False: nobody takes them any more, and answers may be on their way.
    pub fn all(&mut self) -> RedisResult<bool> {
        self.ask_names(0)?;
        let mut asked = Vec::new();
        loop {
            let (next, keys): (u64, Vec<Vec<u8>>) = self.answer()?;
            let named = keys.into_iter().filter_map(|key| Some((self.keys.name(&key)?, key)));
            let found: Vec<(Name, Vec<u8>)> = named.collect();
            if next != 0 {
                self.ask_names(next)?;
            }
            self.ask_values(&found)?;
            if !self.take(std::mem::replace(&mut asked, found))? {
                return Ok(false);
            }
            if next == 0 {
                return Ok(self.take(asked)? && self.look_again()?);
            }
        }
    }

    fn ask_names(&mut self, cursor: u64) -> RedisResult<()> {
        let pattern = format!("{}*", self.keys.records());
        let mut scan = redis::cmd("SCAN");
        scan.arg(cursor).arg("MATCH").arg(pattern).arg("COUNT").arg(self.at_once);
        self.connection.send_packed_command(&scan.get_packed_command())
    }

    fn ask_values(&mut self, of: &[(Name, Vec<u8>)]) -> RedisResult<()> {
        if of.is_empty() {
            return Ok(());
        }
        let mut packed = Vec::new();
        if self.is_cluster {
            // One MGET may not span slots.
            for (_, key) in of {
                redis::cmd("GET").arg(key).write_packed_command(&mut packed);
            }
        } else {
            let mut all = redis::cmd("MGET");
            of.iter().for_each(|(_, key)| {
                all.arg(key);
            });
            all.write_packed_command(&mut packed);
        }
        self.connection.send_packed_command(&packed)
    }

    /// Takes the values that were asked for off the connection, and hands them over.
    fn take(&mut self, asked: Vec<(Name, Vec<u8>)>) -> RedisResult<bool> {
        if asked.is_empty() {
            return Ok(true);
        }
        let values: Vec<Option<Vec<u8>>> = match self.is_cluster {
            true => asked.iter().map(|_| self.answer()).collect::<RedisResult<_>>()?,
            false => self.answer()?,
        };
        let mut found = Vec::with_capacity(asked.len());
        for ((name, key), value) in asked.into_iter().zip(values) {
            match value {
                Some(value) => found.push(self.found(name, value)),
                None => self.missing.push((name, key)),
            }
        }
        Ok(self.to.send(found).is_ok())
    }

    /// To MGET a key of another type has no value; GET says what it is.
    fn look_again(&mut self) -> RedisResult<bool> {
        let mut found = Vec::new();
        for (name, key) in std::mem::take(&mut self.missing) {
            let value: Option<Vec<u8>> = redis::cmd("GET").arg(&key).query(self.connection)?;
            found.extend(value.map(|value| self.found(name, value)));
        }
        Ok(self.to.send(found).is_ok())
    }

    fn found(&self, name: Name, value: Vec<u8>) -> Found {
        Found { shard: name.shard(self.keys.shards), name, value }
    }

    fn answer<T: FromRedisValue>(&mut self) -> RedisResult<T> {
        let value = self.connection.recv_response()?.extract_error()?;
        Ok(T::from_redis_value(value)?)
    }
}
