//! Connections: one to each server, the server of each shard, and what an error means for a call.

use super::call::CallError;
use super::config::{RedisMode, RedisSection, without_secrets};
use redis::sentinel::{Sentinel, SentinelNodeConnectionInfo};
use redis::{Client, Connection, ConnectionInfo, ErrorKind, IntoConnectionInfo, RedisError};
use redis::{RedisConnectionInfo, RedisResult, Value};
use std::collections::BTreeMap;
use std::time::Duration;

/// A connection, and a number that no other one has.
pub(super) struct Link {
    pub connection: Connection,
    pub id: u64,
}

/// The servers, as far as they are known.
pub(super) struct Servers {
    section: RedisSection,
    links: BTreeMap<String, Link>,
    /// Which server has which hash slots, inclusive; empty until asked. One range unless it is a cluster.
    slots: Vec<(u16, u16, String)>,
    next_id: u64,
}

impl Servers {
    pub(super) fn new(section: RedisSection) -> Self {
        Self { section, links: BTreeMap::new(), slots: Vec::new(), next_id: 0 }
    }

    /// All servers that hold shards.
    pub(super) fn places(&mut self) -> Result<Vec<String>, CallError> {
        self.find()?;
        let mut places: Vec<String> = self.slots.iter().map(|(_, _, p)| p.clone()).collect();
        places.sort();
        places.dedup();
        Ok(places)
    }

    /// The server of a key.
    pub(super) fn place(&mut self, key: &str) -> Result<String, CallError> {
        self.find()?;
        let slot = slot(key.as_bytes());
        let found = self.slots.iter().find(|(from, to, _)| (*from..=*to).contains(&slot));
        found.map(|(_, _, place)| place.clone()).ok_or_else(|| CallError::NotNow {
            place: "the cluster".to_owned(),
            why: format!("no node has hash slot {slot}\nhint: `redis-cli --cluster check` says what is missing"),
        })
    }

    /// The connection to a server, opened if need be.
    pub(super) fn link(&mut self, place: &str) -> Result<&mut Link, CallError> {
        if !self.links.contains_key(place) {
            let connection = self.open(place)?;
            self.next_id += 1;
            self.links.insert(place.to_owned(), Link { connection, id: self.next_id });
        }
        self.links.get_mut(place).ok_or_else(|| unknown(place, "the connection is gone"))
    }

    /// The number of the connection to a server that is open now.
    pub(super) fn open_id(&self, place: &str) -> Option<u64> {
        self.links.get(place).map(|link| link.id)
    }

    /// Closes a connection whose state is not known any more; who serves what is asked anew, too.
    pub(super) fn forget(&mut self, place: &str) {
        self.links.remove(place);
        if self.section.mode != RedisMode::Single {
            self.slots.clear();
        }
    }

    fn find(&mut self) -> Result<(), CallError> {
        if !self.slots.is_empty() {
            return Ok(());
        }
        self.slots = match self.section.mode {
            RedisMode::Single => vec![(0, u16::MAX, without_secrets(&self.section.url))],
            RedisMode::Sentinel => vec![(0, u16::MAX, self.master()?)],
            RedisMode::Cluster => self.nodes()?,
        };
        Ok(())
    }

    fn master(&self) -> Result<String, CallError> {
        let place = "the Sentinels";
        let failed = |e: &RedisError| CallError::NotNow {
            place: place.to_owned(),
            why: format!(
                "{}\nhint: `redis-cli -p 26379 sentinel get-master-addr-by-name {}` asks them",
                shown(e),
                self.section.master_name
            ),
        };
        let mut sentinel = Sentinel::build(self.section.urls.clone()).map_err(|e| failed(&e))?;
        let node = SentinelNodeConnectionInfo::default()
            .set_redis_connection_info(self.credentials(RedisConnectionInfo::default()));
        let master = sentinel.master_for(&self.section.master_name, Some(&node));
        let master = master.map_err(|e| match of_open(place, &e) {
            never @ CallError::Never { .. } => never,
            _ => failed(&e),
        })?;
        Ok(master.get_connection_info().addr().to_string())
    }

