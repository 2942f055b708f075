//! `[kafka.registry]`: where schemas are.

use crate::fetch::without_user;
use crate::kafka::security::readable;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::Path;

/// A Confluent Schema Registry, or a service that speaks its HTTP interface.
#[derive(Clone, Default, Serialize, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct RegistrySection {
    /// Its addresses, as `https://host:port`; one is enough, more survive its loss. Empty: all messages are JSON.
    pub urls: Vec<String>,
    /// User, if it asks for one.
    pub username: Option<String>,
    /// Password, if it asks for one.
    pub password: Option<String>,
    /// Certificates (PEM) of the authorities that may vouch for it; absent: those of the system.
    pub ca_file: Option<String>,
}

impl fmt::Debug for RegistrySection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let urls: Vec<String> = self.urls.iter().map(|url| without_user(url)).collect();
        f.debug_struct("RegistrySection")
            .field("urls", &urls)
            .field("username", &self.username)
            .field("password", &self.password.as_ref().map(|_| "***"))
            .field("ca_file", &self.ca_file)
            .finish()
    }
}

impl RegistrySection {
    /// Everything that is wrong, without a connection.
    pub fn check(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let mut no = |what: String| problems.push(format!("[kafka.registry]: {what}"));
        for url in &self.urls {
            let shown = without_user(url);
            if !url.starts_with("http://") && !url.starts_with("https://") {
                no(format!("urls: {shown} is no web address\n  hint: https://host:8081"));
            } else if shown != *url {
                no(format!(
                    "urls: {shown} has a user in it\n  hint: put it into username and password"
                ));
            }
        }
        if self.username.is_some() != self.password.is_some() {
            no("username and password belong together\n  hint: password = \"${REGISTRY_PASSWORD}\"".into());
        }
        if self.urls.is_empty() && *self != Self::default() {
            no("there are settings, but no urls\n  hint: urls = [\"https://registry:8081\"]"
                .into());
        }
        if let Some(path) = &self.ca_file
            && let Err(e) = readable(Path::new(path))
        {
            no(format!(
                "ca_file: cannot read {path}: {e}\n  hint: does it exist, and may this user read it?"
            ));
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_wrong_is_said_and_no_secret() {
        assert_eq!(RegistrySection::default().check(), Vec::<String>::new());
        let section = RegistrySection {
            urls: vec!["https://me:hunter2@r:8081/x".into(), "r:8081".into()],
            password: Some("hunter2".into()),
            ca_file: Some("/nowhere".into()),
            ..RegistrySection::default()
        };
        let problems = section.check();
        assert_eq!(problems.len(), 4, "{problems:#?}");
        assert!(problems[0].contains("https://r:8081/x"), "{problems:#?}");
        assert!(!format!("{problems:?}{section:?}").contains("hunter2"));
        let section =
            RegistrySection { ca_file: Some("/etc/hostname".into()), ..Default::default() };
        assert_eq!(section.check().len(), 1);
    }
}
