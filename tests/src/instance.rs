//! One process of the service.

use crate::stack::Stack;
use crate::support::{Scratch, binary};
use serde_json::Value;
use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Longest wait for an answer over HTTP.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// Longest wait for anything.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// How a service is configured, under names of its own.
pub struct Setup<'a> {
    /// Kafka and Redis.
    pub stack: &'a Stack,
    /// Folder with `conf/detector.toml`.
    pub scratch: &'a Scratch,
    /// Before every topic, the group and the keys.
    pub prefix: &'a str,
    /// `exactly_once` or `at_least_once`.
    pub delivery: &'a str,
}

impl Setup<'_> {
    /// Starts an instance.
    pub fn start(&self) -> Instance {
        self.start_with(&[])
    }

    /// Starts an instance with more options.
    pub fn start_with(&self, options: &[&str]) -> Instance {
        self.start_as(options, &[])
    }

    /// Starts an instance with more options and other settings.
    pub fn start_as(&self, options: &[&str], settings: &[(&str, &str)]) -> Instance {
        let port = free_port();
        let mut command = self.command(options, port);
        command.envs(settings.iter().copied());
        Instance::start(command, port, self.scratch.path(&format!("{}log", self.prefix)))
    }

    /// What is to be run.
    pub fn command(&self, options: &[&str], port: u16) -> Command {
        let p = self.prefix;
        let mut command = Command::new(binary());
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("DETECTOR__")) {
            command.env_remove(name);
        }
        command
            .args(["run", "--config", "conf"])
            .args(options)
            .current_dir(self.scratch.path(""))
            .env("DETECTOR__KAFKA__BOOTSTRAP", self.stack.bootstrap())
            .env("DETECTOR__KAFKA__GROUP", format!("{p}detector"))
            .env("DETECTOR__KAFKA__EVENTS", format!("[\"{p}events\"]"))
            .env("DETECTOR__KAFKA__LABELS", format!("[\"{p}labels\"]"))
            .env("DETECTOR__KAFKA__ACTIONS", format!("{p}actions"))
            .env("DETECTOR__KAFKA__SCORES", format!("{p}scores"))
            .env("DETECTOR__KAFKA__DEAD_LETTERS", format!("{p}dead-letters"))
            .env("DETECTOR__KAFKA__JOURNAL", format!("{p}journal"))
            .env("DETECTOR__KAFKA__DELIVERY", self.delivery)
            .env("DETECTOR__KAFKA__PARTITIONS_EVERY", "1s")
            .env("DETECTOR__REDIS__URL", self.stack.redis())
            .env("DETECTOR__REDIS__PREFIX", format!("{p}det:"))
            .env("DETECTOR__REDIS__LEASE_TTL_MS", "2000")
            .env("DETECTOR__STATE__CHECKPOINT_EVERY", "500ms")
            // Where files are to be watched, the test says so.
            .env("DETECTOR__RELOAD__FILES_EVERY", "0s")
            .env("DETECTOR__HTTP__LISTEN", format!("127.0.0.1:{port}"));
        command
    }
}

/// A port that nobody has at this moment.
pub fn free_port() -> u16 {
    let found = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr());
    found.expect("there is a free port").port()
}

/// A running process; killed with the test.
pub struct Instance {
    child: Child,
    port: u16,
    log: PathBuf,
}

impl Instance {
    /// Starts a command whose HTTP interface is at `port`; what it says is added to `log`.
    pub fn start(mut command: Command, port: u16, log: PathBuf) -> Self {
        let file = OpenOptions::new().create(true).append(true).open(&log);
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(file.expect("a file can be made"))
            .spawn()
            .expect("the binary starts");
        Self { child, port, log }
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Its exit code, once it has ended; -1 after a signal.
    pub fn exit(&mut self) -> Option<i32> {
        let status = self.child.try_wait().expect("the child is ours")?;
        Some(status.code().unwrap_or(-1))
    }

    /// Sends a signal: `STOP`, `CONT`, `TERM`.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").arg(format!("-{name}")).arg(self.id().to_string()).status();
        assert!(sent.expect("kill can be run").success());
    }

