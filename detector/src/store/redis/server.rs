//! The shards in a real Redis.

use super::call::{Call, CallError, Durable, Reply};
use super::commands::{Scripts, command};
use super::config::{RedisMode, RedisSection};
use super::connect::{Servers, of_call, unknown};
use super::error::RedisStoreError;
use super::names::{Keys, Name};
use super::protocol::Header;
use super::reading::{Found, Reading};
use super::shards::{EachName, EachRecord, Shards};
use crossbeam_channel::{Sender, bounded};
use redis::{Cmd, ErrorKind, FromRedisValue, RedisError, ServerErrorKind};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// That Redis has no `WAITAOF` was said.
static SAID: AtomicBool = AtomicBool::new(false);

/// How often a command is sent on to where a cluster says that its slot is.
const REDIRECTS: usize = 3;

/// Lists of records that are read ahead while others are taken: Redis and the engine work side by side.
const AHEAD: usize = 8;

/// Shards in Redis, behind one connection per server.
pub struct RedisShards {
    section: RedisSection,
    keys: Keys,
    servers: Servers,
    scripts: Scripts,
    waitaof: bool,
    /// The connection that carried the last answered call of each shard.
    carried: Vec<Option<u64>>,
}

impl RedisShards {
    /// Connects to every server and looks at how it is set up. Logs once what is dangerous though allowed.
    ///
    /// # Errors
    /// When a server cannot be reached, or would lose or refuse what is written; says what to change.
    pub fn open(section: &RedisSection) -> Result<Self, RedisStoreError> {
        let keys = Keys { prefix: section.prefix.clone(), shards: section.shards };
        let mut shards = Self {
            section: section.clone(),
            keys,
            servers: Servers::new(section.clone()),
            scripts: Scripts::default(),
            waitaof: true,
            carried: vec![None; usize::from(section.shards)],
        };
        shards.look().map_err(|why| RedisStoreError::from_call("start", why))?;
        Ok(shards)
    }

    /// Whether checkpoints are known to be on the disk before they count: `WAITAOF` and an append-only file.
    #[must_use]
    pub fn waits(&self) -> bool {
        self.waitaof
    }

    fn look(&mut self) -> Result<(), CallError> {
        for place in self.servers.places()? {
            let info: String = self.ask(&place, &redis::cmd("INFO"))?;
            let facts: BTreeMap<&str, &str> =
                info.lines().filter_map(|line| line.trim_end().split_once(':')).collect();
            let fact = |name: &str| facts.get(name).copied().unwrap_or_default();
            let never = |why: String| Err(CallError::Never { place: place.clone(), why });
            let not_now =
                |why: &str| Err(CallError::NotNow { place: place.clone(), why: why.to_owned() });
            if fact("loading") == "1" {
                return not_now("Redis is reading its files\nhint: wait");
            }
            if fact("role") == "slave" {
                return not_now(
                    "this is a replica\nhint: name the master, or use `mode = \"sentinel\"` or `\"cluster\"`",
                );
            }
            let policy = fact("maxmemory_policy");
            if !policy.is_empty() && policy != "noeviction" {
                return never(format!(
                    "maxmemory-policy is {policy}: Redis would throw away state when it is full\nhint: CONFIG SET maxmemory-policy noeviction, and the same in redis.conf"
                ));
            }
            let cluster = fact("cluster_enabled") == "1";
            if cluster != (self.section.mode == RedisMode::Cluster) {
                return never(match cluster {
                    true => "this is a node of a cluster\nhint: `redis.mode = \"cluster\"` with its nodes in `urls`".to_owned(),
                    false => "this is no node of a cluster\nhint: `redis.mode = \"single\"` with `url`".to_owned(),
                });
            }
            let append_only = fact("aof_enabled") == "1";
            let new_enough = version(fact("redis_version")) >= (7, 2);
            if !append_only {
                tracing::warn!(
                    server = place,
                    "Redis keeps no append-only file: what was written since its last snapshot is lost when it ends; set `appendonly yes`"
                );
            } else if !new_enough {
                // Every connection looks; one word is enough.
                if !SAID.swap(true, Relaxed) {
                    tracing::info!(
                        server = place,
                        version = fact("redis_version"),
                        "Redis has no WAITAOF (7.2): after a power loss the detector may refuse to start; it never starts wrong"
                    );
                }
            } else {
                tracing::info!(
                    server = place,
                    "checkpoints count once they are on the disk (WAITAOF)"
                );
            }
            self.waitaof &= append_only && new_enough;
        }
        if self.section.wait_replicas > 0 && !self.waitaof {
            return Err(CallError::Never {
                place: "Redis".to_owned(),
                why: "`redis.wait_replicas` needs Redis 7.2 with `appendonly yes`\nhint: upgrade, or set it to 0 and accept that a promoted replica may lack the last checkpoint".to_owned(),
            });
        }
        Ok(())
    }

