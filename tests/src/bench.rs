//! What the service does with Kafka and Redis on the same machine: events per second, CPU time per event of each process, and the
//! time from producing an event to seeing its action.

mod actions;
mod feeder;
mod pauses;
mod slice;

use crate::instance::{Instance, Setup, free_port};
use crate::process::{cpu_seconds, policy, resident_bytes};
use crate::stack::Stack;
use crate::support::Scratch;
use actions::Actions;
use detector::kafka::config::KafkaSection;
use detector::kafka::journal::Offsets;
use detector::kafka::topics::Topics;
use detector::workload::{Workload, random_bundle};
use feeder::Feeder;
use pauses::Pauses;
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use serde::Serialize;
use slice::Slice;
use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const PARTITIONS: u32 = 16;
/// As the fixed workload has it.
const TREES: u32 = 300;
const LEAVES: u32 = 31;
/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(900);

/// What is to be measured.
#[derive(Clone, Debug)]
pub struct Options {
    /// Accounts, each known by two events before anything is measured.
    pub accounts: u32,
    /// Events of the backlog that is drained.
    pub events: u64,
    /// Events per second; empty: 10,000, and half of what the backlog was drained with.
    pub rates: Vec<u32>,
    /// How long each rate is held.
    pub seconds: u32,
    /// How long it is held before that, half of the time at half the rate: a broker that has just begun compiles its own code, which is not measured.
    pub warm_up_seconds: u32,
    /// `exactly_once`, `at_least_once`.
    pub deliveries: Vec<String>,
    /// A folder for what the service said, and for the latency of each action as CSV.
    pub keep: Option<std::path::PathBuf>,
}

/// One measurement.
#[derive(Debug, Serialize)]
pub struct Run {
    /// How outputs are delivered.
    pub delivery: String,
    /// `fill`, `drain` or `paced`.
    pub what: &'static str,
    /// Events produced.
    pub events: u64,
    /// Events per second asked for; none: as fast as it goes.
    pub rate: Option<u32>,
    /// Events per second taken.
    pub events_per_s: f64,
    /// CPU microseconds per event of each process: `kafka`, `redis`, `detector`, and `client`, which is this program.
    pub cpu_us_per_event: BTreeMap<&'static str, f64>,
    /// Milliseconds from producing an event to seeing its action: the shares that came sooner.
    pub latency_ms: BTreeMap<&'static str, f64>,
    /// Milliseconds, above one at a time, for which a core was with none of what is measured while a rate was held: the `longest`, and the
    /// `total` over all cores. Empty without a real-time policy.
    pub pauses_ms: BTreeMap<&'static str, f64>,
    /// Actions seen.
    pub actions: u64,
    /// Events that were not taken, or not committed.
    pub lost: u64,
    /// Actions that came twice.
    pub duplicated: u64,
    /// Memory of the detector at the end, bytes.
    pub resident_bytes: u64,
}

/// Everything.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// Accounts.
    pub accounts: u32,
    /// The folder in which Kafka's log has its own, if it was told where (`STACK_KAFKA_LOG`).
    pub kafka_log: Option<String>,
    /// How the kernel shares the cores out among what is measured: `rr`, `batch`.
    pub policy: &'static str,
    /// For how long a thread keeps its core while others wait, if the policy is a real-time one (`rr`).
    pub slice_ms: Option<u32>,
    /// Seconds from the start of a process to being live, with all accounts in Redis, by delivery.
    pub start_s: BTreeMap<String, f64>,
    /// The measurements.
    pub runs: Vec<Run>,
}

impl Report {
    /// Events that were lost, and actions that came twice although they must not.
    pub fn losses(&self) -> u64 {
        let twice = |r: &Run| if r.delivery == "exactly_once" { r.duplicated } else { 0 };
        self.runs.iter().map(|r| r.lost + twice(r)).sum()
    }
}

