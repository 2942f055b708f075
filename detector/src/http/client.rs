//! Asking a running service: one HTTP/1.1 GET, with the standard library.

use crate::fetch::without_user;
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

/// A connection that is not made within this time is given up.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(5);
/// Nothing is waited for longer than this.
const READ_TIME_MAX: Duration = Duration::from_secs(10);
/// Longer answers are not read.
const ANSWER_BYTES_MAX: u64 = 64 << 20;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The URL cannot be used.
    #[error(
        "{url} cannot be asked: {why}\nhint: write http://ADDRESS:PORT, such as http://127.0.0.1:9600"
    )]
    Url {
        /// As given.
        url: String,
        /// What is wrong.
        why: &'static str,
    },
    /// The token cannot be sent.
    #[error(
        "the token has characters that a header cannot carry\nhint: is there a line break at its end?"
    )]
    Token,
    /// Nobody answers.
    #[error(
        "{url} does not answer: {why}\nhint: does the service run, and is its http.listen this address?"
    )]
    Connect {
        /// As given.
        url: String,
        /// What the system says.
        why: io::Error,
    },
    /// What came is no answer.
    #[error(
        "{url} does not speak as the service does: {why}\nhint: is it a detector that listens there?"
    )]
    Foreign {
        /// As given.
        url: String,
        /// What was found.
        why: &'static str,
    },
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Its status code.
    pub status: u16,
    /// Its body.
    pub body: Vec<u8>,
}

/// A key as a segment of a path.
#[must_use]
pub fn segment(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// Gets `path` from the service at `url`.
///
/// # Errors
/// When the URL makes no sense, nobody answers, or what answers is no HTTP server.
pub fn get(url: &str, path: &str, token: Option<&str>) -> Result<Answer, ClientError> {
    let shown = || without_user(url);
    let bad = |why| ClientError::Url { url: shown(), why };
    if url.starts_with("https://") {
        return Err(bad(
            "TLS is not spoken; put it behind a tunnel (ssh -L, kubectl port-forward)",
        ));
    }
    let rest = url.strip_prefix("http://").ok_or_else(|| bad("it does not begin with http://"))?;
    let (host, before) = rest.split_once('/').unwrap_or((rest, ""));
    if host.is_empty() || !host.bytes().all(|b| b.is_ascii_graphic()) || host.contains('@') {
        return Err(bad("it names no host"));
    }
    if !before.bytes().all(|b| b.is_ascii_graphic()) || before.contains(['?', '#']) {
        return Err(bad("its path is no path"));
    }
    if token.is_some_and(|t| !t.bytes().all(|b| b.is_ascii_graphic())) {
        return Err(ClientError::Token);
    }
    let has_port = host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    let address = if has_port { host.to_string() } else { format!("{host}:80") };
    let failed = |why| ClientError::Connect { url: shown(), why };
    let mut stream = connect(&address).map_err(failed)?;
    let prefix = before.trim_end_matches('/');
    let slash = if prefix.is_empty() { "" } else { "/" };
    let authorization = token.map(|t| format!("Authorization: Bearer {t}\r\n")).unwrap_or_default();
    let request = format!(
        "GET {slash}{prefix}{path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: detector/{}\r\nAccept: application/json\r\n{authorization}Connection: close\r\n\r\n",
        env!("CARGO_PKG_VERSION")
    );
    stream.write_all(request.as_bytes()).map_err(failed)?;
    let mut bytes = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut bytes).map_err(failed)?;
    parse(&bytes).map_err(|why| ClientError::Foreign { url: shown(), why })
}

fn connect(address: &str) -> io::Result<TcpStream> {
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, CONNECT_TIME_MAX) {
            Ok(stream) => {
                stream.set_read_timeout(Some(READ_TIME_MAX))?;
                stream.set_write_timeout(Some(READ_TIME_MAX))?;
                return Ok(stream);
            }
            Err(e) => last = e,
        }
    }
    Err(last)
}

/// A whole answer, as it was sent before the connection was closed.
fn parse(bytes: &[u8]) -> Result<Answer, &'static str> {
    let end = bytes.windows(4).position(|w| w == b"\r\n\r\n").ok_or("its head has no end")?;
    let head = std::str::from_utf8(&bytes[..end]).map_err(|_| "its head is no text")?;
    let body = &bytes[end + 4..];
    let mut lines = head.split("\r\n");
    let status = lines
        .next()
        .filter(|line| line.starts_with("HTTP/1."))
        .and_then(|line| line.split(' ').nth(1)?.parse().ok())
        .ok_or("it does not begin with a status")?;
    let header = |name: &str| {
        lines.clone().filter_map(|l| l.split_once(':')).find(|(n, _)| n.eq_ignore_ascii_case(name))
    };
    if header("transfer-encoding").is_some_and(|(_, v)| v.trim().eq_ignore_ascii_case("chunked")) {
        return Ok(Answer { status, body: chunks(body).ok_or("its body is cut off")? });
    }
    let length = header("content-length").and_then(|(_, v)| v.trim().parse::<usize>().ok());
    match length {
        Some(length) if body.len() < length => Err("its body is cut off"),
        Some(length) => Ok(Answer { status, body: body[..length].to_vec() }),
        None => Ok(Answer { status, body: body.to_vec() }),
    }
}

/// A body in chunks (a proxy may send it so).
fn chunks(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line = rest.windows(2).position(|w| w == b"\r\n")?;
        let size = std::str::from_utf8(&rest[..line]).ok()?;
        let size = usize::from_str_radix(size.split(';').next()?.trim(), 16).ok()?;
        rest = rest.get(line + 2..)?;
        if size == 0 {
            return Some(body);
        }
        body.extend_from_slice(rest.get(..size)?);
        rest = rest.get(size..)?.strip_prefix(b"\r\n")?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_whole_or_not_at_all() {
        let answer = |text: &str| parse(text.as_bytes()).map(|a| (a.status, a.body));
        let plain = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";
        assert_eq!(answer(plain), Ok((200, b"{}".to_vec())));
        let chunked = "HTTP/1.1 404 Not Found\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n";
        assert_eq!(answer(chunked), Ok((404, b"abcde".to_vec())));
        assert_eq!(answer("HTTP/1.0 200 OK\r\n\r\nall"), Ok((200, b"all".to_vec())));
        for cut in [
            "",
            "SSH-2.0-OpenSSH\r\n\r\n",
            "HTTP/1.1 200 OK\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nab",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n",
        ] {
            assert!(answer(cut).is_err(), "{cut:?}");
        }
    }

    #[test]
    fn urls_are_checked_before_anybody_is_called() {
        for url in [
            "https://x",
            "ftp://x",
            "127.0.0.1:9600",
            "http://",
            "http://a b",
            "http://u@h",
            "http://h/?q",
        ] {
            assert!(matches!(get(url, "/", None), Err(ClientError::Url { .. })), "{url}");
        }
        let refused = get("http://me:hunter2@h", "/", None).expect_err("it is refused");
        assert!(!refused.to_string().contains("hunter2"), "{refused}");
        let token = get("http://127.0.0.1:1", "/", Some("a\r\nX: y"));
        assert!(matches!(token, Err(ClientError::Token)));
    }

    #[test]
    fn keys_become_one_segment() {
        assert_eq!(segment("u42-a_b~c"), "u42-a_b~c");
        assert_eq!(segment("a/b ü.."), "a%2Fb%20%C3%BC%2E%2E");
    }
}
