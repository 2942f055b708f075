//! Connections: one to each server, the server of each shard, and what an error means for a call.

use super::call::CallError;
use super::config::{RedisMode, RedisSection, without_secrets};
use crate::rights;
use redis::{Client, ClientTlsConfig, TlsCertificates};
use redis::{Connection, ConnectionInfo, ErrorKind, IntoConnectionInfo, RedisError};
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

    /// The master that the Sentinels name, if it says itself that it is one: a Sentinel may not have heard of a failover yet.
    fn master(&mut self) -> Result<String, CallError> {
        let name = self.section.master_name.clone();
        let not_now = |why: String| CallError::NotNow {
            place: "the Sentinels".to_owned(),
            why: format!(
                "{why}\nhint: `redis-cli -p 26379 sentinel get-master-addr-by-name {name}` asks them"
            ),
        };
        let mut said = Vec::new();
        for url in self.section.urls.clone() {
            let place = without_secrets(&url);
            let ask = |mut connection: Connection| {
                let mut cmd = redis::cmd("SENTINEL");
                cmd.arg("GET-MASTER-ADDR-BY-NAME").arg(&name);
                cmd.query::<Option<(String, u16)>>(&mut connection)
            };
            let url = url.as_str();
            match url.into_connection_info().and_then(|info| self.connect(info)).and_then(ask) {
                Ok(Some((host, port))) => {
                    let master = address(&host, port);
                    let mut info = redis::cmd("INFO");
                    let info = info.arg("replication");
                    let link = self.link(&master)?;
                    let role: RedisResult<String> = info.query(&mut link.connection);
                    match role {
                        Ok(text) if text.contains("role:master") => return Ok(master),
                        Ok(_) => {
                            said.push(format!("{place} names {master}, and that is a replica"))
                        }
                        Err(e) => return Err(of_call(&master, &e)),
                    }
                    self.links.remove(&master);
                }
                Ok(None) => said.push(format!("{place} knows no master `{name}`")),
                Err(e) => match of_open(&place, &e) {
                    never @ CallError::Never { .. } => return Err(never),
                    _ => said.push(format!("{place}: {}", shown(&e))),
                },
            }
        }
        Err(not_now(said.join("; ")))
    }

    fn nodes(&mut self) -> Result<Vec<(u16, u16, String)>, CallError> {
        let mut asked: Vec<String> = self.links.keys().cloned().collect();
        asked.extend(self.section.urls.iter().map(|url| without_secrets(url)));
        let mut last = None;
        for url in asked {
            let place = url.split_once("://").map_or(url.as_str(), |(_, place)| place).to_owned();
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
        self.info(place).and_then(|info| self.connect(info)).map_err(|e| of_open(place, &e))
    }

    fn connect(&self, info: ConnectionInfo) -> RedisResult<Connection> {
        let timeout = self.section.timeout();
        let client = match self.certificates()? {
            Some(certificates) => Client::build_with_tls(info, certificates)?,
            None => Client::open(info)?,
        };
        let connection = client.get_connection_with_timeout(timeout)?;
        // WAITAOF has its own limit, which must be shorter than this one.
        connection.set_read_timeout(Some(timeout + Duration::from_millis(500)))?;
        connection.set_write_timeout(Some(timeout))?;
        Ok(connection)
    }

    /// What is configured of certificates; read for every connection, so that renewed ones are taken up.
    fn certificates(&self) -> RedisResult<Option<TlsCertificates>> {
        let s = &self.section;
        if !s.tls() || (s.ca_file.is_none() && s.certificate_file.is_none()) {
            return Ok(None);
        }
        let read = |path: &Option<String>| path.as_ref().map(std::fs::read).transpose();
        let client_tls = match (read(&s.certificate_file)?, read(&s.key_file)?) {
            (Some(client_cert), Some(client_key)) => {
                Some(ClientTlsConfig { client_cert, client_key })
            }
            _ => None,
        };
        Ok(Some(TlsCertificates { client_tls, root_cert: read(&s.ca_file)? }))
    }

    fn info(&self, place: &str) -> RedisResult<ConnectionInfo> {
        let scheme = if self.section.tls() { "rediss" } else { "redis" };
        let given = match self.section.mode {
            RedisMode::Single => self.section.url.as_str().into_connection_info()?,
            RedisMode::Sentinel => format!("{scheme}://{place}").into_connection_info()?,
            // User and password of the first URL hold for all nodes: the cluster names them without.
            RedisMode::Cluster => {
                let first = self.section.urls.first().map(String::as_str).unwrap_or_default();
                let first = first.into_connection_info()?;
                let node = format!("{scheme}://{place}").into_connection_info()?;
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
            Some((from, to, address(&named, port)))
        })
        .collect()
}

/// Host and port; an address of version 6 needs its brackets.
fn address(host: &str, port: u16) -> String {
    if host.contains(':') && !host.starts_with('[') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
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
            why: format!("cannot connect: {why}\nhint: {}", connect_hint(&why)),
        },
        known => known,
    }
}

/// What may be in the way of a connection.
fn connect_hint(why: &str) -> &'static str {
    let why = why.to_lowercase();
    if why.contains("certificate") || why.contains("unknownissuer") || why.contains("unknown ca") {
        "is `redis.ca_file` that of the servers, do their certificates name the host as it stands in the URL, and do they ask for a client certificate (`redis.certificate_file`, `redis.key_file`)?"
    } else if why.contains("tls") || why.contains("corrupt message") || why.contains("alert") {
        "is that port one with TLS, and does the server ask for a client certificate (`redis.certificate_file`, `redis.key_file`)?"
    } else {
        "is Redis running there, reachable from here, and is it `redis://` or, with TLS, `rediss://`?"
    }
}

/// What an error says about a call that was sent.
pub(super) fn of_call(place: &str, e: &RedisError) -> CallError {
    let hint = match e.code() {
        Some("NOAUTH" | "WRONGPASS") => Err(
            "wrong or missing credentials\nhint: set `redis.username` and `redis.password`, or put them into the URL",
        ),
        Some("NOPERM") => Err(rights::redis_hint()),
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
        // Redis 6.2 has no code for what a script may not do.
        Some(_) if shown(e).contains("executing the script can't") => Err(rights::redis_hint()),
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
        None if e.kind() == ErrorKind::UnexpectedReturnType => Err(
            "something else was written under this prefix\nhint: use another `redis.prefix`, or restore a backup",
        ),
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
