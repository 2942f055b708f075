//! Everything that a fault can reach: Kafka and Redis, the proxies before them, two detectors, the clocks.

use super::pair::{Pair, Side, set_clock};
use super::plan::{Fault, Kind};
use super::proxy::Proxy;
use crate::instance::Setup;
use crate::stack::Stack;
use crate::support::Scratch;
use detector::kafka::config::KafkaSection;
use detector::kafka::journal::Offsets;
use detector::kafka::topics::Topics;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions};
use rdkafka::client::DefaultClientContext;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::{Duration, Instant};

const CLOCK: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/chaos/clock.c");
/// Older copies of Redis that are kept.
const COPIES: usize = 4;
/// Longest wait for the detectors to do what they are expected to do.
pub const PATIENCE: Duration = Duration::from_secs(180);

/// All of it.
pub struct World {
    /// Kafka and Redis.
    pub stack: Stack,
    /// The detectors.
    pub pair: Pair,
    sides: Vec<Side>,
    redis_clock: PathBuf,
    copies: Vec<PathBuf>,
    copied: u32,
    /// Partitions of each input topic.
    partitions: u32,
    /// Where the outputs stood each time that the state was made anew.
    pub rebuilt: Vec<Offsets>,
    /// For the questions of this program; not through a proxy.
    pub section: KafkaSection,
    scratch: Scratch,
}

/// Builds the clock that can be set.
fn clock(scratch: &Scratch) -> PathBuf {
    let library = scratch.path("clock.so");
    let built = Command::new(std::env::var("CC").unwrap_or_else(|_| "cc".into()))
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .arg(&library)
        .args([CLOCK, "-ldl"])
        .output()
        .expect("a C compiler is there: it built this program's dependencies (or set CC)");
    assert!(built.status.success(), "{CLOCK}: {}", String::from_utf8_lossy(&built.stderr));
    library
}

impl World {
    /// Starts everything; `scratch` holds `conf/detector.toml`, and the logs `a` and `b` afterwards.
    pub fn start(scratch: Scratch, prefix: &str, partitions: u32, delivery: &str) -> Self {
        let library = clock(&scratch);
        let redis_clock = scratch.path("clock-redis");
        let sides: Vec<Side> = ["clock-a", "clock-b"]
            .map(|name| Side {
                kafka: Proxy::start(),
                redis: Proxy::start(),
                clock: scratch.path(name),
            })
            .into();
        for file in sides.iter().map(|s| &s.clock).chain([&redis_clock]) {
            set_clock(file, 0);
        }
        let preload = format!("LD_PRELOAD={}", library.display());
        let redis_has = format!("CHAOS_CLOCK={}", redis_clock.display());
        let ports: Vec<String> = sides.iter().map(|s| s.kafka.port().to_string()).collect();
        let mut options = vec!["--redis-env", &preload, "--redis-env", &redis_has];
        for port in &ports {
            options.extend(["--behind", port]);
        }
        let stack = Stack::up_with(&options);
        stack.topics(prefix, partitions);
        let redis = stack.redis().rsplit_once(':').and_then(|(_, port)| port.parse().ok());
        let redis: u16 = redis.expect("the URL of the stack's Redis ends in its port");
        let mut commands = Vec::new();
        for (side, name) in sides.iter().zip(["a", "b"]) {
            let behind = stack.variable(&format!("KAFKA_BEHIND_{}", side.kafka.port()));
            side.kafka.lead_to(behind.parse().expect("a port"));
            side.redis.lead_to(redis);
            let setup = Setup { stack: &stack, scratch: &scratch, prefix, delivery };
            let mut command = setup.command(&[], 0);
            command
                .env("DETECTOR__KAFKA__BOOTSTRAP", format!("127.0.0.1:{}", side.kafka.port()))
                .env("DETECTOR__REDIS__URL", format!("redis://127.0.0.1:{}", side.redis.port()))
                .env("LD_PRELOAD", &library)
                .env("CHAOS_CLOCK", &side.clock);
            commands.push((command, scratch.path(name)));
        }
        let section = KafkaSection {
            bootstrap: stack.bootstrap().to_owned(),
            group: format!("{prefix}detector"),
            events: vec![format!("{prefix}events")],
            labels: vec![format!("{prefix}labels")],
            actions: format!("{prefix}actions"),
            scores: Some(format!("{prefix}scores")),
            dead_letters: format!("{prefix}dead-letters"),
            journal: format!("{prefix}journal"),
            ..KafkaSection::default()
        };
        Self {
            stack,
            pair: Pair::start(commands),
            sides,
            redis_clock,
            copies: Vec::new(),
            copied: 0,
            partitions,
            rebuilt: Vec::new(),
            section,
            scratch,
        }
    }