/// Measures. `say` gets a line after each.
pub fn run(options: &Options, say: &mut dyn FnMut(String)) -> Report {
    let scratch = Scratch::new();
    configure(&scratch);
    let kafka_log = std::env::var("STACK_KAFKA_LOG").ok().filter(|folder| !folder.is_empty());
    if let Some(folder) = &kafka_log {
        say(format!("Kafka's log lies in {folder}"));
    }
    let (policy, _) = policy("self").expect("this runs");
    let _shorter = Slice::shorten();
    let slice_ms = Slice::ms().filter(|_| policy == "rr");
    let slices = slice_ms.map_or(String::new(), |ms| format!(", in slices of {ms} ms"));
    say(format!("everything runs by the policy {policy}{slices}"));
    let accounts = options.accounts;
    let mut report = Report { accounts, kafka_log, policy, slice_ms, ..Report::default() };
    for delivery in &options.deliveries {
        let stack = Stack::up();
        let mut bench = Bench::new(options, delivery, &stack, &scratch);
        let filled = bench.backlog("fill", u64::from(options.accounts) * 2);
        say(shown(&filled));
        report.runs.push(filled);
        let drained = bench.backlog("drain", options.events);
        let half = (drained.events_per_s / 2.0) as u32;
        say(shown(&drained));
        report.runs.push(drained);
        let start_s = bench.start();
        say(format!("{delivery}: live {start_s:.1} s after the start of the process"));
        report.start_s.insert(delivery.clone(), start_s);
        let rates = match options.rates.is_empty() {
            true => vec![10_000, half],
            false => options.rates.clone(),
        };
        bench.tidy_redis();
        for rate in rates {
            // Half the rate at first: a compiler that comes after the others gets nowhere where they take all there is.
            let half_s = options.warm_up_seconds / 2;
            for (rate, seconds) in [(rate / 2, half_s), (rate, options.warm_up_seconds - half_s)] {
                if seconds > 0 {
                    bench.paced(rate, seconds);
                }
            }
            let paced = bench.paced(rate, options.seconds);
            say(shown(&paced));
            report.runs.push(paced);
        }
        bench.stop();
        if let Some(folder) = &options.keep {
            let copied = std::fs::copy(&bench.log, folder.join(format!("{delivery}.log")));
            copied.expect("the log can be copied");
        }
    }
    report
}

fn shown(run: &Run) -> String {
    let list = |values: &BTreeMap<&'static str, f64>, digits: usize| {
        let one = |(name, value): (&&str, &f64)| format!("{name} {value:.digits$}");
        values.iter().map(one).collect::<Vec<_>>().join(", ")
    };
    let rate = run.rate.map_or(String::new(), |rate| format!(" of {rate} asked for"));
    let latency = match run.latency_ms.is_empty() {
        true => String::new(),
        false => format!("; produce to action, ms: {}", list(&run.latency_ms, 1)),
    };
    let pauses = match run.pauses_ms.is_empty() {
        true => String::new(),
        false => format!("; pauses of a core, ms: {}", list(&run.pauses_ms, 1)),
    };
    format!(
        "{} {}: {} events, {:.0} per second{rate}; CPU us per event: {}{latency}{pauses}; {} actions, {} lost, {} twice; {} MB",
        run.delivery,
        run.what,
        run.events,
        run.events_per_s,
        list(&run.cpu_us_per_event, 2),
        run.actions,
        run.lost,
        run.duplicated,
        run.resident_bytes >> 20
    )
}

/// The benchmark's configuration, with a forest of its size.
fn configure(scratch: &Scratch) {
    let text = detector::shipped::BENCH_CONFIG;
    let config = detector::config::parse(text, &BTreeMap::new())
        .unwrap_or_else(|problems| panic!("it is shipped: {problems:?}"));
    let engine = engine::Engine::new(config, None, engine::Options::default())
        .unwrap_or_else(|problems| panic!("it is shipped: {problems:?}"));
    let bundle = random_bundle(&engine, TREES, LEAVES).unwrap_or_else(|e| panic!("{e}"));
    let folder = scratch.path("conf/model");
    std::fs::create_dir_all(&folder).expect("a folder can be made");
    for (name, bytes) in bundle.to_files() {
        std::fs::write(folder.join(name), bytes).expect("a file can be written");
    }
    scratch.write("conf/detector.toml", format!("{text}\n[model]\npath = \"model\"\n"));
}

