//! `[kafka.security]`: encryption, and who the service is to the brokers.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::Path;

/// How the brokers are spoken to.
#[derive(Clone, Default, Serialize, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Security {
    /// Whether connections are encrypted.
    pub tls: bool,
    /// Certificates (PEM) of the authorities that may vouch for the brokers; absent: those of the system.
    pub ca_file: Option<String>,
    /// The service's own certificate (PEM), where brokers ask for one.
    pub certificate_file: Option<String>,
    /// The key (PEM) of `certificate_file`.
    pub key_file: Option<String>,
    /// Password of `key_file`, if it has one.
    pub key_password: Option<String>,
    /// How the service proves who it is; absent: it does not, or by its certificate.
    pub mechanism: Option<Mechanism>,
    /// User, with PLAIN and SCRAM.
    pub username: Option<String>,
    /// Password, with PLAIN and SCRAM.
    pub password: Option<String>,
    /// File with a token, with OAUTHBEARER; read again before the token in it expires.
    pub token_file: Option<String>,
    /// Where tokens are asked for by client credentials (OpenID Connect, OAuth 2.0), with OAUTHBEARER.
    pub token_url: Option<String>,
    /// The client's name at `token_url`.
    pub client_id: Option<String>,
    /// The client's secret at `token_url`.
    pub client_secret: Option<String>,
    /// The scope that is asked for at `token_url`.
    pub scope: Option<String>,
}

/// How the service proves who it is.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub enum Mechanism {
    /// User and password as they are.
    #[serde(rename = "PLAIN")]
    Plain,
    /// A proof of the password.
    #[serde(rename = "SCRAM-SHA-256")]
    Scram256,
    /// A proof of the password.
    #[serde(rename = "SCRAM-SHA-512")]
    Scram512,
    /// A token.
    #[serde(rename = "OAUTHBEARER")]
    OauthBearer,
}

impl Mechanism {
    /// Its name in the protocol.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::Scram256 => "SCRAM-SHA-256",
            Self::Scram512 => "SCRAM-SHA-512",
            Self::OauthBearer => "OAUTHBEARER",
        }
    }
}

/// No secret, and nothing that could be one.
impl fmt::Debug for Security {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hidden = |secret: &Option<String>| secret.as_ref().map(|_| "***");
        f.debug_struct("Security")
            .field("tls", &self.tls)
            .field("ca_file", &self.ca_file)
            .field("certificate_file", &self.certificate_file)
            .field("key_file", &self.key_file)
            .field("key_password", &hidden(&self.key_password))
            .field("mechanism", &self.mechanism)
            .field("username", &self.username)
            .field("password", &hidden(&self.password))
            .field("token_file", &self.token_file)
            .field("token_url", &self.token_url.as_ref().map(|_| "***"))
            .field("client_id", &self.client_id)
            .field("client_secret", &hidden(&self.client_secret))
            .field("scope", &self.scope)
            .finish()
    }
}

/// What this section sets among librdkafka's properties.
pub const SET_HERE: [&str; 9] = [
    "security.protocol",
    "sasl.mechanism",
    "sasl.mechanisms",
    "sasl.username",
    "sasl.password",
    "ssl.ca.location",
    "ssl.certificate.location",
    "ssl.key.location",
    "ssl.key.password",
];

impl Security {
    /// Whether anything is set.
    pub fn is_set(&self) -> bool {
        *self != Self::default()
    }

    /// Whether tokens have to be fetched.
    pub fn has_tokens(&self) -> bool {
        self.mechanism == Some(Mechanism::OauthBearer)
    }

    /// librdkafka's properties.
    pub fn properties(&self) -> Vec<(&'static str, String)> {
        if !self.is_set() {
            return Vec::new();
        }
        let protocol = match (self.tls, self.mechanism.is_some()) {
            (false, false) => "plaintext",
            (true, false) => "ssl",
            (false, true) => "sasl_plaintext",
            (true, true) => "sasl_ssl",
        };
        let mut all = vec![("security.protocol", protocol.to_owned())];
        let mechanism = self.mechanism.map(|m| m.name().to_owned());
        let given = [
            ("ssl.ca.location", &self.ca_file),
            ("ssl.certificate.location", &self.certificate_file),
            ("ssl.key.location", &self.key_file),
            ("ssl.key.password", &self.key_password),
            ("sasl.mechanism", &mechanism),
            ("sasl.username", &self.username),
            ("sasl.password", &self.password),
        ];
        all.extend(given.iter().filter_map(|(name, value)| Some((*name, (*value).clone()?))));
        all
    }