    /// Where configuration and logs lie.
    pub fn scratch(&self) -> &Scratch {
        &self.scratch
    }

    /// Which detector is live; waits for one, and then says the one that the fault chose.
    fn live(&self, fault: &Fault) -> usize {
        let until = Instant::now() + Duration::from_secs(5);
        while Instant::now() < until {
            if let Some(live) = self.pair.live() {
                return live;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        (fault.choice % 2) as usize
    }

    /// The detectors between which and a server something happens.
    fn some(&self, fault: &Fault) -> Vec<usize> {
        match (fault.choice >> 8) % 3 {
            0 => vec![self.live(fault)],
            1 => vec![1 - self.live(fault)],
            _ => vec![0, 1],
        }
    }

    /// Does it, and takes back what is not meant to last. `growing` is told the number of partitions.
    ///
    /// # Errors
    /// When the detectors do not do what they must.
    pub fn do_it(&mut self, fault: &Fault, growing: &AtomicU32) -> Result<(), String> {
        let lasts = Duration::from_millis(fault.lasts_ms);
        let short = Duration::from_millis(fault.lasts_ms.min(800));
        match fault.kind {
            Kind::KillLive => self.pair.kill(self.live(fault), short),
            Kind::KillStandby => self.pair.kill(1 - self.live(fault), short),
            Kind::KillBoth => self.kill_both(short),
            Kind::HandOver => self.pair.signal(self.live(fault), "TERM"),
            Kind::Zombie => self.zombie(fault),
            Kind::KillRedis => {
                self.stack.run(&["kill-redis"]);
                self.copy();
                std::thread::sleep(short);
                self.stack.run(&["restart-redis"]);
            }
            Kind::OlderRedis | Kind::OlderRedisAtStart => {
                if self.copies.is_empty() {
                    self.stack.run(&["kill-redis"]);
                    self.copy();
                    self.stack.run(&["restart-redis"]);
                    std::thread::sleep(Duration::from_millis(1500));
                }
                let copy = self.copies[(fault.choice % self.copies.len() as u64) as usize].clone();
                if fault.kind == Kind::OlderRedisAtStart {
                    self.kill_both(short);
                }
                self.stack.run(&["kill-redis"]);
                self.put(Some(&copy));
                self.stack.run(&["restart-redis"]);
            }
            Kind::EmptyRedis => self.empty_redis()?,
            Kind::KillKafka => {
                self.stack.run(&["kill-kafka"]);
                std::thread::sleep(short);
                self.stack.run(&["restart-kafka"]);
            }
            Kind::Grow => self.grow(Duration::from_millis(fault.choice % 400), growing),
            Kind::StallRedis => self.links(fault, lasts, |s| &s.redis, Proxy::freeze),
            Kind::CutRedis => self.links(fault, lasts, |s| &s.redis, Proxy::refuse),
            Kind::StallKafka => self.links(fault, lasts, |s| &s.kafka, Proxy::freeze),
            Kind::CutKafka => self.links(fault, lasts, |s| &s.kafka, Proxy::refuse),
            Kind::ClockOfDetector => {
                let file = &self.sides[self.live(fault)].clock;
                // Kafka refuses what claims to be from more than an hour ahead.
                let minutes = (fault.choice % 1500) as i64 - 1440;
                self.jump(file, minutes.min(55), lasts);
            }
            Kind::ClockOfRedis => {
                self.jump(&self.redis_clock, (fault.choice % 240) as i64 - 120, lasts);
            }
        }
        Ok(())
    }

    fn kill_both(&self, pause: Duration) {
        self.pair.kill(0, pause);
        self.pair.kill(1, pause);
    }

    fn links(
        &self,
        fault: &Fault,
        lasts: Duration,
        which: impl Fn(&Side) -> &Proxy,
        what: impl Fn(&Proxy, bool),
    ) {
        let some = self.some(fault);
        some.iter().for_each(|number| what(which(&self.sides[*number]), true));
        std::thread::sleep(lasts);
        some.iter().for_each(|number| what(which(&self.sides[*number]), false));
    }

    fn jump(&self, clock: &Path, minutes: i64, lasts: Duration) {
        set_clock(clock, minutes * 60_000);
        std::thread::sleep(lasts);
        set_clock(clock, 0);
    }

    fn zombie(&self, fault: &Fault) {
        let zombie = self.live(fault);
        self.pair.signal(zombie, "STOP");
        let until = Instant::now() + Duration::from_secs(20);
        while self.pair.live().is_none() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(50));
        }
        std::thread::sleep(Duration::from_millis(fault.choice % 700));
        self.pair.signal(zombie, "CONT");
    }

