//! `[redis]` of the configuration.

use crate::kafka::security::readable;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::Path;
use std::time::Duration;

use super::index::BLOCK_BYTES;
use super::store::Limits;

/// How Redis is run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RedisMode {
    /// One server, at `url`.
    #[default]
    Single,
    /// A master that Sentinels at `urls` know by `master_name`.
    Sentinel,
    /// A Redis Cluster that some of its nodes at `urls` tell of.
    Cluster,
}

/// Where the durable state is, and how it is written.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RedisSection {
    /// The server, with `mode = "single"`: `redis://[user[:password]@]host[:port][/db]`, `rediss://` for TLS, or
    /// `unix:///path/to/socket`. The password is better given as `${REDIS_PASSWORD}`.
    pub url: String,
    /// Sentinels, or nodes of the cluster, as URLs; one is enough, more survive its loss.
    pub urls: Vec<String>,
    /// `single`, `sentinel` or `cluster`.
    pub mode: RedisMode,
    /// The name that the Sentinels know the master by.
    pub master_name: String,
    /// User, if it is not in the URL; with Sentinels, that of the master.
    pub username: Option<String>,
    /// Password, if it is not in the URL; with Sentinels, that of the master.
    pub password: Option<String>,
    /// Certificates (PEM) of the authorities that may vouch for the servers, with `rediss://`; absent: those of the system.
    pub ca_file: Option<String>,
    /// The service's own certificate (PEM), where servers ask for one.
    pub certificate_file: Option<String>,
    /// The key (PEM) of `certificate_file`.
    pub key_file: Option<String>,
    /// Before every key, so that several detectors can share a Redis. One group, one prefix.
    pub prefix: String,
    /// Into how many shards the state is divided, 1 to 256: 1 unless it is a cluster. It belongs to the state and cannot be
    /// changed later without building the state anew.
    pub shards: u16,
    /// Records in one call. With `chunk_bytes` it bounds how long a call blocks Redis.
    pub chunk_records: usize,
    /// Bytes in one call.
    pub chunk_bytes: usize,
    /// How long to wait for an answer, milliseconds.
    pub timeout_ms: u64,
    /// How long an owner's sign of life holds, milliseconds; a standby takes over after it.
    pub lease_ttl_ms: u64,
    /// How many replicas have to have a checkpoint on their disks, too, before it counts: 1 or more where a replica may
    /// be promoted. Needs Redis 7.2.
    pub wait_replicas: u16,
}

impl Default for RedisSection {
    fn default() -> Self {
        Self {
            url: "redis://127.0.0.1:6379".to_owned(),
            urls: Vec::new(),
            mode: RedisMode::Single,
            master_name: String::new(),
            username: None,
            password: None,
            ca_file: None,
            certificate_file: None,
            key_file: None,
            prefix: "det:".to_owned(),
            shards: 1,
            chunk_records: 64,
            chunk_bytes: 128 * 1024,
            timeout_ms: 5000,
            lease_ttl_ms: 3_000,
            wait_replicas: 0,
        }
    }
}

impl fmt::Debug for RedisSection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let urls: Vec<String> = self.urls.iter().map(|url| without_secrets(url)).collect();
        f.debug_struct("RedisSection")
            .field("url", &without_secrets(&self.url))
            .field("urls", &urls)
            .field("mode", &self.mode)
            .field("master_name", &self.master_name)
            .field("username", &self.username)
            .field("password", &self.password.as_ref().map(|_| "***"))
            .field("ca_file", &self.ca_file)
            .field("certificate_file", &self.certificate_file)
            .field("key_file", &self.key_file)
            .field("prefix", &self.prefix)
            .field("shards", &self.shards)
            .field("chunk_records", &self.chunk_records)
            .field("chunk_bytes", &self.chunk_bytes)
            .field("timeout_ms", &self.timeout_ms)
            .field("lease_ttl_ms", &self.lease_ttl_ms)
            .field("wait_replicas", &self.wait_replicas)
            .finish()
    }
}