    /// Everything that is wrong, without a connection.
    pub fn check(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let mut no = |what: &str| problems.push(format!("[kafka.security]: {what}"));
        let files = [
            ("ca_file", &self.ca_file),
            ("certificate_file", &self.certificate_file),
            ("key_file", &self.key_file),
            ("token_file", &self.token_file),
        ];
        for (key, path) in files {
            let read = path.as_deref().map(|path| (path, readable(Path::new(path))));
            if let Some((path, Err(e))) = read {
                no(&format!(
                    "{key}: cannot read {path}: {e}\n  hint: does it exist, and may this user read it?"
                ));
            }
        }
        if !self.tls
            && (self.ca_file.is_some()
                || self.certificate_file.is_some()
                || self.key_file.is_some())
        {
            no("certificates are given, but tls is off\n  hint: tls = true");
        }
        if self.certificate_file.is_some() != self.key_file.is_some() {
            no("certificate_file and key_file belong together\n  hint: give both, or neither");
        }
        if self.key_password.is_some() && self.key_file.is_none() {
            no(
                "key_password is given, but no key_file\n  hint: give certificate_file and key_file, or leave it out",
            );
        }
        let password = self.username.is_some() || self.password.is_some();
        let token = self.token_file.is_some() || self.token_url.is_some();
        match self.mechanism {
            None if password || token => no(
                "a user or a token is given, but no mechanism\n  hint: mechanism = \"SCRAM-SHA-512\", \"SCRAM-SHA-256\", \"PLAIN\" or \"OAUTHBEARER\"",
            ),
            Some(Mechanism::Plain | Mechanism::Scram256 | Mechanism::Scram512)
                if blank(&self.username) || blank(&self.password) =>
            {
                no(
                    "the mechanism needs username and password\n  hint: password = \"${KAFKA_PASSWORD}\", or \"${file:/run/secrets/kafka}\"",
                );
            }
            Some(Mechanism::OauthBearer)
                if self.token_file.is_some() == self.token_url.is_some() =>
            {
                no(
                    "OAUTHBEARER needs either token_file or token_url\n  hint: token_url with client_id and client_secret asks for tokens; token_file reads one that something else keeps fresh",
                )
            }
            Some(Mechanism::OauthBearer) if password => no(
                "username and password are for PLAIN and SCRAM\n  hint: leave them out with OAUTHBEARER",
            ),
            Some(Mechanism::OauthBearer) | None => {}
            Some(_) if token => {
                no("token_file and token_url are for OAUTHBEARER\n  hint: leave them out")
            }
            Some(_) => {}
        }
        if let Some(url) = &self.token_url {
            if !url.starts_with("https://") && !url.starts_with("http://") {
                no("token_url is no web address\n  hint: it begins with https://");
            }
            if blank(&self.client_id) || blank(&self.client_secret) {
                no(
                    "token_url needs client_id and client_secret\n  hint: client_secret = \"${KAFKA_CLIENT_SECRET}\"",
                );
            }
        } else if self.client_id.is_some() || self.client_secret.is_some() || self.scope.is_some() {
            no(
                "client_id, client_secret and scope belong to token_url\n  hint: add token_url, or leave them out",
            );
        }
        problems
    }

    /// What works, and is not safe.
    pub fn warnings(&self) -> Vec<&'static str> {
        let mut all = Vec::new();
        if !self.tls && matches!(self.mechanism, Some(Mechanism::Plain | Mechanism::OauthBearer)) {
            all.push("[kafka.security]: without tls the password or token crosses the network as it is; set tls = true");
        }
        if self.token_url.as_ref().is_some_and(|url| url.starts_with("http://")) {
            all.push("[kafka.security]: token_url is not encrypted: client_secret crosses the network as it is; use https://");
        }
        all
    }
}

fn blank(text: &Option<String>) -> bool {
    text.as_deref().is_none_or(|text| text.trim().is_empty())
}

/// Whether a file can be read.
pub fn readable(path: &Path) -> std::io::Result<()> {
    let file = std::fs::File::open(path)?;
    match file.metadata()?.is_file() {
        true => Ok(()),
        false => Err(std::io::Error::other("it is no file")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    fn scram() -> Security {
        Security {
            tls: true,
            mechanism: Some(Mechanism::Scram512),
            username: some("detector"),
            password: some("hunter2"),
            ..Security::default()
        }
    }

    #[test]
    fn nothing_is_set_by_default_and_a_whole_section_is_good() {
        assert!(Security::default().properties().is_empty());
        assert_eq!(Security::default().check(), Vec::<String>::new());
        assert_eq!(scram().check(), Vec::<String>::new());
        let properties = scram().properties();
        for wanted in [
            ("security.protocol", "sasl_ssl"),
            ("sasl.mechanism", "SCRAM-SHA-512"),
            ("sasl.username", "detector"),
            ("sasl.password", "hunter2"),
        ] {
            assert!(properties.contains(&(wanted.0, wanted.1.to_owned())), "{wanted:?}");
        }
        assert!(properties.iter().all(|(name, _)| SET_HERE.contains(name)));
    }

    #[test]
    fn everything_wrong_is_said_at_once_and_no_secret() {
        let section = Security {
            tls: false,
            ca_file: some("/nowhere/ca.pem"),
            certificate_file: some("/nowhere/c.pem"),
            key_password: some("hunter2"),
            username: some("u"),
            token_url: some("ftp://me:hunter2@x"),
            ..Security::default()
        };
        let problems = section.check();
        // Two files, tls, the pair, the password of no key, no mechanism, the address, the client.
        assert_eq!(problems.len(), 8, "{problems:#?}");
        assert!(problems.iter().all(|p| p.contains("hint:")), "{problems:#?}");
        assert!(!problems.concat().contains("hunter2"));
        assert!(!format!("{section:?}").contains("hunter2"));
        assert!(!format!("{:?}", scram()).contains("hunter2"));
    }

    #[test]
    fn each_mechanism_has_its_needs() {
        let with = |change: &dyn Fn(&mut Security)| {
            let mut section = scram();
            change(&mut section);
            section.check().len()
        };
        assert_eq!(with(&|s| s.password = some(" ")), 1);
        assert_eq!(with(&|s| s.token_url = some("https://x")), 2);
        assert_eq!(with(&|s| s.mechanism = Some(Mechanism::OauthBearer)), 1);
        assert_eq!(with(&|s| s.mechanism = None), 1);
    }
}
