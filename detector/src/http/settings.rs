//! The `[http]` section, checked.

use crate::health::Limits;
use engine::config::{HttpRole, HttpSection};
use features::duration::parse_ms;
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::time::Duration;

/// A header, and the wait for one on a connection that is kept open.
const HEADER_TIME_MAX: Duration = Duration::from_secs(5);
/// A request that takes longer is given up.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(5);
/// Shorter tokens are refused: they can be guessed.
const TOKEN_CHARS_MIN: usize = 16;

/// Tokens that may hold at once.
const TOKENS_MAX: usize = 16;
/// The name of `http.token` in the access log.
const MAIN_TOKEN: &str = "http.token";

/// A caller who may show a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// For the access log.
    pub name: String,
    /// What it may do.
    pub role: HttpRole,
    token: Token,
}

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

impl Caller {
    /// Whether this is the caller's token.
    #[must_use]
    pub fn shows(&self, shown: &str) -> bool {
        self.token.is(shown)
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
    /// Who may call `/v1`; none only where nobody else can connect.
    pub callers: Vec<Caller>,
    /// Where calls of `/v1` are noted.
    pub access_log: Option<PathBuf>,
    /// What `/healthz` and `/readyz` go by.
    pub limits: Limits,
    /// From the first byte of a header to its last; not configured.
    pub header_time_max: Duration,
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
        let main = section.token.iter().map(|token| (MAIN_TOKEN, token, HttpRole::All));
        let named = section.tokens.iter().map(|t| (t.name.as_str(), &t.token, t.role));
        let mut callers: Vec<Caller> = Vec::new();
        let mut names = BTreeSet::new();
        for (name, text, role) in main.chain(named) {
            let place = match name {
                MAIN_TOKEN => MAIN_TOKEN.to_owned(),
                name => format!("http.tokens, {name:?}"),
            };
            let token = Token::new(text);
            if text.chars().count() < TOKEN_CHARS_MIN {
                problems.push(format!(
                    "{place}: the token is shorter than {TOKEN_CHARS_MIN} characters\nhint: `openssl rand -hex 32` makes a good one"
                ));
            } else if !text.bytes().all(|b| b.is_ascii_graphic()) {
                // Others cannot be written in a header.
                problems.push(format!("{place}: the token has characters that a header cannot carry\nhint: use letters, digits and punctuation of ASCII, without spaces"));
            } else if let Some(same) = callers.iter().find(|caller| caller.token == token) {
                problems.push(format!(
                    "{place}: the token is the same as that of {:?}\nhint: give each caller a separate token, so that the access log tells them apart",
                    same.name
                ));
            }
            if name.is_empty() || name.chars().any(char::is_control) || !names.insert(name) {
                problems.push(format!(
                    "{place}: the name is empty, has control characters or stands twice\nhint: name each token after who shows it"
                ));
            }
            callers.push(Caller { name: name.to_owned(), role, token });
        }
        if callers.len() > TOKENS_MAX {
            problems.push(format!(
                "http.tokens: {} tokens, {TOKENS_MAX} at most\nhint: put a proxy with its own accounts in front",
                callers.len()
            ));
        }
        if let (true, Some(address)) =
            (callers.is_empty(), listen.filter(|address| !address.ip().is_loopback()))
        {
            problems.push(format!(
                "http.listen is {address}, which others can reach, and there is no http.token\nhint: set token = \"${{DETECTOR_HTTP_TOKEN}}\" and that variable to a long random text, or listen on 127.0.0.1"
            ));
        }
        if problems.is_empty() {
            Ok(Self {
                listen,
                callers,
                access_log: Some(PathBuf::from(&section.access_log))
                    .filter(|path| !path.as_os_str().is_empty()),
                limits,
                header_time_max: HEADER_TIME_MAX,
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
    use engine::config::HttpToken;

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
        let token = &settings.callers[0];
        assert!(token.shows(SECRET) && token.role == HttpRole::All);
        for other in
            ["", "a-long-and-secret-toke", "a-long-and-secret-token ", "A-long-and-secret-token"]
        {
            assert!(!token.shows(other), "{other}");
        }
        for shown in [format!("{settings:?}"), format!("{section:?}")] {
            assert!(!shown.contains(SECRET) && shown.contains("***"), "{shown}");
        }
    }

    #[test]
    fn tokens_of_one_name_or_text_are_refused() {
        let token = |name: &str, token: &str| HttpToken {
            name: name.into(),
            token: token.into(),
            role: HttpRole::Read,
        };
        let (one, other) = ("the-first-token-of-two", "the-second-token-of-two");
        let with = |tokens: &[HttpToken]| {
            let section = HttpSection { tokens: tokens.into(), ..section("0.0.0.0:1", None) };
            assert!(!format!("{section:?}").contains("-token-of-two"), "tokens are not printed");
            Settings::of(&section)
        };
        let settings = with(&[token("old", one), token("new", other)]).unwrap();
        assert_eq!(settings.callers.len(), 2);
        assert!(settings.callers[1].shows(other) && !settings.callers[1].shows(one));
        for (tokens, said) in [
            (vec![token("old", one), token("old", other)], "stands twice"),
            (vec![token("old", one), token("new", one)], "the same as that of \"old\""),
            (vec![token("", one)], "the name is empty"),
            (vec![token("old", "short")], "shorter than 16"),
            (vec![], "no http.token"),
        ] {
            let problems = with(&tokens).unwrap_err().join("\n");
            assert!(problems.contains(said) && !problems.contains("-token-of-two"), "{problems}");
        }
        let many: Vec<_> =
            (0..17).map(|i| token(&format!("n{i}"), &format!("{one}-{i}"))).collect();
        assert!(with(&many[..16]).is_ok() && with(&many).is_err());
    }
}
