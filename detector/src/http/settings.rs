//! The `[http]` section, checked.

use crate::health::Limits;
use engine::config::HttpSection;
use features::duration::parse_ms;
use sha2::{Digest, Sha256};
use std::net::{SocketAddr, ToSocketAddrs};
use std::time::Duration;

/// A request that takes longer is given up.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(5);
/// Shorter tokens are refused: they can be guessed.
const TOKEN_CHARS_MIN: usize = 16;

/// What a caller has to show. Kept as its hash, so that comparing takes the same time whatever is shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Token([u8; 32]);

impl Token {
    fn new(text: &str) -> Self {
        Self(Sha256::digest(text.as_bytes()).into())
    }

    /// Whether this is the token.
    #[must_use]
    pub fn is(&self, shown: &str) -> bool {
        let shown = Self::new(shown);
        self.0.iter().zip(shown.0).fold(0, |differs, (a, b)| differs | (a ^ b)) == 0
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

/// How to serve.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where; `None`: not at all.
    pub listen: Option<SocketAddr>,
    /// What callers of `/v1` show; `None` only where nobody else can connect.
    pub token: Option<Token>,
    /// What `/healthz` and `/readyz` go by.
    pub limits: Limits,
    /// A request that takes longer is given up; not configured.
    pub request_time_max: Duration,
}

impl Settings {
    /// Checks the section.
    ///
    /// # Errors
    /// Everything that is wrong, each with what to do.
    pub fn of(section: &HttpSection) -> Result<Self, Vec<String>> {
        let mut problems = Vec::new();
        let mut duration = |name: &str, text: &str| {
            let ms = parse_ms(text).unwrap_or_else(|e| {
                problems.push(format!("http.{name}: {e}"));
                1
            });
            Duration::from_millis(ms.max(0).unsigned_abs())
        };
        let limits = Limits {
            heartbeat_max: duration("heartbeat_max", &section.heartbeat_max),
            checkpoint_age_max: duration("checkpoint_age_max", &section.checkpoint_age_max),
        };
        let mut listen = None;
        if !section.listen.is_empty() {
            match section.listen.to_socket_addrs().map(|mut found| found.next()) {
                Ok(Some(address)) => listen = Some(address),
                Ok(None) => problems.push(format!("http.listen: {} has no address\nhint: write an address and a port, such as 127.0.0.1:9600", section.listen)),
                Err(e) => problems.push(format!("http.listen: {}: {e}\nhint: write an address and a port, such as 127.0.0.1:9600", section.listen)),
            }
        }
        match &section.token {
            None => {
                if let Some(address) = listen.filter(|a| !a.ip().is_loopback()) {
                    problems.push(format!(
                        "http.listen is {address}, which others can reach, and there is no http.token\nhint: set token = \"${{DETECTOR_HTTP_TOKEN}}\" and that variable to a long random text, or listen on 127.0.0.1"
                    ));
                }
            }
            Some(token) if token.chars().count() < TOKEN_CHARS_MIN => {
                problems.push(format!(
                    "http.token is shorter than {TOKEN_CHARS_MIN} characters\nhint: `openssl rand -hex 32` makes a good one"
                ));
            }
            // Others cannot be written in a header.
            Some(token) if !token.bytes().all(|b| b.is_ascii_graphic()) => {
                problems.push("http.token has characters that a header cannot carry\nhint: use letters, digits and punctuation of ASCII, without spaces".into());
            }
            Some(_) => {}
        }
        if problems.is_empty() {
            Ok(Self {
                listen,
                token: section.token.as_deref().map(Token::new),
                limits,
                request_time_max: REQUEST_TIME_MAX,
            })
        } else {
            Err(problems)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "a-long-and-secret-token";

    fn section(listen: &str, token: Option<&str>) -> HttpSection {
        HttpSection {
            listen: listen.into(),
            token: token.map(String::from),
            ..HttpSection::default()
        }
    }

    #[test]
    fn what_others_can_reach_needs_a_token() {
        for open in ["0.0.0.0:9600", "[::]:9600", "192.0.2.7:9600"] {
            let problems = Settings::of(&section(open, None)).unwrap_err();
            assert!(
                problems[0].contains("http.token") && problems[0].contains("hint: "),
                "{problems:?}"
            );
            assert!(Settings::of(&section(open, Some(SECRET))).is_ok());
        }
        for own in ["127.0.0.1:9600", "[::1]:0", "127.3.2.1:80", ""] {
            assert!(Settings::of(&section(own, None)).is_ok(), "{own}");
        }
    }

    #[test]
    fn everything_wrong_is_said_at_once() {
        let mut wrong = section("nowhere", Some("short"));
        wrong.heartbeat_max = "soon".into();
        let problems = Settings::of(&wrong).unwrap_err();
        assert_eq!(problems.len(), 3, "{problems:#?}");
        assert!(!format!("{problems:?}").contains("short\""), "the token is not told");
        assert!(Settings::of(&section("127.0.0.1:1", Some("spaces are no good here"))).is_err());
    }

    #[test]
    fn tokens_are_compared_and_never_printed() {
        let section = section("127.0.0.1:9600", Some(SECRET));
        let settings = Settings::of(&section).unwrap();
        let token = settings.token.as_ref().unwrap();
        assert!(token.is(SECRET));
        for other in
            ["", "a-long-and-secret-toke", "a-long-and-secret-token ", "A-long-and-secret-token"]
        {
            assert!(!token.is(other), "{other}");
        }
        for shown in [format!("{settings:?}"), format!("{section:?}")] {
            assert!(!shown.contains(SECRET) && shown.contains("***"), "{shown}");
        }
    }
}