struct Bench<'a> {
    stack: &'a Stack,
    setup: Setup<'a>,
    delivery: &'a str,
    workload: Workload,
    producer: BaseProducer,
    section: KafkaSection,
    service: Option<Instance>,
    /// Fill messages drawn so far.
    filled: u64,
    /// Events that the running process has taken, as it counts them.
    log: std::path::PathBuf,
    keep: Option<std::path::PathBuf>,
}

/// CPU seconds of each process.
type Cpu = BTreeMap<&'static str, f64>;

impl<'a> Bench<'a> {
    fn new(options: &Options, delivery: &'a str, stack: &'a Stack, scratch: &'a Scratch) -> Self {
        stack.topics("", PARTITIONS);
        let producer = ClientConfig::new()
            .set("bootstrap.servers", stack.bootstrap())
            .set("enable.idempotence", "true")
            .set("compression.type", "lz4")
            .set("linger.ms", "5")
            .set("queue.buffering.max.messages", "1000000")
            .create()
            .expect("a producer can be made");
        let section = KafkaSection {
            bootstrap: stack.bootstrap().to_owned(),
            group: "detector".into(),
            ..KafkaSection::default()
        };
        Self {
            stack,
            setup: Setup { stack, scratch, prefix: "", delivery },
            delivery,
            workload: Workload::new(options.accounts),
            producer,
            section,
            service: None,
            filled: 0,
            log: scratch.path("log"),
            keep: options.keep.clone(),
        }
    }

    /// Starts the service; seconds until it is live.
    fn start(&mut self) -> f64 {
        self.stop();
        let port = free_port();
        let mut command = self.setup.command(&[], port);
        // As it ships, and not as tests of failures want it.
        for name in ["DETECTOR__KAFKA__SCORES", "DETECTOR__KAFKA__PARTITIONS_EVERY"] {
            command.env_remove(name);
        }
        command.env_remove("DETECTOR__RELOAD__FILES_EVERY");
        for name in ["DETECTOR__REDIS__LEASE_TTL_MS", "DETECTOR__STATE__CHECKPOINT_EVERY"] {
            command.env_remove(name);
        }
        if self.keep.is_some() {
            command.env("DETECTOR__LOG__LEVEL", "debug");
        }
        let begun = Instant::now();
        let service = Instance::start(command, port, self.log.clone());
        while service.state().as_deref() != Some("live") {
            assert!(begun.elapsed() < PATIENCE, "it is not live\n{}", service.log());
            std::thread::sleep(Duration::from_millis(20));
        }
        self.service = Some(service);
        begun.elapsed().as_secs_f64()
    }

    /// Has Redis rewrite its file, and waits for that: the backlogs have made it long, and whether a rewrite of what they left falls
    /// into the measured seconds would be a matter of chance.
    fn tidy_redis(&self) {
        let client = redis::Client::open(self.stack.redis()).expect("an address");
        let mut connection = client.get_connection().expect("Redis answers");
        let info = |connection: &mut redis::Connection| -> String {
            redis::cmd("INFO").arg("persistence").query(connection).expect("Redis answers")
        };
        let is_busy = |info: &str| {
            info.contains("aof_rewrite_in_progress:1") || info.contains("aof_rewrite_scheduled:1")
        };
        let begun = Instant::now();
        let wait = |connection: &mut redis::Connection| {
            while is_busy(&info(connection)) {
                assert!(begun.elapsed() < PATIENCE, "Redis does not end its rewrite");
                std::thread::sleep(Duration::from_millis(100));
            }
        };
        wait(&mut connection);
        redis::cmd("BGREWRITEAOF").exec(&mut connection).expect("Redis rewrites its file");
        wait(&mut connection);
        assert!(info(&mut connection).contains("aof_last_bgrewrite_status:ok"), "it failed");
    }

