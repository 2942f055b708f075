//! Builds the binary once, runs it in folders of its own, and makes streams.

use serde_json::{Value, json};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use tempfile::TempDir;

/// The binary, built by the cargo that runs these tests, in the same profile; or the one that `DETECTOR_BINARY` names, as it is.
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        if let Some(given) = std::env::var_os("DETECTOR_BINARY") {
            return given.into();
        }
        // .../target/<profile>/deps/files-0123456789abcdef, or .../target/<profile>/chaos
        let this = std::env::current_exe().expect("a program has a path");
        let folder = this.parent().expect("programs lie in a folder");
        let folder = match folder.ends_with("deps") {
            true => folder.parent().expect("that lies in the profile's"),
            false => folder,
        };
        let target = folder.parent().expect("profiles lie in the target folder");
        let profile = match folder.file_name().and_then(|n| n.to_str()) {
            None | Some("debug") => "dev",
            Some(name) => name,
        };
        let built = Command::new(env!("CARGO"))
            .args(["build", "--locked", "--package", "detector", "--bin", "detector"])
            .args(["--profile", profile, "--target-dir"])
            .arg(target)
            .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
            .output()
            .expect("cargo runs");
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        folder.join("detector")
    })
}

/// What a command left.
pub struct Outcome {
    /// Exit code; none after a signal.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: String,
}

impl Outcome {
    /// Asserts that it did what it was asked.
    #[track_caller]
    pub fn good(self) -> Self {
        assert_eq!(self.code, Some(0), "{}", self.stderr);
        self
    }

    /// Asserts that it failed with this code, and says all of these words.
    #[track_caller]
    pub fn bad(self, code: i32, words: &[&str]) -> Self {
        assert_eq!(self.code, Some(code), "{}", self.stderr);
        for word in words {
            assert!(self.stderr.contains(word), "{word:?} is not in: {}", self.stderr);
        }
        self
    }

    /// The summary that `--json` prints on standard error.
    #[track_caller]
    pub fn summary(&self) -> Value {
        let line =
            self.stderr.lines().rfind(|l| l.starts_with('{')).expect("a summary was printed");
        serde_json::from_str(line).expect("the summary is JSON")
    }

    /// Standard output as text.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.stdout).expect("standard output is text")
    }
}

/// A folder of one test.
pub struct Scratch {
    dir: TempDir,
}

impl Default for Scratch {
    fn default() -> Self {
        Self::new()
    }
}

impl Scratch {
    /// A new folder, removed with this value.
    pub fn new() -> Self {
        Self { dir: tempfile::tempdir().expect("a folder can be made") }
    }

    /// Where a file of it lies.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes a file; its path.
    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, bytes).expect("a file can be written");
        path
    }

    /// The bytes of a file.
    #[track_caller]
    pub fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
    }

    /// Lines of a file as JSON.
    #[track_caller]
    pub fn lines(&self, name: &str) -> Vec<Value> {
        json_lines(&self.read(name))
    }

    /// A command in this folder, without the environment of the test.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command.args(args).current_dir(self.dir.path()).env_clear().stdin(Stdio::null());
        command
    }

    /// Runs a command whose arguments hold no spaces.
    pub fn run(&self, args: &str) -> Outcome {
        self.run_with(args, &[], None)
    }

    /// As [`Self::run`], with variables and standard input.
    pub fn run_with(&self, args: &str, env: &[(&str, &str)], stdin: Option<&[u8]>) -> Outcome {
        let args: Vec<&str> = args.split_whitespace().collect();
        let mut command = self.command(&args);
        command.envs(env.iter().copied()).stdout(Stdio::piped()).stderr(Stdio::piped());
        if stdin.is_some() {
            command.stdin(Stdio::piped());
        }
        let mut child = command.spawn().expect("the binary starts");
        let feeder = stdin.map(|bytes| {
            let (mut pipe, bytes) =
                (child.stdin.take().expect("standard input is a pipe"), bytes.to_vec());
            // A command that refuses its input closes the pipe early.
            std::thread::spawn(move || drop(pipe.write_all(&bytes)))
        });
        let output = child.wait_with_output().expect("the binary ends");
        if let Some(feeder) = feeder {
            feeder.join().expect("the feeder ends");
        }
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!stderr.contains("panicked"), "{args:?}: {stderr}");
        Outcome { code: output.status.code(), stdout: output.stdout, stderr }
    }
}

/// Lines of bytes as JSON.
#[track_caller]
pub fn json_lines(bytes: &[u8]) -> Vec<Value> {
    bytes
        .split(|b| *b == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).expect("each line is JSON"))
        .collect()
}