    /// A command on a server.
    fn ask<T: FromRedisValue>(&mut self, place: &str, cmd: &Cmd) -> Result<T, CallError> {
        let answer = cmd.query(&mut self.servers.link(place)?.connection);
        answer.map_err(|e| self.failed(place, &e))
    }

    /// A command on the server of a key. Who is sent on was not served, so it may be sent again.
    fn ask_key<T: FromRedisValue>(&mut self, key: &str, cmd: &Cmd) -> Result<T, CallError> {
        for _ in 0..REDIRECTS {
            let place = self.servers.place(key)?;
            match cmd.query(&mut self.servers.link(&place)?.connection) {
                Err(e) if moved(&e) => self.servers.forget(&place),
                answer => return answer.map_err(|e| self.failed(&place, &e)),
            }
        }
        let place = self.servers.place(key)?;
        Err(CallError::NotNow {
            place,
            why: "the hash slot is being moved\nhint: do not reshard while a detector runs"
                .to_owned(),
        })
    }

    fn failed(&mut self, place: &str, e: &RedisError) -> CallError {
        let error = of_call(place, e);
        // A replica that was a master, or a connection in an unknown state: connect anew.
        if matches!(error, CallError::Unknown { .. }) || e.code() == Some("READONLY") {
            self.servers.forget(place);
        }
        error
    }

    /// Reads the records of a server's shards, some at a time, and ends when nobody takes them any more.
    fn read(
        &mut self,
        place: &str,
        shards: &[u16],
        to: &Sender<Vec<Found>>,
    ) -> Result<(), CallError> {
        let connection = &mut self.servers.link(place)?.connection;
        let read = Reading::new(connection, &self.keys).records(shards, to);
        if !matches!(read, Ok(true)) {
            // Answers may be on their way that nobody waits for.
            self.servers.forget(place);
        }
        read.map(|_| ()).map_err(|e| of_call(place, &e))
    }
}

impl Shards for RedisShards {
    fn count(&self) -> u16 {
        self.keys.shards
    }

    fn key(&self, name: &Name) -> String {
        self.keys.record(name)
    }

    fn call(&mut self, shard: u16, call: &Call) -> Result<Reply, CallError> {
        let head = self.keys.head(shard);
        let mut whole = false;
        for _ in 0..=REDIRECTS {
            let place = self.servers.place(&head)?;
            let script = self.scripts.of(call);
            let (verb, text) = match whole {
                true => ("EVAL", script.text),
                false => ("EVALSHA", script.hash.as_str()),
            };
            let cmd = command(&self.keys, shard, call, verb, text);
            let link = self.servers.link(&place)?;
            let id = link.id;
            match cmd.query::<String>(&mut link.connection) {
                Ok(text) => {
                    if let Some(carried) = self.carried.get_mut(usize::from(shard)) {
                        *carried = Some(id);
                    }
                    return Ok(Reply::parse(&text));
                }
                // Neither was executed.
                Err(e) if e.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => whole = true,
                Err(e) if moved(&e) => self.servers.forget(&place),
                Err(e) => return Err(self.failed(&place, &e)),
            }
        }
        let place = self.servers.place(&head)?;
        Err(CallError::NotNow {
            place,
            why: "the hash slot is being moved\nhint: do not reshard while a detector runs"
                .to_owned(),
        })
    }

    fn wait(&mut self, shard: u16) -> Result<Durable, CallError> {
        if !self.waitaof {
            return Ok(Durable::Unsupported);
        }
        let place = self.servers.place(&self.keys.head(shard))?;
        let carried = self.carried.get(usize::from(shard)).copied().flatten();
        if carried.is_none() || self.servers.open_id(&place) != carried {
            return Err(unknown(&place, "the connection that carried the call is closed"));
        }
        let replicas = self.section.wait_replicas;
        let mut cmd = redis::cmd("WAITAOF");
        cmd.arg(1).arg(replicas).arg(self.section.timeout_ms);
        let (local, copies): (i64, i64) = self.ask(&place, &cmd)?;
        if local >= 1 && copies >= i64::from(replicas) {
            return Ok(Durable::Yes);
        }
        Err(CallError::NotNow {
            place,
            why: format!(
                "not on the disk after {} ms ({local} here, {copies} of {replicas} replicas)\nhint: is the disk slow, is a replica down?",
                self.section.timeout_ms
            ),
        })
    }