    fn stop(&mut self) {
        if let Some(service) = self.service.take() {
            service.stop();
        }
    }

    fn service(&self) -> &Instance {
        self.service.as_ref().expect("it was started")
    }

    fn taken(&self) -> u64 {
        self.service().metric("detector_events_total").unwrap_or(0.0) as u64
    }

    fn cpu(&self) -> Cpu {
        let pid = |name: &str| self.stack.variable(name).parse().expect("a process id");
        let all = [
            ("kafka", pid("KAFKA_PID")),
            ("redis", pid("REDIS_PID")),
            ("detector", self.service().id()),
            ("client", std::process::id()),
        ];
        all.into_iter().map(|(name, id)| (name, cpu_seconds(id).expect("it runs"))).collect()
    }

    fn message(&mut self, fill: bool, out: &mut Vec<u8>) {
        out.clear();
        if fill {
            self.workload.fill(self.filled, out);
            self.filled += 1;
        } else {
            self.workload.event(out);
        }
    }

    fn send(&self, message: &[u8]) {
        let mut record = BaseRecord::to("events").key(account_of(message)).payload(message);
        while let Err((_, back)) = self.producer.send(record) {
            record = back;
            self.producer.poll(Duration::from_millis(5));
        }
    }

    /// Everything committed, where the partitions end: how many messages are between.
    fn uncommitted(&self) -> u64 {
        let topics = Topics::new(&self.section).expect("a client can be made");
        let inputs = topics.inputs().expect("Kafka answers");
        let committed: Offsets = topics.committed(&inputs).expect("Kafka answers");
        let left = |tp| {
            let (low, high) = topics.bounds(tp).expect("Kafka answers");
            (high - committed.get(tp).copied().unwrap_or(low)) as u64
        };
        inputs.iter().map(left).sum()
    }

