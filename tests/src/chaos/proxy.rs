//! A TCP proxy that can freeze what passes through it, cut it, and slow it down.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// How soon a change is seen.
const LOOK: Duration = Duration::from_millis(10);
/// Bytes taken at once.
const PIECE: usize = 64 << 10;

#[derive(Default)]
struct State {
    upstream: AtomicU16,
    frozen: AtomicBool,
    refusing: AtomicBool,
    /// Connections of an earlier generation are closed.
    generation: AtomicU64,
    /// Bytes per second to the server on each connection; 0: as many as come.
    upload: AtomicU64,
    ended: AtomicBool,
}

/// A running proxy on a port of this machine, for the life of this value.
pub struct Proxy {
    port: u16,
    state: Arc<State>,
}

impl Proxy {
    /// Listens; whom it leads to is said by [`Self::lead_to`].
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
        let port = listener.local_addr().expect("it was bound").port();
        let state = Arc::new(State::default());
        let shared = state.clone();
        listener.set_nonblocking(true).expect("a socket can be set so");
        std::thread::spawn(move || {
            while !shared.ended.load(Relaxed) {
                match listener.accept() {
                    Ok((client, _)) => serve(client, &shared),
                    Err(_) => std::thread::sleep(LOOK),
                }
            }
        });
        Self { port, state }
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Leads to a port of this machine.
    pub fn lead_to(&self, port: u16) {
        self.state.upstream.store(port, Relaxed);
    }

    /// Holds back everything, both ways; new connections are accepted and hear nothing.
    pub fn freeze(&self, frozen: bool) {
        self.state.frozen.store(frozen, Relaxed);
    }

    /// Closes what is open, and everything new at once.
    pub fn refuse(&self, refusing: bool) {
        self.state.generation.fetch_add(1, Relaxed);
        self.state.refusing.store(refusing, Relaxed);
    }

    /// Lets no more than so many bytes per second through to the server, on each connection; 0: all.
    pub fn upload(&self, bytes_per_s: u64) {
        self.state.upload.store(bytes_per_s, Relaxed);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.state.ended.store(true, Relaxed);
    }
}

fn serve(client: TcpStream, state: &Arc<State>) {
    let generation = state.generation.load(Relaxed);
    if state.refusing.load(Relaxed) {
        return;
    }
    let state = state.clone();
    std::thread::spawn(move || {
        while state.frozen.load(Relaxed) {
            if over(&state, generation) {
                return;
            }
            std::thread::sleep(LOOK);
        }
        let Ok(server) = TcpStream::connect(("127.0.0.1", state.upstream.load(Relaxed))) else {
            return;
        };
        let pair = |a: &TcpStream, b: &TcpStream| Some((a.try_clone().ok()?, b.try_clone().ok()?));
        for socket in [&client, &server] {
            let _ = socket.set_nonblocking(false);
            let _ = socket.set_nodelay(true);
            let _ = socket.set_read_timeout(Some(LOOK));
            let _ = socket.set_write_timeout(Some(LOOK));
        }
        let (Some(up), Some(down)) = (pair(&client, &server), pair(&server, &client)) else {
            return;
        };
        let other = state.clone();
        std::thread::spawn(move || pass(down.0, down.1, &other, generation, false));
        pass(up.0, up.1, &state, generation, true);
    });
}

fn over(state: &State, generation: u64) -> bool {
    state.ended.load(Relaxed) || state.generation.load(Relaxed) != generation
}

/// Passes bytes on until an end closes or the connection is cut.
fn pass(mut from: TcpStream, mut to: TcpStream, state: &State, generation: u64, up: bool) {
    let mut piece = vec![0; PIECE];
    let (begun, mut passed, mut rate) = (Instant::now(), 0.0, 0);
    let mut since = begun;
    'all: while !over(state, generation) {
        let limit = if up { state.upload.load(Relaxed) } else { 0 };
        if limit != rate {
            (rate, passed, since) = (limit, 0.0, Instant::now());
        }
        let may = match rate {
            0 => PIECE,
            rate => {
                (since.elapsed().as_secs_f64() * rate as f64 - passed).clamp(0.0, 4096.0) as usize
            }
        };
        if state.frozen.load(Relaxed) || may == 0 {
            std::thread::sleep(LOOK);
            continue;
        }
        let got = match from.read(&mut piece[..may]) {
            Ok(0) => break,
            Ok(got) => got,
            Err(e) if waits(e.kind()) => continue,
            Err(_) => break,
        };
        passed += got as f64;
        let mut sent = 0;
        while sent < got {
            if over(state, generation) {
                break 'all;
            }
            // What was taken before a freeze is held back, too.
            if state.frozen.load(Relaxed) {
                std::thread::sleep(LOOK);
                continue;
            }
            match to.write(&piece[sent..got]) {
                Ok(0) => break 'all,
                Ok(n) => sent += n,
                Err(e) if waits(e.kind()) => {}
                Err(_) => break 'all,
            }
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}

fn waits(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_passes_freezes_and_cuts() {
        let server = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let proxy = Proxy::start();
        proxy.lead_to(server.local_addr().expect("bound").port());
        let mut client = TcpStream::connect(("127.0.0.1", proxy.port())).expect("it listens");
        let (mut there, _) = server.accept().expect("it leads here");
        client.write_all(b"one").expect("open");
        let mut found = [0; 3];
        there.read_exact(&mut found).expect("it passes");
        assert_eq!(&found, b"one");

        proxy.freeze(true);
        client.write_all(b"two").expect("open");
        there.set_read_timeout(Some(Duration::from_millis(200))).expect("can be set");
        assert!(there.read(&mut found).is_err(), "frozen, nothing passes");
        proxy.freeze(false);
        there.set_read_timeout(None).expect("can be set");
        there.read_exact(&mut found).expect("it passes again");
        assert_eq!(&found, b"two");

        proxy.refuse(true);
        assert_eq!(there.read(&mut found).expect("closed"), 0);
        let mut refused = TcpStream::connect(("127.0.0.1", proxy.port())).expect("it listens");
        assert_eq!(refused.read(&mut found).unwrap_or(0), 0);
    }
}