/// Compresses.
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).expect("memory takes all");
    encoder.finish().expect("memory takes all")
}

/// Compresses.
pub fn zstd(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).expect("memory takes all");
    encoder.include_checksum(true).expect("before the first byte");
    encoder.write_all(bytes).expect("memory takes all");
    encoder.finish().expect("memory takes all")
}

/// Numbers that look random and are the same in every run (SplitMix64).
pub struct Chance(pub u64);

impl Chance {
    /// The next number.
    #[expect(clippy::should_implement_trait, reason = "it has no end")]
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `n`.
    pub fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
}

/// A simulated stream with labels of accounts and of events, and the configuration that `init` wrote for it.
pub struct Stream {
    /// Lines.
    pub events: Vec<u8>,
    /// Lines.
    pub labels: Vec<u8>,
    /// `detector.toml`.
    pub config: String,
}

/// The stream that most tests run: 12,000 events.
pub fn stream() -> &'static Stream {
    static STREAM: OnceLock<Stream> = OnceLock::new();
    STREAM.get_or_init(|| {
        let s = Scratch::new();
        let plan = "simulate --accounts 1200 --events 12000 --seed 5 --labels-out labels --events-out events";
        s.run(plan).good();
        let (events, mut labels) = (s.read("events"), s.read("labels"));
        for (i, event) in json_lines(&events).iter().enumerate().skip(40).step_by(97) {
            let ts = event["ts"].as_i64().expect("a time") + 3_600_000;
            let label = json!({"event_id": event["event_id"], "label": u8::from(i % 3 > 0), "ts": ts});
            writeln!(labels, "{label}").expect("memory takes all");
        }
        let (events_file, labels_file) = (s.write("events", &events), s.write("labels", &labels));
        let init = format!("init --events {} --labels {} --out conf", events_file.display(), labels_file.display());
        s.run(&init).good();
        let config = String::from_utf8(s.read("conf/detector.toml")).expect("a configuration is text");
        Stream { events, labels, config }
    })
}

impl Stream {
    /// Puts `events`, `labels` and `conf/detector.toml` into a folder.
    pub fn put(&self, s: &Scratch) {
        s.write("events", &self.events);
        s.write("labels", &self.labels);
        self.put_config(s);
    }

    /// Puts `conf/detector.toml` into a folder.
    pub fn put_config(&self, s: &Scratch) {
        std::fs::create_dir_all(s.path("conf")).expect("a folder can be made");
        s.write("conf/detector.toml", &self.config);
    }

    /// The events with damaged, empty and repeated lines between them.
    pub fn dirty(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for (i, line) in self.events.split_inclusive(|b| *b == b'\n').enumerate() {
            out.extend_from_slice(line);
            match i % 89 {
                3 => out.extend_from_slice(&line[..line.len() / 2]),
                7 => out.extend_from_slice(b"\xff\xfe not text"),
                11 => out.extend_from_slice(b"[1, 2, 3]"),
                19 => out.extend_from_slice(
                    br#"{"ts": 7253118845000, "type": "login", "account": "from-2199"}"#,
                ),
                23 => out.extend_from_slice(&line[..line.len() - 1]),
                31 => out.extend_from_slice(b"  \r"),
                _ => continue,
            }
            out.push(b'\n');
        }
        out
    }

    /// The events with times cut to whole hours, so that many tie.
    pub fn coarse(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for mut event in json_lines(&self.events) {
            let ts = event["ts"].as_i64().expect("a time");
            event["ts"] = json!(ts - ts % 3_600_000);
            writeln!(out, "{event}").expect("memory takes all");
        }
        out
    }
}

/// Asserts that every line of the input became a score, a dead letter, a redelivery, or was empty.
#[track_caller]
pub fn all_lines_accounted_for(input: &[u8], scores: &[Value], dead: &[Value], summary: &Value) {
    let mut lines: Vec<&[u8]> = input.split(|b| *b == b'\n').collect();
    if lines.last().is_some_and(|l| l.is_empty()) {
        lines.pop();
    }
    let empty = lines.iter().filter(|l| l.iter().all(u8::is_ascii_whitespace)).count() as u64;
    let dead = dead.iter().filter(|d| d["stream"] == "events").count() as u64;
    let redelivered = summary["redelivered"].as_u64().expect("a count");
    assert_eq!(summary["lines"].as_u64(), Some(lines.len() as u64), "{summary}");
    assert_eq!(summary["events"].as_u64(), Some(scores.len() as u64), "{summary}");
    assert_eq!(scores.len() as u64 + dead + redelivered + empty, lines.len() as u64, "{summary}");
}
