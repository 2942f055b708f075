//! A Redis of one's own for a test.

use super::super::config::RedisSection;
use super::super::server::RedisShards;
use super::super::store::Store;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A server on a socket in a folder of its own; it ends with this value.
pub struct Server {
    folder: tempfile::TempDir,
    child: Option<Child>,
    options: Vec<String>,
}

impl Server {
    /// Starts one, with an append-only file.
    pub fn start(options: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let options = options.iter().map(|o| (*o).to_owned()).collect();
        let mut server = Self { folder, child: None, options };
        server.again();
        server
    }

    /// Starts it once more over the same files.
    pub fn again(&mut self) {
        let mut command = Command::new(binary());
        command.args([
            "--port",
            "0",
            "--save",
            "",
            "--appendonly",
            "yes",
            "--appendfsync",
            "everysec",
        ]);
        command.arg("--dir").arg(self.folder.path()).arg("--unixsocket").arg(self.socket());
        command.args(&self.options).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().unwrap_or_else(|e| missing(&e));
        self.child = Some(child);
        for _ in 0..500 {
            if self.answers().is_some_and(|answer| !answer.starts_with(b"-LOADING")) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("redis-server does not listen on {}", self.socket().display());
    }

    /// What it says to a PING; also one who has no password gets an answer.
    fn answers(&self) -> Option<Vec<u8>> {
        let mut stream = UnixStream::connect(self.socket()).ok()?;
        stream.write_all(b"PING\r\n").ok()?;
        let mut answer = vec![0; 64];
        let length = stream.read(&mut answer).ok()?;
        answer.truncate(length);
        (length > 0).then_some(answer)
    }

    /// Kills it, as `kill -9` does.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("it is our own process");
            child.wait().expect("it ends");
        }
        // A socket that nobody listens on looks like a server that is slow.
        let _ = std::fs::remove_file(self.socket());
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("s")
    }

    /// How to reach it.
    pub fn section(&self) -> RedisSection {
        RedisSection {
            url: format!("unix://{}", self.socket().display()),
            ..RedisSection::default()
        }
    }

    /// A store on it.
    pub fn store(&self, section: &RedisSection) -> Store<RedisShards> {
        let shards = RedisShards::open(section).unwrap_or_else(|e| panic!("{e}"));
        Store::new(shards, section.limits())
    }

    /// A plain connection to it.
    pub fn connection(&self) -> redis::Connection {
        let client = redis::Client::open(self.section().url).expect("a URL");
        client.get_connection().expect("it listens")
    }
}

/// A port that nobody listens on at the moment.
pub fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("some port is free");
    listener.local_addr().expect("it is bound").port()
}

/// A Sentinel of one's own; it ends with this value.
pub struct SentinelServer {
    /// Where it listens.
    pub port: u16,
    child: Child,
    _folder: tempfile::TempDir,
}

impl Server {
    /// Starts a Sentinel with these lines of configuration.
    pub fn sentinel(lines: &str) -> SentinelServer {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let port = free_port();
        let file = folder.path().join("sentinel.conf");
        std::fs::write(&file, format!("port {port}\n{lines}")).expect("a file can be written");
        let mut command = Command::new(binary());
        command.arg(&file).arg("--sentinel").stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().unwrap_or_else(|e| missing(&e));
        let sentinel = SentinelServer { port, child, _folder: folder };
        for _ in 0..500 {
            if std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return sentinel;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("the Sentinel does not listen on port {port}");
    }
}

impl Drop for SentinelServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn binary() -> String {
    std::env::var("REDIS_SERVER").unwrap_or_else(|_| "redis-server".to_owned())
}

fn missing(e: &std::io::Error) -> ! {
    panic!(
        "cannot start `{}`: {e}\nhint: apt-get install redis-server, or set REDIS_SERVER",
        binary()
    )
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}