    fn nodes(&mut self) -> Result<Vec<(u16, u16, String)>, CallError> {
        let mut asked: Vec<String> = self.links.keys().cloned().collect();
        asked.extend(self.section.urls.iter().map(|url| without_secrets(url)));
        let mut last = None;
        for url in asked {
            let place = url.strip_prefix("redis://").unwrap_or(&url).to_owned();
            let answer = match self.link(&place) {
                Ok(link) => redis::cmd("CLUSTER").arg("SLOTS").query(&mut link.connection),
                Err(why) => {
                    last = Some(why);
                    continue;
                }
            };
            match answer {
                Ok(value) => {
                    let host = place.rsplit_once(':').map_or(place.as_str(), |(host, _)| host);
                    let ranges = ranges(&value, host);
                    if !ranges.is_empty() {
                        return Ok(ranges);
                    }
                }
                Err(e) => {
                    self.links.remove(&place);
                    last = Some(of_call(&place, &e));
                }
            }
        }
        Err(last.unwrap_or_else(|| CallError::NotNow {
            place: "the cluster".to_owned(),
            why: "no node has a hash slot\nhint: `redis-cli --cluster check` says what is missing"
                .to_owned(),
        }))
    }

    fn open(&self, place: &str) -> Result<Connection, CallError> {
        let timeout = self.section.timeout();
        self.info(place)
            .and_then(Client::open)
            .and_then(|client| client.get_connection_with_timeout(timeout))
            .and_then(|connection| {
                // WAITAOF has its own limit, which must be shorter than this one.
                connection.set_read_timeout(Some(timeout + Duration::from_millis(500)))?;
                connection.set_write_timeout(Some(timeout))?;
                Ok(connection)
            })
            .map_err(|e| of_open(place, &e))
    }

    fn info(&self, place: &str) -> RedisResult<ConnectionInfo> {
        let given = match self.section.mode {
            RedisMode::Single => self.section.url.as_str().into_connection_info()?,
            RedisMode::Sentinel => format!("redis://{place}").into_connection_info()?,
            // User and password of the first URL hold for all nodes: the cluster names them without.
            RedisMode::Cluster => {
                let first = self.section.urls.first().map(String::as_str).unwrap_or_default();
                let first = first.into_connection_info()?;
                let node = format!("redis://{place}").into_connection_info()?;
                node.set_redis_settings(first.redis_settings().clone())
            }
        };
        let settings = self.credentials(given.redis_settings().clone());
        let tcp = given.tcp_settings().clone().set_nodelay(true);
        Ok(given.set_redis_settings(settings).set_tcp_settings(tcp))
    }

    fn credentials(&self, mut settings: RedisConnectionInfo) -> RedisConnectionInfo {
        if let Some(username) = &self.section.username {
            settings = settings.set_username(username);
        }
        if let Some(password) = &self.section.password {
            settings = settings.set_password(password);
        }
        settings
    }
}

/// The masters' ranges in an answer to `CLUSTER SLOTS`; `host` stands for a node that does not know its own.
fn ranges(value: &Value, host: &str) -> Vec<(u16, u16, String)> {
    type Range = (u16, u16, Vec<Value>);
    let Value::Array(rows) = value else { return Vec::new() };
    let row = |row: &Value| -> Option<Range> {
        let Value::Array(parts) = row else { return None };
        let number = |i: usize| redis::from_redis_value_ref::<u16>(parts.get(i)?).ok();
        let Value::Array(master) = parts.get(2)? else { return None };
        Some((number(0)?, number(1)?, master.clone()))
    };
    rows.iter()
        .filter_map(|r| {
            let (from, to, master) = row(r)?;
            let named: Option<String> = redis::from_redis_value_ref(master.first()?).ok()?;
            let named = named.filter(|n| !n.is_empty()).unwrap_or_else(|| host.to_owned());
            let port: u16 = redis::from_redis_value_ref(master.get(1)?).ok()?;
            // An address of version 6 needs its brackets.
            let named = if named.contains(':') && !named.starts_with('[') {
                format!("[{named}]")
            } else {
                named
            };
            Some((from, to, format!("{named}:{port}")))
        })
        .collect()
}