impl RedisSection {
    /// Everything that is wrong with it, as `key: what, what to do`; all at once.
    ///
    /// # Errors
    /// The list, if it is not empty.
    pub fn validate(&self) -> Result<(), Vec<String>> {
        let mut problems = Vec::new();
        let mut no = |key: &str, what: String| problems.push(format!("redis.{key}: {what}"));
        match self.mode {
            RedisMode::Single => {
                if let Some(why) = bad_url(&self.url) {
                    no("url", why);
                }
                if !self.urls.is_empty() {
                    no("urls", "is for `mode = \"sentinel\"` or `\"cluster\"`\n  hint: put the server into `url`".to_owned());
                }
            }
            RedisMode::Sentinel | RedisMode::Cluster => {
                if self.urls.is_empty() {
                    no(
                        "urls",
                        "is empty\n  hint: name at least one node, as `redis://host:port`"
                            .to_owned(),
                    );
                }
                for url in &self.urls {
                    if let Some(why) = bad_url(url) {
                        no("urls", why);
                    } else if url.starts_with("unix") {
                        no(
                            "urls",
                            format!(
                                "{} is a socket\n  hint: nodes are named as `redis://host:port`",
                                without_secrets(url)
                            ),
                        );
                    }
                }
            }
        }
        if (self.mode == RedisMode::Sentinel) == self.master_name.is_empty() {
            no(
                "master_name",
                match self.mode {
                    RedisMode::Sentinel => {
                        "is missing\n  hint: it is in the Sentinels' `sentinel monitor NAME ...`"
                            .to_owned()
                    }
                    _ => "is for `mode = \"sentinel\"` only".to_owned(),
                },
            );
        }
        if self.username.is_some() && self.password.is_none() {
            no(
                "password",
                "is missing, but there is a `username`\n  hint: password = \"${REDIS_PASSWORD}\""
                    .to_owned(),
            );
        }
        problems.extend(self.bad_tls());
        let mut no = |key: &str, what: String| problems.push(format!("redis.{key}: {what}"));
        let strange = |c: char| c.is_whitespace() || c.is_control() || "{}*?[]^\\".contains(c);
        if self.prefix.is_empty() || self.prefix.contains(strange) {
            no(
                "prefix",
                format!(
                    "`{}` cannot be used\n  hint: letters, digits and `:`, like `det:`",
                    self.prefix
                ),
            );
        }
        if !(1..=256).contains(&self.shards) {
            no("shards", format!("{} is not within 1 to 256", self.shards));
        }
        if !(1..=4096).contains(&self.chunk_records) {
            no(
                "chunk_records",
                format!(
                    "{} is not within 1 to 4096\n  hint: 64 keeps a call near a millisecond",
                    self.chunk_records
                ),
            );
        }
        if !(4096..=8 << 20).contains(&self.chunk_bytes) {
            no("chunk_bytes", format!("{} is not within 4096 and 8388608", self.chunk_bytes));
        }
        if !(100..=60_000).contains(&self.timeout_ms) {
            no("timeout_ms", format!("{} is not within 100 to 60000", self.timeout_ms));
        }
        if !(1000..=600_000).contains(&self.lease_ttl_ms) {
            no("lease_ttl_ms", format!("{} is not within 1000 to 600000", self.lease_ttl_ms));
        }
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    /// The files that it names.
    pub fn files(&mut self) -> [&mut Option<String>; 3] {
        [&mut self.ca_file, &mut self.certificate_file, &mut self.key_file]
    }

    /// Whether servers are spoken to by TLS: all of them, or none.
    #[must_use]
    pub fn tls(&self) -> bool {
        let url = match self.mode {
            RedisMode::Single => Some(&self.url),
            RedisMode::Sentinel | RedisMode::Cluster => self.urls.first(),
        };
        url.is_some_and(|url| url.starts_with("rediss://"))
    }

    fn bad_tls(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let mut no = |key: &str, what: &str| problems.push(format!("redis.{key}: {what}"));
        let same = |url: &String| url.starts_with("rediss://") == self.tls();
        if self.mode != RedisMode::Single && !self.urls.iter().all(same) {
            no(
                "urls",
                "some have TLS (`rediss://`) and some have not\n  hint: give all of them the same scheme; it holds for the nodes that they tell of, too",
            );
        }
        let files = [
            ("ca_file", &self.ca_file),
            ("certificate_file", &self.certificate_file),
            ("key_file", &self.key_file),
        ];
        if !self.tls() && files.iter().any(|(_, path)| path.is_some()) {
            no(
                "ca_file",
                "certificates are for TLS, and the URL has none\n  hint: write `rediss://` in place of `redis://`",
            );
        }
        if self.certificate_file.is_some() != self.key_file.is_some() {
            no("key_file", "belongs to `certificate_file`\n  hint: give both, or neither");
        }
        for (key, path) in files {
            if let Some(path) = path
                && let Err(e) = readable(Path::new(path))
            {
                no(
                    key,
                    &format!(
                        "cannot read {path}: {e}\n  hint: does it exist, and may this user read it?"
                    ),
                );
            }
        }
        problems
    }

    /// The caps of one call.
    #[must_use]
    pub fn limits(&self) -> Limits {
        Limits {
            chunk_records: self.chunk_records,
            chunk_bytes: self.chunk_bytes,
            block_bytes: BLOCK_BYTES,
        }
    }

    /// How long to wait for an answer.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms)
    }