    fn header(&mut self, shard: u16) -> Result<Header, CallError> {
        let key = self.keys.head(shard);
        let mut cmd = redis::cmd("HGETALL");
        cmd.arg(&key);
        let fields: BTreeMap<String, String> = self.ask_key(&key, &cmd)?;
        let header = Header::from_fields(fields.iter().map(|(k, v)| (k.as_str(), v.as_str())));
        header.ok_or_else(|| CallError::Never {
            place: key,
            why: "the header cannot be read\nhint: something else writes under this prefix; restore a backup".to_owned(),
        })
    }

    fn records(&mut self, each: &mut EachRecord<'_>) -> Result<(), CallError> {
        let mut places: BTreeMap<String, Vec<u16>> = BTreeMap::new();
        for shard in 0..self.keys.shards {
            let place = self.servers.place(&self.keys.head(shard))?;
            places.entry(place).or_default().push(shard);
        }
        let (to, found) = bounded(AHEAD);
        std::thread::scope(|scope| {
            let reader = std::thread::Builder::new().name("load".into());
            let reading = reader.spawn_scoped(scope, move || {
                places.iter().try_for_each(|(place, shards)| self.read(place, shards, &to))
            });
            let reading = reading.map_err(|e| CallError::NotNow {
                place: "this machine".to_owned(),
                why: format!("cannot start a thread: {e}"),
            })?;
            let taken = found.iter().flatten().try_for_each(|r| each(r.shard, r.name, &r.value));
            drop(found);
            let read = reading.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            taken.and(read)
        })
    }

    fn names(&mut self, each: &mut EachName<'_>) -> Result<(), CallError> {
        self.servers.places()?.iter().try_for_each(|place| {
            let connection = &mut self.servers.link(place)?.connection;
            let read = Reading::new(connection, &self.keys).names(each);
            read.map_err(|e| self.failed(place, &e))
        })
    }

    fn record(&mut self, name: &Name) -> Result<Option<Vec<u8>>, CallError> {
        let key = self.keys.record(name);
        let mut cmd = redis::cmd("GET");
        cmd.arg(&key);
        self.ask_key(&key, &cmd)
    }

    fn alive(&mut self) -> Result<Option<String>, CallError> {
        let key = self.keys.alive();
        let mut cmd = redis::cmd("GET");
        cmd.arg(&key);
        self.ask_key(&key, &cmd)
    }

    fn set_reading(&mut self, ttl_ms: u64) -> Result<(), CallError> {
        let key = self.keys.reading();
        if ttl_ms == 0 {
            let mut cmd = redis::cmd("DEL");
            cmd.arg(&key);
            return self.ask_key::<u64>(&key, &cmd).map(|_| ());
        }
        let mut cmd = redis::cmd("SET");
        cmd.arg(&key).arg(1).arg("PX").arg(ttl_ms);
        self.ask_key(&key, &cmd)
    }

    fn reading(&mut self) -> Result<bool, CallError> {
        let key = self.keys.reading();
        let mut cmd = redis::cmd("EXISTS");
        cmd.arg(&key);
        self.ask_key(&key, &cmd)
    }

    fn layout(&mut self, hash: &str) -> Result<Option<String>, CallError> {
        let key = self.keys.layout(hash);
        let mut cmd = redis::cmd("GET");
        cmd.arg(&key);
        self.ask_key(&key, &cmd)
    }

    fn publish_layout(&mut self, hash: &str, json: &str) -> Result<(), CallError> {
        let key = self.keys.layout(hash);
        let mut cmd = redis::cmd("SET");
        cmd.arg(&key).arg(json);
        self.ask_key(&key, &cmd)
    }
}

fn moved(e: &RedisError) -> bool {
    matches!(e.kind(), ErrorKind::Server(ServerErrorKind::Moved))
}

/// Major and minor version; (0, 0) when it cannot be told.
fn version(text: &str) -> (u32, u32) {
    let mut parts = text.split('.').map(|part| part.parse().unwrap_or_default());
    (parts.next().unwrap_or_default(), parts.next().unwrap_or_default())
}