    /// Its state as `/readyz` tells it; none while it does not answer at once.
    pub fn state(&self) -> Option<String> {
        let (_, found) =
            self.ask("/readyz", Duration::from_millis(500)).and_then(|t| json_of(&t))?;
        found["state"].as_str().map(str::to_owned)
    }

    fn ask(&self, path: &str, within: Duration) -> Option<String> {
        let address = SocketAddr::from(([127, 0, 0, 1], self.port));
        let mut stream = TcpStream::connect_timeout(&address, within).ok()?;
        stream.set_read_timeout(Some(within)).ok()?;
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nConnection: close\r\n\r\n",
            self.port
        )
        .ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).ok()?;
        Some(text)
    }

    /// An answer of its HTTP interface: status and JSON.
    pub fn get(&self, path: &str) -> Option<(u16, Value)> {
        json_of(&self.ask(path, ANSWER_MAX)?)
    }

    /// Waits until it is live and has nothing left to take.
    #[track_caller]
    pub fn idle(&mut self) {
        self.wait("live and without lag", |found| {
            found["state"] == "live"
                && found["conditions"]
                    .as_array()
                    .is_some_and(|all| all.iter().any(|c| c["name"] == "lag" && c["ok"] == true))
        });
        // Ends of partitions are asked for every two seconds: what came since is seen after the next time.
        let metrics = || self.metric("detector_consumer_lag");
        let until = Instant::now() + PATIENCE;
        std::thread::sleep(Duration::from_millis(3000));
        while metrics().is_none_or(|lag| lag > 0.0) {
            assert!(Instant::now() < until, "lag remains\n{}", self.log());
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// Waits for a state that `/readyz` tells.
    #[track_caller]
    pub fn wait(&mut self, what: &str, good: impl Fn(&Value) -> bool) {
        let until = Instant::now() + PATIENCE;
        loop {
            if self.get("/readyz").is_some_and(|(_, found)| good(&found)) {
                return;
            }
            let ended = self.child.try_wait().expect("the child is ours");
            assert!(ended.is_none(), "ended while waiting for {what}: {ended:?}\n{}", self.log());
            assert!(Instant::now() < until, "never {what}\n{}", self.log());
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// The sum of a metric over its labels.
    pub fn metric(&self, name: &str) -> Option<f64> {
        let text = self.ask("/metrics", ANSWER_MAX)?;
        let values = text.lines().filter(|l| l.starts_with(name) && !l.starts_with('#'));
        let values: Vec<f64> = values.filter_map(|l| l.rsplit(' ').next()?.parse().ok()).collect();
        (!values.is_empty()).then(|| values.iter().sum())
    }

    /// Waits until a metric has a value.
    #[track_caller]
    pub fn wait_for_metric(&self, name: &str, value: f64) {
        let until = Instant::now() + PATIENCE;
        while self.metric(name) != Some(value) {
            assert!(Instant::now() < until, "{name} is never {value}\n{}", self.log());
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Waits until it ends by itself, with an error; what it said.
    #[track_caller]
    pub fn ended(mut self) -> String {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("the child is ours") {
                assert_eq!(status.code(), Some(1), "{}", self.log());
                return self.log();
            }
            assert!(Instant::now() < until, "it does not end\n{}", self.log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// SIGKILL.
    pub fn kill(mut self) {
        self.child.kill().expect("the child is ours");
        self.child.wait().expect("the child is ours");
    }

    /// SIGTERM; everything is to be published and saved.
    #[track_caller]
    pub fn stop(mut self) {
        self.signal("TERM");
        let until = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("the child is ours") {
                break status;
            }
            assert!(Instant::now() < until, "it does not end\n{}", self.log());
            std::thread::sleep(Duration::from_millis(50));
        };
        assert_eq!(status.code(), Some(0), "{}", self.log());
    }

    /// Whether the log of all instances under the prefix has a text.
    pub fn has_said(&self, text: &str) -> bool {
        std::fs::read_to_string(&self.log).unwrap_or_default().contains(text)
    }

    /// The end of what it said.
    pub fn log(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn json_of(answer: &str) -> Option<(u16, Value)> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split_whitespace().nth(1)?.parse().ok()?;
    Some((status, serde_json::from_str(body).unwrap_or(Value::Null)))
}