    /// How long a sign of life holds.
    #[must_use]
    pub fn lease_ttl(&self) -> Duration {
        Duration::from_millis(self.lease_ttl_ms)
    }
}

/// What is wrong with a URL, without its secrets.
fn bad_url(url: &str) -> Option<String> {
    match redis::parse_redis_url(url) {
        Some(_) => redis::IntoConnectionInfo::into_connection_info(url).err().map(|_| {
            format!(
                "{} cannot be used\n  hint: redis://[user:password@]host:port[/db]",
                without_secrets(url)
            )
        }),
        None => Some(format!(
            "{} is no Redis URL\n  hint: redis://[user:password@]host:port[/db], or unix:///path/to/socket",
            without_secrets(url)
        )),
    }
}

/// A URL as it may be shown: no user, no password, no parameters.
#[must_use]
pub fn without_secrets(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let rest = rest.split('?').next().unwrap_or_default();
    // The last one: a password may hold an `@`.
    let place = rest.rsplit_once('@').map_or(rest, |(_, place)| place);
    if scheme.is_empty() { place.to_owned() } else { format!("{scheme}://{place}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_valid() {
        assert_eq!(RedisSection::default().validate(), Ok(()));
    }

    #[test]
    fn all_problems_at_once_and_no_secrets() {
        let section = RedisSection {
            url: "http://me:geheim@h:1".to_owned(),
            urls: vec!["redis://h".to_owned()],
            master_name: "m".to_owned(),
            username: Some("u".to_owned()),
            prefix: "a{b".to_owned(),
            shards: 0,
            chunk_records: 0,
            chunk_bytes: 0,
            timeout_ms: 0,
            lease_ttl_ms: 0,
            ..RedisSection::default()
        };
        let problems = section.validate().expect_err("everything is wrong");
        assert_eq!(problems.len(), 10, "{problems:#?}");
        assert!(!problems.join("\n").contains("geheim"));
    }

    #[test]
    fn tls_is_for_all_or_none_and_its_files_are_there() {
        let section = RedisSection {
            mode: RedisMode::Cluster,
            urls: vec!["rediss://a".to_owned(), "redis://b".to_owned()],
            ca_file: Some("/nowhere/ca.pem".to_owned()),
            certificate_file: Some("/nowhere/c.pem".to_owned()),
            ..RedisSection::default()
        };
        // The scheme, two files, and the pair.
        let problems = section.validate().expect_err("four things are wrong");
        assert_eq!(problems.len(), 4, "{problems:#?}");
        let plain =
            RedisSection { ca_file: Some("/etc/hostname".to_owned()), ..RedisSection::default() };
        let problems = plain.validate().expect_err("no TLS");
        assert!(problems[0].contains("rediss://"), "{problems:#?}");
        let good = RedisSection { url: "rediss://h".to_owned(), ..plain };
        assert_eq!(good.validate(), Ok(()));
    }

    #[test]
    fn debug_shows_no_secrets() {
        let section = RedisSection {
            url: "redis://me:ge@heim@h:1/0?x=geheim".to_owned(),
            urls: vec!["redis://:geheim@h".to_owned()],
            password: Some("geheim".to_owned()),
            ..RedisSection::default()
        };
        let shown = format!("{section:?}");
        assert!(!shown.contains("heim") && shown.contains("redis://h:1/0"), "{shown}");
    }

    #[test]
    fn unknown_keys_are_refused() {
        let why = toml::from_str::<RedisSection>("urll = 1").expect_err("no such key");
        assert!(why.to_string().contains("urll"));
    }
}
