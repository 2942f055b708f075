//! Feature names and values as sentences: for moderators with numbers, for the account's owner without
//! anything about others.

use crate::step::Engine;

/// Knows what kind of thing each name speaks of.
#[derive(Clone, Debug)]
pub struct Phrases {
    kinds: Vec<String>,
    roles: Vec<String>,
}

impl Phrases {
    pub(crate) fn new(engine: &Engine) -> Self {
        Self {
            kinds: engine
                .schema
                .kinds()
                .iter()
                .filter(|k| !k.is_account)
                .map(|k| k.name.clone())
                .collect(),
            roles: engine.schema.account_roles().iter().map(|r| r.name.clone()).collect(),
        }
    }

    /// Why, for a moderator.
    pub fn moderator(&self, name: &str, value: Option<f32>) -> String {
        let Some(value) = value else { return format!("{} is not known", self.subject(name)) };
        let number = number(value);
        let percent = format!("{:.0} %", value * 100.0);
        match name {
            "graph.suspicion" => return format!("suspicion through its links is {percent}"),
            "graph.links" => return format!("it is linked to {number} things and accounts"),
            "graph.bad_rate.max_strong" => {
                return format!(
                    "on its riskiest device-like thing, about {percent} of the other accounts are known bad and came with it or before it"
                );
            }
            "graph.bad_rate.mean" => {
                return format!(
                    "over all that it is linked to, about {percent} of the other accounts are known bad"
                );
            }
            "graph.component.size" => {
                return format!("{number} accounts are bound together by shared things");
            }
            "graph.component.bad_fraction" => {
                return format!(
                    "{percent} of the accounts bound to it by shared things are known bad and came with it or before it"
                );
            }
            "graph.component.growth" => return format!("its ring grew by {number} links lately"),
            "graph.component.age_h" => return format!("its ring began {number} hours ago"),
            "graph.co_share.accounts" => {
                return format!("{number} other accounts share two or more things with it");
            }
            "graph.co_share.bad" => {
                return format!(
                    "{number} of the accounts that share two or more things with it are known bad"
                );
            }
            "graph.co_share.shared_max" => {
                return format!("it shares {number} things with one other account");
            }
            _ => {}
        }
        if let Some(rest) = name.strip_prefix("graph.")
            && let Some((thing, field)) = rest.split_once('.')
        {
            let the = self.thing(thing);
            return match field {
                "degree" => format!("{number} accounts use {the}"),
                "bad_rate" => {
                    format!("about {percent} of the other accounts on {the} are known bad")
                }
                "members_suspicion" => {
                    format!("the other accounts on {the} are on average {percent} suspect")
                }
                "new_short" | "new_long" => format!("{number} accounts came to {the} lately"),
                "age_h" => format!("{the} was first seen {number} hours ago"),
                "link_age_h" => format!("it has used {the} for {number} hours"),
                "link_gap_h" => format!("it last used {the} {number} hours ago"),
                "link_count" => format!("it used {the} {number} times"),
                "link_strength" => format!("it used {the} {number} times lately"),
                "link_share" => format!("{percent} of what it does goes through {the}"),
                "reciprocal_count" => format!("{the} acted on it {number} times"),
                "common_peers" => format!("it has {number} contacts in common with {the}"),
                "account_bad" => format!("{the} is known bad"),
                "account_suspicion" => format!("{the} is {percent} suspect"),
                "bad_share" => format!("{percent} of the contacts of {the} are known bad"),
                _ => format!("{field} of {the} is {number}"),
            };
        }
        format!("{} is {number}", self.subject(name))
    }

    /// Why, for the account's owner; `None` where nothing can be said without speaking of others.
    pub fn owner(&self, name: &str) -> Option<String> {
        let text = if name.starts_with("graph.") {
            // True of every such column, whatever its value: what is known of others is not the owner's to read.
            "how your account is connected with others, through what it uses or whom it deals with, is unusual"
        } else if name.starts_with("received.") {
            "how others reacted to your account is unusual"
        } else if name.starts_with("account.") {
            "your recent activity is unusual for your account or for accounts like yours"
        } else if name.starts_with("event.") {
            "this activity is unusual"
        } else if self
            .kinds
            .iter()
            .any(|k| name.strip_prefix(k.as_str()).is_some_and(|r| r.starts_with('.')))
        {
            "a device, address or means of payment that you used shows unusual activity"
        } else {
            return None;
        };
        Some(text.into())
    }

    fn thing(&self, kind: &str) -> String {
        if self.roles.iter().any(|r| r == kind) {
            if kind == "target" { "the account acted upon".into() } else { format!("the {kind}") }
        } else {
            format!("this {kind}")
        }
    }

    /// `account.messages.in_10m` as "messages in 10m of the account".
    fn subject(&self, name: &str) -> String {
        let (whose, what) = match name.split_once('.') {
            Some(("account", rest)) => ("of the account".to_string(), rest),
            Some(("received", rest)) => ("done to the account".to_string(), rest),
            Some(("event", rest)) => ("of the event".to_string(), rest),
            Some((thing, rest)) => (format!("of {}", self.thing(thing)), rest),
            None => (String::new(), name),
        };
        let words = what.replace(['.', '_'], " ");
        format!("{words} {whose}").trim_end().to_string()
    }
}

/// A value as people write it.
fn number(value: f32) -> String {
    let value = f64::from(value);
    if value.abs() >= 1e6 {
        format!("{value:.3e}")
    } else if value == value.trunc() || value.abs() >= 100.0 {
        format!("{value:.0}")
    } else if value.abs() >= 1.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.3}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn phrases() -> Phrases {
        Phrases { kinds: vec!["device".into()], roles: vec!["target".into()] }
    }

    #[test]
    fn moderators_read_numbers_and_owners_nothing_about_others() {
        let p = phrases();
        assert_eq!(
            p.moderator("graph.device.bad_rate", Some(0.6)),
            "about 60 % of the other accounts on this device are known bad"
        );
        assert_eq!(
            p.moderator("account.messages.in_10m", Some(42.0)),
            "messages in 10m of the account is 42"
        );
        assert_eq!(
            p.moderator("graph.target.account_bad", Some(1.0)),
            "the account acted upon is known bad"
        );
        assert_eq!(p.moderator("account.gap_s", None), "gap s of the account is not known");
        for name in
            ["graph.device.bad_rate", "received.events.1d", "account.events.1d", "device.events.1d"]
        {
            let text = p.owner(name).unwrap();
            assert!(!text.contains(char::is_numeric), "{text}");
        }
        assert_eq!(p.owner("peer.account.events"), None);
    }
}