/// The hash slot of a key, as the Redis Cluster specification has it: CRC-16 (XMODEM) of the text between the
/// first braces, modulo 16384.
pub(super) fn slot(key: &[u8]) -> u16 {
    let tag = key.iter().position(|b| *b == b'{').and_then(|open| {
        let rest = &key[open + 1..];
        let close = rest.iter().position(|b| *b == b'}')?;
        (close > 0).then(|| &rest[..close])
    });
    let mut crc = 0u16;
    for byte in tag.unwrap_or(key) {
        crc ^= u16::from(*byte) << 8;
        for _ in 0..8 {
            crc = if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 };
        }
    }
    crc % 16384
}

pub(super) fn unknown(place: &str, why: impl ToString) -> CallError {
    CallError::Unknown { place: place.to_owned(), why: why.to_string() }
}

/// What an error says about a connection that was being opened: no call was sent.
fn of_open(place: &str, e: &RedisError) -> CallError {
    match of_call(place, e) {
        CallError::Unknown { place, why } => CallError::NotNow {
            place,
            why: format!(
                "cannot connect: {why}\nhint: is Redis running there, and reachable from here?"
            ),
        },
        known => known,
    }
}

/// What an error says about a call that was sent.
pub(super) fn of_call(place: &str, e: &RedisError) -> CallError {
    let hint = match e.code() {
        Some("NOAUTH" | "WRONGPASS") => Err(
            "wrong or missing credentials\nhint: set `redis.username` and `redis.password`, or put them into the URL",
        ),
        Some("NOPERM") => Err(
            "the user may not do that\nhint: ACL SETUSER ... ~det:* +@read +@write +@scripting +@connection +info +waitaof +cluster|slots (with your prefix)",
        ),
        Some("OOM") => Ok("Redis is full\nhint: raise `maxmemory`; the policy stays noeviction"),
        Some("READONLY") => Ok(
            "this is a replica\nhint: name the master, or use `mode = \"sentinel\"` or `\"cluster\"`",
        ),
        Some("LOADING") => Ok("Redis is reading its files\nhint: wait"),
        Some("BUSY") => Ok(
            "a script runs for too long\nhint: which other program uses this Redis? `SCRIPT KILL` ends the script",
        ),
        Some("MISCONF") => {
            Ok("Redis cannot write to its disk\nhint: see its log; is the disk full?")
        }
        Some("NOREPLICAS") => Ok("too few replicas\nhint: see `min-replicas-to-write`"),
        Some("MASTERDOWN" | "CLUSTERDOWN" | "TRYAGAIN") => {
            Ok("the cluster is not whole\nhint: wait, or see `redis-cli --cluster check`")
        }
        Some("MOVED" | "ASK") => {
            Ok("the hash slot is being moved\nhint: do not reshard while a detector runs")
        }
        Some("WRONGTYPE" | "DAMAGED") => Err(
            "something else was written under this prefix\nhint: use another `redis.prefix`, or restore a backup",
        ),
        // An answer that says no.
        Some(_) => {
            Err("an answer that was not expected\nhint: Redis 6.2 or later, or Valkey, is needed")
        }
        None if e.kind() == ErrorKind::AuthenticationFailed => Err(
            "wrong credentials\nhint: set `redis.username` and `redis.password`, or put them into the URL",
        ),
        None if e.kind() == ErrorKind::InvalidClientConfig => {
            Err("this cannot be connected to\nhint: see `redis.url`")
        }
        // The connection, or an answer cut short: nobody knows.
        None => return unknown(place, shown(e)),
    };
    let place = place.to_owned();
    match hint {
        Ok(hint) => CallError::NotNow { place, why: format!("{}: {hint}", shown(e)) },
        Err(hint) => CallError::Never { place, why: format!("{}: {hint}", shown(e)) },
    }
}

/// An error's text on one line.
fn shown(e: &RedisError) -> String {
    e.to_string().replace(['\n', '\r'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_of_the_specification() {
        // The check value of CRC-16/XMODEM.
        assert_eq!(slot(b"123456789"), 0x31c3);
        assert_eq!(slot(b"det:{s042}:head"), slot(b"s042"));
        assert_eq!(slot(b"{}a"), slot(b"{}a"));
    }
}