    fn run(&self, what: &'static str, events: u64, rate: Option<u32>, took: f64, cpu: Cpu) -> Run {
        let taken = self.taken();
        let deadline = Instant::now() + Duration::from_secs(10);
        while self.uncommitted() > 0 && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(100));
        }
        Run {
            delivery: self.delivery.into(),
            what,
            events,
            rate,
            events_per_s: events as f64 / took,
            cpu_us_per_event: cpu
                .into_iter()
                .map(|(name, seconds)| (name, seconds * 1e6 / events as f64))
                .collect(),
            latency_ms: BTreeMap::new(),
            pauses_ms: BTreeMap::new(),
            actions: 0,
            lost: events.saturating_sub(taken).max(self.uncommitted()),
            duplicated: 0,
            resident_bytes: resident_bytes(self.service().id()).unwrap_or(0),
        }
    }

    /// Produces a backlog while the service is down, and measures how it is drained.
    fn backlog(&mut self, what: &'static str, events: u64) -> Run {
        self.stop();
        let mut message = Vec::new();
        for _ in 0..events {
            self.message(what == "fill", &mut message);
            self.send(&message);
        }
        self.producer.flush(PATIENCE).expect("all is delivered");
        let watch = Actions::watch(self.stack);
        self.start();
        let (begun, before, first) = (Instant::now(), self.cpu(), self.taken());
        self.until_taken(events, begun);
        let took = begun.elapsed().as_secs_f64();
        let cpu = spent(&before, self.cpu());
        let mut run = self.run(what, events, None, took, cpu);
        // What was taken between the first sign of being live and the first look does not count.
        run.events_per_s = (events - first) as f64 / took;
        for value in run.cpu_us_per_event.values_mut() {
            *value *= events as f64 / (events - first) as f64;
        }
        (run.actions, run.duplicated) = watch.ended();
        run
    }

    /// Waits until so many events were taken since the service began.
    fn until_taken(&self, events: u64, begun: Instant) {
        while self.taken() < events {
            assert!(
                begun.elapsed() < PATIENCE,
                "it does not come to an end\n{}",
                self.service().log()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Holds a rate.
    fn paced(&mut self, rate: u32, seconds: u32) -> Run {
        let events = u64::from(rate) * u64::from(seconds);
        let first = self.workload.serial() + 1;
        let mut messages = Vec::with_capacity(events as usize);
        for _ in 0..events {
            let mut message = Vec::new();
            self.message(false, &mut message);
            messages.push(message);
        }
        let watch = Actions::watch(self.stack);
        let pauses = Pauses::watch();
        let already = self.taken();
        let (begun, before) = (Instant::now(), self.cpu());
        let begun_unix_ms = unix_ms();
        watch.begins(begun);
        let mut produced_us: Vec<u64> = Vec::with_capacity(messages.len());
        let mut feeder = Feeder::new(self.stack.bootstrap(), "events", PARTITIONS);
        while produced_us.len() < messages.len() {
            let due = (begun.elapsed().as_secs_f64() * f64::from(rate)) as usize;
            let at = produced_us.len();
            for message in &messages[at..due.min(messages.len()).max(at)] {
                // When it was due: a client that comes too late is part of what is waited for.
                produced_us.push((produced_us.len() as f64 / f64::from(rate) * 1e6) as u64);
                feeder.put(account_of(message), message, unix_ms() as i64);
            }
            feeder.send();
            std::thread::sleep(Duration::from_micros(500));
        }
        feeder.flush();
        self.until_taken(already + events, begun);
        let took = begun.elapsed().as_secs_f64();
        let cpu = spent(&before, self.cpu());
        let pauses_ms = pauses.map(Pauses::ended).unwrap_or_default();
        let mut run = self.run("paced", events, Some(rate), took, cpu);
        run.pauses_ms = pauses_ms;
        run.lost = run.lost.min(self.uncommitted());
        let seen = watch.seen.clone();
        (run.actions, run.duplicated) = watch.ended();
        let seen = seen.lock().expect("nobody panicked");
        let times = seen.iter().filter_map(|(serial, at)| {
            let produced = *produced_us.get(serial.checked_sub(first)? as usize)?;
            Some((produced, at.saturating_sub(produced)))
        });
        if let Some(folder) = &self.keep {
            let at_unix_ms = |us: u64| begun_unix_ms + us / 1000;
            let lines =
                times.clone().map(|(produced, took)| format!("{},{took}\n", at_unix_ms(produced)));
            let text: String =
                std::iter::once("produced_unix_ms,took_us\n".into()).chain(lines).collect();
            std::fs::write(folder.join(format!("{}-{rate}.csv", self.delivery)), text)
                .expect("a file can be written");
        }
        let mut took_us: Vec<u64> = times.map(|(_, took)| took).collect();
        took_us.sort_unstable();
        for (name, share) in [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)] {
            let at = ((took_us.len() as f64 * share).ceil() as usize).saturating_sub(1);
            if let Some(us) = took_us.get(at) {
                run.latency_ms.insert(name, *us as f64 / 1e3);
            }
        }
        run
    }
}

/// What the clock on the wall says, to find a moment in the service's log.
fn unix_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is later than that");
    now.as_millis() as u64
}

/// The account of a message of the workload, which is its key.
fn account_of(message: &[u8]) -> &[u8] {
    const BEFORE: &[u8] = b"\"account\":\"";
    let at = message.windows(BEFORE.len()).position(|w| w == BEFORE).expect("it has an account");
    let rest = &message[at + BEFORE.len()..];
    &rest[..rest.iter().position(|b| *b == b'"').expect("it ends")]
}

fn spent(before: &Cpu, after: Cpu) -> Cpu {
    after.into_iter().map(|(name, at)| (name, at - before.get(name).unwrap_or(&0.0))).collect()
}