    fn redis_data(&self) -> PathBuf {
        self.stack.folder().join("redis/data")
    }

    /// Keeps a copy of what Redis holds; it must not run.
    fn copy(&mut self) {
        self.copied += 1;
        let to = self.scratch.path(&format!("redis-{}", self.copied));
        copy_folder(&self.redis_data(), &to);
        self.copies.push(to);
        if self.copies.len() > COPIES {
            std::fs::remove_dir_all(self.copies.remove(0)).expect("it can be removed");
        }
    }

    /// Gives Redis, which must not run, a copy, or nothing.
    fn put(&self, copy: Option<&Path>) {
        std::fs::remove_dir_all(self.redis_data()).expect("it can be removed");
        match copy {
            Some(copy) => copy_folder(copy, &self.redis_data()),
            None => std::fs::create_dir(self.redis_data()).expect("it can be made"),
        }
    }

    /// Redis comes back empty. Both detectors must refuse, and one is told to make the state anew.
    fn empty_redis(&mut self) -> Result<(), String> {
        self.stack.run(&["kill-redis"]);
        self.put(None);
        self.stack.run(&["restart-redis"]);
        let until = Instant::now() + PATIENCE;
        while !self.pair.both_refuse() {
            if Instant::now() > until {
                return Err(format!("an empty Redis is not refused: {:?}", self.pair.states()));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let topics = Topics::new(&self.section).map_err(|e| e.to_string())?;
        let committed = topics.inputs().and_then(|inputs| topics.committed(&inputs));
        self.rebuilt.push(committed.map_err(|e| e.to_string())?);
        // An older copy holds a state from before: a person who has decided does not put it back.
        self.copies.clear();
        self.pair.decide(&["--rebuild-from", "earliest"]);
        while self.pair.live().is_none() {
            if Instant::now() > until || self.pair.both_refuse() {
                return Err(format!("the state is not made anew: {:?}", self.pair.states()));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// One more partition of both input topics, one topic after the other as a person would do it.
    fn grow(&mut self, between: Duration, growing: &AtomicU32) {
        let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
            .set("bootstrap.servers", self.stack.bootstrap())
            .create()
            .expect("a client can be made");
        let runtime =
            tokio::runtime::Builder::new_current_thread().build().expect("it can be made");
        self.partitions += 1;
        for topic in self.section.events.iter().chain(&self.section.labels) {
            let options = AdminOptions::new().request_timeout(Some(Duration::from_secs(30)));
            let more = NewPartitions::new(topic, self.partitions as usize);
            let until = Instant::now() + Duration::from_secs(60);
            loop {
                let made = runtime.block_on(admin.create_partitions([&more], &options));
                match made.map(|results| results.into_iter().all(|r| r.is_ok())) {
                    Ok(true) => break,
                    // It was made, and the answer lost, or Kafka is on its way up.
                    found => {
                        let topics = Topics::new(&self.section).expect("a client can be made");
                        if topics.partitions(topic).is_ok_and(|n| n >= self.partitions as i32) {
                            break;
                        }
                        assert!(Instant::now() < until, "{topic}: no new partition: {found:?}");
                        std::thread::sleep(Duration::from_millis(200));
                    }
                }
            }
            std::thread::sleep(between);
        }
        growing.store(self.partitions, SeqCst);
    }
}

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder can be made");
    for entry in std::fs::read_dir(from).expect("it can be read") {
        let entry = entry.expect("it can be read");
        let into = to.join(entry.file_name());
        if entry.file_type().expect("it has a type").is_dir() {
            copy_folder(&entry.path(), &into);
        } else {
            match std::fs::copy(entry.path(), into) {
                // What Redis forked to rewrite its file may still clean up behind itself.
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
                copied => drop(copied.expect("it can be copied")),
            }
        }
    }
}
